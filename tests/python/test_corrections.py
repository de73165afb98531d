"""What was wrong is corrected, taken back or taken out, and what was known before stays as far as it may."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from datetime import UTC, date
from pathlib import Path

import duckdb
import pytest
from deltalake import DeltaTable
from google.protobuf.timestamp_pb2 import Timestamp
from grpc import StatusCode

import harness
import output
from harness import Server
from output import done
from test_interchange import counted
from test_known import moment

HEADER = "mine,period,value,status,published_on,source_id"


@pytest.fixture
def store(own_store: Path) -> Path:
    """A store with the empty series table `output`."""
    return output.create(own_store)


@pytest.fixture
def server(store: Path, serve: Callable[..., Server]) -> Server:
    """A server of it."""
    return serve(store)


def load(store: Path, *lines: str, header: str = HEADER, table: str = "output") -> tuple[object, ...]:
    """The command that loads these lines, from a file of their own."""
    numbers = (store.parent / f"{number}.csv" for number in itertools.count())
    file = next(file for file in numbers if not file.exists())
    file.write_text("\n".join([header, *lines]) + "\n")
    return ("load", table, file, "--store", store)


def committed(server: Server, table: str = "output") -> list[Timestamp]:
    """When each version was made."""
    sql = f"select committed_at from system.commits where table_name = '{table}' order by version"
    return [moment(at.replace(tzinfo=UTC)) for (at,) in server.query(sql).rows]


# A correction of a plain table.


RATES = "base_currency,quote_currency,valid_on,rate,source"


def test_a_row_of_a_plain_table_is_replaced_for_a_reason(store: Path, server: Server) -> None:
    lines = ["USD,CNY,2024-01-02,7.0770,PBoC", "USD,CNY,2024-01-03,7.1002,PBoC", "EUR,CNY,2024-01-02,7.8400,PBoC"]
    table = {"header": RATES, "table": "exchange_rates"}
    done(*load(store, *lines[:2], **table))
    done(*load(store, lines[2], **table))
    correction = load(store, "USD,CNY,2024-01-03,7.2001,PBoC", lines[0], **table)
    ran = harness.run(*correction)
    assert ran.returncode == 1
    assert "--supersede" in ran.stderr
    told = done(*correction, "--supersede", "a slip of the pen")
    assert "1 rows, version 3, 1 unchanged, 1 superseded" in told

    asked = "select base_currency, valid_on, rate from exchange_rates order by base_currency desc, valid_on"
    second, third = date(2024, 1, 2), date(2024, 1, 3)
    others = [("USD", second, 7.077), ("EUR", second, 7.84)]
    assert server.query(asked).rows == [others[0], ("USD", third, 7.2001), others[1]]
    before = server.query(asked, committed_as_of=committed(server, "exchange_rates")[2])
    assert before.rows == [others[0], ("USD", third, 7.1002), others[1]]
    history = "select version, reason from system.commits where table_name = 'exchange_rates' order by version"
    assert server.query(history).rows == [(0, None), (1, None), (2, None), (3, "a slip of the pen")]
    untouched = DeltaTable(store / "exchange_rates", version=2).file_uris()
    assert len(set(untouched) & set(DeltaTable(store / "exchange_rates").file_uris())) == 1, (
        "the file without the row stays"
    )
    assert "0 damaged" in done("store", "verify", "--store", store)


def test_many_rows_of_a_plain_table_are_replaced_and_all_others_stay(store: Path, server: Server) -> None:
    days = [date.fromordinal(date(2024, 1, 1).toordinal() + number) for number in range(300)]
    rate = {day: 7 + place / 1000 for place, day in enumerate(days)}
    table = {"header": RATES, "table": "exchange_rates"}
    for part in range(3):
        done(*load(store, *(f"USD,CNY,{day},{rate[day]!r}," for day in days[part::3]), **table))
    corrected = {day: 6 + place / 1000 for place, day in enumerate(days) if place % 7 == 0}
    lines = [f"USD,CNY,{day},{value!r},corrected" for day, value in corrected.items()]
    told = done(*load(store, *lines, **table), "--supersede", "another fixing")
    assert f"{len(corrected)} rows, version 4, {len(corrected)} superseded" in told
    rows = server.query("select valid_on, rate, source from exchange_rates order by valid_on").rows
    assert rows == [(day, corrected.get(day, rate[day]), "corrected" if day in corrected else None) for day in days]


# A withdrawal.


def test_a_withdrawn_figure_counts_until_its_day_and_again_once_it_is_restated(store: Path, server: Server) -> None:
    months = ["a,2024-01,10,final,2024-02-10,S", "a,2024-02,20,final,2024-03-10,S", "b,2024-01,5,final,2024-02-10,S"]
    done(*load(store, *months))
    done(*load(store, "a,2024-01,,withdrawn,2024-05-01,S"))
    january = "select value from as_of('output', date '{}') where mine = 'a' and period_start = date '2024-01-01'"
    others = "select mine, value from output where mine = 'b' or period_start > date '2024-01-01' order by mine"

    def assert_others_stay() -> None:
        assert server.query(others).rows == [("a", 20.0), ("b", 5.0)]

    def known(day: str) -> list[float]:
        return [value for (value,) in server.query(january.format(day)).rows]

    assert [known(day) for day in ("2024-02-09", "2024-02-10", "2024-04-30")] == [[], [10.0], [10.0]]
    assert [known(day) for day in ("2024-05-01", "2026-01-01")] == [[], []]
    assert server.query("select count(*) from output where mine = 'a'").rows == [(1,)]
    assert_others_stay()
    total = "select sum(value) from output where mine = 'a'"
    assert server.query(total).rows == [(20.0,)]

    # The same value again is no reprint now: without it nothing would count.
    assert "1 rows" in done(*load(store, "a,2024-01,10,final,2024-06-01,S"))
    assert [known(day) for day in ("2024-04-30", "2024-05-31", "2024-06-01")] == [[10.0], [], [10.0]]
    assert server.query(total).rows == [(30.0,)]
    assert_others_stay()
    sql = "select value, status from all_vintages('output') where mine = 'a' and period_start = date '2024-01-01'"
    assert server.query(f"{sql} order by published_on").rows == [(10.0, "final"), (None, "withdrawn"), (10.0, "final")]


def test_a_withdrawal_lets_another_source_count(store: Path, server: Server) -> None:
    done(*load(store, "a,2024-01,10,final,2024-02-10,S", "a,2024-01,12,final,2024-02-05,T"))
    done(*load(store, "a,2024-01,,withdrawn,2024-05-01,S"))
    asked = "select value, source_id from as_of('output', date '{}')"
    assert server.query(asked.format("2024-04-30")).rows == [(10.0, "S")]
    assert server.query(asked.format("2024-05-01")).rows == [(12.0, "T")]
    changes = "select from_value, to_value, changed_on from revisions('output') order by changed_on"
    assert server.query(changes).rows == [(12.0, 10.0, date(2024, 2, 10)), (10.0, 12.0, date(2024, 5, 1))]


# A purge.


def load_five(store: Path) -> None:
    """Five loads of two sources, `load 0` to `load 4`, with a compaction after the fourth."""
    for number in range(5):
        source = "ST"[number % 2]
        said = f"2024-{number + 1:02},{number}.5,final,2025-01-01,{source}"
        months = [f"a,{said}", f"b,{said}"]
        if number == 4:
            done("store", "compact", "output", "--store", store)
            months.append("a,2024-01,77,final,2025-01-01,T")  # beside what S says
        done(*load(store, *months), "--load-id", f"load {number}")


@pytest.mark.parametrize(
    ("rows", "condition", "goes"),
    [
        (("--load", "load 1"), "load_id = 'load 1'", 2),
        (("--load", "load 4"), "load_id = 'load 4'", 3),
        (("--source", "T"), "source_id = 'T'", 5),
        (("--source", "S"), "source_id = 'S'", 6),
    ],
)
def test_purged_rows_are_gone_from_every_version(
    store: Path, server: Server, rows: tuple[str, str], condition: str, goes: int
) -> None:
    load_five(store)
    everything = "select * from all_vintages('output')"
    others = f"{everything} where not ({condition})"
    pins = committed(server)
    [[last]] = server.query("select max(version) from system.commits where table_name = 'output'").rows
    kept = counted(server.query(others).table)
    held = f"select count(*) > 0 from all_vintages('output') where {condition}"
    first = next(version for version, pin in enumerate(pins) if server.query(held, committed_as_of=pin).rows[0][0])
    old = {version: counted(server.query(everything, committed_as_of=pins[version]).table) for version in range(first)}
    files = output.files(store)

    told = done("store", "purge", "output", *rows, "--reason", "a court said so", "--store", store)
    assert f"output: {goes} rows taken out" in told
    assert f"version {last + 1}; versions {first} to {last} can't be read any more" in told
    assert counted(server.query(everything).table) == kept
    assert server.query(f"select count(*) from output where {condition}").rows == [(0,)]

    for version, pin in enumerate(pins):
        if version < first:
            assert counted(server.query(everything, committed_as_of=pin).table) == old[version]
            continue
        failure = harness.failure(server.stub, everything, committed_as_of=pin)
        assert failure.code == StatusCode.FAILED_PRECONDITION, failure.message
        assert "purge" in failure.message
    assert counted(server.query(everything, committed_as_of=committed(server)[-1]).table) == kept
    assert files - output.files(store), "the files themselves are gone"
    left = [str(file) for file in (store / "output").glob("*.parquet")]
    assert duckdb.sql(f"select count(*) from read_parquet({left}) where {condition}").fetchall() == [(0,)]
    history = "select reason from system.commits where table_name = 'output' order by version desc limit 1"
    assert server.query(history).rows == [("a court said so",)]
    assert "0 damaged" in done("store", "verify", "--store", store)
