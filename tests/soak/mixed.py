"""L9: queries, loads, bombs and cancels together, for a while."""

from __future__ import annotations

import random
import statistics
import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor

import harness
from bombs import BOMBS, MAPPED, TIMELESS
from didymium.v1 import ingest_pb2_grpc
from harness import MIB
from served import Served, load, outcome, p99, spread

CALLERS = 6

TABLE = """
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

#: What the loads have made of the table: its files and its version.
GROWN = """select (select count(*) from system.files where table_name = 'soaked') as files,
    (select version from system.tables where table_name = 'soaked') as version"""

#: For shorter than this, neither the slope of the memory nor the times are held to anything.
JUDGED_MINUTES = 60


def run(served: Served, minutes: float) -> None:
    """The mix, with a line per quarter of its time and one for the whole."""
    served.creates(TABLE)
    mix = Mix(served)
    with ThreadPoolExecutor(CALLERS + 1) as pool:
        working = [pool.submit(mix.calls, seed) for seed in range(CALLERS)] + [pool.submit(mix.samples)]
        quarters = [mix.quarter(number, minutes / 4) for number in range(1, 5)]
        mix.over.set()
    for it in working:
        it.result()
    unmapped = [code for code in mix.codes if code.split()[-1] not in {*MAPPED, "cancel"}]
    served.tells("L9", not unmapped, f"{CALLERS} callers for {minutes:g} min: {dict(sorted(mix.codes.items()))}")
    later = [(at, held) for at, held in mix.held if at > mix.held[0][0] + minutes / 4]
    slope = statistics.linear_regression(*zip(*later, strict=True)).slope if len(later) > 2 else 0.0
    second, last = quarters[1], quarters[3]
    is_right = minutes < JUDGED_MINUTES or (slope < 1 and last <= 1.3 * second)
    measured = f"memory {slope:+.2f} MiB a minute after the first quarter"
    served.tells("L9", is_right, f"{measured}; p99 of queries {second * 1e3:.0f} ms in the second quarter, {last * 1e3:.0f} ms in the last")


class Mix:
    """What the callers do, and what was seen of it."""

    def __init__(self, served: Served) -> None:
        self._served = served
        self.over = threading.Event()
        self.codes: Counter[str] = Counter()
        self.seconds: list[float] = []
        #: Minutes, and the MiB that the server held then.
        self.held: list[tuple[float, float]] = []

    def calls(self, seed: int) -> None:
        """One caller: mostly queries, then loads, now and then a bomb or a query that is left alone."""
        chance = random.Random(seed)
        stub = self._served.stub("a" if seed % 2 else "b")
        loading = ingest_pb2_grpc.IngestServiceStub(self._served.channel(self._served.tokens["a"]))
        while not self.over.is_set():
            kind, start = chance.random(), time.monotonic()
            if kind < 0.7:
                code = f"query {outcome(stub, chance.choice(QUERIES))}"
                self.seconds.append(time.monotonic() - start)
            elif kind < 0.9:
                row = f"n\n{chance.randrange(1 << 40)}\n"
                code = f"load {load(loading, 'soaked', row).code}"
            elif kind < 0.95:
                code = f"bomb {outcome(stub, chance.choice(list(BOMBS.values())), 5)}"
            else:
                call = stub.Query(harness.request(TIMELESS["counting"]), timeout=60)
                time.sleep(chance.random())
                call.cancel()
                code = "cancel"
            self.codes[code] += 1
            self.over.wait(chance.random() / 2)

    def samples(self) -> None:
        while not self.over.wait(1):
            self.held.append((time.monotonic() / 60, self._served.resident / MIB))

    def quarter(self, number: int, minutes: float) -> float:
        """Waits for a quarter's end and tells of it; gives the p99 of its queries, in seconds."""
        asked, sung, sampled = len(self.seconds), len(self._served.seconds), len(self.held)
        self.over.wait(minutes * 60)
        seconds, canary = self.seconds[asked:], self._served.seconds[sung:]
        held = [mib for _, mib in self.held[sampled:]]
        grown = harness.run("sql", "--store", self._served.store, "--format", "csv", "-c", GROWN)
        files, version = grown.stdout.split()[-1].split(",")
        memory = f"memory {min(held):.0f} to {max(held):.0f} MiB, median {statistics.median(held):.0f}"
        times = f"{len(seconds)} queries {spread(seconds)}, canary {spread(canary)}"
        self._served.tells("L9", True, f"quarter {number}: {memory}; {times}; {files} files, version {version}")
        return p99(seconds)
