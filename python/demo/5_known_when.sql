-- What was known when: one figure as of several days
--
-- Figures are revised, and quotas come in batches, so what a figure is depends on the day on which one asks. The mining
-- quota of 2023 was raised by a third batch in December; the USGS nearly halved Brazil's reserves between two versions
-- of its edition of 2026; US mine output of 2018 was another figure in each of three editions. Every line is what a
-- reader of that day knew.
WITH quota AS (
    SELECT DATE '2023-10-01' AS known_on, * FROM quota_issued(2023, as_of => DATE '2023-10-01')
    UNION ALL SELECT DATE '2023-12-31', * FROM quota_issued(2023, as_of => DATE '2023-12-31')
),
reserve AS (
    SELECT DATE '2026-03-01' AS known_on, * FROM as_of('reserves', DATE '2026-03-01')
    UNION ALL SELECT DATE '2026-06-01', * FROM as_of('reserves', DATE '2026-06-01')
),
output AS (
    SELECT DATE '2019-06-30' AS known_on, * FROM as_of('production', DATE '2019-06-30')
    UNION ALL SELECT DATE '2020-06-30', * FROM as_of('production', DATE '2020-06-30')
    UNION ALL SELECT DATE '2021-06-30', * FROM as_of('production', DATE '2021-06-30')
)
SELECT 'China, mining quota 2023' AS figure, known_on, issued_t AS tonnes, last_issued_on AS published_on
FROM quota
WHERE commodity = 'rare_earths' AND stage = 'mining' AND holder_kind = 'national' AND mineral_class = 'all'
UNION ALL
SELECT 'Brazil, reserves 2025', known_on, value, published_on
FROM reserve
WHERE area = 'Brazil' AND measure = 'reserves' AND period_end = DATE '2025-12-31'
UNION ALL
SELECT 'United States, mine output 2018', known_on, value, published_on
FROM output
WHERE producer = 'United States' AND stage = 'mining' AND product = 'mineral_concentrates' AND measure = 'output'
  AND period_start = DATE '2018-01-01'
ORDER BY figure, known_on
