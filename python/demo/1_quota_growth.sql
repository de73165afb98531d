-- China's quotas for rare earths: growth on the year, 2019 to 2024
--
-- What all of China may mine, and what it may smelt and separate, in tonnes of rare-earth oxide. Growth is a fraction:
-- 0.0588 is 5.88 %. Of what several sources state for a year, the bare name gives what counts: a rating report that
-- prints 115,000 t for separation in 2020 and 2021 stands below the ministries' notices and does not. In those years
-- MNR also gave out the mining quota under its own name alone; growth follows the line of regulators and takes it once.
SELECT
    stage,
    extract(year FROM period_start) AS year,
    value AS quota_t,
    round(yoy(value, period_start, period_end)
        OVER (PARTITION BY regulator_line, stage ORDER BY period_start, period_end), 4) AS growth,
    sources.publisher AS source
FROM quotas
JOIN sources USING (source_id)
WHERE commodity = 'rare_earths' AND stage IN ('mining', 'smelting_separation')
  AND mineral_class = 'all' AND holder_kind = 'national'
  AND batch_from IS NULL  -- the full year
  AND authority <> 'MNR'
QUALIFY period_start BETWEEN DATE '2019-01-01' AND DATE '2024-01-01'  -- in WHERE it would drop 2018, the base of 2019
ORDER BY stage, year
