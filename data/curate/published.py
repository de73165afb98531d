"""The day on which a figure became public.

A printed date may be a day, a month or a year. We take the last day that it allows, so that a question
"as of" some day never sees a figure too early; never later than the day on which the sources were read.
"""

import re
from dataclasses import dataclass
from datetime import date

from period import is_month_end, month_end

RETRIEVED = date(2026, 11, 22)

# What the raw list of sources says in words.
SOURCE_DATES = {
    "2024-06-04 (sheet dated 2023-09-27)": "2024-06-04",
    "2025-08-22..2025-08-26": "2025-08-26",
    "2026 (after May 2026)": "2026",
    "c. 2010": "2010",
}

# Undated study; its publisher is given as "c. 2020-2021".
UNDATED_SOURCES = {"S003": "2021"}

# The sheet's own date is when it was prepared; it became public with the page.
DATED_BY_THEIR_SOURCE = {"USGS-DS140"}

# These quote an edition that is dated by its month only.
DATED_BY_MONTH = {"INN2019", "INN2021", "S003"}

_FINER = {"day": 0, "month": 1, "year": 2}


@dataclass(frozen=True)
class Published:
    day: date
    precision: str

    def not_after(self, limit: date) -> "Published":
        return Published(min(self.day, limit), self.precision)


def of_text(text: str) -> Published:
    """The last day that `YYYY`, `YYYY-MM` or `YYYY-MM-DD` allows."""
    parts = [int(part) for part in text.split("-")]
    if len(parts) == 1:
        published = Published(date(parts[0], 12, 31), "year")
    elif len(parts) == 2:
        published = Published(month_end(*parts), "month")
    else:
        published = Published(date(*parts), "day")
    return published.not_after(RETRIEVED)


def of_source(source_id: str, text: str) -> Published:
    """A source's own date; an undated source counts from the day on which it was read."""
    text = SOURCE_DATES.get(text, text) or UNDATED_SOURCES.get(source_id, "")
    return of_text(text) if re.fullmatch(r"\d{4}(-\d\d){0,2}", text) else Published(RETRIEVED, "day")


def of_row(text: str, source_id: str, source_text: str) -> Published:
    """A row's date. Undated rows, and rows that know only the year, take the date of their source."""
    source = of_source(source_id, source_text)
    if not text or source_id in DATED_BY_THEIR_SOURCE:
        return source
    row = of_text(text)
    if row.precision == "year" and _FINER[source.precision] <= _FINER["year"]:
        return source
    if row.precision == "day" and is_month_end(row.day) and _is_month_only(source_id, source_text):
        return Published(row.day, "month")
    return row


def _is_month_only(source_id: str, source_text: str) -> bool:
    return source_id in DATED_BY_MONTH or len(source_text) == 7
