"""The .proto files suffice: a stock grpcio channel, the generated stub and pyarrow read every result."""

import subprocess
import sys
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pytest

import harness
from harness import MIB, Server

PYTHON = Path(__file__).resolve().parents[2] / "python"


def test_three_million_rows_arrive_whole_in_messages_that_stock_grpcio_accepts(server: Server) -> None:
    rows = 3_000_000
    answer = server.query(
        f"select value as i, value * 2.5 as x, concat('row ', value) as name from generate_series(1, {rows})"
    )

    assert answer.kinds == ["header", *["arrow_ipc"] * (len(answer.messages) - 2), "summary"]
    assert max(message.ByteSize() for message in answer.messages) <= 2 * MIB
    assert answer.summary.rows == rows
    assert answer.summary.elapsed.ToNanoseconds() > 0

    table = answer.table.sort_by("i")
    i = pa.array(range(1, rows + 1), pa.int64())
    assert table["i"].combine_chunks().equals(i)
    assert table["x"].combine_chunks().equals(pc.multiply(i.cast(pa.float64()), 2.5))
    assert table["name"].combine_chunks().equals(pc.binary_join_element_wise("row ", i.cast(pa.string()), ""))


def test_header_names_the_columns_of_the_result(server: Server) -> None:
    answer = server.query(
        "select l.a, r.a, cast(null as double) as b from (values (1)) as l(a), (values ('x')) as r(a)"
    )
    assert answer.header.query_id
    schema = answer.table.schema
    assert [column.name for column in answer.header.columns] == ["a", "a", "b"] == schema.names
    assert [column.nullable for column in answer.header.columns] == [field.nullable for field in schema]
    assert [column.type for column in answer.header.columns] == ["Int64", "Utf8", "Float64"]


def test_summary_names_the_versions_that_were_read(server: Server) -> None:
    summary = server.query("select count(*) from quotas join sources using (source_id)").summary
    assert set(summary.table_versions) == {"quotas", "sources"}
    assert summary.table_versions["quotas"] >= 1  # the table was made, then loaded


def test_an_empty_result_still_has_its_schema(server: Server) -> None:
    answer = server.query(
        "select value as i, 'x' as name, date '2024-02-29' as day from generate_series(1, 9) where false"
    )
    assert answer.kinds[0] == "header"
    assert answer.kinds[-1] == "summary"
    assert answer.table.num_rows == answer.summary.rows == 0
    assert [(field.name, field.type) for field in answer.table.schema] == [
        ("i", pa.int64()),
        ("name", pa.string()),
        ("day", pa.date32()),
    ]


@pytest.mark.parametrize(
    ("expression", "arrow_type", "value"),
    [
        ("'Nd'", pa.string(), "Nd"),
        ("arrow_cast('Nd', 'Utf8View')", pa.string(), "Nd"),
        ("arrow_cast('Nd', 'Dictionary(Int32, Utf8)')", pa.string(), "Nd"),
        ("date '2024-02-29'", pa.date32(), date(2024, 2, 29)),
        ("timestamp '2024-02-29 23:59:59'", pa.timestamp("us"), datetime(2024, 2, 29, 23, 59, 59)),
        ("cast(1234.50 as decimal(10, 2))", pa.decimal128(10, 2), Decimal("1234.50")),
        ("cast(0.0588 as double)", pa.float64(), 0.0588),
        ("true", pa.bool_(), True),
        ("cast(null as varchar)", pa.string(), None),
        ("['Nd', 'Pr']", pa.list_(pa.string()), ["Nd", "Pr"]),
    ],
)
def test_values_come_as_plain_types(server: Server, expression: str, arrow_type: pa.DataType, value: object) -> None:
    table = server.query(f"select {expression} as v").table
    actual = table.schema.field("v").type
    if pa.types.is_list(arrow_type):  # the name of a list's item is no part of the promise
        assert pa.types.is_list(actual)
        assert actual.value_type == arrow_type.value_type
    else:
        assert actual == arrow_type
    assert table["v"].to_pylist() == [value]


def test_the_clock_is_readable(server: Server) -> None:
    before = datetime.now(UTC)
    ((now, today),) = server.query("select now(), current_date").rows
    assert before <= now.replace(tzinfo=UTC) <= datetime.now(UTC)  # without a zone, and in UTC
    assert before.date() <= today <= datetime.now(UTC).date()


def test_strings_of_a_stored_table_are_plain_too(server: Server) -> None:
    schema = server.query("select source_id, title from sources").table.schema
    assert set(schema.types) == {pa.string()}


def test_wide_rows_are_spread_over_messages(server: Server) -> None:
    answer = server.query(f"select {harness.wide_row(3 * MIB // 2)} from generate_series(1, 5)")
    assert max(message.ByteSize() for message in answer.messages) <= 2 * MIB
    assert [sum(map(len, row)) for row in answer.rows] == [3 * MIB // 2] * 5


def test_committed_stubs_are_what_the_proto_files_generate(tmp_path: Path) -> None:
    subprocess.run([sys.executable, PYTHON / "generate.py", tmp_path], check=True, timeout=harness.PATIENCE_S)
    committed = {path.name: path.read_text() for path in (PYTHON / "didymium" / "v1").glob("*_pb2*")}
    fresh = {path.name: path.read_text() for path in (tmp_path / "didymium" / "v1").iterdir()}
    assert committed == fresh, "run python/generate.py"
