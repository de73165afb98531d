-- Bare series tables: what is known, one row per series and period.

SELECT * FROM quotas ORDER BY series, period_start, period_end

SELECT * FROM exports ORDER BY series, period_start, period_end

SELECT * FROM prices ORDER BY series, period_start, period_end

SELECT * FROM reserves ORDER BY series, period_start, period_end

SELECT * FROM production ORDER BY series, period_start, period_end LIMIT 500

SELECT * FROM quotas_by_year ORDER BY 1, 2, 3, 4, 5, 6, 7, 8, 9, 10

SELECT count(*), count(value), count(value_low), min(period_start), max(period_end) FROM production

SELECT * FROM exports WHERE false

SELECT holder, sum(value) AS t FROM quotas WHERE stage = 'mining' AND holder_kind = 'group' GROUP BY holder ORDER BY holder

SELECT series, value, unit FROM prices WHERE product LIKE '%oxide%' AND value > 100 ORDER BY value DESC, series, period_start

SELECT * FROM didymium.main.reserves WHERE area = 'Brazil' ORDER BY series, period_start, period_end

SELECT "holder", "value" FROM "quotas" WHERE "row_id" = 'Q00001'

SELECT * FROM sources ORDER BY source_id

SELECT * FROM entities ORDER BY 1, 2, 3

SELECT * FROM element_factors ORDER BY row_id

SELECT * FROM exchange_rates ORDER BY 1

SELECT * FROM published_growth ORDER BY oracle_id

SELECT q.value, s.title, s.rank FROM quotas q JOIN sources s ON s.source_id = q.source_id WHERE q.holder_kind = 'national' ORDER BY 1, 2, 3

-- Vintages.

SELECT * FROM as_of('quotas', DATE '2021-01-31') ORDER BY series, period_start, period_end

SELECT * FROM as_of('reserves', DATE '2026-03-01') ORDER BY series, period_start, period_end

SELECT count(*) FROM as_of('quotas', DATE '1990-01-01')

SELECT producer, period_start, value FROM as_of('production', DATE '2019-06-30') WHERE producer = 'United States' AND measure = 'output' AND period_start >= DATE '2010-01-01' ORDER BY series, period_start, period_end

SELECT a.value, b.value, b.value - a.value AS difference FROM as_of('reserves', DATE '2026-03-01') a JOIN as_of('reserves', DATE '2026-06-01') b ON b.series = a.series AND b.period_start = a.period_start ORDER BY 1, 2, 3

SELECT * FROM all_vintages('quotas') ORDER BY row_id

SELECT source_id, count(*) FROM all_vintages('production') GROUP BY source_id ORDER BY source_id

SELECT status, count(*), min(published_on), max(published_on) FROM all_vintages('exports') GROUP BY status ORDER BY status

SELECT producer, period_start, value, status FROM all_vintages('production') WHERE source_id = 'USGS-MCS2021' ORDER BY series, period_start

SELECT * FROM latest('prices') ORDER BY series

SELECT series, period_end, value FROM latest('exports', as_of => DATE '2024-01-31') ORDER BY series

SELECT * FROM revisions('prices') ORDER BY 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13

SELECT series, period_start, from_value, to_value, changed_on FROM revisions('production', as_of => DATE '2022-12-31') ORDER BY 1, 2, 3

SELECT period_start, value, source_id FROM conflicts('quotas') ORDER BY 1, 2, 3

SELECT count(*) FROM conflicts('quotas', as_of => DATE '2021-12-31')

SELECT value, document, publisher, locator, commit_version FROM provenance('reserves') WHERE area = 'Brazil' ORDER BY 1, 2

SELECT count(*), count(document), count(input_sha256), count(loader), count(committed_at) FROM provenance('quotas')

-- Quotas and their execution.

SELECT * FROM quota_issued(2023) ORDER BY 1, 2, 3, 4, 5, 6, 7, 8, 9, 10

SELECT stage, holder, issued_t, batches, complete, last_issued_on FROM quota_issued(2023, DATE '2023-10-01') ORDER BY 1, 2, 3

SELECT stage, holder, issued_t FROM quota_issued(2023, as_of => DATE '2024-01-31') ORDER BY 1, 2, 3

SELECT year, stage, issued_t FROM quota_issued(NULL) WHERE holder_kind = 'national' AND mineral_class = 'all' ORDER BY 1, 2, 3

SELECT * FROM quota_execution(2012) ORDER BY 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12

SELECT issued_t, full_year_t, rate_issued, rate_full_year, elapsed FROM quota_execution(2014, DATE '2014-07-10') ORDER BY 1

SELECT year, counted_by, reason, count(*) FROM quota_execution(NULL) GROUP BY ALL ORDER BY 1, 2, 3

SELECT execution_rate(actual_t, full_year_t) FROM quota_execution(2012) WHERE stage = 'export' AND holder_kind = 'national'

SELECT execution_rate(actual, quota) FROM (VALUES (50, 50), (30, 50), (NULL, 900)) AS t(actual, quota)

SELECT quota_execution_rate(27769, 30611), quota_execution_rate(NULL, 1), quota_execution_rate(1, 0)

SELECT * FROM published_vs_computed() ORDER BY oracle_id

SELECT verdict, count(*) FROM published_vs_computed() GROUP BY verdict ORDER BY verdict

-- As-of joins.

WITH months AS (SELECT period_start AS month FROM calendar(DATE '2023-12-01', DATE '2024-02-01', INTERVAL '1 month')) SELECT m.month, p.period_start AS quoted_on, p.value FROM months m ASOF JOIN prices p MATCH_CONDITION (m.month >= p.period_start AND p.period_start >= m.month - INTERVAL '2 months') ON p.product = CASE WHEN m.month IS NOT NULL THEN 'Nd oxide' END ORDER BY m.month

