"""What another program writes into a store: it is answered rightly, left alone, or refused, and never misread."""

from __future__ import annotations

import math
import random
import re
from collections import Counter
from collections.abc import Callable
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path

import duckdb
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from deltalake import DeltaTable, TableFeatures, WriterProperties, write_deltalake
from grpc import StatusCode

import harness
import output
from harness import Server
from output import done
from test_interchange import counted, read_by_deltalake
from test_kill import HEADER
from test_known import moment
from test_selection import Oracle, assert_agrees, generated, today

#: The key of `prices` and the measure name a series.
PRICE_SERIES = ["authority", "market", "product", "quote", "currency", "price_unit", "price_basis", "measure"]

TEXT = pa.string()

UNCHECKED = "written by another program, without a checksum"


def append(store: Path, name: str, rows: list[dict[str, object]], text: pa.DataType = TEXT) -> Path:
    """Appends rows as another program does, in their order, with row groups of a hundred; the file that it made."""
    before = set(DeltaTable(store / name).file_uris())
    schema = read_by_deltalake(store, name).schema
    properties = WriterProperties(max_row_group_size=100)
    types = [text if field.type == TEXT else field.type for field in schema]
    table = pa.Table.from_pylist(rows, schema).cast(pa.schema(zip(schema.names, types, strict=True)))
    write_deltalake(str(store / name), table, mode="append", writer_properties=properties)
    [file] = set(DeltaTable(store / name).file_uris()) - before
    return Path(file)


def prices(lines: list[str]) -> list[dict[str, object]]:
    """Rows of `prices` as its columns have them, out of lines of CSV."""

    def typed(name: str, text: str) -> object:
        if text == "":
            return None
        if name in ("period_start", "period_end", "published_on"):
            return date.fromisoformat(text)
        return {"value": float, "statement": int, "cumulative": lambda text: text == "true"}.get(name, str)(text)

    rows = [dict(zip(HEADER.split(","), line.split(","), strict=True)) for line in lines]
    typed_rows = [{name: typed(name, text) for name, text in row.items()} for row in rows]
    return [{"series": "/".join(row[name] or "" for name in PRICE_SERIES), **row} for row in typed_rows]


def figures(*stated: tuple[str, str, float | None, str]) -> list[dict[str, object]]:
    """Rows of `output`: mine, month, tonnes, and the day on which they were said."""
    return [
        {
            **{"series": f"{mine}/output", "mine": mine, "measure": "output", "unit": "t", "basis": "REO"},
            **{"period_start": date.fromisoformat(f"{month}-01"), "frequency": "M", "cumulative": False},
            "period_end": (pd.Timestamp(f"{month}-01") + pd.offsets.MonthEnd()).date(),
            **{"value": value, "status": "final", "published_on": date.fromisoformat(day)},
            **{"published_precision": "day", "source_id": "S", "statement": 1},
        }
        for mine, month, value, day in stated
    ]


def yoy(selected: pd.DataFrame) -> dict[tuple[str, date], float | None]:
    """Growth on the same month a year earlier, of months that count."""
    frame = selected[["series", "period_start", "value"]].copy()
    frame["year"] = [day.year for day in frame["period_start"]]
    frame["month"] = [day.month for day in frame["period_start"]]
    base = frame.assign(year=frame["year"] + 1)[["series", "year", "month", "value"]]
    both = frame.merge(base, how="left", on=["series", "year", "month"], suffixes=("", "_before"))
    growth = both["value"] / both["value_before"] - 1
    keys = zip(both["series"], both["period_start"], strict=True)
    return {key: None if pd.isna(growth) else growth for key, growth in zip(keys, growth, strict=True)}


def assert_growth(server: Server, oracle: Oracle) -> None:
    """`yoy` over the bare name is what pandas makes of the rows that count."""
    sql = """select series, period_start, yoy(value, period_start, period_end) over
        (partition by series order by period_start, period_end) from prices where authority = 'Generated'"""
    selected = oracle.selected(today())
    expected = yoy(selected[selected["authority"] == "Generated"])
    rows = {(series, start): growth for series, start, growth in server.query(sql).rows}
    assert rows.keys() == expected.keys()
    assert sum(growth is not None for growth in expected.values()) > 30
    for key, growth in expected.items():
        assert rows[key] == (None if growth is None else pytest.approx(growth, rel=1e-12)), key


