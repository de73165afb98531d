"""The SQL functions against brute force: for each row the oracle searches all rows of its series by the definition.

Series come from fixed seeds and hold what is awkward in real ones: gaps, NULLs, zero and negative values, leap days,
month ends, periods of two months, fiscal years. Rows always arrive in random order.
"""

from __future__ import annotations

import math
import random
import statistics
from bisect import bisect_left, bisect_right
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from fractions import Fraction
from functools import cache
from itertools import pairwise
from typing import Any, NamedTuple

import pandas as pd
import pytest
from grpc import StatusCode
from pandas.tseries.offsets import DateOffset

import harness
from harness import Server

ONE_DAY = timedelta(days=1)

PAIR = "period_start, period_end"
OVER = f"over (partition by series order by {PAIR})"
OVER_DATE = "over (partition by series order by period_start)"


class Row(NamedTuple):
    """One observation; a single date starts and ends on it."""

    series: str
    start: date
    end: date
    value: float | None


@dataclass(frozen=True)
class Interval:
    """An interval as SQL says it, of whole months or of whole days."""

    sql: str
    months: int = 0
    days: int = 0

    def __str__(self) -> str:
        return f"interval '{self.sql}'"

    def before(self, day: date) -> date:
        """One interval earlier."""
        return self.after(day, -1)

    def after(self, day: date, times: int) -> date:
        """Some intervals later, counted from the day itself, so that nothing drifts from a month's end."""
        return shifted(day, self.months * times, self.days * times)


@cache
def shifted(day: date, months: int, days: int) -> date:
    """pandas stops at the end of a shorter month."""
    return (pd.Timestamp(day) + DateOffset(months=months, days=days)).date()


DAY, WEEK, FOUR_WEEKS = Interval("1 day", days=1), Interval("1 week", days=7), Interval("28 days", days=28)
MONTH, QUARTER, YEAR = Interval("1 month", months=1), Interval("3 months", months=3), Interval("1 year", months=12)
INTERVALS = [MONTH, QUARTER, YEAR, Interval("2 years", months=24), WEEK, FOUR_WEEKS]


# The calendar.


def month_end(day: date) -> bool:
    return (day + ONE_DAY).day == 1


