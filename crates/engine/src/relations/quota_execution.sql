-- quota_execution(year, as_of): how much of a quota had been used, by what was public on a day.
--
-- Output that only restates the quota is not output. A period that starts with the year counts from
-- its start, whether the source calls it a running total or not; the longest one known is taken, for
-- each body that counts.
WITH quota AS (
  SELECT i.*, CASE WHEN i.batches = 'full year' THEN i.issued_t END AS full_year_known_t
  FROM quota_issued($year, $as_of) AS i
),
hindsight AS (
  SELECT year, regulator_line, commodity, stage, mineral_class, product_class, ownership, holder_kind, holder, basis,
         issued_t AS full_year_t
  FROM quota_issued($year)
  WHERE batches = 'full year'
),
reported AS (
  SELECT authority AS counted_by, stage,
         CASE WHEN producer = 'China' THEN 'national' ELSE 'other' END AS level, producer AS holder,
         product AS mineral_class, basis, restates_quota, period_start, period_end, value, value_low, value_high
  FROM as_of('production', $as_of)
  WHERE measure = 'output' AND stage IN ('mining', 'smelting_separation')
  UNION ALL
  SELECT authority, 'export', 'national', reporter, 'all', basis, false, period_start, period_end, value, value_low, value_high
  FROM as_of('exports', $as_of)
  WHERE flow = 'export' AND reporter = 'China' AND partner = 'World' AND basket = 'rare_earths' AND measure = 'quantity'
),
-- The longest part of a year that each body has counted.
counted AS (
  SELECT *, CAST(date_part('year', period_start) AS BIGINT) AS year FROM reported
  WHERE date_part('month', period_start) = 1 AND date_part('day', period_start) = 1
    AND date_part('year', period_start) = date_part('year', period_end)
    AND ($year IS NULL OR date_part('year', period_start) = $year)
  QUALIFY row_number() OVER (
    PARTITION BY counted_by, stage, level, holder, mineral_class, basis, restates_quota, date_part('year', period_start)
    ORDER BY period_end DESC) = 1
),
joined AS (
  SELECT q.*, h.full_year_t, c.counted_by,
         CASE WHEN NOT c.restates_quota THEN c.value END AS actual_t,
         CASE WHEN NOT c.restates_quota THEN c.period_end END AS actual_through,
         c.restates_quota, coalesce(c.value_low, c.value_high) IS NOT NULL AS bounded,
         count(CASE WHEN NOT c.restates_quota THEN 1 END) OVER (
           PARTITION BY q.commodity, q.regulator_line, q.stage, q.mineral_class, q.product_class, q.ownership, q.holder_kind, q.holder, q.basis, q.year) AS real_counts
  FROM quota AS q
  LEFT JOIN hindsight AS h
    ON h.year = q.year AND h.regulator_line = q.regulator_line AND h.commodity = q.commodity AND h.stage = q.stage
   AND h.mineral_class = q.mineral_class AND h.product_class = q.product_class AND h.ownership = q.ownership
   AND h.holder_kind = q.holder_kind AND h.holder = q.holder AND h.basis = q.basis
  LEFT JOIN counted AS c
    ON c.year = q.year AND c.stage = q.stage AND c.basis = q.basis AND c.mineral_class = q.mineral_class
   AND q.commodity = 'rare_earths' AND q.product_class = 'all' AND q.ownership = 'all'
   AND ((q.holder_kind = 'national' AND c.level = 'national') OR (q.holder_kind <> 'national' AND c.level = 'other' AND c.holder = q.holder))
),
-- A copy of the quota is told only where nothing real was counted.
rated AS (
  SELECT *,
         CASE WHEN complete AND issued_t IS NOT NULL THEN quota_execution_rate(actual_t, issued_t) END AS rate_issued,
         quota_execution_rate(actual_t, full_year_t) AS rate_full_year,
         CAST(date_part('doy', actual_through) AS DOUBLE)
           / date_part('doy', CAST(CAST(year AS VARCHAR) || '-12-31' AS DATE)) AS elapsed
  FROM joined WHERE NOT coalesce(restates_quota, false) OR real_counts = 0
)
SELECT year, authority, regulator_line, commodity, stage, mineral_class, product_class, ownership, holder_kind, holder, basis,
       counted_by, issued_t, batches, complete, actual_t, actual_through, full_year_known_t, full_year_t,
       rate_issued, rate_full_year, elapsed, rate_full_year / elapsed AS pace,
       CASE WHEN actual_t < full_year_t THEN full_year_t - actual_t WHEN actual_t >= full_year_t THEN 0.0 END AS remaining_t,
       CASE WHEN actual_t > full_year_t THEN actual_t - full_year_t WHEN actual_t <= full_year_t THEN 0.0 END AS excess_t,
       CASE WHEN rate_issued IS NOT NULL THEN NULL
            WHEN status = 'not_disclosed' THEN 'quota_not_disclosed'
            WHEN NOT complete THEN 'holder_batch_unpublished'
            WHEN issued_t IS NULL OR issued_t = 0 THEN 'no_quota'
            WHEN restates_quota THEN 'output_is_quota_copy'
            WHEN bounded THEN 'bound_only'
            ELSE 'no_output_reported' END AS reason
FROM rated
