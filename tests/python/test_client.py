"""The hand-written client: results in the forms that people work with, and one exception for each thing to do."""

import contextlib
import time
import warnings
from collections.abc import Callable, Iterator
from datetime import UTC, date, datetime, timedelta, timezone
from decimal import Decimal
from pathlib import Path
from typing import Any

import duckdb
import grpc
import numpy as np
import pandas as pd
import polars as pl
import pytest

import didymium
import harness
from harness import MIB, Server
from test_limits import ENDLESS_COUNT, ENDLESS_ROWS, assert_idle

TWO_ROWS = "select * from (values ('Nd', date '2024-02-29', 1.5), ('Pr', null, null)) as t(name, day, x) order by name"


@pytest.fixture(scope="module")
def db(server: Server) -> Iterator[didymium.Client]:
    with didymium.connect(server.url, timeout=60) as db:
        yield db


def test_a_result_comes_in_every_form(db: didymium.Client) -> None:
    result = db.sql(TWO_ROWS)
    assert result.columns == ["name", "day", "x"]
    assert len(result) == result.to_arrow().num_rows == 2
    assert result.rows() == [("Nd", date(2024, 2, 29), 1.5), ("Pr", None, None)]

    frame = result.to_pandas()
    assert frame["day"].tolist() == [pd.Timestamp("2024-02-29"), pd.NaT]
    assert frame["x"].sum() == 1.5

    assert result.to_polars()["day"].to_list() == [date(2024, 2, 29), None]
    assert pl.DataFrame(result).equals(result.to_polars())
    assert duckdb.sql("select max(day) from result").fetchall() == [(date(2024, 2, 29),)]


def test_a_scalar_is_one_value(db: didymium.Client) -> None:
    assert db.sql("select count(*) from generate_series(1, 7)").scalar() == 7
    with pytest.raises(ValueError, match="not 2 × 3"):
        db.sql(TWO_ROWS).scalar()


def test_an_empty_result_has_its_columns(db: didymium.Client) -> None:
    result = db.sql("select 1 as a, 'x' as b where false")
    assert result.rows() == []
    assert list(result.to_pandas().columns) == result.columns == ["a", "b"]


def test_a_result_knows_its_query(db: didymium.Client) -> None:
    result = db.sql("select count(*) from quotas")
    assert result.query_id
    assert result.elapsed > 0
    assert set(result.table_versions) == {"quotas", "sources"}  # what counts depends on the rank of the source


def test_a_stream_yields_all_rows_in_parts(db: didymium.Client) -> None:
    parts = [batch.num_rows for batch in db.stream("select value from generate_series(1, 200000)")]
    assert sum(parts) == 200_000
    assert len(parts) > 1


def test_leaving_a_stream_cancels_the_query(db: didymium.Client, server: Server) -> None:
    for batch in db.stream(ENDLESS_ROWS):
        assert batch.num_rows > 0
        break
    assert_idle(server)


def test_an_error_in_the_loop_cancels_the_query(db: didymium.Client, server: Server) -> None:
    with contextlib.suppress(ZeroDivisionError):
        for _ in db.stream(ENDLESS_ROWS):
            1 / 0  # noqa: B018
    assert_idle(server)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (None, None),
        (True, True),
        (-(2**63), -(2**63)),
        (0.0588, 0.0588),
        ("O'Hara; --", "O'Hara; --"),
        (date(2024, 2, 29), date(2024, 2, 29)),
        (datetime(1969, 12, 31, 23, 59, 59, 999_999), datetime(1969, 12, 31, 23, 59, 59, 999_999)),
        (datetime(2024, 2, 29, 8, tzinfo=timezone(timedelta(hours=8))), datetime(2024, 2, 29)),  # told in UTC
        (Decimal("-1234.50"), Decimal("-1234.50")),
        (Decimal("-1.5E+3"), Decimal(-1500)),
        (np.int64(-7), -7),
        (np.float32(0.5), 0.5),
    ],
)
def test_a_parameter_keeps_its_type(db: didymium.Client, value: Any, expected: object) -> None:
    for result in (
        db.sql("select $1 as v", [value]),
        db.sql("select $1 as v", params=(value,)),
        db.sql("select $v as v", v=value),
        db.sql("select $timeout as v", {"timeout": value}),
    ):
        assert result.scalar() == expected
        assert type(result.scalar()) is type(expected)
    assert sum(batch.num_rows for batch in db.stream("select $v as v", v=value)) == 1


def test_parameters_go_with_the_other_arguments(db: didymium.Client) -> None:
    assert db.sql("select $sql || $1", ["-"], sql="a", timeout=5).scalar() == "a-"
    assert db.sql("select $a || $b", {"a": "x"}, b="y").scalar() == "xy"


@pytest.mark.parametrize(
    ("params", "error"),
    [
        ("Nd", TypeError),  # not one parameter for each letter
        ({1, 2}, TypeError),
        ([datetime(2024, 2, 29).time()], TypeError),
        ([b"Nd"], TypeError),
        ([["Nd"]], TypeError),
        ([2**63], ValueError),
    ],
)
def test_a_value_of_another_type_is_refused_before_it_is_sent(
    db: didymium.Client, params: Any, error: type[Exception]
) -> None:
    with pytest.raises(error):
        db.sql("select $1", params)


@pytest.mark.parametrize("value", [float("nan"), Decimal("Infinity"), Decimal("1E+40")])
def test_a_number_that_sql_has_no_place_for_is_a_sql_error(db: didymium.Client, value: Any) -> None:
    with pytest.raises(didymium.SqlError):
        db.sql("select $1", [value])


