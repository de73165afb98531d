"""Months that customs never printed, computed from the running totals around them.

Each is a plain sum of printed rows, or is solved back from a printed growth rate (those must not be used to check that
rate again). A derived figure was knowable on the day on which its last input became public.
"""

from dataclasses import dataclass, field
from datetime import date
from decimal import Decimal

import period
import raw

TENTH = Decimal("0.1")


@dataclass(frozen=True)
class Derivation:
    row_id: str
    plus: list[str]
    minus: list[str] = field(default_factory=list)
    # The first of `plus` is divided by 1 + this printed rate.
    rate: str = ""
    # Only for rows that the gathered file does not hold.
    start: date | None = None
    end: date | None = None
    note: str = ""


DERIVATIONS = [
    Derivation("X00827", ["X00035"], ["X00033", "X00884", "X00034"]),
    Derivation("X00828", ["X00042"], ["X00038", "X00039", "X00040", "X00041"]),
    Derivation("X00829", ["X00046"], ["X00045"]),
    Derivation("X00830", ["X00048"], ["X00046", "X00047"]),
    Derivation("X00831", ["X00053"], ["X00052", "X00050", "X00051"]),
    Derivation("X00832", ["X00054"], ["X00053"]),
    Derivation("X00833", ["X00057"], ["X00055", "X00056"]),
    Derivation("X00834", ["X00063"], ["X00060", "X00061", "X00062"]),
    Derivation("X00835", ["X00082"], ["X00080", "X00081", "X00078"]),
    Derivation("X00836", ["X00083"], ["X00080", "X00081"]),
    Derivation("X00837", ["X00091"], ["X00090"]),
    Derivation("X00838", ["X00110"], ["X00106", "X00108", "X00109"]),
    Derivation("X00839", ["X00161"], ["X00160", "X00158", "X00159"]),
    Derivation(
        "XD2021-10", ["X00064"], rate="0.122", start=date(2021, 10, 1), end=date(2021, 10, 31),
        note="Nov 4,859.2 / 1.122: solved back from a printed growth rate, so it must not check that rate",
    ),
    Derivation(
        "XD2023-04", ["X00110"], ["X00091", "X00092"], rate="0.143", start=date(2023, 4, 1), end=date(2023, 4, 30),
        note="Jan-May 2024 24,266.5 / 1.143 less Q1 and May: solved back from a printed growth rate, "
        "so it must not check that rate",
    ),
    Derivation(
        "XD2023-06", ["X00095"], ["X00091", "XD2023-04", "X00092", "X00093", "X00094"],
        start=date(2023, 6, 1), end=date(2023, 7, 31),
        note="Jan-Sep 40,371.8 less Jan-May (solved back), Aug, Sep",
    ),
]


def apply(trades: list[dict]) -> None:
    """Adds what is missing, proves every derived value from its inputs, and dates it by the last of them."""
    by_id = {row["row_id"]: row for row in trades}
    for item in DERIVATIONS:
        value = _value(item, by_id)
        if item.start:
            by_id[item.row_id] = _new_row(item, by_id[item.plus[0]])
            trades.append(by_id[item.row_id])
        row = by_id[item.row_id]
        if not item.start and row["value"] != value:
            raise ValueError(f"{item.row_id}: {row['value']} is not the {value} of its inputs")
        latest = max((by_id[name] for name in item.plus + item.minus), key=lambda found: found["published_on"])
        row |= {
            "value": value,
            "published_on": latest["published_on"],
            "published_precision": latest["published_precision"],
        }


def _value(item: Derivation, by_id: dict[str, dict]) -> Decimal:
    first = by_id[item.plus[0]]["value"]
    if item.rate:
        first = first / (1 + Decimal(item.rate))
    return (first - sum(by_id[name]["value"] for name in item.minus)).quantize(TENTH)


def _new_row(item: Derivation, like: dict) -> dict:
    return like | {
        "row_id": item.row_id,
        "period_start": item.start,
        "period_end": item.end,
        "frequency": period.frequency(item.start, item.end),
        "cumulative": False,
        "printed_value": "",
        "printed_unit": "",
        "status": "derived",
        "source_id": "DERIVED",
        "note": item.note,
    }


def check_partition(trades: list[dict], folder: raw.Folder) -> None:
    """China's exports of 2019-2025 must be covered by flows that do not overlap, all of them among our rows."""
    series = ("export", "China", "World", "rare_earths", "quantity")
    flows = {
        (row["period_start"], row["period_end"], row["value"])
        for row in trades
        if tuple(row[column] for column in ("flow", "reporter", "partner", "basket", "measure")) == series
        and not row["cumulative"]
    }
    previous = date(2018, 12, 31)
    for part in folder.rows("exports_china_partition.csv"):
        start, end = date.fromisoformat(part["period_start"]), date.fromisoformat(part["period_end"])
        if (start, end, Decimal(part["value"])) not in flows:
            raise ValueError(f"no flow of {part['value']} t for {start} to {end}")
        if (start - previous).days != 1:
            raise ValueError(f"the flows leave a gap before {start}")
        previous = end
