"""What was known on a day: by the day of publication, and by the moment at which it was loaded."""

import time
from collections import Counter
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from google.protobuf.timestamp_pb2 import Timestamp
from grpc import StatusCode

import harness
from didymium.v1 import query_pb2
from harness import Server
from test_kill import write_prices

BRAZIL = "area = 'Brazil' and measure = 'reserves' and period_end = date '2025-12-31'"
NEODYMIUM = "product = 'Neodymium oxide 99.5' and quote = 'average' and period_start = date '2021-01-01'"
US_OUTPUT = (
    "producer = 'United States' and stage = 'mining' and product = 'mineral_concentrates'"
    " and period_start = date '2018-01-01'"
)
NATIONAL = (
    "commodity = 'rare_earths' and holder_kind = 'national' and mineral_class = 'all' and product_class = 'all'"
    " and ownership = 'all'"
)
MINING_2023 = f"{NATIONAL} and stage = 'mining' and period_start = date '2023-01-01'"
EXPORT_2014 = f"{NATIONAL} and stage = 'export' and period_start = date '2014-01-01'"

#: The full year's statement, else the one that reaches furthest and states the sum so far: enough for these rows.
FULL_YEAR = "batch_through is null and value is not null"
SO_FAR = "batch_from = 1 and batch_through = {}"

KNOWN = [
    ("reserves", BRAZIL, "2026-03-01", [21e6]),
    ("reserves", BRAZIL, "2026-06-01", [11e6]),
    ("prices", NEODYMIUM, "2023-06-30", [49.0]),
    ("prices", NEODYMIUM, "2024-06-30", [98.0]),
    ("production", US_OUTPUT, "2019-06-30", [15_000.0]),
    ("production", US_OUTPUT, "2020-06-30", [18_000.0]),
    ("production", US_OUTPUT, "2021-06-30", [14_000.0]),
    ("quotas", f"{MINING_2023} and {FULL_YEAR}", "2023-10-01", []),
    ("quotas", f"{MINING_2023} and {SO_FAR.format(2)}", "2023-10-01", [240_000.0]),
    ("quotas", f"{MINING_2023} and {FULL_YEAR}", "2024-01-31", [255_000.0]),
    ("quotas", f"{EXPORT_2014} and {FULL_YEAR}", "2013-12-13", [21_586.0]),  # an estimate, withdrawn a day later
    ("quotas", f"{EXPORT_2014} and {FULL_YEAR}", "2014-01-31", []),
    ("quotas", f"{EXPORT_2014} and {SO_FAR.format(1)}", "2014-01-31", [15_110.0]),
    ("quotas", f"{EXPORT_2014} and {FULL_YEAR}", "2014-08-31", [30_611.0]),
]


def pin(day: date) -> query_pb2.Date:
    return query_pb2.Date(year=day.year, month=day.month, day=day.day)


def moment(at: datetime) -> Timestamp:
    stamp = Timestamp()
    stamp.FromDatetime(at)
    return stamp


def today() -> date:
    return datetime.now(UTC).date()


@pytest.mark.parametrize(("table", "where", "day", "values"), KNOWN)
def test_a_day_knows_what_was_published_by_then(
    server: Server, table: str, where: str, day: str, values: list[float]
) -> None:
    expected = [(value,) for value in values]
    assert server.query(f"select value from as_of('{table}', date '{day}') where {where}").rows == expected
    assert server.query(f"select value from as_of('{table}', day => '{day}') where {where}").rows == expected
    pinned = {"published_as_of": pin(date.fromisoformat(day))}
    assert server.query(f"select value from {table} where {where}", **pinned).rows == expected


@pytest.mark.parametrize(("issued_by", "stage", "year", "tonnes"), [
    ("2023-10-01", "mining", 2023, 240_000.0),
    ("2024-01-31", "mining", 2023, 255_000.0),
    ("2014-01-31", "export", 2014, 15_110.0),
    ("2014-08-31", "export", 2014, 30_611.0),
])  # fmt: skip
def test_a_quota_issued_in_batches_as_of_a_day(
    server: Server, issued_by: str, stage: str, year: int, tonnes: float
) -> None:
    sql = f"select issued_t from quota_issued($1, $2) where {NATIONAL} and stage = $3"
    values = [
        query_pb2.Value(integer=year),
        query_pb2.Value(date=pin(date.fromisoformat(issued_by))),
        query_pb2.Value(text=stage),
    ]
    assert server.query(sql, positional_parameters=values).rows == [(tonnes,)]


