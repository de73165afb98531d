"""A load that is killed has happened or has not: never a part of it, and never a store that does not open."""

import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pyarrow.compute as pc
from deltalake import DeltaTable

import harness
from harness import Server

ROWS = 5_000

#: When each load is killed. Two thirds of the kills are spread over the whole load, most of which is reading and
#: sorting; the others follow the moment at which its data file appears, for the commit is done within 0.02 s of it.
MOMENTS = [("share of a load", n / 20) for n in range(20)] + [
    ("seconds after the data file", n / 1000) for n in range(10)
]

HEADER = (
    "row_id,authority,market,product,quote,currency,price_unit,price_basis,measure,period_start,period_end,frequency,"
    "cumulative,value,value_low,value_high,unit,basis,printed_value,printed_unit,status,published_on,published_precision,"
    "source_id,statement,note"
)


def write_prices(path: Path, product: str, rows: int = ROWS) -> Path:
    """Daily prices of ten grades of a made-up oxide, valid in every column."""
    days = [f"{2000 + d // 336}-{d // 28 % 12 + 1:02}-{d % 28 + 1:02}" for d in range(rows // 10)]
    lines = [
        f"{product}/{grade}/{day},Test,made-up market,{product} grade {grade},spot,USD,kg,,price,{day},{day},D,false,"
        f"{100 + number % 97}.5,,,USD/kg,oxide,,,final,2026-01-31,day,USGS-MCS2026v1.0,1,made up"
        for grade in range(10)
        for number, day in enumerate(days)
    ]
    path.write_text("\n".join([HEADER, *lines]) + "\n")
    return path


def load(file: Path, store: Path) -> list[str]:
    """The command that loads the file."""
    return [str(harness.binary()), "load", "prices", str(file), "--store", str(store)]


def count(store: Path, product: str) -> int:
    """Rows of one file in the table, as another program sees it."""
    products = DeltaTable(store / "prices").to_pyarrow_table(columns=["product"])["product"]
    return pc.sum(pc.starts_with(products, pattern=f"{product} ")).as_py()


def files(store: Path) -> set[str]:
    """The data files of the table, committed or not."""
    return {path.name for path in (store / "prices").glob("*.parquet")}


def test_a_killed_load_is_before_or_after_and_never_between(
    own_store: Path, tmp_path: Path, serve: Callable[..., Server]
) -> None:
    server = serve(own_store)
    everything = "select count(*) from all_vintages('prices')"
    before = server.query(everything).rows[0][0]

    start = time.monotonic()
    subprocess.run(load(write_prices(tmp_path / "whole.csv", "whole"), own_store), check=True, capture_output=True)
    duration = time.monotonic() - start
    assert count(own_store, "whole") == ROWS

    landed, killed = ["whole"], []
    for number, (kind, moment) in enumerate(MOMENTS):
        product = f"kill{number:02}"
        command = load(write_prices(tmp_path / f"{product}.csv", product), own_store)
        there = files(own_store)
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        if kind == "share of a load":
            time.sleep(duration * moment)
        else:
            while files(own_store) == there and process.poll() is None:
                time.sleep(0.001)
            time.sleep(moment)
        process.kill()
        code = process.wait()

        rows = count(own_store, product)
        assert rows in (0, ROWS), f"{rows} of {ROWS} rows after a kill"
        assert code in (0, -9)
        assert code != 0 or rows == ROWS, "a load that reported success is not there"
        (landed if rows else killed).append(product)
        answer = server.query(everything)
        assert answer.rows == [(before + ROWS * len(landed),)]
        assert answer.summary.table_versions["prices"] == DeltaTable(own_store / "prices").version()
    assert len(killed) > len(MOMENTS) / 3, "too few loads were killed before they were done to prove anything"

    for product in (killed[-1], landed[-1]):  # whoever does not know whether it landed loads it again
        done = harness.run("load", "prices", tmp_path / f"{product}.csv", "--store", own_store)
        assert done.returncode == 0, done.stderr
        assert count(own_store, product) == ROWS
