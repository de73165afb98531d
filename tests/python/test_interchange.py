"""The store is plain Delta and Parquet: other programs read the rows that SQL gives, with no export."""

from __future__ import annotations

import shutil
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, date, datetime
from pathlib import Path

import duckdb
import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from deltalake import DeltaTable

import harness
from harness import Server
from output import done


def counted(table: pa.Table) -> Counter[tuple]:
    """The rows regardless of their order."""
    return Counter(zip(*(column.to_pylist() for column in table.columns), strict=True))


def read_by_deltalake(store: Path, name: str) -> pa.Table:
    """All rows of a table, read without our help."""
    return pa.table(DeltaTable(store / name).to_pyarrow_table())


def read_by_polars(store: Path, name: str) -> pa.Table:
    """By its lazy scan of a Delta table."""
    return pl.scan_delta(str(store / name)).collect().to_arrow()


def read_by_pandas(store: Path, name: str) -> pa.Table:
    """From the Parquet files, in types that know NULL from NaN."""
    files = DeltaTable(store / name).file_uris()
    frames = [pd.read_parquet(file, dtype_backend="pyarrow") for file in files]
    return pa.Table.from_pandas(pd.concat(frames), preserve_index=False)


def read_by_duckdb(store: Path, name: str) -> pa.Table:
    """From the Parquet files."""
    return duckdb.sql(f"select * from read_parquet({DeltaTable(store / name).file_uris()})").to_arrow_table()


READERS = {
    "deltalake": read_by_deltalake,
    "polars": read_by_polars,
    "pandas": read_by_pandas,
    "duckdb": read_by_duckdb,
}

RATES = "base_currency,quote_currency,valid_on,rate,source\nUSD,CNY,2024-01-02,7.0770,\nUSD,CNY,2024-01-03,7.1,PBoC\n"


@pytest.fixture(scope="module")
def filled(store: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server of a store in which no table is empty: exchange rates are the user's to load."""
    own = Path(shutil.copytree(store, tmp_path_factory.mktemp("filled") / "store"))
    rates = own.parent / "rates.csv"
    rates.write_text(RATES)
    done("load", "exchange_rates", rates, "--store", own)
    server = Server(own, own.parent / "server.log")
    yield server
    server.stop()


def everything(name: str) -> str:
    """The statement that gives every row of a table."""
    relation = f"all_vintages('{name}')" if name in harness.SERIES_TABLES else name
    return f"select * from {relation}"


def test_the_store_holds_the_built_in_tables_and_nothing_else(store: Path) -> None:
    tables = sorted(path.parent.name for path in store.glob("*/_delta_log"))
    assert tables == harness.BUILT_IN_TABLES


@pytest.mark.parametrize("reader", READERS)
@pytest.mark.parametrize("name", harness.BUILT_IN_TABLES)
def test_other_programs_read_what_sql_gives(filled: Server, name: str, reader: str) -> None:
    ours = filled.query(everything(name))
    theirs = READERS[reader](filled.store, name)
    assert ours.table.num_rows > 0
    assert ours.table.column_names == theirs.column_names
    assert counted(ours.table) == counted(theirs)
    assert ours.summary.table_versions[name] == DeltaTable(filled.store / name).version()


def test_other_programs_read_every_type_and_every_version(tmp_path: Path, own_store: Path) -> None:
    declaration = tmp_path / "kinds.toml"
    kinds = ["text", "int", "double", "date", "boolean", "timestamp"]
    columns = [f'[[columns]]\nname = "{kind}"\ntype = "{kind}"\ndescription = "A {kind}."\n' for kind in kinds]
    head = 'name = "kinds"\nkind = "plain"\ndescription = "Every type."\nkey = ["text"]\n'
    declaration.write_text(head + "".join(columns))
    done("table", "create", declaration, "--store", own_store)
    rows = [
        ["氧化镝, \"quoted\"\n'and' 🧲", -(2**63), 5e-324, date(1, 1, 1), True, datetime(1, 1, 1, tzinfo=UTC)],
        [
            "",
            2**63 - 1,
            1.7976931348623157e308,
            date(9999, 12, 31),
            False,
            datetime(9999, 12, 31, 23, 59, 59, 999999, UTC),
        ],
        ["nothing", *[None] * 5],
        ["thirds", 0, 1 / 3, date(2024, 2, 29), True, datetime(2024, 2, 29, 12, 0, 0, 1, UTC)],
    ]
    types = [pa.string(), pa.int64(), pa.float64(), pa.date32(), pa.bool_(), pa.timestamp("us", "UTC")]
    schema = pa.schema(zip(kinds, types, strict=True))
    for number, row in enumerate(rows):
        file = tmp_path / f"{number}.parquet"
        pq.write_table(pa.Table.from_pylist([dict(zip(kinds, row, strict=True))], schema), file)
        done("load", "kinds", file, "--store", own_store)
        for name, read in READERS.items():
            assert counted(read(own_store, "kinds")) == Counter(map(tuple, rows[: number + 1])), name
    for version in range(len(rows) + 1):
        then = DeltaTable(own_store / "kinds", version=version).to_pyarrow_table()
        assert counted(pa.table(then)) == Counter(map(tuple, rows[:version]))
    done(
        "sql", "--store", own_store, "-c", "select * from kinds", "--format", "parquet", "-o", tmp_path / "ours.parquet"
    )
    assert counted(pq.read_table(tmp_path / "ours.parquet")) == Counter(map(tuple, rows))


@pytest.mark.parametrize("name", harness.BUILT_IN_TABLES)
def test_tables_need_no_feature_that_readers_lack(store: Path, name: str) -> None:
    protocol = DeltaTable(store / name).protocol()
    assert not {"deletionVectors", "columnMapping"} & set(protocol.reader_features or [])
    assert protocol.min_reader_version == 1
