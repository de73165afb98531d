"""Which row counts, what changed and what conflicts, against brute force over every row.

The oracle follows the rules of the tables as they are written down, in pandas, on rows that deltalake reads.
"""

from __future__ import annotations

import random
import re
from collections import Counter
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import grpc
import pandas as pd
import psutil
import pyarrow as pa
import pytest
from grpc import StatusCode

import harness
from harness import Server
from test_interchange import counted, read_by_deltalake
from test_growth import last_day
from test_kill import HEADER
from test_limits import assert_idle

PERIOD = ["series", "period_start", "period_end"]
SET_ASIDE = ["contradicted", "superseded", "withdrawn"]

#: Conditions that hold for some vintages of a period and not for others, as SQL and as pandas. Whoever applies one
#: before the selection brings back a value that does not count; those on key and period may go below it.
CONDITIONS = {
    "true": lambda rows: rows["series"].notna(),
    "value > 1000": lambda rows: rows["value"] > 1000,
    "value is null": lambda rows: rows["value"].isna(),
    "status = 'final'": lambda rows: rows["status"] == "final",
    "status <> 'rounded' and note is null": lambda rows: (rows["status"] != "rounded") & rows["note"].isna(),
    "source_id like 'USGS-%'": lambda rows: rows["source_id"].str.startswith("USGS-"),
    "statement = 1": lambda rows: rows["statement"] == 1,
    "published_on <= date '2020-06-30'": lambda rows: rows["published_on"] <= date(2020, 6, 30),
    "published_on > date '2020-06-30'": lambda rows: rows["published_on"] > date(2020, 6, 30),
    "published_on = date '2025-03-19'": lambda rows: rows["published_on"] == date(2025, 3, 19),
    "published_precision = 'year'": lambda rows: rows["published_precision"] == "year",
    "unit <> 't'": lambda rows: rows["unit"] != "t",
    "frequency = 'A' and not cumulative": lambda rows: (rows["frequency"] == "A") & ~rows["cumulative"],
    "series > 'U'": lambda rows: rows["series"] > "U",
    "period_start >= date '2018-01-01'": lambda rows: rows["period_start"] >= date(2018, 1, 1),
    "period_end < date '2018-01-01' or status = 'estimated'": lambda rows: (rows["period_end"] < date(2018, 1, 1))
    | (rows["status"] == "estimated"),
    "row_id > 'P00400' and measure in ('output', 'price', 'quota')": lambda rows: (rows["row_id"] > "P00400")
    & rows["measure"].isin(["output", "price", "quota"]),
}


# The oracle.


class Oracle:
    """Every row of a table, and what follows from them."""

    def __init__(self, rows: pa.Table, sources: pa.Table) -> None:
        ranks = dict(zip(sources["source_id"].to_pylist(), sources["rank"].to_pylist(), strict=True))
        self.arrow = rows
        self.rows = rows.to_pandas(date_as_object=True)
        self.rows["rank"] = [ranks.get(source, float("inf")) for source in self.rows["source_id"]]
        self.rows["is_rounded"] = self.rows["status"] == "rounded"
        self.rows["age"] = [-day.toordinal() for day in self.rows["published_on"]]

    def live(self, day: date) -> pd.DataFrame:
        """The rows that are public on the day, without what their own source has taken back by then."""
        public = self.rows[self.rows["published_on"] <= day]
        said_by = [*PERIOD, "source_id"]
        withdrawals = public.loc[public["status"] == "withdrawn", [*said_by, "published_on"]]
        taken_back_on = withdrawals.groupby(said_by, as_index=False)["published_on"].max()
        last = public[said_by].merge(taken_back_on, how="left", on=said_by)["published_on"].fillna(date.min)
        return public[public["published_on"].to_numpy() > last.to_numpy()]

    def selected(self, day: date) -> pd.DataFrame:
        """One row per series and period, by the five rules."""
        live = self.live(day)
        live = live[~live["status"].isin(SET_ASIDE)]
        best_first = live.sort_values(["is_rounded", "rank", "age", "source_id", "statement"])
        return best_first.drop_duplicates(PERIOD)

    def conflicts(self, day: date) -> pd.DataFrame:
        """Every row that somebody still says on the day, where the values of a period differ."""
        live = self.live(day)
        live = live[~live["status"].isin(["superseded", "withdrawn"])]
        return live[live.groupby(PERIOD)["value"].transform("nunique") > 1]

    def revisions(self, until: date) -> Counter[tuple]:
        """Each change of the value that counts: series, period, from, to, their sources, the day."""
        changes: Counter[tuple] = Counter()
        known: dict[tuple, tuple] = {}
        for day in sorted({day for day in self.rows["published_on"] if day <= until}):
            now = self.selected(day)
            for *period, value, source in now[[*PERIOD, "value", "source_id"]].itertuples(index=False):
                to = (None if pd.isna(value) else value, source)
                before = known.setdefault(tuple(period), to)
                if before[0] != to[0]:
                    changes[(*period, before[0], to[0], before[1], to[1], day)] += 1
                known[tuple(period)] = to
        return changes

    def taken(self, chosen: pd.DataFrame) -> Counter[tuple]:
        """The chosen rows as they are stored, in every column."""
        return counted(self.arrow.take(pa.array(chosen.index, pa.int64())))


