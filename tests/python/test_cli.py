"""The command line: formats, exit codes, and what bad input and bad places get."""

import csv
import io
import json
import socket
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import date
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from deltalake import DeltaTable

import harness
from harness import Server, run
from test_kill import HEADER, write_prices
from test_limits import ENDLESS_COUNT

SQL = (
    "select * from (values ('Nd', date '2024-02-29', 1.5), ('Pr, \"x\"', null, null)) as t(name, day, x) order by name"
)
ROWS = [{"name": "Nd", "day": "2024-02-29", "x": 1.5}, {"name": 'Pr, "x"', "day": None, "x": None}]


@pytest.fixture(params=["--url", "--store"])
def at(request: pytest.FixtureRequest, server: Server) -> tuple[str, object]:
    """Each test asks a server, and the store itself."""
    return request.param, server.url if request.param == "--url" else server.store


def output(at: tuple[str, object], *arguments: object, stdin: str | None = None) -> str:
    """What `didymium sql` prints, and nothing else may it print."""
    done = run("sql", *at, *arguments, stdin=stdin)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_csv(at) -> None:
    read = list(csv.DictReader(io.StringIO(output(at, "-c", SQL, "--format", "csv"))))
    assert read == [{"name": "Nd", "day": "2024-02-29", "x": "1.5"}, {"name": 'Pr, "x"', "day": "", "x": ""}]


def test_json(at) -> None:
    read = json.loads(output(at, "-c", SQL, "--format", "json"))
    assert [{**dict.fromkeys(ROWS[0]), **row} for row in read] == ROWS


def test_ndjson(at) -> None:
    read = [json.loads(line) for line in output(at, "-c", SQL, "--format", "ndjson").splitlines()]
    assert [{**dict.fromkeys(ROWS[0]), **row} for row in read] == ROWS


def test_table(at) -> None:
    printed = output(at, "-c", SQL, "--format", "table")
    assert all(word in printed for word in ("name", "day", "Nd", "2024-02-29", "1.5"))


@pytest.mark.parametrize("name", ["arrow", "parquet"])
def test_binary_formats_go_to_a_file(at, name: str, tmp_path: Path) -> None:
    file = tmp_path / f"out.{name}"
    assert output(at, "-c", SQL, "--format", name, "-o", file) == ""
    table = pq.read_table(file) if name == "parquet" else read_arrow(file)
    assert table.to_pylist() == [
        {"name": "Nd", "day": date(2024, 2, 29), "x": 1.5},
        {"name": 'Pr, "x"', "day": None, "x": None},
    ]


def read_arrow(file: Path) -> pa.Table:
    """Rows of a stream or a file of Arrow IPC, whichever it is."""
    data = file.read_bytes()
    return (pa.ipc.open_file(data) if data.startswith(b"ARROW1") else pa.ipc.open_stream(data)).read_all()


def test_a_result_without_rows_has_its_columns(at) -> None:
    nothing = "select 1 as a, 'x' as b where false"
    assert output(at, "-c", nothing, "--format", "csv").strip() == "a,b"
    assert json.loads(output(at, "-c", nothing, "--format", "json")) == []
    assert output(at, "-c", nothing, "--format", "ndjson").strip() == ""


def test_the_statement_comes_from_an_argument_a_file_or_stdin(at, tmp_path: Path) -> None:
    file = tmp_path / "query.sql"
    file.write_text("-- a remark\nselect 1 as one;\n")
    expected = "one\n1\n"
    assert output(at, "--format", "csv", "-c", "select 1 as one") == expected
    assert output(at, "--format", "csv", "-f", file) == expected
    assert output(at, "--format", "csv", "-", stdin=file.read_text()) == expected


def test_tables_and_describe(at) -> None:
    tables = run("tables", *at)
    assert tables.returncode == 0, tables.stderr
    assert all(name in tables.stdout for name in harness.BUILT_IN_TABLES)

    quotas = run("describe", "quotas", *at)
    assert quotas.returncode == 0, quotas.stderr
    assert all(column in quotas.stdout for column in ("series", "holder_kind", "period_end", "published_on"))


@pytest.mark.parametrize(
    ("sql", "named"),
    [("select (", ""), ("select * from quota", "quotas"), ("drop table quotas", ""), ("select 1; select 2", "")],
)
def test_a_wrong_statement_exits_with_1(at, sql: str, named: str) -> None:
    done = run("sql", *at, "-c", sql)
    assert done.returncode == 1, done
    assert done.stdout == ""
    assert_plain(done.stderr)
    assert named in done.stderr


