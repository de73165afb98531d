-- China's quotas for rare earths: growth on the year, 2019 to 2024
--
-- What all of China may mine, and what it may smelt and separate, in tonnes of rare-earth oxide. Growth is a fraction:
-- 0.0588 is 5.88 %. Each year's total is taken from the best source that states it for the full year; a rating report
-- that prints 115,000 t for separation in 2020 and 2021 stands below the ministries' notices and does not count.
WITH quota AS (
    SELECT stage, period_start, period_end, value AS quota_t, sources.publisher AS source
    FROM quotas
    JOIN sources USING (source_id)
    WHERE commodity = 'rare_earths'
      AND regulator_line = CASE stage WHEN 'mining' THEN 'mining_control' ELSE 'production_plan' END
      AND stage IN ('mining', 'smelting_separation')
      AND mineral_class = 'all' AND product_class = 'all' AND ownership = 'all'
      AND holder_kind = 'national'
      AND batch_from IS NULL
      AND status NOT IN ('contradicted', 'superseded', 'withdrawn')
    QUALIFY row_number() OVER (
        PARTITION BY stage, period_start, period_end
        ORDER BY status = 'rounded', sources.rank, quotas.published_on DESC, source_id, statement
    ) = 1
),
growing AS (
    SELECT *, yoy(quota_t, period_start, period_end) OVER (PARTITION BY stage ORDER BY period_start, period_end) AS growth
    FROM quota
)
SELECT stage, extract(year FROM period_start) AS year, quota_t, round(growth, 4) AS growth, source
FROM growing
WHERE period_start BETWEEN DATE '2019-01-01' AND DATE '2024-01-01'  -- any deeper it would drop 2018, the base of 2019
ORDER BY stage, year
