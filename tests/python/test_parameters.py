"""Parameters: values that stand beside the statement and never become a part of its text."""

import math
from datetime import date
from decimal import Decimal
from typing import Any

import pytest
from grpc import StatusCode

import harness
from didymium.v1 import query_pb2
from harness import Server

NULL = query_pb2.Value(null=0)


def text(value: str) -> query_pb2.Value:
    return query_pb2.Value(text=value)


def integer(value: int) -> query_pb2.Value:
    return query_pb2.Value(integer=value)


def number(value: float) -> query_pb2.Value:
    return query_pb2.Value(number=value)


def decimal(value: str) -> query_pb2.Value:
    return query_pb2.Value(decimal=value)


def day(year: int, month: int, day: int) -> query_pb2.Value:
    return query_pb2.Value(date=query_pb2.Date(year=year, month=month, day=day))


HOSTILE = [
    "'; drop table quotas; --",
    "' or '1'='1",
    "mining' union select title from sources --",
    '"quotas"',
    "$1",
    "$stage",
    "?",
    "\\' or 1=1 --",
    "/* */ ' -- \n ;",
    "as_of('quotas', DATE '2020-01-01')",
    "",
    "稀土 \u200b\u0000 \U0001f9f2",
    "x" * 100_000,
]


@pytest.mark.parametrize(
    ("value", "arrow_type", "expected"),
    [
        (query_pb2.Value(boolean=True), "Boolean", True),
        (query_pb2.Value(boolean=False), "Boolean", False),
        (integer(0), "Int64", 0),
        (integer(-5), "Int64", -5),
        (integer(2**63 - 1), "Int64", 2**63 - 1),
        (integer(-(2**63)), "Int64", -(2**63)),
        (number(0.0588), "Float64", 0.0588),
        (number(-1e-300), "Float64", -1e-300),
        (number(1.7976931348623157e308), "Float64", 1.7976931348623157e308),
        (number(5e-324), "Float64", 5e-324),
        (number(3.0), "Float64", 3.0),
        (day(2024, 2, 29), "Date32", date(2024, 2, 29)),
        (day(1, 1, 1), "Date32", date(1, 1, 1)),
        (day(9999, 12, 31), "Date32", date(9999, 12, 31)),
        (decimal("1234.50"), "Decimal128(6, 2)", Decimal("1234.50")),
        (decimal("-0.05"), "Decimal128(3, 2)", Decimal("-0.05")),
        (decimal("9" * 38), "Decimal128(38, 0)", Decimal("9" * 38)),
        (decimal("-" + "9" * 20 + "." + "1" * 18), "Decimal128(38, 18)", Decimal("-" + "9" * 20 + "." + "1" * 18)),
        (decimal("+7"), "Decimal128(1, 0)", Decimal(7)),
        *((text(value), "Utf8", value) for value in HOSTILE),
    ],
    ids=lambda value: str(value)[:40] if isinstance(value, str | int | float | date | Decimal) else "",
)
def test_a_value_comes_back_as_it_was_sent(
    server: Server, value: query_pb2.Value, arrow_type: str, expected: object
) -> None:
    for sql, fields in [
        ("select $1 as v", {"positional_parameters": [value]}),
        ("select $name as v", {"named_parameters": {"name": value}}),
    ]:
        answer = server.query(sql, **fields)
        assert answer.rows == [(expected,)]
        assert type(answer.rows[0][0]) is type(expected)
        assert answer.header.columns[0].type == arrow_type


def test_null_is_null(server: Server) -> None:
    sql = "select $1 is null, coalesce($1, 'none'), cast($1 as date), (select count(*) from quotas where stage = $1)"
    assert server.query(sql, positional_parameters=[NULL]).rows == [(True, "none", None, 0)]


@pytest.mark.parametrize("hostile", HOSTILE, ids=lambda value: value[:20])
def test_text_that_looks_like_sql_is_text(server: Server, hostile: str) -> None:
    sql = "select count(*), max(stage) from quotas where stage = $stage or holder like $stage or series in ($stage)"
    assert server.query(sql, named_parameters={"stage": text(hostile)}).rows == [(0, None)]
    server.assert_lives()


@pytest.mark.parametrize(
    ("expression", "value", "expected"),
    [
        ("10 - $1", integer(-5), 15),
        ("10-$1", integer(-5), 15),  # never `10--5`, the beginning of a remark
        ("-$1", integer(-5), 5),
        ("- $1 * 2", integer(-5), 10),
        ("abs($1)", integer(-(2**62)), 2**62),
        ("10 - $1", number(-0.5), 10.5),
        ("-$1", number(-0.5), 0.5),
        ("10 - $1", decimal("-0.5"), Decimal("10.5")),
        ("$1 in (-5, 5)", integer(-5), True),
        ("$1 between -6 and -4", integer(-5), True),
        ("case $1 when -5 then 'five' end", integer(-5), "five"),
        ("cast($1 as varchar)", integer(-5), "-5"),
    ],
)
def test_a_negative_number_keeps_its_sign(
    server: Server, expression: str, value: query_pb2.Value, expected: object
) -> None:
    assert server.query(f"select {expression}", positional_parameters=[value]).rows == [(expected,)]


