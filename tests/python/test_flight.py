"""Arrow Flight SQL through ADBC: the same figures, schemas and errors as through the plain stub."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from datetime import date, datetime, timedelta, timezone
from decimal import Decimal
from pathlib import Path

import adbc_driver_manager as adbc
import polars as pl
import pyarrow as pa
import pytest
from adbc_driver_flightsql import dbapi
from google.protobuf.any_pb2 import Any
from google.rpc.error_details_pb2 import ErrorInfo

import flight_sql
import harness
from didymium.v1 import query_pb2
from harness import Server

MINED = "select sum(value) as t from quotas where stage = 'mining' and period_start >= date '2020-01-01'"


@pytest.fixture(scope="module")
def con(server: Server) -> Iterator[dbapi.Connection]:
    with flight_sql.connect(server) as connection:
        yield connection


@pytest.mark.parametrize("sql", [MINED, "select * from quotas order by row_id, published_on", "select 1 where false"])
def test_a_query_gives_what_the_plain_stub_gives(server: Server, con: dbapi.Connection, sql: str) -> None:
    table = server.query(sql).table
    assert flight_sql.table(con, sql).equals(table)
    with con.cursor() as cursor:
        cursor.execute(sql)
        assert cursor.fetch_polars().equals(pl.from_arrow(table))
        cursor.execute(sql)
        assert cursor.fetch_df().equals(table.to_pandas())
        cursor.execute(sql)
        assert cursor.fetchall() == server.query(sql).rows
        assert [column[0] for column in cursor.description] == table.column_names


def test_a_result_of_many_messages_arrives_whole(con: dbapi.Connection) -> None:
    sql = "select value as n, repeat('x', 100) as x from generate_series(1, 200000)"
    with con.cursor() as cursor:
        cursor.execute(sql)
        reader = cursor.fetch_record_batch()
        sizes = [batch.nbytes for batch in reader]
    assert len(sizes) > 10
    assert max(sizes) < 4 * harness.MIB
    (counted,) = flight_sql.rows(con, f"select count(*), sum(n), min(length(x)) from ({sql})")
    assert counted == (200_000, 200_000 * 200_001 // 2, 100)


PARAMETERS = [
    7,
    -(2**63),
    0.25,
    "Nd₂O₃; drop",
    "",
    True,
    None,
    date(2024, 2, 29),
    datetime(2024, 2, 29, 23, 59, 59, 999_999),
    Decimal("-1234567890123456789.25"),
]


@pytest.mark.parametrize("value", PARAMETERS, ids=repr)
@pytest.mark.parametrize("mark", ["?", "$1"])
def test_a_parameter_comes_back_as_it_was_sent(con: dbapi.Connection, mark: str, value: object) -> None:
    assert flight_sql.rows(con, f"select {mark} as v, {mark.replace('?', '1')} is null as w", [value])[0][0] == value


def test_a_moment_with_a_zone_is_one_in_utc(con: dbapi.Connection) -> None:
    shanghai = datetime(2024, 1, 1, 8, tzinfo=timezone(timedelta(hours=8)))
    assert flight_sql.rows(con, "select ? = timestamp '2024-01-01 00:00:00'", [shanghai]) == [(True,)]


def test_parameters_of_every_place_decide_the_same_rows(server: Server, con: dbapi.Connection) -> None:
    sql = "select count(*), sum(value) from as_of('quotas', {}) where stage = {} and value > {} limit {}"
    plain = server.query(sql.format("date '2020-01-01'", "'mining'", "100.5", "10")).rows
    assert plain[0][0] > 0
    for day in (date(2020, 1, 1), "2020-01-01"):
        values = [day, "mining", 100.5, 10]
        assert flight_sql.rows(con, sql.format("?", "?", "?", "?"), values) == plain
        assert flight_sql.rows(con, sql.format("$1", "$2", "$3", "$4"), values) == plain
    assert flight_sql.rows(con, sql.format("$2", "$1", "$3", "$4"), ["mining", date(2020, 1, 1), 100.5, 10]) == plain


def test_one_prepared_statement_runs_with_many_values(server: Server, con: dbapi.Connection) -> None:
    with con.cursor() as cursor:
        for stage in ("mining", "export", "smelting_separation", "nothing"):
            cursor.execute("select count(*) from quotas where stage = ?", [stage])
            assert cursor.fetchall() == server.query(f"select count(*) from quotas where stage = '{stage}'").rows


def test_a_rows_columns_are_the_values_of_the_names(con: dbapi.Connection) -> None:
    values = pa.record_batch({"stage": ["mining"], "least": [100.5]})
    named = "select count(*) from quotas where value > $least and stage = $stage"
    placed = "select count(*) from quotas where value > $2 and stage = $1"
    assert flight_sql.rows(con, named, values) == flight_sql.rows(con, placed, ["mining", 100.5])


def test_two_parameters_may_have_one_value(con: dbapi.Connection) -> None:
    assert flight_sql.rows(con, "select ?, ?", [1, 2]) == [(1, 2)]
    assert flight_sql.rows(con, "select ?, ?", [1, 1]) == [(1, 1)]


@pytest.mark.parametrize(
    ("sql", "values", "why"),
    [
        ("select ?, ?", [1], "$2 has no value"),
        ("select ?", [1, 2], "no parameter $2"),
        ("select 1", [1], "no parameter $1"),
        ("select ?", None, "$1 has no value"),
        ("select $2", [1, 2], "$1"),
        ("select ? + $1", [1, 2], "one kind"),
        ("select ?", [b"bytes"], "no type Binary"),
        ("select ?", [float("nan")], "NaN"),
        ("select count(*) from as_of('quotas', ?)", ["yesterday"], "constant DATE"),
    ],
)
def test_values_that_do_not_fit_are_refused(
    con: dbapi.Connection, sql: str, values: Sequence[object] | None, why: str
) -> None:
    with pytest.raises(adbc.ProgrammingError) as refused:
        flight_sql.rows(con, sql, values)
    assert why in str(refused.value)


def test_a_query_takes_one_row_of_values(con: dbapi.Connection) -> None:
    with con.cursor() as cursor:
        with pytest.raises(adbc.ProgrammingError, match="gives rows: run it as a query"):
            cursor.executemany("select ?", [(1,), (2,)])
        with pytest.raises(adbc.ProgrammingError, match="one row of parameters, not 2"):
            cursor.execute("select ?", pa.record_batch({"v": [1, 2]}))


#: What has disagreed with its own schema in other servers, and what our own functions give.
STATEMENTS = [
    ("select min(value), max(period_start), min(stage), count(*) from quotas", []),
    ("select max(load_id), min(load_id) from all_vintages('quotas')", []),
    ("select distinct load_id, source_id from all_vintages('prices')", []),
    ("select load_id, published_on from all_vintages('exports') where reporter = ?", ["nobody"]),
    ("select stage, holder, max(value), grouping(stage) from quotas group by grouping sets ((stage), (holder))", []),
    ("select stage, count(*) from quotas group by rollup (stage)", []),
    ("select stage, basis, count(*) from quotas group by cube (stage, basis)", []),
    ("select count(*) from quotas where stage = $1", ["mining"]),
    ("select count(distinct holder), avg(value), stddev(value), median(value) from quotas", []),
    ("select mom(value, period_start) over (partition by series order by period_start) from prices", []),
    ("select yoy(value, period_start) over (partition by series order by period_start) from prices", []),
    ("select q.stage, e.value from quotas q left join exports e on q.period_start = e.period_start limit ?", [9]),
    ("select q.stage, e.value from quotas q full join exports e on q.row_id = e.row_id", []),
    ("select * from quotas where stage = ?", ["nothing"]),
    ("select * from quotas where false", []),
    ("select interval '1 year 2 days' as i, period_end - period_start as n from quotas limit 1", []),
    ("select cast(value as decimal(20, 3)) as d, sum(cast(value as decimal(9, 1))) over () from quotas", []),
    ("select array_agg(stage) as a, array_agg(value) from quotas where value > ?", [1000]),
    ("select [1, 2, null] as l, make_array(stage) as m from quotas limit 2", []),
    ("select named_struct('a', stage, 'b', value) as s, struct(1, 'x') from quotas limit 3", []),
    ("select map {'a': 1} as m", []),
    ("select now(), current_date, date_bin(interval '1 month', period_start) from quotas limit 2", []),
    ("select case when value > ? then 'much' end as size, coalesce(value, 0) from quotas", [1000]),
    ("select stage, value > ? from quotas limit 2", [1]),
    ("select row_number() over (order by value) as n, lag(value) over (order by period_start) from quotas", []),
    ("select 1 as one union all select value from quotas", []),
    ("select null as nothing, X'ff' as bytes, arrow_cast(stage, 'Dictionary(Int32, Utf8)') from quotas limit 1", []),
    ("select arrow_cast('x', 'Utf8View') as v, arrow_cast(1, 'Timestamp(Nanosecond, None)') as t", []),
    ("select * from as_of('quotas', ?)", [date(2024, 1, 31)]),
    ("select * from revisions('production')", []),
    ("select * from system.commits", []),
    ("values (1, 'a'), (2, null)", []),
    ("explain select count(*) from quotas", []),
]


@pytest.mark.parametrize(("sql", "values"), STATEMENTS)
def test_prepared_described_and_fetched_schemas_are_one(
    server: Server, con: dbapi.Connection, sql: str, values: list[object]
) -> None:
    with con.cursor() as cursor:
        schema = cursor.adbc_execute_schema(sql)
        partitions, described = cursor.adbc_execute_partitions(sql, values or None)
        assert described.equals(schema, check_metadata=True)
        assert len(partitions) == 1
        cursor.adbc_read_partition(partitions[0])
        table = cursor.fetch_arrow_table()
    table.validate(full=True)
    assert table.schema.equals(schema, check_metadata=True)
    plain = server.query(sql, positional_parameters=[as_parameter(value) for value in values]).table
    assert plain.schema.equals(schema, check_metadata=True)
    assert plain.num_rows == table.num_rows
    if not values:
        with flight_sql.by_hand(server) as client:
            told = flight_sql.info(client, "CommandStatementQuery", (1, sql))
            assert told.schema.equals(schema, check_metadata=True)
            assert client.get_schema(told.descriptor).schema.equals(schema, check_metadata=True)
            assert flight_sql.fetched(client, told).schema.equals(schema, check_metadata=True)


@pytest.mark.parametrize(
    ("sql", "kind", "status"),
    [
        ("selec 1", adbc.ProgrammingError, "INVALID_ARGUMENT"),
        ("select nothing from quotas", adbc.ProgrammingError, "INVALID_ARGUMENT"),
        ("select 1 / 0", adbc.ProgrammingError, "INVALID_ARGUMENT"),
        ("select cast(stage as integer) from quotas", adbc.ProgrammingError, "INVALID_ARGUMENT"),
        ("select * from nothing", adbc.ProgrammingError, "NOT_FOUND"),
        ("select * from as_of('nothing', date '2020-01-01')", adbc.ProgrammingError, "NOT_FOUND"),
        ("delete from quotas", adbc.ProgrammingError, "UNAUTHORIZED"),
        ("select repeat('x', 100000000)", adbc.InternalError, "INTERNAL"),
    ],
)
def test_an_error_has_its_class_and_the_servers_own_sentence(
    server: Server, con: dbapi.Connection, sql: str, kind: type[adbc.Error], status: str
) -> None:
    with pytest.raises(kind) as failed:
        flight_sql.rows(con, sql)
    assert failed.type is kind
    assert failed.value.sqlstate is None
    assert str(failed.value).startswith(f"{status}: [FlightSQL] {harness.failure(server.stub, sql).message} (")
    details = [Any.FromString(value) for key, value in failed.value.details if key == b"grpc-status-details-bin"]
    (info,) = [detail for detail in details if detail.Is(ErrorInfo.DESCRIPTOR)]
    assert ErrorInfo.FromString(info.value).domain == "didymium"
    server.assert_lives()


def test_no_server_is_an_operational_error(own_store: Path, serve: Callable[..., Server]) -> None:
    server = serve(own_store)
    with flight_sql.connect(server) as connection:
        server.stop()
        with pytest.raises(adbc.OperationalError, match="Unavailable"):
            flight_sql.rows(connection, "select 1")


def test_transactions_are_refused(con: dbapi.Connection) -> None:
    with pytest.raises(adbc.NotSupportedError, match="transaction"):
        con.adbc_connection.set_autocommit(False)
    with pytest.raises(adbc.ProgrammingError, match="BEGIN"):
        flight_sql.rows(con, "begin")


def test_the_server_says_that_there_are_no_transactions(server: Server) -> None:
    with flight_sql.by_hand(server) as client:
        told = flight_sql.fetched(client, flight_sql.info(client, "CommandGetSqlInfo"))
    answers = dict(zip(*(column.to_pylist() for column in told.columns), strict=True))
    kinds = {"FLIGHT_SQL_SERVER_TRANSACTION": 8, "SQL_DEFAULT_TRANSACTION_ISOLATION": 562}
    assert {name: answers[number] for name, number in kinds.items()} == dict.fromkeys(kinds, 0)
    supported = {"FLIGHT_SQL_SERVER_INGEST_TRANSACTIONS": 11, "SQL_TRANSACTIONS": 563, "SQL_SAVEPOINTS": 573}
    assert {name: answers[number] for name, number in supported.items()} == dict.fromkeys(supported, False)
    assert answers[564] == 1, "of the isolation levels NONE alone, which is bit 0"


def as_parameter(value: object) -> query_pb2.Value:
    """A value as the plain stub sends it."""
    match value:
        case date():
            return query_pb2.Value(date=query_pb2.Date(year=value.year, month=value.month, day=value.day))
        case str():
            return query_pb2.Value(text=value)
        case _:
            return query_pb2.Value(integer=value)
