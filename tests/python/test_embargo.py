"""Figures that are not yet for everybody: what a real server tells a reader of them before their release."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

import harness
import output
from didymium.v1 import catalog_pb2, ingest_pb2, query_pb2
from harness import Server
from test_access import Caller

#: When the source HELD is released: after all tests.
RELEASE = "2999-01-01T00:00:00Z"


class Held:
    """A server whose table `output` has a figure of the source SHOWN and one of the source HELD."""

    def __init__(self, server: Server) -> None:
        self.reader, self.writer = (Caller(server, harness.create_token(server.store, role, role)) for role in ("read", "write"))
        header = "source_id,title,publisher,published_on,published_precision,locator,tier,rank,terms,release_at"
        source = "A bulletin,A bureau,2020-01-01,day,page 1,primary_file,1,free"
        self.load("sources", f"{header}\nSHOWN,{source},\n")
        self.load("sources", f"{header}\nHELD,{source},{RELEASE}\n")
        for source, month in (("SHOWN", "2024-01"), ("HELD", "2024-02")):
            figure = f"mine,period,value,source_id,published_on\na,{month},1,{source},2026-01-01\n"
            self.load("output", figure)

    def load(self, table: str, text: str) -> None:
        """Loads a file as the writer."""
        parts = [
            ingest_pb2.IngestRequest(header=ingest_pb2.IngestHeader(table=table)),
            ingest_pb2.IngestRequest(file=ingest_pb2.FileHeader(name=f"{table}.csv")),
            ingest_pb2.IngestRequest(chunk=text.encode()),
        ]
        self.writer.ingest.Ingest(iter(parts), timeout=harness.PATIENCE_S)


@pytest.fixture(scope="module")
def held(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Held]:
    folder = tmp_path_factory.mktemp("embargo")
    store = output.create(harness.init(folder / "store"))
    server = Server(store, folder / "server.log", "--auth", "token")
    yield Held(server)
    server.stop()


def tables(it: Caller) -> dict[str, catalog_pb2.Table]:
    """What ListTables tells."""
    listed = it.catalog.ListTables(catalog_pb2.ListTablesRequest(), timeout=harness.PATIENCE_S)
    return {table.name: table for table in listed.tables}


def test_the_catalog_counts_no_hidden_rows(held: Held) -> None:
    for name in ("output", "sources"):
        alone = catalog_pb2.GetTableRequest(name=name)
        for told in (tables(held.reader)[name], held.reader.catalog.GetTable(alone)):
            assert not told.HasField("rows"), name
            assert told.version == tables(held.writer)[name].version
        for told in (tables(held.writer)[name], held.writer.catalog.GetTable(alone)):
            assert told.rows >= 2, name
    assert tables(held.reader)["exchange_rates"].HasField("rows")
    sizes = "select rows, bytes from system.tables where table_name = 'output'"
    assert held.reader.rows(sizes) == [(None, None)]
    [(rows, size)] = held.writer.rows(sizes)
    assert rows == 2 and size > 0


def test_history_and_files_leave_out_what_is_hidden(held: Held) -> None:
    commits = "select version, rows_added from system.commits where table_name = 'output' and operation = 'WRITE' order by version"
    assert held.reader.rows(commits) == [(1, 1)]
    assert held.writer.rows(commits) == [(1, 1), (2, 1)]
    files = "select rows from system.files where table_name = 'output'"
    assert len(held.reader.rows(files)) == 1
    assert len(held.writer.rows(files)) == 2


def test_a_query_tells_of_no_hidden_rows_that_it_has_read(held: Held) -> None:
    sql = "select value from all_vintages('output')"
    summary = harness.query(held.reader.queries, sql).summary
    assert (summary.rows, summary.rows_read, summary.files_total) == (1, 1, 1)
    assert summary.bytes_read == summary.files_read == 0
    summary = harness.query(held.writer.queries, sql).summary
    assert (summary.rows, summary.rows_read, summary.files_read, summary.files_total) == (2, 2, 2, 2)
    assert summary.bytes_read > 0


@pytest.mark.parametrize("analyze", [False, True])
def test_a_plan_shows_nothing_below_what_leaves_hidden_rows_out(held: Held, analyze: bool) -> None:
    sql = "select value from all_vintages('output') where value > 0"
    shown = held.reader.explain(sql, analyze=analyze)
    assert "released" in shown
    assert ".parquet" not in shown and "HELD" not in shown
    assert ".parquet" in held.writer.explain(sql, analyze=analyze)


def test_a_view_tells_no_more(held: Held) -> None:
    view = "create view told as select * from system.commits where table_name = 'output'"
    held.writer.queries.Execute(query_pb2.QueryRequest(sql=view))
    assert len(held.reader.rows("select * from told where operation = 'WRITE'")) == 1
    assert len(held.writer.rows("select * from told where operation = 'WRITE'")) == 2
