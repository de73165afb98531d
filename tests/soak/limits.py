"""Group L: overload and limits."""

from __future__ import annotations

import random
import statistics
import subprocess
import sys
import threading
import time
from argparse import Namespace
from collections import Counter
from concurrent.futures import ThreadPoolExecutor

import grpc

import harness
from didymium.v1 import ingest_pb2, ingest_pb2_grpc
from harness import MIB
from served import CEILING_BYTES, Served, outcome
from test_overload import BOMBS as SMALL
from test_overload import LARGE, SHAPES, STREAMING, is_running

#: Heavy in memory, each in a way of its own.
BOMBS = {
    **{name: SMALL[name] for name in ("repeat", "IN")},
    "replace": "select length(replace(repeat('x', 1000000), 'x', repeat('y', 100)))",
    "concat": "select sum(length(concat(s, s, s, s))) from (select repeat('x', 250000 + x % 7) s from generate_series(1, 100000) t(x))",
    "window": "select sum(n) from (select row_number() over (order by x * 7919 % 1000003) n from generate_series(1, 50000000) t(x))",
    "array_agg window": "select sum(cardinality(l)) from (select array_agg(x) over (order by x) l from generate_series(1, 40000) t(x))",
    "cube": "select count(*) from (select 1 from generate_series(1, 200000) t(x) group by cube ({}))".format(
        ", ".join(f"x % {n}" for n in range(2, 10))
    ),
    "cube of 20": "select count(*) from generate_series(1, 10) t(x) group by cube ({})".format(", ".join(f"x % {n}" for n in range(2, 22))),
    "cross join": "select count(*) from (select a.x, b.x, c.x from generate_series(1, 100000) a(x), generate_series(1, 100000) b(x), "
    "generate_series(1, 100000) c(x) where a.x + b.x + c.x < 0)",
    "unnest": "select count(*) from (select unnest(range(1, 1000000)) from generate_series(1, 1000))",
    "distinct": "select count(distinct s) from (select lpad(cast(x as varchar), 500, 'x') s from generate_series(1, 5000000) t(x))",
    "hash join": "select count(*) from generate_series(1, 20000000) a(x) join generate_series(1, 20000000) b(y) on a.x = b.y",
}

MAPPED = {"OK", "RESOURCE_EXHAUSTED", "INVALID_ARGUMENT", "OUT_OF_RANGE", "DEADLINE_EXCEEDED", "CANCELLED", "UNIMPLEMENTED"}

TIMELESS = {
    **{name: SHAPES[name] for name in ("counting", "recursion", STREAMING)},
    "inequality join": SHAPES["inequality join"].replace("100000", "1000000"),
}


def run(served: Served, options: Namespace) -> None:
    bombs(served)
    time_runs_out(served)
    flood(served)
    large_result(served)
    unread(served)
    mix(served, options.minutes * 60)


def bombs(served: Served) -> None:
    """L1: alone, then eight at once; what is not counted by the pool must stay below the ceiling all the same."""
    stub = served.stub("a")
    for name, sql in BOMBS.items():
        start = time.monotonic()
        with served.peak() as peak:
            code = outcome(stub, sql)
        seconds = time.monotonic() - start
        served.tells("L1", code in MAPPED and peak[0] < CEILING_BYTES, f"{name}: {code} in {seconds:.1f} s, at most {peak[0] / MIB:.0f} MiB")
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
    """L4: one caller floods; another's call starts all the same, and who is refused knows at once."""
    flooding, other = served.stub("a"), served.stub("b")
    refused: list[float] = []

    def ask(_: int) -> str:
        start = time.monotonic()
        code = outcome(flooding, "select count(*) from generate_series(1, 100000000)")
        if code == "RESOURCE_EXHAUSTED":
            refused.append(time.monotonic() - start)
        return code

    with ThreadPoolExecutor(200) as pool:
        asked = pool.map(ask, range(200))
        time.sleep(0.5)
        start = time.monotonic()
        harness.query(other, "select 1")
        seconds = time.monotonic() - start
        codes = Counter(asked)
    median_ms = statistics.median(refused) * 1e3
    served.tells("L4", seconds <= 2 and set(codes) <= {"OK", "RESOURCE_EXHAUSTED"}, f"200 calls: {dict(codes)}, refused after {median_ms:.0f} ms (median); another's call took {seconds:.2f} s")


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
    """L5: a reader that pauses, and one that is killed."""
    authority = served.folder / "authority.pem"
    authority.write_bytes(served.authority.certificate)
    for way in ("paused", "killed"):
        idle = served.resident
        command = [sys.executable, "-c", READER, served.server.target, served.tokens["b"], str(authority), LARGE]
        with served.peak() as peak:
            reader = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
            assert reader.stdout is not None
            assert reader.stdout.readline() == "reading\n"
            if way == "killed":
                reader.kill()
            start = time.monotonic()
            while is_running(served.server, LARGE) and time.monotonic() - start < 90:
                time.sleep(0.1)
        seconds, rise = time.monotonic() - start, peak[0] - idle
        served.tells("L5", seconds < 61 and rise <= 32 * MIB, f"a reader that is {way}: {rise / MIB:.0f} MiB, its place is free after {seconds:.1f} s")
        reader.kill()
        reader.wait()


