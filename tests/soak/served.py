"""A server as an operator runs it, with a canary and samples of its memory."""

from __future__ import annotations

import os
import statistics
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import grpc
import psutil

import harness
from certificates import Authority
from didymium.v1 import ingest_pb2, ingest_pb2_grpc, query_pb2_grpc
from harness import MIB
from report import Report

CEILING_BYTES = 2048 * MIB

OPTIONS = {
    "--memory-ceiling": "2GiB",
    "--memory": "512MiB",
    "--query-memory": "256MiB",
    "--max-running": "8",
    "--max-waiting": "32",
    "--query-timeout": "30s",
    "--max-refused": "1000000",
}

CANARY = "select stage, count(*) as batches from quotas group by stage order by stage"


class Served:
    """The server and its callers. The store and what is spilled lie in the folder, if not in others."""

    def __init__(self, folder: Path, report: Report, store: Path | None = None, spill: Path | None = None) -> None:
        self.folder = folder
        self.report = report
        self.tells = report.tells
        self.spill = spill or folder / "spill"
        self.spill.mkdir(exist_ok=True)
        self.store = harness.init(store or folder / "store")
        self.authority = Authority("An authority of the soak")
        self.certificate, self.key = folder / "server.pem", folder / "server.key"
        self.authority.issue().write(self.certificate, self.key)
        names = ("canary", "a", "b")
        self.tokens = {name: harness.create_token(self.store, name, "write") for name in names}
        self.tokens["admin"] = harness.create_token(self.store, "admin", "admin")
        os.environ["TMPDIR"] = str(self.spill)
        options = [word for option in OPTIONS.items() for word in option]
        tls = ["--tls-cert", str(self.certificate), "--tls-key", str(self.key)]
        self.server = harness.Server(
            self.store,
            folder / "server.log",
            "--auth",
            "token",
            *options,
            *tls,
            token=self.tokens["admin"],
            authority=self.authority.certificate,
        )
        del os.environ["TMPDIR"]
        self.process = psutil.Process(self.server.process.pid)
        self.server.assert_lives()
        self.idle_files = self.process.num_fds()
        self.seconds: list[float] = []
        self.failed: list[str] = []
        self.most = 0
        self._over = threading.Event()
        self._threads = [threading.Thread(target=work, daemon=True) for work in (self._sing, self._sample)]

    def __enter__(self) -> Served:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        for thread in self._threads:
            thread.join()
        if not self.server.stopped:
            self.server.process.kill()
            self.server.process.wait()

    def channel(self, token: str) -> grpc.Channel:
        """A connection of its own that shows a token."""
        credentials = grpc.ssl_channel_credentials(self.authority.certificate)
        channel = grpc.secure_channel(self.server.target, credentials, [("grpc.use_local_subchannel_pool", 1)])
        return grpc.intercept_channel(channel, harness.Shows(token))

    def stub(self, name: str) -> query_pb2_grpc.QueryServiceStub:
        """Whoever of this name asks."""
        return query_pb2_grpc.QueryServiceStub(self.channel(self.tokens[name]))

    def _sing(self) -> None:
        stub = self.stub("canary")
        expected = harness.query(stub, CANARY).rows
        while not self._over.wait(0.25):
            start = time.monotonic()
            try:
                answered = harness.query(stub, CANARY).rows
                if answered != expected:
                    self.failed.append(f"answered {answered}")
            except grpc.RpcError as error:
                self.failed.append(f"{error.code().name}: {error.details()}")
            self.seconds.append(time.monotonic() - start)

    def _sample(self) -> None:
        while not self._over.wait(0.02):
            try:
                self.most = max(self.most, self.process.memory_info().rss)
            except psutil.NoSuchProcess:
                return

    @property
    def resident(self) -> int:
        return self.process.memory_info().rss

    def settled(self) -> int:
        """The memory that is held once the system has back what it gets back."""
        held = self.resident
        while True:
            time.sleep(2)
            if (now := self.resident) > held - MIB:
                return now
            held = now

    def creates(self, declaration: str) -> None:
        """A table, as an operator makes one."""
        file = self.folder / "table.toml"
        file.write_text(declaration)
        made = harness.run("table", "create", file, "--store", self.store)
        assert made.returncode == 0, made.stderr

    @contextmanager
    def peak(self) -> Iterator[list[int]]:
        """The most memory meanwhile, in bytes, as the list's one item afterwards."""
        found: list[int] = []
        self.most = self.resident
        yield found
        time.sleep(0.05)
        found.append(self.most)

    def ends(self) -> None:
        """What every group must leave behind."""
        time.sleep(2)
        after = len(self.seconds)
        time.sleep(5)
        during, calm = self.seconds[:after], self.seconds[after:]
        refused = [it for it in self.failed if not it.startswith("RESOURCE_EXHAUSTED: the server is short of memory")]
        self.tells(
            "each",
            not refused and max(calm) < 1,
            f"canary {len(during)} times: {spread(during)}, afterwards "
            f"{statistics.median(calm) * 1e3:.0f} ms; {len(self.failed)} failed {sorted(set(refused))[:3]}",
        )
        left = [file.name for file in self.spill.rglob("*") if file.is_file()]
        files = self.process.num_fds()
        self.tells("each", not left, f"{len(left)} spill files left; {self.idle_files} open files before, {files} after")
        self._over.set()
        text = self.server.log.read_text()
        alive = self.server.process.poll() is None
        self.tells("each", alive and "panicked at" not in text, f"the process {'lives' if alive else 'died'}, no panic in its log")
        self.server.channel.close()
        if alive:
            self.server.ask_to_stop()
            self.server.process.wait(timeout=harness.PATIENCE_S)
        if self.server.process.stdout is not None:
            self.server.process.stdout.close()


class End(NamedTuple):
    """The code and the words with which a call ends."""

    code: str
    message: str


def asked(stub: query_pb2_grpc.QueryServiceStub, sql: str, patience_s: float = 120) -> End:
    """How a statement ends; its rows are thrown away."""
    try:
        for _ in stub.Query(harness.request(sql), timeout=patience_s):
            pass
    except grpc.RpcError as error:
        return End(str(error.code().name), str(error.details()))
    return End("OK", "")


def outcome(stub: query_pb2_grpc.QueryServiceStub, sql: str, patience_s: float = 120) -> str:
    """The code with which a statement ends."""
    return asked(stub, sql, patience_s).code


def load(stub: ingest_pb2_grpc.IngestServiceStub, table: str, csv: str) -> End:
    """Loads a file of this text."""
    text = csv.encode()
    parts = [
        ingest_pb2.IngestRequest(header=ingest_pb2.IngestHeader(table=table)),
        ingest_pb2.IngestRequest(file=ingest_pb2.FileHeader(name="a.csv")),
        *(ingest_pb2.IngestRequest(chunk=text[at : at + MIB]) for at in range(0, len(text), MIB)),
    ]
    try:
        stub.Ingest(iter(parts), timeout=harness.PATIENCE_S)
    except grpc.RpcError as error:
        return End(str(error.code().name), str(error.details()))
    return End("OK", "")


def p99(seconds: list[float]) -> float:
    return sorted(seconds)[int(len(seconds) * 0.99)] if seconds else 0.0


def spread(seconds: list[float]) -> str:
    """The middle and the slow end."""
    return f"p50 {statistics.median(seconds or [0]) * 1e3:.0f} ms, p99 {p99(seconds) * 1e3:.0f} ms"