WITH a(day, k) AS (VALUES (DATE '2024-01-01', 'x'), (DATE '2024-02-01', 'x'), (DATE '2024-02-01', NULL)), b(day, k, value) AS (VALUES (DATE '2023-12-31', 'x', 1.0), (DATE '2024-02-01', 'x', 2.0)) SELECT a.day, a.k, b.value FROM a ASOF JOIN b MATCH_CONDITION (a.day >= b.day) ON a.k = b.k ORDER BY a.day, a.k

WITH a(day) AS (VALUES (DATE '2024-03-31'), (DATE '2024-04-30')), b(day, value) AS (VALUES (DATE '2024-03-31', 1), (DATE '2024-04-01', 2)) SELECT a.day, b.day, b.value FROM a ASOF JOIN b MATCH_CONDITION (a.day > b.day) ORDER BY a.day

SELECT a.n, b.n, b.m FROM (SELECT value AS n, value % 3 AS k FROM generate_series(1, 60)) a LEFT JOIN (SELECT value * 7 AS n, value % 3 AS k, value AS m FROM generate_series(1, 9)) b ON a.k = b.k AND asof_match(a.n >= b.n) ORDER BY a.n

SELECT a.n, b.n FROM (SELECT value AS n FROM generate_series(1, 30)) a JOIN (SELECT value * 7 AS n FROM generate_series(1, 3)) b ON asof_match(a.n >= b.n AND b.n >= a.n - 2) ORDER BY a.n

-- Growth and its kin: windows over periods.

SELECT period_start, period_end, value, yoy(value, period_start, period_end) OVER (ORDER BY period_start, period_end) AS growth, yoy_reason(value, period_start, period_end) OVER (ORDER BY period_start, period_end) AS why_not FROM exports WHERE series = 'GACC/export/China/World/rare_earths/gross/quantity' AND NOT cumulative QUALIFY period_start >= DATE '2025-01-01' ORDER BY period_start, period_end

SELECT series, period_start, period_end, yoy(value) OVER (PARTITION BY series ORDER BY period_start, period_end) AS growth FROM reserves QUALIFY growth IS NOT NULL ORDER BY 1, 2

SELECT series, period_start, value, yoy(value, period_start, period_end) OVER (PARTITION BY series, source_id ORDER BY period_start, period_end) AS growth FROM all_vintages('production') WHERE source_id LIKE 'USGS-MCS202%' QUALIFY growth <> 0 ORDER BY 1, 2, 3, 4

SELECT period_start, period_end, qoq(value, period_start, period_end) OVER w AS growth, qoq_reason(value, period_start, period_end) OVER w AS why_not FROM exports WHERE series = 'GACC/export/China/World/rare_earths/gross/quantity' AND NOT cumulative WINDOW w AS (ORDER BY period_start, period_end) ORDER BY period_start, period_end

SELECT period_start, period_end, mom(value, period_start, period_end) OVER w AS growth, mom_reason(value, period_start, period_end) OVER w AS why_not FROM exports WHERE series = 'GACC/export/China/World/rare_earths/gross/quantity' AND NOT cumulative WINDOW w AS (ORDER BY period_start, period_end) ORDER BY period_start, period_end

SELECT period_start, growth(value, period_start, period_end, INTERVAL '2 years') OVER (ORDER BY period_start, period_end) AS over_two_years, growth_reason(value, period_start, period_end, INTERVAL '2 years') OVER (ORDER BY period_start, period_end) AS why_not FROM quotas_by_year WHERE regulator_line = 'mining_control' AND commodity = 'rare_earths' AND holder_kind = 'national' AND mineral_class = 'all' ORDER BY period_start

SELECT period_start, change(value, period_start, period_end, INTERVAL '1 year') OVER (ORDER BY period_start, period_end) AS more FROM quotas_by_year WHERE regulator_line = 'mining_control' AND commodity = 'rare_earths' AND holder_kind = 'national' AND mineral_class = 'all' ORDER BY period_start

SELECT period_start, prior(value, period_start, period_end, INTERVAL '1 year') OVER (ORDER BY period_start, period_end) AS year_before FROM quotas_by_year WHERE regulator_line = 'mining_control' AND commodity = 'rare_earths' AND holder_kind = 'national' AND mineral_class = 'all' ORDER BY period_start

SELECT day, prior(v, day, INTERVAL '1 month', tolerance => INTERVAL '5 days') OVER (ORDER BY day) AS p FROM (VALUES (DATE '2024-01-29', 1.0), (DATE '2024-02-29', 2.0), (DATE '2024-03-31', 3.0)) AS t(day, v) ORDER BY day

SELECT day, yoy(v, day, match => 'M') OVER (ORDER BY day) AS g FROM (VALUES (DATE '2023-01-10', 100.0), (DATE '2024-01-31', 125.0)) AS t(day, v) ORDER BY day

SELECT day, yoy(v, day, signed => true) OVER (ORDER BY day) AS g, yoy(v, day) OVER (ORDER BY day) AS h FROM (VALUES (DATE '2023-01-01', -100.0), (DATE '2024-01-01', 50.0)) AS t(day, v) ORDER BY day

SELECT period_start, index_to(value, period_start, period_end, DATE '2020-01-01') OVER (ORDER BY period_start, period_end) AS of_2020 FROM quotas_by_year WHERE regulator_line = 'mining_control' AND commodity = 'rare_earths' AND holder_kind = 'national' AND mineral_class = 'all' ORDER BY period_start

SELECT period_start, period_end, ytd(value, period_start, period_end) OVER (ORDER BY period_start, period_end) AS so_far FROM exports WHERE series = 'GACC/export/China/World/rare_earths/gross/quantity' AND period_length_months(period_start, period_end) <= 2 ORDER BY period_start, period_end

SELECT from_ytd(value, period_start, period_end) OVER (ORDER BY period_start, period_end) AS part, period_end FROM exports WHERE series = 'GACC/export/China/World/rare_earths/gross/quantity' AND cumulative ORDER BY period_end

