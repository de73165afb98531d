"""HTTP for curl: statements in, rows out in every form; problem documents, tokens, probes and metrics."""

from __future__ import annotations

import base64
import contextlib
import csv
import http.client
import io
import json
import re
import socket
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

import psutil
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import harness
from didymium.v1 import query_pb2
from harness import MIB, Server
from test_limits import ENDLESS_COUNT, ENDLESS_ROWS, SLACK_S, assert_idle

PATH = "/api/v1/sql"

JSON = "application/json"
NDJSON = "application/x-ndjson"
CSV = "text/csv"
ARROW = "application/vnd.apache.arrow.stream"
PARQUET = "application/vnd.apache.parquet"

FORMS = [JSON, NDJSON, CSV, ARROW, PARQUET]

#: Texts in two scripts, with quotes and commas; numbers, days and truths; a NULL in each kind of column that has any.
FIGURES = """select row_id, authority, holder, value, period_start, cumulative, statement, batch_from, note
    from all_vintages('quotas') order by row_id"""

TWINS = "select a.n, b.n from (values (1)) as a(n) join (values (1)) as b(n) on a.n = b.n"


@dataclass
class Answer:
    """A whole answer."""

    status: int
    headers: http.client.HTTPMessage
    body: bytes

    @property
    def kind(self) -> str:
        """The type of its body."""
        return self.headers["Content-Type"]

    @property
    def problem(self) -> dict[str, Any]:
        """What went wrong, by the rules of RFC 9457."""
        assert self.kind == "application/problem+json", self.body[:200]
        problem = json.loads(self.body)
        assert problem["type"] == "about:blank"
        assert problem["title"] == http.client.responses[self.status]
        assert problem["status"] == self.status
        return problem

    @property
    def rows(self) -> list[tuple]:
        """The rows of an answer in JSON."""
        assert (self.status, self.kind) == (200, JSON), self.body[:300]
        return [tuple(row.values()) for row in json.loads(self.body)]


@contextlib.contextmanager
def connection(server: Server) -> Iterator[http.client.HTTPConnection]:
    """A connection that is closed at the end."""
    opened = http.client.HTTPConnection(server.target, timeout=harness.PATIENCE_S)
    with contextlib.closing(opened):
        yield opened


def exchange(
    opened: http.client.HTTPConnection, method: str, path: str, body: str | bytes | None = None, **headers: str | None
) -> Answer:
    """One request on a connection; a header's name is written with underscores."""
    shown = {name.replace("_", "-"): value for name, value in headers.items() if value is not None}
    opened.request(method, path, body.encode() if isinstance(body, str) else body, shown)
    answer = opened.getresponse()
    return Answer(answer.status, answer.headers, answer.read())


def get(server: Server, path: str, **headers: str | None) -> Answer:
    """What stands at a path."""
    with connection(server) as opened:
        return exchange(opened, "GET", path, **headers)


def post(server: Server, body: str | bytes, accept: str | None = None, **headers: str | None) -> Answer:
    """The answer to a statement, or to what else is sent as one."""
    with connection(server) as opened:
        return exchange(opened, "POST", PATH, body, Accept=accept, **headers)


def ask(server: Server, sql: Any, **members: Any) -> Answer:
    """The answer to a request in JSON."""
    return post(server, json.dumps({"sql": sql, **members}), Content_Type=JSON)


# The forms.


def read(form: str, body: bytes, plain: list[tuple]) -> list[tuple]:
    """The rows in a body; texts are read as what the plain rows hold, where the form does not tell."""

    def value(text: Any, known: Any) -> Any:
        if text in (None, "") and known is None:
            return None
        if isinstance(known, bool):
            return {"true": True, "false": False, True: True, False: False}[text]
        return date.fromisoformat(text) if isinstance(known, date) else type(known)(text)

    if form == ARROW:
        columns = pa.ipc.open_stream(body).read_all().columns
        return list(zip(*(column.to_pylist() for column in columns), strict=True))
    if form == PARQUET:
        columns = pq.read_table(pa.BufferReader(body)).columns
        return list(zip(*(column.to_pylist() for column in columns), strict=True))
    if form == CSV:
        rows = [tuple(row) for row in csv.reader(io.StringIO(body.decode(), newline=""))][1:]
    elif form == JSON:
        rows = [tuple(row.values()) for row in json.loads(body)]
    else:
        rows = [tuple(json.loads(line).values()) for line in body.decode().splitlines()]
    pairs = zip(rows, plain, strict=True)
    return [tuple(value(text, known) for text, known in zip(row, line, strict=True)) for row, line in pairs]


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("sql", [FIGURES, "select value, 'row ' || value as t from generate_series(1, 30000) order by 1"])
def test_every_form_holds_the_rows_of_the_plain_stub(server: Server, form: str, sql: str) -> None:
    plain = server.query(sql).rows
    answer = post(server, sql, form)
    assert (answer.status, answer.kind) == (200, form), answer.body[:300]
    assert len(plain) > 100
    assert read(form, answer.body, plain) == plain


