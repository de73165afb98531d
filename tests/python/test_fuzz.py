"""Every function with extreme arguments: a result or an error that is the caller's, and a server that lives.

The arguments come from fixed seeds, so a failure repeats. FUZZ_ROUNDS=100 makes it a search of half an hour.
"""

import os
import random
import threading
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import grpc
import psutil
import pytest
from grpc import StatusCode

import harness
from harness import Server

ROUNDS = int(os.environ.get("FUZZ_ROUNDS", "1"))

#: Calls of each function with arguments of a shape that it takes, in one round.
CALLS = 12

#: What may come of a statement that is wrong, too large or too slow. INTERNAL is a fault of ours.
THE_CALLERS = {
    StatusCode.INVALID_ARGUMENT,
    StatusCode.OUT_OF_RANGE,
    StatusCode.RESOURCE_EXHAUSTED,
    StatusCode.UNIMPLEMENTED,
    StatusCode.DEADLINE_EXCEEDED,
}

#: The process may not grow beyond this, whatever is asked.
CEILING_BYTES = 6 * 1024 * harness.MIB

NUMBERS = [
    "NULL",
    "0",
    "1",
    "-1",
    "2",
    "100",
    "3000000000",
    "9223372036854775807",
    "-9223372036854775808",
    "CAST(255 AS TINYINT UNSIGNED)",
    "CAST(-128 AS TINYINT)",
    "1e308",
    "-1e-308",
    "0.1",
    "CAST('NaN' AS DOUBLE)",
    "CAST('inf' AS DOUBLE)",
    "CAST('-inf' AS DOUBLE)",
    "CAST('99999999999999999999999999999999999999' AS DECIMAL(38,0))",
    "CAST('0.00000000000000000000000000000000000001' AS DECIMAL(38,38))",
    "n",
    "x",
]
TEXTS = [
    "NULL",
    "''",
    "'x'",
    "'稀土 𝄞 é'",
    "'%'",
    "'(((((a*)*)*)*)*)$'",
    "'\\1'",
    "repeat('ab', 50000)",
    "X'00ff'",
    "arrow_cast('x', 'Dictionary(Int32, Utf8)')",
    "'month'",
    "'hex'",
    "s",
]
TIMES = [
    "NULL",
    "DATE '1970-01-01'",
    "DATE '2024-02-29'",
    "DATE '0001-01-01'",
    "DATE '9999-12-31'",
    "arrow_cast(arrow_cast(2147483647, 'Int32'), 'Date32')",
    "TIMESTAMP '2024-02-29T23:59:59.999999999'",
    "arrow_cast(9223372036854775807, 'Timestamp(Nanosecond, None)')",
    "arrow_cast(-9223372036854775808, 'Timestamp(Second, None)')",
    "arrow_cast(0, 'Timestamp(Microsecond, Some(\"Asia/Shanghai\"))')",
    "TIME '23:59:59'",
    "d",
]
INTERVALS = [
    "INTERVAL '1 month'",
    "INTERVAL '0 days'",
    "INTERVAL '-2000000000 months'",
    "INTERVAL '1 day 1 nanosecond'",
    "arrow_cast(9223372036854775807, 'Duration(Nanosecond)')",
]
LISTS = [
    "[1, NULL, 3]",
    "[]",
    "[[1], [], NULL]",
    "['a', NULL]",
    "range(0, 20000)",
    "[n, n]",
    "[x]",
]
OTHERS = ["true", "struct(1, 'a')", "MAP {'a': 1, 'b': NULL}"]

ANYTHING = NUMBERS + TEXTS + TIMES + INTERVALS + LISTS + OTHERS

#: What functions take. Each function is called with all of them, and more often with those that it accepts.
SHAPES = [
    *([ANYTHING] * count for count in (1, 2, 2, 3, 3, 4)),
    [],
    [NUMBERS],
    [NUMBERS, NUMBERS],
    [TEXTS],
    [TEXTS, TEXTS],
    [TEXTS, NUMBERS],
    [TEXTS, TEXTS, TEXTS],
    [TEXTS, NUMBERS, TEXTS],
    [TEXTS, NUMBERS, NUMBERS],
    [TIMES],
    [TEXTS, TIMES],
    [TIMES, TEXTS],
    [INTERVALS, TIMES],
    [INTERVALS, TIMES, TIMES],
    [NUMBERS, TIMES],
    [NUMBERS, TIMES, TIMES],
    [NUMBERS, TIMES, INTERVALS],
    [NUMBERS, TIMES, TIMES, INTERVALS],
    [TIMES, TIMES, INTERVALS],
    [LISTS],
    [LISTS, LISTS],
    [LISTS, NUMBERS],
    [LISTS, TEXTS],
    [NUMBERS, LISTS],
    [LISTS, NUMBERS, NUMBERS],
]