SELECT part['period_start'] AS period_start, part['period_end'] AS period_end, part['value'] AS value FROM (SELECT from_ytd(value, period_start, period_end) OVER (ORDER BY period_start, period_end) AS part FROM exports WHERE series = 'GACC/export/China/World/rare_earths/gross/quantity' AND cumulative) ORDER BY period_start DESC

SELECT period_end, from_ytd_value(value, period_start, period_end) OVER (ORDER BY period_start, period_end) AS v FROM exports WHERE series = 'GACC/export/China/World/rare_earths/gross/quantity' AND cumulative ORDER BY period_end DESC

SELECT day, locf(value, day) OVER (ORDER BY day) AS last_known, interpolate(value, day) OVER (ORDER BY day) AS between FROM (VALUES (DATE '2024-01-31', 100.0), (DATE '2024-02-29', NULL), (DATE '2024-03-31', 120.0)) AS t(day, value) ORDER BY day

SELECT day, locf(value, day, INTERVAL '1 month') OVER (ORDER BY day) AS known FROM (VALUES (DATE '2024-01-01', 1), (DATE '2024-02-01', NULL), (DATE '2024-04-01', NULL)) AS t(day, value) ORDER BY day

SELECT day, interpolate(value, day, by => 'days') OVER (ORDER BY day) AS v FROM (VALUES (DATE '2024-01-01', 0.0), (DATE '2024-02-01', NULL), (DATE '2024-03-01', 60.0)) AS t(day, value) ORDER BY day

SELECT commodity, stage, holder, round(cagr(value, period_start), 12) AS g FROM quotas_by_year WHERE holder_kind = 'national' AND mineral_class = 'all' AND product_class = 'all' AND ownership = 'all' AND regulator_line <> 'production_plan' GROUP BY ALL ORDER BY 1, 2

SELECT cagr(v, day) FROM (VALUES (100.0, DATE '2020-01-01'), (121.0, DATE '2022-01-01')) AS t(v, day)

-- Buckets, calendars, fiscal years.

SELECT time_bucket(INTERVAL '3 months', period_start) AS quarter, count(*), min(value), max(value) FROM exports WHERE series = 'GACC/export/China/World/rare_earths/gross/quantity' AND period_length_months(period_start, period_end) <= 2 GROUP BY quarter ORDER BY quarter DESC

SELECT time_bucket(INTERVAL '1 week', DATE '2024-02-29'), time_bucket(INTERVAL '10 days', DATE '2024-02-29', DATE '2024-01-01'), time_bucket(INTERVAL '1 month', TIMESTAMP '2024-02-29 12:00:00')

SELECT time_bucket_gapfill(INTERVAL '1 month', day) AS month, sum(value) AS value, locf(sum(value)) AS last_known, interpolate(sum(value)) AS between FROM (VALUES (DATE '2024-01-15', 100.0), (DATE '2024-04-20', 120.0)) AS t(day, value) GROUP BY month ORDER BY month

SELECT k, time_bucket_gapfill(INTERVAL '1 year', day) AS y, gapfill_locf(max(v)) AS a, gapfill_interpolate(max(v)) AS b FROM (VALUES ('a', DATE '2020-05-01', 1.0), ('a', DATE '2023-05-01', 4.0), ('b', DATE '2021-01-01', 7.0)) AS t(k, day, v) GROUP BY k, y ORDER BY k, y

SELECT authority, time_bucket_gapfill(INTERVAL '1 year', period_start) AS y, count(*) AS n FROM exports GROUP BY authority, y ORDER BY authority, y

SELECT * FROM calendar(DATE '2024-01-31', DATE '2024-05-31', INTERVAL '1 month') ORDER BY period_start

SELECT * FROM calendar(DATE '2024-02-01', DATE '2024-01-01', INTERVAL '1 day')

SELECT calendar_periods(DATE '2024-01-01', DATE '2024-06-30', INTERVAL '3 months') AS periods

SELECT c.period_start, count(q.value) AS n FROM calendar(DATE '2009-01-01', DATE '2026-12-31', INTERVAL '1 year') c LEFT JOIN quotas q ON q.period_start = c.period_start GROUP BY c.period_start ORDER BY c.period_start

SELECT end_of_period(DATE '2024-02-10', 'M'), end_of_period(DATE '2024-02-10', 'Q'), end_of_period(DATE '2024-02-10', 'H'), end_of_period(DATE '2024-02-10', 'A'), end_of_period(DATE '2024-02-10', 'W'), end_of_period(DATE '2024-02-10', 'D'), end_of_period(NULL, 'M')

SELECT fiscal_year(DATE '2024-07-01', 7), fiscal_year(DATE '2024-07-01', 7, 'start'), fiscal_year(DATE '2024-06-30', 7)

SELECT fiscal_year(period_start, 7) AS y, count(*) FROM exports GROUP BY y ORDER BY y

SELECT period_length_months(period_start, period_end) AS months, count(*) FROM exports GROUP BY months ORDER BY months

-- Units, currencies, oxides.

SELECT convert_unit(60.5, 'USD/kg', 'USD/t'), convert_unit(1, '万吨', 't'), convert_unit(1, 'lb', 'kg'), convert_unit(NULL, 't', 'kg')

SELECT product, period_start, convert_unit(value, unit, 'USD/t') AS per_t FROM prices WHERE currency = 'USD' AND price_unit = 'kg' AND value IS NOT NULL ORDER BY series, period_start, period_end

SELECT convert_currency(718.84, 'CNY', 'USD', DATE '2024-12-31'), convert_currency(1, 'CNY', 'CNY', DATE '2024-12-31')

SELECT to_reo(100, 'Nd'), from_reo(116.64, 'Nd'), to_reo(1, 'Ce2(CO3)3'), to_reo(NULL, 'Nd')

