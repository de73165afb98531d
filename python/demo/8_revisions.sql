-- What changed between two editions: mine output, as the survey of 2026 revised it
--
-- The edition of February 2026 against what counted before, in tonnes of rare-earth oxide, the largest changes first.
SELECT producer, date_part('year', period_start) AS year, from_value AS from_t, to_value AS to_t,
       from_source_id AS from_edition, to_source_id AS to_edition
FROM revisions('production')
WHERE stage = 'mining' AND measure = 'output' AND changed_on = DATE '2026-02-06'
ORDER BY abs(to_value - from_value) DESC, producer, year
LIMIT 8
