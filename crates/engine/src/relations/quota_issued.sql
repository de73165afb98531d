-- quota_issued(year, as_of): what had been issued by a day, per line, stage, class, holder and basis.
--
-- Never by adding in the order of publication: the statement for the full year, else the one that is
-- cumulative through the highest batch n, and to that the increments with a higher number. Numbers
-- that are missing between the first batch and the last national one make the sum incomplete.
WITH stated AS (
  SELECT q.*, s.rank,
         CAST(date_part('year', q.period_start) AS BIGINT) AS year,
         max(CASE WHEN q.holder_kind = 'national' THEN q.batch_through END)
           OVER (PARTITION BY q.commodity, q.regulator_line, q.stage, date_part('year', q.period_start)) AS national_through
  FROM as_of('quotas', $as_of) AS q LEFT JOIN sources AS s ON s.source_id = q.source_id
  WHERE q.measure = 'quota'
),
of_year AS (
  SELECT * FROM stated WHERE $year IS NULL OR year = $year
),
-- One statement for the full year.
full_year AS (
  SELECT * FROM of_year WHERE batch_through IS NULL
  QUALIFY row_number() OVER (
    PARTITION BY commodity, regulator_line, stage, mineral_class, product_class, ownership, holder_kind, holder, basis, year
    ORDER BY status = 'rounded', rank, published_on DESC, source_id, statement) = 1
),
batches AS (
  SELECT *,
         max(CASE WHEN batch_kind = 'cumulative' THEN batch_through END) OVER (
           PARTITION BY commodity, regulator_line, stage, mineral_class, product_class, ownership, holder_kind, holder, basis, year) AS stated_through
  FROM of_year WHERE batch_through IS NOT NULL
),
-- One statement for each batch that is not in a cumulative one already.
parts AS (
  SELECT * FROM batches
  WHERE (batch_kind = 'cumulative' AND batch_through = stated_through)
     OR (batch_kind = 'increment' AND (stated_through IS NULL OR batch_from > stated_through))
  QUALIFY row_number() OVER (
    PARTITION BY commodity, regulator_line, stage, mineral_class, product_class, ownership, holder_kind, holder, basis, year, batch_from, batch_through
    ORDER BY status = 'rounded', rank, published_on DESC, source_id, statement) = 1
),
candidates AS (
  SELECT 1 AS preference, year, authority, regulator_line, commodity, stage, mineral_class, product_class, ownership,
         holder_kind, holder, basis, value AS issued_t, 'full year' AS batches, true AS complete,
         published_on AS first_issued_on, published_on AS last_issued_on, status
  FROM full_year
  UNION ALL
  SELECT 2, year, max(authority), regulator_line, commodity, stage, mineral_class, product_class, ownership,
         holder_kind, holder, basis, sum(value),
         string_agg(CASE WHEN batch_from = batch_through THEN CAST(batch_through AS VARCHAR)
                         ELSE CAST(batch_from AS VARCHAR) || '-' || CAST(batch_through AS VARCHAR) END, ', ' ORDER BY batch_from),
         sum(batch_through - batch_from + 1) = greatest(max(batch_through), coalesce(max(national_through), 0)),
         min(published_on), max(published_on),
         CASE WHEN bool_or(status = 'rounded') THEN 'rounded' ELSE max(status) END
  FROM parts
  GROUP BY year, regulator_line, commodity, stage, mineral_class, product_class, ownership, holder_kind, holder, basis
)
SELECT year, authority, regulator_line, commodity, stage, mineral_class, product_class, ownership, holder_kind, holder, basis,
       issued_t, batches, complete, first_issued_on, last_issued_on, status
FROM candidates
QUALIFY row_number() OVER (
  PARTITION BY commodity, regulator_line, stage, mineral_class, product_class, ownership, holder_kind, holder, basis, year
  ORDER BY preference) = 1
