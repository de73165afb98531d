"""A store in a bucket: the rows of one in a folder, and nothing lost between writers, kills and lost answers.

moto plays the bucket, which shows that the requests are right and what the store makes of the answers. It does not show
a real bucket's latency, throttling (503 Slow Down), rights and signatures (it takes any), time-outs in the middle of an
object, the least and greatest size of a part of an upload, versioned or locked buckets, or where other makers of
S3-compatible stores differ. A lost answer and a store that overwrites are played by a proxy in front of it.
"""

from __future__ import annotations

import itertools
import re
import socket
import subprocess
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from grpc import StatusCode

import harness
import output
from bucket import Moto, Proxy
from harness import Server
from output import done
from test_interchange import counted, everything

ALL = "select mine, period_start, value, published_on, status from all_vintages('output')"


def files_of(moto: Moto, store: str, folder: str = "") -> list[str]:
    """What lies under a store, by its keys."""
    name, prefix = store.removeprefix("s3://").split("/", 1)
    return moto.keys(name, f"{prefix}/{folder}")


def versions_of(moto: Moto, store: str) -> list[int]:
    """The versions of `output`, by the entries of its log."""
    entries = [re.search(r"/(\d{20})\.json$", key) for key in files_of(moto, store, "output/_delta_log/")]
    return sorted(int(entry[1]) for entry in entries if entry)


def data_files(moto: Moto, store: str) -> set[str]:
    """The data files of `output`, whether a commit names them or not."""
    return {key for key in files_of(moto, store, "output/") if key.endswith(".parquet") and "_delta_log" not in key}


def figures(mine: str, months: int = 12) -> list[output.Figure]:
    """A year of one mine's output."""
    return [(mine, f"2024-{month:02}", 100.5 + month) for month in range(1, months + 1)]


def rows(store: str | Path, sql: str = ALL) -> list[str]:
    """A query's rows as lines of CSV, in an order of their own."""
    return sorted(done("sql", "--store", store, "--format", "csv", "-c", sql).splitlines()[1:])


def test_a_bucket_gives_the_rows_of_a_folder(server: Server, bucket: str, serve: Callable[..., Server]) -> None:
    in_bucket = serve(harness.init(f"s3://{bucket}"))
    for name in harness.BUILT_IN_TABLES:
        here, there = (it.query(everything(name)) for it in (server, in_bucket))
        assert (here.table.num_rows > 0) == (name != "exchange_rates"), "rates are the user's to load"
        assert counted(there.table) == counted(here.table), name
        assert there.table.schema == here.table.schema
    for sql in [
        "select row_id, value from quotas",
        "select series, period_end, yoy(value, period_start, period_end) over"
        " (partition by series order by period_start, period_end) from exports",
        "select * from quota_execution(2012)",
        "select * from revisions('reserves')",
    ]:
        assert counted(in_bucket.query(sql).table) == counted(server.query(sql).table), sql


def test_a_store_in_a_bucket_lives_as_one_in_a_folder(moto: Moto, place: str, own_store: Path, tmp_path: Path) -> None:
    for month in range(1, 5):
        file = output.write(tmp_path / f"{month}.csv", [("a", f"2024-{month:02}", month), ("b", f"2024-{month:02}", 5)])
        for store in (place, own_store):
            done(*output.load(store, file, "--load-id", f"load {month}"))
    revised = output.write(tmp_path / "revised.csv", [("a", "2024-01", 7.5), ("b", "2024-01", 5)])
    for store in (place, own_store):
        assert "1 rows, version 5, 1 unchanged" in done(*output.load(store, revised, published_on="2026-03-01"))
        assert "5 files merged into 1, version 6" in done("store", "compact", "output", "--store", store)
        assert re.search(r"\d+ files, .*: 0 damaged", done("store", "verify", "--store", store))
    assert rows(place) == rows(own_store)
    assert len(rows(place)) == 9
    then = "select mine, value from as_of('output', date '2026-02-28') where period_start = date '2024-01-01'"
    assert rows(place, then) == ["a,1.0", "b,5.0"]

    name = place.removeprefix("s3://")
    moto.put(f"{name}/output/part-left-behind.parquet", b"by a load that was killed")
    assert "0 files deleted" in done("store", "clean", "--store", place), "it may still be about to be committed"
    assert "1 files deleted" in done("store", "clean", "--store", place, "--grace", "0s")
    assert len(rows(place)) == 9

    before = data_files(moto, place)
    told = done("store", "purge", "output", "--load", "load 2", "--reason", "a court said so", "--store", place)
    assert "2 rows taken out, 2 files deleted, version 7; versions 2 to 6 can't be read any more" in told
    assert len(before - data_files(moto, place)) == 2, "the load's own file, and the one that it was merged into"
    assert len(rows(place)) == 7
    assert rows(place, "select count(*) from output where period_start = date '2024-02-01'") == ["0"]

    done("table", "drop", "output", "--yes", "--store", place)
    assert files_of(moto, place, "output/") == []
    assert "output" not in done("tables", "--store", place, "--format", "csv")