def test_arrow_and_parquet_keep_the_types(server: Server) -> None:
    sql = """select 1.50::decimal(5, 2) as d, [1, null] as l, named_struct('a', 1, 'b', 'x') as s, true as t,
        timestamp '2024-01-01 00:00:00.5' as at, arrow_cast('abc', 'Binary') as b, null as n, 'NaN'::double as x"""
    plain = server.query(sql).table
    arrow = pa.ipc.open_stream(post(server, sql, ARROW).body).read_all()
    assert arrow.schema.equals(plain.schema, check_metadata=True)
    assert str(arrow.to_pylist()) == str(plain.to_pylist())
    parquet = pq.read_table(pa.BufferReader(post(server, sql, PARQUET).body))
    assert parquet.schema.equals(plain.schema)
    assert str(parquet.to_pylist()) == str(plain.to_pylist())


def test_json_writes_null_and_every_member(server: Server) -> None:
    sql = "select null as n, 'NaN'::double as x, 9223372036854775807 as i, [1, null] as l, named_struct('a', 'é') as s"
    for form in (JSON, NDJSON):
        body = post(server, sql, form).body.decode()
        row = '{"n":null,"x":null,"i":9223372036854775807,"l":[1,null],"s":{"a":"é"}}'
        assert body == (f"[{row}]\n" if form == JSON else f"{row}\n")


@pytest.mark.parametrize("form", FORMS)
def test_an_empty_result_has_its_columns(server: Server, form: str) -> None:
    body = post(server, "select 1 as a, 'x' as b where false", form).body
    if form == ARROW:
        assert pa.ipc.open_stream(body).read_all().column_names == ["a", "b"]
    elif form == PARQUET:
        assert pq.read_table(pa.BufferReader(body)).column_names == ["a", "b"]
    else:
        assert body == {JSON: b"[]\n", NDJSON: b"", CSV: b"a,b\n"}[form]


def test_two_columns_of_one_name_go_where_they_can(server: Server) -> None:
    assert post(server, TWINS, CSV).body == b"n,n\n1,1\n"
    assert pa.ipc.open_stream(post(server, TWINS, ARROW).body).read_all().column_names == ["n", "n"]
    for form in (JSON, NDJSON):
        answer = post(server, TWINS, form)
        assert answer.status == 400
        assert "two columns are called n" in answer.problem["detail"]


@pytest.mark.parametrize(
    ("form", "sql"),
    [(CSV, "select [1] as list"), (CSV, "select [1] as list where false"), (PARQUET, "select interval '1 day' as i")],
)
def test_what_a_form_can_not_hold_is_refused(server: Server, form: str, sql: str) -> None:
    answer = post(server, sql, form)
    assert answer.status == 400
    assert "can't hold" in answer.problem["detail"]


@pytest.mark.parametrize(
    ("accept", "kind"),
    [
        (None, JSON),
        ("*/*", JSON),
        ("application/*", JSON),
        ("text/*", CSV),
        ("TEXT/CSV", CSV),
        ("text/csv;charset=utf-8", CSV),
        ("application/ndjson", "application/ndjson"),
        ("text/html, */*;q=0.8", JSON),
        ("text/csv, */*;q=0.1", CSV),
        ("*/*;q=0.1,text/csv", CSV),
        ("text/csv;q=0.5, application/x-ndjson", NDJSON),
        ("text/csv; q=0.5, application/x-ndjson; q=0.6, application/json; q=0.4", NDJSON),
        ("text/csv;q=0, application/vnd.apache.parquet;q=0.001", PARQUET),
        ("text/csv;charset=utf-8;q=0.1, application/x-ndjson;q=0.5", NDJSON),
        ("text/csv;Q=0.1, application/x-ndjson;q=0.5", NDJSON),
        ("application/json;q=0, text/csv;q=0.2, */*;q=0.1", CSV),
        ("application/json;q=0, */*", NDJSON),
        ("TEXT/*", CSV),
    ],
)
def test_the_client_chooses_the_form(server: Server, accept: str | None, kind: str) -> None:
    answer = post(server, "select 1 as one", accept)
    assert (answer.status, answer.kind) == (200, kind)


