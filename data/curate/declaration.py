"""The declared form of a table: what its TOML allows, and whether rows keep to it."""

import csv
import io
import tomllib
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from pathlib import Path

import number
import period
import published

STANDARD = [
    "measure", "period_start", "period_end", "frequency", "cumulative", "value", "value_low", "value_high", "unit",
    "basis", "printed_value", "printed_unit", "status", "published_on", "published_precision", "source_id",
    "statement", "note",
]

STATUSES = {
    "final", "provisional", "estimated", "rounded", "derived", "contradicted", "superseded", "not_disclosed",
    "not_available", "withdrawn",
}

WITHOUT_VALUE = {"not_disclosed", "not_available", "withdrawn"}

# The earliest day on which anything here can have been published: no source is older than its subject.
EARLIEST = date(2000, 1, 1)

TYPES = {"text": str, "int": int, "double": Decimal, "date": date, "boolean": bool}


@dataclass(frozen=True)
class Table:
    name: str
    kind: str
    key: list[str]
    columns: list[dict]
    measures: list[dict]

    @classmethod
    def read(cls, path: Path) -> "Table":
        with open(path, "rb") as file:
            declared = tomllib.load(file)
        measures = declared.get("measures", [])
        return cls(declared["name"], declared["kind"], declared["key"], declared["columns"], measures)

    def header(self) -> list[str]:
        own = [column["name"] for column in self.columns]
        if self.kind == "plain":
            return own
        return own + [name for name in STANDARD if name not in own]

    def check(self, rows: list[dict], source_ids: set[str]) -> list[str]:
        """Every fault, as `row: what is wrong`."""
        faults = [f"{_name(row)}: {fault}" for row in rows for fault in self._row_faults(row, source_ids)]
        return faults + self._duplicates(rows)

    def _row_faults(self, row: dict, source_ids: set[str]) -> list[str]:
        faults = [fault for column in self.columns for fault in _column_faults(column, row.get(column["name"]))]
        faults += [f"{name} is not a column" for name in row if name not in self.header()]
        if row.get("source_id") and row["source_id"] not in source_ids:
            faults.append(f"{row['source_id']} is not a source")
        if self.kind == "series":
            faults += self._series_faults(row)
        return faults

    def _series_faults(self, row: dict) -> list[str]:
        faults = [f"{name} is missing" for name in self.header() if name not in row]
        allowed = [m for m in self.measures if all(m[c] == row[c] for c in ("measure", "unit", "basis"))]
        if not allowed:
            faults.append(f"{row['measure']}, {row['unit']}, {row['basis']} is not declared")
        elif row["value"] is not None and row["value"] < Decimal(str(allowed[0].get("min", "-Infinity"))):
            faults.append(f"{row['value']} is below the minimum")
        if row["status"] not in STATUSES:
            faults.append(f"{row['status']} is not a status")
        return faults + _period_faults(row) + _value_faults(row) + _published_faults(row)

    def _duplicates(self, rows: list[dict]) -> list[str]:
        key = list(self.key)
        if self.kind == "series":
            key += ["measure", "period_start", "period_end", "published_on", "source_id", "statement"]
        seen: dict[tuple, str] = {}
        faults = []
        for row in rows:
            identity = tuple(row.get(column) for column in key)
            if identity in seen:
                faults.append(f"{_name(row)}: same key as {seen[identity]}")
            seen[identity] = _name(row)
        ids = [row["row_id"] for row in rows if "row_id" in row]
        return faults + [f"{name}: row_id twice" for name in sorted({i for i in ids if ids.count(i) > 1})]

    def to_csv(self, rows: list[dict]) -> str:
        text = io.StringIO(newline="")
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(self.header())
        for row in rows:
            writer.writerow([_cell(row.get(column)) for column in self.header()])
        return text.getvalue()


def _name(row: dict) -> str:
    return str(next(row[name] for name in ("row_id", "oracle_id", "source_id", "entity") if row.get(name)))


def _column_faults(column: dict, value) -> list[str]:
    if value in (None, ""):
        return [] if column.get("nullable", True) else [f"{column['name']} is empty"]
    if not isinstance(value, TYPES[column["type"]]) or (column["type"] == "int" and isinstance(value, bool)):
        return [f"{column['name']} is {value!r}, not {column['type']}"]
    if "values" in column and value not in column["values"]:
        return [f"{column['name']} is {value}, which is not listed"]
    return []


def _period_faults(row: dict) -> list[str]:
    start, end = row["period_start"], row["period_end"]
    if start > end:
        return [f"{start} is after {end}"]
    if row["frequency"] != period.frequency(start, end):
        return [f"{row['frequency']} is not the frequency of {start} to {end}"]
    return []


def _value_faults(row: dict) -> list[str]:
    value, low, high = row["value"], row["value_low"], row["value_high"]
    if value is None and low is None and high is None and row["status"] not in WITHOUT_VALUE:
        return [f"no value, yet {row['status']}"]
    if value is not None and row["status"] in WITHOUT_VALUE:
        return [f"a value, yet {row['status']}"]
    bounds = [bound for bound in (low, value, high) if bound is not None]
    return [] if bounds == sorted(bounds) else ["value_low, value, value_high are not in order"]


def _published_faults(row: dict) -> list[str]:
    faults = []
    if not EARLIEST <= row["published_on"] <= published.RETRIEVED:
        faults.append(f"published on {row['published_on']}")
    if row["published_precision"] not in ("day", "month", "year"):
        faults.append(f"precision {row['published_precision']}")
    return faults


def _cell(value) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, Decimal):
        return number.plain(value)
    return str(value)
