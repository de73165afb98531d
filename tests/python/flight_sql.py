"""Arrow Flight SQL as its clients speak it: through ADBC, and by hand where ADBC has no words for a call."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import pyarrow as pa
import pyarrow.flight as flight
from adbc_driver_flightsql import dbapi
from google.protobuf.any_pb2 import Any as AnyMessage

from harness import Server

HEADER = "adbc.flight.sql.rpc.call_header."
SESSION = "adbc.flight.sql.session.option."
COOKIES = {"adbc.flight.sql.rpc.with_cookie_middleware": "true"}

MESSAGES = "type.googleapis.com/arrow.flight.protocol.sql."


def connect(server: Server, **options: str) -> dbapi.Connection:
    """A connection with ADBC's own options. Without transactions ADBC asks for autocommit, or warns."""
    return dbapi.connect(server.url, db_kwargs=options, autocommit=True)


def headers(**values: str) -> dict[str, str]:
    """The options that send headers of ours with every call."""
    return {f"{HEADER}didymium-{name.replace('_', '-')}": value for name, value in values.items()}


def table(connection: dbapi.Connection, sql: str, parameters: Sequence[object] | None = None) -> pa.Table:
    """A statement's result."""
    with connection.cursor() as cursor:
        cursor.execute(sql, parameters)
        return cursor.fetch_arrow_table()


def rows(connection: dbapi.Connection, sql: str, parameters: Sequence[object] | None = None) -> list[tuple]:
    """A statement's rows."""
    with connection.cursor() as cursor:
        cursor.execute(sql, parameters)
        return cursor.fetchall()


def ingest(connection: dbapi.Connection, name: str, data: pa.Table, mode: str = "create", **options: Any) -> int:
    """Loads rows; `headers` go with this load alone."""
    own = options.pop("headers", {})
    with connection.cursor(adbc_stmt_kwargs=headers(**own)) as cursor:
        return cursor.adbc_ingest(name, data, mode=mode, **options)


@contextmanager
def by_hand(server: Server) -> Iterator[flight.FlightClient]:
    """A client of Flight alone, which knows no SQL."""
    with flight.connect(server.url) as client:
        yield client


def message(name: str, *fields: tuple[int, str | bytes]) -> bytes:
    """A message of Flight SQL out of the numbers and values of its fields."""
    return AnyMessage(type_url=MESSAGES + name, value=b"".join(field(*one) for one in fields)).SerializeToString()


def field(number: int, value: str | bytes) -> bytes:
    """One field of a message."""
    value = value.encode() if isinstance(value, str) else value
    size, length = len(value), b""
    while size > 0x7F:
        length += bytes([size & 0x7F | 0x80])
        size >>= 7
    return bytes([number << 3 | 2]) + length + bytes([size]) + value


def info(client: flight.FlightClient, name: str, *fields: tuple[int, str | bytes]) -> flight.FlightInfo:
    """What a command would give."""
    return client.get_flight_info(flight.FlightDescriptor.for_command(message(name, *fields)))


def fetched(client: flight.FlightClient, told: flight.FlightInfo) -> pa.Table:
    """The rows of the one endpoint."""
    (endpoint,) = told.endpoints
    reader = client.do_get(endpoint.ticket)
    # Not by read_all: where the flight is cancelled, that sends this process what Ctrl-C does.
    return pa.Table.from_batches([chunk.data for chunk in reader], reader.schema)


def prepared(client: flight.FlightClient, sql: str) -> bytes:
    """The handle of a prepared statement."""
    body = message("ActionCreatePreparedStatementRequest", (1, sql))
    (result,) = client.do_action(flight.Action("CreatePreparedStatement", body))
    return first_field(AnyMessage.FromString(result.body.to_pybytes()).value)


def first_field(encoded: bytes) -> bytes:
    """The bytes of a message's first field."""
    size, start, shift = 0, 1, 0
    while True:
        byte = encoded[start]
        size |= (byte & 0x7F) << shift
        start, shift = start + 1, shift + 7
        if byte < 0x80:
            return encoded[start : start + size]


@contextmanager
def without_transactions() -> Iterator[None]:
    """For clients that connect on their own and never ask for autocommit: ADBC warns them."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Cannot disable autocommit")
        yield