@pytest.mark.parametrize("accept", ["text/html", "image/*", "application/json;q=0", "text", "*/csv", "application/jsonp"])
def test_an_unknown_form_is_refused(server: Server, accept: str) -> None:
    answer = post(server, "select 1 as one", accept)
    assert answer.status == 400
    assert answer.problem["code"] == "InvalidArgument"
    assert all(form in answer.problem["detail"] for form in FORMS)


# Requests.


@pytest.mark.parametrize("kind", [None, "application/sql", "text/plain; charset=utf-8", "application/x-www-form-urlencoded"])
def test_a_statement_is_a_body_alone(server: Server, kind: str | None) -> None:
    answer = post(server, "select '稀土' || $$+%20$$ as text", Content_Type=kind)
    assert answer.rows == [("稀土+%20",)]


@pytest.mark.parametrize("kind", ["application/json", "application/json; charset=utf-8", "Application/JSON"])
def test_a_request_in_json_is_one_however_its_type_is_written(server: Server, kind: str) -> None:
    assert post(server, '{"sql": "select 1 as one"}', Content_Type=kind).rows == [(1,)]


def test_parameters_are_a_list_or_an_object(server: Server) -> None:
    sql = "select count(*) as n from quotas where stage = {} and value > {}"
    plain = server.query(sql.format("'mining'", "100000")).rows
    assert plain[0][0] > 0
    assert ask(server, sql.format("$1", "$2"), parameters=["mining", 100000]).rows == plain
    assert ask(server, sql.format("?", "?"), parameters=["mining", 1e5]).rows == plain
    assert ask(server, sql.format("$stage", "$least"), parameters={"stage": "mining", "least": 100000}).rows == plain
    kinds = ask(server, "select $1 as a, $2 as b, $3 as c, $4 as d, $5 as e", parameters=[True, "'; --", -7, 0.1, None])
    assert kinds.rows == [(True, "'; --", -7, 0.1, None)]


@pytest.mark.parametrize(
    "parameters",
    [[], [1], [1, 2, 3], {"x": 1}, [[1], 2], [{"a": 1}, 2], "12", 7, {"1": [1]}, [18446744073709551615, 1]],
    ids=str,
)
def test_parameters_that_do_not_fit_are_refused(server: Server, parameters: Any) -> None:
    answer = ask(server, "select $1 + $2 as sum", parameters=parameters)
    assert answer.status == 400, answer.body
    assert answer.problem["code"] == "InvalidArgument"


def test_the_options_do_what_those_of_the_stub_do(server: Server) -> None:
    sql = "select count(*) as n, max(published_on) as day from quotas"
    plain = server.query(sql, published_as_of={"year": 2021, "month": 1, "day": 31}).rows
    rows = [(count, day.isoformat()) for count, day in plain]
    assert rows != [(count, day.isoformat()) for count, day in server.query(sql).rows]
    assert ask(server, sql, published_as_of="2021-01-31").rows == rows
    assert post(server, sql, didymium_published_as_of="2021-01-31").rows == rows
    assert ask(server, sql, published_as_of=None).rows != rows
    zoned = "select to_unixtime(cast('2024-07-01T00:00:00' as timestamp with time zone)) as seconds"
    for zone, hours in (("Asia/Shanghai", 8), ("+08:00", 8), ("UTC", 0), (None, 0)):
        assert ask(server, zoned, time_zone=zone).rows == [(1719792000 - hours * 3600,)]
        assert server.query(zoned, time_zone=zone or "").rows == [(1719792000 - hours * 3600,)]