def test_a_query_can_be_pinned(db: didymium.Client) -> None:
    brazil = "select value from reserves where area = $1 and measure = 'reserves' and period_end = date '2025-12-31'"
    assert db.sql(brazil, ["Brazil"], published_as_of=date(2026, 3, 1)).scalar() == 21e6
    assert db.sql(brazil, ["Brazil"], published_as_of=date(2026, 6, 1)).scalar() == 11e6
    (batch,) = db.stream(brazil, ["Brazil"], published_as_of=date(2026, 3, 1))
    assert batch["value"].to_pylist() == [21e6]

    now = datetime.now(UTC)
    elsewhere = now.astimezone(timezone(timedelta(hours=8)))
    assert db.sql(brazil, ["Brazil"], committed_as_of=elsewhere).scalar() == 11e6
    for pins in (
        {"published_as_of": now.date() + timedelta(days=3)},
        {"committed_as_of": now + timedelta(hours=1)},
        {"committed_as_of": datetime(2020, 1, 1, tzinfo=UTC)},  # before there was a store
    ):
        with pytest.raises(didymium.SqlError):
            db.sql(brazil, ["Brazil"], **pins)
    with pytest.raises(TypeError, match="is not a date"):
        db.sql("select 1", published_as_of=now)
    with pytest.raises(ValueError, match="time zone"):
        db.sql("select 1", committed_as_of=datetime(2026, 1, 1))


@pytest.mark.parametrize(
    ("sql", "error", "code"),
    [
        ("select (", didymium.SqlError, grpc.StatusCode.INVALID_ARGUMENT),
        ("select valu from quotas", didymium.SqlError, grpc.StatusCode.INVALID_ARGUMENT),
        ("select * from quota", didymium.NotFound, grpc.StatusCode.NOT_FOUND),
        ("drop table quotas", didymium.AuthError, grpc.StatusCode.PERMISSION_DENIED),
        (f"select {harness.wide_row(3 * MIB)}", didymium.SqlError, grpc.StatusCode.OUT_OF_RANGE),
    ],
)
def test_each_code_has_its_exception(
    db: didymium.Client, sql: str, error: type[didymium.DidymiumError], code: grpc.StatusCode
) -> None:
    with pytest.raises(error) as raised:
        db.sql(sql)
    assert raised.value.code == code
    assert raised.value.reason
    assert str(raised.value)
    with pytest.raises(error):
        list(db.stream(sql))


@pytest.mark.parametrize("sql", [ENDLESS_COUNT, ENDLESS_ROWS])
def test_a_timeout_is_in_seconds_and_said_by_the_server(server: Server, sql: str) -> None:
    with didymium.connect(server.url, timeout=0.5) as db:
        start = time.monotonic()
        with pytest.raises(didymium.QueryTimeout) as raised:
            for _ in db.stream(sql):
                pass
        assert 0.5 <= time.monotonic() - start < 5
        assert raised.value.reason  # the client's own deadline would carry none
        assert db.sql("select 1", timeout=30).scalar() == 1
    assert_idle(server)


def test_a_closed_client_ends_its_queries(server: Server) -> None:
    db = didymium.connect(server.url)
    stream = db.stream(ENDLESS_ROWS)
    next(stream)
    db.close()
    with pytest.raises(didymium.Cancelled):
        list(stream)
    assert_idle(server)


def test_no_server_is_a_failed_connection() -> None:
    with didymium.connect("grpc://127.0.0.1:1") as db, pytest.raises(didymium.ConnectionFailed):
        db.sql("select 1", timeout=30)


@pytest.mark.parametrize("url", ["localhost:50051", "http://localhost:50051", "grpc://localhost", "grpc://a:1/b", ""])
def test_a_url_says_grpc_host_and_port(url: str) -> None:
    with pytest.raises(ValueError, match="grpc://HOST:PORT"):
        didymium.connect(url)


def test_what_a_query_may_not_have_meant_is_a_warning(db: didymium.Client) -> None:
    growth = "select yoy(value) over (partition by series order by period_start, period_end) as g from exports"
    with pytest.warns(didymium.DidymiumWarning, match="QUALIFY"):
        db.sql(f"{growth} where period_start >= date '2024-01-01'")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        db.sql(f"{growth} qualify period_start >= date '2024-01-01'")


def test_a_plan_is_explained(db: didymium.Client) -> None:
    sql = "select count(*) from quotas where stage = $stage"
    assert "DataSourceExec" in db.explain(sql, stage="mining")
    assert "output_rows" in db.explain(sql, stage="mining", analyze=True)
    with pytest.raises(didymium.NotFound):
        db.explain("select * from quotaz")


def test_a_query_that_runs_is_listed_and_stopped(db: didymium.Client) -> None:
    with contextlib.closing(db.stream(ENDLESS_ROWS)) as rows:
        next(rows)
        [query] = [query for query in db.queries() if query.sql == ENDLESS_ROWS]
        db.cancel(query.query_id)
        with pytest.raises(didymium.Cancelled):
            for _ in rows:
                pass
    with pytest.raises(didymium.NotFound):
        db.cancel(query.query_id)


def test_a_token_says_who_asks(
    serve: Callable[..., Server], own_store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    token = harness.create_token(own_store, "reader")
    url = serve(own_store, "--auth", "token", token=token).url
    monkeypatch.delenv("DIDYMIUM_TOKEN", raising=False)
    with didymium.connect(url) as nobody, pytest.raises(didymium.AuthError):
        nobody.sql("select 1")
    with didymium.connect(url, token=token) as reader:
        assert reader.sql("select 1 as x").scalar() == 1
        with pytest.raises(didymium.AuthError):
            reader.create_view("mine", "select 1 as x")
    monkeypatch.setenv("DIDYMIUM_TOKEN", token)
    with didymium.connect(url) as reader:
        assert reader.sql("select 1 as x").scalar() == 1
