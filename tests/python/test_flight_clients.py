"""What other programs make of the server through Flight SQL: its catalog, and pandas, polars, SQLAlchemy, Jupyter."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
import sqlalchemy as sa
from adbc_driver_flightsql import dbapi
from adbc_driver_manager import ProgrammingError

import flight_sql
import harness
from didymium.v1 import query_pb2
from harness import Server

BY_STAGE = "select stage, count(*) as n, sum(value) as t from quotas group by stage order by stage"


@pytest.fixture(scope="module")
def con(server: Server) -> Iterator[dbapi.Connection]:
    with flight_sql.connect(server) as connection:
        yield connection


@pytest.fixture(scope="module")
def writable(store: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server of a store of its own, which these tests write to."""
    folder = tmp_path_factory.mktemp("clients")
    server = Server(Path(shutil.copytree(store, folder / "store")), folder / "server.log")
    yield server
    server.stop()


def objects(connection: dbapi.Connection, depth: str, **filters: object) -> dict[str, dict[str, list]]:
    """The catalog as ADBC gives it: by schema and table, the columns; `None` for what was not asked."""
    catalogs = connection.adbc_get_objects(depth=depth, **filters).read_all().to_pylist()
    assert [catalog["catalog_name"] for catalog in catalogs] == ["didymium"]
    return {
        schema["db_schema_name"]: {
            table["table_name"]: table["table_columns"] for table in schema["db_schema_tables"] or []
        }
        for schema in catalogs[0]["catalog_db_schemas"] or []
    }


def test_the_catalog_at_every_depth(server: Server, con: dbapi.Connection) -> None:
    known = server.query("select table_name, column_name, position from system.columns order by 1, 3").rows
    assert objects(con, "catalogs") == {}
    assert objects(con, "db_schemas") == {"main": {}, "system": {}}
    tables = objects(con, "tables")
    assert sorted(tables["main"]) == harness.BUILT_IN_TABLES
    assert set(tables["main"].values()) == {None}
    columns = objects(con, "all")["main"].items()
    listed = [(name, it["column_name"], it["ordinal_position"]) for name, its in sorted(columns) for it in its]
    assert listed == known


def test_the_catalog_is_filtered_by_patterns_and_kinds(writable: Server) -> None:
    with flight_sql.connect(writable) as con:
        flight_sql.rows(con, "create view kinds as select 1 as one")
        for pattern, names in [
            ("quotas", ["quotas"]),
            ("quota_", ["quotas"]),
            ("%s", sorted(name for name in [*harness.BUILT_IN_TABLES, "kinds"] if name.endswith("s"))),
            ("element\\_f%", ["element_factors"]),
            ("quota", []),
        ]:
            assert sorted(objects(con, "tables", table_name_filter=pattern)["main"]) == names
        for kinds, names in [
            (["VIEW"], ["kinds"]),
            (["TABLE"], harness.BUILT_IN_TABLES),
            (["table"], harness.BUILT_IN_TABLES),
            (["BASE TABLE"], harness.BUILT_IN_TABLES),
            (["SYNONYM"], []),
        ]:
            assert sorted(objects(con, "tables", table_types_filter=kinds)["main"]) == names
        (column,) = objects(con, "all", table_name_filter="quotas", column_name_filter="valu_")["main"]["quotas"]
        assert (column["column_name"], column["xdbc_type_name"]) == ("value", "DOUBLE")
        assert "tables" in objects(con, "tables", db_schema_filter="sys%")["system"]
        assert "main" not in objects(con, "tables", db_schema_filter="sys%")
        assert con.adbc_get_objects(depth="tables", catalog_filter="other").read_all().num_rows == 0
        assert con.adbc_get_table_types() == ["TABLE", "VIEW"]


@pytest.mark.parametrize("name", harness.BUILT_IN_TABLES)
def test_a_tables_columns_carry_remarks_and_types_but_results_do_not(
    server: Server, con: dbapi.Connection, name: str
) -> None:
    schema = con.adbc_get_table_schema(name)
    result = flight_sql.table(con, f"select * from {name} limit 0").schema
    assert schema.equals(result, check_metadata=False)
    assert not any(field.metadata for field in result)
    sql = "select column_name, coalesce(description, '') from system.columns where table_name = $1 order by position"
    described = server.query(sql, positional_parameters=[query_pb2.Value(text=name)]).rows
    assert [(field.name, told(field, "REMARKS")) for field in schema] == described
    casts = ", ".join(f"cast(null as {told(field, 'TYPE_NAME')}) as {field.name}" for field in schema)
    cast = server.query(f"select {casts}").table.schema.types
    # SQL names a time with a zone, and not which zone.
    assert [pa.timestamp("us") if pa.types.is_timestamp(it) else it for it in schema.types] == cast


def told(field: pa.Field, key: str) -> str:
    """What Flight SQL says of a column."""
    return field.metadata.get(f"ARROW:FLIGHT:SQL:{key}".encode(), b"").decode()


def test_a_table_that_is_not_there_has_no_schema(con: dbapi.Connection) -> None:
    with pytest.raises(ProgrammingError, match="NOT_FOUND"):
        con.adbc_get_table_schema("nothing")


