"""Loads through the real command line: any text, foreign files by mapping, revisions, corrections, upkeep."""

import json
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.feather as feather
import pyarrow.parquet as pq
import pytest

import harness

ROOT = Path(__file__).resolve().parents[2]
BULK = ROOT.parent / "shared" / "data" / "bulk"


@pytest.fixture
def store(tmp_path: Path) -> Path:
    """A store with an empty series table `output` beside the built-in ones."""
    store = harness.init(tmp_path / "store")
    done("table", "create", ROOT / "tests" / "output.toml", "--store", store)
    return store


def done(*arguments: object) -> str:
    """What a command that must succeed told."""
    ran = harness.run(*arguments)
    assert ran.returncode == 0, ran.stderr
    return ran.stderr + ran.stdout


def refused(*arguments: object) -> str:
    """What a command that must fail told."""
    ran = harness.run(*arguments)
    assert ran.returncode == 1, ran.stdout + ran.stderr
    return ran.stderr


def load(store: Path, text: str | bytes, *options: str, table: str = "output", name: str = "a.csv") -> tuple[object, ...]:
    """The command that loads a file of this content."""
    file = store.parent / name
    file.write_bytes(text if isinstance(text, bytes) else text.encode())
    return ("load", table, file, "--store", store, *options)


def rows(store: Path, sql: str) -> list[list[object]]:
    """A query's rows."""
    ran = harness.run("sql", "--store", store, "--format", "json", "-c", sql)
    assert ran.returncode == 0, ran.stderr
    return [list(row.values()) for row in json.loads(ran.stdout)]


VINTAGE = ("--source", "S", "--published-on", "2026-01-01")


def test_figures_are_read_as_they_are_printed(store: Path) -> None:
    printed = "mine;period;value\na;2024-01;5,489.2\nb;2024-01;13万吨\nc;2024-Q1;2.5 kt\nd;2024-01/2024-02;7\n"
    done(*load(store, printed, *VINTAGE))
    sql = "select mine, value, printed_value, printed_unit, frequency, cast(period_end as text) from output order by mine"
    assert rows(store, sql) == [
        ["a", 5489.2, "5,489.2", None, "M", "2024-01-31"],
        ["b", 130_000.0, "13万吨", "万吨", "M", "2024-01-31"],
        ["c", 2_500.0, "2.5 kt", "kt", "Q", "2024-03-31"],
        ["d", 7.0, None, None, "X", "2024-02-29"],
    ]


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "gb18030", "utf-16"])
def test_every_encoding_gives_the_same_rows(store: Path, encoding: str) -> None:
    text = "产品,日期,产量\n氧化镨钕,2024-01-01,5489.2\n氧化镝,2024-01-01,2400\n稀土矿产品总量控制指标,2024-02-01,1\n"
    done(*load(store, text.encode(encoding), "--create", table="mine"))
    assert rows(store, "select 产品, 产量 from mine order by 产量 desc")[0] == ["氧化镨钕", 5489.2]


def test_an_encoding_that_would_be_guessed_is_asked_for(store: Path) -> None:
    latin = "land,tonnes\nCôte d'Ivoire,3\nBrésil,5\nRépublique démocratique,7\n".encode("cp1252")
    assert "--encoding" in refused(*load(store, latin, "--create", table="lands"))
    done(*load(store, latin, "--create", "--encoding", "windows-1252", table="lands"))
    assert rows(store, "select land from lands where tonnes = 3") == [["Côte d'Ivoire"]]


def test_every_form_gives_the_same_rows(store: Path) -> None:
    frame = pd.DataFrame({"k": ["a", "b"], "day": pd.to_datetime(["2024-01-01", "2024-02-01"]).date, "v": [1.5, None]})
    table = pa.Table.from_pandas(frame, preserve_index=False)
    folder = store.parent
    frame.to_csv(folder / "f.csv", index=False)
    records = [{"k": "a", "day": "2024-01-01", "v": 1.5}, {"k": "b", "day": "2024-02-01", "v": None}]
    (folder / "f.ndjson").write_text("\n".join(map(json.dumps, records)))
    pq.write_table(table, folder / "f.parquet")
    feather.write_feather(table, folder / "f.arrow", compression="uncompressed")
    with pa.OSFile(str(folder / "f.arrows"), "wb") as sink, pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)
    for form in ["csv", "ndjson", "parquet", "arrow", "arrows"]:
        done("load", f"from_{form}", folder / f"f.{form}", "--store", store, "--create")
        read = rows(store, f"select k, cast(day as text), v from from_{form} order by k")
        assert read == [["a", "2024-01-01", 1.5], ["b", "2024-02-01", None]], form


