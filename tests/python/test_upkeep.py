"""Years of small loads, then a compaction: every pinned answer keeps its bytes, and few files are left."""

from __future__ import annotations

import itertools
import math
import os
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from deltalake import DeltaTable
from google.protobuf.timestamp_pb2 import Timestamp

import harness
import output
from didymium.v1 import query_pb2
from harness import MIB, Server

LOADS = int(os.environ.get("UPKEEP_LOADS", "200"))
MINES = ["Bayan Obo", "Mountain Pass", "Mount Weld", "Nolans"]

#: How long compaction may run before the next question is put.
SLICE_S = 0.02


def month(number: int) -> str:
    """The month that a load is about; the last one is December 2025."""
    months = 2026 * 12 - LOADS + number
    return f"{months // 12}-{months % 12 + 1:02}"


def figures(number: int) -> list[output.Figure]:
    """A month's figures, with holes; every fifth load revises one of the month before."""
    stated = [(mine, month(number), 1000.1 + place * 37.7 + number / 7) for place, mine in enumerate(MINES)]
    stated = [figure for place, figure in enumerate(stated) if (number + place) % 11]
    revised = [(MINES[number % 3], month(number - 1), 900.3 + number)] if number % 5 == 4 else []
    return [*stated, *revised]


EARLY = f"DATE '{month(LOADS // 8)}-01'"
WINDOW = "over (partition by series order by period_start, period_end)"
ORDER = "order by mine, period_start, published_on, statement"

#: Each has an order in full, so that there is one answer.
STATEMENTS = [
    f"select * from output {ORDER}",
    f"select * from all_vintages('output') {ORDER}",
    f"select * from as_of('output', {EARLY}) {ORDER}",
    f"select mine, period_start, yoy(value, period_start, period_end) {WINDOW} from output {ORDER}",
    f"select mine, period_start, yoy_reason(value, period_start, period_end) {WINDOW} from output {ORDER}",
    f"select mine, period_start, ytd(value, period_start, period_end) {WINDOW} from output {ORDER}",
    f"select mine, period_start, index_to(value, period_start, {EARLY}) {WINDOW} from output {ORDER}",
    "select mine, avg(value), stddev(value), median(value), count(*) from output group by mine order by mine",
    "select date_part('year', period_start) as year, sum(value) from output group by year order by year",
    f"select * from revisions('output', as_of => {EARLY}) order by mine, period_start, changed_on",
]

Question = tuple[str, dict[str, Any]]


def ask(server: Server, question: Question) -> bytes:
    """The bytes of an answer, which has rows."""
    sql, pins = question
    answer = server.query(sql, **pins)
    assert answer.summary.rows > 0, question
    return b"".join(message.arrow_ipc for message in answer.messages)


def now() -> Timestamp:
    """This moment, as a request names it."""
    moment = Timestamp()
    moment.GetCurrentTime()
    return moment


def test_compaction_changes_no_answer_and_leaves_few_files(
    own_store: Path, tmp_path: Path, serve: Callable[..., Server]
) -> None:
    store = output.create(own_store)
    moments = []
    for number in range(LOADS):
        file = output.write(tmp_path / f"{number}.csv", figures(number))
        output.done(*output.load(store, file, published_on=f"{month(number + 1)}-15"))
        moments.append(now())
    quarter, half, end = moments[LOADS // 4], moments[LOADS // 2], moments[-1]
    year, of_year = map(int, month(LOADS // 2).split("-"))
    day = query_pb2.Date(year=year, month=of_year, day=20)
    pins = [
        {"committed_as_of": quarter},
        {"committed_as_of": half},
        {"committed_as_of": end},
        {"published_as_of": day},
        {"published_as_of": day, "committed_as_of": quarter},
    ]
    questions = list(itertools.product(STATEMENTS, pins))
    server = serve(store)
    before = [ask(server, question) for question in questions]
    assert len(set(before)) > len(questions) / 2, "pins without an effect prove little"
    old, rows = LOADS // 2, output.rows(store, version=LOADS // 2)

    asked = 0
    command = [str(harness.binary()), "store", "compact", "output", "--store", str(store)]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as compaction:
        try:
            # It stands still for each question, so that the questions are spread over its whole life.
            while compaction.poll() is None:
                place = asked % len(questions)
                compaction.send_signal(signal.SIGSTOP)
                assert ask(server, questions[place]) == before[place], questions[place]
                compaction.send_signal(signal.SIGCONT)
                asked += 1
                time.sleep(SLICE_S)
        except BaseException:
            compaction.kill()
            raise
        assert f"{LOADS} files merged into " in compaction.stderr.read()
    assert asked >= 3, "too few questions were put during the compaction"

    # One that knows the table from before, and one that does not.
    servers = itertools.cycle([server, serve(store)])
    assert [ask(next(servers), question) for question in questions] == before
    assert output.rows(store, version=old) == rows
    files = [Path(uri.removeprefix("file://")) for uri in DeltaTable(store / "output").file_uris()]
    assert len(files) <= math.ceil(sum(file.stat().st_size for file in files) / (128 * MIB))
    assert "nothing to merge" in output.done("store", "compact", "output", "--store", store)


def test_a_sum_is_the_same_every_time_and_after_compaction(
    own_store: Path, tmp_path: Path, serve: Callable[..., Server]
) -> None:
    store = output.create(own_store)
    for number in range(12):
        file = output.write(tmp_path / f"{number}.csv", [("a", month(number), number + 0.1)])
        output.done(*output.load(store, file))
    server = serve(store)
    sums = [server.query("select sum(value) from output").rows for _ in range(50)]
    output.done("store", "compact", "output", "--store", store)
    sums.append(server.query("select sum(value) from output").rows)
    assert sums == [sums[0]] * len(sums)