def test_appended_rows_count_as_ours_do(own_store: Path, tmp_path: Path, serve: Callable[..., Server]) -> None:
    server = serve(own_store)
    before = server.query("select count(*) from all_vintages('prices')").rows[0][0]
    sources = read_by_deltalake(own_store, "sources")
    names = random.Random(1).sample(sources["source_id"].to_pylist(), 20)
    lines = generated(1, names, products=4, periods=24, rows=800)
    file = append(own_store, "prices", prices(lines[:400]))
    assert pq.ParquetFile(file).num_row_groups == 4
    append(own_store, "prices", prices(lines[400:]))
    assert server.query("select count(*) from all_vintages('prices')").rows == [(before + 800,)]

    oracle = Oracle(read_by_deltalake(own_store, "prices"), sources)
    assert_agrees(server, oracle, "prices", [date(2025, 6, 15), today()])
    assert_growth(server, oracle)
    assert done("store", "verify", "--store", own_store).count(UNCHECKED) == 2

    file = tmp_path / "ours.csv"
    ours = generated(2, names, products=4, periods=24, rows=100)
    file.write_text("\n".join([HEADER, *(line for line in ours if not is_said(line, lines))]) + "\n")
    assert "rows, version 4" in done("load", "prices", file, "--store", own_store)
    assert_still_right(server, sources)
    assert "4 files merged into 1" in done("store", "compact", "prices", "--store", own_store)
    assert UNCHECKED not in done("store", "verify", "--store", own_store)
    assert_still_right(server, sources)


def assert_still_right(server: Server, sources: pa.Table) -> None:
    """All rows, those that count, and their growth are what other programs find."""
    rows = read_by_deltalake(server.store, "prices")
    oracle = Oracle(rows, sources)
    assert counted(server.query("select * from all_vintages('prices')").table) == counted(rows)
    assert counted(server.query("select * from prices").table) == oracle.taken(oracle.selected(today()))
    assert_growth(server, oracle)


def is_said(line: str, lines: list[str]) -> bool:
    """Whether one of the lines says something on the same day of the same period, by the same source and number."""
    names = HEADER.split(",")
    places = [names.index(name) for name in ("product", "period_start", "published_on", "source_id", "statement")]
    return any(all(line.split(",")[place] == other.split(",")[place] for place in places) for other in lines)


#: The Arrow types in which other programs write text: pandas; older polars; polars, and deltalake where it rewrites.
TEXTS = {"string": pa.string(), "large_string": pa.large_string(), "string_view": pa.string_view()}

SAID = [("b", "2024-02", 20.0, "2026-01-01"), ("b", "2024-01", 10.0, "2026-01-01"), ("a", "2024-01", 5.0, "2026-01-01")]


@pytest.fixture(params=TEXTS)
def met(request: pytest.FixtureRequest, own_store: Path) -> Path:
    """A store whose table `output` is all of another program's writing, with text in one of these types."""
    output.create(own_store)
    append(own_store, "output", figures(*SAID), text=TEXTS[request.param])
    return own_store


def said(store: Path) -> list[tuple[object, ...]]:
    """What the table `output` says, by month."""
    columns = ["mine", "period_start", "value", "status", "published_on"]
    rows = output.read(store, columns=columns).sort_by([(name, "ascending") for name in columns]).to_pylist()
    return [(row["mine"], row["period_start"].month, row["value"], row["status"], row["published_on"]) for row in rows]