def test_the_server_says_what_it_is(con: dbapi.Connection) -> None:
    about = con.adbc_get_info()
    version = harness.run("--version").stdout.split()[-1]
    assert (about["vendor_name"], about["vendor_version"]) == ("Didymium", version)


def test_primary_keys_are_what_a_table_is_keyed_by(server: Server) -> None:
    """Those of a series table name one row of what the bare name gives: its key, the measure and the period."""
    tables = server.query("select table_name, kind, key from system.tables").rows
    declared = {name: (key, kind) for name, kind, key in tables}
    with flight_sql.by_hand(server) as client:
        for name in harness.BUILT_IN_TABLES:
            told = flight_sql.info(client, "CommandGetPrimaryKeys", (3, name))
            table = flight_sql.fetched(client, told)
            assert table.schema == told.schema
            key, kind = declared[name]
            whole = key if kind == "plain" else f"{key}, measure, period_start, period_end"
            assert ", ".join(table["column_name"].to_pylist()) == whole
            if name == "quotas":
                unique = f"select count(*) = (select count(*) from {name}) from (select distinct {whole} from {name})"
                assert server.query(unique).rows == [(True,)]
            assert table["key_sequence"].to_pylist() == list(range(1, table.num_rows + 1))
            assert set(table["table_name"].to_pylist()) == {name}
        for fields in ([(3, "nothing")], [(1, "other"), (3, "quotas")], [(2, "system"), (3, "quotas")]):
            assert flight_sql.fetched(client, flight_sql.info(client, "CommandGetPrimaryKeys", *fields)).num_rows == 0


@pytest.mark.parametrize(
    "command",
    ["CommandGetExportedKeys", "CommandGetImportedKeys", "CommandGetCrossReference", "CommandGetXdbcTypeInfo",
     "CommandGetSqlInfo", "CommandGetCatalogs", "CommandGetDbSchemas", "CommandGetTables", "CommandGetTableTypes"],
)  # fmt: skip
def test_every_list_has_the_schema_that_was_told(server: Server, command: str) -> None:
    fields = [(3, "quotas")] if command.endswith(("edKeys", "Reference")) else []
    with flight_sql.by_hand(server) as client:
        told = flight_sql.info(client, command, *fields)
        table = flight_sql.fetched(client, told)
    assert table.schema.equals(told.schema, check_metadata=True)
    assert (table.num_rows == 0) == bool(fields)


def test_pandas_reads(server: Server, con: dbapi.Connection) -> None:
    plain = server.query(BY_STAGE).table.to_pandas()
    pd.testing.assert_frame_equal(pd.read_sql(BY_STAGE, con), plain)
    whole = pd.read_sql("quotas", con)
    assert len(whole) == plain["n"].sum()


def test_pandas_writes_but_does_not_replace(writable: Server) -> None:
    """pandas replaces by DROP TABLE and a new table; the server replaces rows, and keeps the table with its history."""
    frame = pd.DataFrame({"a": [1, 2], "b": ["x", "y"]})
    with flight_sql.connect(writable) as con:
        assert frame.to_sql("frame", con, index=False) == 2
        assert pd.DataFrame({"a": [3], "b": ["z"]}).to_sql("frame", con, index=False, if_exists="append") == 1
        assert writable.query("select a, b from frame order by a").rows == [(1, "x"), (2, "y"), (3, "z")]
        with pytest.raises(ValueError, match="already exists"):
            frame.to_sql("frame", con, index=False)
        with pytest.raises(pd.errors.DatabaseError, match="DROP"):
            frame.to_sql("frame", con, index=False, if_exists="replace")
    assert writable.query("select count(*) from frame").rows == [(3,)]


def test_polars_reads(server: Server, con: dbapi.Connection) -> None:
    plain = pl.from_arrow(server.query(BY_STAGE).table)
    assert pl.read_database(BY_STAGE, con).equals(plain)
    with flight_sql.without_transactions():
        uri = f"flightsql://{server.target}?transport=tcp"
        assert pl.read_database_uri(BY_STAGE, uri, engine="adbc").equals(plain)
    sql = "select count(*) from quotas where stage = ?"
    counted = pl.read_database(sql, con, execute_options={"parameters": ["mining"]}).item()
    assert counted == dict(zip(plain["stage"], plain["n"], strict=True))["mining"]


def test_polars_writes(writable: Server) -> None:
    with flight_sql.connect(writable) as con:
        assert pl.DataFrame({"a": [1, 2]}).write_database("polar", con, engine="adbc") == 2
        pl.DataFrame({"a": [9]}).write_database("polar", con, engine="adbc", if_table_exists="replace")
    assert writable.query("select a from polar").rows == [(9,)]


@pytest.fixture(scope="module")
def engine(server: Server) -> Iterator[sa.Engine]:
    """The dialect's tls is on by default; without autocommit ADBC warns of missing transactions."""
    url = f"adbc+flightsql://{server.target}?tls=false"
    engine = sa.create_engine(url, connect_args={"autocommit": True})
    yield engine
    engine.dispose()


