"""Who may come in and what they then see: tokens, roles, grants, other users' queries, TLS, taking turns, the audit."""

from __future__ import annotations

import base64
import contextlib
import http.client
import itertools
import json
import re
import shutil
import socket
import ssl
import subprocess
import threading
import time
import uuid
import warnings
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path
from typing import Any

import adbc_driver_flightsql as flightsql
import adbc_driver_flightsql.dbapi
import grpc
import pyarrow as pa
import pyarrow.flight
import pytest
from adbc_driver_manager import AdbcStatusCode
from google.protobuf import any_pb2, descriptor_pool, wrappers_pb2
from grpc import StatusCode
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import ProtoReflectionDescriptorDatabase

import harness
import output
from certificates import DAY, Authority, put
from didymium.v1 import (
    admin_pb2,
    admin_pb2_grpc,
    catalog_pb2,
    catalog_pb2_grpc,
    ingest_pb2,
    ingest_pb2_grpc,
    query_pb2,
    query_pb2_grpc,
)
from harness import Server

#: The roles, each of which may do all that those before it may.
ROLES = ["read", "write", "schedule", "admin"]

#: Every call by its service, with the least role that it takes. A call that is not here fails the tests.
CALLS = {
    "didymium.v1.QueryService": {
        "Query": "read",
        "Execute": "read",
        "Explain": "read",
        "Cancel": "read",
        "ListQueries": "read",
    },
    "didymium.v1.CatalogService": {
        "ListTables": "read",
        "GetTable": "read",
        "ListFunctions": "read",
        "CreateTable": "write",
        "AlterTable": "write",
        "DropTable": "write",
        "CreateView": "write",
        "DropView": "write",
    },
    "didymium.v1.IngestService": {"Ingest": "write"},
    "didymium.v1.JobService": {
        "CreateJob": "schedule",
        "UpdateJob": "schedule",
        "DeleteJob": "schedule",
        "GetJob": "read",
        "ListJobs": "read",
        "PauseJob": "schedule",
        "ResumeJob": "schedule",
        "RunJob": "schedule",
        "BackfillJob": "schedule",
        "CancelJobRun": "schedule",
        "ListJobRuns": "read",
        "PreviewSchedule": "read",
        "ReplayJobRun": "schedule",
    },
    "didymium.v1.AdminService": {
        "GetStatus": "admin",
        "CreateToken": "admin",
        "ListTokens": "admin",
        "RevokeToken": "admin",
    },
    "arrow.flight.protocol.FlightService": {
        "Handshake": "read",
        "ListFlights": "read",
        "GetFlightInfo": "read",
        "PollFlightInfo": "read",
        "GetSchema": "read",
        "DoGet": "read",
        "DoPut": "read",
        "DoExchange": "read",
        "DoAction": "read",
        "ListActions": "read",
    },
    "grpc.reflection.v1.ServerReflection": {"ServerReflectionInfo": "read"},
    "grpc.reflection.v1alpha.ServerReflection": {"ServerReflectionInfo": "read"},
}

#: Those that anybody may make.
OPEN = {"grpc.health.v1.Health": ["Check", "Watch"]}

#: Services that reflection does not tell of.
UNTOLD = ["arrow.flight.protocol.FlightService", "grpc.reflection.v1.ServerReflection"]

#: A query that runs until it is cancelled, and costs nothing while nobody reads it.
ENDLESS = "select value from generate_series(1, 1000000000000)"

#: A table that exists but is not granted, and one of as long a name that does not exist. Neither is like a granted one.
SECRET, MISSING = "secret", "mizzen"


class Caller:
    """Whoever holds a token, on a connection to a server."""

    def __init__(self, server: Server, token: str, channel: grpc.Channel | None = None) -> None:
        self.server = server
        self.token = token
        self.channel = grpc.intercept_channel(channel or server.channel, harness.Shows(token))
        self.queries = query_pb2_grpc.QueryServiceStub(self.channel)
        self.catalog = catalog_pb2_grpc.CatalogServiceStub(self.channel)
        self.ingest = ingest_pb2_grpc.IngestServiceStub(self.channel)

    @property
    def id(self) -> str:
        return self.token.split("_")[1]

    def rows(self, sql: str, **fields: Any) -> list[tuple]:
        """Runs one statement."""
        return harness.query(self.queries, sql, **fields).rows

    def load(self, table: str, mine: str = "a", **fields: Any) -> ingest_pb2.IngestResponse:
        """Loads one figure."""
        day = {"year": 2026, "month": 1, "day": 1}
        header = ingest_pb2.IngestHeader(table=table, source_id="S", published_on=day, **fields)
        parts = [
            ingest_pb2.IngestRequest(header=header),
            ingest_pb2.IngestRequest(file=ingest_pb2.FileHeader(name="a.csv")),
            ingest_pb2.IngestRequest(chunk=f"mine,period,value\n{mine},2024-01,1\n".encode()),
        ]
        return self.ingest.Ingest(iter(parts), timeout=harness.PATIENCE_S)

    def adbc(self) -> flightsql.dbapi.Connection:
        """A connection as analysts open it."""
        options = {flightsql.DatabaseOptions.AUTHORIZATION_HEADER.value: f"Bearer {self.token}"}
        return flightsql.dbapi.connect(self.server.url, db_kwargs=options, autocommit=True)

    @contextlib.contextmanager
    def running(self, sql: str = ENDLESS, **fields: Any) -> Iterator[tuple[grpc.Call, str]]:
        """A query that runs, with its id."""
        call = self.queries.Query(harness.request(sql, **fields), timeout=harness.PATIENCE_S)
        try:
            yield call, next(call).header.query_id
        finally:
            call.cancel()

    def explain(self, sql: str, *, analyze: bool = False) -> str:
        """How a statement is run."""
        asked = query_pb2.ExplainRequest(query={"sql": sql}, analyze=analyze)
        return self.queries.Explain(asked, timeout=harness.PATIENCE_S).plan

    def listed(self) -> set[str]:
        """The ids of the queries that it sees."""
        listed = self.queries.ListQueries(query_pb2.ListQueriesRequest(), timeout=harness.PATIENCE_S)
        return {query.query_id for query in listed.queries}

    def cancel(self, query_id: str) -> None:
        """Stops a query."""
        self.queries.Cancel(query_pb2.CancelRequest(query_id=query_id), timeout=harness.PATIENCE_S)


class Guarded:
    """A server that asks for tokens, with callers of every kind."""

    def __init__(self, server: Server) -> None:
        self.server = server
        self.roles = {role: self.caller(role, role) for role in ROLES}
        self.admin = self.roles["admin"]
        self.reader = self.caller("reader", "read", "--tables", "output")
        self.writer = self.caller("writer", "write", "--tables", "output")

    def file_of(self, caller: Caller) -> Path:
        """A file that holds a caller's token."""
        file = self.server.log.with_name(f"{caller.id}.token")
        file.write_text(caller.token)
        return file

    def caller(self, name: str, role: str = "read", *options: str) -> Caller:
        """Somebody new."""
        return Caller(self.server, harness.create_token(self.server.store, name, role, *options))


@pytest.fixture(scope="module")
def guarded(store: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Guarded]:
    """A server with granted tables and views whose names begin with `output`, and with others."""
    folder = tmp_path_factory.mktemp("access")
    own = Path(shutil.copytree(store, folder / "own"))
    server = Server(own, folder / "server.log", "--auth", "token", "--max-refused", "1000000")
    guarded = Guarded(server)
    admin = guarded.admin
    for table in ("output", "output_more", SECRET, MISSING):
        admin.catalog.CreateTable(catalog_pb2.CreateTableRequest(declaration=declaration(table)))
    for table in ("output", SECRET):
        admin.load(table)
    for table in (SECRET, MISSING):
        create_view(admin, f"output_of_{table}", f"select * from {table}")
        create_view(admin, f"output_over_{table}", f"select * from output_of_{table}")
    create_view(admin, "secret_view", "select 1 as one")
    admin.catalog.DropTable(catalog_pb2.DropTableRequest(name=MISSING))
    yield guarded
    server.stop()


# Who comes in.


