"""What Flight SQL clients change: rows that they ingest, views that they make, and the options of their sessions."""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path

import adbc_driver_manager as adbc
import pyarrow as pa
import pyarrow.flight as flight
import pytest
from adbc_driver_flightsql import dbapi
from grpc import StatusCode

import didymium
import flight_sql
import harness
import output
from flight_sql import COOKIES, SESSION
from harness import Server
from test_known import moment, pin

FROM = {"source_id": "S", "published_on": "2026-01-01"}

TONNES = pa.table(
    {
        "mine": ["Mount Weld", "Bayan Obo", None],
        "lots": pa.array([3, 5, 8], pa.int32()),
        "share": [0.25, None, 0.5],
        "opened": [date(1999, 1, 1), date(1957, 12, 31), None],
        "works": [True, False, None],
    }
)


@pytest.fixture(scope="module")
def writable(store: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server of a store of its own, which these tests write to."""
    folder = tmp_path_factory.mktemp("flight")
    server = Server(Path(shutil.copytree(store, folder / "store")), folder / "server.log")
    with didymium.connect(server.url) as db:
        db.create_table(output.DECLARATION.read_text())
    yield server
    server.stop()


@pytest.fixture(scope="module")
def con(writable: Server) -> Iterator[dbapi.Connection]:
    with flight_sql.connect(writable) as connection:
        yield connection


def test_rows_read_back_as_they_were_ingested(writable: Server, con: dbapi.Connection) -> None:
    data = TONNES.set_column(0, "mine", pa.array(["Mount Weld", "Bayan Obo", "Mountain Pass"]))
    assert flight_sql.ingest(con, "mines", data) == 3
    rows = list(zip(*(column.to_pylist() for column in data.columns), strict=True))
    assert flight_sql.rows(con, "select * from mines order by lots") == rows
    assert writable.query("select * from mines order by lots").rows == rows


def test_decimals_become_doubles_and_times_are_in_utc(con: dbapi.Connection) -> None:
    data = pa.table({"d": [Decimal("1.25")], "at": [datetime(2024, 1, 1, 8)], "t": pa.array(["x"]).dictionary_encode()})
    flight_sql.ingest(con, "kinds", data)
    assert flight_sql.rows(con, "select d, at, t from kinds") == [(1.25, datetime(2024, 1, 1, 8, tzinfo=UTC), "x")]


def test_many_batches_are_one_load(writable: Server, con: dbapi.Connection) -> None:
    numbers = pa.table({"n": range(20_000), "text": [f"row {n}" for n in range(20_000)]})
    reader = pa.RecordBatchReader.from_batches(numbers.schema, numbers.to_batches(max_chunksize=1000))
    assert flight_sql.ingest(con, "numbers", reader) == 20_000
    assert flight_sql.table(con, "select * from numbers order by n").to_pydict() == numbers.to_pydict()
    commits = "select sum(rows_added), count(load_id) from system.commits where table_name = 'numbers'"
    assert writable.query(commits).rows == [(20_000, 1)]


def test_every_mode_does_as_it_is_called(con: dbapi.Connection) -> None:
    one, two = pa.table({"n": [1, 2]}), pa.table({"n": [3]})
    with pytest.raises(adbc.ProgrammingError, match="NOT_FOUND.*no table modes"):
        flight_sql.ingest(con, "modes", one, "append")
    flight_sql.ingest(con, "modes", one, "create")
    with pytest.raises(adbc.ProgrammingError, match="ALREADY_EXISTS.*a table modes already"):
        flight_sql.ingest(con, "modes", two, "create")
    for mode, expected in [("append", [1, 2, 3]), ("replace", [3]), ("create_append", [3])]:
        flight_sql.ingest(con, "modes", two, mode)
        assert flight_sql.table(con, "select n from modes order by n").to_pydict() == {"n": expected}
    for mode in ("replace", "create_append"):
        flight_sql.ingest(con, f"new_by_{mode}", one, mode)
        assert flight_sql.rows(con, f"select count(*) from new_by_{mode}") == [(2,)]


def test_what_was_replaced_is_still_known_as_of_then(writable: Server, con: dbapi.Connection) -> None:
    flight_sql.ingest(con, "replaced", pa.table({"n": [1, 2, 3]}))
    time.sleep(0.05)
    before = datetime.now(UTC)
    time.sleep(0.05)
    flight_sql.ingest(con, "replaced", pa.table({"n": [7]}), "replace")
    sql = "select sum(n), count(*) from replaced"
    assert writable.query(sql).rows == [(7, 1)]
    assert writable.query(sql, committed_as_of=moment(before)).rows == [(6, 3)]
    with flight_sql.connect(writable, **flight_sql.headers(committed_as_of=before.isoformat())) as then:
        assert flight_sql.rows(then, sql) == [(6, 3)]


def test_a_frame_without_rows_makes_a_table_or_adds_nothing(writable: Server, con: dbapi.Connection) -> None:
    schema = pa.schema({"n": pa.int64(), "share": pa.float64()})
    some = pa.table({"n": [1, 2], "share": [0.5, None]}, schema=schema)

    def none() -> pa.RecordBatchReader:
        return pa.RecordBatchReader.from_batches(schema, [pa.RecordBatch.from_pylist([], schema)])

    def state(name: str) -> tuple[int, list[tuple]]:
        version = writable.query(f"select version from system.tables where table_name = '{name}'").rows
        return version[0][0], writable.query(f"select * from {name} order by n").rows

    for mode in ("create", "create_append", "replace"):
        name = f"empty_by_{mode}"
        assert flight_sql.ingest(con, name, none(), mode) == 0
        made = writable.query(f"select * from {name}").table
        assert (made.num_rows, made.schema.types) == (0, schema.types)
        assert flight_sql.ingest(con, name, some, "append") == 2
        before = state(name)
        assert before[1] == [(1, 0.5), (2, None)]
        assert flight_sql.ingest(con, name, none(), "append") == 0
        assert flight_sql.ingest(con, name, none(), "create_append") == 0
        assert state(name) == before
        assert flight_sql.ingest(con, name, none(), "replace") == 0
        assert state(name) == (before[0] + 1, [])
        with pytest.raises(adbc.ProgrammingError, match="ALREADY_EXISTS"):
            flight_sql.ingest(con, name, none(), "create")
        with pytest.raises(adbc.ProgrammingError, match="no such column"):
            flight_sql.ingest(con, name, pa.RecordBatch.from_pylist([], pa.schema({"other": pa.int64()})), "append")
    with pytest.raises(adbc.ProgrammingError, match="NOT_FOUND"):
        flight_sql.ingest(con, "empty", none(), "append")
    with pytest.raises(adbc.ProgrammingError, match="as one empty batch"):  # of which the driver sends nothing
        flight_sql.ingest(con, "empty", pa.RecordBatchReader.from_batches(schema, []), "create")


@pytest.mark.parametrize(
    ("name", "mode", "options", "kind", "why"),
    [
        ("passing", "create", {"temporary": True}, adbc.NotSupportedError, "no temporary tables"),
        ("quotas", "replace", {}, adbc.OperationalError, "FailedPrecondition"),
        ("quotas", "append", {}, adbc.ProgrammingError, "fault"),
        ("quotas", "create", {}, adbc.ProgrammingError, "ALREADY_EXISTS"),
        ("Other Name", "create", {}, adbc.ProgrammingError, "lower-case letters"),
        ("elsewhere", "create", {"catalog_name": "other"}, adbc.ProgrammingError, "didymium.main"),
        ("tables", "append", {"db_schema_name": "system"}, adbc.ProgrammingError, "didymium.main"),
    ],
)
def test_what_cannot_be_ingested_is_refused_whole(
    writable: Server, con: dbapi.Connection, name: str, mode: str, options: dict, kind: type[adbc.Error], why: str
) -> None:
    sizes = "select table_name, version, rows from system.tables order by 1"
    before = writable.query(sizes).rows
    with pytest.raises(kind, match=why) as refused:
        flight_sql.ingest(con, name, pa.table({"n": [1]}), mode, **options)
    assert refused.type is kind
    assert writable.query(sizes).rows == before


def test_headers_say_where_the_figures_of_a_series_come_from(writable: Server, con: dbapi.Connection) -> None:
    data = pa.table({"mine": ["a", "a"], "period": ["2024-01", "2024-02"], "value": [1.0, 2.0]})
    with pytest.raises(adbc.ProgrammingError, match="published_on"):
        flight_sql.ingest(con, "output", data, "append")
    with pytest.raises(adbc.ProgrammingError, match="'yesterday' is no day"):
        flight_sql.ingest(con, "output", data, "append", headers={**FROM, "published_on": "yesterday"})
    flight_sql.ingest(con, "output", data, "append", headers=FROM)
    sql = "select value, source_id, published_on from output where mine = 'a' order by value"
    assert writable.query(sql).rows == [(1.0, "S", date(2026, 1, 1)), (2.0, "S", date(2026, 1, 1))]

    other = data.set_column(2, "value", pa.array([1.0, 20.0]))
    with pytest.raises(adbc.ProgrammingError, match="row 2"):
        flight_sql.ingest(con, "output", other, "append", headers=FROM)
    flight_sql.ingest(con, "output", other, "append", headers={**FROM, "supersede": "a slip", "message": "by ADBC"})
    assert [row[0] for row in writable.query(sql).rows] == [1.0, 20.0]
    noted = "select message, reason from system.commits where table_name = 'output' order by version desc limit 1"
    assert writable.query(noted).rows == [("by ADBC", "a slip")]


def test_headers_of_a_connection_hold_for_all_its_loads(writable: Server) -> None:
    data = pa.table({"mine": ["b"], "period": ["2024-01"], "value": [1.0]})
    with flight_sql.connect(writable, **flight_sql.headers(**FROM)) as connection:
        assert flight_sql.ingest(connection, "output", data, "append") == 1
    assert writable.query("select source_id from output where mine = 'b'").rows == [("S",)]


def test_a_view_is_made_and_dropped_without_a_fetch(writable: Server, con: dbapi.Connection) -> None:
    with con.cursor() as cursor:
        cursor.execute("create view mining as select count(*) as n from quotas where stage = 'mining'")
        mined = writable.query("select count(*) from quotas where stage = 'mining'").rows
        assert writable.query("select n from mining").rows == mined
        with pytest.raises(adbc.ProgrammingError, match="ALREADY_EXISTS"):
            cursor.execute("create view mining as select 1 as n")
        cursor.execute("create or replace view mining as select 2 as n")
        assert writable.query("select n from mining").rows == [(2,)]
        cursor.execute("drop view mining")
        with pytest.raises(adbc.ProgrammingError, match="NOT_FOUND"):
            cursor.execute("drop view mining")
    assert harness.failure(writable.stub, "select n from mining").code == StatusCode.NOT_FOUND


def test_asking_for_a_schema_makes_no_view(writable: Server) -> None:
    sql = "create view only_described as select 1 as one"
    with flight_sql.by_hand(writable) as client:
        command = flight_sql.message("CommandStatementQuery", (1, sql))
        client.get_schema(flight.FlightDescriptor.for_command(command))
    assert harness.failure(writable.stub, "select * from only_described").code == StatusCode.NOT_FOUND


WITHIN = b"a transaction"
CREATE_VIEW = "create view made_within as select 1 as one"


def put(client: flight.FlightClient, command: bytes) -> None:
    """Sends a command with one row."""
    row = pa.record_batch({"n": [1]})
    writer, answer = client.do_put(flight.FlightDescriptor.for_command(command), row.schema)
    with writer:
        writer.write_batch(row)
        writer.done_writing()
        answer.read()


def act(client: flight.FlightClient, name: str, *fields: tuple[int, str | bytes]) -> None:
    """Does an action whose request is called after it."""
    list(client.do_action(flight.Action(name, flight_sql.message(f"Action{name}Request", *fields))))


def test_what_belongs_to_a_transaction_is_refused_and_not_done(writable: Server) -> None:
    message = flight_sql.message
    query = message("CommandStatementQuery", (1, CREATE_VIEW), (2, WITHIN))
    update = message("CommandStatementUpdate", (1, CREATE_VIEW), (2, WITHIN))
    ingest = message("CommandStatementIngest", (2, "made_within"), (6, WITHIN))
    with flight_sql.by_hand(writable) as client:
        for call in (
            lambda: client.get_flight_info(flight.FlightDescriptor.for_command(query)),
            lambda: client.get_schema(flight.FlightDescriptor.for_command(query)),
            lambda: put(client, update),
            lambda: put(client, ingest),
            lambda: act(client, "CreatePreparedStatement", (1, "select 1 as one"), (2, WITHIN)),
        ):
            with pytest.raises(pa.ArrowInvalid, match="transaction_id: there are no transactions: .*autocommit"):
                call()
        for action in ("BeginTransaction", "EndTransaction", "BeginSavepoint", "EndSavepoint"):
            with pytest.raises(NotImplementedError, match="there are no transactions: .*autocommit"):
                act(client, action, (1, WITHIN))
        assert harness.failure(writable.stub, "select * from made_within").code == StatusCode.NOT_FOUND
        told = flight_sql.info(client, "CommandStatementQuery", (1, "select 1 as one"), (2, b""))
        assert flight_sql.fetched(client, told).to_pylist() == [{"one": 1}]


def test_a_script_is_one_view(writable: Server, con: dbapi.Connection) -> None:
    with con.cursor() as cursor:
        cursor.executescript("create view scripted as select 1 as one")
        assert writable.query("select * from scripted").rows == [(1,)]
        with pytest.raises(adbc.ProgrammingError, match="run it as a query"):
            cursor.executescript("select 1")
        with pytest.raises(adbc.ProgrammingError, match="one statement at a time"):
            cursor.executescript("drop view scripted; select 1")
        cursor.executescript("drop view scripted")
    assert harness.failure(writable.stub, "select * from scripted").code == StatusCode.NOT_FOUND


def test_an_option_of_a_session_holds_until_it_is_erased_or_closed(writable: Server) -> None:
    now, then = counts(writable)
    with flight_sql.connect(writable, **COOKIES) as one, flight_sql.connect(writable, **COOKIES) as other:
        set_option(one, "published_as_of", "2020-01-01")
        assert one.adbc_connection.get_option(f"{SESSION}published_as_of") == "2020-01-01"
        assert (count(one), count(other)) == (then, now)
        set_option(one, "published_as_of", None)
        assert count(one) == now
        set_option(one, "published_as_of", "2020-01-01")
        assert count(one) == then
    with flight_sql.connect(writable, **COOKIES) as anew:
        assert session(anew) == {"catalog": "didymium", "schema": "main"}
        assert count(anew) == now


def test_without_cookies_there_is_no_session(writable: Server) -> None:
    with flight_sql.connect(writable) as connection:
        connection.adbc_connection.set_options(**{f"{SESSION}published_as_of": "2020-01-01"})
        assert session(connection) == {"catalog": "didymium", "schema": "main"}
        assert count(connection) == counts(writable)[0]


def test_a_header_goes_above_the_session(writable: Server) -> None:
    now, then = counts(writable)
    with flight_sql.connect(writable, **COOKIES) as connection:
        set_option(connection, "published_as_of", "2020-01-01")
        today = datetime.now(UTC).date().isoformat()
        with connection.cursor(adbc_stmt_kwargs=flight_sql.headers(published_as_of=today)) as cursor:
            cursor.execute("select count(*) from quotas")
            assert cursor.fetchall() == [(now,)]
        assert count(connection) == then


def test_a_time_limit_and_a_time_zone_are_options_too(writable: Server) -> None:
    with flight_sql.connect(writable, **COOKIES) as connection:
        set_option(connection, "time_zone", "+08:00")
        at = flight_sql.rows(connection, "select now()")[0][0]
        assert at.utcoffset() == timedelta(hours=8)
        set_option(connection, "timeout", "0.3")
        with pytest.raises(adbc.OperationalError, match="DeadlineExceeded"):
            flight_sql.rows(connection, "select count(*) from generate_series(1, 1000000000000)")


def test_a_header_does_what_the_option_does(writable: Server) -> None:
    with flight_sql.connect(writable, **flight_sql.headers(published_as_of="2020-01-01")) as connection:
        assert count(connection) == counts(writable)[1]


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("published_as_of", "yesterday"),
        ("committed_as_of", "once"),
        ("time_zone", "Mars/Olympus"),
        ("timeout", "-1"),
        ("catalog", "other"),
        ("schema", "system"),
    ],
)
def test_a_bad_option_is_refused_and_named(writable: Server, name: str, value: str) -> None:
    with flight_sql.connect(writable, **COOKIES) as connection:
        with pytest.raises(adbc.ProgrammingError, match=f"'{name}' .invalid value"):
            connection.adbc_connection.set_options(**{f"{SESSION}{name}": value})
        assert count(connection) == counts(writable)[0]
    with (
        flight_sql.connect(writable, **flight_sql.headers(**{name: value})) as connection,
        pytest.raises(adbc.ProgrammingError, match=f"didymium-{name.replace('_', '-')}: '{value}'"),
    ):
        count(connection)


def test_an_unknown_option_and_a_day_to_come_are_refused(writable: Server) -> None:
    with flight_sql.connect(writable, **COOKIES) as connection:
        with pytest.raises(adbc.ProgrammingError, match="'colour' .invalid name"):
            connection.adbc_connection.set_options(**{f"{SESSION}colour": "red"})
        set_option(connection, "published_as_of", "2099-01-01")
        with pytest.raises(adbc.ProgrammingError, match="future"):
            count(connection)


def test_the_catalog_and_the_schema_are_ours(writable: Server) -> None:
    with flight_sql.connect(writable, **COOKIES) as connection:
        assert (connection.adbc_current_catalog, connection.adbc_current_db_schema) == ("didymium", "main")
        connection.adbc_current_catalog = "didymium"
        with pytest.raises(adbc.ProgrammingError, match="catalog"):
            connection.adbc_current_catalog = "other"
    for option, known in [("adbc.connection.catalog", "didymium"), ("adbc.connection.db_schema", "main")]:
        with dbapi.connect(writable.url, conn_kwargs={option: known}, autocommit=True) as connection:
            assert count(connection) == counts(writable)[0]
        with pytest.raises(adbc.ProgrammingError, match="invalid value"):
            dbapi.connect(writable.url, conn_kwargs={option: "other"}, autocommit=True)


def count(connection: dbapi.Connection) -> int:
    return flight_sql.rows(connection, "select count(*) from quotas")[0][0]


def counts(server: Server) -> tuple[int, int]:
    """The quotas that are known, and those that were known in 2020."""
    sql = "select count(*) from quotas"
    now, then = server.query(sql).rows, server.query(sql, published_as_of=pin(date(2020, 1, 1))).rows
    assert now != then
    return now[0][0], then[0][0]


def session(connection: dbapi.Connection) -> dict[str, str]:
    """The options of a connection's session, as the server knows them."""
    return json.loads(connection.adbc_connection.get_option("adbc.flight.sql.session.options"))


def set_option(connection: dbapi.Connection, name: str, value: str | None) -> None:
    """Sets or erases an option until that is kept: arrow-go drops a cookie where the stream's end comes too early."""
    option = f"{SESSION}{name}" if value else f"adbc.flight.sql.session.optionerase.{name}"
    for _ in range(10):
        connection.adbc_connection.set_options(**{option: value or ""})
        if (name in session(connection)) == bool(value):
            return
    raise AssertionError(f"the session does not keep {name}")
