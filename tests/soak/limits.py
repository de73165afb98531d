"""Group L: overload and limits."""

from __future__ import annotations

import statistics
import subprocess
import sys
import time
from argparse import Namespace
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import grpc

import full_disk
import harness
import mixed
from bombs import BOMBS, MAPPED, TIMELESS
from harness import MIB
from served import CEILING_BYTES, Served, asked, outcome
from test_overload import LARGE, is_running


def run(served: Served, options: Namespace) -> None:
    bombs(served)
    time_runs_out(served)
    flood(served)
    large_result(served)
    unread(served)
    full_disk.run(served)
    mixed.run(served, options.minutes)


def bombs(served: Served) -> None:
    """L1: alone, then eight at once; what is not counted by the pool must stay below the ceiling all the same."""
    stub = served.stub("a")
    for name, sql in BOMBS.items():
        start = time.monotonic()
        with served.peak() as peak:
            code, message = asked(stub, sql)
        seconds = time.monotonic() - start
        unmapped = "" if code in MAPPED else f": {message[:200]}"
        is_right = not unmapped and peak[0] < CEILING_BYTES
        served.tells("L1", is_right, f"{name}: {code} in {seconds:.1f} s, at most {peak[0] / MIB:.0f} MiB{unmapped}")
    with served.peak() as peak, ThreadPoolExecutor(8) as pool:
        codes = Counter(pool.map(lambda sql: outcome(stub, sql), list(BOMBS.values())))
    served.tells("L1", set(codes) <= MAPPED and peak[0] < CEILING_BYTES, f"eight at once: {dict(codes)}, at most {peak[0] / MIB:.0f} MiB")


def time_runs_out(served: Served) -> None:
    """L2: by the request's limit and by the call's deadline."""
    stub = served.stub("a")
    for name, sql in TIMELESS.items():
        for limit_s, fields in ((5.0, {"timeout_s": 5.0}), (1.0, {"deadline_s": 1.0})):
            failed = harness.failure(stub, sql, **fields)
            late_s = failed.seconds - limit_s
            served.tells("L2", failed.code.name == "DEADLINE_EXCEEDED" and late_s < 1, f"{name}: {failed.code.name} {late_s * 1e3:.0f} ms after {limit_s:.0f} s")


def flood(served: Served) -> None:
    """L4: one caller floods; another's call starts all the same, and who is refused knows at once when to come again."""
    flooding, other = served.stub("a"), served.stub("b")
    refused: list[float] = []
    delays: list[timedelta] = []

    def ask(_: int) -> str:
        start = time.monotonic()
        try:
            harness.query(flooding, "select count(*) from generate_series(1, 100000000)")
        except grpc.RpcError as error:
            if error.code() == grpc.StatusCode.RESOURCE_EXHAUSTED:
                refused.append(time.monotonic() - start)
                delays.extend(delay for delay in [harness.retry_delay(error)] if delay)
            return str(error.code().name)
        return "OK"

    with ThreadPoolExecutor(200) as pool:
        calls = pool.map(ask, range(200))
        time.sleep(0.5)
        start = time.monotonic()
        harness.query(other, "select 1")
        seconds = time.monotonic() - start
        codes = Counter(calls)
    median_ms = statistics.median(refused) * 1e3 if refused else 0.0
    measured = f"200 calls: {dict(codes)}, refused after {median_ms:.0f} ms (median); another's call took {seconds:.2f} s"
    served.tells("L4", seconds <= 2 and set(codes) <= {"OK", "RESOURCE_EXHAUSTED"}, measured)
    span = f", of {min(delays)} to {max(delays)}" if delays else ""
    served.tells("L4", bool(refused) and len(delays) == len(refused), f"{len(refused)} refusals, {len(delays)} with a RetryInfo{span}")


def large_result(served: Served) -> None:
    """500 MB by the plain stub."""
    sql = "select x, repeat('abcdefgh', 12) || x as s from generate_series(1, 5000000) t(x)"
    idle, start = served.resident, time.monotonic()
    with served.peak() as peak:
        size = sum(len(message.arrow_ipc) for message in served.stub("a").Query(harness.request(sql), timeout=600))
    rise = peak[0] - idle
    served.tells("L5", size > 500_000_000 and rise < 256 * MIB, f"{size / 1e6:.0f} MB in {time.monotonic() - start:.0f} s, {rise / MIB:.0f} MiB above idle")


READER = """
import sys, time, grpc, harness
from didymium.v1 import query_pb2_grpc
target, token, authority, sql = sys.argv[1:]
channel = grpc.secure_channel(target, grpc.ssl_channel_credentials(open(authority, "rb").read()))
call = query_pb2_grpc.QueryServiceStub(grpc.intercept_channel(channel, harness.Shows(token))).Query(harness.request(sql))
next(call)
print("reading", flush=True)
time.sleep(600)
"""


def unread(served: Served) -> None:
    """L5: a reader that pauses, one that is killed, and one that pauses among long rows."""
    authority = served.folder / "authority.pem"
    authority.write_bytes(served.authority.certificate)
    for way, row_bytes in (("paused", 800), ("killed", 800), ("paused", 8000)):
        sql = LARGE.replace("100)", f"{row_bytes // 8})").replace("1000000000", str(400_000_000 // row_bytes))
        # The first run of any plan grows what the allocator keeps, and that is not the reader's doing.
        warmed = outcome(served.stub("b"), sql)
        idle = served.settled()
        command = [sys.executable, "-c", READER, served.server.target, served.tokens["b"], str(authority), sql]
        with served.peak() as peak:
            reader = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
            assert reader.stdout is not None
            assert reader.stdout.readline() == "reading\n"
            if way == "killed":
                reader.kill()
            start, held = time.monotonic(), [served.resident]
            while is_running(served.server, sql) and time.monotonic() - start < 90:
                time.sleep(0.1)
                held.append(served.resident)
        seconds, rise, mostly = time.monotonic() - start, peak[0] - idle, statistics.median(held) - idle
        is_right = warmed == "OK" and seconds < 61 and rise <= 32 * MIB
        measured = f"a reader of rows of {row_bytes} bytes that is {way}: at most {rise / MIB:.0f} MiB and mostly {mostly / MIB:.0f} more than {idle / MIB:.0f}"
        served.tells("L5", is_right, f"{measured}, its place is free after {seconds:.1f} s")
        reader.kill()
        reader.wait()
