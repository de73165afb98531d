"""Measures Didymium against DuckDB: loads, gap filling, as-of joins, growth; and the newest vintage against a raw scan.

    PYTHONPATH=python:tests/python python benches/against_duckdb.py path/to/didymium [--rows N] [--only NAME]

Both have two processors. Didymium is a server that is asked over gRPC; DuckDB runs in this process and reads the very
Parquet files that lie in Didymium's store. Every answer is an aggregate, so that neither ships rows, and both must give
the same one before anything is timed. Turns alternate, and the best one of each side counts: a busy machine only ever
slows one down. Exit code 1 where two answers differ, never because of a time.
"""

from __future__ import annotations

import argparse
import math
import os
import re
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

import duckdb
import pyarrow as pa

import harness
import made_up
from questions import QUESTIONS, Question

THREADS = 2
LOAD_TURNS = 3
QUERY_TURNS = 7

#: A load brings this many months of each mine.
LOADED_MONTHS = 500

#: Queries read 28 years, a tenth of the months missing.
QUERIED_MONTHS, MISSING = 336, 0.1

DUCKDB_TABLE = """CREATE TABLE output (mine VARCHAR, measure VARCHAR, period_start DATE, period_end DATE, value DOUBLE,
    unit VARCHAR, published_on DATE, source_id VARCHAR)"""

#: What tells whether a load brought everything.
ROWS_AND_SUM = "SELECT count(*), sum(value), min(period_start), max(published_on) FROM {}"

#: A table: its declaration, and its rows for so many mines.
Table = tuple[str, Callable[[int], pa.Table]]


@dataclass
class Result:
    """What one comparison gave: answers that must agree, and the best time of each side."""

    name: str
    answers: tuple[tuple, tuple]
    seconds: tuple[float, float]
    against: str
    limit: float | None = None
    note: str = ""