def test_a_query_has_its_id(server: Server) -> None:
    sql = "select query_id from system.queries"
    answer = ask(server, sql, query_id="chosen-1")
    assert answer.headers["didymium-query-id"] == "chosen-1"
    assert answer.rows == [("chosen-1",)]
    answer = ask(server, sql)
    assert answer.rows == [(answer.headers["didymium-query-id"],)]


def test_an_id_in_use_is_refused(server: Server) -> None:
    with connection(server) as opened:
        opened.request("POST", PATH, json.dumps({"sql": ENDLESS_ROWS, "query_id": "busy"}), {"Content-Type": JSON})
        answer = opened.getresponse()
        assert answer.status == 200
        again = ask(server, "select 1", query_id="busy")
        assert (again.status, again.problem["code"]) == (409, "AlreadyExists")


@pytest.mark.parametrize("timeout", [1, 1.0, "1", "1s", "1000ms"], ids=repr)
def test_time_runs_out(server: Server, timeout: object) -> None:
    start = time.monotonic()
    answer = ask(server, ENDLESS_COUNT, timeout=timeout)
    assert 1 <= time.monotonic() - start < 1 + SLACK_S
    assert (answer.status, answer.problem["code"]) == (504, "DeadlineExceeded")
    assert_idle(server)


def test_an_answer_that_runs_out_of_time_is_broken_off(server: Server) -> None:
    with pytest.raises(http.client.IncompleteRead):
        ask(server, ENDLESS_ROWS, timeout=1)
    assert_idle(server)


@pytest.mark.parametrize(
    ("body", "word"),
    [
        ('{"sql": "select 1", "sqll": 1}', "sqll"),
        ('{"sql": "select 1", "timeout": "soon"}', "timeout"),
        ('{"sql": "select 1", "timeout": -1}', "timeout"),
        ('{"sql": "select 1", "time_zone": "Mars/Olympus"}', "time_zone"),
        ('{"sql": "select 1", "published_as_of": "yesterday"}', "published_as_of"),
        ('{"sql": "select 1", "query_id": 7}', "string"),
        ('{"sql": 1}', "string"),
        ("{}", "sql"),
        ("[]", "JSON"),
        ('{"sql": "select 1"', "JSON"),
        ('{"sql": "select 1"} x', "JSON"),
        ("", "JSON"),
        (b'{"sql": "select \'\xff\'"}', "JSON"),
    ],
)
def test_a_request_that_is_no_request_says_what_is_wrong(server: Server, body: str | bytes, word: str) -> None:
    answer = post(server, body, Content_Type=JSON)
    assert (answer.status, answer.problem["code"]) == (400, "InvalidArgument")
    assert word in answer.problem["detail"]


def test_a_statement_that_is_no_text_is_refused(server: Server) -> None:
    answer = post(server, b"select '\xff'")
    assert answer.status == 400
    assert "UTF-8" in answer.problem["detail"]


@pytest.mark.parametrize("chunked", [False, True])
def test_a_body_that_is_too_long_is_refused(server: Server, chunked: bool) -> None:
    body = b"select 1 -- " + b"x" * MIB
    with connection(server) as opened:
        opened.request("POST", PATH, iter([body]) if chunked else body, encode_chunked=chunked)
        answer = opened.getresponse()
        problem = Answer(answer.status, answer.headers, answer.read()).problem
    assert (problem["status"], problem["code"]) == (400, "OutOfRange")
    server.assert_lives()


# Failures.


@pytest.mark.parametrize(
    ("sql", "status", "code"),
    [
        ("selec 1", 400, "InvalidArgument"),
        ("", 400, "InvalidArgument"),
        ("select nobody from quotas", 400, "InvalidArgument"),
        ("select 1 / 0", 400, "InvalidArgument"),
        ("select 1; select 2", 400, "InvalidArgument"),
        ("select 9223372036854775807 + 1", 400, "OutOfRange"),
        ("drop table quotas", 403, "PermissionDenied"),
        ("select * from nowhere", 404, "NotFound"),
        ("create view quotas as select 1 as one", 409, "AlreadyExists"),
        ("select repeat('x', 2000000000)", 429, "ResourceExhausted"),
        ("select * from quotas tablesample bernoulli (1)", 501, "Unimplemented"),
    ],
)
def test_failures_are_problem_documents_in_the_words_of_the_stub(server: Server, sql: str, status: int, code: str) -> None:
    plain = harness.failure(server.stub, sql)
    for form in FORMS:
        answer = post(server, sql, form)
        assert answer.status == status
        assert (answer.problem["code"], answer.problem["detail"]) == (code, plain.message)
    assert plain.code.name.replace("_", "") == code.upper()


