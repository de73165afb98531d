"""The series table `output`, which the tests of the store load into, and what other programs see of it."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path

import pyarrow as pa
from deltalake import DeltaTable

import harness

DECLARATION = Path(__file__).resolve().parents[1] / "output.toml"

#: A figure: the mine, the period as a file writes it, the tonnes.
Figure = tuple[str, str, float]


def done(*arguments: object) -> str:
    """What a command that must succeed told."""
    ran = harness.run(*arguments)
    assert ran.returncode == 0, ran.stderr
    return ran.stderr + ran.stdout


def create(store: Path) -> Path:
    """Adds the table to a store."""
    done("table", "create", DECLARATION, "--store", store)
    return store


def write(file: Path, figures: Iterable[Figure]) -> Path:
    """A file to load."""
    file.write_text("mine,period,value\n" + "".join(f"{mine},{period},{value!r}\n" for mine, period, value in figures))
    return file


def load(store: Path, file: Path, *options: str, published_on: str = "2026-01-01") -> tuple[object, ...]:
    """The command that loads a file."""
    return ("load", "output", file, "--store", store, "--source", "S", "--published-on", published_on, *options)


def read(store: Path, version: int | None = None, columns: list[str] | None = None) -> pa.Table:
    """The table's rows in a version of it, by another program."""
    return pa.table(DeltaTable(store / "output", version=version).to_pyarrow_table(columns=columns))


def rows(store: Path, version: int | None = None) -> list[str]:
    """All rows, whole, in an order of their own."""
    columns = read(store, version).columns
    return sorted(map(repr, zip(*(column.to_pylist() for column in columns), strict=True)))


def files(store: Path) -> set[str]:
    """The table's files, whether a commit names them or not."""
    return {path.name for path in (store / "output").glob("*.parquet*")}


def named_files(store: Path) -> set[str]:
    """The files that any commit names."""
    entries = [entry.read_text() for entry in (store / "output" / "_delta_log").glob("*.json")]
    actions = [json.loads(line) for entry in entries for line in entry.splitlines()]
    return {action["add"]["path"] for action in actions if "add" in action}