SELECT element, compound, value, from_reo(100, compound) AS metal FROM element_factors WHERE factor = 'metal_to_oxide' ORDER BY row_id

-- What the server holds.

SELECT * FROM system.tables ORDER BY table_name

SELECT * FROM system.columns ORDER BY table_name, position

SELECT table_name, version, operation, author, message, rows_added FROM system.commits ORDER BY table_name, version

SELECT * FROM system.files ORDER BY table_name, path

SELECT * FROM system.functions ORDER BY function_name, kind, syntax

SELECT table_name, rows FROM system.tables WHERE kind = 'series' ORDER BY rows DESC, table_name

SELECT table_schema, table_name, table_type FROM information_schema.tables WHERE table_schema <> 'information_schema' ORDER BY 1, 2

SELECT table_name, column_name, ordinal_position, data_type, is_nullable FROM information_schema.columns WHERE table_schema = 'main' ORDER BY 1, 2

SELECT catalog_name, schema_name FROM information_schema.schemata ORDER BY 1, 2

SELECT count(*) > 0 AS some FROM information_schema.views

EXPLAIN SELECT count(*) FROM quotas WHERE stage = 'mining'

EXPLAIN SELECT 1 AS one UNION ALL SELECT 2

EXPLAIN FORMAT TREE SELECT value FROM generate_series(1, 10) WHERE value > 5

-- Aggregates.

SELECT count(*), count(value), count(DISTINCT holder), sum(value), avg(value), min(value), max(value) FROM quotas

SELECT count(*), sum(n), avg(n), min(n), max(n) FROM (SELECT 1 AS n WHERE false)

SELECT stage, count(*) FILTER (WHERE holder_kind = 'national') AS national, count(*) AS n FROM quotas GROUP BY stage HAVING count(*) > 3 ORDER BY stage

SELECT stage, commodity, count(*) AS n, grouping(stage) AS g FROM quotas GROUP BY ROLLUP (stage, commodity) ORDER BY 1, 2

SELECT authority, unit, count(*) AS n FROM exports GROUP BY CUBE (authority, unit) ORDER BY 1, 2

SELECT authority, flow, count(*) AS n FROM exports GROUP BY GROUPING SETS ((authority), (flow), ()) ORDER BY 1, 2

SELECT stddev(n), var_pop(n), median(n), corr(n, n * 2), covar_pop(n, n) FROM (VALUES (1), (2), (4)) AS t(n)

SELECT array_agg(n ORDER BY n DESC) AS ns, string_agg(s, ', ' ORDER BY s) AS ss FROM (VALUES (1, 'b'), (2, 'a')) AS t(n, s)

SELECT bool_and(n > 0), bool_or(n > 1), bit_and(n), bit_or(n), bit_xor(n) FROM (VALUES (1), (3)) AS t(n)

SELECT first_value(n ORDER BY n), last_value(n ORDER BY n), nth_value(n, 2 ORDER BY n) FROM (VALUES (3), (1), (2)) AS t(n)

SELECT approx_percentile_cont(0.5) WITHIN GROUP (ORDER BY n) FROM (VALUES (1.0), (2.0), (3.0)) AS t(n)

SELECT percentile_cont(0.25) WITHIN GROUP (ORDER BY n) AS p FROM (VALUES (1.0), (2.0), (3.0)) AS t(n)

SELECT DISTINCT holder_kind FROM quotas ORDER BY holder_kind

SELECT DISTINCT ON (holder_kind) holder_kind, row_id FROM quotas ORDER BY holder_kind, row_id

SELECT value % 7 AS k, count(*), sum(value), min(value), max(value) FROM generate_series(1, 100000) GROUP BY k ORDER BY k

-- Windows.

SELECT value, row_number() OVER (ORDER BY value) AS r, rank() OVER (ORDER BY value % 3) AS k, dense_rank() OVER (ORDER BY value % 3) AS d, ntile(4) OVER (ORDER BY value) AS q FROM generate_series(1, 20) ORDER BY value

SELECT value, lag(value, 2, -1) OVER (ORDER BY value) AS a, lead(value) OVER (ORDER BY value) AS b FROM generate_series(1, 6) ORDER BY value

SELECT value, sum(value) OVER (ORDER BY value ROWS BETWEEN 1 PRECEDING AND 1 FOLLOWING) AS s, avg(value) OVER (ORDER BY value RANGE BETWEEN 2 PRECEDING AND CURRENT ROW) AS a FROM generate_series(1, 8) ORDER BY value

SELECT holder, period_start, issued, percent_rank() OVER w AS p, cume_dist() OVER w AS c FROM (SELECT holder, period_start, max(value) AS issued FROM quotas WHERE stage = 'mining' GROUP BY holder, period_start) WINDOW w AS (PARTITION BY period_start ORDER BY issued) ORDER BY period_start, holder

SELECT n, first_value(n) OVER w AS f, last_value(n) OVER w AS l, nth_value(n, 2) OVER w AS x FROM (VALUES (1), (2), (3)) AS t(n) WINDOW w AS (ORDER BY n) ORDER BY n

SELECT p FROM (VALUES (1), (2)) AS t(p) WHERE p > 0 WINDOW w AS (ORDER BY p) QUALIFY row_number() OVER w = 2

SELECT holder, value FROM quotas WHERE stage = 'mining' QUALIFY row_number() OVER (PARTITION BY holder ORDER BY value DESC, row_id) = 1 ORDER BY holder

SELECT DISTINCT stage, sum(count(*)) OVER (PARTITION BY stage) AS n FROM quotas GROUP BY stage, holder ORDER BY stage

-- Common tables, sets, subqueries, joins.

WITH a AS (SELECT 1 AS n), b AS (SELECT n + 1 AS n FROM a) SELECT * FROM a UNION ALL SELECT * FROM b ORDER BY n

