"""The gathered figures as they lie in the source folder."""

import csv
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

# Comtrade's terms forbid passing its rows on; the daily price file has no licence.
NOT_OURS_TO_SHIP = ("UNCT-", "PR-DAILY")


@dataclass(frozen=True)
class Folder:
    path: Path

    def rows(self, name: str) -> Iterator[dict[str, str]]:
        """The rows of one file that may be shipped."""
        with open(self.path / name, encoding="utf-8", newline="") as file:
            for row in csv.DictReader(file):
                if not row.get("source_id", "").startswith(NOT_OURS_TO_SHIP):
                    yield row

    def source_dates(self) -> dict[str, str]:
        return {row["source_id"]: row["date"] for row in self.rows("sources.csv")}