def test_other_methods_are_not_allowed(server: Server) -> None:
    answer = get(server, PATH)
    assert (answer.status, answer.headers["Allow"]) == (405, "POST")


@pytest.mark.parametrize("path", ["/", "/api/v1/nothing", "/api/v1/sql/", "/didymium.v1.QueryService/Query/x"])
def test_an_unknown_path_is_not_found(server: Server, path: str) -> None:
    for answer in (get(server, path), get(server, path, Accept="text/html")):
        assert answer.status == 404
        assert answer.problem["code"] == "NotFound"


# Streams and connections.


@pytest.mark.parametrize(
    ("form", "rows"), [(JSON, 1_200_000), (NDJSON, 1_200_000), (CSV, 1_500_000), (ARROW, 3_500_000), (PARQUET, 3_500_000)]
)
def test_a_long_result_does_not_fill_the_memory(serve: Callable[..., Server], store: Path, form: str, rows: int) -> None:
    server = serve(store)
    process = psutil.Process(server.process.pid)
    post(server, FIGURES, form)  # what every answer needs
    before, most, size = process.memory_info().rss, 0, 0
    with connection(server) as opened:
        sql = f"select value, random() as x, random() as y, random() as z from generate_series(1, {rows})"
        opened.request("POST", PATH, sql, {"Accept": form})
        answer = opened.getresponse()
        assert answer.status == 200
        while part := answer.read(MIB):
            size += len(part)
            most = max(most, process.memory_info().rss)
    assert size > 80 * MIB
    assert most - before < 80 * MIB, f"{(most - before) / MIB:.0f} MiB more for {size / MIB:.0f} MiB"


def test_rows_come_while_the_query_runs(server: Server) -> None:
    with connection(server) as opened:
        opened.request("POST", PATH, ENDLESS_ROWS, {"Accept": NDJSON})
        answer = opened.getresponse()
        assert answer.readline() == b'{"value":1}\n'
        assert_idle(server)  # what is not read is not computed
    assert_idle(server)


@pytest.mark.parametrize("sql", [ENDLESS_COUNT, ENDLESS_ROWS], ids=["no row before the end", "rows at once"])
@pytest.mark.parametrize("form", FORMS)
def test_a_client_that_hangs_up_frees_the_server(server: Server, sql: str, form: str) -> None:
    host, port = server.target.split(":")
    request = f"POST {PATH} HTTP/1.1\r\nHost: {host}\r\nAccept: {form}\r\nContent-Length: {len(sql)}\r\n\r\n{sql}"
    with socket.create_connection((host, int(port))) as opened:
        opened.sendall(request.encode())
        time.sleep(0.5)
        assert server.query("select sql from system.queries where sql like '%1000000000000%'").rows != []
    assert_idle(server)
    left = "select count(*) from system.queries where sql like '%1000000000000)'"
    assert server.query(left).rows == [(0,)]


def test_a_connection_serves_many_requests(server: Server) -> None:
    with connection(server) as opened:
        opened.connect()
        first = opened.sock
        for number in range(5):
            assert exchange(opened, "POST", PATH, f"select {number} as n").rows == [(number,)]
            assert exchange(opened, "POST", PATH, "select").status == 400
            assert exchange(opened, "GET", "/livez").status == 200
            assert exchange(opened, "POST", PATH, FIGURES, Accept=PARQUET).status == 200
        assert opened.sock is first, "the server hung up"


# Who may ask.


@pytest.fixture(scope="module")
def guarded(store: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Server, str]]:
    """A server that asks for tokens, and one that may read."""
    token = harness.create_token(store, "http-reader", "read", "--tables", "quotas")
    server = Server(store, tmp_path_factory.mktemp("guarded") / "server.log", "--auth", "token", token=token)
    yield server, token
    server.stop()


def basic(user: str, password: str) -> str:
    """What curl makes of `-u user:password`."""
    return "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()


