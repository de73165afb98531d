"""Makes the tables of this folder out of the gathered figures.

    python3 data/curate/main.py SOURCE_FOLDER

Reads the raw files in SOURCE_FOLDER, checks every row against `data/tables/*.toml`, and writes `data/*.csv`.
Running it twice gives the same bytes; a fault stops it before anything is written.
"""

import sys
from pathlib import Path

import entities
import exports
import factors
import growth
import observation
import prices
import production
import quotas
import raw
import reserves
import sources
from declaration import Table

DATA = Path(__file__).resolve().parent.parent


def main() -> int:
    if len(sys.argv) != 2:
        print(__doc__, file=sys.stderr)
        return 2
    declared = {path.stem: Table.read(path) for path in sorted((DATA / "tables").glob("*.toml"))}
    rows = curated(raw.Folder(Path(sys.argv[1])), declared)
    faults = faults_of(rows, declared)
    if faults:
        print("\n".join(faults), file=sys.stderr)
        return 1
    for name, table in declared.items():
        (DATA / f"{name}.csv").write_text(table.to_csv(rows[name]), encoding="utf-8", newline="")
        print(f"{name}: {len(rows[name])} rows")
    return 0


def curated(folder: raw.Folder, declared: dict[str, Table]) -> dict[str, list[dict]]:
    rows = {"quotas": quotas.rows(folder)}
    rows["production"] = production.rows(folder, rows["quotas"])
    rows["exports"] = exports.rows(folder)
    observation.mark_rounded(rows["exports"], declared["exports"].key)
    rows["prices"] = prices.rows(folder)
    rows["reserves"] = reserves.rows(folder)
    for name, series in rows.items():
        key = declared[name].key
        observation.number_statements(series, key)
        series.sort(key=lambda row: row["row_id"])
    rows["element_factors"] = factors.rows(folder)
    rows["published_growth"] = growth.rows(folder)
    rows["entities"] = entities.rows()
    cited = {row["source_id"] for table in rows.values() for row in table}
    rows["sources"] = sources.rows(folder, cited)
    return rows


def faults_of(rows: dict[str, list[dict]], declared: dict[str, Table]) -> list[str]:
    source_ids = {row["source_id"] for row in rows["sources"]}
    faults = [f"{name} {fault}" for name, table in declared.items() for fault in table.check(rows[name], source_ids)]
    known = {row["row_id"] for table in rows.values() for row in table if "row_id" in row}
    faults += entities.unknown_holders(rows["entities"], rows["quotas"])
    return faults + growth.unknown_rows(rows["published_growth"], known)


if __name__ == "__main__":
    sys.exit(main())
