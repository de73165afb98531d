-- published_vs_computed(): each printed growth, share, sum, difference, ratio and rate beside what the
-- levels give that it names, and whether rounding of those levels could explain a difference.
--
-- A printed level is known to half a unit of its last digit: "11.89" in ten thousands of tonnes is
-- 118,900 t, give or take 50. The levels are the rows that the statement cites, whatever counts today.
WITH levels AS (
  SELECT row_id, value, printed_value FROM all_vintages('quotas')
  UNION ALL SELECT row_id, value, printed_value FROM all_vintages('production')
  UNION ALL SELECT row_id, value, printed_value FROM all_vintages('exports')
  UNION ALL SELECT row_id, value, printed_value FROM all_vintages('prices')
  UNION ALL SELECT row_id, value, printed_value FROM all_vintages('reserves')
),
printed AS (
  SELECT row_id, value, regexp_match(replace(printed_value, ',', ''), '[0-9]+(?:\.[0-9]+)?')[1] AS digits FROM levels
),
known AS (
  SELECT row_id, value,
         CASE WHEN CAST(digits AS DOUBLE) > 0
              THEN abs(value) / CAST(digits AS DOUBLE) * power(10.0, -CAST(character_length(split_part(digits, '.', 2)) AS DOUBLE)) / 2
              ELSE 0.0 END AS half_unit
  FROM printed
),
cited AS (
  SELECT oracle_id, 'numerator' AS side, unnest(string_to_array(numerator_rows, ';')) AS row_id,
         unnest(string_to_array(numerator, ';')) AS stated
  FROM published_growth WHERE numerator_rows IS NOT NULL
  UNION ALL
  SELECT oracle_id, 'denominator', unnest(string_to_array(denominator_rows, ';')),
         unnest(string_to_array(denominator, ';'))
  FROM published_growth WHERE denominator_rows IS NOT NULL
),
summed AS (
  -- A part that the statement takes away is written with a minus.
  SELECT c.oracle_id, c.side, sum(k.half_unit) AS half_unit,
         CASE WHEN count(*) = count(k.value)
              THEN sum(CASE WHEN starts_with(c.stated, '-') THEN -k.value ELSE k.value END) END AS value
  FROM cited AS c LEFT JOIN known AS k ON k.row_id = c.row_id GROUP BY c.oracle_id, c.side
),
sides AS (
  SELECT g.*, n.value AS n, n.half_unit AS dn, d.value AS d, d.half_unit AS dd,
         g.kind IN ('yoy', 'mom', 'qoq', 'ytd_yoy', 'growth', 'cumulative') AS is_growth,
         CASE WHEN g.published_unit = '%' THEN 100.0 ELSE 1.0 END AS scale
  FROM published_growth AS g
  LEFT JOIN summed AS n ON n.oracle_id = g.oracle_id AND n.side = 'numerator'
  LEFT JOIN summed AS d ON d.oracle_id = g.oracle_id AND d.side = 'denominator'
),
computed AS (
  SELECT *,
         CASE WHEN kind = 'sum' THEN n
              WHEN kind = 'difference' THEN n - d
              WHEN d > 0 THEN (n / d - CASE WHEN is_growth THEN 1.0 ELSE 0.0 END) * scale END AS result,
         CASE WHEN kind = 'sum' THEN n - dn
              WHEN kind = 'difference' THEN n - dn - (d + dd)
              WHEN d > dd THEN ((n - dn) / (d + dd) - CASE WHEN is_growth THEN 1.0 ELSE 0.0 END) * scale END AS low,
         CASE WHEN kind = 'sum' THEN n + dn
              WHEN kind = 'difference' THEN n + dn - (d - dd)
              WHEN d > dd THEN ((n + dn) / (d - dd) - CASE WHEN is_growth THEN 1.0 ELSE 0.0 END) * scale END AS high,
         power(10.0, -CAST(published_decimals AS DOUBLE)) / 2 AS printed_half_unit
  FROM sides
),
judged AS (
  SELECT *, abs(result - published_value) <= printed_half_unit + 1e-9 AS does_agree,
         low <= published_value + printed_half_unit + 1e-9 AND high >= published_value - printed_half_unit - 1e-9 AS could_agree
  FROM computed
)
SELECT oracle_id, subject, measure, class, kind, period_start, period_end, published_value, published_unit,
       n AS numerator_value, d AS denominator_value, result AS computed_value, low AS computed_low, high AS computed_high,
       does_agree AS agrees, could_agree AS rounding_explains,
       CASE WHEN published_value IS NULL THEN 'not_printed'
            WHEN result IS NULL THEN 'levels_missing'
            WHEN circular THEN 'circular'
            WHEN does_agree THEN 'agrees'
            WHEN could_agree THEN 'rounding'
            ELSE 'disagrees' END AS verdict,
       numerator_rows, denominator_rows, source_id, note
FROM judged
