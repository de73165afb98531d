"""Jobs whose server is killed, stopped or one of two: each run lands once, and the history is whole."""

from __future__ import annotations

import itertools
import os
import random
import shutil
import signal
import time
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from pathlib import Path

import pytest

import jobs
from didymium.v1 import jobs_pb2
from harness import Server
from jobs import EVERY_SECOND, LEASE, NONE_IS_LOST, Jobs, until
from test_http import samples, total

#: Kills, and what chooses the moments of those that hit no point.
ROUNDS = int(os.environ.get("JOB_CRASH_ROUNDS", "10"))
SEED = int(os.environ.get("JOB_CRASH_SEED") or random.randrange(10**6))

#: How often the killed server's job is due: kills cost time, which a busy machine must be able to make up for.
KILLED_STEP = timedelta(seconds=5)

#: How far a run has come when its server is killed; `between` is any moment.
POINTS = ["begun", "landing", "landed", "recorded", "between"]

#: It takes a while, so that what stops its server meets a run.
SLOW = "SELECT $run_time AS run_time, count(*) AS n FROM generate_series(1, 10000000)"


@pytest.fixture(autouse=True)
def _telling(monkeypatch: pytest.MonkeyPatch) -> None:
    """The servers say how far each run has come."""
    monkeypatch.setenv("DIDYMIUM_LOG", jobs.TELLING)


@pytest.fixture
def pair(own_store: Path, serve: Callable[..., Server]) -> Iterator[tuple[Server, Server]]:
    """Two servers of one store; the first one runs the jobs."""
    first = serve(own_store, *LEASE)
    until(lambda: jobs.is_leading(first))
    second = serve(own_store, *LEASE)
    yield first, second
    for server in (first, second):
        if not server.stopped:
            server.process.send_signal(signal.SIGCONT)


def test_a_killed_server_loses_no_run_and_makes_none_twice(own_store: Path, serve: Callable[..., Server]) -> None:
    print(f"JOB_CRASH_ROUNDS={ROUNDS} JOB_CRASH_SEED={SEED}")
    chance = random.Random(SEED)
    server = serve(own_store, *LEASE)
    job = create(server, step=KILLED_STEP)
    for point in itertools.islice(itertools.cycle(POINTS), ROUNDS):
        jobs.wait_for_point(server, "begun" if point == "between" else point)
        if point == "between":
            time.sleep(chance.uniform(0, 2))
        server.process.kill()
        assert server.wait() == -signal.SIGKILL
        server = serve(own_store, *LEASE)
    wait_for_later(server)
    assert_each_is_settled_once(server, job, KILLED_STEP)


def test_each_run_is_made_by_one_of_two_servers(pair: tuple[Server, Server]) -> None:
    first, second = pair
    job = create(second)  # whoever is asked, the other one runs it
    until(lambda: len(landed(second)) >= 5)
    Jobs(second.channel).pause("ticks")
    assert_each_is_settled_once(second, job)
    until(lambda: ended(first) == len(Jobs(first.channel).history("ticks")))
    assert jobs.twice(begun(first)) == []
    assert (ended(second), begun(second), jobs.is_leading(second)) == (0, [], False)


@pytest.mark.parametrize("point", ["begun", "landing", "landed"])
@pytest.mark.parametrize("rows", [5_000_000, 500_000])
def test_a_server_that_slept_writes_nothing_when_it_wakes(pair: tuple[Server, Server], point: str, rows: int) -> None:
    first, second = pair
    job = create(second, f"SELECT $run_time AS run_time, count(*) AS n FROM generate_series(1, {rows})")
    asleep_at = jobs.wait_for_point(first, point)
    first.process.send_signal(signal.SIGSTOP)
    come_to = points(first, asleep_at)
    until(lambda: jobs.is_leading(second))
    wait_for_later(second, jobs.moment(asleep_at))
    first.process.send_signal(signal.SIGCONT)
    until(lambda: jobs.says(first, "another server runs the store's jobs now"))
    wait_for_later(second)
    first.assert_lives()
    assert_each_is_settled_once(second, job)
    assert jobs.moment(asleep_at) in landed(second)
    assert "landing" in come_to or "landing" not in points(first, asleep_at)


