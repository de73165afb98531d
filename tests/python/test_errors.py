"""Each mistake gets its status code and a sentence that helps; hostile statements get no further than that."""

from pathlib import Path

import pytest
from grpc import StatusCode

import harness
from harness import MIB, Server

FILE = Path(__file__)  # a file that the server could read, if it let a statement reach files


@pytest.mark.parametrize(
    ("sql", "code", "named"),
    [
        ("select * from quota", StatusCode.NOT_FOUND, "quotas"),
        ("select count(*) from quotas join source using (source_id)", StatusCode.NOT_FOUND, "sources"),
        ("select valu from quotas", StatusCode.INVALID_ARGUMENT, "value"),
        ("select q.stag from quotas q where q.stage = 'mining'", StatusCode.INVALID_ARGUMENT, "stage"),
        ("select value from quotas order by perod_start", StatusCode.INVALID_ARGUMENT, "period_start"),
    ],
)
def test_an_unknown_name_is_answered_with_the_nearest_ones(
    server: Server, sql: str, code: StatusCode, named: str
) -> None:
    failure = harness.failure(server.stub, sql)
    assert failure.code == code, failure.message
    # The statement itself holds no such name, so only a suggestion can.
    assert named in failure.message


@pytest.mark.parametrize(
    "sql",
    [
        "",
        "-- nothing but a remark",
        "selct 1",
        "select (",
        "select 1 +",
        "select 1; select 2",
        "select nofunction(1)",
        "select date '2024-02-30'",
        "select cast('Nd' as integer)",
        "select cast(s as integer) from (values ('1'), ('Nd')) as t(s)",
        "select yoy(value) from quotas",  # a window function without a window
        "select yoy('Nd', period_start) over (order by period_start) from quotas",
        "select yoy(value, period_start) over (partition by series order by value) from quotas",
        "select yoy(value, period_start) over (order by period_start rows 1 preceding) from quotas",
        "select prior(value, period_start) over (order by period_start) from quotas",  # no interval
        "select growth(value, period_start, 12) over (order by period_start) from quotas",
        "select quota_execution_rate(1)",
        "select quota_execution_rate(1, -1)",
    ],
)
def test_a_wrong_statement_is_an_invalid_argument(server: Server, sql: str) -> None:
    failure = harness.failure(server.stub, sql)
    assert failure.code == StatusCode.INVALID_ARGUMENT, failure.message
    assert failure.message
    assert "Internal error" not in failure.message
    assert "DataFusion" not in failure.message


def test_an_error_carries_machine_readable_details(server: Server) -> None:
    failure = harness.failure(server.stub, "select * from quota")
    assert failure.info is not None
    assert failure.info.reason
    assert failure.info.domain


@pytest.mark.parametrize(
    "sql",
    [
        "insert into quotas select * from quotas",
        "update quotas set value = 0",
        "delete from quotas",
        "truncate table quotas",
        "create table mine as select 1",
        f"create external table mine stored as csv location '{FILE}'",
        "drop table quotas",
        "alter table quotas rename to mine",
        "copy (select 1) to 'out.csv'",
        "copy quotas to 'out.parquet' stored as parquet",
        "explain copy (select 1) to 'out.csv'",
        "explain analyze insert into quotas select * from quotas",
        "prepare p as select 1",
        "execute p",
        "deallocate p",
        "set datafusion.execution.batch_size = 1",
        "set time zone = 'Asia/Shanghai'",
        "reset datafusion.execution.batch_size",
        "show all",
        "begin",
        "commit",
        "create schema mine",
        "create function f(double) returns double return $1",
    ],
)
def test_a_statement_that_is_no_query_is_denied(server: Server, sql: str) -> None:
    failure = harness.failure(server.stub, sql)
    assert failure.code == StatusCode.PERMISSION_DENIED, failure.message
    assert failure.before.messages == []


@pytest.mark.parametrize("path", [str(FILE), f"file://{FILE}", "/etc/hostname", "out.csv"])
def test_a_path_is_no_table(server: Server, path: str) -> None:
    failure = harness.failure(server.stub, f"select * from '{path}'")
    assert failure.code == StatusCode.NOT_FOUND, failure.message


def chain(operator: str, operands: int) -> str:
    """`i=1 or i=1 or …`: flat, so that no limit on nesting stops it."""
    return f"select 1 from generate_series(1, 1) as t(i) where {operator.join(['i=1'] * operands)}"


@pytest.mark.parametrize(
    "sql",
    [
        pytest.param(chain(" or ", 20_000), id="20,000 ORs"),
        pytest.param(chain(" and ", 20_000), id="20,000 ANDs"),
        pytest.param("select 1" + "+1" * 20_000, id="20,000 additions"),
        pytest.param("select 'x'" + "||'x'" * 20_000, id="20,000 concatenations"),
        pytest.param("select " + "not " * 50_000 + "true", id="50,000 NOTs"),
        pytest.param("select " + "(" * 100_000 + "1" + ")" * 100_000, id="100,000 parentheses"),
        pytest.param("select " + "abs(" * 40_000 + "1" + ")" * 40_000, id="40,000 nested calls"),
        pytest.param("select 1 where 1 in (" + "1," * 99_999 + "1)", id="100,000 items IN a list"),
        pytest.param("select 1" + " union select 1" * 10_000, id="10,000 UNIONs"),
        pytest.param(f"select '{'x' * 300 * 1024}'", id="300 KiB of text"),
    ],
)
def test_a_bomb_is_refused_and_the_server_lives(server: Server, sql: str) -> None:
    failure = harness.failure(server.stub, sql)
    assert failure.code == StatusCode.INVALID_ARGUMENT, failure.message
    assert failure.seconds < 10
    server.assert_lives()


def test_long_lists_and_chains_below_the_limits_are_answered(server: Server) -> None:
    many = ",".join(map(str, range(1, 1001)))
    assert server.query(f"select count(*) from generate_series(1, 2000) as t(i) where i in ({many})").rows == [(1000,)]
    assert server.query(chain(" or ", 100)).rows == [(1,)]


def test_a_row_that_no_message_can_hold_is_refused_by_the_server(server: Server) -> None:
    failure = harness.failure(server.stub, f"select {harness.wide_row(3 * MIB)}")
    assert failure.code == StatusCode.OUT_OF_RANGE, failure.message
    server.assert_lives()


@pytest.mark.parametrize("sql", ["select * from quota", "select valu from quotas", "select * from 'quotas.csv'"])
def test_an_error_names_no_path_of_the_server(server: Server, sql: str) -> None:
    assert str(server.store) not in harness.failure(server.stub, sql).message
