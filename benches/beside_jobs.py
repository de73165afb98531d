"""Measures what jobs cost those who ask meanwhile: the times of small queries beside jobs that misbehave, and without.

    PYTHONPATH=python:tests/python python benches/beside_jobs.py path/to/didymium [--seconds 30] [--turns 3]

One job never ends before its time is over, one wants more memory than there is, one fails, one writes a table; each is due
every second. Phases with and without them alternate, and the times of all phases of a kind are put together. Exit code 1
where a query fails or a job did not do what it is for, never because of a time.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import tempfile
import time
from pathlib import Path

import numpy as np

import harness
from didymium.v1 import jobs_pb2, jobs_pb2_grpc

#: Each with the code that its runs must end with.
JOBS = {
    "overrunning": ("DEADLINE_EXCEEDED", "SELECT count(*) AS n FROM generate_series(1, 1000000000000) t(x) WHERE x % 3 = 1"),
    "hungry": ("RESOURCE_EXHAUSTED", "SELECT cardinality(array_agg(lpad(CAST(x AS VARCHAR), 500, 'x'))) AS n FROM generate_series(1, 2000000) t(x)"),
    "failing": ("INVALID_ARGUMENT", "SELECT 1 / (x - x) AS n FROM generate_series(1, 3) t(x)"),
    "writing": (None, "SELECT $run_time AS run_time, count(*) AS n FROM exports"),
}

JOB = """
name = "{name}"
sql = \"\"\"{sql}\"\"\"
schedule = {{ every = "1 second" }}
target = {{ table = "of_{name}" }}
policy = {{ timeout = "{timeout}", retries = 0, suspend_after = 0 }}
"""

QUERIES = {
    "a look-up": "SELECT value FROM quotas WHERE stage = 'mining' AND holder_kind = 'national' LIMIT 5",
    "growth": "SELECT sum(g) FROM (SELECT yoy(value, period_start, period_end) OVER (PARTITION BY series ORDER BY period_start, period_end) AS g"
    " FROM exports WHERE frequency IN ('M', 'X') AND NOT cumulative AND authority = 'GACC')",
}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("binary", type=Path)
    parser.add_argument("--seconds", type=float, default=30, help="of each phase")
    parser.add_argument("--turns", type=int, default=3)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        subprocess.run([options.binary, "init", "--store", folder / "store"], check=True, stdout=subprocess.DEVNULL)
        os.environ["DIDYMIUM_BIN"] = str(options.binary.resolve())
        server = harness.Server(folder / "store", folder / "log", "--job-slots", "4", "--job-memory", "32MiB")
        try:
            return measured(server, options, folder)
        finally:
            server.stop()


def measured(server: harness.Server, options: argparse.Namespace, folder: Path) -> int:
    jobs = jobs_pb2_grpc.JobServiceStub(server.channel)
    for name, (code, sql) in JOBS.items():
        file = folder / f"{name}.toml"
        timeout = "3 seconds" if code == "DEADLINE_EXCEEDED" else "1 minute"
        file.write_text(JOB.format(name=name, sql=sql, timeout=timeout))
        subprocess.run([options.binary, "job", "create", file, "--url", server.url], check=True, stdout=subprocess.DEVNULL)
    times: dict[tuple[str, bool], list[float]] = {(query, beside): [] for query in QUERIES for beside in (False, True)}
    for _ in range(options.turns):
        for beside in (False, True):
            for name in JOBS:
                if beside:
                    jobs.ResumeJob(jobs_pb2.ResumeJobRequest(name=name))
                else:
                    jobs.PauseJob(jobs_pb2.PauseJobRequest(name=name))
            time.sleep(4)  # until those that run have ended, or all have begun
            end = time.monotonic() + options.seconds
            while time.monotonic() < end:
                for query, sql in QUERIES.items():
                    start = time.monotonic()
                    server.query(sql)
                    times[query, beside].append((time.monotonic() - start) * 1000)
                time.sleep(0.01)
    for query in QUERIES:
        alone, beside = (np.percentile(times[query, kind], [50, 99]) for kind in (False, True))
        print(
            f"{query:<10} alone: p50 {alone[0]:6.1f} ms, p99 {alone[1]:6.1f} ms; beside jobs: p50 {beside[0]:6.1f} ms, p99 {beside[1]:6.1f} ms; "
            f"{beside[0] / alone[0]:.2f} and {beside[1] / alone[1]:.2f} times ({len(times[query, False])} and {len(times[query, True])} queries)"
        )
    return 0 if all([is_right(server, name, code) for name, (code, _) in JOBS.items()]) else 1


def is_right(server: harness.Server, name: str, code: str | None) -> bool:
    """Says what came of a job's runs; whether each ended as it should."""
    counts = server.query(f"SELECT code, count(*) FROM system.job_runs WHERE job_name = '{name}' AND status <> 'skipped' GROUP BY 1").rows
    print(f"{name}: {', '.join(f'{count} {ended}' for ended, count in counts)}")
    return {ended for ended, _ in counts} == {code}


if __name__ == "__main__":
    raise SystemExit(main())
