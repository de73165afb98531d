-- China's exports of rare earths: growth on the same period of the year before, 2025
--
-- Ores, compounds and metals in tonnes, by China's customs. January and February are released as one figure, and yoy
-- compares such a period with January and February of the year before, 29 days of February included, never with one
-- month. A derived month is what the running total leaves for it.
SELECT
    period_start,
    period_end,
    value AS exports_t,
    prior(value, period_start, period_end, INTERVAL '1 year') OVER (ORDER BY period_start, period_end) AS year_before_t,
    round(yoy(value, period_start, period_end) OVER (ORDER BY period_start, period_end), 4) AS growth,
    status,
    sources.publisher AS source
FROM exports
JOIN sources USING (source_id)
WHERE authority = 'GACC' AND flow = 'export' AND reporter = 'China' AND partner = 'World'
  AND basket = 'rare_earths' AND measure = 'quantity' AND basis = 'gross'
  AND frequency IN ('M', 'X') AND NOT cumulative
QUALIFY period_start BETWEEN DATE '2025-01-01' AND DATE '2025-12-31'  -- in WHERE it would drop the base
ORDER BY period_start
