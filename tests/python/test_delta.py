"""The store is plain Delta and Parquet: other programs read the rows that SQL gives, with no export."""

from collections import Counter
from pathlib import Path

import duckdb
import pyarrow as pa
import pytest
from deltalake import DeltaTable

import harness
from harness import Server


def counted(table: pa.Table) -> Counter[tuple]:
    """The rows regardless of their order."""
    return Counter(zip(*(column.to_pylist() for column in table.columns), strict=True))


def read_by_deltalake(store: Path, name: str) -> pa.Table:
    """All rows of a table, read without our help."""
    return pa.table(DeltaTable(store / name).to_pyarrow_table())


def test_the_store_holds_the_built_in_tables_and_nothing_else(store: Path) -> None:
    tables = sorted(path.parent.name for path in store.glob("*/_delta_log"))
    assert tables == harness.BUILT_IN_TABLES


@pytest.mark.parametrize("name", harness.BUILT_IN_TABLES)
def test_deltalake_reads_what_sql_gives(server: Server, name: str) -> None:
    relation = f"all_vintages('{name}')" if name in harness.SERIES_TABLES else name
    ours = server.query(f"select * from {relation}")
    theirs = read_by_deltalake(server.store, name)
    assert (ours.table.num_rows == 0) == (name == "exchange_rates"), "rates are the user's to load"
    assert ours.table.column_names == theirs.column_names
    assert counted(ours.table) == counted(theirs)
    assert ours.summary.table_versions[name] == DeltaTable(server.store / name).version()


def test_duckdb_reads_the_parquet_files(server: Server) -> None:
    files = DeltaTable(server.store / "quotas").file_uris()
    sql = "select stage, period_start, sum(value) from {} group by stage, period_start"
    theirs = duckdb.sql(sql.format(f"read_parquet({files})")).fetchall()
    assert Counter(server.query(sql.format("all_vintages('quotas')")).rows) == Counter(theirs)


@pytest.mark.parametrize("name", harness.BUILT_IN_TABLES)
def test_tables_need_no_feature_that_readers_lack(store: Path, name: str) -> None:
    protocol = DeltaTable(store / name).protocol()
    assert not {"deletionVectors", "columnMapping"} & set(protocol.reader_features or [])
    assert protocol.min_reader_version == 1
