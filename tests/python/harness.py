"""What the tests share: the binary, a running server, and queries through the plain generated stub."""

from __future__ import annotations

import os
import queue
import signal
import subprocess
import threading
import time
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any

import grpc
import psutil
import pyarrow as pa
from google.rpc import error_details_pb2, status_pb2

from didymium.v1 import query_pb2, query_pb2_grpc

MIB = 1024 * 1024

#: No call and no command of these tests may take longer: what hangs must fail.
PATIENCE_S = 120

BUILT_IN_TABLES = [
    "element_factors",
    "entities",
    "exchange_rates",
    "exports",
    "prices",
    "production",
    "published_growth",
    "quotas",
    "reserves",
    "sources",
]

#: Those of them whose bare name gives one row per series and period.
SERIES_TABLES = ["exports", "prices", "production", "quotas", "reserves"]


def binary() -> Path:
    """The `didymium` under test: $DIDYMIUM_BIN, else the dev build."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    target = Path(os.environ.get("CARGO_TARGET_DIR") or cache / "didymium" / "target")
    path = Path(os.environ.get("DIDYMIUM_BIN") or target / "debug" / "didymium")
    assert path.is_file(), f"{path} is missing: build it, or set DIDYMIUM_BIN"
    return path


def run(*arguments: object, stdin: str | None = None) -> subprocess.CompletedProcess[str]:
    """Runs one `didymium` command to its end; the caller judges the exit code."""
    command = [str(binary()), *map(str, arguments)]
    return subprocess.run(command, input=stdin, capture_output=True, text=True, timeout=PATIENCE_S, check=False)


def init(store: Path) -> Path:
    """A new store with the built-in tables and the shipped figures."""
    done = run("init", "--store", store)
    assert done.returncode == 0, done.stderr
    return store


def create_token(store: Path, name: str, role: str = "read", *options: str) -> str:
    """A new token of a store."""
    done = run("token", "create", name, "--role", role, *options, "--store", store)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


class Shows(
    grpc.UnaryUnaryClientInterceptor,
    grpc.UnaryStreamClientInterceptor,
    grpc.StreamUnaryClientInterceptor,
    grpc.StreamStreamClientInterceptor,
):
    """Shows a token with every call of a channel."""

    def __init__(self, token: str) -> None:
        self._shown = ("authorization", f"Bearer {token}")

    def _intercept(self, continuation: Any, details: grpc.ClientCallDetails, request: Any) -> Any:
        metadata = [*(details.metadata or ()), self._shown]
        return continuation(details._replace(metadata=metadata), request)

    intercept_unary_unary = intercept_unary_stream = _intercept
    intercept_stream_unary = intercept_stream_stream = _intercept


class Server:
    """A real server on a free port, with what it wrote.

    Its channel speaks TLS where the server does, trusts `authority`, and shows `token` if there is one.
    """

    def __init__(
        self,
        store: Path,
        log: Path,
        *options: str,
        listen: str = "127.0.0.1:0",
        token: str | None = None,
        authority: bytes | None = None,
    ) -> None:
        command = [str(binary()), "serve", "--store", str(store), "--listen", listen, *options]
        self.store = store
        self.log = log
        with log.open("w") as stderr:
            self.process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=stderr, text=True)
        try:
            line = self._first_line()
            assert line.startswith(("listening on grpc://", "listening on grpcs://")), f"printed {line!r}; log: {log.read_text()}"
        except BaseException:
            self.process.kill()
            self.process.wait()
            raise
        self.url = line.split()[-1]
        scheme, _, self.target = self.url.partition("://")
        if scheme == "grpcs":
            self.channel = grpc.secure_channel(self.target, grpc.ssl_channel_credentials(authority))
        else:
            self.channel = grpc.insecure_channel(self.target)  # without options, as a stock client has it
        if token is not None:
            self.channel = grpc.intercept_channel(self.channel, Shows(token))
        self.stub = query_pb2_grpc.QueryServiceStub(self.channel)

    def _first_line(self) -> str:
        lines: queue.Queue[str] = queue.Queue()
        threading.Thread(target=lambda: lines.put(self.process.stdout.readline()), daemon=True).start()
        return lines.get(timeout=PATIENCE_S)

    def query(self, sql: str, **options: Any) -> Answer:
        """Runs one statement to its end; see `query`."""
        return query(self.stub, sql, **options)

    def cpu_s(self) -> float:
        """Processor seconds that the server has used so far."""
        times = psutil.Process(self.process.pid).cpu_times()
        return times.user + times.system

    def assert_lives(self) -> None:
        """The process runs and answers."""
        assert self.process.poll() is None, f"the server died: {self.log.read_text()[-2000:]}"
        assert self.query("select 1").rows == [(1,)]

    def ask_to_stop(self) -> None:
        """Sends what an operator's service manager sends."""
        self.process.send_signal(signal.SIGTERM)

    def wait(self, patience_s: float = PATIENCE_S) -> int:
        """The exit code of a server that was asked to stop; nothing may have gone wrong unseen."""
        try:
            code = self.process.wait(timeout=patience_s)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            self.process.stdout.close()
            raise
        with self.process.stdout as stdout:
            assert stdout.read() == "", "more than one line on stdout"
        assert "panicked" not in self.log.read_text(), self.log.read_text()[-3000:]
        self.channel.close()
        return code

    def stop(self) -> None:
        """Hangs up and stops the server, which must end well."""
        self.channel.close()
        self.ask_to_stop()
        assert self.wait() == 0

    @property
    def stopped(self) -> bool:
        """Whether the process is gone and was waited for."""
        return self.process.stdout.closed