@pytest.fixture(scope="module")
def strangers(guarded: Guarded) -> dict[str, str | None]:
    """What those show who are not to come in."""
    store = guarded.server.store
    good = guarded.roles["read"].token
    last = "A" if good[-1] != "A" else "B"
    revoked = guarded.caller("revoked", "admin")
    output.done("token", "revoke", revoked.id, "--store", store)
    later = guarded.caller("later", "admin").token
    change(store, later, valid_from_ms=(time.time() + 3600) * 1000)
    earlier = guarded.caller("earlier", "admin").token
    change(store, earlier, expires_ms=time.time() * 1000 - 1)
    return {
        "none": None,
        "malformed": "Bearer didymium",
        "other words": "Bearer a b c",
        "empty": "Bearer ",
        "another scheme": f"Digest {good}",
        "no scheme": good,
        "wrong secret": f"Bearer {good[:-1]}{last}",
        "shorter secret": f"Bearer {good[:-1]}",
        "unknown id": f"Bearer didymium_{'0' * 12}_{good.split('_', 2)[2]}",
        "path as id": f"Bearer didymium_../keys/1_{good.split('_', 2)[2]}",
        "expired": f"Bearer {harness.create_token(store, 'expired', 'admin', '--expires-in', '1ms')}",
        "expired as written": f"Bearer {earlier}",
        "not yet valid": f"Bearer {later}",
        "revoked": f"Bearer {revoked.token}",
        "wrong password": "Basic " + base64.b64encode(b"admin:password").decode(),
    }


def test_every_call_asks_for_a_token_and_says_the_same_to_all_strangers(
    guarded: Guarded, strangers: dict[str, str | None]
) -> None:
    said = {}
    for path in paths(guarded):
        for kind, shown in strangers.items():
            said[path, kind] = outcome(guarded.server.channel, path, shown)
    codes = {it: code for it, (code, _) in said.items() if code != StatusCode.UNAUTHENTICATED}
    assert codes == {}
    assert len({text for _, text in said.values()}) == 1


def test_a_call_that_does_not_exist_asks_for_a_token_as_well(guarded: Guarded, strangers: dict[str, str | None]) -> None:
    path = "/didymium.v1.QueryService/Nothing"
    for shown in strangers.values():
        code, _ = outcome(guarded.server.channel, path, shown)
        assert code == StatusCode.UNAUTHENTICATED
    assert outcome(guarded.admin.channel, path)[0] == StatusCode.UNIMPLEMENTED


def test_no_call_of_the_server_is_unknown_to_these_tests(guarded: Guarded) -> None:
    known = {f"/{service}/{name}" for service, calls in (CALLS | OPEN).items() for name in calls}
    assert reflected(guarded) - known == set()


def test_a_token_comes_as_bearer_or_as_password(guarded: Guarded) -> None:
    token = guarded.roles["read"].token
    path = "/didymium.v1.CatalogService/ListTables"
    basic = base64.b64encode(f"anybody:{token}".encode()).decode()
    for shown in (f"Bearer {token}", f"bearer {token}", f"Basic {basic}"):
        assert outcome(guarded.server.channel, path, shown)[0] == StatusCode.OK
    options = {"username": "anybody", "password": token}
    connection = flightsql.dbapi.connect(guarded.server.url, db_kwargs=options, autocommit=True)
    with connection, connection.cursor() as cursor:
        cursor.execute("select 1")
        assert cursor.fetchall() == [(1,)]


def test_health_is_everybodys(guarded: Guarded, strangers: dict[str, str | None]) -> None:
    for shown in strangers.values():
        for name in OPEN["grpc.health.v1.Health"]:
            assert outcome(guarded.server.channel, f"/grpc.health.v1.Health/{name}", shown)[0] == StatusCode.OK


@pytest.mark.parametrize(
    ("path", "code"),
    [("/livez", 200), ("/readyz", 200), ("/version", 200), ("/metrics", 401), ("/api/v1/sql", 401), ("/nothing", 401)],
)
def test_plain_http_tells_strangers_how_it_is_and_nothing_else(guarded: Guarded, path: str, code: int) -> None:
    with contextlib.closing(http.client.HTTPConnection(guarded.server.target, timeout=harness.PATIENCE_S)) as connection:
        connection.request("GET", path)
        answer = connection.getresponse()
        assert answer.status == code
        if code == 401:
            assert answer.headers["www-authenticate"] == "Bearer"
            assert json.load(answer)["code"] == "Unauthenticated"


def test_a_revoked_token_opens_nothing_from_the_very_next_call_on_and_what_runs_ends(guarded: Guarded) -> None:
    gone = guarded.caller("gone")
    with gone.adbc() as connection, gone.running() as (running, query_id):
        with connection.cursor() as cursor:
            cursor.execute("select 1")
            assert cursor.fetchall() == [(1,)]
        prepared = prepare(gone, "select 1")
        ticket = ticket_of(gone, "select 1")
        output.done("token", "revoke", gone.id, "--store", guarded.server.store)

        with connection.cursor() as cursor, pytest.raises(flightsql.dbapi.ProgrammingError) as refused:
            cursor.execute("select 1")
        assert refused.value.status_code == AdbcStatusCode.UNAUTHENTICATED
        for call in (
            lambda: gone.rows("select 1"),
            lambda: gone.cancel(query_id),
            lambda: gone.catalog.ListTables(catalog_pb2.ListTablesRequest()),
        ):
            assert refusal(call)[0] == StatusCode.UNAUTHENTICATED
        for call in (lambda: run_prepared(gone, prepared), lambda: redeem(gone, ticket)):
            with pytest.raises(pa.flight.FlightUnauthenticatedError):
                call()
        with pytest.raises(grpc.RpcError) as ended:
            list(running)
        assert ended.value.code() == StatusCode.UNAUTHENTICATED
        assert "its token was revoked" in ended.value.details()


@pytest.mark.parametrize(
    ("limit", "sql", "code", "named"),
    [
        ("rows=100", "select value from generate_series(1, 101)", StatusCode.RESOURCE_EXHAUSTED, "100 rows"),
        ("bytes=1KiB", "select repeat('x', 2000)", StatusCode.RESOURCE_EXHAUSTED, "1024 bytes"),
        ("time=300ms", "select count(*) from generate_series(1, 1000000000000)", StatusCode.DEADLINE_EXCEEDED, ""),
        (
            "memory=1MiB",
            "select value from generate_series(1, 1000000) order by -value",
            StatusCode.RESOURCE_EXHAUSTED,
            "one query may hold 1048576 bytes",
        ),
    ],
)
def test_a_role_has_limits_of_its_own(
    serve: Callable[..., Server], own_store: Path, limit: str, sql: str, code: StatusCode, named: str
) -> None:
    server = serve(own_store, "--auth", "token", "--role-limits", f"read: {limit}; admin: time=1h")
    reader, writer = (Caller(server, harness.create_token(own_store, role, role)) for role in ("read", "write"))
    told, text = refusal(lambda: reader.rows(sql))
    assert told == code
    assert named in text
    assert reader.rows("select value from generate_series(1, 100)")
    if told == StatusCode.RESOURCE_EXHAUSTED:
        assert writer.rows(sql)


def test_limits_of_a_role_that_is_none_are_refused(store: Path) -> None:
    done = harness.run("serve", "--store", store, "--role-limits", "reader: rows=1")
    assert done.returncode == 2
    assert "reader is no role" in done.stderr


def test_no_secret_is_told(serve: Callable[..., Server], own_store: Path) -> None:
    token = harness.create_token(own_store, "somebody")
    server = serve(own_store, "--auth", "token")
    secret = token.split("_", 2)[2]
    wrong = f"didymium_{token.split('_')[1]}_{secret[::-1]}"
    told = [output.done("token", "list", "--store", own_store)]
    for shown in (token, wrong, secret):
        caller = Caller(server, shown)
        for call in (
            lambda: caller.rows("select nothing"),
            lambda: caller.cancel("nothing"),
            lambda: adbc_execute(caller, "select nothing"),
            lambda: prepare(caller, "select * from nothing"),
        ):
            code, text = outcome_of(call)
            assert code != StatusCode.OK
            told.append(text)
        outcome(server.channel, "/arrow.flight.protocol.FlightService/Handshake", f"Bearer {shown}")
    told.append(output.done("token", "revoke", token.split("_")[1], "--store", own_store))
    told.append(server.log.read_text())
    told += [file.read_text() for file in (own_store / "_didymium" / "tokens").iterdir()]
    for text in told:
        assert secret not in text
        assert secret[::-1] not in text


# What each role may do.

