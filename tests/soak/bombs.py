"""Statements that take all memory or all time, and what may come of them."""

from __future__ import annotations

from test_overload import BOMBS as SMALL
from test_overload import MULTIPLIED, SHAPES, STREAMING

#: Heavy in memory, each in a way of its own.
BOMBS = {
    **{name: SMALL[name] for name in ("repeat", "IN")},
    # Without those of the tests' own table.
    **{name: sql for name, sql in MULTIPLIED.items() if "of a scan" not in name},
    "replace": "select length(replace(repeat('x', 1000000), 'x', repeat('y', 100)))",
    "concat": "select sum(length(concat(s, s, s, s))) from (select repeat('x', 250000 + x % 7) s from generate_series(1, 100000) t(x))",
    "window": "select sum(n) from (select row_number() over (order by x * 7919 % 1000003) n from generate_series(1, 50000000) t(x))",
    "array_agg window": "select sum(cardinality(l)) from (select array_agg(x) over (order by x) l from generate_series(1, 40000) t(x))",
    "cube": "select count(*) from (select 1 from generate_series(1, 200000) t(x) group by cube ({}))".format(
        ", ".join(f"x % {n}" for n in range(2, 10))
    ),
    "cube of 20": "select count(*) from generate_series(1, 10) t(x) group by cube ({})".format(", ".join(f"x % {n}" for n in range(2, 22))),
    "cross join": "select count(*) from (select a.x, b.x, c.x from generate_series(1, 100000) a(x), generate_series(1, 100000) b(x), "
    "generate_series(1, 100000) c(x) where a.x + b.x + c.x < 0)",
    "unnest": "select count(*) from (select unnest(range(1, 1000000)) from generate_series(1, 1000))",
    "distinct": "select count(distinct s) from (select lpad(cast(x as varchar), 500, 'x') s from generate_series(1, 5000000) t(x))",
    "hash join": "select count(*) from generate_series(1, 20000000) a(x) join generate_series(1, 20000000) b(y) on a.x = b.y",
}

#: They never end.
TIMELESS = {
    **{name: SHAPES[name] for name in ("counting", "recursion", STREAMING)},
    "inequality join": SHAPES["inequality join"].replace("100000", "1000000"),
}

MAPPED = {"OK", "RESOURCE_EXHAUSTED", "INVALID_ARGUMENT", "OUT_OF_RANGE", "DEADLINE_EXCEEDED", "CANCELLED", "UNIMPLEMENTED"}
