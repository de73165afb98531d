"""The ledger: whatever is killed, a load that was acknowledged is there once, and any other is whole or absent."""

from __future__ import annotations

import itertools
import os
import random
import shutil
import subprocess
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import date, timedelta
from pathlib import Path

from deltalake import DeltaTable

import harness
import output
from harness import Server

#: Kills that hit a running process, and what chooses their victims and moments.
ROUNDS = int(os.environ.get("CRASH_ROUNDS", "20"))
SEED = int(os.environ.get("CRASH_SEED") or random.randrange(10**6))

WRITERS = ["north", "south", "east", "west"]
MINES = 3
KILLED = -9


class Place:
    """One process after the other, each of which somebody may kill."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.process: subprocess.Popen[str] | None = None
        self.killed = 0
        self.ended_well = 0

    def run(self, *arguments: object) -> int:
        """Runs one command, which may be killed or lose its race and nothing else; gives its exit code."""
        command = [str(harness.binary()), *map(str, arguments)]
        with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True) as self.process:
            told = self.process.communicate(timeout=harness.PATIENCE_S)[1]
        code = self.process.returncode
        assert code in (0, KILLED) or "was committed by another writer" in told, told
        self.killed += code == KILLED
        self.ended_well += code == 0
        return code

    def kill(self) -> None:
        """Kills what is running here, if anything is."""
        if self.process:
            self.process.kill()


@dataclass
class Ledger:
    """What the clients know: a load was acknowledged, or nobody knows and nobody asks again."""

    acknowledged: list[str] = field(default_factory=list)
    unknown: list[str] = field(default_factory=list)
    figures: dict[str, list[output.Figure]] = field(default_factory=dict)


def figures(writer: str, number: int) -> list[output.Figure]:
    """What a writer's load of this number says: figures of a day; every third corrects those before it."""
    day = date(2000, 1, 1) + timedelta(days=number - (number % 3 == 2))
    return [(f"{writer}{mine}", str(day), number + mine / 10) for mine in range(MINES)]


def write_loads(place: Place, store: Path, ledger: Ledger, stop: threading.Event) -> None:
    """Loads file after file; asks again with the same name where the process was killed, or else gives up."""
    chance = random.Random(f"{SEED}/{place.name}")
    for number in itertools.takewhile(lambda _: not stop.is_set(), itertools.count()):
        load_id = f"{place.name}-{number}"
        ledger.figures[load_id] = figures(place.name, number)
        file = output.write(store.parent / f"{load_id}.csv", ledger.figures[load_id])
        command = output.load(store, file, "--load-id", load_id, "--supersede", "counted again")
        while (code := place.run(*command)) != 0 and (code != KILLED or chance.random() < 2 / 3):
            pass
        (ledger.acknowledged if code == 0 else ledger.unknown).append(load_id)


def compact(place: Place, store: Path, stop: threading.Event) -> None:
    """Compacts again and again."""
    while not stop.is_set():
        place.run("store", "compact", "output", "--store", store)


def assert_whole(ledger: Ledger, acknowledged: list[str], rows: list[tuple[str, str, date, float]]) -> None:
    """Each load is there once with all that it says, or not at all where that is allowed."""
    there: dict[str, list[output.Figure]] = {}
    for load_id, mine, day, value in rows:
        there.setdefault(load_id, []).append((mine, str(day), value))
    assert set(acknowledged) <= there.keys()
    for load_id, stated in there.items():
        assert sorted(stated) == ledger.figures[load_id], load_id


def assert_nothing_is_left_behind(store: Path) -> None:
    """Every file is as it was written, and cleaning leaves those that a commit names, with the same rows."""
    assert ": 0 damaged or missing" in output.done("store", "verify", "--store", store)
    before = output.rows(store)
    unnamed = {store / "output" / name for name in output.files(store) - output.named_files(store)}
    left = unnamed | set(store.rglob("*#*"))  # the second: what was killed before it had its name
    assert f"{len(left)} files deleted" in output.done("store", "clean", "--grace", "0s", "--store", store)
    assert output.files(store) == output.named_files(store)
    assert list(store.rglob("*#*")) == []
    assert output.rows(store) == before


