"""Overload: time that runs out, clients that leave or do not read, memory that ends, many bombs and many idlers at once.

Whatever the query and the protocol: the right code in time, and then a server that is calm and free again.
"""

from __future__ import annotations

import contextlib
import gzip
import http.client
import json
import re
import shutil
import socket
import ssl
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from decimal import Decimal
from pathlib import Path

import grpc
import psutil
import pyarrow as pa
import pyarrow.flight as flight
import pyarrow.parquet as pq
import pytest
from grpc import StatusCode

import flight_sql
import harness
from certificates import Authority
from didymium.v1 import query_pb2, query_pb2_grpc
from harness import MIB, Server
from test_flight_runs import CANCELLED, cancelled

#: Queries that take for ever, each in a way of its own, and leave their threads when they are stopped.
SHAPES = {
    "counting": "select count(*) from generate_series(1, 1000000000000)",
    "recursion": "with recursive t(n) as (select 1 union all select n % 1000 + 1 from t) select count(*) from t",
    "rows, then silence": "select value from generate_series(1, 1000000000000) where value <= 8192 or value < 0",
    "cross join": "select sum(a.x * b.y % 7) from generate_series(1, 1000000) a(x) cross join generate_series(1, 1000000) b(y)",
    "array_agg window": """select sum(cardinality(l)) from (select array_agg(x) over
        (order by x rows between 100 preceding and current row) l from generate_series(1, 100000000) t(x))""",
    "inequality join": """select count(*) from generate_series(1, 100000) a(x) join generate_series(1, 100000) b(y)
        on a.x * 7 < b.y * 0 - 5""",
    "levenshtein of a cross join": """select sum(levenshtein(repeat('ab', a.x % 50 + 10), repeat('ba', b.y % 50 + 10)))
        from generate_series(1, 100000) a(x) cross join generate_series(1, 100000) b(y)""",
    "levenshtein in a join": """select count(*) from generate_series(1, 100000) a(x) join generate_series(1, 100000) b(y)
        on levenshtein(cast(a.x as varchar), cast(b.y as varchar)) < 0""",
}

STREAMING = "rows, then silence"

#: The time after which a query is stopped here, and how much later its client may hear of it.
LIMIT_S, LATE_S = 0.5, 1.5

#: How long a query that was stopped may keep the server busy.
CALM_S = 3


