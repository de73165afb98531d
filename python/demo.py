"""Asks a fresh server the headline questions, through nothing but the stub generated from the .proto files.

    python python/demo.py path/to/didymium [--store FOLDER]

Makes a store with the shipped figures (in a temporary folder, unless one is given), serves it on a free port, runs the
statements in `demo/*.sql`, prints what they give, lets the job in `demo/job.toml` run when figures arrive, and stops the
server. Exit code 0 if each of them gave rows.
"""

from __future__ import annotations

import argparse
import signal
import subprocess
import sys
import tempfile
import time
import unicodedata
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import grpc
import pyarrow as pa
from pyarrow import csv

from didymium.v1 import query_pb2, query_pb2_grpc

HERE = Path(__file__).resolve().parent
QUESTIONS = sorted((HERE / "demo").glob("*.sql"))
JOB = HERE / "demo" / "job.toml"

#: China's exports month by month, as the shipped figures have them.
MONTHS = """SELECT period_start, period_end, value AS exports_t, source_id FROM exports
WHERE authority = 'GACC' AND flow = 'export' AND reporter = 'China' AND partner = 'World'
  AND basket = 'rare_earths' AND measure = 'quantity' AND basis = 'gross'
  AND frequency IN ('M', 'X') AND NOT cumulative AND period_start BETWEEN DATE '2024-01-01' AND DATE '2025-12-31'
ORDER BY period_start"""

HISTORY = """SELECT job_name, logical_time, status, rows, versions, target_version
FROM system.job_runs WHERE job_name = 'export_growth' ORDER BY logical_time"""

#: How long a run may take that a load has started.
PATIENCE_S = 60


def main() -> int:
    """Runs the demo; the exit code."""
    parser = argparse.ArgumentParser(description="Ask a fresh Didymium server the headline questions.")
    parser.add_argument("binary", type=Path, help="the didymium program")
    parser.add_argument("--store", type=Path, help="keep the store in this folder (default: a temporary one)")
    arguments = parser.parse_args()
    if not arguments.binary.is_file():
        parser.error(f"there is no program {arguments.binary}: build it first")
    sys.stdout.reconfigure(line_buffering=True)  # keeps the order with what `didymium init` says
    with tempfile.TemporaryDirectory(prefix="didymium-demo-") as temporary:
        store = arguments.store or Path(temporary) / "store"
        is_new = make_store(arguments.binary, store)
        with serving(arguments.binary, store) as address:
            answered = [ask(address, question) for question in QUESTIONS]
            if is_new:  # in a store that was there it would make tables
                answered.append(schedule(arguments.binary, address, Path(temporary)))
    print(how_to_go_on(arguments.binary, arguments.store))
    return 0 if answered and all(answered) else 1


def make_store(binary: Path, store: Path) -> bool:
    """The built-in tables and their figures in `store`; whether they were not there already."""
    if (store / "quotas" / "_delta_log").is_dir():
        print(f"Using the store in {store}")
        return False
    start = time.monotonic()
    subprocess.run([binary, "init", "--store", store], check=True, stdout=subprocess.DEVNULL)
    print(f"Made a store with the shipped figures ({time.monotonic() - start:.1f} s)")
    return True


@contextmanager
def serving(binary: Path, store: Path) -> Iterator[str]:
    """The address of a running server, which is stopped as an operator stops it: SIGTERM, exit code 0."""
    command = [str(binary), "serve", "--store", str(store), "--listen", "127.0.0.1:0"]
    with (
        tempfile.TemporaryFile("w+") as log,
        subprocess.Popen(command, stdout=subprocess.PIPE, stderr=log, text=True) as server,
    ):
        try:
            line = server.stdout.readline().strip()
            if not line:
                log.seek(0)
                raise SystemExit(f"the server did not start:\n{log.read()}")
            print(f"The server is {line}")
            yield line.removeprefix("listening on grpc://")
        finally:
            server.send_signal(signal.SIGTERM)
            try:
                server.wait(timeout=30)
            except subprocess.TimeoutExpired:
                server.kill()
                raise
    if server.returncode != 0:
        raise SystemExit(f"the server stopped with exit code {server.returncode}")
    print("The server has stopped.")


def ask(address: str, question: Path) -> bool:
    """Runs one statement and prints its title, meaning and rows; whether it gave any."""
    title, meaning, sql = read_question(question)
    print(f"\n\n{title}\n{'=' * width(title)}\n{meaning}\n")
    start = time.monotonic()
    try:
        rows = query(address, sql)
    except grpc.RpcError as error:
        print(f"failed: {error.code().name}: {error.details()}")
        return False
    took_ms = (time.monotonic() - start) * 1000
    print(f"{as_text(rows)}\n({rows.num_rows} rows in {took_ms:.0f} ms, from python/demo/{question.name})")
    return bool(rows.num_rows)