ROWS = """(VALUES
    (CAST(1 AS BIGINT), 1.5e0, 'a', DATE '2024-01-31'),
    (9223372036854775807, CAST('inf' AS DOUBLE), '稀土', DATE '0001-01-01'),
    (-9223372036854775808, -0.0e0, '', DATE '9999-12-31'),
    (NULL, NULL, NULL, NULL),
    (0, 5e-324, 'b', arrow_cast(arrow_cast(2147483647, 'Int32'), 'Date32'))) AS t(n, x, s, d)"""


@pytest.fixture
def limited(serve: Any, store: Path) -> Server:
    """A server that answers fast or not at all."""
    return serve(store, "--query-timeout", "2s", "--memory", "256MiB")


def statement(kind: str, name: str, shape: list[list[str]], chance: random.Random) -> str:
    call = f'"{name}"({", ".join(chance.choice(pool) for pool in shape)})'
    if kind == "TABLE":
        return f"SELECT count(*) FROM {call}"
    if kind == "SCALAR":
        return f"SELECT {call} AS result FROM {ROWS}"
    over = chance.choice(["OVER ()", "OVER (ORDER BY d)", "OVER (PARTITION BY s ORDER BY n DESC)"])
    if kind == "WINDOW":
        return f"SELECT {call} {over} AS result FROM {ROWS}"
    over = chance.choice(["", "", over, "OVER (ORDER BY n ROWS BETWEEN 1 PRECEDING AND CURRENT ROW)"])
    return f"SELECT {call} {over} AS result FROM {ROWS}"


class Fuzz:
    """What came of all calls so far."""

    def __init__(self, server: Server) -> None:
        self.server = server
        self.outcomes: Counter[StatusCode] = Counter()
        self.faults: list[str] = []

    def function(self, kind: str, name: str) -> None:
        """Calls one function in every shape, then with what it takes."""
        chance = random.Random(name)
        accepted = [shape for shape in SHAPES if self.call(statement(kind, name, shape, chance)) == StatusCode.OK]
        for _ in range(CALLS * ROUNDS if accepted else 0):
            self.call(statement(kind, name, chance.choice(accepted), chance))

    def call(self, sql: str) -> StatusCode:
        try:
            self.server.query(sql)
            code = StatusCode.OK
        except grpc.RpcError as error:
            code = error.code()
            if code not in THE_CALLERS:
                self.faults.append(f"{code.name}: {error.details()}\n    {sql}")
        self.outcomes[code] += 1
        return code


@contextmanager
def largest_size(server: Server) -> Iterator[list[int]]:
    """Watches how large the server's process becomes."""
    largest = [0]
    over = threading.Event()

    def watch() -> None:
        process = psutil.Process(server.process.pid)
        while not over.wait(0.05) and server.process.poll() is None:
            largest[0] = max(largest[0], process.memory_info().rss)

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        yield largest
    finally:
        over.set()
        watcher.join()


def test_no_function_brings_the_server_down(limited: Server) -> None:
    routines = limited.query("SELECT DISTINCT function_type, routine_name FROM information_schema.routines").rows
    assert len(routines) > 300
    fuzz = Fuzz(limited)
    with largest_size(limited) as largest, ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda routine: fuzz.function(*routine), sorted(routines)))
    assert not fuzz.faults, f"{len(fuzz.faults)} faults of ours:\n" + "\n".join(fuzz.faults[:20])
    limited.assert_lives()
    assert largest[0] < CEILING_BYTES
    # The fuzz is worth something only while many of its calls are right.
    assert fuzz.outcomes[StatusCode.OK] > fuzz.outcomes.total() / 5, fuzz.outcomes
