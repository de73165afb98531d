"""What is asked of Didymium, and the same in DuckDB's words."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass
class Question:
    """A question to Didymium, which DuckDB must answer alike.

    Its time is compared with that of `base`, another question to Didymium; without one, with DuckDB's, of whose ways
    the fastest counts.
    """

    name: str
    ours: str
    duckdb: dict[str, str] = field(default_factory=dict)
    base: str | None = None
    #: What the ratio must not exceed, where that is required.
    limit: float | None = None


OVER = "OVER (PARTITION BY series ORDER BY period_start, period_end)"

#: DuckDB: each series' months from its first to its last.
MONTHS = """WITH months AS (
    SELECT series, unnest(generate_series(min(period_start), max(period_start), INTERVAL 1 MONTH))::DATE AS month
    FROM output GROUP BY series)"""

#: The day as of which the table `editions` is asked, in the middle of its vintages.
MIDDLE = "1991-11-10"

#: DuckDB: the newest vintage of each period.
NEWEST = """(SELECT series, period_start, arg_max(period_end, published_on) AS period_end,
    arg_max(value, published_on) AS value, max(published_on) AS published_on FROM {} GROUP BY series, period_start)"""

COLUMN = "SELECT count(*), sum(value)"
WHOLE_ROWS = f"{COLUMN}, max(series), max(period_start), max(period_end), max(published_on)"

QUESTIONS = [
    Question(
        "gap filling",
        """SELECT count(*), sum(known) FROM (
            SELECT series, time_bucket_gapfill(INTERVAL '1 month', period_start) AS month, locf(sum(value)) AS known
            FROM output GROUP BY series, month)""",
        {
            "join and window": f"""{MONTHS}
                SELECT count(*), sum(known) FROM (
                    SELECT last_value(value IGNORE NULLS) OVER (
                        PARTITION BY m.series ORDER BY month ROWS UNBOUNDED PRECEDING) AS known
                    FROM months m LEFT JOIN output o ON o.series = m.series AND o.period_start = m.month)""",
            "as-of join": f"""{MONTHS}
                SELECT count(*), sum(value)
                FROM months m ASOF LEFT JOIN output o ON o.series = m.series AND m.month >= o.period_start""",
            "months up to the next row": """
                SELECT count(*), sum(value) FROM (
                    SELECT value, unnest(generate_series(month, coalesce(next - month_long, month), month_long))
                    FROM (SELECT value, INTERVAL 1 MONTH AS month_long, period_start AS month,
                              lead(month) OVER (PARTITION BY series ORDER BY month) AS next FROM output))""",
        },
    ),
    Question(
        "as-of join, plain tables",
        """SELECT count(a.amount), sum(s.amount * a.amount)
            FROM shipments s ASOF JOIN asked a MATCH_CONDITION (s.day >= a.day) ON s.mine = a.mine""",
        {
            "as-of join": """SELECT count(a.amount), sum(s.amount * a.amount)
                FROM shipments s ASOF LEFT JOIN asked a ON s.mine = a.mine AND s.day >= a.day"""
        },
    ),
    Question(
        "as-of join, series tables",
        """SELECT count(p.value), sum(o.value * p.value)
            FROM output o ASOF JOIN price p MATCH_CONDITION (o.period_end >= p.period_start) ON o.mine = p.mine""",
        {
            "as-of join": """SELECT count(p.value), sum(o.value * p.value)
                FROM output o ASOF LEFT JOIN price p ON o.mine = p.mine AND o.period_end >= p.period_start"""
        },
    ),
    Question(
        "yoy",
        f"""SELECT count(growth), sum(growth)
            FROM (SELECT yoy(value, period_start, period_end) {OVER} AS growth FROM output)""",
        {
            "window over a year": """SELECT count(base), sum(value / base - 1) FROM (
                SELECT value, first_value(value) OVER (PARTITION BY series ORDER BY period_start
                    RANGE BETWEEN INTERVAL 1 YEAR PRECEDING AND INTERVAL 1 YEAR PRECEDING) AS base FROM output)""",
            "self-join": """SELECT count(b.value), sum(a.value / b.value - 1) FROM output a
                JOIN output b ON b.series = a.series AND b.period_start = (a.period_start - INTERVAL 1 YEAR)::DATE""",
        },
    ),
    Question(
        "ytd",
        f"""SELECT count(total), sum(total)
            FROM (SELECT ytd(value, period_start, period_end) {OVER} AS total FROM output)""",
        {
            "window": """SELECT count(*), sum(total) FROM (
                SELECT month(period_start) AS month, sum(value) OVER year AS total, count(*) OVER year AS months
                FROM output WINDOW year AS (PARTITION BY series, year(period_start) ORDER BY period_start))
                WHERE months = month"""
        },
    ),
    Question(
        "from_ytd",
        f"""SELECT count(flow), sum(flow)
            FROM (SELECT from_ytd_value(value, period_start, period_end) {OVER} AS flow FROM running)""",
        {
            "window": """SELECT count(flow), sum(flow) FROM (
                SELECT value - lag(value, 1, 0) OVER (PARTITION BY series, period_start ORDER BY period_end) AS flow
                FROM running)"""
        },
    ),
    Question(
        "locf",
        f"""SELECT count(known), sum(known) FROM (
            SELECT locf(CASE WHEN value > 500 THEN value END, period_start, period_end) {OVER} AS known FROM output)""",
        {
            "window": """SELECT count(known), sum(known) FROM (
                SELECT last_value(CASE WHEN value > 500 THEN value END IGNORE NULLS) OVER (
                    PARTITION BY series ORDER BY period_start ROWS UNBOUNDED PRECEDING) AS known FROM output)"""
        },
    ),
    Question(
        "newest of 1 vintage, a column",
        f"{COLUMN} FROM output",
        {"all rows": f"{COLUMN} FROM output"},
        base=f"{COLUMN} FROM all_vintages('output')",
        limit=1.1,
    ),
    Question(
        "newest of 1 vintage, whole rows",
        f"{WHOLE_ROWS} FROM output",
        {"all rows": f"{WHOLE_ROWS} FROM output"},
        base=f"{WHOLE_ROWS} FROM all_vintages('output')",
        limit=1.1,
    ),
    Question(
        "newest of 3 vintages, a column",
        f"{COLUMN} FROM revised",
        {"newest": f"{COLUMN} FROM {NEWEST.format('revised')}"},
        # No limit: what chooses a row is in other columns than the one that is asked for.
        base=f"{COLUMN} FROM all_vintages('revised')",
    ),
    Question(
        "newest of 3 vintages, whole rows",
        f"{WHOLE_ROWS} FROM revised",
        {"newest": f"{WHOLE_ROWS} FROM {NEWEST.format('revised')}"},
        base=f"{WHOLE_ROWS} FROM all_vintages('revised')",
        limit=4,
    ),
    Question(
        "as_of among 5,000 vintages",
        f"{COLUMN} FROM as_of('editions', DATE '{MIDDLE}')",
        {"newest": f"{COLUMN} FROM {NEWEST.format(f'(FROM editions WHERE published_on <= DATE {MIDDLE!r})')}"},
        base=f"{COLUMN} FROM editions",
        limit=2,
    ),
]