def wide_row(size: int) -> str:
    """A SELECT list of that many bytes: no single value that a function makes may be so large."""
    part = MIB // 4
    assert size % part == 0
    return ", ".join(f"repeat('x', {part}) as c{number}" for number in range(size // part))


@dataclass
class Answer:
    """Everything that one query sent."""

    messages: list[query_pb2.QueryResponse] = field(default_factory=list)

    @property
    def kinds(self) -> list[str]:
        """What each message is, in order."""
        return [message.WhichOneof("payload") for message in self.messages]

    @property
    def header(self) -> query_pb2.Header:
        return self.messages[0].header

    @property
    def summary(self) -> query_pb2.Summary:
        return self.messages[-1].summary

    @property
    def table(self) -> pa.Table:
        """The rows, read as the one Arrow IPC stream that the .proto promises."""
        return pa.ipc.open_stream(b"".join(message.arrow_ipc for message in self.messages)).read_all()

    @property
    def rows(self) -> list[tuple]:
        """The rows as tuples."""
        return list(zip(*(column.to_pylist() for column in self.table.columns), strict=True))


def request(sql: str, timeout_s: float | None = None, **fields: Any) -> query_pb2.QueryRequest:
    """A request, with the server's time limit when one is given, and other fields by their names."""
    message = query_pb2.QueryRequest(sql=sql, **fields)
    if timeout_s is not None:
        message.timeout.FromTimedelta(timedelta(seconds=timeout_s))
    return message


def query(
    stub: query_pb2_grpc.QueryServiceStub,
    sql: str,
    *,
    timeout_s: float | None = None,
    deadline_s: float = PATIENCE_S,
    **fields: Any,
) -> Answer:
    """Runs one statement to its end: `timeout_s` goes to the server in the request, `deadline_s` is the call's own."""
    return Answer(list(stub.Query(request(sql, timeout_s, **fields), timeout=deadline_s)))


@dataclass
class Failure:
    """How a query failed, and after how many messages and seconds."""

    code: grpc.StatusCode
    message: str
    info: error_details_pb2.ErrorInfo | None
    before: Answer
    seconds: float


def failure(
    stub: query_pb2_grpc.QueryServiceStub,
    sql: str,
    *,
    timeout_s: float | None = None,
    deadline_s: float = PATIENCE_S,
    **fields: Any,
) -> Failure:
    """Runs a statement that must fail."""
    answer = Answer()
    start = time.monotonic()
    try:
        for message in stub.Query(request(sql, timeout_s, **fields), timeout=deadline_s):
            answer.messages.append(message)
    except grpc.RpcError as error:
        seconds = time.monotonic() - start
        status = rich_status(error)
        message = status.message if status else error.details()
        return Failure(error.code(), message, error_info(error), answer, seconds)
    raise AssertionError(f"{sql[:100]!r} must fail; it gave {answer.rows[:5]}")


def rich_status(error: grpc.RpcError) -> status_pb2.Status | None:
    """The google.rpc.Status of an error. Not by grpc_status: that wants the call's own text to be equal, and grpc leaves
    this one encoded where the client's clock ends the call at the same moment."""
    for key, value in error.trailing_metadata() or ():
        if key == "grpc-status-details-bin":
            return status_pb2.Status.FromString(value)
    return None


def error_info(error: grpc.RpcError) -> error_details_pb2.ErrorInfo | None:
    """The google.rpc.ErrorInfo among the details of an error."""
    status = rich_status(error)
    for detail in status.details if status else ():
        info = error_details_pb2.ErrorInfo()
        if detail.Unpack(info):
            return info
    return None


def retry_delay(error: grpc.RpcError) -> timedelta:
    """When the client may come again, as google.rpc.RetryInfo says it; zero where it says nothing."""
    status = rich_status(error)
    for detail in status.details if status else ():
        info = error_details_pb2.RetryInfo()
        if detail.Unpack(info):
            return info.retry_delay.ToTimedelta()
    return timedelta(0)
