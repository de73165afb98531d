"""A backup is one consistent state, taken while loads go on; what is not whole is not restored."""

from __future__ import annotations

import itertools
import json
import shutil
import threading
from collections.abc import Callable, Iterator
from datetime import UTC
from pathlib import Path

import pyarrow as pa
import pytest
from deltalake import DeltaTable

import harness
import output
from harness import Server
from output import done
from test_interchange import counted, everything
from test_known import moment

MANIFEST = "_didymium/backup.json"


class Loading:
    """Loads a month after another, every one with a revision of the month before, until it is told to stop."""

    def __init__(self, store: Path, folder: Path) -> None:
        self.landed = 0
        self._store = store
        self._folder = folder
        self._landing = threading.Condition()
        self._ends = False
        self._failed: BaseException | None = None
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def wait_for(self, more: int) -> int:
        """Waits until that many more loads have landed; how many have by then."""
        with self._landing:
            enough = self.landed + more
            landed = self._landing.wait_for(lambda: self.landed >= enough or self._failed, harness.PATIENCE_S)
            assert landed and not self._failed, self._failed
            return self.landed

    def stop(self) -> None:
        """Ends with the load that is under way."""
        self._ends = True
        self._thread.join()
        assert self._failed is None, self._failed

    def _run(self) -> None:
        try:
            for number in itertools.count(1):
                if self._ends:
                    return
                file = output.write(self._folder / "month.csv", self.figures(number))
                done(*output.load(self._store, file, published_on=f"2025-{number // 28 + 1:02}-{number % 28 + 1:02}"))
                with self._landing:
                    self.landed = number
                    self._landing.notify_all()
        except BaseException as error:
            with self._landing:
                self._failed = error
                self._landing.notify_all()

    @staticmethod
    def figures(number: int) -> list[output.Figure]:
        """What the load of that number says: of two mines, a new month and the month before."""
        months = [f"{2000 + month // 12}-{month % 12 + 1:02}" for month in (number - 1, number)]
        return [(mine, month, number + place / 4) for mine in "ab" for place, month in enumerate(months)]


@pytest.fixture
def loading(own_store: Path, tmp_path: Path) -> Iterator[Loading]:
    """A table `output` into which loads go on."""
    loading = Loading(output.create(own_store), tmp_path)
    yield loading
    loading.stop()


@pytest.fixture
def backup(own_store: Path, tmp_path: Path) -> Path:
    """A backup of a store with the shipped figures and a table `output` of three loads and a compaction."""
    output.create(own_store)
    for month in range(1, 4):
        done(*output.load(own_store, output.write(tmp_path / "a.csv", [("a", f"2024-{month:02}", month / 4)])))
    done("store", "compact", "output", "--store", own_store)
    done("store", "backup", tmp_path / "backup", "--store", own_store)
    return tmp_path / "backup"


def test_a_backup_while_loads_go_on_is_one_state(
    own_store: Path, loading: Loading, tmp_path: Path, serve: Callable[..., Server]
) -> None:
    taken: dict[Path, dict[str, int]] = {}
    for number in range(3):
        before = loading.wait_for(1)
        backup = tmp_path / f"backup {number}"
        done("store", "backup", backup, "--store", own_store)
        taken[backup] = json.loads((backup / MANIFEST).read_text())["tables"]
        assert before <= taken[backup]["output"] < loading.wait_for(1)
    loading.stop()

    server = serve(own_store)
    for backup, tables in taken.items():
        assert sorted(tables) == sorted([*harness.BUILT_IN_TABLES, "output"])
        restored = backup.with_name(f"{backup.name} restored")
        done("store", "restore", backup, "--store", restored)
        assert "0 damaged" in done("store", "verify", "--store", restored)
        again = serve(restored)
        for name, newest in tables.items():
            assert DeltaTable(restored / name).version() == newest
            for version in range(newest + 1):
                then, now = (DeltaTable(store / name, version=version) for store in (own_store, restored))
                assert counted(pa.table(then.to_pyarrow_table())) == counted(pa.table(now.to_pyarrow_table()))
            sql = f"select committed_at from system.commits where table_name = '{name}' and version = {newest}"
            [[committed]] = again.query(sql).rows
            pin = {"committed_as_of": moment(committed.replace(tzinfo=UTC))}
            assert counted(again.query(everything(name)).table) == counted(server.query(everything(name), **pin).table)
        answer = again.query("select count(*) from all_vintages('output')")
        assert answer.summary.table_versions == {"output": tables["output"]}
        assert answer.rows == [(4 * tables["output"],)], "every load is in it whole or not at all"


