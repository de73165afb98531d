"""Growth, shares and rates as they were printed, to hold our arithmetic against."""

from datetime import date
from decimal import Decimal

import note
import raw

DATES = ("period_start", "period_end", "base_start", "base_end")
DOUBLES = ("published_value", "computed_value", "attainable_low", "attainable_high")
FLAGS = {"yes": True, "no": False, "": None}


def rows(folder: raw.Folder) -> list[dict]:
    return [_statement(row) for row in folder.rows("published_growth.csv")]


def _statement(row: dict[str, str]) -> dict:
    typed = {name: row[name] for name in row}
    typed |= {name: date.fromisoformat(row[name]) if row[name] else None for name in DATES}
    typed |= {name: Decimal(row[name]) if row[name] else None for name in DOUBLES}
    return typed | {
        "published_decimals": int(row["published_decimals"]) if row["published_decimals"] else None,
        "attainable": FLAGS[row["attainable"]],
        "circular": FLAGS[row["circular"]],
        "note": note.of(row["note"]),
    }


def unknown_rows(statements: list[dict], known: set[str]) -> list[str]:
    """Statements that cite a row which is not here."""
    faults = []
    for row in statements:
        cited = f"{row['numerator_rows']};{row['denominator_rows']}".split(";")
        unknown = [name for name in cited if name and name not in known]
        faults += [f"published_growth {row['oracle_id']}: {name} is not a row" for name in unknown]
    return faults