def mix(served: Served, seconds: float) -> None:
    """L9: queries, loads, bombs and cancels together, for a while."""
    table = served.folder / "soaked.toml"
    table.write_text(SOAKED)
    made = harness.run("table", "create", table, "--store", served.store)
    assert made.returncode == 0, made.stderr
    end = time.monotonic() + seconds
    codes: Counter[str] = Counter()
    took: list[tuple[float, float]] = []
    resident: list[tuple[float, int]] = []

    def work(seed: int) -> None:
        chance = random.Random(seed)
        stub = served.stub("a" if seed % 2 else "b")
        loading = ingest_pb2_grpc.IngestServiceStub(served.channel(served.tokens["a"]))
        while time.monotonic() < end:
            kind, start = chance.random(), time.monotonic()
            if kind < 0.7:
                code = outcome(stub, chance.choice(QUERIES))
                took.append((start, time.monotonic() - start))
                codes[f"query {code}"] += 1
            elif kind < 0.9:
                codes[f"load {load(loading, chance.randrange(1 << 40))}"] += 1
            elif kind < 0.95:
                codes[f"bomb {outcome(stub, chance.choice(list(BOMBS.values())), 5)}"] += 1
            else:
                call = stub.Query(harness.request(TIMELESS["counting"]), timeout=60)
                time.sleep(chance.random())
                call.cancel()
                codes["cancel"] += 1
            time.sleep(chance.random() / 2)

    def watch() -> None:
        while time.monotonic() < end:
            resident.append((time.monotonic(), served.resident))
            time.sleep(1)

    workers = [threading.Thread(target=work, args=(seed,)) for seed in range(4)] + [threading.Thread(target=watch)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    quarter = lambda n: [it for start, it in took if end - seconds * (5 - n) / 4 <= start < end - seconds * (4 - n) / 4]  # noqa: E731
    p99 = lambda times: sorted(times)[int(len(times) * 0.99)] if times else 0.0  # noqa: E731
    second, last = p99(quarter(2)), p99(quarter(4))
    later = [(at, rss) for at, rss in resident if at > end - seconds * 3 / 4]
    slope = statistics.linear_regression([at / 60 for at, _ in later], [rss / MIB for _, rss in later]).slope if len(later) > 2 else 0.0
    unmapped = [code for code in codes if code.split()[-1] not in {*MAPPED, "cancel"}]
    served.tells("L9", not unmapped, f"{seconds / 60:.0f} min: {dict(sorted(codes.items()))}")
    served.tells("L9", True, f"p99 of queries {second * 1e3:.0f} ms in the second quarter, {last * 1e3:.0f} ms in the last; memory {slope:+.1f} MiB a minute after the first")


SOAKED = """
name = "soaked"
kind = "plain"
description = "Rows of the soak."
key = ["n"]
columns = [{ name = "n", type = "int", description = "A number." }]
"""

QUERIES = [
    "select * from quotas",
    "select *, yoy(value, period_start, period_end) over (partition by series) as g from exports qualify g is not null",
    "select count(*), sum(n) from soaked",
    "select * from quota_execution(2024)",
    "select holder, sum(value) from quotas group by holder",
]


def load(stub: ingest_pb2_grpc.IngestServiceStub, number: int) -> str:
    """Loads one row."""
    parts = [
        ingest_pb2.IngestRequest(header=ingest_pb2.IngestHeader(table="soaked")),
        ingest_pb2.IngestRequest(file=ingest_pb2.FileHeader(name="a.csv")),
        ingest_pb2.IngestRequest(chunk=f"n\n{number}\n".encode()),
    ]
    try:
        stub.Ingest(iter(parts), timeout=60)
    except grpc.RpcError as error:
        return str(error.code().name)
    return "OK"