FAULTY = """mine,period,value,unit,status,published_on,source_id,statement
a,2024-01,many,t,final,2026-01-01,S,1
a,2024-13,1,t,final,2026-01-01,S,1
,2024-03,1,t,final,2026-01-01,S,1
a,2024-04,-1,t,final,2026-01-01,S,1
a,2024-05,1,USD/t,final,2026-01-01,S,1
a,2024-06,1,t,certain,2026-01-01,S,1
a,2024-07,1,t,final,2099-01-01,S,1
a,2024-08,1,t,final,2026-01-01,S,0
a,2024-09,1,t,final,2026-01-01,S
a,2024-10,1,t,final,01.01.2026,S,1
"""


def test_ten_faults_are_told_at_once_and_a_dry_run_tells_the_same(store: Path) -> None:
    before = sorted(store.rglob("*"))
    told = refused(*load(store, FAULTY))
    assert told.startswith("error: 10 faults, nothing was loaded"), told
    places = ["2, column value", "3, column period", "4, column mine", "5, column value", "6, column unit"]
    places += ["7, column status", "8, column published_on", "9, column statement", "10:", "11, column published_on"]
    for place in places:
        assert f"a.csv row {place}" in told, f"{place} in {told}"
    assert refused(*load(store, FAULTY, "--dry-run")) == told
    assert "would be added" in done(*load(store, "mine,period,value\na,2024-01,1\n", *VINTAGE, "--dry-run"))
    assert sorted(store.rglob("*")) == before


def test_a_revision_is_a_vintage_and_the_same_again_is_none(store: Path) -> None:
    month = "mine,period,value\na,2024-01,{}\n"
    done(*load(store, month.format(1), "--source", "S", "--published-on", "2026-01-01"))
    again = done(*load(store, month.format(1), "--source", "S", "--published-on", "2026-02-01"))
    assert "0 rows" in again and "1 unchanged" in again
    done(*load(store, month.format(2), "--source", "S", "--published-on", "2026-03-01"))
    sql = "select value, cast(published_on as text) as day from all_vintages('output') order by published_on"
    assert rows(store, sql) == [[1.0, "2026-01-01"], [2.0, "2026-03-01"]]
    assert rows(store, "select value from as_of('output', date '2026-02-15')") == [[1.0]]


def test_a_correction_says_why_and_keeps_what_it_corrects(store: Path) -> None:
    month = "mine,period,value\na,2024-01,{}\n"
    done(*load(store, month.format(1), *VINTAGE))
    assert "--supersede" in refused(*load(store, month.format(2), *VINTAGE))
    for value in [2, 3]:
        assert "1 superseded" in done(*load(store, month.format(value), *VINTAGE, "--supersede", f"mistake {value}"))
    sql = "select value, status, statement, note from all_vintages('output') order by value"
    assert rows(store, sql) == [
        [1.0, "superseded", 2, "superseded: mistake 2"],
        [2.0, "superseded", 3, "superseded: mistake 3"],
        [3.0, "final", 1, None],
    ]
    assert rows(store, "select value from output") == [[3.0]]


def test_a_load_id_stands_for_one_load(store: Path) -> None:
    first = load(store, "mine,period,value\na,2024-01,1\n", *VINTAGE, "--load-id", "january")
    done(*first)
    assert "nothing changed" in done(*first)
    other = load(store, "mine,period,value\na,2024-02,1\n", *VINTAGE, "--load-id", "january")
    assert "january" in refused(*other)