OK, DENIED, NOT_FOUND = StatusCode.OK, StatusCode.PERMISSION_DENIED, StatusCode.NOT_FOUND
ANYBODY = (OK, OK, OK, OK)
WRITERS = (DENIED, OK, OK, OK)
ADMINS = (NOT_FOUND, NOT_FOUND, NOT_FOUND, OK)

_numbers = itertools.count()


def declaration(table: str) -> str:
    """A table's declaration."""
    return output.DECLARATION.read_text().replace('name = "output"', f'name = "{table}"', 1)


def create_view(it: Caller, name: str, sql: str = "select 1 as one", **fields: Any) -> None:
    it.catalog.CreateView(catalog_pb2.CreateViewRequest(name=name, sql=sql, **fields))


def execute(it: Caller, sql: str, **fields: Any) -> None:
    it.queries.Execute(query_pb2.QueryRequest(sql=sql, **fields))


def alter_table(it: Caller, table: str, **fields: Any) -> None:
    wider = declaration(table) + '\n[[measures]]\nmeasure = "waste"\nunit = "t"\nbasis = "REO"\ndescription = "Left."\n'
    it.catalog.AlterTable(catalog_pb2.AlterTableRequest(declaration=wider, **fields))


def adbc_ingest(it: Caller, table: str, mode: str) -> None:
    """Loads by Flight; its refusal is told as the other protocol tells it."""
    rows = pa.table({"mine": ["b"], "period": ["2024-01"], "value": [1.0]})
    with it.adbc() as connection, connection.cursor() as cursor:
        source = {"source_id": "S", "published_on": "2026-01-01"}
        prefix = flightsql.ConnectionOptions.RPC_CALL_HEADER_PREFIX.value
        options = {f"{prefix}didymium-{name.replace('_', '-')}": value for name, value in source.items()}
        cursor.adbc_statement.set_options(**options)
        cursor.adbc_ingest(table, rows, mode=mode)


def stop_anothers(it: Caller, other: Caller) -> None:
    """Stops a query that somebody else runs."""
    with other.running() as (_, query_id):
        it.cancel(query_id)


#: What a caller does with a table, view or query that an administrator made for it, and the code for each role.
MATRIX: dict[str, tuple[Callable[[Caller, Caller, str], object], tuple[StatusCode, ...]]] = {
    "Query": (lambda it, _, table: it.rows(f"select * from {table}"), ANYBODY),
    "Execute": (lambda it, _, table: execute(it, f"select * from {table}"), ANYBODY),
    "Explain": (lambda it, _, table: it.explain(f"select * from {table}"), ANYBODY),
    "EXPLAIN": (lambda it, _, table: it.rows(f"explain select * from {table}"), ANYBODY),
    "ListTables": (lambda it, *_: it.catalog.ListTables(catalog_pb2.ListTablesRequest()), ANYBODY),
    "GetTable": (lambda it, _, table: it.catalog.GetTable(catalog_pb2.GetTableRequest(name=table)), ANYBODY),
    "prepare": (lambda it, _, table: prepare(it, f"select * from {table}"), ANYBODY),
    "CREATE VIEW": (lambda it, _, table: it.rows(f"create view {table}_v as select 1 as one"), WRITERS),
    "CREATE VIEW by Execute": (lambda it, _, table: execute(it, f"create view {table}_v as select 1 as one"), WRITERS),
    "CREATE VIEW by Flight": (lambda it, _, table: adbc_execute(it, f"create view {table}_v as select 1 as one"), WRITERS),
    "DROP VIEW": (lambda it, _, table: it.rows(f"drop view {table}_view"), WRITERS),
    "CreateView": (lambda it, _, table: create_view(it, f"{table}_v"), WRITERS),
    "DropView": (lambda it, _, table: it.catalog.DropView(catalog_pb2.DropViewRequest(name=f"{table}_view")), WRITERS),
    "CreateTable": (
        lambda it, _, table: it.catalog.CreateTable(catalog_pb2.CreateTableRequest(declaration=declaration(f"{table}_t"))),
        WRITERS,
    ),
    "AlterTable": (lambda it, _, table: alter_table(it, table), WRITERS),
    "DropTable": (lambda it, _, table: it.catalog.DropTable(catalog_pb2.DropTableRequest(name=table)), WRITERS),
    "Ingest": (lambda it, _, table: it.load(table), WRITERS),
    "Ingest dry run": (lambda it, _, table: it.load(table, dry_run=True), WRITERS),
    "Ingest, create": (lambda it, _, table: it.load(f"{table}_t", create=True), WRITERS),
    "Flight ingest": (lambda it, _, table: adbc_ingest(it, table, "append"), WRITERS),
    "Flight ingest, create": (lambda it, _, table: adbc_ingest(it, f"{table}_t", "create"), WRITERS),
    "Cancel of another's": (lambda it, other, _: stop_anothers(it, other), ADMINS),
    # What nobody may.
    "CREATE TABLE": (lambda it, _, table: it.rows(f"create table {table}_t as select 1 as one"), (DENIED,) * 4),
    "INSERT": (lambda it, _, table: it.rows(f"insert into {table} select * from {table}"), (DENIED,) * 4),
    "DROP TABLE": (lambda it, _, table: it.rows(f"drop table {table}"), (DENIED,) * 4),
    "COPY": (lambda it, _, table: it.rows(f"copy {table} to 'didymium-access.csv'"), (DENIED,) * 4),
}


@pytest.mark.parametrize("name", MATRIX)
def test_a_role_may_do_so_much_and_no_more(guarded: Guarded, name: str) -> None:
    operation, expected = MATRIX[name]
    codes, there = {}, set()
    for role in ROLES:
        table = f"t{next(_numbers)}"
        guarded.admin.catalog.CreateTable(catalog_pb2.CreateTableRequest(declaration=declaration(table)))
        create_view(guarded.admin, f"{table}_view")
        codes[table] = code_of(lambda: operation(guarded.roles[role], guarded.reader, table))
        there |= {table, f"{table}_view"}
    left = drop_all(guarded.admin, codes)
    assert tuple(codes.values()) == expected
    refused = tuple(f"{table}_" for table, code in codes.items() if code == DENIED)
    assert {it for it in left if it.startswith(refused)} <= there


def test_calls_refuse_those_whose_role_is_too_low(guarded: Guarded) -> None:
    wrong = {}
    for path in paths(guarded):
        _, service, name = path.split("/")
        least = ROLES.index(CALLS[service][name])
        for place, role in enumerate(ROLES):
            code, _ = outcome(guarded.roles[role].channel, path)
            is_refused = code == StatusCode.PERMISSION_DENIED
            if is_refused != (place < least) or code == StatusCode.UNAUTHENTICATED:
                wrong[path, role] = code
    assert wrong == {}


def test_what_a_caller_does_is_noted_under_the_tokens_name(guarded: Guarded) -> None:
    guarded.writer.load("output_more", author="somebody else")
    alter_table(guarded.writer, "output_more", author="somebody else")
    authors = guarded.admin.rows("select version, author from system.commits where table_name = 'output_more' order by version")
    assert [author for version, author in authors if version > 0] == ["writer", "writer"]


# What a token with tables of its own sees.

RELATIONS = [
    "as_of('{}', date '2026-02-01')",
    "all_vintages('{}')",
    "latest('{}')",
    "revisions('{}')",
    "conflicts('{}')",
    "provenance('{}')",
]

#: Statements that name a table.
STATEMENTS = [
    "select * from {}",
    'select * from "{}"',
    "select * from main.{}",
    "select * from didymium.main.{}",
    "select nothing from {}",
    "select {}.value from {}",
    *(f"select * from {relation}" for relation in RELATIONS),
    "select * from asof_join('output', '{}', on => 'mine', left_time => 'period_end', right_time => 'period_end')",
    "select * from asof_join('{}', 'output', on => 'mine', left_time => 'period_end', right_time => 'period_end')",
    "explain select * from {}",
    "explain analyze select * from {}",
    "explain verbose select * from {}",
    "select (select count(*) from {})",
    "select 1 where exists (select 1 from {} where nothing)",
    "with x as (select * from {}) select * from x",
    "select * from output join {} using (mine)",
    "select mine from output union all select mine from {}",
    "select * from output_of_{}",
    "select nothing from output_of_{}",
    "select * from output_over_{}",
    "explain select * from output_over_{}",
    "create view output_new as select * from {}",
    "create or replace view output_new as select * from output_of_{}",
    "create view {}_new as select 1 as one",
    "create or replace view {}_view as select 1 as one",
    "drop view {}_view",
    "drop view if exists {}_view",
    "drop view {}",
    "create table {} as select 1",
    "drop table {}",
    "describe {}",
    "show columns from {}",
    "insert into {} select 1",
    "select convert_currency(1, '{}', 'USD', date '2024-01-01') from {}",
]