WITH RECURSIVE r AS (SELECT 1 AS n UNION ALL SELECT n + 1 FROM r WHERE n < 50) SELECT count(*), sum(n) FROM r

SELECT holder FROM quotas UNION SELECT producer FROM production ORDER BY holder

SELECT holder FROM quotas INTERSECT SELECT producer FROM production ORDER BY holder

SELECT holder FROM quotas EXCEPT SELECT producer FROM production ORDER BY holder

SELECT value FROM generate_series(1, 5) EXCEPT ALL SELECT value FROM generate_series(2, 3) ORDER BY value

SELECT value FROM generate_series(1, 10) WHERE value IN (SELECT value * 2 FROM generate_series(1, 3)) ORDER BY value

SELECT s.source_id FROM sources s WHERE NOT EXISTS (SELECT 1 FROM all_vintages('quotas') q WHERE q.source_id = s.source_id) ORDER BY s.source_id

SELECT (SELECT max(value) AS m FROM quotas) AS m, (SELECT max(value) AS n FROM quotas WHERE false) AS nothing

SELECT a.n, b.n AS m FROM (VALUES (1), (2)) AS a(n) FULL JOIN (VALUES (2), (3)) AS b(n) ON a.n = b.n ORDER BY a.n, b.n

SELECT a.n FROM (VALUES (1), (2)) AS a(n) LEFT SEMI JOIN (VALUES (2), (3)) AS b(n) ON a.n = b.n ORDER BY a.n

SELECT * FROM (VALUES (1, 'a'), (2, 'b')) AS t(n, s) JOIN (VALUES (1, 'c')) AS u(n, z) USING (n) ORDER BY n

SELECT * FROM (VALUES (1, 'a'), (2, 'b')) AS t(n, s) NATURAL JOIN (VALUES (2, 'c')) AS u(n, z)

SELECT a.n, b.m FROM (VALUES (1), (5)) AS a(n) JOIN (VALUES (2), (4)) AS b(m) ON a.n < b.m ORDER BY 1, 2

VALUES (1, 'a'), (2, 'b') ORDER BY 1

-- Texts.

SELECT upper('mühle'), lower('ÄÖ'), length('稀土'), octet_length('稀土'), reverse('abc'), initcap('rare earth'), 'a' || 'b'

SELECT substr('didymium', 2, 3), left('abc', 2), right('abc', 2), strpos('abc', 'c'), split_part('a/b/c', '/', 2), trim('  x '), ltrim('xxa', 'x'), lpad('7', 3, '0')

SELECT replace('aba', 'a', 'o'), translate('abc', 'ab', 'xy'), concat('a', NULL, 'b'), concat_ws('-', 'a', 'b'), repeat('ab', 3), chr(228), ascii('a'), bit_length('x')

SELECT regexp_replace('2024年', '[0-9]+', 'N'), regexp_like('abc', '^a'), regexp_count('banana', 'a'), regexp_match('2024-07', '([0-9]+)-([0-9]+)')

SELECT 'abc' LIKE 'a%', 'ABC' ILIKE 'a%', 'abc' SIMILAR TO 'a.c', 'abc' ~ 'b', starts_with('abc', 'ab'), contains('abc', 'z'), levenshtein('kitten', 'sitting')

SELECT '' AS empty, 'a,"b"' AS quoted, 'line' || chr(10) || 'line' AS lines, '稀土氧化物 🪨' AS wide, NULL::text AS nothing

SELECT DISTINCT printed_unit FROM all_vintages('exports') ORDER BY printed_unit

SELECT encode('x', 'hex'), arrow_cast('abc', 'Binary') AS bytes, encode('abc', 'base64'), to_hex(255)

SELECT arrow_cast('x', 'Utf8View') AS v, arrow_cast('x', 'Dictionary(Int32, Utf8)') AS d, arrow_cast('x', 'LargeUtf8') AS l

-- Days, times, intervals.

SELECT DATE '2024-02-29' + INTERVAL '1 year', DATE '2024-03-31' - INTERVAL '1 month', DATE '2024-03-01' - DATE '2024-02-01', TIMESTAMP '2024-01-01 00:00:00' + INTERVAL '90 minutes'

SELECT date_trunc('month', DATE '2024-02-29'), date_part('doy', DATE '2024-02-29'), extract(quarter FROM DATE '2024-02-29'), date_bin(INTERVAL '1 day', TIMESTAMP '2024-02-29 12:00:00')

SELECT to_char(DATE '2024-02-29', '%Y/%m'), to_date('2024-02-29'), to_timestamp('2024-02-29T12:00:00'), to_timestamp_millis(1709208000000), make_date(2024, 2, 29), from_unixtime(1709208000), to_unixtime('2024-02-29T12:00:00Z')

SELECT TIME '12:34:56' AS t, arrow_cast(1, 'Duration(Second)') AS d, arrow_cast(5, 'Timestamp(Second, None)') AS s, TIMESTAMP '2024-01-01 12:00:00+08:00' AS z

SELECT INTERVAL '1 year 2 months 3 days' AS i, INTERVAL '1 day' + INTERVAL '2 hours' AS j, NULL::interval AS k

SELECT TIMESTAMP '2024-01-01 12:00:00' AT TIME ZONE 'Asia/Shanghai' AS shanghai

SELECT DATE '0001-01-01', DATE '9999-12-31', TIMESTAMP '1969-12-31 23:59:59.999999'

SELECT period_start, period_end, period_end - period_start AS days FROM exports WHERE NOT cumulative AND authority = 'GACC' ORDER BY series, period_start, period_end

SELECT generate_series(DATE '2024-01-30', DATE '2024-04-30', INTERVAL '1 month') AS days, date_part('month', DATE '2024-02-29')

-- Numbers.

SELECT 1 + 2 * 3, 7 / 2, 7 % 3, -7 / 2, 7.0 / 2, 2 ^ 3, 5 & 3, 5 | 3, 1 << 4

