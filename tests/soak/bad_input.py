"""Group B: bad input."""

from __future__ import annotations

import random
import re
import time
from argparse import Namespace
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq

import harness
from harness import MIB
from served import Served, outcome

TESTS = Path(__file__).parent.parent

#: What may come of a statement that is no good. INTERNAL and UNKNOWN are faults of ours.
MAPPED = {
    "OK",
    "INVALID_ARGUMENT",
    "NOT_FOUND",
    "ALREADY_EXISTS",
    "UNIMPLEMENTED",
    "OUT_OF_RANGE",
    "PERMISSION_DENIED",
    "RESOURCE_EXHAUSTED",
    "DEADLINE_EXCEEDED",
    "FAILED_PRECONDITION",
}


def run(served: Served, options: Namespace) -> None:
    mutated(served, options.statements)
    beyond_limits(served)
    beside_duckdb(served)


def statements() -> list[str]:
    """Every statement of the .slt files and of the corpus."""
    found = []
    for file in (TESTS / "sql").rglob("*.slt"):
        parts = re.split(r"^(?:query|statement)[^\n]*\n", file.read_text(), flags=re.MULTILINE)[1:]
        found += [re.split(r"^----|\n\n", part, flags=re.MULTILINE)[0].strip() for part in parts]
    return found + [it.strip() for it in (TESTS / "corpus.sql").read_text().split(";\n")]


def mutated(served: Served, count: int) -> None:
    """B1: pieces of statements left out, doubled, exchanged with others' and given extreme values."""
    chance = random.Random(7)
    pieces = [re.findall(r"\w+|'[^']*'|\s+|.", it) for it in statements() if it]
    extremes = ["NULL", "0", "-1", "9223372036854775807", "1e308", "''", "()", "over ()", "(", ")", ",", "select", "*", "$1", "'\U00010348'"]

    def mutate() -> str:
        words = list(chance.choice(pieces))
        for _ in range(chance.randint(1, 4)):
            at = chance.randrange(len(words))
            other = chance.choice(pieces)
            match chance.randrange(4):
                case 0:
                    del words[at]
                case 1:
                    words.insert(at, words[at])
                case 2:
                    words[at] = chance.choice(extremes)
                case _:
                    words[at] = other[chance.randrange(len(other))]
            if not words:
                return ""
        return "".join(words)

    stub = served.stub("a")
    codes: Counter[str] = Counter()
    bad: list[str] = []

    def ask(sql: str) -> None:
        code = outcome(stub, sql)
        codes[code] += 1
        if code not in MAPPED:
            bad.append(f"{code}: {sql[:300]}")

    start = time.monotonic()
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(ask, (mutate() for _ in range(count))))
    served.tells("B1", not bad, f"{count} mutated statements of {len(pieces)} in {time.monotonic() - start:.0f} s: {dict(codes)}")
    for it in bad[:10]:
        print("     ", it)


def beyond_limits(served: Served) -> None:
    """B2: what is too long or too deep is refused at once, and what is just allowed is right."""
    stub = served.stub("a")
    shapes = {f"{n} of {op}": f"select {op.join(['1'] * n)}" for op in ("+", "||") for n in (500, 2000, 20_000, 200_000)}
    shapes |= {f"{n} of {op}": f"select 1 where {f' {op} '.join(['1 = 1'] * n)}" for op in ("or", "and") for n in (500, 2000, 20_000)}
    shapes |= {
        "100,000 parentheses": "select " + "(" * 100_000 + "1" + ")" * 100_000,
        "2,000 UNION": " union ".join(["select 1"] * 2000),
        "25 levels of WITH": "with t0 as (select 1 n)"
        + "".join(f", t{n} as (select * from t{n - 1} union all select * from t{n - 1})" for n in range(1, 26))
        + " select count(*) from t25",
        "IN of 100,000": f"select 1 where 1 in ({','.join(['1'] * 100_000)})",
        "20,000 columns": "select " + ",".join(["1"] * 20_000),
        "a literal of 900 kB": f"select length('{'x' * 900_000}')",
    }
    for name, sql in shapes.items():
        with served.peak() as peak:
            before, start = served.resident, time.monotonic()
            code = outcome(stub, sql)
            seconds = time.monotonic() - start
        rise = (peak[0] - before) / MIB
        # What is allowed takes its time; what is refused must not.
        is_right = code == "OK" or (code == "INVALID_ARGUMENT" and seconds < 0.5 and rise < 100)
        served.tells("B2", is_right, f"{name}: {code} in {seconds:.2f} s, {rise:.0f} MiB more")
    served.tells("B2", outcome(stub, "select 1 where 1 in (" + "1," * 2_000_000 + "1)") in {"OUT_OF_RANGE", "RESOURCE_EXHAUSTED"}, "a request of 4 MB is refused")