#: Those of them that are not about a table that can't be found: whatever they say, they say it of both.
NOT_OF_A_TABLE = (
    "create view {}",
    "create or replace view {}",
    "drop view if exists",
    "create table",
    "drop table",
    "describe",
    "show",
    "insert",
)

#: Calls that name a table.
NAMING_CALLS: dict[str, Callable[[Caller, str], object]] = {
    "GetTable": lambda it, name: it.catalog.GetTable(catalog_pb2.GetTableRequest(name=name)),
    "DropTable": lambda it, name: it.catalog.DropTable(catalog_pb2.DropTableRequest(name=name)),
    "DropView": lambda it, name: it.catalog.DropView(catalog_pb2.DropViewRequest(name=f"{name}_view")),
    "AlterTable": alter_table,
    "CreateView over it": lambda it, name: create_view(it, "output_new", f"select * from {name}"),
    "Ingest": lambda it, name: it.load(name),
    "Ingest dry run": lambda it, name: it.load(name, dry_run=True),
    "Ingest, replacing": lambda it, name: it.load(name, replace=True),
    "Execute": lambda it, name: execute(it, f"select * from {name}"),
    "Execute, dry run": lambda it, name: execute(it, f"select * from {name}", dry_run=True),
    "Explain": lambda it, name: it.explain(f"select * from {name}"),
    "Explain and run": lambda it, name: it.explain(f"select * from {name}", analyze=True),
    "committed as of": lambda it, name: it.rows(f"select * from {name}", committed_as_of={"seconds": 1}),
    "published as of": lambda it, name: it.rows(f"select * from {name}", published_as_of={"year": 2026, "month": 1, "day": 1}),
    "parameters": lambda it, name: it.rows(f"select * from {name} where value = $1", positional_parameters=[{"integer": 1}]),
}

#: Calls of Flight that name a table.
FLIGHT_CALLS: dict[str, Callable[[Caller, str], object]] = {
    "query": lambda it, name: adbc_execute(it, f"select * from {name}"),
    "update": lambda it, name: update(it, f"create view output_new as select * from {name}"),
    "prepare": lambda it, name: prepare(it, f"select * from {name}"),
    "get_schema": lambda it, name: flight(it).get_schema(command("CommandStatementQuery", f"select * from {name}"), shown(it)),
    "ticket": lambda it, name: ticket_of(it, f"select * from {name}"),
    "append": lambda it, name: adbc_ingest(it, name, "append"),
    "schema of a table": lambda it, name: adbc_table_schema(it, name),
}

#: Calls that would make something of the name: denied, whether it is taken or not.
MAKING_CALLS: dict[str, Callable[[Caller, str], object]] = {
    "CreateTable": lambda it, name: it.catalog.CreateTable(catalog_pb2.CreateTableRequest(declaration=declaration(name))),
    "CreateView": lambda it, name: create_view(it, f"{name}_view"),
    "CreateView, replacing": lambda it, name: create_view(it, f"{name}_view", replace=True),
    "Ingest, create": lambda it, name: it.load(name, create=True),
    "ADBC create": lambda it, name: adbc_ingest(it, name, "create"),
    "ADBC replace": lambda it, name: adbc_ingest(it, name, "replace"),
    "ADBC create or append": lambda it, name: adbc_ingest(it, name, "create_append"),
}


@pytest.mark.parametrize("sql", STATEMENTS)
def test_a_table_that_is_not_granted_is_as_one_that_is_missing(guarded: Guarded, sql: str) -> None:
    ungranted, missing = (outcome_of(lambda: guarded.writer.rows(sql.replace("{}", name))) for name in (SECRET, MISSING))
    assert ungranted == (missing[0], missing[1].replace(MISSING, SECRET))
    assert sql.startswith(NOT_OF_A_TABLE) or ungranted[0] == StatusCode.NOT_FOUND


@pytest.mark.parametrize("name", NAMING_CALLS)
def test_no_call_tells_that_there_is_a_table_that_is_not_granted(guarded: Guarded, name: str) -> None:
    call = NAMING_CALLS[name]
    ungranted, missing = (outcome_of(lambda: call(guarded.writer, table)) for table in (SECRET, MISSING))
    assert ungranted == (missing[0], missing[1].replace(MISSING, SECRET))
    assert ungranted[0] == StatusCode.NOT_FOUND


@pytest.mark.parametrize("name", FLIGHT_CALLS)
def test_flight_tells_no_more(guarded: Guarded, name: str) -> None:
    call = FLIGHT_CALLS[name]
    ungranted, missing = (outcome_of(lambda: call(guarded.writer, table)) for table in (SECRET, MISSING))
    assert ungranted == (missing[0], missing[1].replace(MISSING, SECRET))
    assert ungranted[0] == StatusCode.NOT_FOUND


@pytest.mark.parametrize("name", MAKING_CALLS)
def test_nothing_is_made_of_a_name_that_is_not_granted(guarded: Guarded, name: str) -> None:
    call = MAKING_CALLS[name]
    taken, free = (outcome_of(lambda: call(guarded.writer, table)) for table in (SECRET, MISSING))
    assert taken == (free[0], free[1].replace(MISSING, SECRET))
    assert taken[0] == StatusCode.PERMISSION_DENIED


#: Whatever lists tables, as text.
LISTS: dict[str, Callable[[Caller], object]] = {
    "ListTables": lambda it: it.catalog.ListTables(catalog_pb2.ListTablesRequest()),
    "system.tables": lambda it: it.rows("select * from system.tables"),
    "system.columns": lambda it: it.rows("select * from system.columns"),
    "system.files": lambda it: it.rows("select * from system.files"),
    "system.commits": lambda it: it.rows("select * from system.commits"),
    "information_schema.tables": lambda it: it.rows("select * from information_schema.tables"),
    "information_schema.columns": lambda it: it.rows("select * from information_schema.columns"),
    "information_schema.views": lambda it: it.rows("select * from information_schema.views"),
    "GetTables": lambda it: adbc_objects(it),
    "EXPLAIN": lambda it: it.rows("explain verbose select * from output"),
    "EXPLAIN ANALYZE": lambda it: it.rows("explain analyze select * from output"),
}


@pytest.mark.parametrize("name", LISTS)
def test_no_list_has_what_is_not_granted(guarded: Guarded, name: str) -> None:
    text = str(LISTS[name](guarded.reader))
    # The definition of a view that is granted may say what it reads.
    text = re.sub(f"output_(of|over)_{SECRET}|select \\* from {SECRET}", "", text, flags=re.IGNORECASE)
    assert "output" in text
    assert SECRET not in text
    assert not re.search(r"\b(quotas|exports|reserves)\b", text)


@pytest.mark.parametrize("name", ["ListTables", "system.files", "information_schema.tables", "GetTables"])
def test_lists_have_what_is_granted(guarded: Guarded, name: str) -> None:
    assert re.search(rf"\b{SECRET}\b", str(LISTS[name](guarded.admin)))


def test_a_prepared_statement_over_granted_tables_works_and_flights_are_not_listed(guarded: Guarded) -> None:
    assert run_prepared(guarded.reader, prepare(guarded.reader, "select mine from output")).num_rows >= 1
    assert list(flight(guarded.reader).list_flights(options=shown(guarded.reader))) == []


def test_a_view_over_a_table_that_is_not_granted_is_described_as_one_that_is_broken(guarded: Guarded) -> None:
    for view in ("output_of_{}", "output_over_{}"):
        ungranted, missing = (
            guarded.reader.catalog.GetTable(catalog_pb2.GetTableRequest(name=view.format(table))) for table in (SECRET, MISSING)
        )
        assert str(ungranted) == str(missing).replace(MISSING, SECRET)
        columns = guarded.admin.catalog.GetTable(catalog_pb2.GetTableRequest(name=view.format(SECRET))).columns
        assert columns
        assert not ungranted.columns


