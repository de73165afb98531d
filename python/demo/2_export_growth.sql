-- China's exports of rare earths: growth on the same period of the year before, 2025
--
-- Ores, compounds and metals in tonnes, by China's customs. January and February are released as one figure, and yoy
-- compares such a period with January and February of the year before, 29 days of February included, never with one
-- month. A derived month is what the running total leaves for it.
WITH export AS (
    SELECT period_start, period_end, value AS exports_t, status, sources.publisher AS source
    FROM exports
    JOIN sources USING (source_id)
    WHERE authority = 'GACC' AND flow = 'export' AND reporter = 'China' AND partner = 'World'
      AND basket = 'rare_earths' AND basis = 'gross' AND measure = 'quantity'
      AND frequency IN ('M', 'X') AND NOT cumulative
      AND status NOT IN ('contradicted', 'superseded', 'withdrawn')
    QUALIFY row_number() OVER (
        PARTITION BY period_start, period_end
        ORDER BY status = 'rounded', sources.rank, exports.published_on DESC, source_id, statement
    ) = 1
),
growing AS (
    SELECT
        *,
        prior(exports_t, period_start, period_end, INTERVAL '1 year') OVER (ORDER BY period_start, period_end) AS year_before_t,
        yoy(exports_t, period_start, period_end) OVER (ORDER BY period_start, period_end) AS growth
    FROM export
)
SELECT period_start, period_end, exports_t, year_before_t, round(growth, 4) AS growth, status, source
FROM growing
WHERE period_start BETWEEN DATE '2025-01-01' AND DATE '2025-12-31'
ORDER BY period_start
