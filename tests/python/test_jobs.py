"""Jobs over a real server: when they are due, where their rows land, what happens when they fail, and whose they are."""

from __future__ import annotations

import csv
import hashlib
import hmac
import io
import json
import shutil
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta, timezone
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq
import pytest
from grpc import StatusCode

import harness
import jobs
import output
from didymium.v1 import jobs_pb2, query_pb2
from harness import Server
from jobs import ENDLESS, EVERY_SECOND, LEASE, Jobs, define, moment, stamp, succeeded, until
from test_access import Caller, outcome_of, refusal
from test_http import samples, total
from test_parameters import day, integer, number, text

UTC = timezone.utc

#: What signs the messages of the server.
KEY = b"a key of the tests' own"

#: Fails, but not for times of the last century, and not before it runs.
FAILING = "SELECT x / CASE WHEN $run_date < DATE '2000-01-01' THEN 1 ELSE 0 END AS y FROM generate_series(1, 1) t(x)"
LONG_AGO = "1999-12-31T00:00:00Z"

#: Fails for every other second.
ODD = "SELECT x / (CAST(date_part('second', $run_time) AS BIGINT) % 2) AS y FROM generate_series(1, 1) t(x)"


@dataclass
class Collector:
    """Takes what a server tells of its runs. The first that comes finds it out of order."""

    received: list[tuple[str | None, bytes]] = field(default_factory=list)
    refused: int = 0

    def __post_init__(self) -> None:
        collector = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:  # noqa: N802
                body = self.rfile.read(int(self.headers["content-length"]))
                is_first = not collector.received and not collector.refused
                if is_first:
                    collector.refused += 1
                else:
                    collector.received.append((self.headers["didymium-signature"], body))
                self.send_response(503 if is_first else 204)
                self.end_headers()

            def log_message(self, *_: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}/hooks"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def of(self, job: str) -> list[dict[str, Any]]:
        """What came of one job."""
        told = [json.loads(body) for _, body in self.received]
        return [it for it in told if it["job"] == job]

    def stop(self) -> None:
        self._server.shutdown()
        self._server.server_close()


@dataclass
class Place:
    """A server that runs jobs, and what is around it."""

    server: Server
    folder: Path
    collector: Collector

    def __post_init__(self) -> None:
        self.jobs = Jobs(self.server.channel)
        self.exports = self.folder / "exports"

    def file(self, name: str, content: str) -> Path:
        file = self.folder / name
        file.write_text(content)
        return file

    def load(self, table: str, column: str, *values: object) -> None:
        """Brings the values of its one column into a plain table, which may be new."""
        file = self.file(f"{table}.csv", "\n".join(map(str, [column, *values])) + "\n")
        output.done("load", table, file, "--store", self.server.store, "--create")

    def figure(self, mine: str, period: str, value: float, published_on: str = "2026-01-01") -> None:
        """Brings one figure into the series table `output`."""
        file = output.write(self.folder / "figure.csv", [(mine, period, value)])
        output.done(*output.load(self.server.store, file, published_on=published_on))

    def cli(self, *arguments: object) -> str:
        """What a command about jobs prints."""
        done = harness.run("job", *arguments, "--url", self.server.url)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def metric(self, name: str, **labels: str) -> float:
        return total(samples(self.server), name, **labels)