def test_a_restored_store_goes_on_as_the_first_would(own_store: Path, backup: Path, tmp_path: Path) -> None:
    restored = tmp_path / "restored"
    done("store", "restore", backup, "--store", restored)
    assert output.rows(restored) == output.rows(own_store)
    same = output.write(tmp_path / "a.csv", [("a", "2024-03", 0.75)])
    assert "nothing changed" in done(*output.load(restored, same))
    done(*output.load(restored, output.write(tmp_path / "b.csv", [("a", "2024-04", 1.0)])))
    assert len(output.rows(restored)) == 4
    done("store", "backup", tmp_path / "again", "--store", restored)
    done("store", "restore", tmp_path / "again", "--store", tmp_path / "third")
    assert output.rows(tmp_path / "third") == output.rows(restored)


def test_a_backup_of_a_purged_store_holds_none_of_what_was_purged(own_store: Path, tmp_path: Path) -> None:
    output.create(own_store)
    for mine in ("kept", "purged"):
        done(
            *output.load(own_store, output.write(tmp_path / f"{mine}.csv", [(mine, "2024-01", 1.0)]), "--load-id", mine)
        )
    done("store", "purge", "output", "--load", "purged", "--reason", "a court said so", "--store", own_store)
    done("store", "backup", tmp_path / "backup", "--store", own_store)
    done("store", "restore", tmp_path / "backup", "--store", tmp_path / "restored")
    assert output.rows(tmp_path / "restored") == output.rows(own_store)
    assert output.files(tmp_path / "restored") == output.files(own_store)
    assert len(output.files(own_store)) == 1


def data_files(backup: Path) -> dict[str, Path]:
    """A file that the newest version has, and one that only older versions have."""
    live = Path(DeltaTable(backup / "output").file_uris()[0])
    old = next(file for file in sorted((backup / "output").glob("*.parquet")) if file.name != live.name)
    return {"of the newest version": live, "of an older version": old}


def assert_refused(backup: Path, target: Path, *words: str) -> None:
    """The backup is not restored, for a reason that has these words, and nothing is there afterwards."""
    ran = harness.run("store", "restore", backup, "--store", target)
    assert ran.returncode == 1, ran.stderr
    for word in words:
        assert word in ran.stderr
    assert not target.exists() or list(target.iterdir()) == []


@pytest.mark.parametrize("which", ["of the newest version", "of an older version"])
@pytest.mark.parametrize("damage", ["a bit", "the end", "all of it", "gone"])
def test_a_damaged_data_file_is_named_and_nothing_is_restored(
    backup: Path, tmp_path: Path, which: str, damage: str
) -> None:
    file = data_files(backup)[which]
    content = bytearray(file.read_bytes())
    match damage:
        case "a bit":
            content[len(content) // 2] ^= 1
        case "the end":
            del content[-10:]
        case "all of it":
            content.clear()
    file.write_bytes(content)
    if damage == "gone":
        file.unlink()
    assert_refused(backup, tmp_path / "restored", file.name)


@pytest.mark.parametrize("damage", ["a digit", "half of it", "gone"])
def test_a_damaged_entry_of_a_log_is_refused(backup: Path, tmp_path: Path, damage: str) -> None:
    entry = backup / "output" / "_delta_log" / f"{2:020}.json"
    text = entry.read_text()
    match damage:
        case "a digit":  # the greatest value of a file: a filter would leave its rows out
            assert "0.5" in text
            entry.write_text(text.replace("0.5", "0.1"))
        case "half of it":
            entry.write_text(text[: len(text) // 2])
        case "gone":
            entry.unlink()
    assert_refused(backup, tmp_path / "restored", "output")


def test_a_backup_without_a_table_is_refused(backup: Path, tmp_path: Path) -> None:
    shutil.rmtree(backup / "output")
    assert_refused(backup, tmp_path / "restored", "output")


def test_a_half_backup_is_refused(backup: Path, tmp_path: Path) -> None:
    (backup / MANIFEST).unlink()
    assert_refused(backup, tmp_path / "restored", "no whole backup", MANIFEST)
    assert_refused(tmp_path, tmp_path / "restored", "not a Didymium store")


@pytest.mark.parametrize("holds", ["a file", "a store", "a restored store"])
def test_a_place_that_holds_something_is_refused(backup: Path, own_store: Path, tmp_path: Path, holds: str) -> None:
    target = tmp_path / "target"
    match holds:
        case "a file":
            target.mkdir()
            (target / "letter.txt").write_text("Dear Sir or Madam")
        case "a store":
            harness.init(target)
        case "a restored store":
            done("store", "restore", backup, "--store", target)
    before = {file: file.read_bytes() for file in target.rglob("*") if file.is_file()}
    for command in [("restore", backup, "--store", target), ("backup", target, "--store", own_store)]:
        ran = harness.run("store", *command)
        assert ran.returncode == 1, ran.stderr
        assert "new or empty place" in ran.stderr
    assert {file: file.read_bytes() for file in target.rglob("*") if file.is_file()} == before