@pytest.mark.parametrize(
    ("sql", "values", "expected"),
    [
        ("select i from generate_series(1, 9) as t(i) order by i limit $1 offset $2", [integer(2), integer(3)], [4, 5]),
        ("select i from generate_series($1, $2) as t(i) order by i", [integer(1), integer(2)], [1, 2]),
        ("select i from generate_series(1, 9) as t(i) where i in ($2, $1) order by i", [integer(7), integer(3)], [3, 7]),
        ("select $1 + $1", [integer(2)], [4]),
        ("select '$2' || $1", [text("x")], ["$2x"]),
        ("select $1 -- and not $2\n", [integer(1)], [1]),
        ("with t as (select $1 as v) select v from t where v = (select $1)", [integer(1)], [1]),
        ("select value from as_of('reserves', $1) where area = $2 and measure = 'reserves' and period_end = $3",
         [day(2026, 3, 1), text("Brazil"), day(2025, 12, 31)], [21e6]),
        ("select value from as_of('reserves', day => $1) where area = $2 and measure = 'reserves' and period_end = $3",
         [text("2026-06-01"), text("Brazil"), day(2025, 12, 31)], [11e6]),
        ("select count(*) from revisions('reserves', as_of => $1) where area = 'Brazil'", [day(2026, 6, 1)], [1]),
        ("select x from (values (1.0), (2.0)) as t(x) qualify row_number() over (order by x) = $1", [integer(2)], [2.0]),
        ("select v from (select $1 as v union all select $2) order by v", [integer(1), integer(2)], [1, 2]),
        ("select sum(v) from (values ($1), ($2)) as t(v)", [integer(1), integer(2)], [3]),
    ],
)  # fmt: skip
def test_a_parameter_stands_wherever_a_constant_may(
    server: Server, sql: str, values: list[query_pb2.Value], expected: list[Any]
) -> None:
    assert [row[0] for row in server.query(sql, positional_parameters=values).rows] == expected


def test_positions_and_names_go_together(server: Server) -> None:
    answer = server.query(
        "select $stage || $1 || $Stage",
        positional_parameters=[text("-")],
        named_parameters={"stage": text("a"), "Stage": text("b")},
    )
    assert answer.rows == [("a-b",)]


@pytest.mark.parametrize(
    ("sql", "positional", "named", "said"),
    [
        ("select $1", [], {}, "$1"),
        ("select $2", [integer(1)], {}, "$2"),
        ("select $0", [integer(1)], {}, "$0"),
        ("select $stage", [], {}, "$stage"),
        ("select $stage", [], {"Stage": integer(1)}, "$stage"),
        ("select $stage", [integer(1)], {}, "$stage"),
        ("select 1", [integer(1)], {}, "$1"),
        ("select $1", [integer(1), integer(2)], {}, "$2"),
        ("select $2", [integer(1), integer(2)], {}, "$1"),
        ("select 1", [], {"stage": integer(1)}, "$stage"),
        ("select '$1'", [integer(1)], {}, "$1"),
        ("select 1 -- $1", [integer(1)], {}, "$1"),
        ("select ?, $1", [integer(1)], {}, "of one kind"),
        ("select value from as_of('reserves', $day)", [], {}, "$day"),
        ("select $1", [query_pb2.Value()], {}, ""),
        ("select $1", [number(math.nan)], {}, ""),
        ("select $1", [number(-math.inf)], {}, ""),
        *(
            ("select $1", [query_pb2.Value(date=query_pb2.Date(year=y, month=m, day=d))], {}, "")
            for y, m, d in [(2023, 2, 29), (2023, 13, 1), (2023, 0, 1), (2023, 1, 0), (0, 0, 0), (2**31 - 1, 1, 1)]
        ),
        *(
            ("select $1", [decimal(written)], {}, "")
            for written in ["", "-", ".", "1e5", "1 2", "abc", "1.2.3", "--5", "0x1", "NaN", "1" * 39, "1); select (2"]
        ),
    ],
)
def test_a_parameter_that_is_missing_unused_or_wrong_is_an_invalid_argument(
    server: Server, sql: str, positional: list[query_pb2.Value], named: dict[str, query_pb2.Value], said: str
) -> None:
    failure = harness.failure(server.stub, sql, positional_parameters=positional, named_parameters=named)
    assert failure.code == StatusCode.INVALID_ARGUMENT, failure.message
    assert said in failure.message
    server.assert_lives()


def test_a_parameter_is_no_name(server: Server) -> None:
    failure = harness.failure(server.stub, "select * from $1", positional_parameters=[text("quotas")])
    assert failure.code == StatusCode.INVALID_ARGUMENT, failure.message
    sql = "select count(*) from as_of($1, $2)"  # here the name of the table is a text
    assert server.query(sql, positional_parameters=[text("quotas"), day(2020, 1, 1)]).rows[0][0] > 0
