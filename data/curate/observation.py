"""The columns that every series table shares."""

from datetime import date
from decimal import Decimal

import note
import number
import period
import published
import status


def standard(row: dict[str, str], dates: dict[str, str], measure: str, unit: str, factor=Decimal(1)) -> dict:
    """The shared columns of one raw row, its value converted by `factor` into `unit`."""
    start, end = date.fromisoformat(row["period_start"]), date.fromisoformat(row["period_end"])
    day = published.of_row(row["published_on"], row["source_id"], dates[row["source_id"]])
    printed_value, printed_unit = number.as_printed(row["value_raw"], row["unit"].partition(" (")[0])
    return {
        "row_id": row["row_id"],
        "measure": measure,
        "period_start": start,
        "period_end": end,
        "frequency": period.frequency(start, end),
        "cumulative": False,
        "value": converted(row["value"], factor),
        "value_low": converted(row["value_low"], factor),
        "value_high": converted(row["value_high"], factor),
        "unit": unit,
        "printed_value": printed_value,
        "printed_unit": printed_unit,
        "status": status.of(row["row_id"], row["status"]),
        "published_on": day.day,
        "published_precision": day.precision,
        "source_id": row["source_id"],
        "note": note.of(row["note"]),
    }


def converted(text: str, factor: Decimal) -> Decimal | None:
    value = number.parse(text)
    return None if value is None else value * factor


def mark_rounded(rows: list[dict], key: list[str]) -> None:
    """A final figure is `rounded` where another of the same series and period prints more decimals of it.

    Meant for releases that are reprinted with fewer digits, not for the editions of a survey, which revise.
    """
    groups: dict[tuple, list[dict]] = {}
    for row in rows:
        if row["status"] == "final" and row["value"] is not None:
            groups.setdefault(_series_and_period(row, key), []).append(row)
    for group in groups.values():
        for row in group:
            if any(_is_rounding(row["value"], other["value"]) for other in group):
                row["status"] = "rounded"


def _is_rounding(short: Decimal, long: Decimal) -> bool:
    places = number.decimals(number.plain(short))
    if places >= number.decimals(number.plain(long)):
        return False
    return long.quantize(Decimal(1).scaleb(-places), rounding="ROUND_HALF_UP") == short


def number_statements(rows: list[dict], key: list[str]) -> None:
    """Numbers what one source says on one day about one series and period, in the order of the row ids."""
    counts: dict[tuple, int] = {}
    for row in sorted(rows, key=lambda row: row["row_id"]):
        identity = (*_series_and_period(row, key), row["published_on"], row["source_id"])
        counts[identity] = counts.get(identity, 0) + 1
        row["statement"] = counts[identity]


def _series_and_period(row: dict, key: list[str]) -> tuple:
    return (*(row.get(column) for column in key), row["measure"], row["period_start"], row["period_end"])
