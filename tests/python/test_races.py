"""Four races between two commands that both read one version and commit the next one, each also with the answers lost.

The store lies in a bucket, and a proxy in front of it is the referee: it holds the first commit of both until both have
come, so that one must lose, and in the second form of each race it keeps the answers to itself, so that the winner must
find its own entry and the loser somebody else's.
"""

from __future__ import annotations

import itertools
import subprocess
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

import harness
import output
from bucket import Moto, Proxy
from output import done
from test_s3 import rows, versions_of

#: What each command is, by what the race calls it.
APPEND, OTHER, REPLACE, COMPACT = "append", "other", "replace", "compact"

VALUES = "select mine, period_start, value, status from all_vintages('output')"


class Referee:
    """Lets the first commits of two commands through together; their answers are lost if it says so."""

    def __init__(self, proxy: Proxy, lose_answers: bool) -> None:
        self.met = 0
        self._numbers = itertools.count()
        self._lost = itertools.count()
        self._both = threading.Barrier(2, timeout=harness.PATIENCE_S)
        proxy.before = self._before
        proxy.after = lambda request: not (lose_answers and request.is_commit and next(self._lost) < 2)

    def _before(self, request: object) -> None:
        if request.is_commit and next(self._numbers) < 2:
            self._both.wait()
            self.met += 1


@pytest.fixture
def filled(place: str, tmp_path: Path) -> str:
    """A store with three small files in `output`."""
    for month in ("2024-01", "2024-02", "2024-03"):
        done(*output.load(place, output.write(tmp_path / f"{month}.csv", [("a", month, 1.0)])))
    return place


def command(kind: str, store: str, folder: Path) -> tuple[object, ...]:
    """One side of a race."""
    if kind == COMPACT:
        return ("store", "compact", "output", "--store", store)
    if kind == REPLACE:
        return output.load(store, output.write(folder / "replace.csv", [("a", "2024-02", 7.0)]), "--supersede", "a slip")
    return output.load(store, output.write(folder / f"{kind}.csv", [(kind, "2024-04", 2.0)]))


def race(store: str, folder: Path, kinds: tuple[str, str]) -> list[subprocess.CompletedProcess[str]]:
    """How both commands ended."""
    commands = [command(kind, store, folder) for kind in kinds]
    with ThreadPoolExecutor(2) as pool:
        return list(pool.map(lambda it: harness.run(*it), commands))


@pytest.mark.parametrize("lose_answers", [False, True], ids=["", "answers lost"])
@pytest.mark.parametrize(
    "kinds", [(APPEND, OTHER), (APPEND, REPLACE), (COMPACT, REPLACE), (COMPACT, COMPACT)], ids=" with ".join
)
def test_both_happen_or_one_says_that_it_did_not(
    moto: Moto, filled: str, proxy: Proxy, tmp_path: Path, kinds: tuple[str, str], lose_answers: bool
) -> None:
    expected = rows(filled, VALUES)
    referee = Referee(proxy, lose_answers)
    ended = race(filled, tmp_path, kinds)
    proxy.before, proxy.after = lambda request: None, lambda request: True
    assert referee.met == 2, "they did not race"

    for kind, ran in zip(kinds, ended, strict=True):
        if kind == COMPACT:  # it may find that what it merged is gone, and says so
            assert ran.returncode == 0 or "try again" in ran.stderr, ran.stderr
        else:
            assert ran.returncode == 0, ran.stderr
            assert ", version " in ran.stderr
    assert any(ran.returncode == 0 for ran in ended)

    for kind in set(kinds) & {APPEND, OTHER}:
        expected.append(f"{kind},2024-04-01,2.0,final")
    if REPLACE in kinds:
        expected.remove("a,2024-02-01,1.0,final")
        expected += ["a,2024-02-01,1.0,superseded", "a,2024-02-01,7.0,final"]
    assert rows(filled, VALUES) == sorted(expected)
    versions = versions_of(moto, filled)
    assert versions == list(range(4 + sum(ran.returncode == 0 for ran in ended)))

    # Whatever was said, saying it again changes no row.
    for kind in kinds:
        done(*command(kind, filled, tmp_path))
    assert rows(filled, VALUES) == sorted(expected)
    done("store", "clean", "--store", filled, "--grace", "0s")
    assert "0 damaged" in done("store", "verify", "--store", filled)
    assert rows(filled, VALUES) == sorted(expected)