def test_describe_of_an_unknown_table_exits_with_1(at) -> None:
    done = run("describe", "quota", *at)
    assert done.returncode == 1, done
    assert "quotas" in done.stderr


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["nonsense"],
        ["sql"],
        ["sql", "-c", "select 1"],  # neither a server nor a store
        ["sql", "-c", "select 1", "--store", "a", "--url", "grpc://localhost:1"],
        ["sql", "-c", "select 1", "--store", "a", "--format", "xml"],
        ["load"],
        ["serve", "--listen", "127.0.0.1:0"],
        ["serve", "--store", "a", "--listen", "nonsense"],
        ["serve", "--store", "a", "--listen", "127.0.0.1:0", "--memory", "much"],
    ],
    ids=" ".join,
)
def test_wrong_usage_exits_with_2(arguments: list[str]) -> None:
    done = run(*arguments)
    assert done.returncode == 2, done
    assert done.stderr
    assert done.stdout == ""


def test_no_server_exits_with_3() -> None:
    done = run("sql", "--url", "grpc://127.0.0.1:1", "-c", "select 1")
    assert done.returncode == 3, done
    assert_plain(done.stderr)


def test_a_query_that_is_out_of_time_exits_with_4(serve: Callable[..., Server], store: Path) -> None:
    server = serve(store, "--query-timeout", "1s")
    done = run("sql", "--url", server.url, "-c", ENDLESS_COUNT)
    assert done.returncode == 4, done
    assert_plain(done.stderr)