SELECT 1.5::decimal(5, 2) AS d, CAST('12345678901234567890.123' AS DECIMAL(30, 3)) AS long, 0.1 + 0.2 AS sum, 1.10::decimal(10, 2) * 3::decimal(10, 0) AS product, -0.005::decimal(10, 3) AS small

SELECT sum(n), avg(n), max(n) FROM (VALUES (1.10::decimal(10, 2)), (2.25), (NULL)) AS t(n)

SELECT abs(-1), ceil(1.2), floor(-1.2), round(2.5), round(-2.345, 2), trunc(1.9), sqrt(2e0), power(2, 10), exp(1e0), ln(10e0), log(2, 8), signum(-3)

SELECT sin(1e0), atan2(1e0, 2e0), pi(), degrees(1e0), radians(180e0), cbrt(27e0), gcd(12, 18), lcm(4, 6), factorial(5)

SELECT arrow_cast(1, 'Int8') AS a, arrow_cast(1, 'UInt16') AS b, arrow_cast(1, 'Float32') AS c, arrow_cast(255, 'UInt8') AS d, arrow_cast(18446744073709551615, 'UInt64') AS e, arrow_cast(1.5, 'Float16') AS f

SELECT 9223372036854775807 AS largest, -9223372036854775808 AS smallest, 1e308 AS big, 5e-324 AS tiny, 'NaN'::double AS nan, 'Infinity'::double AS inf, -0e0 AS zero

SELECT n, n IS DISTINCT FROM 2 AS d, n BETWEEN 1 AND 2 AS b, n NOT IN (1, 2) AS i FROM (VALUES (1), (2), (3), (NULL)) AS t(n) ORDER BY n

SELECT CAST('12' AS INT), TRY_CAST('x' AS INT), CAST(1.9 AS BIGINT), CAST(true AS INT), CAST(DATE '2024-01-01' AS TEXT), CAST(1 AS BOOLEAN)

-- NULLs and conditions.

SELECT NULL AS a, NULL::int AS b, NULL::text AS c, NULL::date AS d, NULL::decimal(5, 2) AS e, NULL AND false AS f, NULL OR true AS g, NULL = NULL AS h

SELECT coalesce(NULL, 1), nullif(1, 1), nvl(NULL, 2), nvl2(NULL, 1, 2), greatest(1, NULL, 3), least(2, 1), CASE WHEN NULL THEN 1 ELSE 2 END, CASE 1 WHEN 1 THEN 'one' END

SELECT n FROM (VALUES (NULL), (1), (2)) AS t(n) ORDER BY n DESC NULLS LAST

SELECT value, value_low, value_high FROM prices WHERE value IS NULL AND value_low IS NOT NULL ORDER BY series, period_start, period_end

SELECT true, false, NOT true, true <> false, 1 IS NULL, (1 = 1) IS TRUE

-- Lists, structs, maps.

SELECT [1, 2, NULL] AS a, [[1], [2, 3]] AS b, make_array() AS c, ['x', NULL] AS d, array_length([1, 2]), [1, 2, 3][2], [1, 2, 3][2:3]

SELECT array_append([1], 2), array_concat([1], [2]), array_sort([3, 1, 2]), array_distinct([1, 1]), array_position(['a', 'b'], 'b'), array_to_string([1, 2], '-'), array_has([1], 1), cardinality([1, 2]), flatten([[1], [2]])

SELECT unnest([3, 1, 2]) AS n ORDER BY n

SELECT k, unnest(ns) AS n FROM (VALUES ('a', [1, 2]), ('b', [3])) AS t(k, ns) ORDER BY k, n

SELECT struct(1 AS a, 'x' AS b) AS s, named_struct('n', 1, 'm', NULL) AS t, {'a': 1}['a'] AS one, struct(1, 2)

SELECT unnest(struct(1 AS a, 'x' AS b))

SELECT [named_struct('day', DATE '2024-01-01', 'v', 1.5)] AS list, named_struct('ns', [1, 2]) AS nested

SELECT map(['a', 'b'], [1, 2]) AS m, map_keys(map(['a'], [1])) AS k, map_values(map(['a'], [1])) AS v

SELECT holder, array_agg(DISTINCT stage ORDER BY stage) AS stages FROM quotas GROUP BY holder ORDER BY holder

SELECT array_agg(n) FILTER (WHERE n > 5) AS none, array_agg(n ORDER BY n) AS some FROM (VALUES (1), (NULL)) AS t(n)

SELECT arrow_cast(['x'], 'List(Utf8View)') AS l, arrow_cast([1, 2], 'LargeList(Int32)') AS m, arrow_cast([1, 2], 'FixedSizeList(2, Int64)') AS f

SELECT range(0, 10, 3) AS r, generate_series(1, 3) AS g, array_repeat('a', 2) AS s, string_to_array('a,b', ',') AS t

-- Names that are nearly the same.

SELECT 1 AS a, 2 AS "A", 3 AS " a", 4 AS "a ", 5 AS "ä", 6 AS "a.b", 7 AS "a""b", 8 AS "选"

SELECT a.n, b.n FROM (VALUES (1)) AS a(n) JOIN (VALUES (1)) AS b(n) ON a.n = b.n

SELECT 1 AS "", 2 AS " "

-- Empty and long results.

SELECT * FROM quotas WHERE holder = 'nobody' ORDER BY series

SELECT [1] AS l, struct(1 AS a) AS s, DATE '2024-01-01' AS d, 1.5::decimal(5, 2) AS n, NULL AS nothing WHERE false

SELECT value FROM generate_series(1, 0)

SELECT value FROM generate_series(1, 100000) ORDER BY value

SELECT value, 'row ' || value AS text, value % 5 = 0 AS fifth, CASE WHEN value % 3 <> 0 THEN value / 3.0e0 END AS third FROM generate_series(1, 100000) ORDER BY value