def test_a_load_meets_appended_rows_as_its_own(met: Path, tmp_path: Path) -> None:
    def load(*stated: output.Figure, published_on: str) -> tuple[object, ...]:
        return output.load(met, output.write(tmp_path / "a.csv", stated), published_on=published_on)

    told = done(*load(("b", "2024-01", 10.0), ("b", "2024-02", 20.0), published_on="2026-02-01"))
    assert "output: 0 rows" in told
    assert "2 unchanged" in told
    done(*load(("b", "2024-01", 11.0), published_on="2026-03-01"))
    contradicting = load(("b", "2024-02", 21.0), published_on="2026-01-01")
    refused = harness.run(*contradicting)
    assert refused.returncode == 1
    assert "--supersede" in refused.stderr
    assert "1 superseded" in done(*contradicting, "--supersede", "a slip")
    done("store", "compact", "--store", met)
    assert UNCHECKED not in done("store", "verify", "--store", met)
    assert said(met) == [
        ("a", 1, 5.0, "final", date(2026, 1, 1)),
        ("b", 1, 10.0, "final", date(2026, 1, 1)),
        ("b", 1, 11.0, "final", date(2026, 3, 1)),
        ("b", 2, 20.0, "superseded", date(2026, 1, 1)),
        ("b", 2, 21.0, "final", date(2026, 1, 1)),
    ]


def test_a_purge_takes_appended_rows_out(met: Path, tmp_path: Path) -> None:
    done(*output.load(met, output.write(tmp_path / "c.csv", [("c", "2024-01", 1.0)])))
    other = [{**row, "source_id": "T"} for row in figures(("d", "2024-01", 4.0, "2026-01-01"))]
    append(met, "output", other, text=pa.string_view())
    told = done("store", "purge", "output", "--source", "S", "--reason", "a court said so", "--store", met)
    assert "output: 4 rows taken out" in told
    assert said(met) == [("d", 1, 4.0, "final", date(2026, 1, 1))]


@pytest.mark.parametrize("text", TEXTS)
def test_appended_sources_are_ranked(own_store: Path, serve: Callable[..., Server], text: str) -> None:
    server = serve(own_store)
    before = server.query("select row_id from quotas").rows
    [source, *_] = read_by_deltalake(own_store, "sources").to_pylist()
    append(own_store, "sources", [{**source, "source_id": "made up"}], text=TEXTS[text])
    assert server.query("select count(*) from sources where source_id = 'made up'").rows == [(1,)]
    assert Counter(server.query("select row_id from quotas").rows) == Counter(before)


def test_a_column_that_another_program_adds_is_kept(
    own_store: Path, tmp_path: Path, serve: Callable[..., Server]
) -> None:
    output.create(own_store)
    server = serve(own_store)
    done(*output.load(own_store, output.write(tmp_path / "a.csv", [("a", "2024-01", 1.0)])))
    schema = read_by_deltalake(own_store, "output").schema.append(pa.field("grade", pa.int64()))
    rows = [{**row, "grade": 7} for row in figures(("b", "2024-01", 2.0, "2026-01-01"))]
    write_deltalake(str(own_store / "output"), pa.Table.from_pylist(rows, schema), mode="append", schema_mode="merge")
    asked = "select mine, grade from output order by mine"
    assert server.query(asked).rows == [("a", None), ("b", 7)]
    done(*output.load(own_store, output.write(tmp_path / "c.csv", [("c", "2024-01", 3.0)])))
    assert server.query(asked).rows == [("a", None), ("b", 7), ("c", None)]
    done("store", "compact", "output", "--store", own_store)
    assert server.query(asked).rows == [("a", None), ("b", 7), ("c", None)]

    declaration = tmp_path / "altered.toml"
    column = '[[columns]]\nname = "{}"\ntype = "{}"\ndescription = "Of a test."\n[[measures]]'
    for name, kind in [("depth", "double"), ("grade", "text")]:  # it would hide the column, or misread it
        declaration.write_text(output.DECLARATION.read_text().replace("[[measures]]", column.format(name, kind), 1))
        refused = harness.run("table", "alter", declaration, "--store", own_store)
        assert refused.returncode == 1
        assert "another program added the column grade of type Int64" in refused.stderr
    declaration.write_text(output.DECLARATION.read_text().replace("[[measures]]", column.format("grade", "int"), 1))
    done("table", "alter", declaration, "--store", own_store)
    assert server.query(asked).rows == [("a", None), ("b", 7), ("c", None)]