@pytest.fixture(scope="module")
def place(store: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    folder = tmp_path_factory.mktemp("jobs")
    own = output.create(Path(shutil.copytree(store, folder / "own")))
    exports, key, collector = folder / "exports", folder / "key", Collector()
    exports.mkdir()
    key.write_bytes(KEY + b"\n")
    told = ("--webhook-allow", collector.url, "--webhook-key", str(key))
    limits = (*LEASE, "--job-memory", "48MiB", "--exports", str(exports))
    server = Server(own, folder / "server.log", *limits, *told)
    yield Place(server, folder, collector)
    server.stop()
    collector.stop()


@pytest.fixture
def often(place: Place) -> Iterator[Callable[..., jobs_pb2.Job]]:
    """Makes jobs that are due by themselves; they rest after the test."""
    made: list[str] = []

    def create(name: str, *arguments: Any, **fields: Any) -> jobs_pb2.Job:
        made.append(name)
        return place.jobs.create(name, *arguments, **{"schedule": EVERY_SECOND, **fields})

    yield create
    for name in made:
        place.jobs.pause(name)


# A job's life.


def test_a_job_runs_when_it_is_due_and_is_seen_by_sql(place: Place, often: Callable[..., jobs_pb2.Job]) -> None:
    them, sql = place.jobs, "SELECT $run_time AS run_time, $run_date AS run_date"
    made = often("ticks", sql, description="what comes by the clock")
    assert (made.state, made.owner) == (jobs_pb2.JOB_STATE_ACTIVE, "local")
    until(lambda: len(them.history("ticks")) >= 3)
    history = them.history("ticks")
    jobs.assert_each_is_settled_once(history, jobs.utc(made.active_since), them.column("SELECT run_time FROM ticks"))
    assert all(run_date == time.date() for time, run_date in them.rows("SELECT run_time, run_date FROM ticks"))
    for run in history:
        assert (run["kind"], run["attempts"], run["rows"], run["code"]) == ("scheduled", 1, 1, None)
        assert run["sql_sha256"] == hashlib.sha256(sql.encode()).hexdigest()
        assert run["logical_time"] <= run["started_at"] <= run["ended_at"]
        assert json.loads(run["versions"]) == {}
    commits = "SELECT committed_at FROM system.commits WHERE table_name = 'ticks'"
    [committed] = them.column(f"{commits} AND version = {history[0]['target_version']}")
    assert history[0]["started_at"] <= committed.replace(tzinfo=UTC) <= history[0]["ended_at"] + timedelta(milliseconds=1)
    listed = them.listed("ticks")
    shown = {"owner": "local", "state": "active", "schedule": "every 1s", "target": "table ticks, append", "overdue": False}
    assert shown.items() <= listed.items()
    assert (listed["sql"], listed["description"], listed["last_status"]) == (sql, "what comes by the clock", "succeeded")


def test_a_job_that_rests_runs_nothing_and_makes_nothing_up(place: Place, often: Callable[..., jobs_pb2.Job]) -> None:
    them = place.jobs
    often("restful", policy=jobs.NONE_IS_LOST)
    until(lambda: them.history("restful"))
    assert them.call("PauseJob", name="restful").job.state == jobs_pb2.JOB_STATE_PAUSED
    asleep = at_rest(them, "restful")
    assert not them.get("restful").HasField("next_run")
    assert them.listed("restful")["state"] == "paused"
    time.sleep(2)
    assert them.history("restful") == asleep
    woken = them.resume("restful")
    assert woken.state == jobs_pb2.JOB_STATE_ACTIVE
    assert jobs.utc(woken.next_run) > jobs.utc(woken.active_since)
    until(lambda: len(them.history("restful")) > len(asleep))
    assert them.history("restful")[len(asleep)]["logical_time"] > jobs.utc(woken.active_since)


def test_a_deleted_job_is_gone_and_its_rows_and_runs_stay(place: Place) -> None:
    them = place.jobs
    them.create("short_lived")
    assert succeeded(them.run("short_lived"))
    assert place.metric("didymium_job_runs_total", job="short_lived", status="succeeded") == 1
    them.call("DeleteJob", name="short_lived")
    for method in ("GetJob", "DeleteJob", "PauseJob", "ResumeJob", "RunJob"):
        missing = refusal(lambda method=method: them.call(method, name="short_lived"))
        assert missing == (StatusCode.NOT_FOUND, "there is no job short_lived")
    assert them.rows("SELECT * FROM system.jobs WHERE job_name = 'short_lived'") == []
    assert len(them.history("short_lived")) == len(them.rows("SELECT * FROM short_lived")) == 1
    until(lambda: place.metric("didymium_job_runs_total", job="short_lived") == 0)


def test_a_job_that_is_changed_keeps_its_owner_and_its_runs(place: Place) -> None:
    them = place.jobs
    made = them.create("changing", "SELECT 1 AS x")
    assert refusal(lambda: them.create("changing"))[0] == StatusCode.ALREADY_EXISTS
    assert succeeded(them.run("changing"))
    changed = them.update("changing", "SELECT 2 AS x")
    assert (changed.owner, jobs.utc(changed.created)) == (made.owner, jobs.utc(made.created))
    assert changed.active_since == made.active_since, "its schedule is the same"
    assert succeeded(them.run("changing"))
    assert sorted(them.column("SELECT x FROM changing")) == [1, 2]
    assert len({run["sql_sha256"] for run in them.history("changing")}) == 2
    moved = them.update("changing", schedule={"every": {"seconds": 86_400}})
    assert jobs.utc(moved.active_since) > jobs.utc(made.active_since)
    assert refusal(lambda: them.update("nobody"))[0] == StatusCode.NOT_FOUND


def test_the_command_line_makes_shows_and_runs_jobs(place: Place) -> None:
    definition = """
        name = "{name}"
        description = "by hand, \\"quoted\\""
        sql = '''SELECT $run_date AS run_date, $element AS element, $day AS day'''
        schedule = {{ cron = "0 6 * * *", zone = "Asia/Shanghai" }}
        target = {{ table = "typed" }}
        parameters = {{ element = "NdPr", day = {{ date = "2026-03-31" }} }}
        checks = [{{ name = "rows", sql = "SELECT 1 FROM result WHERE element IS NULL" }}]
    """
    files = [place.file(f"{name}.toml", definition.format(name=name)) for name in ("typed_b", "typed_a")]
    place.cli("create", *files)
    listed = list(csv.DictReader(io.StringIO(place.cli("list", "--format", "csv"))))
    mine = [job for job in listed if job["name"].startswith("typed_")]
    assert [(job["name"], job["state"], job["owner"]) for job in mine] == [("typed_a", "active", "local"), ("typed_b", "active", "local")]

    [run] = json.loads(place.cli("run", "typed_a", "--at", "2026-05-31T01:30:00+08:00", "--format", "json"))
    assert (run["status"], run["kind"], run["rows"]) == ("succeeded", "manual", 1)
    assert place.jobs.rows("SELECT * FROM typed") == [(date(2026, 5, 31), "NdPr", date(2026, 3, 31))]
    [same] = json.loads(place.cli("runs", "typed_a", "--format", "json"))
    assert same == run
    again = harness.run("job", "run", "typed_a", "--at", "2026-05-30T17:30:00Z", "--url", place.server.url)
    assert again.returncode != 0
    assert "can't land twice" in again.stderr
    assert json.loads(place.cli("replay", "typed_a", "--at", "2026-05-30T17:30:00Z", "--format", "json"))[0]["rows_equal"]

    # What is shown is a definition again.
    shown = place.cli("show", "typed_a")
    assert "# active, made by local" in shown
    before = place.jobs.get("typed_a")
    place.cli("update", place.file("shown.toml", shown))
    after = place.jobs.get("typed_a")
    assert after.definition == before.definition
    assert after.last_run == before.last_run

    place.cli("pause", "typed_a")
    assert place.jobs.state("typed_a") == "PAUSED"
    place.cli("resume", "typed_a")
    assert place.jobs.state("typed_a") == "ACTIVE"
    place.cli("delete", "typed_a")
    missing = harness.run("job", "show", "typed_a", "--url", place.server.url)
    assert missing.returncode != 0
    assert "there is no job typed_a" in missing.stderr


def test_the_command_line_says_that_a_run_failed(place: Place) -> None:
    place.jobs.create("failing_by_hand", FAILING)
    done = harness.run("job", "run", "failing_by_hand", "--format", "json", "--url", place.server.url)
    assert done.returncode == 1
    [run] = json.loads(done.stdout)
    assert (run["status"], run["code"]) == ("failed", "INVALID_ARGUMENT")
    assert run["message"] in done.stderr


def test_a_run_has_its_own_parameters_and_those_of_its_job(place: Place) -> None:
    truth = query_pb2.Value(boolean=True)
    given = {"one": integer(1), "half": number(0.5), "word": text("'; --"), "truth": truth, "day": day(2026, 2, 28)}
    names = [*given, "run_date", "period_start", "period_end"]
    sql = "SELECT " + ", ".join(f"${name} AS {name}" for name in names)
    new_york = {"cron": {"expression": "0 6 * * *", "zone": "America/New_York"}}
    place.jobs.create("given", sql, schedule=new_york, parameters=given)
    assert succeeded(place.jobs.run("given", "2026-03-01T04:59:59Z"))  # still the last day of February there
    own = (date(2026, 2, 28), date(2026, 1, 1), date(2026, 1, 31))
    assert place.jobs.rows("SELECT * FROM given") == [(1, 0.5, "'; --", True, date(2026, 2, 28), *own)]


def test_pages_of_runs_hold_each_run_once(place: Place) -> None:
    them = place.jobs
    them.create("paged")
    days = [f"2026-01-0{number}T00:00:00Z" for number in range(1, 6)]
    for at in days:
        them.run("paged", at)
    seen, token = [], ""
    while True:
        page = them.call("ListJobRuns", job="paged", page_size=2, page_token=token)
        assert len(page.runs) <= 2
        seen += [jobs.utc(run.logical_time) for run in page.runs]
        token = page.next_page_token
        if not token:
            break
    assert seen == [moment(at) for at in reversed(days)]
    assert refusal(lambda: them.call("ListJobRuns", job="paged", page_token="yesterday"))[0] == StatusCode.INVALID_ARGUMENT


REFUSED = {
    "no statement": (define("refused", " "), StatusCode.INVALID_ARGUMENT),
    "no SQL": (define("refused", "SELECT FROM WHERE"), StatusCode.INVALID_ARGUMENT),
    "a command": (define("refused", "CREATE VIEW v AS SELECT 1 AS one"), StatusCode.INVALID_ARGUMENT),
    "two statements": (define("refused", "SELECT 1 AS x; SELECT 2 AS x"), StatusCode.INVALID_ARGUMENT),
    "an unknown column": (define("refused", "SELECT nothing FROM quotas"), StatusCode.INVALID_ARGUMENT),
    "an unknown table": (define("refused", "SELECT * FROM nowhere"), StatusCode.NOT_FOUND),
    "an unknown parameter": (define("refused", "SELECT $nothing AS x"), StatusCode.INVALID_ARGUMENT),
    "a name in capitals": (define("Refused"), StatusCode.INVALID_ARGUMENT),
    "a target that is no name": (define("refused", into="../quotas"), StatusCode.INVALID_ARGUMENT),
    "the history as target": (define("refused", into="_job_runs"), StatusCode.INVALID_ARGUMENT),
    "no schedule": (define("refused", schedule={}), StatusCode.INVALID_ARGUMENT),
    "no calendar": (define("refused", schedule={"cron": {"expression": "now and then"}}), StatusCode.INVALID_ARGUMENT),
    "a day that never comes": (define("refused", schedule={"cron": {"expression": "0 0 30 2 *"}}), StatusCode.INVALID_ARGUMENT),
    "no zone": (define("refused", schedule={"cron": {"expression": "0 6 * * *", "zone": "Mars/Olympus"}}), StatusCode.INVALID_ARGUMENT),
    "too often": (define("refused", schedule={"every": {"nanos": 500_000_000}}), StatusCode.INVALID_ARGUMENT),
    "a negative time": (define("refused", schedule={"every": {"seconds": -1}}), StatusCode.INVALID_ARGUMENT),
    "a parameter of every run's": (define("refused", parameters={"run_date": integer(1)}), StatusCode.INVALID_ARGUMENT),
    "too long": (define("refused", policy={"timeout": {"seconds": 25 * 3600}}), StatusCode.INVALID_ARGUMENT),
    "a check of what is not there": (define("refused", checks={"c": "SELECT * FROM result WHERE y IS NULL"}), StatusCode.INVALID_ARGUMENT),
    "a check that is none": (define("refused", checks={"c": "DROP VIEW v"}), StatusCode.INVALID_ARGUMENT),
    "a file for all runs": (define("refused", file="growth.csv"), StatusCode.INVALID_ARGUMENT),
    "a file elsewhere": (define("refused", file="../{run_time}.csv"), StatusCode.INVALID_ARGUMENT),
    "a file of no form": (define("refused", file="{run_time}.xlsx"), StatusCode.INVALID_ARGUMENT),
    "after nobody": (define("refused", schedule={"after_job": "nobody"}), StatusCode.INVALID_ARGUMENT),
    "after itself": (define("refused", schedule={"after_job": "refused"}), StatusCode.INVALID_ARGUMENT),
    "its own target": (define("refused", schedule={"on_commit_table": "refused"}), StatusCode.INVALID_ARGUMENT),
    "an address that is not allowed": (define("refused", notify={"url": "http://127.0.0.1:9/hooks"}), StatusCode.INVALID_ARGUMENT),
    "an address that is none": (define("refused", notify={"url": "a friend"}), StatusCode.INVALID_ARGUMENT),
}


@pytest.mark.parametrize("why", REFUSED)
def test_what_could_not_run_is_refused(place: Place, why: str) -> None:
    definition, code = REFUSED[why]
    told = outcome_of(lambda: place.jobs.call("CreateJob", definition=definition))
    there = [job.definition.name for job in place.jobs.call("ListJobs").jobs]
    if definition.name in there:
        place.jobs.call("DeleteJob", name=definition.name)
    assert told[0] == code, told
    assert definition.name not in there


def test_jobs_that_would_start_one_another_for_ever_are_refused(place: Place) -> None:
    them = place.jobs
    for table in ("circle_a", "circle_b", "circle_c"):
        place.load(table, "x", 1)
    them.create("circle_1", into="circle_b", schedule={"on_commit_table": "circle_a"})
    them.create("circle_2", into="circle_c", schedule={"on_commit_table": "circle_b"})
    back = refusal(lambda: them.create("circle_3", into="circle_a", schedule={"on_commit_table": "circle_c"}))
    assert back[0] == StatusCode.INVALID_ARGUMENT
    assert "it would start itself" in back[1]
    them.create("circle_4", schedule={"after_job": "circle_2"})
    back = refusal(lambda: them.update("circle_2", schedule={"after_job": "circle_4"}))
    assert back[0] == StatusCode.INVALID_ARGUMENT
    followed = refusal(lambda: them.call("DeleteJob", name="circle_2"))
    assert followed[0] == StatusCode.FAILED_PRECONDITION
    assert "circle_4" in followed[1]


# When it is due.


@pytest.mark.parametrize("zone", ["UTC", "Asia/Shanghai", "America/New_York"])
def test_a_preview_gives_the_times_of_the_zones_clock(place: Place, zone: str) -> None:
    printed = place.cli("preview", "--cron", "30 6 * * 1-5", "--zone", zone, "--count", "100", "--format", "csv")
    [_, *times] = printed.split()
    local = [moment(it).astimezone(ZoneInfo(zone)) for it in times]
    assert {it.strftime("%H:%M") for it in local} == {"06:30"}
    first, last = local[0].date(), local[-1].date()
    assert first - timedelta(days=4) <= jobs.now().astimezone(ZoneInfo(zone)).date() <= first
    days = [first + timedelta(days=number) for number in range((last - first).days + 1)]
    assert [it.date() for it in local] == [it for it in days if it.weekday() < 5]


def test_a_preview_of_a_job_is_that_of_its_schedule(place: Place) -> None:
    place.jobs.create("previewed", schedule={"every": {"seconds": 3600}})
    previewed = place.jobs.call("PreviewSchedule", job="previewed", count=3).times
    assert list(previewed) == list(place.jobs.call("PreviewSchedule", schedule={"every": {"seconds": 3600}}, count=3).times)
    assert len(previewed) == 3
    assert place.jobs.get("previewed").next_run == previewed[0]
    for wrong in ({"schedule": {"cron": {"expression": "* *"}}}, {}, {"job": "previewed", "count": 101}):
        assert refusal(lambda wrong=wrong: place.jobs.call("PreviewSchedule", **wrong))[0] == StatusCode.INVALID_ARGUMENT


def test_a_commit_starts_a_job_that_sees_its_rows(place: Place, often: Callable[..., jobs_pb2.Job]) -> None:
    them = place.jobs
    place.load("arrivals", "x", 1)
    often("on_arrival", "SELECT $run_time AS run_time, count(*) AS n FROM arrivals", schedule={"on_commit_table": "arrivals"})
    place.load("arrivals", "x", 2, 3)
    until(lambda: len(them.history("on_arrival")) == 1)
    output.done("store", "compact", "arrivals", "--store", place.server.store)  # brings nothing new
    place.load("arrivals", "x", 4)
    until(lambda: len(them.history("on_arrival")) == 2)
    assert them.column("SELECT n FROM on_arrival ORDER BY run_time") == [3, 4]
    commits = them.rows("SELECT version, committed_at FROM system.commits WHERE table_name = 'arrivals'")
    committed = {version: time.replace(tzinfo=UTC) for version, time in commits}
    for run in them.history("on_arrival"):
        version = json.loads(run["versions"])["arrivals"]
        assert abs(run["logical_time"] - committed[version]) < timedelta(milliseconds=1)


def test_a_release_fires_when_it_arrives_and_is_overdue_after_its_day(place: Place, often: Callable[..., jobs_pb2.Job]) -> None:
    them, today = place.jobs, jobs.now().date()
    by = today - timedelta(days=3)
    release = {"table": "releases", "by_day": by.day, "lag_months": 1}
    sql = "SELECT $period_end AS period_end, count(*) AS n FROM releases WHERE period_end = $period_end"
    place.load("releases", "period_end", "2020-01-31")
    told = {"url": place.collector.url, "on": [jobs_pb2.JOB_EVENT_OVERDUE]}
    often("on_release", sql, schedule={"release": release}, notify=told)
    assert not them.get("on_release").overdue
    assert jobs.utc(them.get("on_release").next_run).day == by.day or by.day > 28
    assert place.metric("didymium_job_overdue", job="on_release") == 0

    backdate(place.server.store, "on_release", by - timedelta(days=1))
    until(lambda: them.listed("on_release")["overdue"])
    assert them.get("on_release").overdue
    until(lambda: place.metric("didymium_job_overdue", job="on_release") == 1)
    until(lambda: place.collector.of("on_release"))
    [overdue] = place.collector.of("on_release")
    assert (overdue["event"], overdue["logical_time"]) == ("overdue", f"{by}T00:00:00Z")
    assert them.history("on_release") == []

    before = by.replace(day=1) - timedelta(days=1)
    place.load("releases", "period_end", before)
    until(lambda: them.history("on_release"))
    [run] = them.history("on_release")
    assert (run["logical_time"], run["status"]) == (datetime(by.year, by.month, by.day, tzinfo=UTC), "succeeded")
    assert them.rows("SELECT * FROM on_release") == [(before, 1)]
    until(lambda: place.metric("didymium_job_overdue", job="on_release") == 0)
    assert not them.listed("on_release")["overdue"]


def test_a_job_after_another_runs_for_the_same_times_where_that_succeeded(place: Place, often: Callable[..., jobs_pb2.Job]) -> None:
    them = place.jobs
    often("upstream", ODD, policy={"suspend_after": 0, "retries": 0})
    often("downstream", "SELECT $run_time AS run_time", schedule={"after_job": "upstream"})
    until(lambda: len(them.history("downstream")) >= 4)
    them.pause("upstream")
    at_rest(them, "upstream")
    until(lambda: them.history("downstream")[-1]["logical_time"] == them.history("upstream")[-1]["logical_time"])
    status = {run["logical_time"]: run["status"] for run in them.history("upstream")}
    followed = them.history("downstream")
    for run in followed:
        failed = status[run["logical_time"]] == "failed"
        assert (run["status"], run["code"]) == (("skipped", "SKIPPED_UPSTREAM") if failed else ("succeeded", None))
        assert not failed or "upstream" in run["message"]
    assert {run["status"] for run in followed} == {"skipped", "succeeded"}
    landed = them.column("SELECT run_time FROM downstream ORDER BY run_time")
    assert landed == [run["logical_time"] for run in followed if run["status"] == "succeeded"]


@pytest.mark.parametrize("overlap", ["SKIP", "QUEUE"])
def test_what_falls_due_during_a_run_is_skipped_or_waits(place: Place, often: Callable[..., jobs_pb2.Job], overlap: str) -> None:
    them, name = place.jobs, f"overlap_{overlap.lower()}"
    policy = {"timeout": {"seconds": 2, "nanos": 500_000_000}, "suspend_after": 0, "overlap": f"OVERLAP_{overlap}"}
    made = often(name, ENDLESS, policy=policy)
    until(lambda: [run["status"] for run in them.history(name)].count("failed") >= 3)
    history = them.history(name)
    times = sorted(jobs.accounted(history))
    assert times == jobs.due(jobs.utc(made.active_since), times[-1])
    made_ = [run for run in history if run["status"] == "failed"]
    skipped = [run for run in history if run["status"] == "skipped"]
    assert {run["code"] for run in made_} == {"DEADLINE_EXCEEDED"}
    assert {run["code"] for run in skipped} == {"SKIPPED_OVERLAP"}
    for before, after in zip(made_, made_[1:], strict=False):
        assert before["ended_at"] <= after["started_at"]
        waited = after["logical_time"] <= before["ended_at"]
        assert waited == (overlap == "QUEUE")


# Where its rows go.


def test_rows_that_fail_a_check_do_not_land(place: Place) -> None:
    them = place.jobs
    checks = {
        "positive": "SELECT * FROM result WHERE x <= 0",
        "not there yet": "SELECT result.x FROM result JOIN checked_before ON checked_before.x = result.x",
    }
    place.load("checked_before", "x", 7)
    sql = "SELECT date_part('day', $run_date) - 3 AS x"
    them.create("checked", sql, checks=checks)
    assert succeeded(them.run("checked", "2026-01-04T00:00:00Z"))
    there = them.rows("SELECT * FROM checked")
    for at, said in {"2026-01-01T00:00:00Z": ("positive", "x=-2"), "2026-01-10T00:00:00Z": ("not there yet", "x=7")}.items():
        run = them.run("checked", at)
        assert (run.status, run.code, run.attempts, run.rows) == (jobs_pb2.RUN_STATUS_FAILED, "CHECK_FAILED", 1, 1)
        assert all(part in run.message for part in said), run.message
        assert not run.HasField("committed_version")
    assert them.rows("SELECT * FROM checked") == there


def test_a_replacing_job_leaves_its_last_rows(place: Place) -> None:
    them = place.jobs
    them.create("replacing", "SELECT $run_date AS day, x FROM generate_series(1, 3) t(x)", mode="REPLACE")
    for at in ("2026-01-01T00:00:00Z", "2026-01-02T00:00:00Z"):
        assert succeeded(them.run("replacing", at))
    assert them.column("SELECT day FROM replacing") == [date(2026, 1, 2)] * 3


@pytest.mark.parametrize("columns", ["$period_start AS period_start, $period_end AS period_end", "$period_end AS period"])
def test_rows_take_the_place_of_those_of_the_same_period(place: Place, columns: str) -> None:
    them, name = place.jobs, "by_" + columns.split()[-1]
    them.create(name, f"SELECT {columns}, $run_date AS made, 'x' AS word", mode="REPLACE_PERIOD")
    for at in ("2026-02-10", "2026-03-10", "2026-02-20", "2026-04-01"):
        assert succeeded(them.run(name, f"{at}T00:00:00Z"))
    period = columns.split()[-1]
    assert them.rows(f"SELECT {period}, made FROM {name} ORDER BY 1") == [
        (date(2026, 1, 31), date(2026, 2, 20)),
        (date(2026, 2, 28), date(2026, 3, 10)),
        (date(2026, 3, 31), date(2026, 4, 1)),
    ]


def test_a_replaced_period_needs_one(place: Place) -> None:
    them = place.jobs
    them.create("without_period", "SELECT 1 AS x", mode="REPLACE_PERIOD")
    runs = [them.run("without_period", f"2026-01-0{number}T00:00:00Z") for number in (1, 2)]
    assert [run.code for run in runs if not succeeded(run)], "the rows of no period are in the place of none"
    assert runs[-1].code == "INVALID_ARGUMENT"


def test_figures_become_vintages_where_they_say_something_new(place: Place) -> None:
    them = place.jobs
    value = "CAST(date_part('month', $run_date) AS DOUBLE) AS value"
    sql = f"SELECT 'upserted' AS mine, $period_start AS period_start, $period_end AS period_end, {value}"
    them.create("upserting", sql, into="output", mode="UPSERT")
    for at in ("2026-02-10", "2026-02-11", "2026-03-10"):
        run = them.run("upserting", f"{at}T00:00:00Z")
        assert succeeded(run), run.message
    vintages = "SELECT period_end, value, published_on, source_id FROM all_vintages('output') WHERE mine = 'upserted' ORDER BY 1"
    assert them.rows(vintages) == [
        (date(2026, 1, 31), 2.0, date(2026, 2, 10), "job_upserting"),
        (date(2026, 2, 28), 3.0, date(2026, 3, 10), "job_upserting"),
    ]


@pytest.mark.parametrize("mode", ["REPLACE", "REPLACE_PERIOD"])
def test_figures_are_never_replaced(place: Place, mode: str) -> None:
    them, name = place.jobs, f"never_{mode.lower()}"
    before = them.rows("SELECT count(*) FROM all_vintages('output')")
    sql = "SELECT 'a' AS mine, $period_start AS period_start, $period_end AS period_end, 1.0 AS value"
    them.create(name, sql, into="output", mode=mode)
    run = them.run(name)
    assert (run.code, run.attempts) == ("FAILED_PRECONDITION", 1), run.message
    assert them.rows("SELECT count(*) FROM all_vintages('output')") == before


READERS = {"parquet": pq.read_table, "csv": pa.csv.read_csv, "arrow": lambda file: pa.ipc.open_stream(file.read_bytes()).read_all()}


@pytest.mark.parametrize("form", READERS)
def test_a_run_writes_a_file_of_its_own(place: Place, form: str) -> None:
    them, name = place.jobs, f"to_{form}"
    path = "reports/{job}/{run_date}_{period_end}-{run_time}." + form
    them.create(name, "SELECT x, $run_date AS run_date FROM generate_series(1, 3) t(x) ORDER BY x", file=path)
    for at in ("2026-03-01", "2026-03-02"):
        run = them.run(name, f"{at}T06:00:00Z")
        assert succeeded(run), run.message
        assert run.file == f"reports/{name}/{at}_2026-02-28-{at.replace('-', '')}T060000Z.{form}"
        assert not run.HasField("committed_version")
        file = place.exports / run.file
        assert hashlib.sha256(file.read_bytes()).hexdigest() == run.file_sha256
        assert READERS[form](file).to_pydict() == {"x": [1, 2, 3], "run_date": [date.fromisoformat(at)] * 3}
    assert len(list((place.exports / "reports" / name).iterdir())) == 2


def test_a_run_does_not_take_anothers_file_for_its_own(place: Place) -> None:
    them = place.jobs
    for number in (1, 2):
        them.create(f"same_path_{number}", f"SELECT {number} AS x", file="same/{run_time}.csv")
    first, second = (them.run(f"same_path_{number}", "2026-03-01T06:00:00Z") for number in (1, 2))
    assert succeeded(first), first.message
    assert not succeeded(second), second.message
    assert (place.exports / first.file).read_text().split() == ["x", "1"]


def test_files_go_into_the_store_where_there_is_no_other_place(own_store: Path, serve: Callable[..., Server]) -> None:
    them = Jobs(serve(own_store, *LEASE).channel)
    them.create("inside", file="{run_time}.parquet")
    run = them.run("inside", "2026-03-01T06:00:00Z")
    assert succeeded(run), run.message
    file = own_store / "_didymium" / "exports" / "20260301T060000Z.parquet"
    assert hashlib.sha256(file.read_bytes()).hexdigest() == run.file_sha256
    assert ": 0 damaged or missing" in output.done("store", "verify", "--store", own_store)


# What goes wrong.


def test_a_statement_that_fails_is_not_tried_again(place: Place) -> None:
    them = place.jobs
    them.create("failing", FAILING)
    run = them.run("failing")
    assert (run.status, run.code, run.attempts) == (jobs_pb2.RUN_STATUS_FAILED, "INVALID_ARGUMENT", 1)
    assert "zero" in run.message
    assert not run.HasField("rows")
    place.load("fleeting", "x", 1)
    them.create("sourceless", "SELECT x FROM fleeting")
    output.done("table", "drop", "fleeting", "--store", place.server.store, "--yes")
    run = them.run("sourceless")
    assert (run.code, run.attempts) == ("NOT_FOUND", 1), run.message
    for table in ("failing", "sourceless"):
        assert not is_there(them, table)


def test_a_first_run_whose_rows_cannot_land_leaves_no_table(place: Place) -> None:
    them = place.jobs
    them.create("twins", "SELECT 1 AS x FROM generate_series(1, 2)")  # a table's rows differ
    run = them.run("twins")
    assert (run.code, run.attempts) == ("INVALID_ARGUMENT", 1), run.message
    assert not is_there(them, "twins")
    them.update("twins", "SELECT x, 'one' AS word FROM generate_series(1, 2) t(x)")
    run = them.run("twins")
    assert succeeded(run), run.message


def test_a_run_may_be_made_again_after_it_failed_and_never_after_it_landed(place: Place) -> None:
    them, at = place.jobs, "2026-01-01T00:00:00Z"
    them.create("mended", FAILING)
    assert not succeeded(them.run("mended", at))
    them.update("mended", "SELECT 1 AS y")
    run = them.run("mended", at)
    assert (succeeded(run), run.sequence) == (True, 1)
    assert refusal(lambda: them.run("mended", at))[0] == StatusCode.FAILED_PRECONDITION
    assert [run["status"] for run in them.history("mended")] == ["failed", "succeeded"]
    assert them.rows("SELECT * FROM mended") == [(1,)]


def test_a_run_that_lacks_memory_is_tried_again(place: Place) -> None:
    them = place.jobs
    hungry = "SELECT cardinality(array_agg(lpad(cast(x AS VARCHAR), 500, 'x'))) AS n FROM generate_series(1, 400000) t(x)"
    them.create("hungry", hungry, policy={"retries": 1})
    run = them.run("hungry")
    assert (run.code, run.attempts) == ("RESOURCE_EXHAUSTED", 2), run.message
    assert place.server.query(hungry).rows == [(400_000,)], "queries have memory of their own"


def test_a_run_out_of_time_is_stopped(place: Place) -> None:
    them = place.jobs
    them.create("endless", ENDLESS, policy={"timeout": {"seconds": 1}})
    run = them.run("endless")
    assert (run.code, run.attempts) == ("DEADLINE_EXCEEDED", 1), run.message
    assert seconds(run) < 4


def test_a_run_is_cancelled_within_seconds_and_nothing_lands(place: Place) -> None:
    them, at = place.jobs, "2026-01-01T00:00:00Z"
    them.create("cancelled", ENDLESS)
    gone = refusal(lambda: them.call("CancelJobRun", job="cancelled", logical_time=stamp(at)))
    assert gone[0] == StatusCode.NOT_FOUND
    with ThreadPoolExecutor(1) as pool:
        running = pool.submit(them.run, "cancelled", at)
        until(lambda: them.get("cancelled").HasField("running"))
        assert jobs.utc(them.get("cancelled").running) == moment(at)
        assert them.listed("cancelled")["running"].replace(tzinfo=UTC) == moment(at)
        twice = refusal(lambda: them.run("cancelled", at))
        assert twice[0] == StatusCode.FAILED_PRECONDITION
        assert "under way" in twice[1]
        place.cli("cancel", "cancelled", "--at", at)
        run = running.result(timeout=3)
    assert (run.status, run.code) == (jobs_pb2.RUN_STATUS_FAILED, "CANCELLED")
    assert not them.get("cancelled").HasField("running")
    assert not is_there(them, "cancelled")


def test_whoever_asked_for_a_run_stops_it_by_leaving(place: Place) -> None:
    them = place.jobs
    them.create("left", ENDLESS)
    call = them.stub.RunJob.future(jobs_pb2.RunJobRequest(name="left"))
    until(lambda: them.get("left").HasField("running"))
    call.cancel()
    until(lambda: not them.get("left").HasField("running"), 3)
    used = place.server.cpu_s()
    time.sleep(1)
    assert place.server.cpu_s() - used < 0.7, "it still counts"


def test_a_job_that_fails_again_and_again_rests_until_it_is_resumed(place: Place, often: Callable[..., jobs_pb2.Job]) -> None:
    them = place.jobs
    often("hopeless", FAILING, policy={"suspend_after": 2})
    until(lambda: them.state("hopeless") == "SUSPENDED")
    listed = them.listed("hopeless")
    assert (listed["state"], listed["next_run"], listed["last_status"]) == ("suspended", None, "failed")
    assert not them.get("hopeless").HasField("next_run")
    time.sleep(1.5)
    assert len(them.history("hopeless")) == 2
    assert place.metric("didymium_job_runs_total", job="hopeless", status="failed") == 2
    assert them.resume("hopeless").state == jobs_pb2.JOB_STATE_ACTIVE
    until(lambda: them.state("hopeless") == "SUSPENDED")
    assert len(them.history("hopeless")) == 4


def test_what_is_said_of_a_suspended_job_is_so(place: Place, often: Callable[..., jobs_pb2.Job]) -> None:
    them = place.jobs
    often("suspended", FAILING, policy={"suspend_after": 2})
    until(lambda: them.state("suspended") == "SUSPENDED")
    assert succeeded(them.run("suspended", LONG_AGO))
    said, before = them.state("suspended"), len(them.history("suspended"))
    time.sleep(3)
    assert said == "SUSPENDED"  # until somebody resumes it
    assert len(them.history("suspended")) == before


# What was run before.


def test_a_backfill_makes_the_runs_of_its_days_once(place: Place) -> None:
    them = place.jobs
    for value, published_on in {1.0: "2026-01-02", 2.0: "2026-01-04"}.items():
        place.figure("filled", "2025-12", value, published_on)
    sql = "SELECT $run_time AS run_time, (SELECT max(value) FROM output WHERE mine = 'filled') AS known"
    them.create("filled", sql, schedule={"cron": {"expression": "0 6 * * *", "zone": "Asia/Shanghai"}})
    span = ("--from", "2026-01-01", "--to", "2026-01-05", "--format", "json")
    runs = json.loads(place.cli("backfill", "filled", *span))
    days = [date(2026, 1, number) for number in range(1, 6)]
    assert {(run["kind"], run["status"]) for run in runs} == {("backfill", "succeeded")}
    assert [run["known_by"] for run in runs] == list(map(str, days))
    times = [datetime(it.year, it.month, it.day, 6, tzinfo=ZoneInfo("Asia/Shanghai")).astimezone(UTC) for it in days]
    assert [moment(run["logical_time"]) for run in runs] == times
    # Each knew what was published by its day, and no more.
    assert them.rows("SELECT * FROM filled ORDER BY 1") == list(zip(times, [None, 1.0, 1.0, 2.0, 2.0], strict=True))
    assert json.loads(place.cli("backfill", "filled", *span)) == []
    wider = json.loads(place.cli("backfill", "filled", "--from", "2025-12-31", "--to", "2026-01-05", "--format", "json"))
    assert [run["known_by"] for run in wider] == ["2025-12-31"]
    assert len(them.column("SELECT run_time FROM filled")) == 6


def test_a_backfill_that_cannot_be_meant_is_refused(place: Place) -> None:
    them = place.jobs
    them.create("of_seconds", schedule=EVERY_SECOND)
    them.pause("of_seconds")
    place.load("of_events_source", "x", 1)
    them.create("of_events", schedule={"on_commit_table": "of_events_source"})
    early, late = stamp("2026-01-01T00:00:00Z"), stamp("2026-02-01T00:00:00Z")
    for name, span, code in (
        ("of_seconds", {"from": late, "to": early}, StatusCode.INVALID_ARGUMENT),
        ("of_seconds", {"from": early, "to": late}, StatusCode.INVALID_ARGUMENT),
        ("of_seconds", {"from": early}, StatusCode.INVALID_ARGUMENT),
        ("of_events", {"from": early, "to": late}, StatusCode.FAILED_PRECONDITION),
    ):
        assert refusal(lambda name=name, span=span: them.call("BackfillJob", name=name, **span))[0] == code


@pytest.mark.parametrize("form", ["parquet", "csv", "arrow"])
def test_a_replay_after_later_loads_gives_the_same_rows_and_the_same_file(place: Place, form: str) -> None:
    them, mine, name = place.jobs, f"replayed {form}", f"replayed_{form}"
    for number in range(5):
        place.figure(mine, f"2025-0{number + 1}", 100.0 + number)
    growth = "yoy(value, period_start, period_end) OVER (ORDER BY period_start) AS growth"
    sql = f"SELECT period_end, value, {growth} FROM output WHERE mine = '{mine}' ORDER BY period_end"
    them.create(name, sql, file="{job}-{run_time}." + form)
    run = them.run(name)
    assert (succeeded(run), run.rows) == (True, 5), run.message
    before = (place.exports / run.file).read_bytes()
    place.figure(mine, "2025-01", 999.0, "2026-02-01")  # a revision of what it read
    place.figure(mine, "2025-06", 7.0, "2026-02-01")
    later = them.run(name)
    assert later.rows == 6
    assert later.rows_digest != run.rows_digest
    replayed = them.call("ReplayJobRun", job=name, logical_time=run.logical_time)
    assert (replayed.rows_equal, replayed.file_equal, replayed.rows) == (True, True, 5)
    assert replayed.versions == run.versions
    assert (place.exports / run.file).read_bytes() == before


def test_a_replay_says_that_a_file_or_a_run_is_not_there(place: Place) -> None:
    them = place.jobs
    them.create("unreplayed", FAILING)
    run = them.run("unreplayed")
    failed = refusal(lambda: them.call("ReplayJobRun", job="unreplayed", logical_time=run.logical_time))
    assert failed[0] == StatusCode.FAILED_PRECONDITION
    missing = refusal(lambda: them.call("ReplayJobRun", job="unreplayed", logical_time=stamp("2026-01-01T00:00:00Z")))
    assert missing[0] == StatusCode.NOT_FOUND
    them.create("random_rows", "SELECT random() AS x")
    run = them.run("random_rows")
    replayed = them.call("ReplayJobRun", job="random_rows", logical_time=run.logical_time)
    assert (replayed.rows_equal, replayed.HasField("file_equal")) == (False, False)


# Who is told.


def test_what_a_server_tells_is_signed_and_comes_after_all(place: Place, often: Callable[..., jobs_pb2.Job]) -> None:
    them, collector = place.jobs, place.collector
    events = [jobs_pb2.JOB_EVENT_SUCCEEDED]
    often("telling", notify={"url": f"{collector.url}/of/ours", "on": events})
    often("warning", FAILING, policy={"suspend_after": 2}, notify={"url": collector.url})
    until(lambda: collector.of("telling") and any(it["event"] == "suspended" for it in collector.of("warning")))
    them.pause("telling")
    for signature, body in list(collector.received):
        assert signature == "sha256=" + hmac.new(KEY, body, "sha256").hexdigest()
    assert collector.refused == 1, "it was told again what it refused first"
    told = collector.of("telling")[0]
    [run] = [run for run in them.history("telling") if run["logical_time"] == moment(told["logical_time"])]
    assert (told["event"], told["status"], told["rows"], told["target_version"]) == ("succeeded", "succeeded", 1, run["target_version"])
    until(lambda: len(collector.of("warning")) == 3)
    warned = collector.of("warning")
    assert sorted(it["event"] for it in warned) == ["failed", "failed", "suspended"]
    assert {it["code"] for it in warned} == {"INVALID_ARGUMENT"}
    assert all("zero" in it["message"] for it in warned)


def test_metrics_tell_of_each_jobs_runs(place: Place) -> None:
    them = place.jobs
    them.create("measured", FAILING)
    assert succeeded(them.run("measured", LONG_AGO))
    assert not succeeded(them.run("measured"))
    assert not succeeded(them.run("measured"))
    counts = {status: place.metric("didymium_job_runs_total", job="measured", status=status) for status in ("succeeded", "failed")}
    assert counts == {"succeeded": 1, "failed": 2}
    assert abs(place.metric("didymium_job_last_success_timestamp_seconds", job="measured") - time.time()) < 60
    [ended] = them.column("SELECT last_success_at FROM system.jobs WHERE job_name = 'measured'")
    assert place.metric("didymium_job_last_success_timestamp_seconds", job="measured") == int(ended.replace(tzinfo=UTC).timestamp())


# Jobs that files declare.


def test_files_declare_change_and_forget_jobs(own_store: Path, serve: Callable[..., Server], tmp_path: Path) -> None:
    folder = tmp_path / "declared"
    folder.mkdir()
    (folder / "README.md").write_text("not a job")

    def declare(**sql: str) -> Jobs:
        """Starts a server over the files of these jobs and no others."""
        for file in folder.glob("*.toml"):
            file.unlink()
        for name, query in sql.items():
            definition = {"name": name, "sql": query}
            lines = [f"{key} = {json.dumps(value)}" for key, value in definition.items()]
            lines += ['schedule = { every = "1 second" }', f'target = {{ table = "{name}" }}']
            (folder / f"{name}.toml").write_text("\n".join(lines))
        return Jobs(serve(own_store, *LEASE, "--job-files", str(folder)).channel)

    def listed(them: Jobs) -> dict[str, str]:
        found = them.call("ListJobs").jobs
        assert all(job.from_file and job.owner == "local" for job in found)
        return {job.definition.name: job.definition.sql for job in found}

    them = declare(first="SELECT 1 AS x", second="SELECT 1 AS x")
    assert listed(them) == {"first": "SELECT 1 AS x", "second": "SELECT 1 AS x"}
    until(lambda: them.history("first") and them.history("second"))
    created = them.get("first").created
    them = declare(first="SELECT 2 AS x", third="SELECT 3 AS x")
    assert listed(them) == {"first": "SELECT 2 AS x", "third": "SELECT 3 AS x"}
    assert them.get("first").created == created
    until(lambda: 2 in them.column("SELECT x FROM first"))
    assert them.history("second"), "its runs stay"
    # What a client changes lasts until the file is read again.
    them.update("third", "SELECT 4 AS x")
    assert listed(declare(first="SELECT 2 AS x", third="SELECT 3 AS x"))["third"] == "SELECT 3 AS x"
    assert listed(declare()) == {}


CHAIN = """
name = "{name}"
sql = "SELECT 1 AS x"
schedule = {schedule}
target = {{ table = "{name}" }}
"""


def test_files_declare_jobs_after_one_another_whatever_their_names(own_store: Path, serve: Callable[..., Server], tmp_path: Path) -> None:
    folder = tmp_path / "declared"
    folder.mkdir()
    (folder / "a.toml").write_text(CHAIN.format(name="a", schedule='{ after = "b" }'))
    (folder / "b.toml").write_text(CHAIN.format(name="b", schedule='{ every = "1 day" }'))
    assert declared(serve(own_store, "--job-files", str(folder))) == ["a", "b"]


def test_files_forget_jobs_after_one_another_together(own_store: Path, serve: Callable[..., Server], tmp_path: Path) -> None:
    folder = tmp_path / "declared"
    folder.mkdir()
    (folder / "a.toml").write_text(CHAIN.format(name="a", schedule='{ every = "1 day" }'))
    (folder / "b.toml").write_text(CHAIN.format(name="b", schedule='{ after = "a" }'))
    serve(own_store, "--job-files", str(folder)).stop()
    for file in folder.iterdir():
        file.unlink()
    assert declared(serve(own_store, "--job-files", str(folder))) == []


def declared(server: Server) -> list[str]:
    return [job.definition.name for job in Jobs(server.channel).call("ListJobs").jobs]


FAULTS = {
    "no TOML": ("name", "a.toml"),
    "a field too many": (CHAIN.format(name="a", schedule='{ every = "1 day" }') + "\n[policy]\nretry = 3", "retry"),
    "no job": (CHAIN.format(name="a", schedule='{ every = "never" }'), "no time such as"),
    "an owner that is none": ('owner = "nobody"' + CHAIN.format(name="a", schedule='{ every = "1 day" }'), "nobody"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_file_that_declares_no_job_keeps_the_server_from_starting(own_store: Path, tmp_path: Path, fault: str) -> None:
    content, said = FAULTS[fault]
    (tmp_path / "declared").mkdir()
    (tmp_path / "declared" / "a.toml").write_text(content)
    done = harness.run("serve", "--store", own_store, "--listen", "127.0.0.1:0", "--job-files", tmp_path / "declared")
    assert done.returncode not in (0, 101)
    assert said in done.stderr


# Whose it is.


@pytest.fixture(scope="module")
def guarded(store: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Guarded]:
    folder = tmp_path_factory.mktemp("guarded")
    own = output.create(Path(shutil.copytree(store, folder / "own")))
    server = Server(own, folder / "server.log", "--auth", "token", *LEASE)
    yield Guarded(server)
    server.stop()


@dataclass
class Guarded:
    """A server that asks for tokens."""

    server: Server

    def __post_init__(self) -> None:
        self.admin = self.somebody("admin", "admin")

    def somebody(self, name: str, role: str = "schedule", *options: str) -> Somebody:
        return Somebody(self.server, harness.create_token(self.server.store, name, role, *options))


class Somebody(Caller, Jobs):
    """Whoever holds a token, with jobs."""

    def __init__(self, server: Server, token: str) -> None:
        Caller.__init__(self, server, token)
        Jobs.__init__(self, self.channel)

    rows = Jobs.rows


def test_jobs_are_made_by_those_who_may(guarded: Guarded) -> None:
    for role in ("read", "write"):
        denied = refusal(lambda role=role: guarded.somebody(role, role).create("not_made"))
        assert denied[0] == StatusCode.PERMISSION_DENIED
    assert guarded.somebody("planner").create("made_by_planner").owner == "planner"
    assert guarded.admin.create("made_by_admin").owner == "admin"
    reader = guarded.somebody("onlooker", "read")
    assert list(reader.call("ListJobs").jobs) == []
    assert len(reader.call("PreviewSchedule", schedule=EVERY_SECOND, count=2).times) == 2


def by_name(it: Somebody, method: str, name: str) -> object:
    """A call about a job."""
    at = stamp("2026-01-01T00:00:00Z")
    if method in ("CreateJob", "UpdateJob"):
        return it.call(method, definition=define(name))
    more = {"BackfillJob": {"from": at, "to": at}, "CancelJobRun": {"logical_time": at}, "ReplayJobRun": {"logical_time": at}}
    field_ = "job" if method in ("CancelJobRun", "ReplayJobRun", "ListJobRuns", "PreviewSchedule") else "name"
    return it.call(method, **{field_: name}, **more.get(method, {}))


ABOUT_A_JOB = [
    "GetJob", "UpdateJob", "DeleteJob", "PauseJob", "ResumeJob", "RunJob", "BackfillJob",
    "CancelJobRun", "ReplayJobRun", "ListJobRuns", "PreviewSchedule",
]  # fmt: skip


def test_anothers_job_is_as_one_that_is_not_there(guarded: Guarded) -> None:
    mine, other = guarded.somebody("mine"), guarded.somebody("other")
    mine.create("private")
    assert succeeded(mine.run("private"))
    for method in ABOUT_A_JOB:
        told = refusal(lambda method=method: by_name(other, method, "private"))
        missing = refusal(lambda method=method: by_name(other, method, "missing"))
        assert told[0] == StatusCode.NOT_FOUND, method
        assert told[1] == missing[1].replace("missing", "private"), method
    assert [job.definition.name for job in mine.call("ListJobs").jobs] == ["private"]
    assert list(other.call("ListJobs").jobs) == list(other.call("ListJobRuns").runs) == []
    for table in ("jobs", "job_runs"):
        count = f"SELECT count(*) FROM system.{table} WHERE job_name = 'private'"
        assert [it.rows(count)[0][0] for it in (mine, other, guarded.admin)] == [1, 0, 1]
    # The admin oversees it, and it stays its owner's.
    guarded.admin.call("PauseJob", name="private")
    assert guarded.admin.update("private", "SELECT 2 AS run_time", into="private_2").owner == "mine"
    assert "private" in [run.job for run in guarded.admin.call("ListJobRuns").runs]


def test_nobody_comes_after_anothers_job(guarded: Guarded) -> None:
    leader, follower = guarded.somebody("leader"), guarded.somebody("follower")
    leader.create("leading")
    told = refusal(lambda: follower.create("following", schedule={"after_job": "leading"}))
    missing = refusal(lambda: follower.create("following", schedule={"after_job": "missing"}))
    assert told == (missing[0], missing[1].replace("missing", "leading"))


def test_who_takes_anothers_name_does_not_see_the_runs_before(guarded: Guarded) -> None:
    first, next_ = guarded.somebody("first"), guarded.somebody("next")
    first.create("inherited", "SELECT 'secret' AS word", checks={"none": "SELECT * FROM result"})
    assert first.run("inherited", LONG_AGO).code == "CHECK_FAILED"
    first.update("inherited", "SELECT 'secret' AS word")
    assert succeeded(first.run("inherited", "2026-01-01T00:00:00Z"))
    failed = first.update("inherited", "SELECT 'secret' AS word", checks={"none": "SELECT * FROM result"})
    assert first.run("inherited").code == "CHECK_FAILED"
    first.call("DeleteJob", name="inherited")
    assert failed.owner == "first"
    next_.create("inherited", into="inherited_2")
    job = next_.get("inherited")
    assert not job.HasField("last_run"), job.last_run.message
    assert not job.HasField("last_success")
    assert next_.history("inherited") == list(next_.call("ListJobRuns", job="inherited").runs) == []
    replay = refusal(lambda: next_.call("ReplayJobRun", job="inherited", logical_time=stamp("2026-01-01T00:00:00Z")))
    assert replay[0] == StatusCode.NOT_FOUND


def test_tables_that_are_not_granted_are_not_there(guarded: Guarded) -> None:
    some = guarded.somebody("some", "schedule", "--tables", "some", "--tables", "output")
    both = {"secret": "quotas", "missing": "mizzen"}

    def told(**fields: Any) -> list[tuple[StatusCode, str]]:
        """What comes of a job that names a table which is not granted, and of one that names none."""
        given = [{key: json.loads(json.dumps(value).replace("TABLE", table)) for key, value in fields.items()} for table in both.values()]
        answers = [refusal(lambda it=it: some.create("some_job", **it)) for it in given]
        return [(code, text_.replace(table, "TABLE")) for (code, text_), table in zip(answers, both.values(), strict=True)]

    for named in (
        {"sql": "SELECT count(*) AS n FROM TABLE", "into": "some_rows"},
        {"sql": "SELECT 1 AS x", "into": "TABLE"},
        {"sql": "SELECT 1 AS x", "into": "some_rows", "checks": {"c": "SELECT * FROM result, TABLE"}},
        {"sql": "SELECT 1 AS x", "into": "some_rows", "schedule": {"on_commit_table": "TABLE"}},
        {"sql": "SELECT 1 AS x", "into": "some_rows", "schedule": {"release": {"table": "TABLE", "by_day": 1}}},
    ):
        secret, missing = told(**named)
        assert secret == missing, named
        assert secret[0] == StatusCode.NOT_FOUND, named
    some.create("some_job", "SELECT count(*) AS n FROM output", into="some_rows")
    assert succeeded(some.run("some_job"))
    assert some.rows("SELECT n FROM some_rows") == [(0,)]


def test_a_job_reads_no_more_of_the_history_than_its_owner(guarded: Guarded) -> None:
    mine, other = guarded.somebody("told"), guarded.somebody("untold")
    mine.create("told_of")
    assert succeeded(mine.run("told_of"))
    other.create("telling_of", "SELECT DISTINCT owner FROM system.job_runs", mode="REPLACE")
    for _ in range(2):
        run = other.run("telling_of")
        assert succeeded(run), run.message
    assert other.rows("SELECT owner FROM telling_of") == [("untold",)]


def test_the_history_is_read_by_its_own_name_only(guarded: Guarded) -> None:
    mine = guarded.somebody("historian")
    mine.create("historic")
    assert succeeded(mine.run("historic"))
    for relation in ("_job_runs", '"_job_runs"', "all_vintages('_job_runs')", "revisions('_job_runs')"):
        sql = f"SELECT * FROM {relation}"
        assert harness.failure(mine.queries, sql).code in (StatusCode.NOT_FOUND, StatusCode.INVALID_ARGUMENT), sql
    for table in ("tables", "columns", "files", "commits"):
        assert mine.rows(f"SELECT * FROM system.{table} WHERE table_name LIKE '%job_runs%'") == []
    assert mine.rows("SELECT DISTINCT owner FROM system.job_runs") == [("historian",)]


def test_a_view_shows_everybody_their_own_jobs_and_runs(guarded: Guarded) -> None:
    callers = {name: guarded.somebody(name) for name in ("viewer", "another_viewer")}
    for name, it in callers.items():
        it.create(f"of_{name}")
        assert succeeded(it.run(f"of_{name}"))
    for name, sql in {
        "planned": "SELECT job_name, owner FROM system.jobs",
        "planned_by": "SELECT owner, job_name FROM planned",
        "past": "SELECT DISTINCT job_name, owner FROM system.job_runs",
    }.items():
        callers["viewer"].queries.Execute(query_pb2.QueryRequest(sql=f"CREATE VIEW {name} AS {sql}"))
    for name, it in callers.items():
        assert it.rows("SELECT * FROM planned") == it.rows("SELECT * FROM past") == [(f"of_{name}", name)]
        assert it.rows("SELECT * FROM planned_by") == [(name, f"of_{name}")]


def test_a_job_whose_owner_may_no_more_does_not_run(guarded: Guarded) -> None:
    gone = guarded.somebody("gone")
    gone.create("orphaned", schedule=EVERY_SECOND, policy={"suspend_after": 0})
    until(lambda: gone.history("orphaned"))
    output.done("token", "revoke", gone.id, "--store", guarded.server.store)
    until(lambda: any(run["status"] == "failed" for run in guarded.admin.history("orphaned")))
    by_hand = guarded.admin.run("orphaned", "2026-01-01T00:00:00Z")
    guarded.admin.pause("orphaned")
    failed = [run for run in guarded.admin.history("orphaned") if run["status"] == "failed"]
    assert {(run["code"], run["attempts"]) for run in failed} == {("UNAUTHENTICATED", 1)}
    assert (by_hand.code, by_hand.attempts) == ("UNAUTHENTICATED", 1)
    assert failed[0]["message"].count("gone") == 1
    first = min(run["logical_time"] for run in failed if run["kind"] == "scheduled")
    assert all(time_ < first for time_ in guarded.admin.column("SELECT run_time FROM orphaned"))


# What the tests ask with.


def at_rest(them: Jobs, name: str) -> list[jobs.Run]:
    """The history of a job that was told to rest, once the run that was under way has ended."""
    until(lambda: not them.get(name).HasField("running"))
    until(lambda: settles(lambda: len(them.history(name))))
    return them.history(name)


def settles(value: Callable[[], object]) -> bool:
    """Whether something stays the same for longer than a server needs to look."""
    before = value()
    time.sleep(1.2)
    return value() == before


def is_there(them: Jobs, table: str) -> bool:
    """Whether the store has a table."""
    return them.rows(f"SELECT 1 FROM system.tables WHERE table_name = '{table}'") != []


def seconds(run: jobs_pb2.JobRun) -> float:
    """How long it took."""
    return (jobs.utc(run.ended) - jobs.utc(run.started)).total_seconds()


def backdate(store: Path, job: str, since: date) -> None:
    """Writes by hand since when a job is due by its schedule."""
    file = store / "_didymium" / "jobs" / f"{job}.json"
    written = json.loads(file.read_text())
    since_ms = int(datetime(since.year, since.month, since.day, tzinfo=UTC).timestamp() * 1000)
    file.write_text(json.dumps(written | {"active_since_ms": since_ms}))
