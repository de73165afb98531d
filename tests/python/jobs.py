"""What the tests of jobs share: how a job is defined, followed in the server's log, and held against its schedule."""

from __future__ import annotations

import json
import re
import time
from collections import Counter
from collections.abc import Iterable, Iterator
from datetime import datetime, timedelta, timezone
from typing import Any

import grpc
from google.protobuf.timestamp_pb2 import Timestamp

import harness
from didymium.v1 import jobs_pb2, jobs_pb2_grpc, query_pb2_grpc
from harness import Server

#: A server that says in its log how far each run has come.
TELLING = "warn,didymium=info,didymium_jobs::executor=debug"

#: How soon another server runs the jobs of one that is gone.
LEASE = ("--job-lease", "1s")

#: The most often that a job may be due.
SECOND = timedelta(seconds=1)
EVERY_SECOND = {"every": {"seconds": 1}}

#: Due at the next turn of the year: such a job is run by hand.
YEARLY = {"cron": {"expression": "0 0 1 1 *"}}

#: Every run that was due is made, or said to be skipped.
NONE_IS_LOST = {"catch_up": jobs_pb2.CATCH_UP_ALL, "catch_up_limit": 10_000, "overlap": jobs_pb2.OVERLAP_QUEUE, "suspend_after": 0}

#: A statement that runs until it is stopped.
ENDLESS = "SELECT count(*) AS n FROM generate_series(1, 1000000000000)"

Run = dict[str, Any]


def define(
    name: str,
    sql: str = "SELECT $run_time AS run_time",
    *,
    schedule: dict[str, Any] = YEARLY,
    into: str | None = None,
    mode: str = "APPEND",
    file: str | None = None,
    checks: dict[str, str] | None = None,
    **fields: Any,
) -> jobs_pb2.JobDefinition:
    """A job; its rows go into the table of its own name where nothing else is said."""
    table = {"table": into or name, "mode": f"TARGET_MODE_{mode}"}
    return jobs_pb2.JobDefinition(
        name=name,
        sql=sql,
        schedule=schedule,
        target={"file": file} if file else {"table": table},
        checks=[{"name": check, "sql": query} for check, query in (checks or {}).items()],
        **fields,
    )


class Jobs:
    """A server's jobs, as somebody on a channel to it sees them."""

    def __init__(self, channel: grpc.Channel) -> None:
        self.stub = jobs_pb2_grpc.JobServiceStub(channel)
        self.queries = query_pb2_grpc.QueryServiceStub(channel)

    def call(self, method: str, **fields: Any) -> Any:
        """What a call gives."""
        request = getattr(jobs_pb2, f"{method}Request")(**fields)
        return getattr(self.stub, method)(request, timeout=harness.PATIENCE_S)

    def create(self, name: str, *arguments: Any, **fields: Any) -> jobs_pb2.Job:
        return self.call("CreateJob", definition=define(name, *arguments, **fields)).job

    def update(self, name: str, *arguments: Any, **fields: Any) -> jobs_pb2.Job:
        return self.call("UpdateJob", definition=define(name, *arguments, **fields)).job

    def get(self, name: str) -> jobs_pb2.Job:
        return self.call("GetJob", name=name).job

    def state(self, name: str) -> str:
        return jobs_pb2.JobState.Name(self.get(name).state).removeprefix("JOB_STATE_")

    def pause(self, name: str) -> jobs_pb2.Job:
        return self.call("PauseJob", name=name).job

    def resume(self, name: str) -> jobs_pb2.Job:
        return self.call("ResumeJob", name=name).job

    def run(self, name: str, at: str | datetime | None = None) -> jobs_pb2.JobRun:
        """Runs it now and waits for the end."""
        return self.call("RunJob", name=name, logical_time=at and stamp(at)).run

    def rows(self, sql: str) -> list[tuple]:
        return harness.query(self.queries, sql).rows

    def column(self, sql: str) -> list[Any]:
        """The values of a statement's one column."""
        return [value for (value,) in self.rows(sql)]

    def history(self, name: str) -> list[Run]:
        """Its runs, the first one first."""
        sql = f"SELECT * FROM system.job_runs WHERE job_name = '{name}' ORDER BY logical_time, sequence"
        return harness.query(self.queries, sql).table.to_pylist()

    def listed(self, name: str) -> dict[str, Any]:
        """It, in `system.jobs`."""
        [row] = harness.query(self.queries, f"SELECT * FROM system.jobs WHERE job_name = '{name}'").table.to_pylist()
        return row