def test_strangers_are_told_how_to_come_in(guarded: tuple[Server, str]) -> None:
    server, token = guarded
    last = "A" if token[-1] != "A" else "B"
    strangers = [None, "Bearer ", f"Bearer {token[:-1]}{last}", f"Digest {token}", token, basic("reader", "password")]
    for shown in strangers:
        for answer in (
            post(server, "select 1", Authorization=shown),
            get(server, "/metrics", Authorization=shown),
            get(server, "/nothing", Authorization=shown),
        ):
            assert (answer.status, answer.problem["code"]) == (401, "Unauthenticated")
            assert answer.headers["WWW-Authenticate"].startswith("Bearer")
            assert token not in answer.body.decode()


def test_a_token_comes_as_bearer_or_as_password(guarded: tuple[Server, str]) -> None:
    server, token = guarded
    for shown in (f"Bearer {token}", f"bearer {token}", basic("anybody", token), basic("", token)):
        assert post(server, "select 1 as one", Authorization=shown).rows == [(1,)]
        answer = post(server, "select * from prices", Authorization=shown)
        assert (answer.status, answer.problem["detail"]) == (404, "there is no table prices")
    denied = post(server, "create view v as select 1 as one", Authorization=f"Bearer {token}")
    assert (denied.status, denied.problem["code"]) == (403, "PermissionDenied")


def test_probes_need_no_token(guarded: tuple[Server, str], server: Server) -> None:
    for asked in (guarded[0], server):
        assert (get(asked, "/livez").status, get(asked, "/livez").body) == (200, b"alive\n")
        assert (get(asked, "/readyz").status, get(asked, "/readyz").body) == (200, b"ready\n")
        version = get(asked, "/version")
        assert (version.status, version.kind) == (200, JSON)
        told = harness.run("--version").stdout.split()
        assert [json.loads(version.body)[name] for name in ("name", "version")] == told


# The audit.


def audited(server: Server) -> list[str]:
    """What came of each statement by HTTP, as the log has it."""
    lines = [json.loads(line) for line in server.log.read_text().splitlines()]
    calls = [line["fields"] for line in lines if line["target"] == "didymium::audit"]
    return [call["code"] for call in calls if call["method"] == PATH]


def test_the_audit_says_what_became_of_an_answer(serve: Callable[..., Server], store: Path) -> None:
    server = serve(store, "--role-limits", "admin: rows=500000")
    assert ask(server, "select 1 as one").rows == [(1,)]
    assert ask(server, "select nothing").status == 400
    with pytest.raises(http.client.IncompleteRead):
        post(server, ENDLESS_ROWS, ARROW)
    assert audited(server) == ["Ok", "InvalidArgument", "ResourceExhausted"]


def test_an_answer_is_audited_when_it_is_over_and_once(serve: Callable[..., Server], store: Path) -> None:
    server = serve(store)
    expected: list[str] = []
    for end, code in (("out of time", "DeadlineExceeded"), ("cancelled", "Cancelled"), ("left", "Cancelled")):
        request = {"sql": ENDLESS_ROWS, "query_id": "endless", "timeout": 2 if end == "out of time" else 60}
        with connection(server) as opened:
            opened.request("POST", PATH, json.dumps(request), {"Content-Type": JSON, "Accept": NDJSON})
            answer = opened.getresponse()
            assert answer.readline() == b'{"value":1}\n'
            assert audited(server) == expected, "it is not over"
            if end == "cancelled":
                server.stub.Cancel(query_pb2.CancelRequest(query_id="endless"), timeout=harness.PATIENCE_S)
            if end != "left":
                with pytest.raises(http.client.IncompleteRead):
                    answer.read()
        expected.append(code)
        until_audited(server, expected)
    server.stop()
    assert audited(server) == expected, "each of them once"


def until_audited(server: Server, codes: list[str]) -> None:
    """Waits for the audit: the server hears by and by that a client has left."""
    deadline = time.monotonic() + 10
    while audited(server) != codes:
        assert time.monotonic() < deadline, audited(server)
        time.sleep(0.05)


# Metrics.

Samples = dict[tuple[str, frozenset[tuple[str, str]]], float]


