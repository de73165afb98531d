-- China's mining quota of 2024 by holder, as it was known on three days
--
-- In tonnes of rare-earth oxide. By the end of January nothing had been issued. The second batch of August was split among the holders, but the split was never
-- published: from then on a holder's figure is only what its first batch gave, and says so.
SELECT known.day AS known_on, known.holder, known.mineral_class AS class, known.issued_t, known.batches,
       CASE WHEN known.complete THEN '' ELSE 'second batch by holder not published' END AS gap
FROM (
    SELECT DATE '2024-01-31' AS day, * FROM quota_issued(2024, DATE '2024-01-31')
    UNION ALL
    SELECT DATE '2024-03-01', * FROM quota_issued(2024, DATE '2024-03-01')
    UNION ALL
    SELECT DATE '2024-09-01', * FROM quota_issued(2024, DATE '2024-09-01')
) AS known
WHERE known.stage = 'mining' AND known.commodity = 'rare_earths'
ORDER BY known_on, known.holder_kind DESC, known.holder, class