def test_a_port_in_use_is_named(store: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        done = run("serve", "--store", store, "--listen", f"127.0.0.1:{port}")
    assert done.returncode == 1, done
    assert str(port) in done.stderr
    assert done.stdout == ""
    assert_plain(done.stderr)


@pytest.mark.parametrize(
    "command",
    [
        ["init"],
        ["serve", "--listen", "127.0.0.1:0"],
        ["sql", "-c", "select 1"],
        ["tables"],
    ],
    ids=lambda command: command[0],
)
def test_a_folder_that_is_not_a_store_is_refused_and_left_alone(command: list[str], tmp_path: Path) -> None:
    folder = tmp_path / "thesis"
    folder.mkdir()
    (folder / "chapter.txt").write_text("not a store")
    done = run(*command, "--store", folder)
    assert done.returncode == 1, done
    assert "thesis" in done.stderr
    assert_plain(done.stderr)
    assert [path.name for path in folder.iterdir()] == ["chapter.txt"]


@pytest.mark.parametrize("command", [["serve", "--listen", "127.0.0.1:0"], ["sql", "-c", "select 1"], ["tables"]])
def test_a_folder_that_is_not_there_is_refused_and_not_made(command: list[str], tmp_path: Path) -> None:
    done = run(*command, "--store", tmp_path / "nowhere")
    assert done.returncode == 1, done
    assert_plain(done.stderr)
    assert not (tmp_path / "nowhere").exists()


def test_a_table_with_deletion_vectors_is_refused(own_store: Path) -> None:
    entry = own_store / "prices" / "_delta_log" / "00000000000000000000.json"
    actions = [json.loads(line) for line in entry.read_text().splitlines()]
    for action in actions:
        if "protocol" in action:
            action["protocol"] = {
                "minReaderVersion": 3,
                "minWriterVersion": 7,
                "readerFeatures": ["deletionVectors"],
                "writerFeatures": ["deletionVectors"],
            }
    entry.write_text("".join(json.dumps(action) + "\n" for action in actions))

    done = run("sql", "--store", own_store, "-c", "select count(*) from prices")
    assert done.returncode == 1, done
    assert "prices" in done.stderr
    assert "deletionVectors" in done.stderr
    assert_plain(done.stderr)


# Loading.


def count(store: Path, table: str) -> int:
    return DeltaTable(store / table).to_pyarrow_table().num_rows


def test_loaded_rows_are_served_at_once(own_store: Path, tmp_path: Path, serve: Callable[..., Server]) -> None:
    server = serve(own_store)
    done = run("load", "prices", write_prices(tmp_path / "prices.csv", "oxide", 100), "--store", own_store)
    assert done.returncode == 0, done.stderr
    sql = "select count(*), count(distinct series), min(value) from prices where product like 'oxide %'"
    assert server.query(sql).rows == [(100, 10, 100.5)]


def test_the_same_file_twice_changes_nothing(own_store: Path, tmp_path: Path) -> None:
    file = write_prices(tmp_path / "prices.csv", "oxide", 100)
    assert run("load", "prices", file, "--store", own_store).returncode == 0
    after = DeltaTable(own_store / "prices").version(), count(own_store, "prices")
    again = run("load", "prices", file, "--store", own_store)
    assert again.returncode == 0, again.stderr
    assert (DeltaTable(own_store / "prices").version(), count(own_store, "prices")) == after


def test_rows_that_the_table_holds_already_are_refused(own_store: Path, tmp_path: Path) -> None:
    file = write_prices(tmp_path / "prices.csv", "oxide", 100)
    assert run("load", "prices", file, "--store", own_store).returncode == 0
    other = tmp_path / "other.csv"
    other.write_text(file.read_text().replace("100.5", "999.5"))
    done = run("load", "prices", other, "--store", own_store)
    assert done.returncode == 1, done
    assert "other.csv" in done.stderr
    assert "row 2" in done.stderr
    assert "10 faults" in done.stderr, "the other 90 rows say what the table holds"


def test_loads_at_the_same_time_all_land(own_store: Path, tmp_path: Path) -> None:
    before = count(own_store, "prices")
    files = [write_prices(tmp_path / f"{number}.csv", f"oxide{number}", 200) for number in range(4)]
    with ThreadPoolExecutor() as pool:
        loads = list(pool.map(lambda file: run("load", "prices", file, "--store", own_store), files))
    assert [load.returncode for load in loads] == [0] * 4, loads
    assert count(own_store, "prices") == before + 800


def test_parquet_loads_like_csv(own_store: Path, tmp_path: Path) -> None:
    before = count(own_store, "prices")
    file = tmp_path / "prices.parquet"
    output(("--store", own_store), "-c", "select * from prices where false", "--format", "parquet", "-o", file)
    schema = pq.read_schema(file)
    rows = [
        {
            **dict.fromkeys(schema.names),
            **{"row_id": f"p{day}", "authority": "Test", "market": "made up", "product": "oxide", "quote": "spot"},
            **{"currency": "USD", "price_unit": "kg", "measure": "price", "frequency": "D", "cumulative": False},
            **{"period_start": date(2024, 1, day), "period_end": date(2024, 1, day), "value": 1.0 * day},
            **{"unit": "USD/kg", "basis": "oxide", "status": "final", "published_on": date(2024, 2, 1)},
            **{"published_precision": "day", "source_id": "USGS-MCS2026v1.0", "statement": 1},
        }
        for day in range(1, 29)
    ]
    pq.write_table(pa.Table.from_pylist(rows, schema).drop_columns(["series"]), file)
    done = run("load", "prices", file, "--store", own_store)
    assert done.returncode == 0, done.stderr
    assert count(own_store, "prices") == before + 28


def test_a_broken_file_lists_its_faults_and_loads_nothing(own_store: Path, tmp_path: Path) -> None:
    columns = HEADER.split(",")
    lines = write_prices(tmp_path / "good.csv", "oxide", 100).read_text().splitlines()

    def broken(row: int, column: str, value: str) -> None:
        cells = lines[row].split(",")
        cells[columns.index(column)] = value
        lines[row] = ",".join(cells)

    broken(1, "value", "much")
    broken(3, "period_end", "2000-02-30")
    broken(5, "authority", "")
    broken(7, "currency", "XXX")
    broken(9, "unit", "t")
    lines[11] = lines[12]  # the same period of one series twice
    file = tmp_path / "broken.csv"
    file.write_text("\n".join(lines) + "\n")

    before = DeltaTable(own_store / "prices").version(), count(own_store, "prices")
    done = run("load", "prices", file, "--store", own_store)
    assert done.returncode == 1, done
    for fault in ("value", "much", "period_end", "2000-02-30", "authority", "currency", "XXX", "unit"):
        assert fault in done.stderr, done.stderr
    for row in (2, 4, 6, 8, 10):
        assert f"row {row}" in done.stderr, done.stderr
    assert (DeltaTable(own_store / "prices").version(), count(own_store, "prices")) == before
    assert_plain(done.stderr)


def test_at_most_fifty_faults_are_shown_and_the_rest_counted(own_store: Path, tmp_path: Path) -> None:
    file = write_prices(tmp_path / "broken.csv", "oxide", 80)
    file.write_text(file.read_text().replace(".5,", ".5x,"))
    done = run("load", "prices", file, "--store", own_store)
    assert done.returncode == 1, done
    assert sum("value" in line for line in done.stderr.splitlines()) == 50
    assert "30 more" in done.stderr


def test_one_bad_file_of_several_loads_none(own_store: Path, tmp_path: Path) -> None:
    before = count(own_store, "prices")
    good = write_prices(tmp_path / "good.csv", "oxide", 10)
    bad = tmp_path / "bad.csv"
    bad.write_text(HEADER + "\nx\n")
    done = run("load", "prices", good, bad, "--store", own_store)
    assert done.returncode == 1, done
    assert "bad.csv" in done.stderr
    assert count(own_store, "prices") == before


@pytest.mark.parametrize(
    ("table", "content", "named"),
    [
        ("price", HEADER + "\n", "prices"),  # no such table
        ("prices", "", "bad.csv"),
        ("prices", HEADER.replace("market", "markt") + "\n", "market"),  # a column is missing, another unknown
        ("prices", HEADER + "\n" + "x" * 100 + "\n", "row 2"),
    ],
)
def test_a_file_that_does_not_fit_is_refused(
    own_store: Path, tmp_path: Path, table: str, content: str, named: str
) -> None:
    file = tmp_path / "bad.csv"
    file.write_text(content)
    done = run("load", table, file, "--store", own_store)
    assert done.returncode == 1, done
    assert named in done.stderr
    assert_plain(done.stderr)


def assert_plain(message: str) -> None:
    """A sentence for people: no trace, no debug print."""
    assert message.strip()
    for word in ("panicked", "stack backtrace", "Error {", "Some(", "DataFusionError", "External error"):
        assert word not in message