def assert_same(actual: Counter[tuple], expected: Counter[tuple], asked: str) -> None:
    """The same rows, or the first of those that only one side has."""
    assert actual == expected, (
        f"{asked}: {sum(expected.values())} rows expected, {sum(actual.values())} came;\n"
        f"missing {list((expected - actual).items())[:3]}\nunasked {list((actual - expected).items())[:3]}"
    )


def assert_agrees(server: Server, oracle: Oracle, table: str, days: list[date]) -> None:
    """Selection and conflicts on each day, and the revisions until the last one."""
    for day in days:
        asked = f"as_of('{table}', date '{day}')"
        selected = oracle.selected(day)
        assert_same(counted(server.query(f"select * from {asked}").table), oracle.taken(selected), asked)
        asked = f"conflicts('{table}', as_of => date '{day}')"
        assert_same(counted(server.query(f"select * from {asked}").table), oracle.taken(oracle.conflicts(day)), asked)
    columns = f"{', '.join(PERIOD)}, from_value, to_value, from_source_id, to_source_id, changed_on"
    asked = f"select {columns} from revisions('{table}', as_of => date '{days[-1]}')"
    assert_same(Counter(server.query(asked).rows), oracle.revisions(days[-1]), asked)


def assert_conditions_stay_above(server: Server, oracle: Oracle, table: str, day: date) -> int:
    """Each condition holds for the rows that count; how many of the conditions would have brought back an old row."""
    selected = oracle.selected(day)
    telling = 0
    for condition, holds in CONDITIONS.items():
        asked = f"select * from as_of('{table}', date '{day}') where {condition}"
        expected = selected[holds(selected)]
        assert_same(counted(server.query(asked).table), oracle.taken(expected), asked)
        before = Oracle.__new__(Oracle)
        before.rows = oracle.rows[holds(oracle.rows)]
        telling += not before.selected(day).index.sort_values().equals(expected.index.sort_values())
    return telling


def today() -> date:
    return datetime.now(UTC).date()


# The shipped figures.


@pytest.fixture(scope="module", params=harness.SERIES_TABLES)
def shipped(request: pytest.FixtureRequest, server: Server) -> tuple[str, Oracle]:
    rows, sources = (read_by_deltalake(server.store, name) for name in (request.param, "sources"))
    return request.param, Oracle(rows, sources)


def test_the_shipped_figures_of_many_days(server: Server, shipped: tuple[str, Oracle]) -> None:
    table, oracle = shipped
    published = sorted(set(oracle.rows["published_on"]))
    chosen = random.Random(table).sample(published, min(8, len(published)))
    eves = [day - timedelta(days=1) for day in chosen[:4]]
    days = sorted({date(1899, 1, 1), date(2013, 12, 13), date(2013, 12, 14), *chosen, *eves, today()})
    assert_agrees(server, oracle, table, days)


def test_a_bare_name_is_what_counts_today(server: Server, shipped: tuple[str, Oracle]) -> None:
    table, oracle = shipped
    everything = oracle.taken(oracle.selected(today() + timedelta(days=1)))
    assert_same(counted(server.query(f"select * from {table}").table), everything, table)


