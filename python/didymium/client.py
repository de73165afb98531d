"""A connection to a Didymium server, and the results of its queries."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from datetime import timedelta
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import grpc
import pyarrow as pa

from didymium import errors
from didymium.v1 import query_pb2, query_pb2_grpc

if TYPE_CHECKING:
    import pandas
    import polars

# A server that vanished without a word is noticed within a minute, not never.
_CHANNEL_OPTIONS = [("grpc.keepalive_time_ms", 40_000), ("grpc.keepalive_timeout_ms", 20_000)]

# The server ends a query that is out of time and says so; only a server that can't is cut off by the call's deadline.
_GRACE_S = 1.0


def connect(url: str, *, timeout: float | None = None) -> Client:
    """A client of the server at `grpc://HOST:PORT`; connects with the first query.

    `timeout` is in seconds and holds for each query that has none of its own, from the request to the last row.
    """
    parts = urlsplit(url)
    if parts.scheme != "grpc" or not parts.hostname or not parts.port or parts.path.strip("/"):
        raise ValueError(f"a server is named grpc://HOST:PORT, not {url!r}")
    return Client(parts.netloc, timeout)


class Client:
    """Runs queries on one server. Threads may share it. Close it, or use it in a `with`."""

    def __init__(self, target: str, timeout: float | None = None) -> None:
        self._target = target
        self._timeout = timeout
        self._channel = grpc.insecure_channel(target, _CHANNEL_OPTIONS)
        self._stub = query_pb2_grpc.QueryServiceStub(self._channel)

    def sql(self, sql: str, *, timeout: float | None = None) -> Result:
        """Runs one SELECT and fetches its whole result into memory."""
        with contextlib.closing(self._call(sql, timeout)) as call:
            batches = list(call)
            return Result(pa.Table.from_batches(batches, call.schema), call.header, call.summary)

    def stream(self, sql: str, *, timeout: float | None = None) -> Iterator[pa.RecordBatch]:
        """Runs one SELECT and yields its rows as they come; memory holds a few of them at a time.

        Leaving the loop cancels the query on the server. `timeout` counts the time that the caller takes as well.
        """
        with contextlib.closing(self._call(sql, timeout)) as call:
            yield from call

    def close(self) -> None:
        """Ends the connection and every query on it."""
        self._channel.close()

    def _call(self, sql: str, timeout: float | None) -> _Call:
        return _Call(self._stub, sql, self._timeout if timeout is None else timeout)

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"didymium.connect('grpc://{self._target}')"


class Result:
    """The rows of one query, and what the server said about it."""

    def __init__(self, table: pa.Table, header: query_pb2.Header, summary: query_pb2.Summary) -> None:
        self._table = table
        #: Names the query in the server's log.
        self.query_id = header.query_id
        #: Seconds from the arrival of the request to the last row.
        self.elapsed = summary.elapsed.ToTimedelta().total_seconds()
        #: The version of each table that was read.
        self.table_versions = dict(summary.table_versions)

    @property
    def columns(self) -> list[str]:
        """The names of the columns, in order."""
        return self._table.column_names

    def to_arrow(self) -> pa.Table:
        """The rows as an Arrow table."""
        return self._table

    def to_pandas(self) -> pandas.DataFrame:
        """The rows as a pandas frame; dates come as datetime64, fit for an index."""
        return self._table.to_pandas(date_as_object=False)

    def to_polars(self) -> polars.DataFrame:
        """The rows as a polars frame."""
        import polars

        return polars.DataFrame(self._table)

    def rows(self) -> list[tuple[Any, ...]]:
        """The rows as tuples of Python values."""
        return list(zip(*(column.to_pylist() for column in self._table.columns), strict=True))

    def scalar(self) -> Any:
        """The value of a result that has one row and one column."""
        if self._table.shape != (1, 1):
            raise ValueError("scalar() wants one row and one column, not {} × {}".format(*self._table.shape))
        return self._table[0][0].as_py()

    def __arrow_c_stream__(self, requested_schema: object | None = None) -> object:
        """Lets pandas, polars, DuckDB and others read the rows without a copy."""
        return self._table.__arrow_c_stream__(requested_schema)

    def __len__(self) -> int:
        return self._table.num_rows

    def __repr__(self) -> str:
        return f"<didymium.Result: {len(self)} rows of {', '.join(self.columns)}>"


class _Call:
    """One running query: its header, its record batches one by one, its summary."""

    def __init__(self, stub: query_pb2_grpc.QueryServiceStub, sql: str, timeout: float | None) -> None:
        request = query_pb2.QueryRequest(sql=sql)
        if timeout is not None:
            request.timeout.FromTimedelta(timedelta(seconds=timeout))
        self._responses = stub.Query(request, timeout=None if timeout is None else timeout + _GRACE_S)
        self.header = query_pb2.Header()
        self.schema: pa.Schema | None = None
        self.summary = query_pb2.Summary()

    def __iter__(self) -> Iterator[pa.RecordBatch]:
        payload = None
        try:
            for response in self._responses:
                payload = response.WhichOneof("payload")
                if payload == "header":
                    self.header = response.header
                elif payload == "arrow_ipc":
                    yield from self._batches(response.arrow_ipc)
                elif payload == "summary":
                    self.summary = response.summary
        except grpc.RpcError as error:
            raise errors.from_rpc(error) from None
        if payload != "summary":
            raise errors.DidymiumError("the result was cut off before its end", grpc.StatusCode.DATA_LOSS)

    def _batches(self, arrow_ipc: bytes) -> Iterator[pa.RecordBatch]:
        # A response holds whole IPC messages, so each decodes where it lies; the end-of-stream marker ends the loop.
        for message in pa.ipc.MessageReader.open_stream(pa.py_buffer(arrow_ipc)):
            if message.type == "schema":
                self.schema = pa.ipc.read_schema(message)
            else:
                yield pa.ipc.read_record_batch(message, self.schema)

    def close(self) -> None:
        """Cancels the query, unless it is done."""
        self._responses.cancel()