def succeeded(run: jobs_pb2.JobRun) -> bool:
    return run.status == jobs_pb2.RUN_STATUS_SUCCEEDED


def moment(text: str) -> datetime:
    """A time as the log and the command line write it."""
    return datetime.fromisoformat(text.replace("Z", "+00:00"))


def stamp(at: str | datetime) -> Timestamp:
    """A time as the wire has it."""
    time = Timestamp()
    time.FromDatetime(moment(at) if isinstance(at, str) else at)
    return time


def utc(time: Timestamp) -> datetime:
    """A time of the wire."""
    return time.ToDatetime(timezone.utc)


def now() -> datetime:
    return datetime.now(timezone.utc)


# What is due and what came of it.


def due(since: datetime, until: datetime, step: timedelta = SECOND) -> list[datetime]:
    """The times of an `every` after one moment and up to another."""
    epoch = datetime(1970, 1, 1, tzinfo=timezone.utc)
    first = epoch + ((since - epoch) // step + 1) * step
    return [first + number * step for number in range((until - first) // step + 1)]


def accounted(runs: Iterable[Run], step: timedelta = SECOND) -> Iterator[datetime]:
    """The times that a history of every step tells of. One line may say of several that they were skipped."""
    for run in runs:
        count = 1
        if run["status"] == "skipped":
            assert run["code"].startswith("SKIPPED_"), run
            several = re.match(r"(\d+) runs up to this one", run["message"])
            count = int(several[1]) if several else 1
        yield from (run["logical_time"] - number * step for number in range(count))


def assert_each_is_settled_once(runs: list[Run], since: datetime, landed: list[datetime], step: timedelta = SECOND) -> None:
    """Every step since a moment has run or was skipped, once; and those that succeeded are those that landed.

    The history is read first: what landed after its last line is not in it yet.
    """
    assert {run["status"] for run in runs} <= {"succeeded", "skipped"}, runs
    times = list(accounted(runs, step))
    assert sorted(times) == due(since, max(times), step)
    assert twice(landed) == []
    landed = sorted(time for time in landed if time <= max(times))
    assert landed == [run["logical_time"] for run in runs if run["status"] == "succeeded"]


def twice(times: Iterable[datetime]) -> list[datetime]:
    return [time for time, count in Counter(times).items() if count > 1]


# What a server tells.


def lines(server: Server, after: int = 0) -> Iterator[dict[str, Any]]:
    """The fields of the log's lines from an offset on; a line that is not whole yet is left out."""
    with server.log.open() as log:
        log.seek(after)
        for line in log:
            if line.startswith("{") and line.endswith("\n"):
                yield json.loads(line)["fields"]


def says(server: Server, message: str, **fields: str) -> dict[str, Any] | None:
    """The first line of the log with this message and these fields."""
    wanted = {"message": message, **fields}
    return next((line for line in lines(server) if wanted.items() <= line.items()), None)


def is_leading(server: Server) -> bool:
    return says(server, "this server runs the store's jobs") is not None


def wait_for_point(server: Server, point: str) -> str:
    """Waits until a run comes to a point, and gives its logical time. What was told before does not count."""
    after = server.log.stat().st_size
    deadline = time.monotonic() + harness.PATIENCE_S
    while time.monotonic() < deadline:
        for line in lines(server, after):
            if line.get("point") == point:
                return line["time"]
        time.sleep(0.001)
    raise AssertionError(f"no run came to {point}: {server.log.read_text()[-2000:]}")


def until(holds: Any, patience_s: float = harness.PATIENCE_S) -> None:
    """Waits for what must become true."""
    deadline = time.monotonic() + patience_s
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.05)