def test_sqlalchemy_queries(server: Server, engine: sa.Engine) -> None:
    plain = server.query(BY_STAGE)
    with engine.connect() as connection:
        assert [tuple(row) for row in connection.execute(sa.text(BY_STAGE))] == plain.rows
        sql = sa.text("select count(*) from quotas where stage = :stage and value > :least")
        counted = connection.execute(sql, {"stage": "mining", "least": 100}).scalar()
        assert [(counted,)] == server.query("select count(*) from quotas where stage = 'mining' and value > 100").rows
        pd.testing.assert_frame_equal(pd.read_sql(sa.text(BY_STAGE), connection), plain.table.to_pandas())
        with pytest.raises(sa.exc.ProgrammingError, match="there is no table nothing"):
            connection.execute(sa.text("select * from nothing"))
    with flight_sql.without_transactions():
        plainest = sa.create_engine(engine.url)
        with plainest.connect() as connection:
            assert connection.execute(sa.text("select 1")).scalar() == 1
        plainest.dispose()


def test_sqlalchemy_builds_statements_over_a_reflected_table(server: Server, engine: sa.Engine) -> None:
    quotas = sa.Table("quotas", sa.MetaData(), autoload_with=engine)
    statement = (
        sa.select(quotas.c.stage, sa.func.sum(quotas.c.value))
        .where(quotas.c.period_start >= sa.bindparam("since", type_=sa.Date))
        .group_by(quotas.c.stage)
        .order_by(quotas.c.stage)
        .limit(2)
    )
    plain = "select stage, sum(value) from quotas where period_start >= date '2020-01-01' group by 1 order by 1 limit 2"
    with engine.connect() as connection:
        rows = connection.execute(statement, {"since": pd.Timestamp("2020-01-01").date()}).all()
    assert [tuple(row) for row in rows] == server.query(plain).rows


def test_sqlalchemy_inspects_what_adbc_tells_it(server: Server, engine: sa.Engine) -> None:
    """Columns, schemas and has_table work. Of sqlalchemy-adbc 0.3 and ADBC's driver these do not:

    - get_table_names and get_view_names are empty: they look for the types `table` and `view`, in lower case;
    - get_pk_constraint is empty, and every column nullable: ADBC's driver asks for neither.
    """
    inspector = sa.inspect(engine)
    columns = inspector.get_columns("quotas")
    names = server.query("select column_name from system.columns where table_name = 'quotas' order by position").rows
    assert [(column["name"],) for column in columns] == names
    types = {column["name"]: type(column["type"]) for column in columns}
    assert (types["stage"], types["period_start"], types["batch_from"]) == (sa.String, sa.Date, sa.BigInteger)
    assert issubclass(types["value"], sa.Float)
    assert issubclass(types["cumulative"], sa.Boolean)
    assert inspector.get_schema_names() == ["main", "system"]
    assert inspector.has_table("quotas")
    assert not inspector.has_table("nothing")
    assert (inspector.get_table_names(), inspector.get_view_names()) == ([], [])
    assert inspector.get_pk_constraint("quotas")["constrained_columns"] == []


NOTEBOOK = f"""
import json, sys
from IPython.core.interactiveshell import InteractiveShell
from adbc_driver_flightsql import dbapi

shell = InteractiveShell.instance()
shell.run_line_magic("load_ext", "sql")
with dbapi.connect(sys.argv[1], autocommit=True) as con:
    shell.user_ns["con"] = con
    shell.run_line_magic("sql", "con --alias didymium")
    by_line = shell.run_line_magic("sql", "select count(*) as n from quotas")
    by_cell = shell.run_cell_magic("sql", "", {BY_STAGE!r})
    frame = by_cell.DataFrame()
    try:
        shell.run_line_magic("sql", "select * from nothing")
    except Exception as error:
        message = str(error)
print("told:", json.dumps([list(by_line), list(by_cell), frame.to_dict("list"), message]))
"""


def test_jupysql_runs_magics(server: Server, tmp_path: Path) -> None:
    """In a process of its own, since a shell leaves hooks behind; without telemetry, in a home of its own."""
    quiet = {"PLOOMBER_STATS_ENABLED": "false", "PLOOMBER_VERSION_CHECK_DISABLED": "true", "HOME": str(tmp_path)}
    command = [sys.executable, "-c", NOTEBOOK, server.url]
    ran = subprocess.run(
        command, env=os.environ | quiet, capture_output=True, text=True, timeout=harness.PATIENCE_S, check=False
    )
    assert ran.returncode == 0, ran.stderr
    by_line, by_cell, frame, message = json.loads(told_by(ran.stdout))
    plain = server.query(BY_STAGE)
    assert by_line == [[sum(row[1] for row in plain.rows)]]
    assert [tuple(row) for row in by_cell] == plain.rows
    assert frame == plain.table.to_pydict()
    assert "there is no table nothing" in message


def told_by(stdout: str) -> str:
    """What the notebook told among what jupysql prints."""
    (line,) = [line for line in stdout.splitlines() if line.startswith("told:")]
    return line.removeprefix("told:")