@pytest.mark.parametrize("typed", ["secret_", "secrett", "outputt", "sekret", "quotes", "export"])
def test_no_suggestion_names_a_table_that_is_not_granted(guarded: Guarded, typed: str) -> None:
    for call in (
        lambda it: it.rows(f"select * from {typed}"),
        lambda it: it.catalog.GetTable(catalog_pb2.GetTableRequest(name=typed)),
        lambda it: it.catalog.DropTable(catalog_pb2.DropTableRequest(name=typed)),
        lambda it: it.rows(f"select * from all_vintages('{typed}')"),
        lambda it: it.load(typed),
        lambda it: it.catalog.DropView(catalog_pb2.DropViewRequest(name=typed)),
    ):
        code, text = refusal(lambda: call(guarded.writer))
        assert code == StatusCode.NOT_FOUND
        assert not re.search(r"\b(secret|secret_view|quotas|exports)\b", text.replace(typed, "")), text
    assert "secret" in refusal(lambda: guarded.admin.rows("select * from secrett"))[1].replace("secrett", "")


@pytest.mark.parametrize(
    "sql", ["select count(*) from exports", "select convert_currency(1, 'CNY', 'USD', date '2024-01-01') from exports"]
)
def test_an_answer_names_no_table_that_is_not_granted(guarded: Guarded, sql: str) -> None:
    caller = guarded.caller("of exports", "read", "--tables", "exports")
    answer = harness.query(caller.queries, sql)
    assert set(answer.summary.table_versions) == {"exports"}


def test_several_prefixes_open_the_tables_of_each(guarded: Guarded) -> None:
    caller = guarded.caller("of two", "read", "--tables", "secret", "--tables", "output_m")
    tables = caller.catalog.ListTables(catalog_pb2.ListTablesRequest()).tables
    assert [table.name for table in tables] == ["output_more", SECRET, "secret_view"]


# Others' queries.


def test_anothers_query_is_as_one_that_does_not_run(guarded: Guarded) -> None:
    rows = 300_000
    with guarded.roles["read"].running(f"select value from generate_series(1, {rows})") as (call, query_id):
        for caller in (guarded.reader, guarded.writer, guarded.roles["schedule"]):
            random = str(uuid.uuid4())
            theirs = refusal(lambda: caller.cancel(query_id))
            none = refusal(lambda: caller.cancel(random))
            assert theirs == (StatusCode.NOT_FOUND, none[1].replace(random, query_id))
        answer = harness.Answer(list(call))
    assert answer.summary.rows == rows


def test_each_sees_their_own_queries_and_an_administrator_sees_all(guarded: Guarded) -> None:
    one, other = guarded.reader, guarded.roles["schedule"]
    with one.running() as (_, first), other.running() as (_, second):
        listed = {caller: caller.listed() for caller in (one, other, guarded.writer, guarded.admin)}
    assert listed == {one: {first}, other: {second}, guarded.writer: set(), guarded.admin: {first, second}}


def test_an_administrator_stops_anybodys_query(guarded: Guarded) -> None:
    with guarded.roles["read"].running() as (call, query_id):
        guarded.admin.cancel(query_id)
        assert refusal(lambda: list(call))[0] == StatusCode.CANCELLED


def test_two_users_may_choose_the_same_id(guarded: Guarded) -> None:
    one, other = guarded.reader, guarded.roles["read"]
    rows = 300_000
    with one.running(query_id="mine") as (call, _), other.running(
        f"select value from generate_series(1, {rows})", query_id="mine"
    ) as (others, _):
        assert refusal(lambda: one.rows("select 1", query_id="mine"))[0] == StatusCode.ALREADY_EXISTS
        one.cancel("mine")
        assert refusal(lambda: list(call))[0] == StatusCode.CANCELLED
        assert harness.Answer(list(others)).summary.rows == rows


def test_anothers_prepared_statement_is_as_none(guarded: Guarded) -> None:
    one, other = guarded.roles["read"], guarded.roles["write"]
    handle = prepare(one, "select mine from output")
    forged = bytes(reversed(handle))
    for use in (run_prepared, bind):
        theirs, none = (outcome_of(lambda: use(other, it)) for it in (handle, forged))
        assert theirs == none
        assert theirs[0] == StatusCode.NOT_FOUND
        assert outcome_of(lambda: use(guarded.admin, handle)) == theirs
    changed = bytes([*handle[:-1], handle[-1] ^ 1])
    assert outcome_of(lambda: run_prepared(one, changed)) == outcome_of(lambda: run_prepared(other, forged))
    assert run_prepared(one, handle).num_rows >= 1


def test_anothers_ticket_is_as_none(guarded: Guarded) -> None:
    one, other = guarded.roles["read"], guarded.roles["write"]
    ticket = ticket_of(one, "select mine from output")
    forged = pa.flight.Ticket(packed("TicketStatementQuery", wrappers_pb2.BytesValue(value=uuid.uuid4().bytes)))
    theirs, none = (outcome_of(lambda: redeem(other, it)) for it in (ticket, forged))
    assert theirs == none
    assert theirs[0] == StatusCode.NOT_FOUND
    assert redeem(one, ticket).num_rows >= 1


def test_a_flight_that_is_anothers_cannot_be_cancelled(guarded: Guarded) -> None:
    one, other = guarded.roles["read"], guarded.roles["write"]
    info = flight(one).get_flight_info(command("CommandStatementQuery", ENDLESS), shown(one))
    reader = flight(one).do_get(info.endpoints[0].ticket, shown(one))
    assert reader.read_chunk().data.num_rows > 0
    asked = pa.flight.Action("CancelFlightInfo", wrappers_pb2.BytesValue(value=info.serialize()).SerializeToString())
    assert outcome_of(lambda: list(flight(other).do_action(asked, shown(other))))[0] == StatusCode.NOT_FOUND
    assert reader.read_chunk().data.num_rows > 0
    assert list(flight(one).do_action(asked, shown(one)))
    with pytest.raises(pa.flight.FlightCancelledError):
        for _ in reader:
            pass


# TLS.


class Identified:
    """A server with a certificate, and the files that it reads."""

    def __init__(self, folder: Path, authority: Authority) -> None:
        self.certificate, self.key, self.authority = folder / "server.pem", folder / "server.key", folder / "authority.pem"
        self.authority.write_bytes(authority.certificate)
        self.issued = authority.issue()
        self.issued.write(self.certificate, self.key)

    @property
    def options(self) -> tuple[str, ...]:
        return ("--tls-cert", str(self.certificate), "--tls-key", str(self.key))


@pytest.fixture(scope="module")
def authority() -> Authority:
    return Authority("An authority of the tests")


@pytest.fixture(scope="module")
def files(authority: Authority, tmp_path_factory: pytest.TempPathFactory) -> Identified:
    """The files of a server's identity."""
    return Identified(tmp_path_factory.mktemp("identity"), authority)