def main() -> int:
    """Runs the benchmark; the exit code."""
    parser = argparse.ArgumentParser(description="Measure Didymium against DuckDB.")
    parser.add_argument("binary", type=Path, help="the didymium program, built in the release profile")
    parser.add_argument("--rows", type=int, default=10_000_000, help="rows of a load; queries read six tenths of them")
    parser.add_argument("--only", default="", metavar="NAME", help="only what has this in its name, such as load")
    arguments = parser.parse_args()
    os.environ["DIDYMIUM_BIN"] = str(arguments.binary.resolve())
    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:THREADS])
    mines = max(arguments.rows // LOADED_MONTHS, 2)
    print(f"Didymium against DuckDB {duckdb.__version__}: {mines:,} mines, {THREADS} processors", flush=True)
    with tempfile.TemporaryDirectory(prefix="didymium-bench-") as temporary:
        folder = Path(temporary)
        results = chain(loads(folder, mines, arguments.only), queries(folder, mines, arguments.only))
        agree = [show(result) for result in results]
    return 0 if agree and all(agree) else 1


def loads(folder: Path, mines: int, only: str) -> Iterator[Result]:
    """A load into a fresh table, from files of both forms and in both orders."""
    for name, file, order, limit in [
        ("load CSV, by mine", "mines.csv", "mine", 3),
        ("load Parquet, by mine", "mines.parquet", "mine", 3),
        # DuckDB leaves the rows as they come; ours are sorted.
        ("load Parquet, by month", "months.parquet", "period_start", None),
    ]:
        if only in name:
            rows = made_up.output(mines, LOADED_MONTHS)
            if order != "mine":
                rows = rows.sort_by([(order, "ascending"), ("mine", "ascending")])
            yield load(name, made_up.write(rows, folder / file), folder, limit)


def load(name: str, file: Path, folder: Path, limit: float | None) -> Result:
    """Both load a file in turn."""
    store = harness.init(folder / f"store of {file.name}")
    database = folder / f"{file.name}.duckdb"
    ours, theirs, peaks = [], [], []
    for turn in range(LOAD_TURNS):
        if turn:
            run("table", "drop", "output", "--yes", "--store", store)
        make_table(store, "output", made_up.SERIES_TABLE.format(name="output", measure="output", unit="t"))
        os.sync()
        seconds, peak = run("load", "output", file, "--store", store)
        ours.append(seconds)
        peaks.append(peak)
        database.unlink(missing_ok=True)
        os.sync()
        theirs.append(copy(file, database))
    with duckdb.connect(database) as connection, serving(store, folder) as server:
        answers = (
            server.query(ROWS_AND_SUM.format("all_vintages('output')")).rows[0],
            connection.execute(ROWS_AND_SUM.format("output")).fetchone(),
        )
    rows, best = answers[0][0], (min(ours), min(theirs))
    note = f"{rows / best[0]:,.0f} and {rows / best[1]:,.0f} rows/s, at most {max(peaks) / 2**30:.1f} GiB"
    return Result(name, answers, best, "COPY", limit, note)


def copy(file: Path, database: Path) -> float:
    """DuckDB's COPY into a fresh table of a database of its own: how long it took."""
    with duckdb.connect(database, config={"threads": THREADS}) as connection:
        connection.execute(DUCKDB_TABLE)
        start = time.perf_counter()
        connection.execute(f"COPY output FROM '{file}'")
        return time.perf_counter() - start


def run(*arguments: object) -> tuple[float, int]:
    """One `didymium` command: its seconds, and its bytes of memory at most."""
    start = time.perf_counter()
    process = subprocess.Popen([harness.binary(), *map(str, arguments)], stderr=subprocess.PIPE, text=True)
    said = process.stderr.read()
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode != 0:
        raise SystemExit(f"didymium {arguments[0]} failed: {said}")
    return time.perf_counter() - start, usage.ru_maxrss * 1024


def make_table(store: Path, name: str, declaration: str) -> None:
    """A new, empty table."""
    file = store.with_name(f"{name}.toml")
    file.write_text(declaration)
    run("table", "create", file, "--store", store)


def queries(folder: Path, mines: int, only: str) -> Iterator[Result]:
    """Each question, over a store with the tables that they name."""
    questions = [question for question in QUESTIONS if only in question.name]
    words = {word for question in questions for word in re.findall(r"\w+", question.ours)}
    wanted = {name: table for name, table in tables().items() if name in words}
    if not wanted:
        return
    store = harness.init(folder / "store")
    for name, (declaration, rows) in wanted.items():
        make_table(store, name, declaration)
        file = made_up.write(rows(mines), folder / f"{name}.parquet")
        run("load", name, file, "--store", store)
        file.unlink()
    with serving(store, folder) as server, duckdb.connect(config={"threads": THREADS}) as connection:
        for name in wanted:
            files = server.query(f"SELECT path FROM system.files WHERE table_name = '{name}'").rows
            paths = [str(store / name / path) for (path,) in files]
            connection.execute(f"CREATE VIEW {name} AS SELECT * FROM read_parquet({paths})")
        for question in questions:
            yield compare(question, server, connection)


def tables() -> dict[str, Table]:
    """What the questions read."""
    def series(name: str, measure: str = "output", unit: str = "t") -> str:
        return made_up.SERIES_TABLE.format(name=name, measure=measure, unit=unit)

    def output(mines: int) -> pa.Table:
        return made_up.output(mines, QUERIED_MONTHS, missing=MISSING)

    def asked(mines: int) -> pa.Table:
        return made_up.prices(mines, per_mine=50)

    return {
        "output": (series("output"), output),
        "running": (series("running"), lambda mines: made_up.running_output(mines, QUERIED_MONTHS, missing=MISSING)),
        "revised": (series("revised"), lambda mines: made_up.output(mines, 100, vintages=3)),
        "editions": (series("editions"), lambda _: made_up.editions(60, vintages=5_000)),
        "price": (series("price", "price", "USD/t"), lambda mines: made_up.price_series(asked(mines))),
        "asked": (made_up.PLAIN_TABLE.format(name="asked"), asked),
        "shipments": (made_up.PLAIN_TABLE.format(name="shipments"), lambda mines: made_up.shipments(output(mines))),
    }


def compare(question: Question, server: harness.Server, connection: duckdb.DuckDBPyConnection) -> Result:
    """The answers, and the best times of several turns after one that counts for nothing."""
    def ask(sql: str) -> Callable[[], tuple]:
        return lambda: server.query(sql).rows[0]

    def ask_duckdb(sql: str) -> Callable[[], tuple]:
        return lambda: connection.execute(sql).fetchone()

    ways = {f"DuckDB, {way}": ask_duckdb(sql) for way, sql in question.duckdb.items()}
    answer = ask(question.ours)()
    for way, theirs in ways.items():
        if not agrees(answer, theirs()):
            return Result(question.name, (answer, theirs()), (0, 0), way)
    if question.base is not None:
        ways = {"the base": ask(question.base)}
    times = {way: math.inf for way in ("", *ways)}
    for _ in range(QUERY_TURNS):
        for way, run_once in {"": ask(question.ours), **ways}.items():
            start = time.perf_counter()
            run_once()
            times[way] = min(times[way], time.perf_counter() - start)
    fastest = min(ways, key=times.get)
    others = ", ".join(f"{times[way]:.3f} s {way.removeprefix('DuckDB, ')}" for way in ways if way != fastest)
    note = f"not {others}" if others else ""
    return Result(question.name, (answer, answer), (times[""], times[fastest]), fastest, question.limit, note)


@contextmanager
def serving(store: Path, folder: Path) -> Iterator[harness.Server]:
    """A server of the store, stopped at the end."""
    server = harness.Server(store, folder / "server.log")
    try:
        yield server
    finally:
        server.stop()


def show(result: Result) -> bool:
    """Prints a line, the ratio first; whether the answers agree."""
    ours, theirs = result.answers
    if not agrees(ours, theirs):
        print(f"{result.name:<32} DIFFERENT ANSWERS: {ours}; {result.against}: {theirs}", flush=True)
        return False
    ours, theirs = result.seconds
    limit = f"of {result.limit:g}" if result.limit else ""
    line = f"{result.name:<32} {ours / theirs:6.2f} {limit:<7} {ours:9.3f} s  {theirs:9.3f} s {result.against}"
    print(f"{line}; {result.note}" if result.note else line, flush=True)
    return True


def agrees(ours: tuple, theirs: tuple) -> bool:
    """Whether two rows are equal, but for what the order of adding doubles changes."""
    def same(one: object, other: object) -> bool:
        if isinstance(one, float) and isinstance(other, float):
            return math.isclose(one, other, rel_tol=1e-9)
        return one == other

    return len(ours) == len(theirs) and all(map(same, ours, theirs))


if __name__ == "__main__":
    raise SystemExit(main())