def last_day(year: int, month: int) -> date:
    """The last day of a month; month 14 is next year's February."""
    return date(year + month // 12, month % 12 + 1, 1) - ONE_DAY


def month_number(day: date) -> int:
    return day.year * 12 + day.month


@cache
def unit_number(day: date, unit: str) -> int:
    """The number of the calendar day, week, month, quarter or year that a day lies in."""
    return pd.Period(day, "Y" if unit == "A" else unit).ordinal


def fiscal_start(day: date, first_month: int) -> date:
    """The first day of the fiscal year that a day lies in."""
    return max(date(year, first_month, 1) for year in (day.year - 1, day.year) if date(year, first_month, 1) <= day)


# Oracle: what lies one interval earlier.


@dataclass(frozen=True)
class Lookup:
    """How a base is looked for: the interval, and the options of a call."""

    interval: Interval
    pair: bool = True
    match: str | None = None
    tolerance: Interval | None = None
    signed: bool = False

    @property
    def calls(self) -> dict[str, str]:
        """Each function of the family as SQL calls it, and which of the results it gives."""
        arguments = f"value, {PAIR if self.pair else 'period_start'}"
        options = f", match => '{self.match}'" if self.match else ""
        options += f", tolerance => {self.tolerance}" if self.tolerance else ""
        comparing = options + ", signed => true" if self.signed else options
        calls = {f"{result}({arguments}, {self.interval}{options})": result for result in ("prior", "change")}
        calls[f"growth({arguments}, {self.interval}{comparing})"] = "growth"
        calls[f"growth_reason({arguments}, {self.interval}{comparing})"] = "reason"
        if name := {YEAR: "yoy", QUARTER: "qoq", MONTH: "mom"}.get(self.interval):
            calls[f"{name}({arguments}{comparing})"] = "growth"
            calls[f"{name}_reason({arguments}{comparing})"] = "reason"
        return calls

    def base(self, row: Row, series: list[Row]) -> Row | None:
        """The row that lies exactly one interval earlier."""
        if self.tolerance:
            wanted = self.interval.before(row.start)
            near = [other for other in series if self.tolerance.before(wanted) <= other.start <= wanted]
            return max(near, key=lambda other: other.start, default=None)
        if row.start == row.end and not self.match:
            dates = [other for other in series if other.start == other.end]
            same = [other for other in dates if same_date(other.start, row.start, self.interval)]
            ends = [other for other in dates if both_month_ends(other.start, row.start, self.interval)]
            return only(same or ends)
        starts = [other for other in series if self.starts_before(other, row)]
        return only(other for other in starts if self.ends_before(other, row))

    def starts_before(self, other: Row, row: Row) -> bool:
        if self.match:
            return same_unit(other.start, row.start, self.match, self.interval)
        base_month_lacks_the_day = self.interval.before(row.start).day != row.start.day
        return same_date(other.start, row.start, self.interval) or (
            base_month_lacks_the_day and both_month_ends(other.start, row.start, self.interval)
        )

    def ends_before(self, other: Row, row: Row) -> bool:
        if self.match:
            return same_unit(other.end, row.end, self.match, self.interval)
        if self.interval.months and month_end(row.end):
            return both_month_ends(other.end, row.end, self.interval)
        return same_date(other.end, row.end, self.interval)

    def results(self, row: Row, series: list[Row]) -> dict[str, Any]:
        """What each function of the family gives for a row."""
        base = self.base(row, series)
        reason = self.reason(row, base, series)
        prior = base.value if base else None
        change = None if row.value is None or prior is None else row.value - prior
        growth = None
        if reason is None:
            growth = change / -prior if prior < 0 else row.value / prior - 1
        return {"prior": prior, "change": change, "growth": growth, "reason": reason}

    def reason(self, row: Row, base: Row | None, series: list[Row]) -> str | None:
        """Why there is no growth; the first of the reasons that hold."""
        if row.value is None:
            return "value_missing"
        if base is None:
            # What starts within the period itself is no base.
            earlier = [other for other in series if (other.start, other.end) < (row.start, row.end)]
            ends_alike = self.pair and any(self.ends_before(other, row) for other in earlier)
            return "period_length_differs" if ends_alike else "base_missing"
        if base.value is None:
            return "base_null"
        if base.value == 0 or math.isinf(row.value / base.value):
            return "base_zero"
        return "base_negative" if base.value < 0 and not self.signed else None


def same_date(base: date, day: date, interval: Interval) -> bool:
    if interval.days:
        return (day - base).days == interval.days
    return base.day == day.day and month_number(day) - month_number(base) == interval.months


def both_month_ends(base: date, day: date, interval: Interval) -> bool:
    months = month_number(day) - month_number(base)
    return interval.months == months > 0 and month_end(base) and month_end(day)


def same_unit(base: date, day: date, unit: str, interval: Interval) -> bool:
    """Whether the days' calendar units lie one interval apart."""
    apart = unit_number(day, unit) - unit_number(base, unit)
    if unit == "D" and interval.months:
        return same_date(base, day, interval)
    if unit == "W" and interval.months:
        year, week, _ = day.isocalendar()
        return base.isocalendar()[:2] == (year - interval.months // 12, week)
    lengths = {"D": 1, "W": 7, "M": 1, "Q": 3, "A": 12}
    return apart * lengths[unit] == (interval.months or interval.days)


def only(rows: Iterable[Row]) -> Row | None:
    """The one row; the generators make no period twice."""
    found = list(rows)
    assert len(found) <= 1, found
    return found[0] if found else None


# Oracle: year to date, index, filling.


def year_to_date(first_month: int) -> Callable[[Row, list[Row]], float | None]:
    """The sum from the year's first day on: of rows that cover each day since then exactly once."""

    def sum_of(row: Row, series: list[Row]) -> float | None:
        first = fiscal_start(row.end, first_month)
        so_far = [
            other for other in series if other.start >= first and (other.start, other.end) <= (row.start, row.end)
        ]
        covered = Counter(day for other in so_far for day in days(other.start, other.end))
        values = [other.value for other in so_far]
        return None if covered != Counter(days(first, row.end)) or None in values else math.fsum(values)

    return sum_of


def flow(row: Row, series: list[Row]) -> dict[str, Any]:
    """What a cumulative figure adds to the one before it of the same year."""
    earlier = [other for other in series if other.start == row.start and other.end < row.end]
    last = max(earlier, key=lambda other: other.end, default=None)
    start = last.end + ONE_DAY if last else row.start
    known = row.value is not None and (last is None or last.value is not None)
    value = row.value - (last.value if last else 0.0) if known else None
    return {"value": value, "period_start": start, "period_end": row.end}


def index_to(day: date) -> Callable[[Row, list[Row]], float | None]:
    def index(row: Row, series: list[Row]) -> float | None:
        base = only(other for other in series if other.start == day)
        known = row.value is not None and base and base.value is not None and base.value > 0
        level = 100 * row.value / base.value if known else math.inf
        return None if math.isinf(level) else level

    return index


def carried(max_gap: Interval | None = None) -> Callable[[Row, list[Row]], float | None]:
    """The newest value known by then, unless it is older than the gap allows."""

    def value(row: Row, series: list[Row]) -> float | None:
        known = [other for other in series if other.value is not None and other.start <= row.start]
        last = max(known, key=lambda other: other.start, default=None)
        too_old = last and max_gap and max_gap.before(row.start) > last.start
        return None if last is None or too_old else last.value

    return value


def interpolated(max_gap: Interval | None = None, *, by_days: bool = False) -> Callable[[Row, list[Row]], float | None]:
    """On the straight line from the last known value to the next one, in months or in days."""

    def value(row: Row, series: list[Row]) -> float | None:
        known = [other for other in series if other.value is not None]
        last = max((k for k in known if k.start <= row.start), key=lambda k: k.start, default=None)
        after = min((k for k in known if k.start >= row.start), key=lambda k: k.start, default=None)
        if last is None or after is None or last == after or (max_gap and max_gap.before(after.start) > last.start):
            return row.value
        at_ends = all(month_end(other.start) for other in series)
        place = date.toordinal if by_days else month_number if at_ends else month_place
        share = (place(row.start) - place(last.start)) / (place(after.start) - place(last.start))
        return last.value + float(share) * (after.value - last.value)

    return value


def month_place(day: date) -> Fraction:
    """Months that have passed by the start of a day, each of which is as long as any other."""
    return month_number(day) + Fraction(day.day - 1, last_day(day.year, day.month).day)


def days(first: date, last: date) -> Iterator[date]:
    return (first + timedelta(days=number) for number in range((last - first).days + 1))


# The series.


def generated(seed: int, shapes: Sequence[str], per_shape: int = 2, gaps: float = 0.1) -> list[Row]:
    """Series of each shape, with gaps."""
    rng = random.Random(seed)
    return [
        Row(f"{shape} {number}", start, end, observed(rng))
        for number in range(per_shape)
        for shape in shapes
        for start, end in PERIODS[shape](rng)
        if rng.random() >= gaps
    ]


def observed(rng: random.Random) -> float | None:
    """A value; now and then one that growth must not divide by."""
    kind = rng.random()
    if kind < 0.06:
        return None
    if kind < 0.11:
        return 0.0
    if kind < 0.12:
        return 5e-324  # growth on it is beyond any number
    if kind < 0.18:
        return -round(rng.uniform(1, 1000), 1)
    return round(rng.lognormvariate(5, 2), 2)


def starting_year(rng: random.Random) -> int:
    """1900 is no leap year, 2000 is one; a leap day is always near."""
    return rng.choice([1898, 1899, 1998, 2015, 2019, 2022])


def spans(*lengths: int) -> Callable[[random.Random], list[tuple[date, date]]]:
    """66 months in periods of these lengths, again and again from each January on."""

    def periods(rng: random.Random) -> list[tuple[date, date]]:
        year, found, month, number = starting_year(rng), [], 0, 0
        while month < 66:
            number = 0 if month % 12 == 0 else number
            length = lengths[min(number, len(lengths) - 1)]
            start = date(year + month // 12, month % 12 + 1, 1)
            month, number = month + length, number + 1
            found.append((start, last_day(year, month)))
        return found

    return periods


def changing(rng: random.Random) -> list[tuple[date, date]]:
    """Months of which some years report the first two, and some the last three, as one figure."""
    year, found = starting_year(rng), []
    for y in range(year, year + 6):
        first, last = rng.choice([1, 2]), rng.choice([1, 3])
        ends = [first, *range(first + 1, 13 - last), 12] if first == 2 or last == 3 else list(range(1, 13))
        starts = [1, *(end + 1 for end in ends[:-1])]
        found += [(date(y, start, 1), last_day(y, end)) for start, end in zip(starts, ends, strict=True)]
    return found


def cumulative(rng: random.Random) -> list[tuple[date, date]]:
    """January-March, January-June and so on beside their quarters: many periods of one start, many of one end."""
    year = starting_year(rng)
    both = {
        (date(y, start, 1), last_day(y, end))
        for y in range(year, year + 5)
        for end in (3, 6, 9, 12)
        for start in (1, end - 2)
    }
    return sorted(both)


def awkward_spans(rng: random.Random) -> list[tuple[date, date]]:
    """Pairs of days around the ends of months, some weeks apart."""
    year = starting_year(rng)
    months = [(year + m // 12, m % 12 + 1) for m in range(40)]
    awkward = sorted({day for y, m in months for day in (date(y, m, 11), date(y, m, 28), last_day(y, m))})
    return [(start, end) for i, start in enumerate(awkward) for end in awkward[i + 1 : i + 5] if rng.random() < 0.4]


def weeks(rng: random.Random) -> list[tuple[date, date]]:
    """Monday to Sunday, over a year of 53 weeks."""
    first = date(rng.choice([2015, 2020]), 1, 1) - timedelta(days=371)
    first -= timedelta(days=first.weekday())
    return [(day, day + timedelta(days=6)) for day in (first + timedelta(weeks=number) for number in range(110))]


def on_days(chosen: Callable[[date], bool], count: int) -> Callable[[random.Random], list[tuple[date, date]]]:
    """Single dates: the first so many days that are chosen."""

    def periods(rng: random.Random) -> list[tuple[date, date]]:
        first = date(starting_year(rng), 1, 1)
        wanted = (day for day in days(first, first + timedelta(days=2500)) if chosen(day))
        return [(day, day) for day, _ in zip(wanted, range(count), strict=False)]

    return periods


def leap_days(rng: random.Random) -> list[tuple[date, date]]:
    """Every day of late winter, from the year before a leap year to the year after it."""
    year = rng.choice([1904, 2000, 2020, 2024])
    winters = ((date(y, 1, 20), date(y, 3, 10)) for y in (year - 1, year, year + 1))
    return [(day, day) for first, last in winters for day in days(first, last)]


def calendar_units(unit: str, rng: random.Random) -> list[pd.Period]:
    """Consecutive days, weeks, months, quarters or years; the days are those of three winters."""
    if unit == "D":
        return [pd.Period(day, "D") for day, _ in leap_days(rng)]
    first = pd.Period(date(starting_year(rng), 1, 1), "Y" if unit == "A" else unit)
    return [first + number for number in range({"W": 110, "M": 66, "Q": 40, "A": 24}[unit])]


def days_of(unit: pd.Period) -> list[date]:
    return list(days(unit.start_time.date(), unit.end_time.date()))


def some_day_of_each(unit: str) -> Callable[[random.Random], list[tuple[date, date]]]:
    """A single date somewhere in each calendar unit, as reports come."""
    return lambda rng: [(day, day) for day in (rng.choice(days_of(found)) for found in calendar_units(unit, rng))]


def loose_spans(unit: str) -> Callable[[random.Random], list[tuple[date, date]]]:
    """From some day of a unit to some day of the same or a later one, the same two units at most once."""

    def periods(rng: random.Random) -> list[tuple[date, date]]:
        found = []
        for first in calendar_units(unit, rng):
            for length in rng.sample(range(3), 2):
                starts, ends = days_of(first), days_of(first + length)
                middle = len(starts) // 2  # so that no period ends before it starts
                found.append((rng.choice(starts[: middle + 1]), rng.choice(ends[middle:])))
        return found

    return periods


def weeks_53(_: random.Random) -> list[tuple[date, date]]:
    """The Mondays around each New Year; 2015 and 2020 have a week 53."""
    return [
        (day, day) for day in days(date(2014, 12, 8), date(2021, 2, 1)) if day.weekday() == 0 and day.month in (12, 1)
    ]


PERIODS: dict[str, Callable[[random.Random], list[tuple[date, date]]]] = {
    "month": spans(1),
    "customs": spans(2, 1),
    "quarter": spans(3),
    "half": spans(6),
    "year": spans(12),
    "changing": changing,
    "cumulative": cumulative,
    "span": awkward_spans,
    "week": weeks,
    "first": on_days(lambda day: day.day == 1, 66),
    "last": on_days(month_end, 66),
    "middle": on_days(lambda day: day.day == 15, 66),
    "thirtieth": on_days(lambda day: day.day == 30, 60),
    "quarter's end": on_days(lambda day: month_end(day) and day.month % 3 == 0, 26),
    "monday": on_days(lambda day: day.weekday() == 0, 120),
    "workday": on_days(lambda day: day.weekday() < 5, 150),
    "leap": leap_days,
    "week 53": weeks_53,
    **{f"some day of each {unit}": some_day_of_each(unit) for unit in "DWMQA"},
    **{f"loose {unit}": loose_spans(unit) for unit in "DWMQA"},
}


def by_series(rows: list[Row]) -> dict[str, list[Row]]:
    series = defaultdict(list)
    for row in rows:
        series[row.series].append(row)
    return series


# Asking.


def table(name: str, columns: dict[str, str], rows: Iterable[Sequence[Any]]) -> str:
    """Rows as a CTE with the given column types."""
    values = ",".join(f"({','.join(map(literal, row))})" for row in rows)
    casts = ", ".join(
        f"cast(c{number} as {type_}) as {column}" for number, (column, type_) in enumerate(columns.items())
    )
    names = ", ".join(f"c{number}" for number in range(len(columns)))
    return f"{name} as (select {casts} from (values {values}) as v({names}))"


def literal(value: Any) -> str:
    if value is None:
        return "null"
    return repr(value) if isinstance(value, int | float) else "'" + str(value).replace("'", "''") + "'"


def shuffled(rows: Iterable[Any], seed: int = 0) -> list[Any]:
    mixed = list(rows)
    random.Random(seed).shuffle(mixed)
    return mixed


def observations(rows: list[Row], seed: int = 0) -> str:
    """The rows in random order as the CTE `t`, numbered as they are in the list."""
    columns = {"id": "bigint", "series": "varchar", "period_start": "date", "period_end": "date", "value": "double"}
    return table("t", columns, shuffled(((number, *row) for number, row in enumerate(rows)), seed))


def ask(server: Server, sql: str) -> list[tuple]:
    assert len(sql) < 256 * 1024
    return server.query(sql).rows


def windows(server: Server, rows: list[Row], calls: Sequence[str], over: str = OVER, seed: int = 0) -> list[list[Any]]:
    """For each call its results, in the order of the rows."""
    columns = ", ".join(f"{call} {over} as r{number}" for number, call in enumerate(calls))
    answer = sorted(ask(server, f"with {observations(rows, seed)} select id, {columns} from t"), key=lambda row: row[0])
    assert [row[0] for row in answer] == list(range(len(rows)))
    return [list(column) for column in list(zip(*answer, strict=True))[1:]]


def assert_agree(
    server: Server, rows: list[Row], oracles: dict[str, Callable[[Row, list[Row]], Any]], over: str = OVER
) -> list[list[Any]]:
    """Each call gives what its oracle finds; what the oracles found."""
    series = by_series(rows)
    found = []
    for (call, oracle), actual in zip(oracles.items(), windows(server, rows, list(oracles), over), strict=True):
        expected = [oracle(row, series[row.series]) for row in rows]
        assert_same(call, rows, actual, expected)
        found.append(expected)
    return found


def assert_same(asked: str, rows: Sequence[Any], actual: Sequence[Any], expected: Sequence[Any]) -> None:
    """The same values, numbers to 1e-12; and enough of them that agreeing proves something."""
    assert len(actual) == len(expected) == len(rows)
    wrong = [trio for trio in zip(rows, actual, expected, strict=True) if not same(*trio[1:])]
    shown = "\n".join(f"  {row}: {got!r}, expected {wanted!r}" for row, got, wanted in wrong[:10])
    assert not wrong, f"{asked}: {len(wrong)} of {len(rows)} differ:\n{shown}"
    assert sum(value is not None for value in expected) > len(rows) / 25, f"{asked}: the oracle knows too little"


def same(actual: Any, expected: Any) -> bool:
    if isinstance(expected, dict) and isinstance(actual, dict):
        return actual.keys() == expected.keys() and all(same(actual[key], expected[key]) for key in expected)
    if isinstance(expected, float) and isinstance(actual, float):
        return math.isclose(actual, expected, rel_tol=1e-12, abs_tol=1e-9)  # sums of large values may end near zero
    return type(actual) is type(expected) and actual == expected


def assert_refused(server: Server, sql: str, *named: str) -> None:
    """The statement is the caller's mistake, and the message says which."""
    failure = harness.failure(server.stub, sql)
    assert failure.code == StatusCode.INVALID_ARGUMENT, f"{failure.code}: {failure.message}"
    for part in named:
        assert part.lower() in failure.message.lower(), failure.message


# prior, change, growth and their kin.

#: The reasons that every generated data set gives; the others need spans, or a negative base without `signed`.
ALWAYS = {"value_missing", "base_missing", "base_null", "base_zero"}

SPANS = ["month", "customs", "quarter", "half", "year", "changing", "cumulative", "span", "week"]
DATES = ["first", "last", "middle", "thirtieth", "quarter's end", "monday", "workday", "leap"]


def assert_bases(server: Server, rows: list[Row], lookups: list[Lookup]) -> None:
    """Every function of the family agrees with the oracle, and every reason that can come does come."""
    series = by_series(rows)
    over = OVER if lookups[0].pair else OVER_DATE
    calls = [(lookup, call) for lookup in lookups for call in lookup.calls]
    answers = iter(windows(server, rows, [call for _, call in calls], over))
    found = set()
    for lookup in lookups:
        expected = [lookup.results(row, series[row.series]) for row in rows]
        for call, result in lookup.calls.items():
            assert_same(call, rows, next(answers), [results[result] for results in expected])
        reasons = {results["reason"] for results in expected}
        assert reasons >= ALWAYS
        assert lookup.signed != ("base_negative" in reasons)
        found |= reasons
    assert lookups[0].pair == ("period_length_differs" in found)


@pytest.mark.parametrize("seed", range(3))
def test_pairs_of_dates(server: Server, seed: int) -> None:
    rows = generated(seed, SPANS)
    assert_bases(server, rows, [Lookup(interval, signed=seed == 2) for interval in INTERVALS])


@pytest.mark.parametrize("seed", range(3, 6))
def test_single_dates(server: Server, seed: int) -> None:
    rows = generated(seed, DATES)
    assert_bases(server, rows, [Lookup(interval, pair=False, signed=seed == 5) for interval in INTERVALS])


FIVE_YEARS = Interval("5 years", months=60)
MATCHES = {
    "D": [DAY, WEEK, MONTH, YEAR],
    "W": [WEEK, FOUR_WEEKS, YEAR],
    "M": [MONTH, QUARTER, YEAR],
    "Q": [QUARTER, YEAR],
    "A": [YEAR, Interval("2 years", months=24)],
}


@pytest.mark.parametrize("unit", MATCHES)
@pytest.mark.parametrize("pair", [True, False], ids=["pairs", "single dates"])
def test_bases_by_calendar_unit(server: Server, unit: str, pair: bool) -> None:
    rows = generated(6, [f"loose {unit}" if pair else f"some day of each {unit}"], per_shape=6)
    lookups = [Lookup(interval, pair=pair, match=unit, signed=unit in "WQ") for interval in MATCHES[unit]]
    assert_bases(server, rows, lookups)


def test_a_week_53_has_a_base_where_that_year_has_one(server: Server) -> None:
    rows = generated(7, ["week 53"], per_shape=6)
    assert_bases(server, rows, [Lookup(interval, pair=False, match="W") for interval in (YEAR, FIVE_YEARS)])


@pytest.mark.parametrize("tolerance", [Interval("5 days", days=5), Interval("40 days", days=40), MONTH])
def test_the_newest_date_within_a_tolerance(server: Server, tolerance: Interval) -> None:
    rows = generated(8, ["thirtieth", "last", "workday", "leap", "some day of each W", "some day of each M"], gaps=0.3)
    lookups = [Lookup(interval, pair=False, tolerance=tolerance) for interval in (FOUR_WEEKS, MONTH, YEAR)]
    assert_bases(server, rows, lookups)
    assert_bases(server, rows, [Lookup(YEAR, pair=False, tolerance=tolerance, signed=True)])


def test_the_period_may_come_from_the_order(server: Server) -> None:
    """Calls of one argument, in either direction, and timestamps: all the same figures."""
    rows = generated(9, SPANS)
    series = by_series(rows)
    lookup = Lookup(YEAR, signed=True)
    results = [lookup.results(row, series[row.series]) for row in rows]
    calls = {
        "prior(value, interval '1 year')": "prior",
        "change(value, interval '12 months')": "change",
        "growth(value, interval '1 year', signed => true)": "growth",
        "growth_reason(value, interval '1 year', signed => true)": "reason",
        "yoy(value, signed => true)": "growth",
        "yoy_reason(value, signed => true)": "reason",
    }
    for start, end in [
        ("period_start", "period_end"),
        ("cast(period_start as timestamp)", "cast(period_end as timestamp)"),
    ]:
        for direction in ("", " desc"):
            over = f"over (partition by series order by {start}{direction}, {end}{direction})"
            for (call, result), actual in zip(calls.items(), windows(server, rows, list(calls), over), strict=True):
                assert_same(f"{call} {over}", rows, actual, [each[result] for each in results])


def test_growth_is_null_exactly_where_there_is_a_reason(server: Server) -> None:
    """Also where a value is no number and where a period is not known."""
    rows = generated(10, ["month", "changing", "cumulative"])
    extremes = f"""with {observations(rows)}, e as (
        select id, series, case when id % 17 <> 0 then period_start end as period_start,
            case when id % 19 <> 0 then period_end end as period_end,
            case id % 23 when 0 then cast('NaN' as double) when 1 then cast('inf' as double)
                when 2 then cast('-inf' as double) when 3 then value * 1e300 when 4 then value * 1e-300 else value end
            as value from t)"""
    for options in ("", ", signed => true", ", match => 'M'"):
        sql = f"""{extremes} select period_start is null or period_end is null, value,
            growth(value, {PAIR}, interval '1 month'{options}) {OVER},
            growth_reason(value, {PAIR}, interval '1 month'{options}) {OVER} from e"""
        answer = ask(server, sql)
        assert len(answer) == len(rows)
        for no_period, value, growth, reason in answer:
            assert (growth is None) == (reason is not None), (value, growth, reason)
            assert growth is None or math.isfinite(growth)
            if value is None or not math.isfinite(value):
                assert reason == "value_missing"
            elif no_period:
                assert reason == "base_missing"
        assert sum(growth is not None for _, _, growth, _ in answer) > len(rows) / 5


def test_growth_depends_on_a_row_and_its_base_alone(server: Server) -> None:
    """The same after any permutation, and without all rows that are neither."""
    rows = generated(11, [*SPANS, *DATES])
    series = by_series(rows)
    calls = [f"yoy(value, {PAIR})", f"yoy_reason(value, {PAIR})"]
    first, reasons = windows(server, rows, calls)
    assert sum(growth is not None for growth in first) > len(rows) / 5
    for seed in (1, 2):
        assert windows(server, rows, calls, seed=seed) == [first, reasons]

    chosen = set(random.Random(12).sample(range(len(rows)), 200))
    bases = {Lookup(YEAR).base(rows[number], series[rows[number].series]) for number in chosen}
    kept = [number for number, row in enumerate(rows) if number in chosen or row in bases]
    assert len(kept) < len(rows) / 3
    [alone] = windows(server, [rows[number] for number in kept], calls[:1])
    for number, growth in zip(kept, alone, strict=True):
        if number in chosen:
            assert growth == first[number], rows[number]


# index_to.


@pytest.mark.parametrize("day", [date(2019, 1, 1), date(2020, 2, 29), date(2021, 6, 30)])
def test_an_index_is_100_at_its_base(server: Server, day: date) -> None:
    """NULL for the whole series where the base is missing, NULL, zero or negative."""
    rng = random.Random(f"{day}")
    rows = []
    for number in range(30):
        starts = sorted({day, *rng.sample(list(days(day - timedelta(days=900), day + timedelta(days=900))), 20)})
        rows += [
            Row(f"s{number}", start, start + timedelta(days=rng.randrange(1, 40)), observed(rng)) for start in starts
        ]
        if number % 5 == 0:
            rows = [row for row in rows if (row.series, row.start) != (f"s{number}", day)]
    kinds = Counter(
        "null" if row.value is None else "positive" if row.value > 0 else "zero" if row.value == 0 else "negative"
        for row in rows
        if row.start == day
    )
    assert kinds["positive"] and kinds.total() - kinds["positive"] > 1
    oracle = index_to(day)
    for over in (OVER, "over (partition by series)", "over (partition by series order by period_start desc)"):
        assert_agree(server, rows, {f"index_to(value, period_start, date '{day}')": oracle}, over)
    assert_agree(server, rows, {f"index_to(value, {PAIR}, date '{day}')": oracle}, "over (partition by series)")


def test_an_index_grows_as_its_series(server: Server) -> None:
    rng = random.Random(13)
    months = [(date(y, m, 1), last_day(y, m)) for y in range(2018, 2025) for m in range(1, 13)]
    rows = [Row(f"s{n}", *month, rng.lognormvariate(5, 1)) for n in range(12) for month in months if rng.random() < 0.9]
    rows = [row for row in rows if row.series != "s3" or row.start != date(2020, 1, 1)]
    sql = f"""with {observations(rows)},
        i as (select *, index_to(value, {PAIR}, date '2020-01-01') {OVER} as level from t)
        select yoy(value, {PAIR}) {OVER}, yoy(level, {PAIR}) {OVER}, level is null from i"""
    answer = ask(server, sql)
    assert {no_level for _, _, no_level in answer} == {True, False}
    compared = [(of_value, of_index) for of_value, of_index, no_level in answer if not no_level]
    assert_same("yoy of index_to", compared, [pair[1] for pair in compared], [pair[0] for pair in compared])


# Year to date.


def fiscal_periods(first_month: int, rng: random.Random, *, flawed: bool) -> list[tuple[date, date]]:
    """Fiscal years cut into months, longer periods or any days; flawed ones have gaps and overlaps."""
    found = []
    for year in range(2018, 2025):
        first, next_first = date(year, first_month, 1), date(year + 1, first_month, 1)
        cut = rng.choice(["months", "two months first", "some months", "days"])
        starts = [first]
        while starts[-1] < next_first:
            months = rng.randrange(1, 5) if cut == "some months" else 1
            if cut == "two months first" and len(starts) == 1:
                months = 2
            after = MONTH.after(starts[-1], months)
            if cut == "days":
                after = starts[-1] + timedelta(days=rng.randrange(1, 60))
            starts.append(min(after, next_first))
        periods = [(start, after - ONE_DAY) for start, after in pairwise(starts)]
        if flawed and rng.random() < 0.3:
            periods.pop(rng.randrange(len(periods)))
        if flawed and rng.random() < 0.3:
            start, end = rng.choice(periods)
            periods.append((max(first, start - timedelta(days=rng.randrange(1, 40))), end))
        found += sorted(set(periods))
    return found


def flows(seed: int, first_month: int, *, flawed: bool = True) -> list[Row]:
    """What flowed in each period of some series; flawed ones have gaps, overlaps and NULLs."""
    rng = random.Random(seed)
    return [
        Row(f"s{number}", start, end, None if flawed and rng.random() < 0.02 else round(rng.uniform(-50, 500), 1))
        for number in range(16)
        for start, end in fiscal_periods(first_month, rng, flawed=flawed)
    ]


@pytest.mark.parametrize("first_month", [1, 4, 7, 12])
def test_year_to_date(server: Server, first_month: int) -> None:
    """Gaps, overlaps and NULLs take the rest of the year with them, and no more."""
    rows = flows(first_month, first_month)
    call = f"ytd(value, {PAIR}, {first_month})" if first_month > 1 else f"ytd(value, {PAIR})"
    [expected] = assert_agree(server, rows, {call: year_to_date(first_month)})
    assert expected.count(None) > len(rows) / 20


@pytest.mark.parametrize("first_month", [1, 4, 7, 12])
def test_flows_between_cumulative_figures(server: Server, first_month: int) -> None:
    """Whatever their distance; revised downward they give a negative flow, and the year resets by the calendar."""
    rng = random.Random(first_month)
    rows = []
    for number in range(16):
        for start, end in fiscal_periods(first_month, rng, flawed=True):
            first = fiscal_start(start, first_month)
            rows.append(
                Row(f"s{number}", first, end, None if rng.random() < 0.05 else round(rng.uniform(-100, 9000), 1))
            )
    rows = list({row[:3]: row for row in rows}.values())
    month = f", {first_month}" if first_month > 1 else ""
    expected, _ = assert_agree(
        server,
        rows,
        {
            f"from_ytd(value, {PAIR}{month})": flow,
            f"from_ytd_value(value, {PAIR}{month})": lambda row, series: flow(row, series)["value"],
        },
    )
    lengths = {(each["period_end"] - each["period_start"]).days for each in expected}
    assert len(lengths) > 20
    assert sum(each["value"] is not None and each["value"] < 0 for each in expected) > len(rows) / 20


@pytest.mark.parametrize("first_month", [1, 4, 7])
def test_flows_of_a_sum_are_what_was_summed(server: Server, first_month: int) -> None:
    """from_ytd(ytd(x)) = x to 1e-9, period by period, without gaps and NULLs."""
    rows = flows(20 + first_month, first_month, flawed=False)
    year = f"extract(year from period_end) - case when extract(month from period_end) < {first_month} then 1 else 0 end"
    sql = f"""with {observations(rows)},
        summed as (select id, series, {PAIR}, ytd(value, {PAIR}, {first_month}) {OVER} as total from t),
        cumulative as (select id, series, make_date({year}, {first_month}, 1) as first, period_end, total from summed)
        select id, from_ytd(total, first, period_end, {first_month})
            over (partition by series order by first, period_end) from cumulative order by id"""
    answer = ask(server, sql)
    assert len(answer) == len(rows) > 300
    for row, (_, back) in zip(rows, answer, strict=True):
        assert (back["period_start"], back["period_end"]) == (row.start, row.end)
        assert back["value"] == pytest.approx(row.value, rel=1e-9, abs=1e-9)


def test_the_last_cumulative_figure_is_the_sum_of_the_flows(server: Server) -> None:
    """Revisions downward included: what is added again is what was published."""
    rng = random.Random(14)
    ends = [last_day(year, month) for year in range(2010, 2025) for month in range(1, 13)]
    rows = [
        Row(f"s{number}", date(end.year, 1, 1), end, round(rng.uniform(0, 9000), 1))
        for number in range(6)
        for end in ends
        if rng.random() < 0.6
    ]
    sql = f"""with {observations(rows)},
        f as (select series, period_start as year, from_ytd(value, {PAIR}) {OVER} as flow from t)
        select series, year, sum(flow['value']), max(flow['period_end']) from f group by series, year"""
    last = {(row.series, row.start): row for row in sorted(rows, key=lambda row: row.end)}
    answer = ask(server, sql)
    assert len(answer) == len(last)
    for series, year, total, end in answer:
        assert total == pytest.approx(last[series, year].value, rel=1e-9)
        assert end == last[series, year].end


# Filling windows.

MONTHLY = ["month", "quarter", "year"]
GAPS = [MONTH, QUARTER, Interval("7 months", months=7), Interval("2 years", months=24)]


def with_holes(rows: list[Row], seed: int) -> list[Row]:
    """The rows with half of the values lost, in runs."""
    rng = random.Random(seed)
    lost = False
    found = []
    for row in rows:
        lost = rng.random() < (0.7 if lost else 0.3)
        found.append(row._replace(value=None) if lost else row)
    return found


def test_carrying_the_last_value_on(server: Server) -> None:
    rows = with_holes(generated(15, MONTHLY), 1)
    assert_agree(server, rows, {f"locf(value, {PAIR})": carried()})
    assert_agree(server, rows, {f"locf(value, {PAIR}, {gap})": carried(gap) for gap in GAPS})
    dates = with_holes(generated(16, ["first", "last", "quarter's end"]), 2)
    assert_agree(server, dates, {f"locf(value, period_start, {gap})": carried(gap) for gap in GAPS}, OVER_DATE)
    daily = with_holes(generated(17, ["workday", "leap", "some day of each W"]), 3)
    gaps = [DAY, Interval("4 days", days=4), FOUR_WEEKS]
    oracles = {f"locf(value, period_start, {gap})": carried(gap) for gap in gaps}
    assert_agree(server, daily, {**oracles, "locf(value, period_start)": carried()}, OVER_DATE)


def test_interpolating_between_two_known_values(server: Server) -> None:
    """In calendar months unless by days; never beyond the ends, never over a hole that is too long."""
    rows = with_holes(generated(18, MONTHLY), 4)
    oracles = {f"interpolate(value, {PAIR}, {gap})": interpolated(gap) for gap in GAPS}
    found = assert_agree(server, rows, {f"interpolate(value, {PAIR})": interpolated(), **oracles})
    filled = [sum(value is not None for value in values) for values in found]
    assert filled[1] < filled[2] < filled[3] < filled[4] < filled[0], "the gaps must make a difference"

    dates = with_holes(generated(19, ["first", "last", "quarter's end"]), 5)
    oracles = {f"interpolate(value, period_start, {gap})": interpolated(gap) for gap in GAPS}
    by_days = {
        "interpolate(value, period_start, by => 'days')": interpolated(by_days=True),
        f"interpolate(value, period_start, {QUARTER}, by => 'days')": interpolated(QUARTER, by_days=True),
    }
    assert_agree(server, dates, {"interpolate(value, period_start)": interpolated(), **oracles, **by_days}, OVER_DATE)

    daily = with_holes(generated(20, ["workday", "leap", "some day of each W", "some day of each M"]), 6)
    four_days = Interval("4 days", days=4)
    oracles = {
        "interpolate(value, period_start)": interpolated(),
        "interpolate(value, period_start, by => 'days')": interpolated(by_days=True),
        f"interpolate(value, period_start, {four_days}, by => 'days')": interpolated(four_days, by_days=True),
        f"interpolate(value, period_start, {FOUR_WEEKS}, by => 'days')": interpolated(FOUR_WEEKS, by_days=True),
    }
    assert_agree(server, daily, oracles, OVER_DATE)


def test_a_line_within_one_month_is_straight_in_days(server: Server) -> None:
    """There calendar periods and days say the same."""
    rng = random.Random(21)
    rows = [
        Row(f"s{number}", day, day, rng.uniform(1, 100) if rng.random() < 0.4 else None)
        for number in range(20)
        for day in rng.sample([date(2024, number % 12 + 1, d) for d in range(1, 29)], 18)
    ]
    assert_agree(server, rows, {"interpolate(value, period_start)": interpolated(by_days=True)}, OVER_DATE)


# Aggregates.


def test_compound_annual_growth(server: Server) -> None:
    """Between the first and the last value that is known; years are calendar months ÷ 12."""
    rng = random.Random(22)
    rows = []
    for number in range(300):
        step = rng.choice([1, 3, 12])
        at_the_end = rng.random() < 0.5
        month = rng.randrange(12 * 1990, 12 * 2020)
        for _ in range(rng.randrange(1, 12)):
            month += step * rng.randrange(1, 3)
            year, of_year = divmod(month, 12)
            day = last_day(year, of_year + 1) if at_the_end else date(year, of_year + 1, 1)
            value = rng.choices([rng.lognormvariate(5, 1), None, 0.0, -5.0], [12, 3, 1, 1])[0]
            rows.append(Row(f"s{number}", day, day, value))

    def expected(series: list[Row]) -> float | None:
        known = [row for row in series if row.value is not None]
        if not known:
            return None
        first, last = (chosen(known, key=lambda row: row.start) for chosen in (min, max))
        months = month_number(last.start) - month_number(first.start)
        usable = months >= 12 and first.value > 0 and last.value > 0
        return (last.value / first.value) ** (12 / months) - 1 if usable else None

    answer = dict(
        ask(server, f"with {observations(rows)} select series, cagr(value, period_start) from t group by series")
    )
    series = by_series(rows)
    assert answer.keys() == series.keys()
    oracle = [expected(found) for found in series.values()]
    assert_same("cagr", list(series), [answer[name] for name in series], oracle)
    assert oracle.count(None) > 50


def test_rates_of_execution_are_ratios_of_sums(server: Server) -> None:
    """Over the rows where both are known, in groups and over everything."""
    rng = random.Random(23)
    amounts = [None, 0.0, 10.5, 120.0, 5000.0, -3.0]
    rows = [
        (f"g{number}", rng.choice(amounts), rng.choice(amounts[:-1] if number % 4 else [None, 0.0]))
        for number in range(80)
        for _ in range(rng.randrange(1, 9))
    ]

    def expected(group: list[tuple]) -> float | None:
        both = [(actual, quota) for _, actual, quota in group if actual is not None and quota is not None]
        total = math.fsum(quota for _, quota in both)
        return math.fsum(actual for actual, _ in both) / total if total else None

    given = table("t", {"g": "varchar", "actual": "double", "quota": "double"}, shuffled(rows))
    answer = dict(ask(server, f"with {given} select g, execution_rate(actual, quota) from t group by g"))
    groups = sorted({row[0] for row in rows})
    oracle = [expected([row for row in rows if row[0] == group]) for group in groups]
    assert_same("execution_rate", groups, [answer[group] for group in groups], oracle)
    assert oracle.count(None) > 15
    [(whole,)] = ask(server, f"with {given} select execution_rate(actual, quota) from t")
    assert same(whole, expected(rows))


# Calendar.


def many_days(seed: int, count: int = 500) -> list[date]:
    """Random days, and those around the ends of months, quarters, years and leap days."""
    rng = random.Random(seed)
    edges = [date(y, m, 1) for y in (1899, 1900, 1999, 2000, 2015, 2023, 2024, 2100) for m in range(1, 13)]
    awkward = {edge + timedelta(days=shift) for edge in edges for shift in (-2, -1, 0, 1)}
    drawn = {date(1890, 1, 1) + timedelta(days=rng.randrange(80_000)) for _ in range(count)}
    return sorted(awkward | drawn)


def scalars(
    server: Server, rows: Sequence[Sequence[Any]], types: dict[str, str], calls: Sequence[str]
) -> list[list[Any]]:
    """For each call its results, in the order of the rows, of which one is NULL throughout."""
    numbered = [(number, *row) for number, row in enumerate([*rows, [None] * len(types)])]
    given = table("t", {"id": "bigint", **types}, shuffled(numbered))
    answer = ask(server, f"with {given} select {', '.join(calls)}, id from t order by id")
    assert [row[-1] for row in answer] == list(range(len(numbered)))
    assert set(answer.pop()[:-1]) == {None}, "NULL gives NULL"
    return [list(column) for column in list(zip(*answer, strict=True))[:-1]]


def test_ends_of_periods(server: Server) -> None:
    given = many_days(24)
    oracles: dict[str, Callable[[date], date]] = {
        unit: lambda day, unit=unit: pd.Period(day, "Y" if unit == "A" else unit).end_time.date() for unit in "DWMQA"
    }
    oracles["H"] = lambda day: date(day.year, 6, 30) if day.month <= 6 else date(day.year, 12, 31)
    calls = [f"end_of_period(d, '{unit}')" for unit in oracles]
    for call, oracle, actual in zip(
        calls, oracles.values(), scalars(server, [(day,) for day in given], {"d": "date"}, calls), strict=True
    ):
        assert_same(call, given, actual, [oracle(day) for day in given])


def test_whole_months_of_a_period(server: Server) -> None:
    rng = random.Random(25)
    starts = many_days(26, 200)
    given = [(start, start + timedelta(days=rng.randrange(1200))) for start in starts]
    given += [(start, last_day(start.year, start.month + rng.randrange(40))) for start in starts]

    def filled(start: date, end: date) -> int | None:
        months = range(month_number(start), month_number(end) + 1)
        return len(months) if start.day == 1 and month_end(end) else None

    [actual] = scalars(server, given, {"s": "date", "e": "date"}, ["period_length_months(s, e)"])
    assert_same("period_length_months", given, actual, [filled(*period) for period in given])


def test_fiscal_years(server: Server) -> None:
    """pandas names a year by its end: Y-JUN is the year that ends with June."""
    given = many_days(27)
    month_names = ["DEC", "JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV"]
    calls, oracle = [], []
    for month, last_month in enumerate(month_names, 1):
        calls += [f"fiscal_year(d, {month})", f"fiscal_year(d, {month}, named_by => 'end')"]
        oracle += [[pd.Period(day, f"Y-{last_month}").year for day in given]] * 2
        calls.append(f"fiscal_year(d, {month}, named_by => 'start')")
        oracle.append([fiscal_start(day, month).year for day in given])
    for call, actual, expected in zip(
        calls, scalars(server, [(d,) for d in given], {"d": "date"}, calls), oracle, strict=True
    ):
        assert_same(call, given, actual, expected)


#: As SQL and as Python; each may be turned into a range of days, which must be the same range.
CONDITIONS: dict[str, Callable[[int], bool]] = {
    "= 2024": lambda year: year == 2024,
    "<> 2024": lambda year: year != 2024,
    "< 2023": lambda year: year < 2023,
    "<= 2023": lambda year: year <= 2023,
    "> 2019": lambda year: year > 2019,
    ">= 2019": lambda year: year >= 2019,
    "between 2015 and 2018": lambda year: 2015 <= year <= 2018,
    "in (2012, 2020, 2024)": lambda year: year in (2012, 2020, 2024),
    "= -1": lambda year: year == -1,
}


@pytest.mark.parametrize("column", ["period_start", "period_end", "published_on"])
def test_a_condition_on_a_fiscal_year_keeps_what_it_should(server: Server, column: str) -> None:
    """Of stored rows, which a range prunes, every row counts that counts when all are read."""
    everything = ask(server, f"select row_id, {column} from all_vintages('prices')")
    for first_month, named_by in [(1, "end"), (1, "start"), (7, "end"), (7, "start")]:
        later = named_by == "end" and first_month > 1
        years = {row_id: fiscal_start(day, first_month).year + later for row_id, day in everything}
        for condition, holds in CONDITIONS.items():
            where = f"fiscal_year({column}, {first_month}, named_by => '{named_by}') {condition}"
            kept = [row_id for (row_id,) in ask(server, f"select row_id from all_vintages('prices') where {where}")]
            assert sorted(kept) == sorted(row_id for row_id, year in years.items() if holds(year)), where


BUCKETS = [
    *(Interval(f"{number} months", months=number) for number in (1, 2, 3, 6, 7)),
    *(Interval(f"{number} years", months=12 * number) for number in (1, 5)),
    *(Interval(f"{number} weeks", days=7 * number) for number in (1, 2)),
    *(Interval(f"{number} days", days=number) for number in (1, 10)),
]


@cache
def bucket_starts(interval: Interval, origin: date) -> list[date]:
    """Every bucket's first day over three centuries, both ways from the origin."""
    if interval.days:
        whole = timedelta(days=interval.days)
        return [origin + whole * number for number in range(-120_000 // interval.days, 60_000 // interval.days)]
    months = (date(year, month, origin.day) for year in range(1700, 2200) for month in range(1, 13))
    return [day for day in months if (month_number(day) - month_number(origin)) % interval.months == 0]


def usual_origin(interval: Interval) -> date:
    """A Monday for weeks."""
    return date(2000, 1, 3) if interval.days and interval.days % 7 == 0 else date(2000, 1, 1)


def test_buckets_of_time(server: Server) -> None:
    """Without an origin weeks count from Monday, 3 January 2000, all others from the first of that year."""
    given = many_days(28, 300)
    calls, oracle = [], []
    for interval in BUCKETS:
        usual = usual_origin(interval)
        for origin, argument in [
            (usual, ""),
            *((day, f", date '{day}'") for day in (date(1950, 4, 1), date(2024, 2, 15))),
        ]:
            starts = bucket_starts(interval, origin)
            calls.append(f"time_bucket({interval}, d{argument})")
            oracle.append([starts[bisect_right(starts, day) - 1] for day in given])
    for call, actual, expected in zip(
        calls, scalars(server, [(d,) for d in given], {"d": "date"}, calls), oracle, strict=True
    ):
        assert_same(call, given, actual, expected)


def test_buckets_of_timestamps_start_at_midnight(server: Server) -> None:
    rng = random.Random(29)
    given = [
        datetime.combine(day, time(rng.randrange(24), rng.randrange(60), rng.randrange(60)))
        for day in many_days(30, 50)
    ]
    calls = [f"time_bucket({interval}, d)" for interval in BUCKETS]
    answers = scalars(server, [(moment,) for moment in given], {"d": "timestamp"}, calls)
    for interval, call, actual in zip(BUCKETS, calls, answers, strict=True):
        starts = bucket_starts(interval, usual_origin(interval))
        expected = [datetime.combine(starts[bisect_right(starts, moment.date()) - 1], time()) for moment in given]
        assert_same(call, given, [pd.Timestamp(moment).to_pydatetime() for moment in actual], expected)


@pytest.mark.parametrize(
    "call",
    [
        "end_of_period(d, 'Q')",
        "fiscal_year(d, 7)",
        "fiscal_year(d, month)",
        "fiscal_year(d, 4, named_by => 'start')",
        "time_bucket(interval '5 months', d)",
        "time_bucket(interval '1 year', d, origin)",
        "time_bucket(interval '10 days', d, date '2024-02-15')",
    ],
)
def test_an_order_that_is_known_beforehand_is_the_right_one(server: Server, call: str) -> None:
    """Rows in the order of their days need no sort, but only where a function rises with the day alone."""
    rng = random.Random(call)
    some_days = rng.sample(many_days(33), 120)
    rows = [(day, rng.randrange(1, 13), date(2000, rng.randrange(1, 13), rng.randrange(1, 29))) for day in some_days]
    rows += [(None, 7, None), (date(2024, 2, 29), None, None)]
    given = table("t", {"d": "date", "month": "bigint", "origin": "date"}, rows)
    expected = Counter(ask(server, f"with {given} select {call} from t"))
    assert expected.total() == len(rows)
    for by_day in ("d", "d desc"):
        ordered = f"with {given}, s as (select * from t order by {by_day} limit 1000000)"
        for direction in ("", " desc"):
            results = ask(server, f"{ordered} select {call} as result from s order by result{direction}")
            known = [result for (result,) in results if result is not None]
            assert known == sorted(known, reverse=bool(direction))
            assert Counter(results) == expected
        counts = ask(server, f"{ordered} select {call} as result, count(*) from s group by result")
        assert sorted(count for _, count in counts) == sorted(expected.values())


def test_calendars_never_drift(server: Server) -> None:
    """Steps count from the start: from 31 January a month's step meets every month's end that lacks a 31st."""
    rng = random.Random(31)
    steps = [*BUCKETS, Interval("13 months", months=13)]
    starts = [date(2023, 1, 31), date(2024, 2, 29), date(1899, 12, 30), date(2020, 5, 31), date(2021, 3, 1)]
    spines = []
    for number in range(60):
        start, step = starts[number % 5], rng.choice(steps)
        end = rng.choice([start, step.after(start, 7), step.after(start, 7) - ONE_DAY, start + timedelta(days=200)])
        spines.append((start, end, step))
    spines.append((date(2024, 2, 1), date(2024, 1, 31), MONTH))  # nothing

    selects = [
        f"select {number} as id, period_start, period_end from calendar(date '{start}', date '{end}', {step})"
        for number, (start, end, step) in enumerate(spines)
    ]
    answer: dict[int, list[tuple[date, date]]] = defaultdict(list)
    for number, *period in ask(server, " union all ".join(selects)):
        answer[number].append(tuple(period))
    for number, (start, end, step) in enumerate(spines):
        expected, steps_taken = [], 0
        while step.after(start, steps_taken) <= end:
            period = step.after(start, steps_taken), step.after(start, steps_taken + 1) - ONE_DAY
            expected.append(period)
            steps_taken += 1
        assert sorted(answer[number]) == expected, selects[number]


# Filling gaps in a query.


@pytest.mark.parametrize("interval", [DAY, WEEK, MONTH, QUARTER, YEAR], ids=str)
def test_gaps_are_filled_for_each_key(server: Server, interval: Interval) -> None:
    """Every bucket from the first to the last of each key, of two columns that may be NULL; no key fills another's."""
    rng = random.Random(str(interval))
    starts = bucket_starts(interval, usual_origin(interval))
    place = bisect_right(starts, date(2019, 5, 17))
    rows = []
    for region, product in [("north", "a"), ("north", "b"), ("north", None), (None, "a"), (None, None), ("east", "a")]:
        for _ in range(30):
            bucket = place + rng.randrange(60)
            day = rng.choice(list(days(starts[bucket], starts[bucket + 1] - ONE_DAY)))
            rows.append((region, product, day, None if rng.random() < 0.3 else round(rng.uniform(-100, 900), 1)))

    short = Interval(f"{3 * interval.months} months {3 * interval.days} days", 3 * interval.months, 3 * interval.days)
    straight = interpolated(by_days=True) if interval.days else interpolated()
    straight_if_short = interpolated(short, by_days=True) if interval.days else interpolated(short)
    oracles = {
        "sum(value)": (math.fsum, lambda row, _: row.value),
        "locf(sum(value))": (math.fsum, carried()),
        f"locf(min(value), {short})": (min, carried(short)),
        "interpolate(avg(value))": (statistics.fmean, straight),
        f"interpolate(sum(value), {short})": (math.fsum, straight_if_short),
    }
    given = table("t", {"region": "varchar", "product": "varchar", "day": "date", "value": "double"}, shuffled(rows))
    for keys in ("region, product, bucket", "1, 2, 3"):
        columns = ", ".join(["region", "product", f"time_bucket_gapfill({interval}, day) as bucket", *oracles])
        sql = f"with {given} select {columns} from t group by {keys}"
        filled = ask(server, sql)
        answer = {row[:3]: row[3:] for row in filled}
        assert len(answer) == len(filled)
        expected: dict[tuple, list[Any]] = defaultdict(list)
        for aggregate, oracle in oracles.values():
            for key, spine in spines(rows, starts, aggregate).items():
                for row in spine:
                    expected[*key, row.start].append(oracle(row, spine))
        assert answer.keys() == expected.keys()
        assert len(answer) > len(rows) * 1.2, "there must be gaps to fill"
        for number, call in enumerate(oracles):
            assert_same(
                call,
                list(expected),
                [answer[key][number] for key in expected],
                [each[number] for each in expected.values()],
            )


def spines(rows: list[tuple], starts: list[date], aggregate: Callable[[list[float]], float]) -> dict[tuple, list[Row]]:
    """For each key its buckets, and what is known of each."""
    found = {}
    for key in {row[:2] for row in rows}:
        values = defaultdict(list)
        for *_, day, value in (row for row in rows if row[:2] == key):
            values[starts[bisect_right(starts, day) - 1]].append(value)
        between = starts[bisect_left(starts, min(values)) : bisect_right(starts, max(values))]
        known = {start: [value for value in values[start] if value is not None] for start in between}
        found[key] = [Row("", start, start, aggregate(known[start]) if known[start] else None) for start in between]
    return found


# Joining as of a time.


class Timed(NamedTuple):
    """A row of either side: two keys and a time, each of which may be NULL."""

    id: int
    k: str | None
    m: int | None
    day: date | None


@dataclass(frozen=True)
class AsOf:
    """A way to join, as SQL and by its rules."""

    source: str
    inner: bool = False
    strict: bool = False
    tolerance: Interval | None = None

    def matches(self, left: Timed, rights: list[Timed]) -> list[Timed]:
        """The newest rows of the left row's keys that are not after it; more than one are a tie."""
        if None in left:
            return []
        known = [right for right in rights if None not in right and (right.k, right.m) == (left.k, left.m)]
        known = [right for right in known if right.day < left.day or (right.day == left.day and not self.strict)]
        if self.tolerance:
            known = [right for right in known if right.day >= self.tolerance.before(left.day)]
        newest = max((right.day for right in known), default=None)
        return [right for right in known if right.day == newest]

    def pairs(self, lefts: list[Timed], rights: list[Timed]) -> Counter[tuple[int, int | None]]:
        found: Counter[tuple[int, int | None]] = Counter()
        for left in lefts:
            match = self.matches(left, rights)
            assert len(match) <= 1
            if match or not self.inner:
                found[left.id, match[0].id if match else None] += 1
        return found


FIVE_DAYS = Interval("5 days", days=5)
KEYS = "a.k = b.k and a.m = b.m"
NAMED = "asof_join('a', 'b', on => 'k, m', left_time => 'day', right_time => 'day'"
AS_OF = [
    AsOf(f"a asof join b match_condition (a.day >= b.day) on {KEYS}"),
    AsOf("a asof join b match_condition (b.day <= a.day) on b.m = a.m and b.k = a.k"),
    AsOf(f"a asof join b match_condition (a.day > b.day) on {KEYS}", strict=True),
    AsOf(
        f"a asof join b match_condition (a.day >= b.day and b.day >= a.day - {FIVE_DAYS}) on {KEYS}",
        tolerance=FIVE_DAYS,
    ),
    AsOf(
        f"a asof join b match_condition (a.day > b.day and b.day >= a.day - {MONTH}) on {KEYS}",
        strict=True,
        tolerance=MONTH,
    ),
    AsOf(f"a join b on asof_match(a.day >= b.day) and {KEYS}", inner=True),
    AsOf(f"a left join b on {KEYS} and asof_match(a.day > b.day)", strict=True),
    AsOf(f"{NAMED})"),
    AsOf(f"{NAMED}, tolerance => {MONTH}, how => 'left')", tolerance=MONTH),
    AsOf(f"{NAMED}, tolerance => {FIVE_DAYS}, how => 'inner')", inner=True, tolerance=FIVE_DAYS),
]


@cache
def sides(seed: int) -> tuple[list[Timed], list[Timed]]:
    """Left rows, some of one key and time, and right rows, of which ties are such as no left row meets."""
    rng = random.Random(seed)

    def drawn(count: int) -> list[Timed]:
        found = []
        for number in range(count):
            day = date(2023, 12, 1) + timedelta(days=rng.randrange(120))
            found.append(Timed(number, rng.choice(["x", "y", None]), rng.choice([1, 2, None]), day))
        return [row._replace(day=None) if rng.random() < 0.05 else row for row in found]

    lefts = drawn(150)
    lefts += [
        Timed(150 + 10 * m + number, "z", m, date(2024, 2, 27) + timedelta(days=number))
        for m in (1, 2)
        for number in range(7)
    ]
    rights = [Timed(1000, "z", 1, date(2024, 1, 29)), Timed(1001, "z", 2, date(2024, 1, 31))]  # a month before, or so
    for right in drawn(250):
        twice = None not in right and any(right[1:] == other[1:] for other in rights)
        met = twice and any(right in way.matches(left, [*rights, right]) for left in lefts for way in AS_OF)
        if not met:
            rights.append(right)
    return lefts, rights


def both(lefts: list[Timed], rights: list[Timed]) -> str:
    columns = {"id": "bigint", "k": "varchar", "m": "bigint", "day": "date"}
    return f"{table('a', columns, shuffled(lefts))}, {table('b', columns, shuffled(rights))}"


def test_the_newest_row_that_is_not_later(server: Server) -> None:
    """NULL keys and times meet nothing, and a tie that no row meets is none of its business."""
    lefts, rights = sides(34)
    assert max(Counter((left.k, left.m, left.day) for left in lefts).values()) > 1
    times = Counter((right.k, right.m, right.day) for right in rights if None not in right)
    assert max(times.values()) > 1
    for way in AS_OF:
        answer = Counter(ask(server, f"with {both(lefts, rights)} select a.id, b.id from {way.source}"))
        expected = way.pairs(lefts, rights)
        assert answer == expected, (
            f"{way.source}: {list((answer - expected).items())[:5]}, {list((expected - answer).items())[:5]}"
        )
        matched = sum(right is not None for _, right in expected)
        assert len(lefts) / 10 < matched < len(lefts), way.source


#: Conditions on a pair of rows; whoever applies one of the right side's before the join finds an older match.
PAIR_CONDITIONS: dict[str, Callable[[Timed, Timed | None], bool]] = {
    "b.id % 3 <> 0": lambda _, right: right is not None and right.id % 3 != 0,
    "b.day < date '2024-02-01'": lambda _, right: right is not None and right.day < date(2024, 2, 1),
    "b.id is null": lambda _, right: right is None,
    "a.day > date '2024-01-15' and b.k = 'x'": lambda left, right: (
        left.day is not None and left.day > date(2024, 1, 15) and right is not None and right.k == "x"
    ),
    "a.m = 1 or b.id > 100": lambda left, right: left.m == 1 or (right is not None and right.id > 100),
}


@pytest.mark.parametrize("way", [AS_OF[0], AS_OF[5], AS_OF[9]], ids=["asof join", "inner", "asof_join"])
def test_conditions_on_both_sides_come_after_the_match(server: Server, way: AsOf) -> None:
    lefts, rights = sides(34)
    left_by_id, right_by_id = ({row.id: row for row in side} for side in (lefts, rights))
    found = [(left_by_id[left], right_by_id.get(right)) for left, right in way.pairs(lefts, rights)]
    for condition, holds in PAIR_CONDITIONS.items():
        kept = Counter((left.id, right.id if right else None) for left, right in found if holds(left, right))
        sql = f"with {both(lefts, rights)} select {{}} from {way.source} where {condition}"
        assert Counter(ask(server, sql.format("a.id, b.id"))) == kept, condition
        assert ask(server, sql.format("count(*)")) == [(kept.total(),)], condition


@pytest.mark.parametrize("way", AS_OF, ids=lambda way: way.source)
def test_a_tie_that_would_be_met_is_refused(server: Server, way: AsOf) -> None:
    lefts, rights = sides(34)
    met = [match[0] for match in (way.matches(left, rights) for left in lefts) if match]
    twice = random.Random(36).choice(met)._replace(id=2000)
    sql = f"with {both(lefts, [*rights, twice])} select a.id, b.id from {way.source}"
    assert_refused(server, sql, "two right rows")


# What is refused.

WINDOWS = [
    f"prior(value, {PAIR}, interval '1 month')",
    f"change(value, {PAIR}, interval '1 week')",
    f"growth(value, {PAIR}, interval '1 year', signed => true)",
    f"growth_reason(value, {PAIR}, interval '1 year')",
    f"yoy(value, {PAIR})",
    f"qoq_reason(value, {PAIR})",
    f"mom(value, {PAIR}, match => 'M')",
    "mom(value, period_start, tolerance => interval '5 days')",
    "yoy(value)",
    f"index_to(value, {PAIR}, date '2023-01-01')",
    f"ytd(value, {PAIR})",
    f"locf(value, {PAIR})",
    f"interpolate(value, {PAIR})",
    f"interpolate(value, {PAIR}, interval '1 year', by => 'days')",
]


@pytest.mark.parametrize("call", WINDOWS)
def test_a_period_twice_in_a_series_is_refused_by_name(server: Server, call: str) -> None:
    """Among many series, wherever the two rows lie; also where their values agree or are NULL."""
    rows = generated(32, ["month"], gaps=0.0)
    month = (date(2024, 2, 1), date(2024, 2, 29))
    for values in [(1.0, 2.0), (3.0, 3.0), (None, None)]:
        twice = [
            Row("twice", date(2023, 1, 1), date(2023, 1, 31), 1.0),
            *(Row("twice", *month, value) for value in values),
        ]
        sql = f"with {observations([*rows, *twice])} select {call} {OVER} from t"
        assert_refused(server, sql, "2024-02-01", "partition by series, or pick a vintage")


def test_a_cumulative_end_twice_is_refused_by_name(server: Server) -> None:
    rows = [Row("s", date(2024, 1, 1), last_day(2024, month), 1.0) for month in (2, 3, 3, 4)]
    for function in ("from_ytd", "from_ytd_value"):
        sql = f"with {observations(rows)} select {function}(value, {PAIR}) {OVER} from t"
        assert_refused(server, sql, "2024-03-31", "partition by series, or pick a vintage")


@pytest.mark.parametrize(
    ("call", "named"),
    [
        (f"growth(value, {PAIR}, interval '1 month', match => 'Q')", ["Q", "month"]),
        (f"growth(value, {PAIR}, interval '4 months', match => 'Q')", ["Q", "month"]),
        (f"prior(value, {PAIR}, interval '6 months', match => 'A')", ["A", "month"]),
        (f"change(value, {PAIR}, interval '10 days', match => 'W')", ["W", "days"]),
        (f"growth(value, {PAIR}, interval '1 month', match => 'W')", ["W", "month"]),
        (f"growth(value, {PAIR}, interval '1 week', match => 'M')", ["M", "days"]),
        (f"mom(value, {PAIR}, match => 'X')", ["match", "'M'", "'A'"]),
        (f"yoy(value, {PAIR}, tolerance => interval '5 days')", ["tolerance"]),
        ("yoy(value, period_start, match => 'M', tolerance => interval '5 days')", ["match", "tolerance"]),
        (f"yoy(value, {PAIR}, sighed => true)", ["sighed", "match", "tolerance", "signed"]),
        (f"prior(value, {PAIR}, interval '1 year', signed => true)", ["signed", "match", "tolerance"]),
        (f"growth(value, {PAIR}, interval '0 months')", ["interval"]),
        (f"growth(value, {PAIR}, interval '-1 months')", ["interval"]),
        (f"growth(value, {PAIR}, interval '1 month 1 day')", ["interval"]),
        (f"ytd(value, {PAIR}, 13)", ["fiscal", "12"]),
        (f"ytd(value, {PAIR}, 2)", ["2024-01-01", "2024-02-29"]),
        (f"from_ytd(value, {PAIR})", ["2024-03-01", "2024-03-31"]),
        (f"from_ytd_value(value, {PAIR}, 7)", ["2024-01-01", "2024-02-29"]),
        (f"interpolate(value, {PAIR}, by => 'weeks')", ["by", "days"]),
    ],
)
def test_what_can_not_be_meant_is_refused_with_its_name(server: Server, call: str, named: list[str]) -> None:
    rows = [Row("s", date(2024, 1, 1), date(2024, 2, 29), 1.0), Row("s", date(2024, 3, 1), date(2024, 3, 31), 2.0)]
    assert_refused(server, f"with {observations(rows)} select {call} {OVER} from t", call.split("(")[0], *named)


def test_two_rows_of_one_calendar_unit_are_refused(server: Server) -> None:
    """Also where another row lies between them."""
    rows = [Row("s", day, day, 1.0) for day in (date(2024, 1, 3), date(2024, 3, 4), date(2024, 3, 30))]
    for call, twice in [
        ("mom(value, period_start, match => 'M')", "2024-03-30"),
        ("qoq(value, period_start, match => 'Q')", "2024-03-04"),
    ]:
        sql = f"with {observations(rows)} select {call} {OVER_DATE} from t"
        assert_refused(server, sql, "two rows for one period", twice)
    spans = [
        (date(2024, 1, 3), date(2024, 3, 5)),
        (date(2024, 1, 10), date(2024, 2, 2)),
        (date(2024, 1, 20), date(2024, 3, 9)),
    ]
    rows = [Row("s", start, end, 1.0) for start, end in spans]
    sql = f"with {observations(rows)} select mom(value, {PAIR}, match => 'M') {OVER} from t"
    assert_refused(server, sql, "two rows for one period", "2024-01-20", "2024-03-09")


def test_aggregates_refuse_what_has_no_answer(server: Server) -> None:
    days_of_cagr = [date(2020, 1, 1), date(2020, 1, 1), date(2024, 1, 1), date(2024, 1, 1)]
    for values in ([1.0, 2.0, 3.0, 3.0], [1.0, 1.0, 3.0, 4.0]):
        rows = [Row("s", day, day, value) for day, value in zip(days_of_cagr, values, strict=True)]
        day = "2020-01-01" if values[0] != values[1] else "2024-01-01"
        assert_refused(server, f"with {observations(rows)} select cagr(value, period_start) from t", "cagr", day)
    agreeing = [Row("s", day, day, value) for day, value in zip(days_of_cagr, [1.0, 1.0, 16.0, 16.0], strict=True)]
    assert ask(server, f"with {observations(agreeing)} select cagr(value, period_start) from t") == [(1.0,)]

    given = table("t", {"actual": "double", "quota": "double"}, [(1.0, 2.0), (1.0, -2.0)])
    assert_refused(server, f"with {given} select execution_rate(actual, quota) from t", "execution_rate", "-2")
