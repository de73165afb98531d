"""Group A: authentication and authorisation."""

from __future__ import annotations

import statistics
import threading
import time
from argparse import Namespace
from collections import Counter

import grpc

import harness
from didymium.v1 import query_pb2_grpc
from served import Served
from test_access import CALLS, change


def run(served: Served, _: Namespace) -> None:
    strangers(served)
    as_long_for_all(served)
    rotation(served)


def strangers(served: Served) -> None:
    """A1: every call, by everybody who should not be let in, a hundred times."""
    store = served.store
    revoked = harness.create_token(store, "revoked", "admin")
    assert harness.run("token", "revoke", revoked.split("_")[1], "--store", store).returncode == 0
    expired, later = (harness.create_token(store, name, "admin") for name in ("expired", "later"))
    change(store, expired, expires_ms=time.time() * 1000 - 1)
    change(store, later, valid_from_ms=(time.time() + 3600) * 1000)
    shown = {"none": None, "malformed": "didymium", "revoked": revoked, "expired": expired, "not yet valid": later}
    codes: Counter[str] = Counter()
    channel = grpc.secure_channel(served.server.target, grpc.ssl_channel_credentials(served.authority.certificate))
    for service, calls in CALLS.items():
        for name in calls:
            call = channel.stream_stream(f"/{service}/{name}")
            for token in shown.values():
                metadata = [("authorization", f"Bearer {token}")] if token else []
                for _ in range(100):
                    answer = call(iter([b""]), metadata=metadata, timeout=60)
                    try:
                        list(answer)
                        codes["OK"] += 1
                    except grpc.RpcError as error:
                        codes[error.code().name] += 1
    served.tells("A1", set(codes) == {"UNAUTHENTICATED"}, f"{sum(map(len, CALLS.values()))} calls by {len(shown)} kinds of strangers, 100 times each: {dict(codes)}")


def as_long_for_all(served: Served) -> None:
    """A1: nobody learns from the time whether a token's id exists."""
    good = served.tokens["b"]
    last = "A" if good[-1] != "A" else "B"
    shown = {"unknown": f"didymium_{'0' * 12}_{good.split('_', 2)[2]}", "wrong": good[:-1] + last}
    stubs = {name: query_pb2_grpc.QueryServiceStub(served.channel(token)) for name, token in shown.items()}
    times: dict[str, list[float]] = {name: [] for name in shown}
    for _ in range(2000):
        for name, stub in stubs.items():
            start = time.perf_counter()
            harness.failure(stub, "select 1")
            times[name].append(time.perf_counter() - start)
    unknown, wrong = (statistics.median(times[name]) * 1e6 for name in shown)
    served.tells("A1", abs(wrong / unknown - 1) < 0.2, f"refused after {unknown:.0f} µs for an unknown id, {wrong:.0f} µs for a wrong secret (medians)")


def rotation(served: Served) -> None:
    """A4: certificates change ten times under load, and no call fails."""
    over = threading.Event()
    codes: Counter[str] = Counter()

    def ask(fresh: bool) -> None:
        stub = served.stub("a")
        while not over.is_set():
            if fresh:
                stub = served.stub("a")
            try:
                harness.query(stub, "select count(*) from quotas")
                codes["OK"] += 1
            except grpc.RpcError as error:
                codes[f"{error.code().name} {error.details()}"] += 1

    workers = [threading.Thread(target=ask, args=(fresh,)) for fresh in (True, True, False)]
    for worker in workers:
        worker.start()
    for _ in range(10):
        time.sleep(1)
        served.authority.issue().write(served.certificate, served.key)
    time.sleep(1)
    over.set()
    for worker in workers:
        worker.join()
    served.tells("A4", set(codes) == {"OK"}, f"the certificate changed 10 times: {dict(codes)}")