def test_a_total_must_be_the_sum_of_its_parts(store: Path) -> None:
    quotas = pd.read_csv(ROOT / "data" / "quotas.csv", dtype=str, keep_default_na=False)
    one = quotas[(quotas.mineral_class == "all") & (quotas.value != "")].iloc[[0]]
    made = pd.concat([one, one, one])
    made["mineral_class"], made["row_id"] = ["all", "rock", "ionic"], ["T1", "T2", "T3"]
    made["holder"], made["status"], made["printed_value"] = "made up", "final", ["100", "80", "30"]
    made["value"], made["printed_unit"] = ["100", "80", "30"], "t"
    told = refused(*load(store, made.to_csv(index=False), table="quotas"))
    assert "must be the sum of rock and ionic, which is 110" in told
    made["value"], made["printed_value"] = ["100", "80", "20"], ["100", "80", "20"]
    done(*load(store, made.to_csv(index=False), table="quotas"))


def test_compaction_backup_and_purge_keep_what_they_should(store: Path, tmp_path: Path) -> None:
    for month in range(1, 13):
        source = "S" if month % 2 else "T"
        text = f"mine,period,value\na,2024-{month:02},{month}\nb,2024-{month:02},{month * 10}\n"
        done(*load(store, text, "--source", source, "--published-on", "2026-01-01"))
    ask = "select mine, sum(value), count(*) from output group by mine order by mine"
    before = rows(store, ask)
    assert before == [["a", 78.0, 12], ["b", 780.0, 12]]
    assert "12 files merged into 1" in done("store", "compact", "output", "--store", store)
    assert rows(store, ask) == before
    assert "0 damaged" in done("store", "verify", "--store", store)
    done("store", "backup", tmp_path / "backup", "--store", store)
    done("store", "restore", tmp_path / "backup", "--store", tmp_path / "restored")
    assert rows(tmp_path / "restored", ask) == before

    done("store", "purge", "output", "--source", "T", "--reason", "a court said so", "--store", store)
    assert rows(store, ask) == [["a", 36.0, 6], ["b", 360.0, 6]]
    left = b"".join(file.read_bytes() for file in (store / "output").glob("*.parquet"))
    assert b"S" in left and len(list((store / "output").glob("*.parquet"))) == 7

    damaged = next((tmp_path / "backup" / "output").glob("*.parquet"))
    content = bytearray(damaged.read_bytes())
    content[len(content) // 2] ^= 1
    damaged.write_bytes(content)
    assert "damaged" in refused("store", "restore", tmp_path / "backup", "--store", tmp_path / "again")
    done("table", "drop", "output", "--yes", "--store", store)
    assert harness.run("sql", "--store", store, "-c", ask).returncode == 1


@pytest.mark.skipif(not BULK.is_dir(), reason="the gathered files are not shipped")
def test_the_gathered_files_load_by_their_mappings_alone(store: Path) -> None:
    prices, trade = BULK / "prices_daily_thirdparty.csv", BULK / "trade_bulk.csv"
    mapping = ROOT / "data" / "mappings"
    done("load", "prices", prices, "--map", mapping / "prices_daily.toml", "--published-on", "2024-10-11", "--store", store)
    done("load", "exports", trade, "--map", mapping / "trade_bulk.toml", "--published-on", "2026-07-10", "--store", store)
    raw = pd.read_csv(prices)
    read = rows(store, "select count(*), sum(value) from all_vintages('prices') where source_id = 'PR-DAILY'")
    assert read[0][0] == len(raw)
    assert read[0][1] == pytest.approx((raw.average * raw.factor_to_cny_per_t).sum(), rel=1e-12)

    raw = pd.read_csv(trade)
    sql = "select count(*) n, sum(value) s from all_vintages('exports') where row_id like 'TB/%' and measure = '{}'"
    [[masses, tonnes]] = rows(store, sql.format("quantity"))
    [[values, dollars]] = rows(store, sql.format("value"))
    assert (masses, values) == (raw.mass_kg.notna().sum(), raw.value_usd.notna().sum())
    assert tonnes == pytest.approx(raw.mass_kg.sum() / 1000, rel=1e-12), "kilograms became tonnes"
    assert dollars == pytest.approx(raw.value_usd.sum(), rel=1e-12)