def test_a_server_answers_while_others_load(place: str, tmp_path: Path, serve: Callable[..., Server]) -> None:
    server = serve(place)
    loads, seen = 6, [0]
    files = [output.write(tmp_path / f"{number}.csv", figures(f"mine {number}")) for number in range(loads)]
    with ThreadPoolExecutor(1) as pool:
        loading = pool.submit(lambda: [done(*output.load(place, file)) for file in files])
        while not loading.done():
            seen.append(server.query("select count(*) from output").rows[0][0])
        loading.result()
    assert seen == sorted(seen)
    assert set(seen) <= {12 * number for number in range(loads + 1)}, "a part of a load was seen"
    answer = server.query("select mine, count(*), sum(value) from output group by mine order by mine")
    assert answer.rows == [(f"mine {number}", 12, 1284.0) for number in range(loads)]
    assert answer.summary.table_versions["output"] == loads


def test_eight_loads_at_once_all_land_once(moto: Moto, place: str, tmp_path: Path) -> None:
    files = [output.write(tmp_path / f"{number}.csv", figures(f"mine {number}")) for number in range(8)]
    with ThreadPoolExecutor(8) as pool:
        told = list(pool.map(lambda file: done(*output.load(place, file)), files))
    versions = [int(re.search(r"output: 12 rows, version (\d+)", line)[1]) for line in told]
    assert sorted(versions) == [1, 2, 3, 4, 5, 6, 7, 8]
    assert versions_of(moto, place) == [0, 1, 2, 3, 4, 5, 6, 7, 8]
    assert rows(place, "select mine, count(*) from all_vintages('output') group by mine order by mine") == [
        f"mine {number},12" for number in range(8)
    ]
    assert len(data_files(moto, place)) == 8, "a lost race leaves no file behind"


def test_the_same_load_again_changes_nothing(moto: Moto, place: str, tmp_path: Path) -> None:
    load = output.load(place, output.write(tmp_path / "a.csv", figures("a")))
    done(*load)
    before = files_of(moto, place)
    assert "loaded before, as version 1; nothing changed" in done(*load)
    with ThreadPoolExecutor(4) as pool:
        assert all("nothing changed" in told for told in pool.map(lambda _: done(*load), range(4)))
    assert files_of(moto, place) == before


def test_the_same_load_at_once_lands_once(moto: Moto, place: str, tmp_path: Path) -> None:
    load = output.load(place, output.write(tmp_path / "a.csv", figures("a")))
    with ThreadPoolExecutor(4) as pool:
        told = list(pool.map(lambda _: done(*load), range(4)))
    assert sum("12 rows, version 1 " in line for line in told) == 1, told
    assert sum("loaded before, as version 1" in line for line in told) == 3, told
    assert versions_of(moto, place) == [0, 1]


def test_a_backup_in_a_folder_is_restored_to_another_prefix(
    moto: Moto, place: str, tmp_path: Path, serve: Callable[..., Server]
) -> None:
    for month, value in [("2024-01", 1), ("2024-02", 2)]:
        done(*output.load(place, output.write(tmp_path / f"{month}.csv", [("a", month, value)])))
    done("store", "compact", "output", "--store", place)
    copy = f"{place.rsplit('/', 1)[0]}/copy"
    done("store", "backup", tmp_path / "backup", "--store", place)
    told = done("store", "restore", tmp_path / "backup", "--store", copy)
    assert f"{len(harness.BUILT_IN_TABLES) + 1} tables" in told
    first, second = serve(place), serve(copy)
    for name in [*harness.BUILT_IN_TABLES, "output"]:
        here, there = (server.query(everything(name)) for server in (first, second))
        assert counted(there.table) == counted(here.table)
        assert there.summary.table_versions == here.summary.table_versions
    assert versions_of(moto, copy) == [0, 1, 2, 3]
    assert "0 damaged" in done("store", "verify", "--store", copy)
    done(*output.load(copy, output.write(tmp_path / "more.csv", [("a", "2024-03", 3)])))
    assert len(rows(copy)) == len(rows(place)) + 1

    done("store", "backup", f"{copy}-2", "--store", copy)
    done("store", "restore", f"{copy}-2", "--store", tmp_path / "folder")
    assert rows(tmp_path / "folder") == rows(copy)