def test_no_condition_brings_an_old_value_back(server: Server, shipped: tuple[str, Oracle]) -> None:
    table, oracle = shipped
    assert assert_conditions_stay_above(server, oracle, table, today()) > 1


def test_a_limit_stays_above_the_selection(server: Server, shipped: tuple[str, Oracle]) -> None:
    table, oracle = shipped
    selected = oracle.taken(oracle.selected(today()))
    for sql in ("limit 7", "limit 5 offset 20", "order by published_on limit 9", "where value > 0 limit 6"):
        rows = counted(server.query(f"select * from as_of('{table}', date '{today()}') {sql}").table)
        assert sum(rows.values()) == int(sql.split("limit ")[1].split()[0])
        assert rows <= selected


# Generated rows.


def generated(seed: int, sources: list[str], products: int, periods: int, rows: int) -> list[str]:
    """Rows of `prices`, in random order: few days, so that sources meet on one, and everything that can be said."""
    rng = random.Random(seed)
    starts = [date(2010 + number // 12, number % 12 + 1, 1) for number in range(periods)]
    days = [date(2024, 1, 1) + timedelta(days=rng.randrange(1000)) for _ in range(120)]
    lines, seen = [], set()
    while len(lines) < rows:
        start, source = rng.choice(starts), rng.choice(sources)
        precision = rng.choice(["day", "day", "month", "year"])
        day = rng.choice(days)
        if precision != "day":  # the last day that a partial date allows
            day = last_day(day.year, day.month if precision == "month" else 12)
        product, statement = f"oxide {rng.randrange(products)}", rng.choice([1, 1, 1, 2, 10])
        name = (product, start, source, day, statement)
        if day > today() or name in seen:
            continue
        seen.add(name)
        status = rng.choices(
            ["final", "provisional", "estimated", "rounded", "derived", "contradicted", "superseded", "not_disclosed"]
            + ["not_available", "withdrawn"],
            [40, 10, 10, 12, 5, 8, 8, 2, 2, 3],
        )[0]
        value = "" if status in ("not_disclosed", "not_available", "withdrawn") else str(rng.randrange(1, 9) * 500)
        lines.append(
            f"{seed}/{len(lines)},Generated,made up,{product},spot,USD,kg,,price,{start},{last_day(start.year, start.month)}"
            f",M,false,{value},,,USD/kg,oxide,,,{status},{day},{precision},{source},{statement},"
        )
    return lines


@pytest.mark.parametrize(
    ("products", "periods", "rows", "files"),
    [
        pytest.param(1, 1, 5_000, 1, id="5,000 vintages of one period"),
        pytest.param(1, 12, 5_000, 3, id="5,000 vintages of one series in three files"),
        pytest.param(40, 30, 5_000, 4, id="many series in four files"),
        pytest.param(300, 3, 1_500, 1, id="few vintages each"),
    ],
)
def test_generated_rows(
    own_store: Path,
    tmp_path: Path,
    serve: Callable[..., Server],
    products: int,
    periods: int,
    rows: int,
    files: int,
) -> None:
    sources = read_by_deltalake(own_store, "sources")
    names = random.Random(rows).sample(sources["source_id"].to_pylist(), 40)
    lines = generated(products, names, products, periods, rows)
    added = unchanged = 0
    for number in range(files):
        file = tmp_path / f"{number}.csv"
        file.write_text("\n".join([HEADER, *lines[number::files]]) + "\n")
        done = harness.run("load", "prices", file, "--store", own_store)
        assert done.returncode == 0, done.stderr
        told = re.search(r"prices: (\d+) rows, version \d+(?:, (\d+) unchanged)?", done.stderr)
        added += int(told[1])
        unchanged += int(told[2] or 0)
    oracle = Oracle(read_by_deltalake(own_store, "prices"), sources)
    assert (oracle.rows["authority"] == "Generated").sum() == added
    assert added + unchanged == rows, "what its source had said before, and nothing else, is no row"
    assert added > rows * 0.9

    server = serve(own_store)
    days = [date(2024, 1, 31), date(2024, 12, 30), date(2024, 12, 31), date(2025, 6, 15), date(2026, 3, 31), today()]
    assert_agrees(server, oracle, "prices", days)
    assert assert_conditions_stay_above(server, oracle, "prices", date(2025, 6, 15)) > 1


def test_thousands_of_revisions_of_one_period_hold_nobody_up(
    own_store: Path, tmp_path: Path, serve: Callable[..., Server]
) -> None:
    """A day for each vintage, now and then a withdrawal: the query ends when it should, and others go on."""
    file = tmp_path / "many.csv"
    lines = [HEADER]
    for number in range(10_000):
        status, value = ("withdrawn", "") if number % 10 == 0 else ("final", number % 7)
        lines.append(
            f"m{number},Generated,made up,oxide,spot,USD,kg,,price,1959-01-01,1959-12-31,A,false,{value},,,USD/kg,oxide,,,"
            f"{status},{date(1990, 1, 1) + timedelta(days=number)},day,S002,1,"
        )
    file.write_text("\n".join(lines) + "\n")
    done = harness.run("load", "prices", file, "--store", own_store)
    assert done.returncode == 0, done.stderr

    server = serve(own_store)
    for _ in range(psutil.cpu_count()):
        try:
            server.query("select count(*) from revisions('prices') where authority = 'Generated'", timeout_s=1)
        except grpc.RpcError as error:
            assert error.code() == StatusCode.DEADLINE_EXCEEDED
    assert server.query("select count(*) from quotas", deadline_s=10).rows[0][0] > 0
    assert_idle(server)


def test_a_withdrawal_touches_its_own_source_from_its_own_day(
    own_store: Path, tmp_path: Path, serve: Callable[..., Server]
) -> None:
    said = [
        ("final", "10", "2024-01-31", "month", "USGS-MCS2024", 1),
        ("final", "20", "2024-03-10", "day", "USGS-MCS2025", 1),
        ("final", "21", "2024-03-10", "day", "USGS-MCS2025", 2),
        ("withdrawn", "", "2024-05-01", "day", "USGS-MCS2025", 1),
        ("final", "30", "2024-05-01", "day", "S002", 1),
        ("final", "40", "2024-07-01", "day", "USGS-MCS2025", 1),
        ("rounded", "100", "2024-08-01", "day", "USGS-MCS2026v1.0", 1),
        ("final", "51", "2024-12-31", "year", "USGS-MCS2023", 1),
        ("final", "50", "2024-12-31", "year", "USGS-MCS2022", 1),
    ]
    rows = [
        f"w{number},Generated,made up,oxide,spot,USD,kg,,price,2023-01-01,2023-12-31,A,false,{value},,,USD/kg,oxide,,,"
        f"{status},{day},{precision},{source},{statement},"
        for number, (status, value, day, precision, source, statement) in enumerate(said)
    ]
    file = tmp_path / "said.csv"
    file.write_text("\n".join([HEADER, *rows]) + "\n")
    done = harness.run("load", "prices", file, "--store", own_store)
    assert done.returncode == 0, done.stderr

    server = serve(own_store)
    for day, value in [
        ("2024-01-30", []),  # "January 2024" is public when January is over
        ("2024-01-31", [10.0]),
        ("2024-03-09", [10.0]),
        ("2024-03-10", [20.0]),  # newer; of two statements the first
        ("2024-04-30", [20.0]),
        ("2024-05-01", [10.0]),  # withdrawn, both statements; a worse source does not step in
        ("2024-06-30", [10.0]),
        ("2024-07-01", [40.0]),  # its source says something again
        ("2024-12-30", [40.0]),  # a rounded figure never beats an exact one
        ("2024-12-31", [50.0]),  # two sources of one day and one rank: by name
    ]:
        sql = f"select value from as_of('prices', date '{day}') where authority = 'Generated'"
        assert [row[0] for row in server.query(sql).rows] == value, day
    changes = "select to_value, changed_on from revisions('prices') where authority = 'Generated' order by changed_on"
    assert server.query(changes).rows == [
        (20.0, date(2024, 3, 10)),
        (10.0, date(2024, 5, 1)),
        (40.0, date(2024, 7, 1)),
        (50.0, date(2024, 12, 31)),
    ]
    held = "select value from conflicts('prices', as_of => date '2024-06-30') where authority = 'Generated' order by value"
    assert server.query(held).rows == [(10.0,), (30.0,)]