def test_rows_that_another_program_deletes_are_gone_and_stay_in_the_versions_before(
    own_store: Path, tmp_path: Path, serve: Callable[..., Server]
) -> None:
    output.create(own_store)
    server = serve(own_store)
    done(*output.load(own_store, output.write(tmp_path / "a.csv", [("a", "2024-01", 1.0), ("b", "2024-01", 2.0)])))
    [[then]] = server.query("select max(committed_at) from system.commits where table_name = 'output'").rows
    DeltaTable(own_store / "output").delete("mine = 'a'")
    assert server.query("select mine, value from output").rows == [("b", 2.0)]
    pinned = {"committed_as_of": moment(then.replace(tzinfo=UTC))}
    assert server.query("select mine, value from output order by mine", **pinned).rows == [("a", 1.0), ("b", 2.0)]
    done(*output.load(own_store, output.write(tmp_path / "b.csv", [("a", "2024-01", 3.0)])))
    assert server.query("select mine, value from output order by mine").rows == [("a", 3.0), ("b", 2.0)]


#: Every type that deltalake writes, in values that statistics get wrong: texts longer than theirs, and NaN.
MADE_ELSEWHERE = pa.table(
    {
        "text": ["x" * 300, "x" * 300 + "y", None, "z\U0010ffff" * 40, "氧化镨钕"],
        "small": pa.array([1, -128, None, 127, 0], pa.int8()),
        "whole": pa.array([1, 2**63 - 1, -(2**63), None, 0], pa.int64()),
        "single": pa.array([0.1, math.inf, math.nan, None, -0.0], pa.float32()),
        "double": [1.5, math.nan, -math.inf, 5e-324, None],
        "exact": pa.array(
            [Decimal("1.10"), Decimal("-9999999999.99"), None, Decimal(0), Decimal(7)], pa.decimal128(12, 2)
        ),
        "day": [date(1, 1, 1), date(2024, 2, 29), date(9999, 12, 31), None, date(1970, 1, 1)],
        "moment": pa.array([datetime(2024, 1, 1, tzinfo=UTC)] * 4 + [None], pa.timestamp("us", "UTC")),
        "clock": pa.array([datetime(2024, 1, 1, 1, 2, 3, 4)] * 4 + [None], pa.timestamp("us")),
        "yes": [True, False, None, True, False],
        "bytes": [b"\x00\xff", b"", None, b"a", b"b"],
        "list": [[1, 2], [], None, [None], [3]],
        "record": [{"a": 1}, {"a": None}, None, {"a": 2}, {"a": 3}],
    }
)

PREDICATES = [
    "text = repeat('x', 300)",
    "text > repeat('x', 300)",
    "text >= repeat('x', 301)",
    "text is null",
    "small < 0",
    "whole > 9223372036854775806",
    "single > 1",
    "double > 1",
    "double < 0",
    "not (double <= 1.5)",
    "exact < -1",
    "day > date '9999-12-30'",
    "day < date '0002-01-01'",
    "yes",
    "moment is null",
]


@pytest.fixture
def elsewhere(own_store: Path) -> Path:
    """A table that another program made, in three files."""
    for start in range(0, 5, 2):
        write_deltalake(str(own_store / "elsewhere"), MADE_ELSEWHERE.slice(start, 2), mode="append")
    return own_store / "elsewhere"


def printed(table: pa.Table) -> list[str]:
    """The rows, in an order of their own; NaN is NaN."""
    return sorted(map(repr, table.to_pylist()))


def test_a_table_of_another_program_is_read(elsewhere: Path, serve: Callable[..., Server]) -> None:
    server = serve(elsewhere.parent)
    assert printed(server.query("select * from elsewhere").table) == printed(MADE_ELSEWHERE)
    assert "elsewhere" in done("tables", "--store", elsewhere.parent, "--format", "csv")


