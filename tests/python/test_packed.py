"""Small files that unpack to large ones: they are refused before they take the memory."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import grpc
import numpy as np
import pyarrow as pa
import pyarrow.feather as feather
import pyarrow.parquet as pq
import pytest
from grpc import StatusCode

import harness
import output
from didymium.v1 import ingest_pb2, ingest_pb2_grpc
from harness import MIB, Server

GIB = 1024 * MIB

#: What the server takes at once, and what the process may grow by when it refuses a file: rows as they are decoded have
#: room for four times as much.
LOAD_MEMORY, MOST_GROWTH = "64MiB", 640 * MIB


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server that takes little at once."""
    folder = tmp_path_factory.mktemp("packed")
    store = output.create(harness.init(folder / "store"))
    server = Server(store, folder / "server.log", "--load-memory", LOAD_MEMORY)
    yield server
    server.stop()


def zeros() -> pa.Table:
    """A column of 1 GiB."""
    values = pa.Array.from_buffers(pa.int64(), GIB // 8, [None, pa.py_buffer(bytes(GIB))])
    return pa.table({"n": values})


def words() -> pa.Table:
    """4,000,000 times one word of 1,000 letters."""
    indices = pa.array(np.zeros(4_000_000, dtype=np.int32))
    return pa.table({"word": pa.DictionaryArray.from_arrays(indices, pa.array(["x" * 1000]))})


def zstd_feather(file: Path) -> None:
    feather.write_feather(zeros(), file, compression="zstd", chunksize=GIB)


def lz4_feather(file: Path) -> None:
    feather.write_feather(zeros(), file, compression="lz4", chunksize=GIB)


def lying_feather(file: Path) -> None:
    """Its buffer says that it holds 8 bytes."""
    lz4_feather(file)
    content, stated = file.read_bytes(), GIB.to_bytes(8, "little")
    assert content.count(stated) == 1
    file.write_bytes(content.replace(stated, (8).to_bytes(8, "little")))


def dictionary_feather(file: Path) -> None:
    feather.write_feather(words(), file, compression="zstd")


def nulls_feather(file: Path) -> None:
    """Rows that have no bytes at all."""
    feather.write_feather(pa.table({"n": pa.nulls(GIB)}), file, compression="uncompressed", chunksize=GIB)


def packed_parquet(file: Path) -> None:
    pq.write_table(zeros(), file, compression="zstd", use_dictionary=False)


def runs_parquet(file: Path) -> None:
    """A run of one number: its footer states some KiB."""
    pq.write_table(zeros(), file, compression="zstd")


def words_parquet(file: Path) -> None:
    pq.write_table(words(), file)


def plain_words_parquet(file: Path) -> None:
    pq.write_table(words(), file, store_schema=False)


FILES = [
    (zstd_feather, 200 * 1024),
    (lz4_feather, 8 * MIB),
    (lying_feather, 8 * MIB),
    (dictionary_feather, MIB),
    (nulls_feather, MIB),
    (packed_parquet, 2 * MIB),
    (runs_parquet, 2 * MIB),
    (words_parquet, 2 * MIB),
    (plain_words_parquet, 2 * MIB),
]


@pytest.mark.parametrize(("write", "size"), FILES, ids=[write.__name__ for write, _ in FILES])
def test_a_small_file_that_unpacks_to_a_large_one_is_refused(small: Server, tmp_path: Path, write, size: int) -> None:
    form = write.__name__.rpartition("_")[2]
    file = tmp_path / f"packed.{form}"
    write(file)
    assert file.stat().st_size <= size
    before = peak(small)
    for header in ({"table": "output"}, {"table": "made", "create": True}):
        with pytest.raises(grpc.RpcError) as refused:
            load(small, file, **header)
        error = refused.value
        assert error.code() == StatusCode.RESOURCE_EXHAUSTED, error.details()
        assert error.details().startswith(file.name) and "--load-memory" in error.details()
    assert peak(small) - before < MOST_GROWTH
    small.assert_lives()
    assert small.query("select count(*) from system.tables where table_name = 'made'").rows == [(0,)]


@pytest.mark.parametrize("compression", ["zstd", "lz4", "uncompressed"])
def test_a_compressed_file_loads_as_any_other(small: Server, tmp_path: Path, compression: str) -> None:
    months = [f"{year}-{month:02}" for year in range(2000, 2024) for month in range(1, 13)]
    mines = pa.array([f"{compression} mine"] * len(months)).dictionary_encode()
    rows = pa.table({"mine": mines, "period": months, "value": [float(number) for number in range(len(months))]})
    file = tmp_path / "packed.feather"
    feather.write_feather(rows, file, compression=compression, chunksize=100)
    assert load(small, file, table="output").rows == len(months)
    sql = f"select sum(value) from output where mine = '{compression} mine'"
    assert small.query(sql).rows == [(sum(range(len(months))),)]


def load(server: Server, file: Path, **fields: object) -> ingest_pb2.IngestResponse:
    """Loads a file through a server."""
    day = {"year": 2026, "month": 1, "day": 1}
    header = ingest_pb2.IngestHeader(source_id="S", published_on=day, **fields)
    content = file.read_bytes()
    chunks = [content[start : start + MIB] for start in range(0, len(content), MIB)]
    parts = [
        ingest_pb2.IngestRequest(header=header),
        ingest_pb2.IngestRequest(file=ingest_pb2.FileHeader(name=file.name)),
        *(ingest_pb2.IngestRequest(chunk=chunk) for chunk in chunks),
    ]
    stub = ingest_pb2_grpc.IngestServiceStub(server.channel)
    return stub.Ingest(iter(parts), timeout=harness.PATIENCE_S)


def peak(server: Server) -> int:
    """The most memory that a server has held so far, in bytes."""
    status = Path(f"/proc/{server.process.pid}/status").read_text()
    [line] = [line for line in status.splitlines() if line.startswith("VmHWM:")]
    return int(line.split()[1]) * 1024