def test_the_better_source_counts_and_the_other_is_in_conflict(server: Server) -> None:
    where = f"{NATIONAL} and stage = 'smelting_separation' and period_start = date '2020-01-01' and {FULL_YEAR}"
    assert server.query(f"select value from quotas where {where}").rows == [(135_000.0,)]
    conflicts = server.query(f"select value, source_id from conflicts('quotas') where {where} order by value").rows
    assert conflicts == [(115_000.0, "S002"), (135_000.0, "QN-2020")]
    early = f"select count(*) from conflicts('quotas', as_of => date '2021-12-31') where {where}"
    assert server.query(early).rows == [(0,)]


def test_revisions_say_what_changed_when(server: Server) -> None:
    columns = "from_value, to_value, from_source_id, to_source_id, changed_on"
    assert server.query(f"select {columns} from revisions('production') where {US_OUTPUT} order by changed_on").rows == [
        (15_000.0, 18_000.0, "USGS-MCS2019", "USGS-MCS2020Q", date(2020, 1, 31)),
        (18_000.0, 14_000.0, "USGS-MCS2020Q", "USGS-MCS2021", date(2021, 1, 31)),
    ]
    earlier = f"select {columns} from revisions('production', as_of => date '2020-12-31') where {US_OUTPUT}"
    assert [row[:2] for row in server.query(earlier).rows] == [(15_000.0, 18_000.0)]


@pytest.mark.parametrize("table", harness.SERIES_TABLES)
@pytest.mark.parametrize("day", [date(2014, 1, 31), date(2021, 6, 30), date(2026, 3, 1)])
def test_a_pinned_request_gives_what_as_of_gives(server: Server, table: str, day: date) -> None:
    pinned = server.query(f"select * from {table}", published_as_of=pin(day))
    assert Counter(pinned.rows) == Counter(server.query(f"select * from as_of('{table}', date '{day}')").rows)
    assert all(published <= day for published in pinned.table["published_on"].to_pylist())
    for relation in (f"revisions('{table}'", f"conflicts('{table}'"):
        by_pin = server.query(f"select * from {relation})", published_as_of=pin(day)).rows
        by_argument = server.query(f"select * from {relation}, as_of => date '{day}')").rows
        assert Counter(by_pin) == Counter(by_argument)


def test_a_pin_holds_for_every_table_of_the_statement_but_not_for_plain_ones(server: Server) -> None:
    day = {"published_as_of": pin(date(2020, 1, 1))}
    sql = """with q as (select max(published_on) as day from quotas)
        select (select day from q) <= date '2020-01-01', (select max(published_on) from exports) <= date '2020-01-01',
               (select count(*) from sources) = (select count(*) from all_vintages('sources'))"""
    assert server.query(sql, **day).rows == [(True, True, True)]


def test_today_may_be_pinned_and_what_comes_after_tomorrow_may_not(server: Server) -> None:
    everything = server.query("select count(*) from quotas").rows
    assert server.query("select count(*) from quotas", published_as_of=pin(today())).rows == everything
    future = today() + timedelta(days=3)
    for sql, fields in [
        ("select count(*) from quotas", {"published_as_of": pin(future)}),
        ("select 1", {"published_as_of": pin(future)}),
        ("select 1", {"committed_as_of": moment(datetime.now(UTC) + timedelta(hours=1))}),
        (f"select count(*) from as_of('quotas', date '{future}')", {}),
        (f"select count(*) from revisions('quotas', as_of => date '{future}')", {}),
        (f"select count(*) from conflicts('quotas', as_of => date '{future}')", {}),
    ]:
        failure = harness.failure(server.stub, sql, **fields)
        assert failure.code == StatusCode.INVALID_ARGUMENT, failure.message
        assert "future" in failure.message


@pytest.mark.parametrize(
    "fields",
    [
        {"published_as_of": query_pb2.Date(year=2023, month=2, day=29)},
        {"published_as_of": query_pb2.Date(year=2023)},
        {"published_as_of": query_pb2.Date()},
        {"committed_as_of": Timestamp(seconds=2**62)},
        {"committed_as_of": Timestamp(seconds=1, nanos=-1)},
        {"committed_as_of": Timestamp(seconds=1, nanos=10**9)},
    ],
)
def test_a_pin_that_is_no_day_or_moment_is_an_invalid_argument(server: Server, fields: dict[str, Any]) -> None:
    failure = harness.failure(server.stub, "select 1", **fields)
    assert failure.code == StatusCode.INVALID_ARGUMENT, failure.message
    server.assert_lives()


