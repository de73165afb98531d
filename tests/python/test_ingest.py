"""Loads and views through the Python client and the command line's --url: what a data scientist does with a file."""

import threading
from collections.abc import Iterator
from datetime import date
from pathlib import Path

import pandas as pd
import polars as pl
import pyarrow as pa
import pytest

import didymium
import harness
import output
from harness import Server

ROOT = Path(__file__).resolve().parents[2]
FROM = {"source_id": "S", "published_on": date(2026, 1, 1)}


@pytest.fixture(scope="module")
def writable(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server of a store of its own, which these tests write to."""
    folder = tmp_path_factory.mktemp("ingest")
    store = output.create(harness.init(folder / "store"))
    server = Server(store, folder / "server.log")
    yield server
    server.stop()


@pytest.fixture(scope="module")
def db(writable: Server) -> Iterator[didymium.Client]:
    with didymium.connect(writable.url, timeout=60) as db:
        yield db


def frame(mine: str, months: int = 3) -> pd.DataFrame:
    """Monthly output of one mine."""
    periods = [f"2024-{month:02}" for month in range(1, months + 1)]
    return pd.DataFrame({"mine": mine, "period": periods, "value": [float(month) for month in range(1, months + 1)]})


def test_a_csv_becomes_a_table_with_growth_in_one_call(db: didymium.Client, tmp_path: Path) -> None:
    file = tmp_path / "coal.csv"
    months = [f"{year}-{month:02}-01" for year in (2023, 2024) for month in range(1, 13)]
    file.write_text("month,tonnes\n" + "".join(f"{month},{100 + n * 10}\n" for n, month in enumerate(months)))
    made = db.load("coal", file, create=True)
    assert made.rows == 24
    assert 'name = "coal"' in made.declaration
    growth = db.sql("select month, yoy(tonnes, month) over (order by month) as g from coal qualify month = date '2024-06-01'")
    assert growth.rows() == [(date(2024, 6, 1), pytest.approx(270 / 150 - 1))]


@pytest.mark.parametrize(
    "form",
    [
        lambda it: it,
        pl.from_pandas,
        pa.Table.from_pandas,
        lambda it: pa.RecordBatch.from_pandas(it),
        lambda it: pa.Table.from_pandas(it).to_reader(),
    ],
    ids=["pandas", "polars", "table", "batch", "reader"],
)
def test_every_kind_of_frame_loads(db: didymium.Client, form, request: pytest.FixtureRequest) -> None:
    mine = f"frame of {request.node.callspec.id}"
    loaded = db.load("output", form(frame(mine)), **FROM)
    assert (loaded.rows, loaded.unchanged, loaded.repeated) == (3, 0, False)
    assert db.sql("select sum(value) from output where mine = $mine", mine=mine).scalar() == 6.0


def test_the_same_load_again_and_the_same_value_later_change_nothing(db: didymium.Client) -> None:
    first = db.load("output", frame("same"), **FROM)
    again = db.load("output", frame("same"), **FROM)
    assert (again.repeated, again.version, again.load_id) == (True, first.version, first.load_id)
    later = db.load("output", frame("same"), source_id="S", published_on=date(2026, 2, 1))
    assert (later.rows, later.unchanged) == (0, 3)


def test_a_changed_value_is_refused_or_corrects_with_a_reason(db: didymium.Client) -> None:
    db.load("output", frame("changed"), **FROM)
    other = frame("changed").assign(value=[1.0, 2.0, 30.0])
    with pytest.raises(didymium.SqlError, match="row 3"):
        db.load("output", other, **FROM)
    corrected = db.load("output", other, supersede="a slip of the pen", **FROM)
    assert (corrected.rows, corrected.superseded) == (1, 1)
    assert db.sql("select sum(value) from output where mine = 'changed'").scalar() == 33.0
    reasons = db.sql("select reason from system.commits where load_id = $1", [corrected.load_id])
    assert reasons.scalar() == "a slip of the pen"


def test_a_dry_run_lists_the_faults_and_writes_nothing(db: didymium.Client, tmp_path: Path) -> None:
    file = tmp_path / "a.csv"
    file.write_text("mine,period,value\ndry,2024-01,1\ndry,2024-13,2\ndry,2024-02,-3\n")
    dry = db.load("output", file, dry_run=True, **FROM)
    assert [(fault.row, fault.column, fault.value) for fault in dry.faults] == [(3, "period", "2024-13"), (4, "value", "-3.0")]
    assert dry.fault_count == 2
    with pytest.raises(didymium.SqlError) as refused:
        db.load("output", file, **FROM)
    assert all(fault.rule in str(refused.value) for fault in dry.faults)
    assert db.sql("select count(*) from output where mine = 'dry'").scalar() == 0


def test_what_cannot_be_loaded_is_told_before_anything_is_sent(db: didymium.Client, tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        db.load("output", tmp_path / "nothing.csv", **FROM)
    with pytest.raises(TypeError, match="dict"):
        db.load("output", {"mine": ["a"]}, **FROM)
    with pytest.raises(ValueError, match="nothing to load"):
        db.load("output")
    with pytest.raises(didymium.NotFound, match="output"):
        db.load("outputs", frame("a"), **FROM)


def test_loads_side_by_side_all_land(db: didymium.Client) -> None:
    landed: list[didymium.Loaded] = []

    def load(number: int) -> None:
        landed.append(db.load("output", frame(f"side {number}"), **FROM))

    threads = [threading.Thread(target=load, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len({load.version for load in landed}) == 8
    assert db.sql("select count(*) from output where starts_with(mine, 'side ')").scalar() == 24


def test_views_are_asked_like_tables(db: didymium.Client) -> None:
    db.create_view("mining", "select period_start, value from quotas_by_year where holder_kind = 'national'", description="of a test")
    try:
        assert db.sql("select count(*) from mining").scalar() > 10
        with pytest.raises(didymium.AlreadyExists, match="mining"):
            db.create_view("mining", "select 1")
        db.create_view("mining", "select 1 as one", replace=True)
        assert db.sql("select * from mining").scalar() == 1
    finally:
        db.drop_view("mining")
    with pytest.raises(didymium.NotFound, match="mining"):
        db.sql("select * from mining")


def test_the_command_line_does_the_same_through_a_server(writable: Server, tmp_path: Path) -> None:
    at = ("--url", writable.url)
    file = output.write(tmp_path / "a.csv", [("by command", "2024-01", 1.0), ("by command", "2024-02", 2.0)])
    load = ("load", "output", file, *at, "--source", "S", "--published-on", "2026-01-01")
    assert "2 rows would be added" in output.done(*load, "--dry-run")
    assert "2 rows, version" in output.done(*load)
    assert "loaded before" in output.done(*load)
    output.done("view", "create", "by_command", "-c", "select sum(value) as s from output where mine = 'by command'", *at)
    assert "by_command" in output.done("tables", *at)
    assert "s" in output.done("describe", "by_command", *at)
    assert output.done("sql", *at, "--format", "csv", "-c", "select * from by_command").split() == ["s", "3.0"]
    output.done("view", "drop", "by_command", *at)
    declaration = tmp_path / "own.toml"
    declaration.write_text(output.DECLARATION.read_text().replace('name = "output"', 'name = "own"', 1))
    output.done("table", "create", declaration, *at)
    assert 'name = "own"' in output.done("table", "describe", "own", *at)
    output.done("table", "drop", "own", "--yes", *at)
    missing = harness.run("load", "output", tmp_path / "none.csv", *at)
    assert missing.returncode == 1
    assert "none.csv" in missing.stderr


def test_a_call_that_breaks_off_loads_nothing(writable: Server) -> None:
    from didymium.v1 import ingest_pb2, ingest_pb2_grpc

    stub = ingest_pb2_grpc.IngestServiceStub(writable.channel)
    sent = threading.Event()
    never = threading.Event()

    def half() -> Iterator[ingest_pb2.IngestRequest]:
        header = ingest_pb2.IngestHeader(table="output", source_id="S", published_on={"year": 2026, "month": 1, "day": 1})
        yield ingest_pb2.IngestRequest(header=header)
        yield ingest_pb2.IngestRequest(file=ingest_pb2.FileHeader(name="a.csv"))
        yield ingest_pb2.IngestRequest(chunk=b"mine,period,value\nbroken,2024-01,1\n")
        sent.set()
        never.wait(harness.PATIENCE_S)

    call = stub.Ingest.future(half())
    assert sent.wait(harness.PATIENCE_S)
    call.cancel()
    never.set()
    assert writable.query("select count(*) from output where mine = 'broken'").rows == [(0,)]
    writable.assert_lives()