def samples(server: Server, **headers: str) -> Samples:
    """Every sample; each must have its HELP and TYPE before it, and stand there once."""
    answer = get(server, "/metrics", **headers)
    assert answer.status == 200
    assert answer.kind.startswith(("application/openmetrics-text", "text/plain"))
    told: dict[str, set[str]] = {}
    found: Samples = {}
    for line in answer.body.decode().splitlines():
        if line.startswith("# ") and line != "# EOF":
            _, what, name, _ = line.split(" ", 3)
            told.setdefault(name, set()).add(what)
            continue
        if match := re.fullmatch(r"([a-z_]+)(?:\{(.*)\})? (\S+)", line):
            name, labels, value = match.groups()
            family = name if name in told else re.sub("_(total|bucket|sum|count|info)$", "", name)
            assert told.get(family, set()) >= {"HELP", "TYPE"}, line
            key = name, frozenset(re.findall(r'(\w+)="((?:[^"\\]|\\.)*)"', labels or ""))
            assert key not in found, line
            found[key] = float(value)
        else:
            assert line == "# EOF", line
    return found


def total(found: Samples, name: str, **labels: str) -> float:
    """The sum of the samples of a name that have these labels, whatever the case of their values."""
    wanted = {(label, value.lower()) for label, value in labels.items()}
    return sum(
        value
        for (sample, given), value in found.items()
        if sample == name and wanted <= {(label, text.lower()) for label, text in given}
    )


def test_metrics_have_their_names(guarded: tuple[Server, str]) -> None:
    server, token = guarded
    assert get(server, "/metrics").status == 401
    server.query("select 1")
    post(server, "select 1", Authorization=f"Bearer {token}")
    found = samples(server, Authorization=f"Bearer {token}")
    names = {name for name, _ in found}
    assert names >= {
        "didymium_query_duration_seconds_bucket",
        "didymium_query_duration_seconds_count",
        "didymium_query_duration_seconds_sum",
        "didymium_query_rows_total",
        "didymium_queries_running",
        "didymium_memory_pool_bytes",
        "didymium_build_info",
        "grpc_server_handled_total",
    }
    services = {value for _, labels in found for label, value in labels if label == "grpc_service"}
    assert "api" not in services, "a path of HTTP is no service of gRPC"
    codes = {value for _, labels in found for label, value in labels if label == "grpc_code"}
    assert "OK" in codes, f"the words of go-grpc-prometheus, not {codes}"


def test_counts_grow_with_queries_and_failures(server: Server) -> None:
    count = "didymium_query_duration_seconds_count"
    before = samples(server)
    for _ in range(3):
        post(server, "select value from generate_series(1, 10)")
        post(server, "select * from nowhere")
        server.query("select 1")
    after = samples(server)

    def more(name: str, **labels: str) -> float:
        return total(after, name, **labels) - total(before, name, **labels)

    assert more(count, protocol="http", code="ok") == 3
    assert more(count, protocol="http", code="notfound") == 3
    assert more(count, protocol="grpc", code="ok") == 3
    assert more("didymium_query_rows_total", protocol="http") == 30
    assert more("didymium_query_rows_total", protocol="grpc") == 3
    assert more("grpc_server_handled_total", grpc_method="Query", grpc_code="ok") == 3
    assert total(after, "didymium_queries_running") == 0


def test_a_form_that_can_not_hold_the_rows_is_no_cancellation(server: Server) -> None:
    count = "didymium_query_duration_seconds_count"
    before = samples(server)
    for sql, form in ((TWINS, JSON), ("select [1] as list", CSV), ("select interval '1 day' as i", PARQUET)):
        assert post(server, sql, form).status == 400
    after = samples(server)
    assert total(after, count, code="cancelled") == total(before, count, code="cancelled")
    assert total(after, count, code="invalidargument") == total(before, count, code="invalidargument") + 3


def test_buckets_are_cumulative(server: Server) -> None:
    post(server, "select 1 as one")
    found = samples(server)
    series: dict[frozenset, list[tuple[float, float]]] = {}
    for (name, labels), value in found.items():
        if name == "didymium_query_duration_seconds_bucket":
            bound = float(dict(labels)["le"])
            rest = frozenset(label for label in labels if label[0] != "le")
            series.setdefault(rest, []).append((bound, value))
    assert series
    for labels, buckets in series.items():
        counts = [value for _, value in sorted(buckets)]
        assert counts == sorted(counts)
        assert counts[-1] == found["didymium_query_duration_seconds_count", labels]
