-- Mine output of the United States: growth within one edition
--
-- Each edition of the USGS's yearly summary revises the years before: output of 2018 was 18,000 t in the edition of
-- 2020 and 14,000 t in that of 2021. So 2019 grew by 0.4444 as one edition has it and by 1.0 as the next one has it;
-- the output of one edition on that of another is no growth of anything, and so this takes every vintage and keeps the
-- editions apart. Tonnes of rare-earth oxide.
SELECT
    output.source_id AS edition,
    extract(year FROM period_start) AS year,
    value AS output_t,
    prior(value, period_start, period_end, INTERVAL '1 year')
        OVER (PARTITION BY output.source_id ORDER BY period_start, period_end) AS year_before_t,
    round(yoy(value, period_start, period_end)
        OVER (PARTITION BY output.source_id ORDER BY period_start, period_end), 4) AS growth,
    sources.publisher AS source
FROM all_vintages('production') AS output
JOIN sources USING (source_id)
WHERE authority = 'USGS' AND producer = 'United States' AND stage = 'mining'
  AND product = 'mineral_concentrates' AND measure = 'output'
  AND output.source_id IN ('USGS-MCS2020Q', 'USGS-MCS2021', 'USGS-MCS2026v1.0')
QUALIFY growth IS NOT NULL
ORDER BY edition, year
