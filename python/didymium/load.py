"""Loads: files and tables of the caller's as one stream, and what the server made of them."""

from __future__ import annotations

import getpass
import os
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any, TypeAlias

import pyarrow as pa

from didymium.v1 import ingest_pb2, query_pb2

#: What can be loaded: the path of a file, or anything that holds an Arrow table, as pandas and polars frames do.
Loadable: TypeAlias = str | os.PathLike[str] | Any

# A message must stay below 4 MiB.
_CHUNK = 1024 * 1024


@dataclass(frozen=True)
class Fault:
    """One broken rule at one place of a file; row 0 is the file as a whole."""

    file: str
    row: int
    column: str
    rule: str
    value: str


@dataclass(frozen=True)
class Loaded:
    """What a load did; on a dry run, would do."""

    #: The version of the table that holds the rows.
    version: int
    load_id: str
    #: The rows that it added.
    rows: int
    #: The rows that the table held already.
    unchanged: int
    #: The table's rows that it corrected.
    superseded: int
    #: Whether an earlier load of this id had brought the rows, and this one changed nothing.
    repeated: bool
    #: The declaration, in TOML, of the table that was made; empty where there was one.
    declaration: str
    #: On a dry run, the faults for which a load would be refused, at most 50.
    faults: tuple[Fault, ...]
    #: How many faults there are in all.
    fault_count: int


def loaded(response: ingest_pb2.IngestResponse) -> Loaded:
    """The server's answer."""
    faults = (Fault(it.file, it.row, it.column, it.rule, it.value) for it in response.faults)
    return Loaded(
        response.version,
        response.load_id,
        response.rows,
        response.unchanged,
        response.superseded,
        response.repeated,
        response.declaration,
        tuple(faults),
        response.fault_count,
    )


def header(
    table: str, mapping: str | os.PathLike[str] | None, published_on: date | None, **fields: Any
) -> ingest_pb2.IngestHeader:
    """The first message of a load."""
    given = {name: value for name, value in fields.items() if value is not None}
    first = ingest_pb2.IngestHeader(table=table, author=getpass.getuser(), **given)
    if mapping is not None:
        first.mapping = Path(mapping).read_text()
    if published_on is not None:
        first.published_on.CopyFrom(
            query_pb2.Date(year=published_on.year, month=published_on.month, day=published_on.day)
        )
    return first


def _messages(
    first: ingest_pb2.IngestHeader, sources: tuple[Loadable, ...], encoding: str | None
) -> Iterator[ingest_pb2.IngestRequest]:
    """A file is read as it is sent."""
    yield ingest_pb2.IngestRequest(header=first)
    for number, source in enumerate(sources, start=1):
        if isinstance(source, str | os.PathLike):
            path = Path(source)
            yield ingest_pb2.IngestRequest(file=ingest_pb2.FileHeader(name=path.name, encoding=encoding or ""))
            with path.open("rb") as file:
                while chunk := file.read(_CHUNK):
                    yield ingest_pb2.IngestRequest(chunk=chunk)
        else:
            name = f"table {number}"
            yield ingest_pb2.IngestRequest(file=ingest_pb2.FileHeader(name=name, format=ingest_pb2.FORMAT_ARROW))
            content = _arrow_stream(source)
            for start in range(0, content.size, _CHUNK):
                length = min(_CHUNK, content.size - start)
                yield ingest_pb2.IngestRequest(chunk=content.slice(start, length).to_pybytes())


class Messages:
    """The messages of a load, and what went wrong while they were made."""

    def __init__(self, first: ingest_pb2.IngestHeader, sources: tuple[Loadable, ...], encoding: str | None) -> None:
        self._messages = _messages(first, sources, encoding)
        self.failure: Exception | None = None

    def __iter__(self) -> Messages:
        return self

    def __next__(self) -> ingest_pb2.IngestRequest:
        try:
            return next(self._messages)
        except StopIteration:
            raise
        except Exception as failure:
            self.failure = failure
            raise


def check(sources: tuple[Loadable, ...]) -> None:
    """Refuses what can't be loaded before anything is sent: a stream that breaks off tells no reason."""
    if not sources:
        raise ValueError("nothing to load: give files, or tables and frames")
    for source in sources:
        if isinstance(source, str | os.PathLike):
            with open(source, "rb"):
                pass
        elif not hasattr(source, "__arrow_c_stream__") and not isinstance(source, pa.RecordBatch):
            raise TypeError(f"{type(source).__name__} can't be loaded: give a file's path, an Arrow table, or a frame")


def _arrow_stream(source: Any) -> pa.Buffer:
    table = pa.Table.from_batches([source]) if isinstance(source, pa.RecordBatch) else pa.table(source)
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)
    return sink.getvalue()