def test_a_store_that_overwrites_is_refused(place: str, proxy: Proxy, tmp_path: Path) -> None:
    proxy.before = lambda request: [
        request.headers.pop(name) for name in list(request.headers) if "match" in name.lower()
    ]
    load = output.load(place, output.write(tmp_path / "a.csv", figures("a")))
    for command in [("init", "--store", f"{place}-2"), ("serve", "--store", place, "--listen", "127.0.0.1:0"), load]:
        ran = harness.run(*command)
        assert ran.returncode == 1, command
        assert ran.stdout == ""
        assert "does not refuse to overwrite (If-None-Match)" in ran.stderr
    proxy.before = lambda request: None
    assert rows(place) == []


def test_an_endpoint_that_does_not_answer_is_an_error_in_time(place: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The harness bounds the time: a command that hangs fails."""
    with socket.create_server(("127.0.0.1", 0)) as silent:  # it takes connections and says nothing
        gone = socket.create_server(("127.0.0.1", 0))
        ports = [silent.getsockname()[1], gone.getsockname()[1]]
        gone.close()
        commands = [("sql", "--store", place, "-c", "select 1"), ("serve", "--store", place)]
        for port, command in zip(ports, commands, strict=True):
            monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{port}")
            ran = harness.run(*command)
            assert ran.returncode == 1, ran.stdout
            assert place in ran.stderr


def test_a_bucket_that_goes_away_is_unavailable_until_it_is_back(
    place: str, proxy: Proxy, tmp_path: Path, serve: Callable[..., Server]
) -> None:
    done(*output.load(place, output.write(tmp_path / "a.csv", figures("a"))))
    server = serve(place)
    proxy.after = lambda request: False
    failure = harness.failure(server.stub, "select count(*) from output")
    assert failure.code == StatusCode.UNAVAILABLE, failure.message
    assert server.query("select 1").rows == [(1,)]
    proxy.after = lambda request: True
    assert server.query("select count(*) from output").rows == [(12,)]


def killed_after(proxy: Proxy, number: int, command: tuple[object, ...]) -> int:
    """The exit code of a command that is killed once the request of that number is done, before it reads the answer."""
    process = subprocess.Popen([str(harness.binary()), *map(str, command)], stderr=subprocess.DEVNULL)
    passed = itertools.count()
    proxy.after = lambda request: next(passed) != number or process.kill()
    code = process.wait(timeout=harness.PATIENCE_S)
    proxy.after = lambda request: True
    return code


def test_a_load_killed_after_any_of_its_requests_is_before_or_after(
    moto: Moto, bucket: str, place: str, proxy: Proxy, tmp_path: Path
) -> None:
    load = output.load(place, output.write(tmp_path / "a.csv", figures("a")))
    count = "select count(*) from all_vintages('output')"
    landed = []
    for number in itertools.count():
        code = killed_after(proxy, number, load)
        versions = versions_of(moto, place)
        assert versions in ([0], [0, 1])
        landed.append(versions == [0, 1])
        assert rows(place, count) == (["12"] if landed[-1] else ["0"])
        if code == 0:  # it had done all that it does
            break
        assert code == -9
        told = done(*load)  # whoever does not know whether it landed loads it again
        assert ("nothing changed" if landed[-1] else "12 rows, version 1 ") in told
        moto.delete(f"{bucket}/some/prefix/output/_delta_log/{1:020}.json")  # the next one finds the same table
    assert landed == sorted(landed), "once its commit is written it has landed"
    assert landed.count(False) > 5
    assert landed.count(True) > 1, "no load was killed between its commit and its end"

    assert len(data_files(moto, place)) > 5
    done("store", "clean", "--store", place, "--grace", "0s")
    assert len(data_files(moto, place)) == 1
    assert "0 damaged" in done("store", "verify", "--store", place)
    assert rows(place, count) == ["12"]


def test_what_a_killed_command_tried_the_store_with_is_cleaned(
    moto: Moto, place: str, proxy: Proxy, tmp_path: Path
) -> None:
    own = files_of(moto, place, "_didymium/")
    load = output.load(place, output.write(tmp_path / "a.csv", figures("a")))
    assert killed_after(proxy, 0, load) == -9
    assert len(files_of(moto, place, "_didymium/")) == len(own) + 1
    done("store", "clean", "--store", place, "--grace", "0s")
    assert files_of(moto, place, "_didymium/") == own


def test_a_commit_whose_answer_is_lost_has_landed_once(moto: Moto, place: str, proxy: Proxy, tmp_path: Path) -> None:
    lost = itertools.count()
    # The first commit's answer only: the next attempt meets its own entry, and must know it.
    proxy.after = lambda request: not request.is_commit or next(lost) > 0
    load = output.load(place, output.write(tmp_path / "a.csv", figures("a")))
    assert "12 rows, version 1 " in done(*load)
    assert next(lost) > 0, "no answer was lost"
    assert versions_of(moto, place) == [0, 1]
    assert "nothing changed" in done(*load)
    assert len(rows(place)) == 12
