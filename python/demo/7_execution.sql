-- How much of a quota was used: wherever output was really counted
--
-- By each body that counted, against what had been issued; over 1 is more than the quota. Elapsed is the fraction of the
-- year that the count covers, and pace what the rate comes to if the year goes on like that. Output that only restates
-- the quota, as surveys print it for mining since 2017, is no output and not here.
SELECT counted_by, stage, year, actual_t, issued_t, round(rate_issued, 4) AS rate, round(elapsed, 2) AS elapsed,
       round(pace, 4) AS pace
FROM quota_execution(NULL)
WHERE commodity = 'rare_earths' AND holder_kind = 'national' AND mineral_class = 'all'
  AND product_class = 'all' AND ownership = 'all' AND rate_issued IS NOT NULL
ORDER BY stage, year, counted_by
