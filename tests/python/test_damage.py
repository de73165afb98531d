"""Damage on the disk: never a wrong number, never the loss of more than the table, and the file is named."""

from __future__ import annotations

import random
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import grpc
import pytest
from deltalake import DeltaTable
from grpc import StatusCode

import harness
import output
from harness import Server

FILES = 50
MINES = 5
SEED = 20260101

WHOLE = "select mine, count(*), sum(value) from output group by mine order by mine"

#: Statements that the log's own statistics may answer, or some of the files: these may be right.
PARTS = [
    "select count(*) from all_vintages('output')",
    "select min(period_start), max(period_end) from output",
    "select sum(value) from output where period_start in (DATE '2022-01-01', DATE '2024-02-01')",
    "select value from latest('output') where mine = 'mine 0'",
]


@pytest.fixture(scope="module")
def loaded(store: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store whose table `output` has a file for each of its loads. Whoever damages one mends it."""
    place = tmp_path_factory.mktemp("damage")
    own = output.create(Path(shutil.copytree(store, place / "store")))
    for month in range(FILES):
        period = f"{2020 + month // 12}-{month % 12 + 1:02}"
        # Eighths: no sum depends on its order.
        figures = [(f"mine {mine}", period, month + mine / 8) for mine in range(MINES)]
        output.done(*output.load(own, output.write(place / f"{period}.csv", figures)))
    assert len(data_files(own)) == FILES
    return own


def data_files(store: Path) -> list[Path]:
    """The files that the table's newest version names."""
    return [store / "output" / Path(uri).name for uri in DeltaTable(store / "output").file_uris()]


@contextmanager
def damaged(file: Path, content: bytes | None) -> Iterator[None]:
    """The file with another content, or gone, for a while."""
    whole = file.read_bytes()
    assert content != whole
    if content is None:
        file.unlink()
    else:
        file.write_bytes(content)
    try:
        yield
    finally:
        file.write_bytes(whole)


def flipped(content: bytes, bit: int) -> bytes:
    """The content with one bit that is another."""
    return b"".join([content[: bit // 8], bytes([content[bit // 8] ^ 1 << bit % 8]), content[bit // 8 + 1 :]])


def assert_lost(server: Server, sql: str = WHOLE) -> None:
    """A statement says that the table is damaged, and nothing of where it lies."""
    failure = harness.failure(server.stub, sql)
    assert failure.code == StatusCode.DATA_LOSS, failure.message
    assert failure.info.reason == "CORRUPT"
    assert "table output" in failure.message
    assert str(server.store.parent) not in failure.message


def assert_right_or_lost(server: Server, right: dict[str, list[tuple]]) -> None:
    """Statements are answered as ever, or not at all."""
    for sql, rows in right.items():
        try:
            assert server.query(sql).rows == rows, sql
        except grpc.RpcError:
            assert_lost(server, sql)


def assert_others_are_served(server: Server) -> None:
    """The loss of one table is no other's."""
    assert server.query("select count(*) from quotas join sources using (source_id)").rows[0][0] > 0
    server.assert_lives()


def found(store: Path) -> list[str]:
    """What `store verify` lists."""
    verified = harness.run("store", "verify", "--store", store)
    assert verified.returncode == (1 if verified.stdout else 0), verified.stderr
    return verified.stdout.splitlines()


@pytest.fixture
def right(loaded: Path, serve: Callable[..., Server]) -> dict[str, list[tuple]]:
    """What the statements give while nothing is damaged."""
    server = serve(loaded)
    return {sql: server.query(sql).rows for sql in [WHOLE, *PARTS]}


def test_a_flipped_bit_is_never_a_wrong_number(
    loaded: Path, serve: Callable[..., Server], right: dict[str, list[tuple]]
) -> None:
    chance = random.Random(SEED)
    for file in data_files(loaded):
        content = file.read_bytes()
        bit = chance.randrange(len(content) * 8)
        server = serve(loaded)  # one that has not seen the file before
        with damaged(file, flipped(content, bit)):
            assert_lost(server)
            assert_right_or_lost(server, right)
            assert_others_are_served(server)
            assert found(loaded) == [f"output\t{file.name}\tdamaged or missing"], f"bit {bit}"
        assert server.query(WHOLE).rows == right[WHOLE]
        server.stop()
    assert found(loaded) == []


@pytest.mark.parametrize("left", [None, 0, 1000])
def test_a_data_file_that_is_gone_or_cut_is_a_loss(
    loaded: Path, serve: Callable[..., Server], right: dict[str, list[tuple]], left: int | None
) -> None:
    file, server = data_files(loaded)[7], serve(loaded)
    with damaged(file, None if left is None else file.read_bytes()[:left]):
        assert_lost(server)
        assert_right_or_lost(server, right)
        assert_others_are_served(server)
        assert found(loaded) == [f"output\t{file.name}\tdamaged or missing"]
    assert server.query(WHOLE).rows == right[WHOLE]


def test_a_damaged_file_is_not_made_part_of_a_new_one(loaded: Path) -> None:
    file, files = data_files(loaded)[7], output.files(loaded)
    version = DeltaTable(loaded / "output").version()
    with damaged(file, flipped(file.read_bytes(), 1000)):
        for command in [("store", "compact", "output"), ("store", "backup", loaded.parent / "backup")]:
            ran = harness.run(*command, "--store", loaded)
            assert ran.returncode == 1
            assert f"{file.name} is damaged" in ran.stderr
    assert DeltaTable(loaded / "output").version() == version
    assert output.files(loaded) == files


#: What may have become of an entry of the log.
DAMAGES: dict[str, Callable[[bytes], bytes]] = {
    "empty": lambda entry: b"",
    "cut in a line": lambda entry: entry[: len(entry) // 2],
    "cut between lines": lambda entry: entry[: entry.index(b"\n") + 1],
    "all zeros": lambda entry: bytes(len(entry)),
    "zeros at the end": lambda entry: entry[:-100] + bytes(100),
    "noise": lambda entry: random.Random(SEED).randbytes(len(entry)),
    "one brace less": lambda entry: entry.replace(b"}", b"", 1),
    "no UTF-8": lambda entry: entry.replace(b"part-", b"\xff\xfeart-", 1),
    "another file's name": lambda entry: entry.replace(b"part-", b"pars-", 1),
    "another bound": lambda entry: entry.replace(b'period_start\\":\\"2', b'period_start\\":\\"3', 1),
}


@pytest.mark.parametrize("damage", DAMAGES)
@pytest.mark.parametrize("version", [FILES // 2, FILES], ids=["in the middle", "at the end"])
def test_a_damaged_entry_of_the_log_is_never_a_wrong_number(
    loaded: Path, serve: Callable[..., Server], right: dict[str, list[tuple]], damage: str, version: int
) -> None:
    entry, server = entry_of(loaded, version), serve(loaded)
    with damaged(entry, DAMAGES[damage](entry.read_bytes())):
        assert_right_or_lost(server, right)
        assert_others_are_served(server)
        assert [line.split("\t")[0] for line in found(loaded)] == ["output"]
    assert serve(loaded).query(WHOLE).rows == right[WHOLE]


def test_an_entry_of_the_log_that_is_gone_is_found(
    loaded: Path, serve: Callable[..., Server], right: dict[str, list[tuple]]
) -> None:
    """A checkpoint stands for it, so what is asked of the newest version is right; the history has a hole."""
    server = serve(loaded)
    with damaged(entry_of(loaded, FILES // 2), None):
        assert_right_or_lost(server, right)
        assert server.query(WHOLE).rows == right[WHOLE]
        assert_others_are_served(server)
        assert found(loaded) == ["output\tthe log\tdamaged or missing"]
    assert server.query(WHOLE).rows == right[WHOLE]


def entry_of(store: Path, version: int) -> Path:
    """The log's entry that made a version of the table."""
    return store / "output" / "_delta_log" / f"{version:020}.json"