def test_a_run_lands_nothing_once_another_server_has_the_right(own_store: Path, serve: Callable[..., Server]) -> None:
    server = serve(own_store, "--job-lease", "30s")
    create(server, SLOW)
    running = jobs.wait_for_point(server, "begun")
    # Another one took over and went on: of its files the newest is left.
    leases = own_store / "_didymium" / "leases"
    newest = max(int(lease.stem) for lease in leases.iterdir())
    (leases / f"{newest + 50:020}.json").write_text('{"given_up":false}')
    come_to = points(server, running)
    until(lambda: jobs.says(server, "another server runs the store's jobs now"))
    assert come_to == points(server, running) == ["begun"]
    assert landed(server) == []


def test_a_run_may_take_longer_than_the_lease(pair: tuple[Server, Server]) -> None:
    them = Jobs(pair[0].channel)
    them.create("long", jobs.ENDLESS, schedule=EVERY_SECOND, policy={"timeout": {"seconds": 4}})
    until(lambda: them.history("long"))
    assert them.history("long")[0]["code"] == "DEADLINE_EXCEEDED"
    them.call("DeleteJob", name="long")
    taken = [line for server in pair for line in jobs.lines(server) if line["message"] == "this server runs the store's jobs"]
    assert len(taken) <= 2, "they take it from one another"


def test_a_server_that_is_told_to_stop_hands_over_at_once(own_store: Path, serve: Callable[..., Server]) -> None:
    never = ("--job-lease", "10min")
    # The store is a copy of one whose server lives.
    shutil.rmtree(own_store / "_didymium" / "leases", ignore_errors=True)
    first = serve(own_store, *never)
    job = create(first, SLOW)
    second = serve(own_store, *never)
    running = jobs.wait_for_point(first, "begun")
    first.stop()
    assert jobs.says(first, "run", time=running, point="recorded"), "what runs may end"
    until(lambda: jobs.is_leading(second), 10)
    wait_for_later(second)
    assert_each_is_settled_once(second, job)


def test_a_server_without_slots_runs_what_it_is_asked_to_and_nothing_that_is_due(
    own_store: Path, serve: Callable[..., Server]
) -> None:
    idle = serve(own_store, *LEASE, "--job-slots", "0")
    job = create(idle)
    assert jobs.succeeded(Jobs(idle.channel).run("ticks", "2026-01-01T00:00:00Z"))
    busy = serve(own_store, *LEASE)
    wait_for_later(busy)
    by_hand, *by_clock = Jobs(idle.channel).history("ticks")
    assert by_hand["kind"] == "manual"
    jobs.assert_each_is_settled_once(by_clock, jobs.utc(job.active_since), landed(busy)[1:])
    assert len(begun(idle)) == 1


def create(server: Server, sql: str = "SELECT $run_time AS run_time", step: timedelta = jobs.SECOND) -> jobs_pb2.Job:
    """A job of every second, each run of which appends its time to the table `ticks`."""
    schedule = {"every": {"seconds": step.seconds}}
    return Jobs(server.channel).create("ticks", sql, schedule=schedule, policy=NONE_IS_LOST)


def landed(server: Server) -> list[datetime]:
    """The times whose rows are in the target."""
    there = server.query("SELECT table_name FROM system.tables WHERE table_name = 'ticks'").rows
    return [time for (time,) in server.query("SELECT run_time FROM ticks ORDER BY run_time").rows] if there else []


def assert_each_is_settled_once(server: Server, job: jobs_pb2.Job, step: timedelta = jobs.SECOND) -> None:
    history = Jobs(server.channel).history("ticks")
    jobs.assert_each_is_settled_once(history, jobs.utc(job.active_since), landed(server), step)


def wait_for_later(server: Server, than: datetime | None = None) -> None:
    """Waits until all that was due by a time, or by now, is made up for and written down."""
    than = than or jobs.now()
    until(lambda: any(run["logical_time"] > than for run in Jobs(server.channel).history("ticks")))


def begun(server: Server) -> list[str]:
    """The times of the runs that a server has begun."""
    return [line["time"] for line in jobs.lines(server) if line.get("point") == "begun"]


def points(server: Server, at: str) -> list[str]:
    """How far a server's run of a time has come."""
    return [line["point"] for line in jobs.lines(server) if line.get("time") == at and "point" in line]


def ended(server: Server) -> float:
    """The runs that a server has ended."""
    return total(samples(server), "didymium_job_runs_total", job="ticks")
