-- China's export quota for rare earths: how much of it was used, 2011, 2012 and 2014
--
-- Exports as a fraction of the year's quota, from levels that were both published, beside the rate that somebody printed
-- for the same year, if anybody did. They differ, and the table says so: 0.52, printed for 2011, is what 2012 comes to.
-- Mining has no such pairs: what is printed as China's output of recent years is its quota once more.
SELECT
    extract(year FROM exports.period_start) AS year,
    exports.authority AS counted_by,
    exports.value AS exports_t,
    quotas.value AS quota_t,
    round(quota_execution_rate(exports.value, quotas.value), 4) AS rate,
    printed.published_value / 100 AS printed_rate,
    sources.publisher AS source
FROM published_growth AS printed
JOIN exports ON exports.row_id = printed.numerator_rows
JOIN quotas ON quotas.row_id = printed.denominator_rows
JOIN sources ON sources.source_id = printed.source_id
WHERE printed.kind = 'execution_rate'
  AND quotas.stage = 'export' AND quotas.holder_kind = 'national'
ORDER BY year, exports_t DESC, printed_rate