SELECT value, repeat('x', 200) AS padding FROM generate_series(1, 20000) ORDER BY value DESC

SELECT repeat('x', 250000) AS a, repeat('稀', 80000) AS b

SELECT a.value AS x, b.value AS y FROM generate_series(1, 200) a CROSS JOIN generate_series(1, 200) b ORDER BY x, y

SELECT value, [value, value + 1] AS pair, named_struct('n', value) AS s FROM generate_series(1, 30000) ORDER BY value

SELECT value FROM generate_series(10, 1, -3) ORDER BY value LIMIT 3 OFFSET 1

-- a comment, and a semicolon at the end
SELECT 1 AS one; -- of the statement

-- What is wrong.

-- wrong: INVALID_ARGUMENT
SELEC 1

-- wrong: INVALID_ARGUMENT
SELECT

-- wrong: INVALID_ARGUMENT
SELECT 'open

-- wrong: INVALID_ARGUMENT
SELECT 1; SELECT 2

-- wrong: INVALID_ARGUMENT
SELECT ((((((((((((((((((((((((((((((((((((((((((((((((((((((((((((1))))))))))))))))))))))))))))))))))))))))))))))))))))))))))))

-- wrong: INVALID_ARGUMENT
;

-- wrong: INVALID_ARGUMENT
SELECT valu FROM (VALUES (1)) AS t(value)

-- wrong: INVALID_ARGUMENT
SELECT nobody FROM quotas

-- wrong: INVALID_ARGUMENT
SELECT q.nothing FROM quotas q

-- wrong: INVALID_ARGUMENT
SELECT yoyo(1)

-- wrong: NOT_FOUND
SELECT * FROM no_such_relation(1)

-- wrong: INVALID_ARGUMENT
SELECT upper(1, 2)

-- wrong: INVALID_ARGUMENT
SELECT 'x'::int

-- wrong: INVALID_ARGUMENT
SELECT CAST(holder AS INT) FROM quotas

-- wrong: INVALID_ARGUMENT
SELECT DATE '2024-02-30'

-- wrong: INVALID_ARGUMENT
SELECT INTERVAL '1 furlong'

-- wrong: INVALID_ARGUMENT
SELECT 1 / 0

-- wrong: INVALID_ARGUMENT
SELECT value % (value - value) FROM generate_series(1, 3)

-- wrong: INVALID_ARGUMENT
SELECT 1 + 'x'::text || DATE '2024-01-01' + true

-- wrong: INVALID_ARGUMENT
SELECT holder, count(*) FROM quotas

-- wrong: INVALID_ARGUMENT
SELECT count(*) FROM quotas WHERE count(*) > 1

-- wrong: INVALID_ARGUMENT
SELECT 1 UNION SELECT 1, 2

-- wrong: INVALID_ARGUMENT
SELECT (SELECT value FROM generate_series(1, 3))

-- wrong: INVALID_ARGUMENT
SELECT (SELECT 1, 2)

-- wrong: INVALID_ARGUMENT
SELECT * FROM quotas WHERE value

-- wrong: INVALID_ARGUMENT
SELECT * FROM (VALUES (1), (1, 2)) AS t

-- wrong: INVALID_ARGUMENT
WITH a AS (SELECT 1), a AS (SELECT 2) SELECT * FROM a

-- wrong: INVALID_ARGUMENT
SELECT row_number() FROM quotas

-- wrong: INVALID_ARGUMENT
SELECT regexp_like('a', '(')

-- wrong: INVALID_ARGUMENT
SELECT arrow_cast(1, 'Nothing')

-- wrong: INVALID_ARGUMENT
SELECT $1

-- wrong: INVALID_ARGUMENT
SELECT * FROM quotas WHERE stage = ?

-- wrong: INVALID_ARGUMENT
SELECT array_resize([1], -1, 0)

-- wrong: INVALID_ARGUMENT
SELECT "first_value"() OVER ()

-- wrong: INVALID_ARGUMENT
SELECT approx_percentile_cont(x, 0.5, 1000000000000) FROM (VALUES (1e0), (2e0)) AS t(x)

-- wrong: INVALID_ARGUMENT
SELECT yoy(value, DATE '2024-01-01') OVER () FROM (VALUES (1.0), (2.0)) AS t(value)

-- wrong: INVALID_ARGUMENT
SELECT yoy(value) FROM quotas

-- wrong: INVALID_ARGUMENT
SELECT yoy(holder, period_start) OVER (ORDER BY period_start) FROM quotas

-- wrong: INVALID_ARGUMENT
SELECT yoy(value, period_start, match => 'X') OVER (PARTITION BY series ORDER BY period_start) FROM quotas

-- wrong: INVALID_ARGUMENT
SELECT ytd(value, period_start, period_end, 13) OVER (PARTITION BY series ORDER BY period_start) FROM exports

-- wrong: INVALID_ARGUMENT
SELECT execution_rate(1, -1)

-- wrong: INVALID_ARGUMENT
SELECT quota_execution_rate(1, -1)

-- wrong: INVALID_ARGUMENT
SELECT convert_unit(1, 't', 'furlong')

-- wrong: INVALID_ARGUMENT
SELECT convert_unit(1, 'USD/kg', 'CNY/kg')

-- wrong: INVALID_ARGUMENT
SELECT to_reo(1, 'Fe')

-- wrong: INVALID_ARGUMENT
SELECT end_of_period(DATE '2024-01-01', 'X')

-- wrong: INVALID_ARGUMENT
SELECT fiscal_year(DATE '2024-01-01', 13)

-- wrong: INVALID_ARGUMENT
SELECT time_bucket(INTERVAL '1 month 1 day', DATE '2024-01-01')

-- wrong: INVALID_ARGUMENT
SELECT time_bucket_gapfill(INTERVAL '1 month', DATE '2024-01-01')

