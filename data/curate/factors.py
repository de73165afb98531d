"""Chemistry of the trade: atomic weights, oxide factors, and what a tonne of a deposit or a product holds."""

import re
from datetime import date
from decimal import Decimal

import note
import number
import published
import raw
import status

# Raw measure: (factor, unit, divisor). Shares are fractions here, percent as printed.
FACTORS = {
    "atomic_weight": ("atomic_weight", "u", 1),
    "metal_to_oxide_factor": ("metal_to_oxide", "t oxide per t metal", 1),
    "oxide_to_metal_factor": ("oxide_to_metal", "t metal per t oxide", 1),
    "implied_reo_factor": ("gross_to_reo", "t REO per t gross", 1),
    "share_of_total_REO": ("share_of_reo", "fraction", 100),
    "NdPr_share_of_total_REO": ("share_of_reo", "fraction", 100),
}


def rows(folder: raw.Folder) -> list[dict]:
    dates = folder.source_dates()
    return [_factor(row, dates) for row in folder.rows("other.csv") if row["measure"] in FACTORS]


def _factor(row: dict[str, str], dates: dict[str, str]) -> dict:
    factor, unit, divisor = FACTORS[row["measure"]]
    day = published.of_row(row["published_on"], row["source_id"], dates[row["source_id"]])
    value = number.parse(row["value"])
    return _subject(row, factor) | {
        "row_id": row["row_id"],
        "factor": factor,
        "period_start": date.fromisoformat(row["period_start"]) if row["period_start"] else None,
        "period_end": date.fromisoformat(row["period_end"]) if row["period_end"] else None,
        "value": None if value is None else value / Decimal(divisor),
        "unit": unit,
        "printed_value": row["value_raw"],
        "printed_unit": row["unit"],
        "status": status.of(row["row_id"], row["status"]),
        "published_on": day.day,
        "published_precision": day.precision,
        "source_id": row["source_id"],
        "note": "" if factor == "share_of_reo" else note.of(row["note"]),
    }


def _subject(row: dict[str, str], factor: str) -> dict:
    """What the factor belongs to: an element and its oxide, a deposit and its mineral, or a tariff line."""
    if factor == "share_of_reo":
        return _named("deposit", row["subject"], element=row["class"], mineral=row["note"])
    if factor == "gross_to_reo":
        return _tariff_line(row["class"])
    compound = "" if factor == "atomic_weight" else row["class"]
    return _named("element", row["subject"], element=row["subject"], compound=compound)


def _tariff_line(text: str) -> dict:
    code, words, flow = re.fullmatch(r"(HTS \S+) (.+) \((export|import)\)", text).groups()
    return _named("tariff_line", f"{code} {flow}", compound=words)


def _named(kind: str, subject: str, element="", compound="", mineral="") -> dict:
    return {"subject_kind": kind, "subject": subject, "element": element, "compound": compound, "mineral": mineral}