@pytest.fixture(scope="module")
def alone(store: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server that runs one query at a time, and has a temporary folder of its own."""
    with one_at_a_time(store, tmp_path_factory.mktemp("alone")) as server:
        yield server
        server.stop()


@contextlib.contextmanager
def one_at_a_time(store: Path, folder: Path, *options: str) -> Iterator[Server]:
    """A server whose spill folder lies beside its log."""
    spill = folder / "spill"
    spill.mkdir()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TMPDIR", str(spill))
        server = Server(store, folder / "server.log", *(options or ("--max-running", "1")))
    try:
        server.assert_lives()
        yield server
    finally:
        if not server.stopped:
            server.process.kill()
            server.process.wait()
            server.process.stdout.close()
            server.channel.close()


def assert_free(server: Server) -> None:
    """The slot is back, the processor calm within `CALM_S`, and no file is left.

    On a busy machine nothing is done in 3 s; so a server may take longer that has had no 3 s of processor time.
    """
    start, used = time.monotonic(), server.cpu_s()
    slot: list[Exception | None] = []

    def ask() -> None:
        try:
            assert server.query("select 1").rows == [(1,)]
            slot.append(None)
        except Exception as error:
            slot.append(error)

    asking = threading.Thread(target=ask, daemon=True)
    asking.start()
    while True:
        before = server.cpu_s()
        time.sleep(0.25)
        if slot and server.cpu_s() - before < 0.02:
            break
        seconds, processor_s = time.monotonic() - start, server.cpu_s() - used
        if seconds > CALM_S and processor_s > CALM_S:
            raise AssertionError(
                f"busy {seconds:.1f} s after the end, for {processor_s:.1f} s of processor time; "
                f"its slot is {'back' if slot else 'taken'}"
            )
        assert seconds < harness.PATIENCE_S
    assert slot == [None]
    spill = server.log.parent / "spill"
    assert [file for file in spill.rglob("*") if file.is_file()] == []


# Time that runs out.


def by_the_request(server: Server, sql: str) -> str:
    return harness.failure(server.stub, sql, timeout_s=LIMIT_S).code.name


def by_the_call(server: Server, sql: str) -> str:
    return harness.failure(server.stub, sql, deadline_s=LIMIT_S).code.name


def by_a_flight_header(server: Server, sql: str) -> str:
    options = flight.FlightCallOptions(headers=[(b"didymium-timeout", f"{LIMIT_S}s".encode())])
    with flight_sql.by_hand(server) as client:
        descriptor = flight.FlightDescriptor.for_command(flight_sql.message("CommandStatementQuery", (1, sql)))
        told = client.get_flight_info(descriptor, options)
        with pytest.raises(flight.FlightTimedOutError):
            flight_sql.fetched(client, told)
    return "DEADLINE_EXCEEDED"


def by_an_http_header(server: Server, sql: str) -> str:
    with asked_by_http(server, sql, {"didymium-timeout": f"{LIMIT_S}s"}) as answer:
        if answer.status == 200:  # its rows had begun: it is broken off
            with pytest.raises(http.client.IncompleteRead):
                answer.read()
            return "DEADLINE_EXCEEDED"
        assert answer.status == 504
        return {"DeadlineExceeded": "DEADLINE_EXCEEDED"}[json.load(answer)["code"]]


@pytest.mark.parametrize("stop", [by_the_request, by_the_call, by_a_flight_header, by_an_http_header])
@pytest.mark.parametrize("shape", SHAPES)
def test_time_runs_out_for_every_shape_by_every_clock(alone: Server, shape: str, stop: Callable[[Server, str], str]) -> None:
    start = time.monotonic()
    assert stop(alone, SHAPES[shape]) == "DEADLINE_EXCEEDED"
    seconds = time.monotonic() - start
    assert LIMIT_S * 0.9 <= seconds < LIMIT_S + LATE_S
    assert_free(alone)


def test_time_runs_out_after_the_first_rows_as_before_them(alone: Server) -> None:
    failure = harness.failure(alone.stub, SHAPES[STREAMING], timeout_s=LIMIT_S)
    assert failure.code == StatusCode.DEADLINE_EXCEEDED
    assert sum(len(message.arrow_ipc) for message in failure.before.messages) > 8192 * 8
    with asked_by_http(alone, SHAPES[STREAMING], {"didymium-timeout": f"{LIMIT_S}s"}) as answer:
        assert answer.status == 200
        with pytest.raises(http.client.IncompleteRead) as broken:
            answer.read()
    assert b"8192" in broken.value.partial
    assert_free(alone)


def test_a_long_chain_does_not_keep_its_thread(alone: Server) -> None:
    """Planning is one step, which nothing stops; so it must be short."""
    used = alone.cpu_s()
    assert alone.query("select 1" + "+1" * 900).rows == [(901,)]
    assert alone.cpu_s() - used < CALM_S
    assert alone.query("select 1.5" + "+1.5-x" * 300 + " from generate_series(1, 1) t(x)").rows == [(Decimal("151.5"),)]
    assert_free(alone)


# Clients that leave.


@contextlib.contextmanager
def dropped(server: Server, sql: str) -> Iterator[None]:
    """A call that its client cancels."""
    call = server.stub.Query(harness.request(sql), timeout=harness.PATIENCE_S)
    yield
    call.cancel()
    assert call.code() == StatusCode.CANCELLED


@contextlib.contextmanager
def cancelled_by_its_id(server: Server, sql: str) -> Iterator[None]:
    """A query that another call stops."""
    call = server.stub.Query(harness.request(sql, query_id="mine"), timeout=harness.PATIENCE_S)
    yield
    server.stub.Cancel(query_pb2.CancelRequest(query_id="mine"), timeout=harness.PATIENCE_S)
    start = time.monotonic()
    with pytest.raises(grpc.RpcError) as ended:
        list(call)
    assert ended.value.code() == StatusCode.CANCELLED
    assert time.monotonic() - start < LATE_S


@contextlib.contextmanager
def cancelled_as_a_flight(server: Server, sql: str) -> Iterator[None]:
    """A flight that its client cancels."""
    with flight_sql.by_hand(server) as client:
        told = flight_sql.info(client, "CommandStatementQuery", (1, sql))
        reader = client.do_get(told.endpoints[0].ticket)
        yield
        assert cancelled(client, told) == CANCELLED
        with pytest.raises(flight.FlightCancelledError):
            for _ in reader:
                pass


@contextlib.contextmanager
def hung_up(server: Server, sql: str) -> Iterator[None]:
    """A request by HTTP whose client closes its connection."""
    with raw_request(server, sql):
        yield


@pytest.mark.parametrize("leave", [dropped, cancelled_by_its_id, cancelled_as_a_flight, hung_up])
@pytest.mark.parametrize("shape", SHAPES)
def test_a_client_that_leaves_frees_the_server(
    alone: Server, shape: str, leave: Callable[[Server, str], contextlib.AbstractContextManager]
) -> None:
    with leave(alone, SHAPES[shape]):
        until(lambda: is_running(alone, SHAPES[shape]))
        time.sleep(0.2)  # it is at work by now
    assert_free(alone)


# Clients that do not read.

#: Rows of 800 bytes.
LARGE = "select x, repeat('abcdefgh', 100) || x as s from generate_series(1, 1000000000) t(x)"


@contextlib.contextmanager
def unread_stub(server: Server) -> Iterator[None]:
    call = server.stub.Query(harness.request(LARGE), timeout=harness.PATIENCE_S)
    assert next(call).header.query_id
    yield
    with pytest.raises(grpc.RpcError) as ended:
        list(call)
    assert ended.value.code() == StatusCode.DEADLINE_EXCEEDED


@contextlib.contextmanager
def unread_flight(server: Server) -> Iterator[None]:
    with flight_sql.by_hand(server) as client:
        told = flight_sql.info(client, "CommandStatementQuery", (1, LARGE))
        reader = client.do_get(told.endpoints[0].ticket)
        yield
        with pytest.raises(flight.FlightTimedOutError):
            for _ in reader:
                pass


@contextlib.contextmanager
def unread_http(server: Server) -> Iterator[None]:
    with raw_request(server, LARGE) as connection:
        yield
        connection.settimeout(harness.PATIENCE_S)
        received = b""
        while part := connection.recv(MIB):
            received = part
        assert not received.endswith(b"0\r\n\r\n"), "a result that was broken off looks whole"


@pytest.mark.parametrize("unread", [unread_stub, unread_flight, unread_http])
def test_a_paused_reader_holds_little_memory_and_its_slot_for_no_longer_than_allowed(
    store: Path, tmp_path: Path, unread: Callable[[Server], contextlib.AbstractContextManager]
) -> None:
    limit_s = 2
    with one_at_a_time(store, tmp_path, "--max-running", "1", "--query-timeout", f"{limit_s}s") as server:
        for _ in range(2):
            read_some(server, 40 * MIB)
        with Resident(server) as memory:
            start = time.monotonic()
            with unread(server):
                until(lambda: is_running(server, LARGE))
                until(lambda: not list(refusals(server)))  # whoever comes waits for the slot, and not for ever
                assert time.monotonic() - start < limit_s + LATE_S
        assert memory.rise <= 32 * MIB, f"{memory.rise / MIB:.0f} MiB for a reader that does not read"
        assert_free(server)
        server.stop()


#: Rows of 8,000 bytes and more, and how they come about.
LONG_ROWS = {
    "computed": LARGE.replace("100)", "1000)"),
    "a literal in each": f"select x, '{'abcdefgh' * 1000}' as s from generate_series(1, 1000000) t(x)",
    "stored": "select * from long",
}


@pytest.fixture(scope="module")
def long_store(store: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store that has a table of rows of 8,000 bytes beside the others."""
    folder = tmp_path_factory.mktemp("long")
    own = Path(shutil.copytree(store, folder / "store"))
    rows = 30_000
    file = folder / "long.parquet"
    pq.write_table(pa.table({"id": pa.array(range(rows), pa.int64()), "s": pa.repeat("abcdefgh" * 1000, rows)}), file)
    done = harness.run("load", "long", file, "--store", own, "--create")
    assert done.returncode == 0, done.stderr
    return own


@pytest.mark.parametrize("way", LONG_ROWS)
def test_a_paused_reader_of_long_rows_holds_little_memory(long_store: Path, tmp_path: Path, way: str) -> None:
    with one_at_a_time(long_store, tmp_path, "--max-running", "1", "--query-timeout", "4s") as server:
        read_some(server, 40 * MIB)
        assert server.query("select count(distinct s) from long").rows == [(1,)]
        with Resident(server) as memory, raw_request(server, LONG_ROWS[way]) as connection:
            time.sleep(3)
            assert connection.recv(1000).startswith(b"HTTP/1.1 200")
        assert memory.rise <= 32 * MIB, f"{memory.rise / MIB:.0f} MiB for a reader that does not read"


def test_a_large_result_passes_through_a_server_that_does_not_hold_it(server: Server) -> None:
    sql = "select x, repeat('abcdefgh', 12) || x as s from generate_series(1, 500000) t(x)"
    server.assert_lives()
    with Resident(server) as memory:
        rows = size = 0
        for message in server.stub.Query(harness.request(sql), timeout=harness.PATIENCE_S):
            size += len(message.arrow_ipc)
            rows += message.summary.rows
    assert (rows, size > 50_000_000) == (500_000, True)
    assert memory.rise <= 256 * MIB


# Messages that are too large, or in a form that is not read.


def test_a_request_that_is_too_large_is_refused_by_every_protocol(server: Server) -> None:
    sql = f"select '{'x' * (4 * MIB + 1)}'"
    failure = harness.failure(server.stub, sql)
    assert failure.code == StatusCode.OUT_OF_RANGE
    assert "too large" in failure.message
    with asked_by_http(server, sql[: MIB + 1]) as answer:
        assert (answer.status, json.load(answer)["code"]) == (400, "OutOfRange")
    with flight_sql.by_hand(server) as client:  # a load's messages may be longer than a statement
        with pytest.raises(pa.ArrowInvalid, match=r"the statement has \d+ bytes"):
            flight_sql.info(client, "CommandStatementQuery", (1, sql))
        with pytest.raises(pa.ArrowInvalid, match="out-of-range.*too large"):
            flight_sql.info(client, "CommandStatementQuery", (1, "x" * (64 * MIB + 1)))
    server.assert_lives()


def test_a_request_by_http_that_is_much_too_large_is_told_so(server: Server) -> None:
    with asked_by_http(server, b"x" * (64 * MIB)) as answer:
        assert (answer.status, json.load(answer)["code"]) == (400, "OutOfRange")


#: Rows that fit, and then one of 5 MiB.
LONG_ROW = "select x, {} from generate_series(1, 40000) t(x)".format(
    ", ".join(f"case when x = 40000 then repeat('{letter}', 900000 + x) end as {letter}" for letter in "abcdef")
)


def test_a_row_that_is_too_long_for_a_stock_client_is_refused_in_mid_stream(server: Server) -> None:
    failure = harness.failure(server.stub, LONG_ROW)
    assert failure.code == StatusCode.OUT_OF_RANGE
    assert "one row takes" in failure.message
    assert failure.before.kinds[0] == "header"
    assert failure.before.kinds.count("arrow_ipc") > 1


def test_a_row_that_is_too_long_for_a_message_comes_by_flight_and_by_http(server: Server) -> None:
    with flight_sql.by_hand(server) as client:
        table = flight_sql.fetched(client, flight_sql.info(client, "CommandStatementQuery", (1, LONG_ROW)))
    # Nothing says in which order the rows come.
    assert (table.num_rows, len(table.sort_by("x")["f"][39_999].as_py())) == (40_000, 940_000)
    with flight_sql.connect(server) as connection:
        assert len(max(flight_sql.rows(connection, LONG_ROW))[-1]) == 940_000
    with asked_by_http(server, LONG_ROW) as answer:
        longest = max(answer.read().splitlines(), key=len)
        assert len(json.loads(longest)["f"]) == 940_000


def test_a_row_that_adbc_cannot_take_is_refused_by_the_server(server: Server) -> None:
    with flight_sql.connect(server) as connection, pytest.raises(Exception) as refused:
        flight_sql.rows(connection, f"select {harness.wide_row(17 * MIB)}")
    assert "larger than max" not in str(refused.value)


@pytest.mark.parametrize("coding", [grpc.Compression.Gzip, grpc.Compression.Deflate])
def test_a_compressed_request_is_refused_with_the_name_of_its_coding(server: Server, coding: grpc.Compression) -> None:
    call = server.stub.Query(harness.request("select 1" + " " * 10_000), compression=coding, timeout=harness.PATIENCE_S)
    with pytest.raises(grpc.RpcError) as refused:
        list(call)
    assert refused.value.code() == StatusCode.UNIMPLEMENTED
    assert coding.name.lower() in refused.value.details()


def test_zstd_is_refused_before_it_is_unpacked(server: Server, tmp_path: Path) -> None:
    body = b"\x28\xb5\x2f\xfd" + bytes(1000)
    told = sent_by_curl(server, tmp_path, bytes([1]) + len(body).to_bytes(4, "big") + body, "grpc-encoding: zstd")
    assert "grpc-status: 12" in told
    assert "zstd" in told


@pytest.mark.parametrize("flag", [0, 1, 7])
def test_bytes_that_are_no_message_are_the_clients_mistake(server: Server, tmp_path: Path, flag: int) -> None:
    told = sent_by_curl(server, tmp_path, bytes([flag]) + (1).to_bytes(4, "big") + b"x")
    assert "grpc-status: 3" in told


def test_a_compressed_request_by_http_is_told_why_it_is_refused(server: Server) -> None:
    with asked_by_http(server, gzip.compress(b"select 1"), {"content-encoding": "gzip"}) as answer:
        assert answer.status in (400, 415, 501)
        assert "gzip" in json.load(answer)["detail"]


# Memory.

ROWS = 200_000

#: A sort of 500 bytes a row, whose one row is the count of those that it sorted, twice.
SORT = """select max(n), count(distinct x) from (select x, row_number() over (order by s) n
    from (select x, lpad(cast(x * 7919 % 1000003 as varchar), 500, 'x') s from generate_series(1, {rows}) t(x)))"""


def test_queries_beyond_their_share_spill_or_are_refused_and_disturb_nobody(store: Path, tmp_path: Path) -> None:
    group = f"""select sum(n), count(*) from (select lpad(cast(x * 7919 % 1000003 as varchar), 500, 'x') s, count(*) n
        from generate_series(1, {ROWS}) t(x) group by 1)"""
    small = "select count(distinct x % 1000) from generate_series(1, 100000) t(x)"
    with one_at_a_time(store, tmp_path, "--query-memory", "64MiB", "--max-running", "8") as server, ThreadPoolExecutor(4) as pool:
        running = [pool.submit(outcome, server, sql) for sql in (SORT.format(rows=ROWS), group, small, small)]
        sorted_, grouped, *smalls = [it.result() for it in running]
        assert smalls == [[(1000,)]] * 2
        assert sorted_ in (StatusCode.RESOURCE_EXHAUSTED, [(ROWS, ROWS)])
        assert grouped in (StatusCode.RESOURCE_EXHAUSTED, [(ROWS, ROWS)])
        assert_free(server)
        server.stop()


def test_queries_are_turned_away_while_memory_is_short_and_served_again_after(
    serve: Callable[..., Server], store: Path
) -> None:
    first = serve(store)
    first.assert_lives()
    idle = psutil.Process(first.process.pid).memory_info().rss
    limited = serve(store, "--memory-ceiling", f"{idle // MIB + 150}MiB", "--memory", "4GiB", "--query-memory", "4GiB")
    limited.assert_lives()
    hog = limited.stub.Query(
        harness.request("select cardinality(array_agg(value)) from generate_series(1, 1000000000)"), timeout=harness.PATIENCE_S
    )
    refused: list[grpc.RpcError] = []
    until(lambda: refused.extend(refusals(limited)) or refused or not hog.is_active())
    with pytest.raises(grpc.RpcError) as stopped:
        list(hog)
    assert stopped.value.code() == StatusCode.RESOURCE_EXHAUSTED, stopped.value.details()
    assert refused, "nobody was turned away"
    for error in refused:
        assert error.code() == StatusCode.RESOURCE_EXHAUSTED
        assert harness.retry_delay(error) > timedelta(0), f"no RetryInfo: {error}"
    until(lambda: not list(refusals(limited)), 5)
    limited.assert_lives()


def listed(text: str, count: int, between: str = ", ") -> str:
    """The text so many times, each with its number for `@`."""
    return between.join(text.replace("@", str(number)) for number in range(count))


#: Texts of 100,000 bytes in eight columns, and their lengths.
LONG_TEXTS, LENGTHS = listed("repeat('x', 100000 + x % 1@) s@", 8), listed("sum(length(s@))", 8, " + ")

#: Statements of one step that makes GiBs of little, in ways that nobody counts who counts what operators keep.
MULTIPLIED = {
    "functions of a scan": f"select {listed('repeat(s, 1@) r@', 10)} from long",
    "functions of one batch": f"""select {listed(f"max(length(concat({listed('repeat(s, 1@)', 10)}) || '@')) over ()", 3)}
        from (select repeat('x', 100 + x % 7) s from generate_series(1, 8192) t(x))""",
    "functions of a join's condition": f"""select count(*) from generate_series(1, 8192) a(x) join generate_series(1, 8192) b(y)
        on x = y and length(concat({listed("repeat('x', 30000 + (x + y + @) % 7)", 20)})) > 5""",
    "literals of a scan": f"""select {listed("repeat('x', 20000@) r@", 5)} from long""",
    "literals of one batch": f"""select {listed("max(case when x > @ then repeat('x', 20000@) else 'short' end)", 10)}
        from generate_series(1, 8192) t(x)""",
    "constants": f"""select count(*) from (values {listed("(repeat('x', 250000 + @))", 4000)})""",
    "computed texts": f"""select max(length(a0)) from (select {listed("case when x > @ then s else upper(s) end a@", 300)}
        from (select x, repeat('x', 2000 + x % 7) s from generate_series(1, 8192) t(x)))""",
    "values of subqueries": f"""select y, {listed("(select max(repeat('x', 240000 + x * @)) from generate_series(1, 2) t(x)) s@", 4)}
        from generate_series(1, 8192) b(y)""",
    "values of a fixed size": "select max(arrow_cast(null, 'FixedSizeBinary(2000000000)')) over (order by x) from generate_series(1, 8192) t(x)",
    "delimiters": "select length(string_agg(cast(x as varchar), repeat(',', 200000) order by x)) from generate_series(1, 10000) t(x)",
    "a cross join": f"select {LENGTHS} from (select {LONG_TEXTS} from generate_series(1, 1) t(x)) cross join generate_series(1, 8192) u(y)",
    "a join by equality": f"""select {LENGTHS} from (select x, {LONG_TEXTS} from generate_series(1, 1) t(x))
        join generate_series(1, 8192) u(y) on x = y / 100000 + 1""",
    "an exchange of long rows": f"""select count(*) from (select {LONG_TEXTS}, x % 1000 k from generate_series(1, 100000) t(x)) a
        join (select x % 1000 k, count(*) n from generate_series(1, 100000) t(x) group by 1) b on a.k = b.k and a.s0 <> a.s1""",
    "a long list beside a long text": f"""select {LENGTHS} from (select unnest(range(0, 31000 + x)), *
        from (select x, {LONG_TEXTS} from generate_series(1, 1) t(x)))""",
    "a window's first value": f"""select {LENGTHS} from (select {listed("first_value(s || '@') over (order by x) s@", 8)}
        from (select x, repeat('x', case when x = 1 then 200000 else 1 end) s from generate_series(1, 8192) t(x)))""",
    "a window over everything": "select max(s) from (select sum(x) over () s from generate_series(1, 100000000) t(x))",
    "lists of a window over everything": """select sum(cardinality(l)) from (select array_agg(x) over (partition by x / 4000) l
        from generate_series(1, 100000) t(x))""",
    "a gap's keys": f"""select {listed("sum(length(k@))", 6, " + ")} from (select time_bucket_gapfill(interval '1 day', d) b, {listed("k@", 6)}, sum(v) v
        from (select date '1970-01-01' + cast(x * 9990 as int) d, {listed("repeat('x', 100000) || (x / 1000 + @) k@", 6)}, 1.0 v
        from generate_series(0, 1) t(x)) group by 1, {listed("k@", 6)})""",
}


@pytest.mark.parametrize("name", MULTIPLIED)
def test_what_one_step_makes_is_held_to_a_size(long_store: Path, tmp_path: Path, name: str) -> None:
    with one_at_a_time(long_store, tmp_path, "--query-memory", "128MiB", "--query-timeout", "5s") as server:
        server.assert_lives()
        with Resident(server) as memory:
            ended = outcome(server, MULTIPLIED[name])
        assert isinstance(ended, list) or ended in MAPPED, ended
        is_refused_unplanned = name in ("delimiters", "values of a fixed size")
        assert (ended == StatusCode.INVALID_ARGUMENT) == is_refused_unplanned, ended
        assert memory.rise <= 384 * MIB, f"{memory.rise / MIB:.0f} MiB"
        assert_free(server)
        server.stop()


#: What asks for no memory that it does not need: notes of 30 bytes, one of them of 20,000.
MODEST = {
    "a join": "select count(*), max(length(a.note)), max(length(b.note)) from notes a join notes b on a.x = b.x",
    "a semi join": "select count(*) from notes where note in (select note from notes)",
    "a window's value": "select max(length(n)) from (select lag(note) over (order by x) n from notes)",
    "a window of short runs": "select max(length(n)) from (select max(note) over (partition by day) n from notes)",
    "lists": """select max(cardinality(l)) from (select array_agg(x) l, day from notes group by day) a
        join (select lower(note) k, day from notes) b on a.day = b.day""",
    "text functions": "select max(length(n)) from (select replace(upper(note), 'X', 'yy') || x n from notes where note || 'a' > 'b')",
}


@pytest.mark.parametrize("name", MODEST)
def test_one_long_row_among_many_short_ones_is_no_reason_to_refuse(store: Path, tmp_path: Path, name: str) -> None:
    notes = """with notes as (select x, x / 100 as day, case when x = 7 then repeat('n', 20000) else lpad(cast(x as varchar), 30, '0') end as note
        from generate_series(1, 50000) t(x)) """
    with one_at_a_time(store, tmp_path, "--query-memory", "64MiB") as server:
        ((*_, longest),) = server.query(notes + MODEST[name]).rows
        assert longest == {"a semi join": 50_000, "lists": 100, "text functions": 20_001}.get(name, 20_000)
        server.stop()


def test_short_rows_are_not_cut_into_small_batches(server: Server) -> None:
    """Where functions above and below one another make little, they are handed whole batches."""
    sql = """select max(upper(t)) from (select first_value(s) over (order by x) || s t
        from (select x, 'a' || x s from generate_series(1, 200000) t(x)))"""
    plan = "".join(str(value) for row in server.query(f"explain analyze {sql}").rows for value in row)
    batches = [int(number) for number in re.findall(r"ProjectionExec.*?output_batches=(\d+)", plan)]
    assert len(batches) >= 3
    assert max(batches) <= 100, plan


# Many bombs at once.

#: Below the limits of a statement's text, and heavy all the same.
BOMBS = {
    "IN": "select count(*) from generate_series(1, 100000) t(x) where x in ({})".format(",".join(map(str, range(4096)))),
    "OR": "select count(*) from generate_series(1, 1000) t(x) where {}".format(" or ".join(f"x = {n}" for n in range(500))),
    "CUBE": "select count(*) from (select 1 from generate_series(1, 2000) t(x) group by cube ({}))".format(
        ", ".join(f"x % {n}" for n in range(2, 10))
    ),
    "repeat": "select repeat(repeat(repeat('x', 1000), 1000), 1000)",
    "additions": "select 1" + "+1" * 900,
    "unnest": "select count(*) from (select unnest(range(1, 30000)) from generate_series(1, 1000))",
    "UNION": " union ".join(f"select {n}" for n in range(100)),
    "too many ORs": "select 1 where {}".format(" or ".join(["1 = 1"] * 20_000)),
}

#: What a bomb may end with, where it does not give its rows.
MAPPED = {StatusCode.INVALID_ARGUMENT, StatusCode.RESOURCE_EXHAUSTED, StatusCode.OUT_OF_RANGE, StatusCode.DEADLINE_EXCEEDED}


def test_eight_bombs_at_once_do_not_disturb_another_query(serve: Callable[..., Server], own_store: Path) -> None:
    token, canarys = (harness.create_token(own_store, name) for name in ("bomber", "canary"))
    server = serve(own_store, "--auth", "token", "--query-timeout", "8s", "--query-memory", "128MiB", token=token)
    with grpc.insecure_channel(server.target, [("grpc.use_local_subchannel_pool", 1)]) as channel:
        stub = query_pb2_grpc.QueryServiceStub(grpc.intercept_channel(channel, harness.Shows(canarys)))
        canary = "select count(*), min(stage) from quotas"
        expected = harness.query(stub, canary).rows
        with ThreadPoolExecutor(len(BOMBS)) as pool:
            bombs = {name: pool.submit(outcome, server, sql) for name, sql in BOMBS.items()}
            asked = 0
            while asked == 0 or not all(bomb.done() for bomb in bombs.values()):
                assert harness.query(stub, canary).rows == expected
                asked += 1
                time.sleep(0.1)
    unmapped = {name: it for name, bomb in bombs.items() if isinstance(it := bomb.result(), StatusCode) and it not in MAPPED}
    assert unmapped == {}
    assert bombs["too many ORs"].result() == StatusCode.INVALID_ARGUMENT
    server.assert_lives()
    assert "panicked at" not in server.log.read_text()


# Many idlers.


def test_idle_connections_keep_nobody_from_being_served(server: Server) -> None:
    with contextlib.ExitStack() as idle:
        for _ in range(200):
            idle.enter_context(connection_to(server))
        assert asked_anew(grpc.insecure_channel, server.target) < 5


def test_half_a_handshake_keeps_nobody_from_being_served(serve: Callable[..., Server], store: Path, tmp_path: Path) -> None:
    authority = Authority("An authority of the tests")
    certificate, key = tmp_path / "server.pem", tmp_path / "server.key"
    authority.issue().write(certificate, key)
    server = serve(store, "--tls-cert", str(certificate), "--tls-key", str(key), authority=authority.certificate)
    hello = client_hello()
    secure = lambda target, options: grpc.secure_channel(  # noqa: E731
        target, grpc.ssl_channel_credentials(authority.certificate), options
    )
    with contextlib.ExitStack() as idle:
        for number in range(50):
            connection = idle.enter_context(connection_to(server))
            connection.sendall(hello[: (0, 3, len(hello) // 2, len(hello))[number % 4]])
        assert asked_anew(secure, server.target) < 5
    server.assert_lives()


# What the tests ask with.


class Resident:
    """The most memory that a server held meanwhile, above what it held before."""

    def __init__(self, server: Server) -> None:
        self._process = psutil.Process(server.process.pid)
        self._enough = threading.Event()
        self._thread = threading.Thread(target=self._watch)

    def _watch(self) -> None:
        while not self._enough.wait(0.02):
            self._most = max(self._most, self._process.memory_info().rss)

    def __enter__(self) -> Resident:
        self._before = self._most = self._process.memory_info().rss
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._enough.set()
        self._thread.join()

    @property
    def rise(self) -> int:
        return self._most - self._before


@contextlib.contextmanager
def asked_by_http(server: Server, sql: str | bytes, headers: dict[str, str] | None = None) -> Iterator[http.client.HTTPResponse]:
    """The answer to a statement by HTTP, one row a line."""
    with contextlib.closing(http.client.HTTPConnection(server.target, timeout=harness.PATIENCE_S)) as connection:
        connection.request("POST", "/api/v1/sql", sql, {"accept": "application/x-ndjson", **(headers or {})})
        yield connection.getresponse()


@contextlib.contextmanager
def connection_to(server: Server) -> Iterator[socket.socket]:
    """A connection on which nothing was said yet."""
    host, port = server.target.split(":")
    with socket.create_connection((host, int(port)), timeout=harness.PATIENCE_S) as connection:
        yield connection


@contextlib.contextmanager
def raw_request(server: Server, sql: str) -> Iterator[socket.socket]:
    """A statement by HTTP whose answer nobody reads."""
    head = f"POST /api/v1/sql HTTP/1.1\r\nHost: didymium\r\nAccept: application/x-ndjson\r\nContent-Length: {len(sql)}\r\n\r\n"
    with connection_to(server) as connection:
        connection.sendall((head + sql).encode())
        yield connection


def sent_by_curl(server: Server, folder: Path, body: bytes, *headers: str) -> str:
    """The headers and trailers that answer a call of these bytes."""
    file = folder / "body"
    file.write_bytes(body)
    url = f"http://{server.target}/didymium.v1.QueryService/Query"
    options = [f"-H{header}" for header in ("content-type: application/grpc", "te: trailers", *headers)]
    curl = ["curl", "-sS", "-i", "--http2-prior-knowledge", *options, "--data-binary", f"@{file}", url]
    return subprocess.run(curl, capture_output=True, timeout=harness.PATIENCE_S, check=True).stdout.decode()


def client_hello() -> bytes:
    """What a client of TLS says first."""
    said = ssl.MemoryBIO()
    client = ssl.create_default_context().wrap_bio(ssl.MemoryBIO(), said, server_hostname="localhost")
    with pytest.raises(ssl.SSLWantReadError):
        client.do_handshake()
    return said.read()


def asked_anew(connect: Callable[[str, list], grpc.Channel], target: str) -> float:
    """How long a query takes on a connection of its own."""
    start = time.monotonic()
    with connect(target, [("grpc.use_local_subchannel_pool", 1)]) as channel:
        assert harness.query(query_pb2_grpc.QueryServiceStub(channel), "select 1").rows == [(1,)]
    return time.monotonic() - start


def read_some(server: Server, size: int) -> None:
    """Reads so much of a large result, so that the memory for it is there."""
    call = server.stub.Query(harness.request(LARGE), timeout=harness.PATIENCE_S)
    read = 0
    while read < size:
        read += len(next(call).arrow_ipc)
    call.cancel()


def outcome(server: Server, sql: str) -> list[tuple] | StatusCode:
    """A query's rows, or the code that it ends with."""
    try:
        return server.query(sql).rows
    except grpc.RpcError as error:
        return error.code()


def refusals(server: Server) -> Iterator[grpc.RpcError]:
    """How a small query is refused, if it is."""
    try:
        assert server.query("select 1").rows == [(1,)]
    except grpc.RpcError as error:
        yield error


def is_running(server: Server, sql: str) -> bool:
    listed = server.stub.ListQueries(query_pb2.ListQueriesRequest(), timeout=harness.PATIENCE_S)
    return any(query.sql == sql and query.phase == query_pb2.PHASE_RUNNING for query in listed.queries)


def until(holds: Callable[[], object], patience_s: float = harness.PATIENCE_S) -> None:
    """Waits for what must become true."""
    deadline = time.monotonic() + patience_s
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.02)