def test_an_acknowledged_load_is_there_once_and_any_other_is_whole_or_absent(
    own_store: Path, serve: Callable[..., Server]
) -> None:
    print(f"CRASH_ROUNDS={ROUNDS} CRASH_SEED={SEED}")
    store, server = output.create(own_store), serve(own_store)
    columns = ["load_id", "mine", "period_start", "value"]
    everything = f"select {', '.join(columns)} from all_vintages('output')"
    chance, ledger, stop = random.Random(SEED), Ledger(), threading.Event()
    writers, compaction = [Place(name) for name in WRITERS], Place("compaction")
    places = [*writers, compaction]
    with ThreadPoolExecutor(len(places)) as pool:
        workers = [pool.submit(write_loads, writer, store, ledger, stop) for writer in writers]
        workers.append(pool.submit(compact, compaction, store, stop))
        try:
            for _ in range(10 * ROUNDS):
                if sum(place.killed for place in places) >= ROUNDS or any(worker.done() for worker in workers):
                    break
                time.sleep(chance.uniform(0, 2))
                (compaction if chance.random() < 1 / 3 else chance.choice(writers)).kill()
                acknowledged = list(ledger.acknowledged)
                assert_whole(ledger, acknowledged, server.query(everything).rows)
        finally:
            stop.set()
    for worker in workers:
        worker.result()
    print({place.name: (place.ended_well, place.killed) for place in places})
    assert sum(place.killed for place in places) >= ROUNDS, "too few kills hit a running process"
    assert compaction.killed >= ROUNDS // 10 and compaction.ended_well > 0

    assert_whole(ledger, ledger.acknowledged, serve(store).query(everything).rows)
    read = output.read(store, columns=columns).to_pydict()
    assert_whole(ledger, ledger.acknowledged, list(zip(*read.values(), strict=True)))
    keys = "select count(*), count(distinct (series, period_start, statement)) from all_vintages('output')"
    [(rows, distinct)] = server.query(keys).rows
    assert rows == distinct
    current = "select count(*), count(distinct (mine, period_start)) from output"
    [(rows, distinct)] = server.query(current).rows
    assert rows == distinct, "what a correction corrects counts no more"
    assert_nothing_is_left_behind(store)


#: When each compaction is killed: within the whole of it, and close to the moment at which its file appears, for the
#: commit follows at once.
MOMENTS = [("share of a compaction", n / 5) for n in range(5)] + [("seconds after its file", n / 250) for n in range(5)]


def test_a_killed_compaction_changes_no_row(own_store: Path, tmp_path: Path) -> None:
    store = output.create(own_store)
    for number in range(30):
        file = output.write(tmp_path / f"{number}.csv", figures("north", number))
        output.done(*output.load(store, file, "--supersede", "counted again"))
    before = output.rows(store)
    start = time.monotonic()
    output.done("store", "compact", "output", "--store", shutil.copytree(store, tmp_path / "whole"))
    duration = time.monotonic() - start

    killed = 0
    for number, (kind, moment) in enumerate(MOMENTS):
        copy = Path(shutil.copytree(store, tmp_path / f"copy{number}"))
        files = output.files(copy)
        command = [str(harness.binary()), "store", "compact", "output", "--store", str(copy)]
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        if kind == "share of a compaction":
            moment *= duration
        else:
            while output.files(copy) == files and process.poll() is None:
                time.sleep(0.001)
        time.sleep(moment)
        process.kill()
        killed += process.wait() == KILLED
        assert output.rows(copy) == before
        assert_nothing_is_left_behind(copy)
        output.done("store", "compact", "output", "--store", copy)
        assert output.rows(copy) == before
        assert len(DeltaTable(copy / "output").file_uris()) == 1
    assert killed > len(MOMENTS) / 3, "too few compactions were killed before they were done to prove anything"