@pytest.mark.parametrize("predicate", PREDICATES)
def test_a_condition_leaves_no_row_of_another_program_out(
    elsewhere: Path, serve: Callable[..., Server], predicate: str
) -> None:
    here = pa.table(DeltaTable(elsewhere).to_pyarrow_table())
    expected = Counter(duckdb.from_arrow(here).filter(predicate).select("whole").fetchall())
    assert expected
    assert Counter(serve(elsewhere.parent).query(f"select whole from elsewhere where {predicate}").rows) == expected


def test_a_table_of_another_program_is_left_alone(elsewhere: Path, tmp_path: Path) -> None:
    store = ("--store", elsewhere.parent)
    before = sorted(elsewhere.rglob("*"))
    file = tmp_path / "a.csv"
    file.write_text("text,small\na,1\n")
    refused = harness.run("load", "elsewhere", file, *store)
    assert refused.returncode == 1
    assert "elsewhere was not made by Didymium" in refused.stderr
    refused = harness.run("store", "purge", "elsewhere", "--source", "S", "--reason", "none", *store)
    assert refused.returncode == 1
    assert "elsewhere: nothing to merge" in done("store", "compact", *store)
    assert "0 files deleted" in done("store", "clean", "--grace", "0s", *store)
    assert done("store", "verify", *store).count(UNCHECKED) == 3
    done("store", "backup", tmp_path / "backup", *store)
    assert sorted(elsewhere.rglob("*")) == before
    done("store", "restore", tmp_path / "backup", "--store", tmp_path / "restored")
    assert printed(read_by_deltalake(tmp_path / "restored", "elsewhere")) == printed(MADE_ELSEWHERE)


#: What a table may be made with, and what of it is refused. deltalake has variants come with deletion vectors.
FEATURES = {
    "deletionVectors|variantType": {"configuration": {"delta.enableDeletionVectors": "true"}},
    "columnMapping": {
        "configuration": {
            "delta.columnMapping.mode": "name",
            "delta.minReaderVersion": "2",
            "delta.minWriterVersion": "5",
        }
    },
    "partitioning": {"partition_by": ["text"]},
}


@pytest.mark.parametrize("feature", FEATURES)
def test_a_feature_that_would_be_misread_is_refused(
    own_store: Path, tmp_path: Path, serve: Callable[..., Server], feature: str
) -> None:
    server = serve(own_store)
    rows = pa.table({"text": ["a", "b"], "whole": [1, 2]})
    write_deltalake(str(own_store / "elsewhere"), rows, **FEATURES[feature])
    for sql in ["select * from elsewhere", "select count(*) from elsewhere", "select * from all_vintages('elsewhere')"]:
        failure = harness.failure(server.stub, sql)
        assert failure.code == StatusCode.FAILED_PRECONDITION, failure.message
        assert re.search(f"elsewhere uses Delta's ({feature})", failure.message)
    file = tmp_path / "a.csv"
    file.write_text("text,whole\nc,3\n")
    for command in [("load", "elsewhere", file), ("store", "compact", "elsewhere")]:
        refused = harness.run(*command, "--store", own_store)
        assert refused.returncode == 1
        assert re.search(feature, refused.stderr)
    assert server.query("select count(*) > 0 from quotas").rows == [(True,)]
    assert "quotas" in done("tables", "--store", own_store, "--format", "csv")


def test_a_table_that_takes_up_such_a_feature_is_refused_from_then_on(
    own_store: Path, tmp_path: Path, serve: Callable[..., Server]
) -> None:
    output.create(own_store)
    server = serve(own_store)
    done(*output.load(own_store, output.write(tmp_path / "a.csv", [("a", "2024-01", 1.0)])))
    assert server.query("select count(*) from output").rows == [(1,)]
    table = DeltaTable(own_store / "output")
    table.alter.add_feature(TableFeatures.DeletionVectors, allow_protocol_versions_increase=True)
    failure = harness.failure(server.stub, "select count(*) from output")
    assert failure.code == StatusCode.FAILED_PRECONDITION, failure.message
    refused = harness.run(*output.load(own_store, output.write(tmp_path / "b.csv", [("a", "2024-02", 1.0)])))
    assert refused.returncode == 1
    assert "deletionVectors" in refused.stderr
