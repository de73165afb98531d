-- quotas_by_year: one figure per year along a line of regulators, whichever way the year was issued.
-- NULL where it is not disclosed or a batch of it was not published.
SELECT regulator_line, commodity, stage, mineral_class, product_class, ownership, holder_kind, holder, basis,
       CAST(CAST(year AS VARCHAR) || '-01-01' AS DATE) AS period_start,
       CAST(CAST(year AS VARCHAR) || '-12-31' AS DATE) AS period_end,
       CASE WHEN complete THEN issued_t END AS value, 't' AS unit, status, batches, complete
FROM quota_issued(NULL)
