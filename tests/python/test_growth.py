"""`prior`, `yoy` and `growth` against an oracle in pandas, on series with all that is awkward in real ones."""

from __future__ import annotations

import random
from collections.abc import Callable
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from grpc import StatusCode
from pandas.tseries.offsets import DateOffset, MonthEnd

import harness
from harness import Server
from test_kill import HEADER

#: SQL interval → the same in pandas; True where it is of whole months, so that month ends meet month ends.
INTERVALS = {
    "1 month": (DateOffset(months=1), True),
    "3 months": (DateOffset(months=3), True),
    "1 year": (DateOffset(years=1), True),
    "2 years": (DateOffset(years=2), True),
    "1 week": (DateOffset(weeks=1), False),
    "28 days": (DateOffset(days=28), False),
}


# The oracle.


def same_day(days: pd.Series, interval: str) -> pd.Series:
    """The same day of the month one interval earlier; NaT where that month lacks the day."""
    offset, whole_months = INTERVALS[interval]
    shifted = days - offset  # pandas stops at the end of a shorter month
    return shifted.where(shifted.dt.day == days.dt.day) if whole_months else shifted


def month_end(days: pd.Series, interval: str) -> pd.Series:
    """For the last day of a month: the last day of the month one interval earlier; NaT for any other day."""
    offset, whole_months = INTERVALS[interval]
    return (days - offset + MonthEnd(0)).where(days.dt.is_month_end & whole_months)


def observed_at(rows: pd.DataFrame, start: pd.Series, end: pd.Series) -> pd.DataFrame:
    """For each row the `value` that its series has from `start` to `end`, and whether it has one: `found`."""
    wanted = pd.DataFrame({"series": rows["series"], "period_start": start, "period_end": end})
    known = rows[["series", "period_start", "period_end", "value"]].assign(found=True)
    joined = wanted.merge(known, how="left", on=["series", "period_start", "period_end"])
    return joined[["value", "found"]].set_axis(rows.index)


def prior(rows: pd.DataFrame, interval: str) -> pd.Series:
    """The value of the period exactly one interval earlier.

    A span keeps both its ends, and where it ends with a month, so does its base. A day meets the same day; where that
    has no row and the day ends its month, the last day of the base month.
    """
    start, end = rows["period_start"], rows["period_end"]
    first = same_day(start, interval).fillna(month_end(start, interval))
    last = month_end(end, interval).fillna(same_day(end, interval))
    span = observed_at(rows, first, last)["value"]

    day = observed_at(rows, same_day(start, interval), same_day(start, interval))
    fallback = observed_at(rows, month_end(start, interval), month_end(start, interval))
    return span.where(start != end, day["value"].where(day["found"].notna(), fallback["value"]))


def growth(values: pd.Series, base: pd.Series) -> pd.Series:
    """value ÷ base − 1; NULL unless the base is above zero."""
    return values / base.where(base > 0) - 1


# The series.


def generated(seed: int) -> pd.DataFrame:
    """Some 4,000 observations in random order: months, January-February as one, quarters, years, days, spans."""
    rng = random.Random(seed)
    rows = []
    for number in range(48):
        shape = ["month", "customs", "quarter", "year", "day", "span"][number % 6]
        for start, end in periods(shape, rng):
            if rng.random() < 0.1:
                continue  # a gap
            rows.append((f"{shape} {number}", start, end, observed(rng)))
    rng.shuffle(rows)
    frame = pd.DataFrame(rows, columns=["series", "period_start", "period_end", "value"])
    return frame.astype({"period_start": "datetime64[us]", "period_end": "datetime64[us]", "value": "float64"})


