"""Runs of Flight SQL statements: how they are stopped, and the tickets and handles that clients keep of them."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from pathlib import Path

import adbc_driver_manager as adbc
import pyarrow as pa
import pyarrow.flight as flight
import pytest
from google.protobuf.any_pb2 import Any

import flight_sql
import harness
from didymium.v1 import query_pb2
from harness import Server

ENDLESS = "select count(*) from generate_series(1, 1000000000000)"


def test_time_runs_out_by_the_clients_and_by_the_servers_clock(server: Server) -> None:
    for options in ({"adbc.flight.sql.rpc.timeout_seconds.fetch": "0.3"}, flight_sql.headers(timeout="300ms")):
        with (
            flight_sql.connect(server, **options) as connection,
            pytest.raises(adbc.OperationalError, match="DeadlineExceeded"),
        ):
            flight_sql.rows(connection, ENDLESS)
    assert_calm(server)


@pytest.mark.parametrize("sql", [ENDLESS, ENDLESS.replace("count(*)", "*")])
def test_cancelling_ends_the_query_here_and_there(server: Server, sql: str) -> None:
    ended: list[tuple[BaseException, float]] = []

    def run() -> None:
        try:
            cursor.execute(sql)
            while cursor.fetchmany(1000):
                pass
        except adbc.Error as error:
            ended.append((error, time.monotonic()))

    with flight_sql.connect(server) as connection, connection.cursor() as cursor:
        thread = threading.Thread(target=run)
        thread.start()
        wait_until(lambda: any(query.sql == sql for query in running(server)))
        before = time.monotonic()
        cursor.adbc_cancel()
        thread.join(harness.PATIENCE_S)
    ((error, at),) = ended
    assert isinstance(error, adbc.OperationalError)
    assert "CANCELLED" in str(error)
    assert at - before < 2
    assert_calm(server)


def test_cancel_flight_info_stops_what_its_ticket_runs(server: Server) -> None:
    with flight_sql.by_hand(server) as client:
        told = flight_sql.info(client, "CommandStatementQuery", (1, ENDLESS))
        assert cancelled(client, told) == NOT_CANCELLABLE
        ended: list[Exception] = []

        def fetch() -> None:
            try:
                flight_sql.fetched(client, told)
            except Exception as error:
                ended.append(error)

        thread = threading.Thread(target=fetch)
        thread.start()
        wait_until(lambda: any(query.sql == ENDLESS for query in running(server)))
        assert cancelled(client, told) == CANCELLED
        thread.join(harness.PATIENCE_S)
    assert isinstance(ended[0], flight.FlightCancelledError)
    assert_calm(server)


def test_nobody_else_on_the_machine_reads_the_keys_that_sign(own_store: Path, serve: Callable[..., Server]) -> None:
    serve(own_store)
    keys = list((own_store / "_didymium" / "keys").iterdir())
    assert keys and [key for key in keys if key.stat().st_mode & 0o077] == []


def test_a_ticket_is_good_after_a_restart_and_on_another_server(own_store: Path, serve: Callable[..., Server]) -> None:
    sql = "select count(*) as n, sum(value) as t from quotas where stage = ?"
    first = serve(own_store)
    with flight_sql.connect(first) as connection, connection.cursor() as cursor:
        (partition,), _ = cursor.adbc_execute_partitions(sql, ["mining"])
    second = serve(own_store)
    plain = second.query(sql.replace("?", "'mining'")).rows
    assert read(second, partition) == read(second, partition) == plain
    first.stop()
    second.stop()
    assert read(serve(own_store), partition) == plain


def test_a_ticket_reads_what_it_was_planned_on_and_a_handle_what_is_newest(
    own_store: Path, serve: Callable[..., Server]
) -> None:
    server = serve(own_store)
    sql = "select count(*) as n from notes"
    with flight_sql.connect(server) as connection, flight_sql.by_hand(server) as client:
        flight_sql.ingest(connection, "notes", pa.table({"a": [1, 2]}))
        handle = flight_sql.prepared(client, sql)
        told = flight_sql.info(client, "CommandPreparedStatementQuery", (1, handle))
        flight_sql.ingest(connection, "notes", pa.table({"a": [3]}), "append")
        assert flight_sql.fetched(client, told).to_pydict() == {"n": [2]}
        newest = flight_sql.info(client, "CommandPreparedStatementQuery", (1, handle))
        assert flight_sql.fetched(client, newest).to_pydict() == {"n": [3]}
    server.stop()
    with flight_sql.by_hand(serve(own_store)) as client:
        newest = flight_sql.info(client, "CommandPreparedStatementQuery", (1, handle))
        assert flight_sql.fetched(client, newest).to_pydict() == {"n": [3]}
        assert flight_sql.fetched(client, told).to_pydict() == {"n": [2]}


def test_a_forged_ticket_or_handle_is_not_found(server: Server) -> None:
    with flight_sql.by_hand(server) as client:
        told = flight_sql.info(client, "CommandStatementQuery", (1, "select 1 as one"))
        ticket = Any.FromString(told.endpoints[0].ticket.ticket)
        sealed = flight_sql.first_field(ticket.value)
        for place in range(len(sealed)):
            forged = flight_sql.message("TicketStatementQuery", (1, flipped(sealed, place)))
            with pytest.raises(KeyError, match="NOT_FOUND:there is no such ticket"):
                client.do_get(flight.Ticket(forged)).read_all()
        handle = flight_sql.prepared(client, "select 1 as one")
        for forged in (flipped(handle, len(handle) // 2), handle[:-1], b"", sealed):
            with pytest.raises(KeyError, match="there is no such prepared statement"):
                flight_sql.info(client, "CommandPreparedStatementQuery", (1, forged))
        as_ticket = flight.Ticket(flight_sql.message("TicketStatementQuery", (1, handle)))
        with pytest.raises(KeyError, match="there is no such ticket"):
            client.do_get(as_ticket).read_all()
    server.assert_lives()


NO_COMMANDS = {
    "junk": b"junk",
    "zeros": bytes(8),
    "unended": b"\xff" * 100,
    "unknown": flight_sql.message("CommandNothing"),
    "torn": flight_sql.message("CommandStatementQuery", (1, "select 1"))[:-1],
}


@pytest.mark.parametrize("command", NO_COMMANDS.values(), ids=NO_COMMANDS)
def test_what_is_no_command_is_refused(server: Server, command: bytes) -> None:
    with flight_sql.by_hand(server) as client:
        with pytest.raises((pa.ArrowInvalid, pa.ArrowNotImplementedError)):
            client.get_flight_info(flight.FlightDescriptor.for_command(command))
        with pytest.raises((pa.ArrowInvalid, pa.ArrowKeyError)):
            client.do_get(flight.Ticket(command)).read_all()
    server.assert_lives()


def test_a_path_is_told_that_it_is_no_command(server: Server) -> None:
    with flight_sql.by_hand(server) as client:
        for descriptor in (flight.FlightDescriptor.for_path("quotas"), flight.FlightDescriptor.for_command(b"")):
            with pytest.raises(pa.ArrowInvalid, match="no Flight SQL command"):
                client.get_flight_info(descriptor)


#: CancelStatus of Flight.proto.
CANCELLED, NOT_CANCELLABLE = 1, 3


def cancelled(client: flight.FlightClient, told: flight.FlightInfo) -> int:
    """What a cancel answers."""
    body = flight_sql.field(1, told.serialize())
    (result,) = client.do_action(flight.Action("CancelFlightInfo", body))
    answer = result.body.to_pybytes()
    assert answer[:1] == b"\x08"
    return answer[1]


def read(server: Server, partition: bytes) -> list[tuple]:
    """The rows of a partition that another connection was given."""
    with flight_sql.connect(server) as connection, connection.cursor() as cursor:
        cursor.adbc_read_partition(partition)
        return cursor.fetchall()


def running(server: Server) -> list[query_pb2.RunningQuery]:
    return list(server.stub.ListQueries(query_pb2.ListQueriesRequest()).queries)


def wait_until(holds: Callable[[], bool]) -> None:
    """Waits for what must become true."""
    deadline = time.monotonic() + harness.PATIENCE_S
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def assert_calm(server: Server) -> None:
    """Nothing runs, nor uses the processor."""
    wait_until(lambda: not running(server))
    before = server.cpu_s()
    time.sleep(0.3)
    assert server.cpu_s() - before < 0.15


def flipped(sealed: bytes, place: int) -> bytes:
    """The bytes with one bit of one changed."""
    return sealed[:place] + bytes([sealed[place] ^ 1]) + sealed[place + 1 :]
