"""Time, memory and clients that leave: every query ends, with the right code, and the server is free again."""

import time
from collections.abc import Callable
from pathlib import Path

import grpc
import psutil
import pytest
from grpc import StatusCode

import harness
from harness import MIB, Server

ENDLESS_COUNT = "select count(*) from generate_series(1, 1000000000000)"
ENDLESS_ROWS = "select value from generate_series(1, 1000000000000)"

#: Two joins that compare for hours: one of all pairs that finds nothing, one that finds too much.
ENDLESS_PAIRS = """select count(*) from generate_series(1, 400000) a(x) join generate_series(1, 400000) b(y)
    on a.x * 7 < b.y * 0 - 5"""
ENDLESS_MATCHES = """select count(*) from (select x % 1 k, x from generate_series(1, 400000) a(x)) a
    join (select y % 1 k, y from generate_series(1, 400000) b(y)) b on a.k = b.k"""

#: How much longer than its limit a query may take: this is a dev build on a busy machine.
SLACK_S = 5


def assert_idle(server: Server) -> None:
    """Within a few seconds the server uses no processor: nothing runs on for a client that is gone."""
    end = time.monotonic() + 10
    while time.monotonic() < end:
        before = server.cpu_s()
        time.sleep(0.5)
        if server.cpu_s() - before < 0.05:
            return
    raise AssertionError("the server is still busy 10 s after the query was cancelled")


@pytest.mark.parametrize("sql", [ENDLESS_COUNT, ENDLESS_ROWS], ids=["no row before the end", "rows at once"])
def test_the_timeout_of_the_request_ends_a_query(server: Server, sql: str) -> None:
    failure = harness.failure(server.stub, sql, timeout_s=1)
    assert failure.code == StatusCode.DEADLINE_EXCEEDED, failure.message
    assert 1 <= failure.seconds < 1 + SLACK_S
    assert "summary" not in failure.before.kinds
    if sql is ENDLESS_ROWS:
        assert sum(len(message.arrow_ipc) for message in failure.before.messages) > MIB
    server.assert_lives()
    assert_idle(server)


@pytest.mark.parametrize("sql", [ENDLESS_COUNT, ENDLESS_ROWS], ids=["no row before the end", "rows at once"])
def test_the_deadline_of_the_call_frees_the_server(server: Server, sql: str) -> None:
    failure = harness.failure(server.stub, sql, deadline_s=1)
    assert failure.code == StatusCode.DEADLINE_EXCEEDED, failure.message
    server.assert_lives()
    assert_idle(server)


@pytest.mark.parametrize("sql", [ENDLESS_COUNT, ENDLESS_ROWS], ids=["no row before the end", "rows at once"])
def test_the_servers_own_limit_ends_a_query_that_sets_none(serve: Callable[..., Server], store: Path, sql: str) -> None:
    server = serve(store, "--query-timeout", "1s")
    for timeout_s in (None, 3600):  # a longer wish does not lift the limit
        failure = harness.failure(server.stub, sql, timeout_s=timeout_s)
        assert failure.code == StatusCode.DEADLINE_EXCEEDED, failure.message
        assert failure.seconds < 1 + SLACK_S
    server.assert_lives()


@pytest.mark.parametrize("sql", [ENDLESS_PAIRS, ENDLESS_MATCHES], ids=["all pairs", "many matches"])
def test_joins_leave_their_threads(server: Server, sql: str) -> None:
    for _ in range(psutil.cpu_count()):  # as many as there are threads that run queries
        failure = harness.failure(server.stub, sql, timeout_s=1)
        assert failure.code == StatusCode.DEADLINE_EXCEEDED, failure.message
        assert failure.seconds < 1 + SLACK_S
    server.assert_lives()
    assert_idle(server)


@pytest.mark.parametrize("messages", [0, 3])
def test_a_cancelled_query_frees_the_server(server: Server, messages: int) -> None:
    call = server.stub.Query(harness.request(ENDLESS_ROWS if messages else ENDLESS_COUNT), timeout=harness.PATIENCE_S)
    for _ in range(messages):
        next(call)
    time.sleep(0.2)  # it runs by now
    call.cancel()
    with pytest.raises(grpc.RpcError) as error:
        for _ in call:
            pass
    assert error.value.code() == StatusCode.CANCELLED
    server.assert_lives()
    assert_idle(server)


def test_a_client_that_vanishes_frees_the_server(server: Server) -> None:
    channel = grpc.insecure_channel(server.target)
    call = harness.query_pb2_grpc.QueryServiceStub(channel).Query(harness.request(ENDLESS_COUNT))
    time.sleep(0.2)
    channel.close()
    assert call.code() == StatusCode.CANCELLED
    assert_idle(server)


def test_a_slow_reader_holds_no_processor(server: Server) -> None:
    call = server.stub.Query(harness.request(ENDLESS_ROWS), timeout=harness.PATIENCE_S)
    next(call)
    assert_idle(server)  # what is not read is not computed
    call.cancel()


def test_endless_queries_do_not_starve_a_short_one(server: Server) -> None:
    calls = [server.stub.Query(harness.request(ENDLESS_COUNT), timeout=harness.PATIENCE_S) for _ in range(4)]
    time.sleep(0.2)
    assert server.query("select count(*) from quotas", deadline_s=10).rows[0][0] > 0
    for call in calls:
        call.cancel()
    assert_idle(server)


def test_a_query_beyond_the_memory_pool_is_refused(serve: Callable[..., Server], store: Path) -> None:
    server = serve(store, "--memory", "16MiB")
    failure = harness.failure(server.stub, "select cardinality(array_agg(value)) from generate_series(1, 10000000)")
    assert failure.code == StatusCode.RESOURCE_EXHAUSTED, failure.message
    server.assert_lives()


@pytest.mark.parametrize("collect", ["array_agg(x)", "string_agg(cast(x as varchar), ',')"])
@pytest.mark.parametrize("window", ["order by x", ""])
def test_a_list_over_a_window_that_grows_with_its_rows_is_refused(server: Server, collect: str, window: str) -> None:
    failure = harness.failure(server.stub, f"select {collect} over ({window}) from generate_series(1, 40000) t(x)")
    assert failure.code == StatusCode.RESOURCE_EXHAUSTED
    assert "bound its window" in failure.message
    rows = server.query(f"select {collect} over (order by x) from generate_series(1, 3) t(x) order by x").rows
    assert rows[-1][0] in ([1, 2, 3], "1,2,3")


def test_a_join_that_finds_no_memory_runs_its_exchanges_again(serve: Callable[..., Server], store: Path) -> None:
    server = serve(store, "--memory", "64MiB")
    numbers = "generate_series(1, {})"
    sides = f"{numbers.format(2000)} a(x), {numbers.format(2000)} b(x), {numbers.format(50000)} c(x)"
    assert server.query(f"select count(*) from {sides} where a.x + b.x + c.x <= 5 and c.x <= 3").rows == [(10,)]
    failure = harness.failure(server.stub, f"select count(*) from {sides} where a.x + b.x + c.x < 0", timeout_s=5)
    assert failure.code in (StatusCode.DEADLINE_EXCEEDED, StatusCode.RESOURCE_EXHAUSTED)