-- wrong: INVALID_ARGUMENT
SELECT cagr(v, day) FROM (VALUES (1, DATE '2020-01-01'), (2, DATE '2020-01-01'), (3, DATE '2024-01-01')) AS t(v, day)

-- wrong: INVALID_ARGUMENT
SELECT * FROM calendar(DATE '2024-01-01', DATE '2024-12-31', INTERVAL '-1 month')

-- wrong: INVALID_ARGUMENT
SELECT * FROM calendar(2024, 2025, INTERVAL '1 year')

-- wrong: INVALID_ARGUMENT
SELECT * FROM as_of('quotas')

-- wrong: INVALID_ARGUMENT
SELECT * FROM as_of('quotas', DATE '2030-01-01')

-- wrong: INVALID_ARGUMENT
SELECT * FROM as_of('sources', DATE '2020-01-01')

-- wrong: INVALID_ARGUMENT
SELECT * FROM as_of(quotas, DATE '2020-01-01')

-- wrong: INVALID_ARGUMENT
SELECT * FROM all_vintages('quotas', DATE '2020-01-01')

-- wrong: INVALID_ARGUMENT
SELECT * FROM quota_issued(2024, DATE '2031-01-01')

-- wrong: INVALID_ARGUMENT
WITH a(day) AS (VALUES (DATE '2024-01-01')), b(day) AS (VALUES (DATE '2023-01-01'), (DATE '2023-01-01')) SELECT * FROM a ASOF JOIN b MATCH_CONDITION (a.day >= b.day)

-- wrong: NOT_FOUND
SELECT * FROM nowhere

-- wrong: NOT_FOUND
SELECT * FROM quota

-- wrong: NOT_FOUND
SELECT * FROM elsewhere.t

-- wrong: NOT_FOUND
SELECT * FROM other.main.quotas

-- wrong: NOT_FOUND
SELECT * FROM system.settings

-- wrong: NOT_FOUND
SELECT * FROM information_schema.df_settings

-- wrong: NOT_FOUND
SELECT * FROM as_of('quota', DATE '2020-01-01')

-- wrong: NOT_FOUND
SELECT * FROM quotas WHERE value IN (SELECT value FROM nothing)

-- wrong: NOT_FOUND
SELECT * FROM "Quotas"

-- wrong: PERMISSION_DENIED
DROP TABLE quotas

-- wrong: PERMISSION_DENIED
DELETE FROM quotas

-- wrong: PERMISSION_DENIED
INSERT INTO quotas SELECT * FROM quotas

-- wrong: PERMISSION_DENIED
CREATE TABLE t AS SELECT 1

-- wrong: PERMISSION_DENIED
CREATE EXTERNAL TABLE t STORED AS CSV LOCATION '/etc/hostname'

-- wrong: PERMISSION_DENIED
COPY quotas TO 'quotas.csv'

-- wrong: PERMISSION_DENIED
SET datafusion.execution.batch_size = 1

-- wrong: PERMISSION_DENIED
SHOW TABLES

-- wrong: PERMISSION_DENIED
PREPARE p AS SELECT 1

-- wrong: PERMISSION_DENIED
EXPLAIN DROP TABLE quotas

-- wrong: UNIMPLEMENTED
SELECT * FROM quotas TABLESAMPLE BERNOULLI (1)

-- wrong: UNIMPLEMENTED
SELECT * FROM quotas FOR UPDATE

-- wrong: UNIMPLEMENTED
SELECT * FROM quotas FETCH FIRST 5 PERCENT ROWS ONLY

-- wrong: UNIMPLEMENTED
CREATE MATERIALIZED VIEW v AS SELECT 1

-- wrong: UNIMPLEMENTED
SELECT TOP 5 * FROM quotas

-- wrong: ALREADY_EXISTS
CREATE VIEW quotas AS SELECT 1 AS one

-- wrong: NOT_FOUND
DROP VIEW no_such_view

-- wrong: OUT_OF_RANGE
SELECT 9223372036854775807 + 1

-- wrong: OUT_OF_RANGE
SELECT -n FROM (VALUES (-9223372036854775808)) AS t(n)

-- wrong: OUT_OF_RANGE
SELECT n * n FROM (VALUES (4294967296)) AS t(n)

-- wrong: OUT_OF_RANGE
SELECT sum(n) FROM (VALUES (9223372036854775807), (1)) AS t(n)

-- wrong: OUT_OF_RANGE
SELECT 99999999999999999999999999999999999999::decimal(38, 0) * 10::decimal(38, 0)

-- wrong: OUT_OF_RANGE
SELECT DATE '9999-12-31' + INTERVAL '300000 years'

-- wrong: OUT_OF_RANGE
SELECT sum(n) FROM (VALUES ('90000000000000000000000000000000000000'::decimal(38, 0)), ('90000000000000000000000000000000000000'::decimal(38, 0))) AS t(n)

-- wrong: OUT_OF_RANGE
SELECT abs(-9223372036854775808)

-- wrong: OUT_OF_RANGE
SELECT factorial(30)

-- wrong: INVALID_ARGUMENT
SELECT 300::tinyint

-- wrong: RESOURCE_EXHAUSTED
SELECT repeat('x', 2000000000)

-- wrong: RESOURCE_EXHAUSTED
SELECT replace(s, 'a', repeat('x', 200000)) FROM (VALUES (repeat('a', 200000))) AS t(s)

-- wrong: RESOURCE_EXHAUSTED
SELECT array_repeat('x', 1000000000000)

-- wrong: RESOURCE_EXHAUSTED
SELECT unnest(range(1, n)) FROM (VALUES (1000000000000)) AS t(n)

-- wrong: RESOURCE_EXHAUSTED
SELECT levenshtein(s, s) FROM (VALUES (repeat('x', 100000))) AS t(s)