def periods(shape: str, rng: random.Random) -> list[tuple[date, date]]:
    """All periods of a series; all lists cross at least one leap day."""
    year = rng.choice([1999, 2015, 2019, 2022])
    months = [(year + m // 12, m % 12 + 1) for m in range(66)]
    if shape == "day":
        first = date(year + (-year % 4), 1, 20)  # of a leap year
        stretches = [date(first.year + back, 1, 20) for back in (-1, 0, 1)]
        return [(day, day) for start in stretches for day in (start + timedelta(days=d) for d in range(45))]
    if shape == "span":  # every pair of two awkward days, a month or so apart
        days = sorted({day for y, m in months for day in (date(y, m, 11), date(y, m, 28), last_day(y, m))})
        return [(start, end) for i, start in enumerate(days) for end in days[i : i + 4] if rng.random() < 0.3]
    if shape == "customs":  # January and February come as one figure
        starts = [(y, m) for y, m in months if m != 2]
        return [(date(y, m, 1), last_day(y, 2 if m == 1 else m)) for y, m in starts]
    length = {"month": 1, "quarter": 3, "year": 12}[shape]
    return [(date(y, m, 1), last_day(y, m + length - 1)) for y, m in months if (m - 1) % length == 0]


def last_day(year: int, month: int) -> date:
    """The last day of a month."""
    return date(year + month // 12, month % 12 + 1, 1) - timedelta(days=1)


def observed(rng: random.Random) -> float:
    """A value; now and then one that growth must not divide by."""
    kind = rng.random()
    if kind < 0.05:
        return float("nan")  # NULL in SQL
    if kind < 0.10:
        return 0.0
    if kind < 0.15:
        return -round(rng.uniform(1, 1000), 1)
    return round(rng.lognormvariate(5, 2), 2)


def as_values(rows: pd.DataFrame) -> str:
    """The rows as the CTE `t`."""
    values = ",".join(
        f"('{r.series}',date '{r.period_start:%Y-%m-%d}',date '{r.period_end:%Y-%m-%d}',"
        f"{'null' if np.isnan(r.value) else repr(r.value)})"
        for r in rows.itertuples()
    )
    return f"""with v(series, period_start, period_end, x) as (values {values}),
        t as (select series, period_start, period_end, cast(x as double) as value from v)"""


def answered(server: Server, rows: pd.DataFrame, columns: str) -> pd.DataFrame:
    """What the server computes for each row, in the order of `rows`."""
    sql = f"{as_values(rows)} select series, period_start, period_end, {columns} from t"
    assert len(sql) < 256 * 1024
    return aligned(server.query(sql).table, rows)


def aligned(table: pa.Table, rows: pd.DataFrame) -> pd.DataFrame:
    """A result, one line for each row and in the order of `rows`."""
    result = table.to_pandas(date_as_object=False).astype(
        {"period_start": "datetime64[us]", "period_end": "datetime64[us]"}
    )
    keys = ["series", "period_start", "period_end"]
    return rows[keys].merge(result, how="left", on=keys, validate="one_to_one")


def assert_same(actual: pd.Series, expected: pd.Series, rows: pd.DataFrame) -> None:
    """NULL where the oracle has none, else the same to the last digits."""
    expected = expected.reset_index(drop=True)
    differs = ~np.isclose(actual, expected, rtol=1e-12, atol=0, equal_nan=True)
    shown = rows.reset_index(drop=True).assign(actual=actual, expected=expected)[differs]
    assert not differs.any(), f"{differs.sum()} of {len(rows)} differ:\n{shown.head(20)}"
    assert expected.notna().sum() > len(rows) / 20, "the oracle has too few bases to prove anything"


OVER = "over (partition by series order by period_start, period_end)"


@pytest.mark.parametrize("seed", range(6))
def test_pairs_of_dates_agree_with_pandas(server: Server, seed: int) -> None:
    rows = generated(seed)
    columns = [f"yoy(value, period_start, period_end) {OVER} as yoy"]
    for number, interval in enumerate(INTERVALS):
        columns.append(f"prior(value, period_start, period_end, interval '{interval}') {OVER} as prior_{number}")
        columns.append(f"growth(value, period_start, period_end, interval '{interval}') {OVER} as growth_{number}")
    result = answered(server, rows, ", ".join(columns))

    assert_same(result["yoy"], growth(rows["value"], prior(rows, "1 year")), rows)
    for number, interval in enumerate(INTERVALS):
        base = prior(rows, interval)
        assert_same(result[f"prior_{number}"], base, rows)
        assert_same(result[f"growth_{number}"], growth(rows["value"], base), rows)


@pytest.mark.parametrize("seed", range(6, 9))
def test_single_dates_agree_with_pandas(server: Server, seed: int) -> None:
    rows = generated(seed).drop_duplicates(["series", "period_end"])
    rows["period_start"] = rows["period_end"]
    over = "over (partition by series order by period_end)"
    result = answered(
        server,
        rows,
        f"yoy(value, period_end) {over} as yoy,"
        f"prior(value, period_end, interval '1 month') {over} as prior,"
        f"growth(value, period_end, interval '1 week') {over} as growth",
    )
    assert_same(result["yoy"], growth(rows["value"], prior(rows, "1 year")), rows)
    assert_same(result["prior"], prior(rows, "1 month"), rows)
    assert_same(result["growth"], growth(rows["value"], prior(rows, "1 week")), rows)


@pytest.mark.parametrize(
    "columns",
    [
        pytest.param(f"yoy(value) {OVER} as yoy", id="the order is the period"),
        pytest.param("yoy(value, period_start, period_end) over (partition by series) as yoy", id="no order"),
        pytest.param(
            "yoy(value, period_start, period_end)"
            " over (partition by series order by period_start desc, period_end desc) as yoy",
            id="descending",
        ),
        pytest.param(
            f"yoy(value, period_start, period_end) {OVER} as yoy,"
            f"last_value(value) over (partition by series order by period_start"
            f" rows between unbounded preceding and unbounded following) as last",
            id="beside a function that needs the whole partition",
        ),
        pytest.param(
            "yoy(value, cast(period_start as timestamp), cast(period_end as timestamp)) over (partition by series"
            " order by cast(period_start as timestamp), cast(period_end as timestamp)) as yoy",
            id="timestamps",
        ),
    ],
)
def test_the_way_of_asking_changes_no_figure(server: Server, columns: str) -> None:
    rows = generated(11)
    assert_same(answered(server, rows, columns)["yoy"], growth(rows["value"], prior(rows, "1 year")), rows)


def test_the_order_of_the_rows_changes_no_figure(server: Server) -> None:
    rows = generated(12)
    for seed in range(3):
        shuffled = rows.sample(frac=1, random_state=seed)
        result = answered(server, shuffled, f"yoy(value, period_start, period_end) {OVER} as yoy")
        assert_same(result["yoy"], growth(shuffled["value"], prior(shuffled, "1 year")), shuffled)


def test_rows_loaded_in_several_files_agree_with_pandas(
    own_store: Path, tmp_path: Path, serve: Callable[..., Server]
) -> None:
    """The path of stored rows: sorted files that overlap, merged in order and never sorted again."""
    rows = generated(14)
    rows["value"] = rows["value"].abs()  # a price is not negative
    for number in range(3):
        file = tmp_path / f"{number}.csv"
        file.write_text("\n".join([HEADER, *map(as_price, rows[number::3].itertuples())]) + "\n")
        done = harness.run("load", "prices", file, "--store", own_store)
        assert done.returncode == 0, done.stderr

    sql = f"""select product as series, period_start, period_end,
        prior(value, period_start, period_end, interval '1 month') {OVER} as prior,
        yoy(value, period_start, period_end) {OVER} as yoy
        from prices where authority = 'Generated'"""
    result = aligned(serve(own_store).query(sql).table, rows)
    assert_same(result["prior"], prior(rows, "1 month"), rows)
    assert_same(result["yoy"], growth(rows["value"], prior(rows, "1 year")), rows)


def as_price(row: Any) -> str:
    """One observation as a row of the table `prices`."""
    first, last = row.period_start, row.period_end
    whole = {1: "M", 3: "Q", 12: "A"} if first.is_month_start and last.is_month_end else {}
    months = (last.year - first.year) * 12 + last.month - first.month + 1
    frequency = "D" if first == last else whole.get(months, "X")
    missing = np.isnan(row.value)
    value, status = ("", "not_available") if missing else (repr(row.value), "final")
    return (
        f"{row.Index},Generated,made up,{row.series},spot,USD,kg,,price,{first:%Y-%m-%d},{last:%Y-%m-%d},{frequency},"
        f"false,{value},,,USD/kg,oxide,,,{status},2026-01-31,day,USGS-MCS2026v1.0,1,"
    )


@pytest.mark.parametrize(
    ("function", "over", "named"),
    [
        ("yoy(value, period_start, period_end)", "order by period_start, period_end", ["2024-01-01", "2024-02-29"]),
        (
            "prior(value, period_start, period_end, interval '1 month')",
            "order by period_start, period_end",
            ["2024-02-29"],
        ),
        ("growth(value, period_start, interval '1 year')", "order by period_start", ["2024-01-01"]),
        ("yoy(value)", "order by period_end", ["2024-02-29"]),
    ],
)
def test_a_period_twice_in_a_partition_is_refused_by_name(
    server: Server, function: str, over: str, named: list[str]
) -> None:
    rows = generated(13)
    twice = pd.DataFrame(
        {
            "series": "twice",
            "period_start": pd.to_datetime(["2023-01-01", "2024-01-01", "2024-01-01"]),
            "period_end": pd.to_datetime(["2023-02-28", "2024-02-29", "2024-02-29"]),
            "value": [1.0, 2.0, 3.0],
        }
    )
    rows = pd.concat([rows[rows["series"].str.startswith("month")], twice]).sample(frac=1, random_state=1)
    failure = harness.failure(
        server.stub, f"{as_values(rows)} select {function} over (partition by series {over}) from t"
    )
    assert failure.code == StatusCode.INVALID_ARGUMENT, failure.message
    for day in named:
        assert day in failure.message
    assert "partition by series, or pick a vintage" in failure.message


def test_growth_is_never_infinite_and_never_nan(server: Server) -> None:
    sql = f"""
        with v(series, y, x) as (values
            ('overflow', 2023, '1e-300'), ('overflow', 2024, '1e300'),
            ('nan base', 2023, 'NaN'), ('nan base', 2024, '1'),
            ('nan value', 2023, '1'), ('nan value', 2024, 'NaN'),
            ('infinite base', 2023, 'inf'), ('infinite base', 2024, '1'),
            ('infinite value', 2023, '1'), ('infinite value', 2024, 'inf'),
            ('minus zero', 2023, '-0.0'), ('minus zero', 2024, '1')),
        t as (select series, make_date(y, 1, 1) as period_start, make_date(y, 12, 31) as period_end,
              cast(x as double) as value from v)
        select series, yoy(value, period_start, period_end) {OVER} as yoy from t"""
    for series, value in server.query(sql).rows:
        assert value is None or np.isfinite(value), f"{series}: {value}"


@pytest.mark.parametrize(
    ("actual", "quota", "rate"),
    [
        ("16900.0", "30184.0", 16900 / 30184),
        ("120", "100", 1.2),  # over the quota stays as it is
        ("0.0", "100.0", 0.0),
        ("-5.0", "100.0", -0.05),
        ("5.0", "0.0", None),
        ("cast(null as double)", "100.0", None),
        ("5.0", "cast(null as double)", None),
    ],
)
def test_rate_of_use_of_a_quota(server: Server, actual: str, quota: str, rate: float | None) -> None:
    assert server.query(f"select quota_execution_rate({actual}, {quota})").rows == [(rate,)]
