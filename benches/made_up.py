"""Made-up figures of many mines: the same ones in every run, and large enough to measure with."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet

#: How a series table of them is declared.
SERIES_TABLE = """
name = "{name}"
kind = "series"
description = "Made-up figures of many mines."
key = ["mine"]
source_rank = "sources.rank"
[[columns]]
name = "mine"
type = "text"
nullable = false
description = "The mine."
[[measures]]
measure = "{measure}"
unit = "{unit}"
min = 0.0
description = "{measure} of the mine."
"""

#: How a plain table by mine and day is declared.
PLAIN_TABLE = """
name = "{name}"
kind = "plain"
description = "Made-up figures of many mines."
key = ["mine", "day"]
[[columns]]
name = "mine"
type = "text"
nullable = false
description = "The mine."
[[columns]]
name = "day"
type = "date"
nullable = false
description = "The day."
[[columns]]
name = "amount"
type = "double"
description = "How much."
"""

FIRST_MONTH = np.datetime64("1980-01", "M")


def output(mines: int, months: int, *, missing: float = 0.0, vintages: int = 1) -> pa.Table:
    """Each mine's output by month, in tonnes: some months missing, each of the others said a few times."""
    random = np.random.default_rng(1)
    kept = random.random(mines * months) >= missing
    mine, month = np.divmod(np.flatnonzero(kept), months)
    mine, month = np.repeat(mine, vintages), np.repeat(month, vintages)
    vintage = np.tile(np.arange(vintages), len(mine) // vintages)
    value = np.round(random.uniform(1, 2000, len(mine)), 1)
    return series_rows(mine, "output", "t", month, value, delay_days=20 + 30 * vintage)


def running_output(mines: int, months: int, *, missing: float) -> pa.Table:
    """The same as totals of the year so far, some of them missing."""
    random = np.random.default_rng(1)
    years = np.round(random.uniform(1, 2000, (mines, months // 12, 12)), 1)
    kept = np.flatnonzero(random.random(mines * months) >= missing)
    mine, month = np.divmod(kept, months)
    rows = series_rows(mine, "output", "t", month, years.cumsum(axis=2).ravel()[kept], delay_days=20)
    january = pa.array(days(month // 12 * 12))
    rows = rows.set_column(rows.schema.get_field_index("period_start"), "period_start", january)
    return rows.append_column("cumulative", pa.repeat(True, len(rows)))


def editions(months: int, vintages: int) -> pa.Table:
    """One series of which every month was said anew on each of many days."""
    month = np.repeat(np.arange(months), vintages)
    vintage = np.tile(np.arange(vintages), months)
    value = np.round(np.random.default_rng(2).uniform(1, 2000, len(month)), 1)
    wait_days = (days(months) - days(month + 1)).astype(int)
    return series_rows(month * 0, "output", "t", month, value, delay_days=wait_days + vintage)


def prices(mines: int, per_mine: int) -> pa.Table:
    """What each mine asked for a tonne, from one irregular day to the next."""
    random = np.random.default_rng(3)
    mine, day = np.divmod(distinct(random, mines * 10_000, mines * per_mine), 10_000)
    return pa.table({
        "mine": names(mine),
        "day": FIRST_MONTH.astype("datetime64[D]") + day,
        "amount": np.round(random.uniform(1, 100, len(mine)), 2),
    })


def price_series(asked: pa.Table) -> pa.Table:
    """Those prices as rows of a series table."""
    same = {"measure": "price", "unit": "USD/t", "source_id": "OWN"}
    return pa.table({
        "mine": asked["mine"],
        "period_start": asked["day"],
        "period_end": asked["day"],
        "value": asked["amount"],
        "published_on": asked["day"],
        **{name: pa.repeat(text, len(asked)) for name, text in same.items()},
    })


def shipments(of: pa.Table) -> pa.Table:
    """An output by month as a plain table's rows."""
    return of.select(["mine", "period_end", "value"]).rename_columns(["mine", "day", "amount"])


def write(rows: pa.Table, file: Path) -> Path:
    """The rows as CSV or Parquet, by the file's ending."""
    if file.suffix == ".csv":
        pa.csv.write_csv(rows, file, pa.csv.WriteOptions(quoting_style="needed"))
    else:
        pa.parquet.write_table(rows, file)
    return file


def series_rows(mine, measure: str, unit: str, month, value, *, delay_days) -> pa.Table:
    """Rows as a statistical office would publish them: a month each, some days after its end."""
    end = days(month + 1) - 1
    return pa.table({
        "mine": names(mine),
        "measure": pa.repeat(measure, len(mine)),
        "period_start": days(month),
        "period_end": end,
        "value": value,
        "unit": pa.repeat(unit, len(mine)),
        "published_on": end + delay_days,
        "source_id": pa.repeat("OWN", len(mine)),
    })


def names(mine) -> pa.Array:
    """The mines' names, which sort as their numbers do."""
    each = pa.array([f"mine {number:05}" for number in range(mine.max() + 1)])
    return pa.DictionaryArray.from_arrays(pa.array(mine), each).cast(pa.string())


def days(month):
    """The first day of each month counted from the first."""
    return (FIRST_MONTH + month).astype("datetime64[D]")


def distinct(random, below: int, about: int):
    """About so many different numbers in their order."""
    return np.unique(random.integers(0, below, about))