@pytest.mark.parametrize(
    ("sql", "code"),
    [
        ("select * from as_of('sources', date '2020-01-01')", StatusCode.INVALID_ARGUMENT),
        ("select * from revisions('sources')", StatusCode.INVALID_ARGUMENT),
        ("select * from conflicts('sources')", StatusCode.INVALID_ARGUMENT),
        ("select * from as_of('quota', date '2020-01-01')", StatusCode.NOT_FOUND),
        ("select * from all_vintages('quota')", StatusCode.NOT_FOUND),
        ("select * from as_of('quotas')", StatusCode.INVALID_ARGUMENT),
        ("select * from as_of('quotas', null)", StatusCode.INVALID_ARGUMENT),
        ("select * from as_of('quotas', 'yesterday')", StatusCode.INVALID_ARGUMENT),
        ("select * from as_of(quotas, date '2020-01-01')", StatusCode.INVALID_ARGUMENT),
        ("select * from as_of('quotas', date => date '2020-01-01')", StatusCode.INVALID_ARGUMENT),
        ("select * from all_vintages('quotas', 1)", StatusCode.INVALID_ARGUMENT),
        ("select * from all_vintages('../quotas')", StatusCode.NOT_FOUND),
        ("select * from all_vintages('')", StatusCode.NOT_FOUND),
        ("select * from quotas q, as_of('quotas', q.published_on)", StatusCode.INVALID_ARGUMENT),
    ],
)
def test_a_wrong_relation_is_refused(server: Server, sql: str, code: StatusCode) -> None:
    failure = harness.failure(server.stub, sql)
    assert failure.code == code, failure.message
    assert str(server.store) not in failure.message


def test_committed_as_of_reads_the_store_as_it_was(tmp_path: Path, serve: Callable[..., Server]) -> None:
    before_all = datetime.now(UTC)
    time.sleep(0.05)
    store = harness.init(tmp_path / "store")
    server = serve(store)
    sql = "select count(*) from {} where product like 'late grade %'"
    time.sleep(0.05)
    before = datetime.now(UTC)
    time.sleep(0.05)
    assert server.query(sql.format("prices")).rows == [(0,)]
    done = harness.run("load", "prices", write_prices(tmp_path / "late.csv", "late", 500), "--store", store)
    assert done.returncode == 0, done.stderr
    time.sleep(0.05)
    after = datetime.now(UTC)

    for relation in ("prices", "all_vintages('prices')", f"as_of('prices', date '{today()}')"):
        assert server.query(sql.format(relation)).rows == [(500,)]
        then = server.query(sql.format(relation), committed_as_of=moment(before))
        now = server.query(sql.format(relation), committed_as_of=moment(after))
        assert (then.rows, now.rows) == ([(0,)], [(500,)])
        assert now.summary.table_versions["prices"] == then.summary.table_versions["prices"] + 1

    for sql in ("select count(*) from prices", "select count(*) from sources", "select * from all_vintages('prices')"):
        failure = harness.failure(server.stub, sql, committed_as_of=moment(before_all))
        assert failure.code == StatusCode.FAILED_PRECONDITION, failure.message
    assert server.query("select 1", committed_as_of=moment(before_all)).rows == [(1,)]
    failure = harness.failure(server.stub, "select * from nothing", committed_as_of=moment(before_all))
    assert failure.code == StatusCode.NOT_FOUND, failure.message


def test_both_pins_hold_at_once(own_store: Path, tmp_path: Path, serve: Callable[..., Server]) -> None:
    server = serve(own_store)
    before = datetime.now(UTC)
    time.sleep(0.05)
    file = write_prices(tmp_path / "late.csv", "late", 10)  # published on 2026-01-31
    assert harness.run("load", "prices", file, "--store", own_store).returncode == 0
    sql = "select count(*) from prices where product like 'late grade %'"
    for published, committed, rows in [
        (date(2026, 1, 31), datetime.now(UTC), 10),
        (date(2026, 1, 30), datetime.now(UTC), 0),
        (date(2026, 1, 31), before, 0),
    ]:
        pins = {"published_as_of": pin(published), "committed_as_of": moment(committed)}
        assert server.query(sql, **pins).rows == [(rows,)]