def beside_duckdb(served: Served) -> None:
    """B6: random questions over a million rows have the answers that DuckDB gives, and parts make the whole."""
    chance = random.Random(11)
    rows = 1_000_000
    table = pa.table(
        {
            "id": pa.array(range(rows), pa.int64()),
            "a": pa.array([chance.choice([None, *range(-50, 50)]) for _ in range(rows)], pa.int64()),
            "b": pa.array([chance.choice([None, chance.uniform(-1e6, 1e6)]) for _ in range(rows)], pa.float64()),
            "s": pa.array([chance.choice([None, "", "Nd", "Pr", "Dy", "稀土"]) for _ in range(rows)], pa.string()),
        }
    )
    file = served.folder / "million.parquet"
    pq.write_table(table, file)
    loaded = harness.run("load", "million", file, "--create", "--store", served.store)
    assert loaded.returncode == 0, loaded.stderr
    connection = duckdb.connect()
    connection.execute(f"create table million as select * from '{file}'")
    stub = served.stub("a")
    terms = ["a > {}", "a <= {}", "b < {} * 1000.0", "s = 'Nd'", "s <> ''", "a % 7 = {} % 7", "id % 13 < {} % 13", "a between -{} and {}"]
    sums = ["count(*)", "count(a)", "sum(a)", "avg(a)", "min(b)", "max(b)", "count(distinct s)", "sum(b)", "min(s)", "max(s)"]

    def condition() -> str:
        parts = [chance.choice(terms).replace("{}", str(chance.randrange(60))) for _ in range(chance.randint(1, 3))]
        return f" {chance.choice(['and', 'or'])} ".join(f"({it})" for it in parts)

    different: list[str] = []
    start, asked = time.monotonic(), 0
    for _ in range(1000):
        wanted, where = ", ".join(chance.sample(sums, 3)), condition()
        group = chance.choice(["", "a", "s"])
        sql = f"select {group + ', ' if group else ''}{wanted} from million where {where}{f' group by {group}' if group else ''}"
        ours, theirs = harness.query(stub, sql).rows, connection.execute(sql).fetchall()
        if not same(ours, theirs):
            different.append(sql)
        parts = [f"({where})", f"not ({where})", f"({where}) is null"]
        counts = [harness.query(stub, f"select count(*) from million where {it}").rows[0][0] for it in parts]
        if sum(counts) != rows:
            different.append(f"{where}: {counts}")
        asked += 4
    served.tells("B6", not different, f"{asked} random statements over {rows} rows in {time.monotonic() - start:.0f} s, {len(different)} unlike DuckDB's or not whole")
    for it in different[:5]:
        print("     ", it)


def same(ours: list[tuple], theirs: list[tuple]) -> bool:
    """Whether rows are the same, in any order, but for the last digits of sums."""
    key = lambda row: [(value is None, str(value)) for value in row if not isinstance(value, float)]  # noqa: E731
    if len(ours) != len(theirs):
        return False
    close = lambda a, b: a == b or (isinstance(a, float) and b is not None and abs(a - b) <= 1e-9 * max(abs(a), abs(b), 1.0))  # noqa: E731
    pairs = zip(sorted(ours, key=key), sorted(theirs, key=key), strict=True)
    return all(len(a) == len(b) and all(map(close, a, b)) for a, b in pairs)
