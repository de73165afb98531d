"""A server as an operator runs it, with a canary, samples of its memory, and what was found out."""

from __future__ import annotations

import os
import statistics
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import grpc
import psutil

import harness
from certificates import Authority
from didymium.v1 import query_pb2_grpc
from harness import MIB

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
    """The server, its callers, and the items that were measured on it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.wrong = 0
        self.spill = folder / "spill"
        self.spill.mkdir()
        self.store = harness.init(folder / "store")
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

    def tells(self, item: str, is_right: bool, measured: str) -> None:
        """One line of the report."""
        self.wrong += not is_right
        print(f"{item:<5} {'ok    ' if is_right else 'NOT OK'} {measured}", flush=True)

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
        during, calm = sorted(self.seconds[:after]), sorted(self.seconds[after:])
        p99 = during[int(len(during) * 0.99)]
        refused = [it for it in self.failed if not it.startswith("RESOURCE_EXHAUSTED: the server is short of memory")]
        self.tells(
            "each",
            not refused and calm[-1] < 1,
            f"canary {len(during)} times: p50 {statistics.median(during) * 1e3:.0f} ms, p99 {p99 * 1e3:.0f} ms, "
            f"afterwards {statistics.median(calm) * 1e3:.0f} ms; {len(self.failed)} failed {sorted(set(refused))[:3]}",
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


def outcome(stub: query_pb2_grpc.QueryServiceStub, sql: str, patience_s: float = 120) -> str:
    """The code with which a statement ends; its rows are thrown away."""
    try:
        for _ in stub.Query(harness.request(sql), timeout=patience_s):
            pass
    except grpc.RpcError as error:
        return str(error.code().name)
    return "OK"