@pytest.fixture(scope="module")
def encrypted(store: Path, authority: Authority, files: Identified, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server that speaks TLS."""
    log = tmp_path_factory.mktemp("tls") / "server.log"
    server = Server(store, log, *files.options, authority=authority.certificate)
    yield server
    server.stop()


def test_tls_is_spoken(encrypted: Server) -> None:
    assert encrypted.url.startswith("grpcs://")
    encrypted.assert_lives()


def test_a_client_in_the_clear_finds_nobody(encrypted: Server) -> None:
    with grpc.insecure_channel(encrypted.target) as channel:
        assert asked(channel) == StatusCode.UNAVAILABLE


def test_a_client_that_trusts_another_authority_finds_nobody(encrypted: Server) -> None:
    with secure_channel(encrypted.target, Authority("Another authority").certificate) as channel:
        assert asked(channel) == StatusCode.UNAVAILABLE


def test_old_tls_is_refused(encrypted: Server, files: Identified) -> None:
    context = ssl.create_default_context(cafile=str(files.authority))
    context.set_ciphers("ALL:@SECLEVEL=0")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        context.minimum_version, context.maximum_version = ssl.TLSVersion.TLSv1, ssl.TLSVersion.TLSv1_1
    with pytest.raises(ssl.SSLError, match="ALERT"):
        handshake(encrypted.target, context)
    for version in (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3):
        context.maximum_version = context.minimum_version = version
        assert handshake(encrypted.target, context) == files.issued.serial


def test_curl_speaks_tls(encrypted: Server, files: Identified) -> None:
    url = f"https://localhost:{encrypted.target.split(':')[1]}/readyz"
    for version in ("--http1.1", "--http2"):
        curl = ["curl", "-sS", version, "--cacert", str(files.authority), url]
        answered = subprocess.run(curl, capture_output=True, text=True, timeout=harness.PATIENCE_S, check=False)
        assert (answered.returncode, answered.stdout) == (0, "ready\n"), answered.stderr


def test_the_command_line_speaks_tls(encrypted: Server, files: Identified, tmp_path: Path) -> None:
    port = encrypted.target.split(":")[1]
    url = f"grpcs://localhost:{port}"
    told = output.done("sql", "--url", url, "--tls-ca", files.authority, "--format", "csv", "-c", "select 1 as one")
    assert told.split() == ["one", "1"]
    other = tmp_path / "other.pem"
    other.write_bytes(Authority("Another authority").certificate)
    for options in (("--tls-ca", other), ()):
        refused = harness.run("sql", "--url", url, *options, "-c", "select 1")
        assert refused.returncode == 3, refused.stderr
    assert harness.run("sql", "--url", f"grpc://localhost:{port}", "-c", "select 1").returncode == 3


def test_the_command_line_shows_its_token(
    serve: Callable[..., Server], own_store: Path, files: Identified, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    token = harness.create_token(own_store, "somebody")
    server = serve(own_store, *files.options, "--auth", "token", token=token, authority=files.authority.read_bytes())
    server.assert_lives()
    sql = ("sql", "--url", server.url, "--tls-ca", files.authority, "-c", "select 1")
    refused = harness.run(*sql)
    assert refused.returncode == 3
    assert "token" in refused.stderr
    file = tmp_path / "token"
    file.write_text(f"{token}\n")
    output.done(*sql, "--token-file", file)
    monkeypatch.setenv("DIDYMIUM_TOKEN", token)
    output.done(*sql)
    monkeypatch.setenv("DIDYMIUM_TOKEN", f"{token}x")
    refused = harness.run(*sql)
    assert (refused.returncode, token in refused.stderr) == (3, False)


def test_certificates_change_under_load_without_a_failed_call(
    serve: Callable[..., Server], store: Path, tmp_path: Path, authority: Authority
) -> None:
    files = Identified(tmp_path, authority)
    server = serve(store, *files.options, authority=authority.certificate)
    context = ssl.create_default_context(cafile=str(files.authority))
    enough = threading.Event()
    made: list[StatusCode] = []

    def call() -> None:
        while not enough.is_set():
            made.append(asked(server.channel))
            with secure_channel(server.target, authority.certificate) as channel:
                made.append(asked(channel))

    threads = [threading.Thread(target=call) for _ in range(2)]
    for thread in threads:
        thread.start()
    try:
        for number in range(5):
            new = authority.issue()
            assert handshake(server.target, context) != new.serial
            if number == 0:  # half of a pair changes nothing
                put(files.certificate, new.certificate, 0o644)
                until(lambda: "stay as they were" in server.log.read_text(), server, context)
                assert handshake(server.target, context) == files.issued.serial
            new.write(files.certificate, files.key)
            until(lambda: handshake(server.target, context) == new.serial, server, context)
    finally:
        enough.set()
        for thread in threads:
            thread.join()
    assert len(made) > 20
    assert [code for code in made if code != StatusCode.OK] == []


def test_a_key_that_others_can_read_is_refused(store: Path, tmp_path: Path, authority: Authority) -> None:
    files = Identified(tmp_path, authority)
    files.key.chmod(0o644)
    refused = harness.run("serve", "--store", store, "--listen", "127.0.0.1:0", *files.options)
    assert refused.returncode == 1
    assert str(files.key) in refused.stderr
    assert "chmod 600" in refused.stderr
    assert refused.stdout == ""


def test_a_key_of_another_certificate_is_refused(store: Path, tmp_path: Path, authority: Authority) -> None:
    files = Identified(tmp_path, authority)
    put(files.key, authority.issue().key, 0o600)
    refused = harness.run("serve", "--store", store, "--listen", "127.0.0.1:0", *files.options)
    assert refused.returncode == 1
    assert "certificate and its key" in refused.stderr


def test_a_client_must_show_a_certificate_where_the_server_asks_for_one(
    serve: Callable[..., Server], store: Path, tmp_path: Path, authority: Authority, files: Identified
) -> None:
    server = serve(store, *files.options, "--tls-client-ca", str(files.authority), authority=authority.certificate)
    client, foreign, old = (
        authority.issue("client"),
        Authority("Another authority").issue("client"),
        authority.issue("client", expires_in=-DAY),
    )
    for identity, expected in (
        (None, StatusCode.UNAVAILABLE),
        (foreign, StatusCode.UNAVAILABLE),
        (old, StatusCode.UNAVAILABLE),
        (client, StatusCode.OK),
    ):
        own = (identity.key, identity.certificate) if identity else (None, None)
        with secure_channel(server.target, authority.certificate, *own) as channel:
            assert asked(channel) == expected


def test_the_command_line_shows_a_certificate(
    serve: Callable[..., Server], store: Path, tmp_path: Path, authority: Authority, files: Identified
) -> None:
    server = serve(store, *files.options, "--tls-client-ca", str(files.authority), authority=authority.certificate)
    sql = ("sql", "--url", server.url, "--tls-ca", files.authority, "-c", "select 1")
    assert harness.run(*sql).returncode == 3
    authority.issue("client").write(tmp_path / "client.pem", tmp_path / "client.key")
    output.done(*sql, "--tls-cert", tmp_path / "client.pem", "--tls-key", tmp_path / "client.key")


@pytest.mark.parametrize(
    ("options", "hint"),
    [(("--auth", "none", "--plaintext"), "--auth token"), ((), "--tls-cert"), (("--auth", "token"), "--plaintext")],
    ids=["open", "in the clear", "tokens in the clear"],
)
def test_a_server_that_others_reach_is_neither_open_nor_in_the_clear(store: Path, options: tuple[str, ...], hint: str) -> None:
    for listen in ("0.0.0.0:0", "[::]:0"):
        refused = harness.run("serve", "--store", store, "--listen", listen, *options)
        assert refused.returncode == 78
        assert hint in refused.stderr
        assert refused.stdout == ""


def test_an_open_server_with_a_certificate_is_refused_where_others_reach_it(store: Path, files: Identified) -> None:
    refused = harness.run("serve", "--store", store, "--listen", "0.0.0.0:0", "--auth", "none", *files.options)
    assert refused.returncode == 78
    assert "--auth token" in refused.stderr


def test_a_server_that_others_reach_asks_for_a_token(serve: Callable[..., Server], own_store: Path, files: Identified) -> None:
    token = harness.create_token(own_store, "somebody")
    own = files.authority.read_bytes()
    for options, connect in (
        (("--plaintext",), own_channel),
        (files.options, lambda target: secure_channel(target, own)),
    ):
        server = serve(own_store, *options, listen="0.0.0.0:0", authority=own)
        with connect(server.target.replace("0.0.0.0", "127.0.0.1")) as channel:
            assert asked(channel) == StatusCode.UNAUTHENTICATED
            assert asked(grpc.intercept_channel(channel, harness.Shows(token))) == StatusCode.OK


# Taking turns.


@pytest.fixture
def crowd(serve: Callable[..., Server], own_store: Path) -> Iterator[tuple[Caller, Caller, Caller]]:
    """Three users of a server for two queries at once and four that wait, each on a connection of their own."""
    tokens = [harness.create_token(own_store, name) for name in ("a", "b", "c")]
    server = serve(own_store, "--auth", "token", "--max-running", "2", "--max-waiting", "4")
    channels = [own_channel(server.target) for _ in tokens]
    yield tuple(Caller(server, *it) for it in zip(tokens, channels, strict=True))
    for channel in channels:
        channel.close()


class Flood:
    """Many queries of one user at once, and what has become of each."""

    def __init__(self, user: Caller, count: int) -> None:
        self.started: list[grpc.Call] = []
        self.refused: list[tuple[grpc.RpcError, float]] = []
        self.calls = [user.queries.Query(harness.request(ENDLESS), timeout=harness.PATIENCE_S) for _ in range(count)]
        self._start = time.monotonic()
        self._pool = ThreadPoolExecutor(count)
        for call in self.calls:
            self._pool.submit(self._begin, call)

    def _begin(self, call: grpc.Call) -> None:
        try:
            next(call)
            self.started.append(call)
        except grpc.RpcError as error:
            if error.code() != StatusCode.CANCELLED:
                self.refused.append((error, time.monotonic() - self._start))

    def settle(self, started: int, refused: int) -> None:
        """Waits until so many have started and been refused."""
        reached = lambda: (len(self.started), len(self.refused)) == (started, refused)  # noqa: E731
        deadline = time.monotonic() + 10
        while not reached() and time.monotonic() < deadline:
            time.sleep(0.01)
        assert reached(), f"{len(self.started)} started, {len(self.refused)} were refused"

    def end(self) -> None:
        """Cancels them all."""
        for call in self.calls:
            call.cancel()
        self._pool.shutdown()


def test_who_floods_the_server_is_turned_away_and_others_are_not(crowd: tuple[Caller, Caller, Caller]) -> None:
    one, other, watcher = crowd
    flood = Flood(one, 20)
    try:
        flood.settle(started=2, refused=14)
        for error, seconds in flood.refused:
            assert error.code() == StatusCode.RESOURCE_EXHAUSTED
            assert harness.retry_delay(error) > timedelta(0)
            assert seconds < 5

        health = health_pb2_grpc.HealthStub(watcher.channel)
        serving = health.Check(health_pb2.HealthCheckRequest(), timeout=5).status
        assert serving == health_pb2.HealthCheckResponse.SERVING
        assert watcher.catalog.ListTables(catalog_pb2.ListTablesRequest(), timeout=5).tables

        others = other.queries.Query(harness.request("select 1"), timeout=harness.PATIENCE_S)
        flood.settle(started=2, refused=15)  # the other's query has taken the place of the newest
        for call in flood.started[:2]:
            call.cancel()
        assert harness.Answer(list(others)).rows == [(1,)]
    finally:
        flood.end()
    for user in (one, other):
        with user.running(), watcher.running():
            pass
    assert one.rows("select 1") == [(1,)]


def test_the_first_place_that_is_free_is_for_whoever_has_none(crowd: tuple[Caller, Caller, Caller]) -> None:
    one, other, _ = crowd
    flood = Flood(one, 6)
    try:
        flood.settle(started=2, refused=0)
        others = other.queries.Query(harness.request("select 1"), timeout=3)
        flood.settle(started=2, refused=1)
        flood.started[0].cancel()
        assert harness.Answer(list(others)).rows == [(1,)]
    finally:
        flood.end()


# The audit.


def test_every_call_leaves_one_line(serve: Callable[..., Server], own_store: Path) -> None:
    tokens = {role: harness.create_token(own_store, f"a {role}", role) for role in ("read", "admin")}
    server = serve(own_store, "--auth", "token")
    reader, admin = (Caller(server, tokens[role]) for role in ("read", "admin"))
    stranger, guesser = (Caller(server, token) for token in ("", f"{tokens['read'][:-1]}!"))

    def get(path: str) -> None:
        with contextlib.closing(http.client.HTTPConnection(server.target, timeout=harness.PATIENCE_S)) as connection:
            connection.request("GET", path)
            connection.getresponse().read()

    query, catalog = "/didymium.v1.QueryService/", "/didymium.v1.CatalogService/"
    flights = "/arrow.flight.protocol.FlightService/"
    health = health_pb2_grpc.HealthStub(server.channel)
    calls: list[tuple[str, Callable[[], object]]] = [
        ("/grpc.health.v1.Health/Check", lambda: health.Check(health_pb2.HealthCheckRequest())),
        (f"{query}Query", lambda: reader.rows("select 1")),
        (f"{query}Query", lambda: reader.rows("select nothing")),
        (f"{query}Query", lambda: stranger.rows("select 1")),
        (f"{query}Query", lambda: guesser.rows("select 1")),
        (f"{query}Execute", lambda: execute(reader, "create view v as select 1")),
        (f"{query}Cancel", lambda: reader.cancel("nothing")),
        (f"{query}Nothing", lambda: outcome(admin.channel, f"{query}Nothing")),
        (f"{query}Nothing", lambda: outcome(reader.channel, f"{query}Nothing")),
        (f"{query}Nothing", lambda: outcome(server.channel, f"{query}Nothing")),
        (f"{catalog}GetTable", lambda: reader.catalog.GetTable(catalog_pb2.GetTableRequest(name="nothing"))),
        (f"{catalog}CreateView", lambda: create_view(reader, "v")),
        (f"{catalog}CreateView", lambda: create_view(admin, "v")),
        ("/didymium.v1.IngestService/Ingest", lambda: reader.load("quotas")),
        ("/didymium.v1.IngestService/Ingest", lambda: stranger.load("quotas")),
        (f"{flights}Handshake", lambda: outcome(server.channel, f"{flights}Handshake", "Bearer x")),
        (f"{flights}DoAction", lambda: prepare(reader, "select 1")),
        (f"{flights}DoAction", lambda: prepare(stranger, "select 1")),
        ("/readyz", lambda: get("/readyz")),
        ("/nothing", lambda: get("/nothing")),
    ]
    for number, (method, call) in enumerate(calls, start=1):
        code = code_of(call)
        lines = audited(server)
        assert [line["fields"]["method"] for line in lines[number - 1 :]] == [method]
        fields = lines[-1]["fields"]
        if code in (StatusCode.UNAUTHENTICATED, StatusCode.PERMISSION_DENIED):
            assert code.name.replace("_", "").lower() in fields["code"].lower()


# What the tests ask with.


def reflected(guarded: Guarded) -> set[str]:
    """The calls that the server tells of."""
    database = ProtoReflectionDescriptorDatabase(guarded.admin.channel)
    pool = descriptor_pool.DescriptorPool(database)
    services = [pool.FindServiceByName(name) for name in database.get_services()]
    return {f"/{service.full_name}/{method.name}" for service in services for method in service.methods}


def paths(guarded: Guarded) -> list[str]:
    """The calls that ask for a token: those that the server tells of, and those that it does not."""
    untold = {f"/{service}/{name}" for service in UNTOLD for name in CALLS[service]}
    opened = {f"/{service}/{name}" for service, names in OPEN.items() for name in names}
    return sorted((reflected(guarded) | untold) - opened)


def outcome(channel: grpc.Channel, path: str, authorization: str | None = None) -> tuple[StatusCode, str]:
    """What comes of a call with an empty message, whatever its kind."""
    metadata = [("authorization", authorization)] if authorization is not None else []
    call = channel.stream_stream(path)(iter([b""]), metadata=metadata, timeout=harness.PATIENCE_S)
    try:
        next(call, None)
    except grpc.RpcError as error:
        return error.code(), error.details()
    finally:
        call.cancel()
    return StatusCode.OK, ""


def refusal(call: Callable[[], object]) -> tuple[StatusCode, str]:
    """How a call of our own services fails, which it must."""
    with pytest.raises(grpc.RpcError) as error:
        call()
    return error.value.code(), error.value.details()


#: What Flight's clients make of the codes.
ADBC_CODES = {
    AdbcStatusCode.NOT_FOUND: StatusCode.NOT_FOUND,
    AdbcStatusCode.UNAUTHORIZED: StatusCode.PERMISSION_DENIED,
    AdbcStatusCode.UNAUTHENTICATED: StatusCode.UNAUTHENTICATED,
}
FLIGHT_CODES = {
    pa.lib.ArrowKeyError: StatusCode.NOT_FOUND,
    pa.flight.FlightUnauthorizedError: StatusCode.PERMISSION_DENIED,
    pa.flight.FlightUnauthenticatedError: StatusCode.UNAUTHENTICATED,
}


def outcome_of(call: Callable[[], object]) -> tuple[StatusCode, str]:
    """What comes of a call of any client."""
    try:
        call()
    except grpc.RpcError as error:
        return error.code(), error.details()
    except flightsql.dbapi.Error as error:
        return ADBC_CODES.get(error.status_code, StatusCode.UNKNOWN), str(error)
    except tuple(FLIGHT_CODES) as error:
        return FLIGHT_CODES[type(error)], str(error)
    return StatusCode.OK, ""


def code_of(call: Callable[[], object]) -> StatusCode:
    """The code that a call of any client ends with."""
    return outcome_of(call)[0]


def change(store: Path, token: str, **fields: float) -> None:
    """Writes a token's file by hand."""
    file = store / "_didymium" / "tokens" / f"{token.split('_')[1]}.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | {name: int(value) for name, value in fields.items()}))


def drop_all(admin: Caller, tables: Iterable[str]) -> list[str]:
    """Drops some tables, and tables and views that are called after them; gives the names of those that were there."""
    listed = admin.catalog.ListTables(catalog_pb2.ListTablesRequest()).tables
    found = [it for it in listed if it.name.split("_")[0] in tables]
    for it in found:
        if it.kind == "view":
            admin.catalog.DropView(catalog_pb2.DropViewRequest(name=it.name))
        else:
            admin.catalog.DropTable(catalog_pb2.DropTableRequest(name=it.name))
    return [it.name for it in found]


def flight(it: Caller) -> pa.flight.FlightClient:
    return pa.flight.connect(it.server.url)


def shown(it: Caller) -> pa.flight.FlightCallOptions:
    headers = [(b"authorization", f"Bearer {it.token}".encode())]
    return pa.flight.FlightCallOptions(timeout=harness.PATIENCE_S, headers=headers)


def packed(name: str, message: wrappers_pb2.StringValue | wrappers_pb2.BytesValue) -> bytes:
    """A message of Flight SQL whose one field is its first."""
    url = f"type.googleapis.com/arrow.flight.protocol.sql.{name}"
    return any_pb2.Any(type_url=url, value=message.SerializeToString()).SerializeToString()


def command(name: str, value: str | bytes) -> pa.flight.FlightDescriptor:
    message = wrappers_pb2.StringValue if isinstance(value, str) else wrappers_pb2.BytesValue
    return pa.flight.FlightDescriptor.for_command(packed(name, message(value=value)))


def prepare(it: Caller, sql: str) -> bytes:
    """The handle of a prepared statement."""
    body = packed("ActionCreatePreparedStatementRequest", wrappers_pb2.StringValue(value=sql))
    (result,) = flight(it).do_action(pa.flight.Action("CreatePreparedStatement", body), shown(it))
    prepared = any_pb2.Any.FromString(result.body.to_pybytes())
    return wrappers_pb2.BytesValue.FromString(prepared.value).value


def run_prepared(it: Caller, handle: bytes) -> pa.Table:
    """The rows of a prepared statement."""
    info = flight(it).get_flight_info(command("CommandPreparedStatementQuery", handle), shown(it))
    return redeem(it, info.endpoints[0].ticket)


def bind(it: Caller, handle: bytes) -> None:
    """Gives a prepared statement values."""
    rows = pa.record_batch({"one": [1]})
    put_to(it, command("CommandPreparedStatementQuery", handle), rows)


def update(it: Caller, sql: str) -> None:
    """Runs a statement for what it does."""
    put_to(it, command("CommandStatementUpdate", sql), pa.record_batch({"one": [1]}))


def put_to(it: Caller, descriptor: pa.flight.FlightDescriptor, rows: pa.RecordBatch) -> None:
    writer, answer = flight(it).do_put(descriptor, rows.schema, shown(it))
    with writer:
        writer.write_batch(rows)
        writer.done_writing()
        answer.read()


def ticket_of(it: Caller, sql: str) -> pa.flight.Ticket:
    """The ticket of a statement's rows."""
    info = flight(it).get_flight_info(command("CommandStatementQuery", sql), shown(it))
    return info.endpoints[0].ticket


def redeem(it: Caller, ticket: pa.flight.Ticket) -> pa.Table:
    """The rows of a ticket."""
    return flight(it).do_get(ticket, shown(it)).read_all()


def adbc_execute(it: Caller, sql: str) -> None:
    with it.adbc() as connection, connection.cursor() as cursor:
        cursor.execute(sql)


def adbc_table_schema(it: Caller, table: str) -> pa.Schema:
    with it.adbc() as connection:
        return connection.adbc_get_table_schema(table)


def adbc_objects(it: Caller) -> list:
    with it.adbc() as connection:
        return connection.adbc_get_objects(depth="all").read_all().to_pylist()


def own_channel(target: str) -> grpc.Channel:
    """A channel that shares its connection with none."""
    return grpc.insecure_channel(target, [("grpc.use_local_subchannel_pool", 1)])


def secure_channel(target: str, authority: bytes, key: bytes | None = None, certificate: bytes | None = None) -> grpc.Channel:
    """A channel that shares its connection with none, as one with TLS."""
    credentials = grpc.ssl_channel_credentials(authority, key, certificate)
    return grpc.secure_channel(target, credentials, [("grpc.use_local_subchannel_pool", 1)])


def asked(channel: grpc.Channel) -> StatusCode:
    """How a query fares on a channel."""
    return code_of(lambda: harness.query(query_pb2_grpc.QueryServiceStub(channel), "select 1"))


def handshake(target: str, context: ssl.SSLContext) -> int:
    """The serial number of the certificate that the server shows."""
    host, port = target.split(":")
    with socket.create_connection((host, int(port)), timeout=harness.PATIENCE_S) as plain:
        with context.wrap_socket(plain, server_hostname="localhost") as encrypted:
            return int(encrypted.getpeercert()["serialNumber"], 16)


def until(holds: Callable[[], bool], server: Server, context: ssl.SSLContext) -> None:
    """Connects until something holds: the server looks at its files when somebody connects."""
    deadline = time.monotonic() + 10
    while not holds():
        assert time.monotonic() < deadline, server.log.read_text()[-2000:]
        handshake(server.target, context)
        time.sleep(0.05)


def audited(server: Server) -> list[dict[str, Any]]:
    """The lines of the audit."""
    lines = [json.loads(line) for line in server.log.read_text().splitlines()]
    return [line for line in lines if line["target"] == "didymium::audit"]


def test_whoever_fails_often_is_told_to_wait_and_a_valid_token_is_not(
    serve: Callable[..., Server], own_store: Path
) -> None:
    server = serve(own_store, "--auth", "token", "--max-refused", "3")
    valid = f"Bearer {harness.create_token(own_store, 'reader')}"
    path = "/didymium.v1.CatalogService/ListTables"
    codes = [outcome(server.channel, path, "Bearer wrong")[0] for _ in range(5)]
    assert codes == [StatusCode.UNAUTHENTICATED] * 3 + [StatusCode.RESOURCE_EXHAUSTED] * 2
    assert outcome(server.channel, path, valid)[0] == StatusCode.OK


def test_an_admin_makes_and_ends_tokens_through_the_server(guarded: Guarded) -> None:
    admin = admin_pb2_grpc.AdminServiceStub(guarded.admin.channel)
    new = admin_pb2.CreateTokenRequest(name="guest", role=admin_pb2.ROLE_READ, tables=["output"])
    made = admin.CreateToken(new)
    guest = Caller(guarded.server, made.secret)
    assert guest.rows("select 1") == [(1,)]
    listed = {token.id: token for token in admin.ListTokens(admin_pb2.ListTokensRequest()).tokens}
    assert listed[made.token.id] == made.token
    assert admin.GetStatus(admin_pb2.GetStatusRequest()).version
    done = harness.run("token", "list", "--url", guarded.server.url, "--token-file", guarded.file_of(guarded.admin))
    assert made.token.id in done.stdout, done.stderr
    admin.RevokeToken(admin_pb2.RevokeTokenRequest(id=made.token.id))
    assert refusal(lambda: guest.rows("select 1"))[0] == StatusCode.UNAUTHENTICATED
    unknown = admin_pb2.RevokeTokenRequest(id="0" * 12)
    assert refusal(lambda: admin.RevokeToken(unknown))[0] == StatusCode.NOT_FOUND


def test_a_token_makes_none_that_opens_more_than_itself(guarded: Guarded) -> None:
    some = guarded.caller("some", "admin", "--tables", "output")
    admin = admin_pb2_grpc.AdminServiceStub(some.channel)
    for tables, code in {(): StatusCode.PERMISSION_DENIED, ("out",): StatusCode.PERMISSION_DENIED}.items():
        new = admin_pb2.CreateTokenRequest(name="more", role=admin_pb2.ROLE_READ, tables=tables)
        assert refusal(lambda: admin.CreateToken(new))[0] == code, tables  # noqa: B023
    within = admin_pb2.CreateTokenRequest(name="less", role=admin_pb2.ROLE_READ, tables=["output_more"])
    assert admin.CreateToken(within).secret