def schedule(binary: Path, address: str, folder: Path) -> bool:
    """Makes a job, loads a month of figures, and shows what the job made of it; whether it did."""
    title, meaning, _ = read_question(JOB)
    print(f"\n\n{title}\n{'=' * width(title)}\n{meaning}\n")
    url = f"grpc://{address}"
    months = query(address, MONTHS)

    def load(name: str, rows: pa.Table) -> None:
        file = folder / f"{name}.csv"
        csv.write_csv(rows, file)
        command = [binary, "load", "customs_months", file, "--url", url, "--load-id", name, "--create"]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        print(f"Loaded {name}: {rows.num_rows} rows")

    load("all-but-the-newest", months.slice(0, months.num_rows - 1))
    subprocess.run([binary, "job", "create", JOB, "--url", url], check=True)
    start = time.monotonic()
    load("the-newest", months.slice(months.num_rows - 1))
    while not (runs := query(address, HISTORY)).num_rows:
        if time.monotonic() > start + PATIENCE_S:
            print(f"the job has not run within {PATIENCE_S} s")
            return False
        time.sleep(0.1)
    print(f"The job has run {time.monotonic() - start:.1f} s later.\n")
    rows = query(address, "SELECT * FROM export_growth ORDER BY period_start")
    print(f"{as_text(rows)}\n({rows.num_rows} rows of the table that the job of python/demo/{JOB.name} keeps)\n")
    print(f"{as_text(runs)}\n(its history, from system.job_runs)")
    return runs.column("status").to_pylist() == ["succeeded"]


def query(address: str, sql: str) -> pa.Table:
    """All that a client needs: the generated stub, and Arrow to read what comes."""
    with grpc.insecure_channel(address) as channel:
        stub = query_pb2_grpc.QueryServiceStub(channel)
        responses = stub.Query(query_pb2.QueryRequest(sql=sql), timeout=60)
        return pa.ipc.open_stream(b"".join(response.arrow_ipc for response in responses)).read_all()


def read_question(path: Path) -> tuple[str, str, str]:
    """A statement and the remark before it: the title, what the figures mean, the SQL."""
    lines = path.read_text(encoding="utf-8").splitlines()
    remark = [line.lstrip("-#").strip() for line in lines if line.startswith(("--", "#"))]
    return remark[0], "\n".join(remark[1:]).strip(), "\n".join(lines)


def as_text(rows: pa.Table) -> str:
    """The rows in columns: numbers to the right, all else to the left, nothing for NULL."""
    columns = []
    for field, values in zip(rows.schema, rows.columns, strict=True):
        cells = [field.name, *map(text, values.to_pylist())]
        wide = max(map(width, cells))
        right = pa.types.is_floating(field.type) or pa.types.is_integer(field.type)
        columns.append([pad(cell, wide, right) for cell in cells])
        columns[-1].insert(1, "-" * wide)
    return "\n".join("  ".join(line).rstrip() for line in zip(*columns, strict=True))


def text(value: object) -> str:
    """A value for people: 243,850 and 0.2072, not 243850.0 and 0.20720000000000005."""
    if value is None:
        return ""
    if isinstance(value, float):
        return f"{value:,.1f}".removesuffix(".0") if abs(value) >= 100 else f"{value:.4f}"
    return str(value)


def pad(cell: str, wide: int, right: bool) -> str:
    """The cell, filled up to a width on the screen."""
    space = " " * (wide - width(cell))
    return space + cell if right else cell + space


def width(cell: str) -> int:
    """Columns on the screen: Chinese characters take two."""
    return sum(2 if unicodedata.east_asian_width(character) in "WF" else 1 for character in cell)


def how_to_go_on(binary: Path, store: Path | None) -> str:
    """The commands for questions of one's own."""
    folder = store or "my-store"
    make = [] if store else [f"  {binary} init --store {folder}"]
    return "\n".join(
        [
            "\n\nTo go on asking:\n",
            *make,
            f"  {binary} tables --store {folder}",
            f"  {binary} describe quotas --store {folder}",
            f"  {binary} sql --store {folder} -f python/demo/1_quota_growth.sql",
            f"  {binary} serve --store {folder} --listen 127.0.0.1:50051",
            f'  {binary} sql --url grpc://127.0.0.1:50051 -c "SELECT stage, max(value) FROM quotas GROUP BY stage"',
            "\nand from Python, with python/ on the path (python/README.md):\n",
            '  import didymium; didymium.connect("grpc://127.0.0.1:50051").sql("SELECT * FROM exports").to_pandas()',
        ]
    )


if __name__ == "__main__":
    sys.exit(main())
