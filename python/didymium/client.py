"""A connection to a Didymium server: queries and their results, loads, views."""

from __future__ import annotations

import contextlib
import getpass
import numbers
import os
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import date, datetime, timedelta, timezone
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias
from urllib.parse import urlsplit

import grpc
import pyarrow as pa

from didymium import errors, load
from didymium.load import Loadable, Loaded
from didymium.v1 import catalog_pb2, catalog_pb2_grpc, ingest_pb2_grpc, query_pb2, query_pb2_grpc

if TYPE_CHECKING:
    import pandas
    import polars

#: What a parameter of a statement can be; numpy's numbers count as numbers.
Parameter: TypeAlias = None | bool | int | float | str | date | datetime | Decimal

# A server that vanished without a word is noticed within a minute, not never.
_CHANNEL_OPTIONS = [("grpc.keepalive_time_ms", 40_000), ("grpc.keepalive_timeout_ms", 20_000)]

# The server ends a query that is out of time and says so; only a server that can't is cut off by the call's deadline.
_GRACE_S = 1.0


def connect(
    url: str,
    *,
    token: str | None = None,
    tls_ca: str | os.PathLike[str] | None = None,
    timeout: float | None = None,
) -> Client:
    """A client of the server at `grpc://HOST:PORT`, or with TLS at `grpcs://HOST:PORT`; connects with the first query.

    `token` says who asks; without one the variable DIDYMIUM_TOKEN does, if it is set. `tls_ca` is a file with the
    authority of the server's certificate, where it is none of the system's. `timeout` is in seconds and holds for each
    query that has none of its own, from the request to the last row.
    """
    parts = urlsplit(url)
    if parts.scheme not in ("grpc", "grpcs") or not parts.hostname or not parts.port or parts.path.strip("/"):
        raise ValueError(f"a server is named grpc://HOST:PORT or grpcs://HOST:PORT, not {url!r}")
    if parts.scheme == "grpc":
        channel = grpc.insecure_channel(parts.netloc, _CHANNEL_OPTIONS)
    else:
        authority = None if tls_ca is None else Path(tls_ca).read_bytes()
        credentials = grpc.ssl_channel_credentials(authority)
        channel = grpc.secure_channel(parts.netloc, credentials, _CHANNEL_OPTIONS)
    token = token or os.environ.get("DIDYMIUM_TOKEN")
    if token:
        channel = grpc.intercept_channel(channel, _ShowToken(token.strip()))
    return Client(url, channel, timeout)


class _ShowToken(
    grpc.UnaryUnaryClientInterceptor, grpc.UnaryStreamClientInterceptor, grpc.StreamUnaryClientInterceptor
):
    """Shows the caller's token with every call."""

    def __init__(self, token: str) -> None:
        self._shown = ("authorization", f"Bearer {token}")

    def _call(self, proceed: Callable[..., Any], details: Any, request: Any) -> Any:
        metadata = [*(details.metadata or ()), self._shown]
        return proceed(details._replace(metadata=metadata), request)

    intercept_unary_unary = _call
    intercept_unary_stream = _call
    intercept_stream_unary = _call


class Client:
    """Runs queries and loads on one server. Threads may share it. Close it, or use it in a `with`."""

    def __init__(self, url: str, channel: grpc.Channel, timeout: float | None = None) -> None:
        self._url = url
        self._timeout = timeout
        self._channel = channel
        self._stub = query_pb2_grpc.QueryServiceStub(self._channel)
        self._catalog = catalog_pb2_grpc.CatalogServiceStub(self._channel)
        self._ingest = ingest_pb2_grpc.IngestServiceStub(self._channel)

    def sql(
        self,
        sql: str,
        /,
        params: Sequence[Parameter] | Mapping[str, Parameter] = (),
        *,
        timeout: float | None = None,
        published_as_of: date | None = None,
        committed_as_of: datetime | None = None,
        **named: Parameter,
    ) -> Result:
        """Runs one SELECT and fetches its whole result into memory.

        `params` are the values of `$1`, `$2`, …, keywords those of `$name`; a mapping holds names that no keyword can.
        `published_as_of` lets the query know only what was public by that day; `committed_as_of` reads the store as it
        was at that moment.
        """
        request = _request(sql, params, named, published_as_of, committed_as_of)
        with contextlib.closing(self._call(request, timeout)) as call:
            batches = list(call)
            return Result(pa.Table.from_batches(batches, call.schema), call.header, call.summary)

    def stream(
        self,
        sql: str,
        /,
        params: Sequence[Parameter] | Mapping[str, Parameter] = (),
        *,
        timeout: float | None = None,
        published_as_of: date | None = None,
        committed_as_of: datetime | None = None,
        **named: Parameter,
    ) -> Iterator[pa.RecordBatch]:
        """Runs one SELECT, asked as for `sql`, and yields its rows as they come; memory holds a few at a time.

        Leaving the loop cancels the query on the server. `timeout` counts the time that the caller takes as well.
        """
        request = _request(sql, params, named, published_as_of, committed_as_of)
        with contextlib.closing(self._call(request, timeout)) as call:
            yield from call

    def load(
        self,
        table: str,
        /,
        *sources: Loadable,
        create: bool = False,
        replace: bool = False,
        dry_run: bool = False,
        source_id: str | None = None,
        published_on: date | None = None,
        load_id: str | None = None,
        supersede: str | None = None,
        mapping: str | os.PathLike[str] | None = None,
        encoding: str | None = None,
        message: str | None = None,
        timeout: float | None = None,
    ) -> Loaded:
        """Loads files, Arrow tables or frames into a table: all of them in one commit, or nothing.

        A path is a CSV, NDJSON, Parquet or Arrow file. `create` makes the table if there is none, as the data suggest.
        `replace` puts the rows in the place of all that a plain table holds; its earlier versions keep them.
        `source_id` and `published_on` are what the data have no column for. The same load again changes nothing.
        Another value than the table's is a fault, unless `supersede` says why. `dry_run` checks, lists the faults and
        writes nothing; else faults raise `SqlError`.
        """
        load.check(sources)
        first = load.header(
            table,
            mapping,
            published_on,
            create=create,
            replace=replace,
            dry_run=dry_run,
            source_id=source_id,
            load_id=load_id,
            supersede=supersede,
            message=message,
        )
        timeout = self._timeout if timeout is None else timeout
        messages = load.Messages(first, sources, encoding)
        try:
            response = self._ingest.Ingest(messages, timeout=timeout)
        except grpc.RpcError as error:
            # What broke off the stream is the caller's own fault, and gRPC does not tell it.
            raise messages.failure or errors.from_rpc(error) from None
        return load.loaded(response)

    def explain(
        self,
        sql: str,
        /,
        params: Sequence[Parameter] | Mapping[str, Parameter] = (),
        *,
        analyze: bool = False,
        timeout: float | None = None,
        **named: Parameter,
    ) -> str:
        """How the server would run a SELECT; with `analyze` it runs it and tells what each step did."""
        request = query_pb2.ExplainRequest(query=_request(sql, params, named, None, None), analyze=analyze)
        try:
            return self._stub.Explain(request, timeout=self._timeout if timeout is None else timeout).plan
        except grpc.RpcError as error:
            raise errors.from_rpc(error) from None

    def queries(self) -> list[query_pb2.RunningQuery]:
        """The caller's queries that run or wait on the server; everybody's for an admin."""
        try:
            return list(self._stub.ListQueries(query_pb2.ListQueriesRequest(), timeout=self._timeout).queries)
        except grpc.RpcError as error:
            raise errors.from_rpc(error) from None

    def cancel(self, query_id: str, /) -> None:
        """Stops a query of the caller's that runs or waits; an admin stops anybody's."""
        self._catalog_call(self._stub.Cancel, query_pb2.CancelRequest(query_id=query_id))

    def create_view(self, name: str, sql: str, /, *, description: str = "", replace: bool = False) -> None:
        """Gives a query a name, under which it is asked like a table; the server checks it by planning it."""
        request = catalog_pb2.CreateViewRequest(
            name=name, sql=sql, description=description, replace=replace, author=getpass.getuser()
        )
        self._catalog_call(self._catalog.CreateView, request)

    def drop_view(self, name: str, /) -> None:
        """Deletes a view; the tables that it reads stay as they are."""
        self._catalog_call(self._catalog.DropView, catalog_pb2.DropViewRequest(name=name))

    def create_table(self, declaration: str, /) -> None:
        """Makes an empty table of its declaration in TOML."""
        self._catalog_call(self._catalog.CreateTable, catalog_pb2.CreateTableRequest(declaration=declaration))

    def drop_table(self, name: str, /) -> None:
        """Deletes a table with all its history."""
        self._catalog_call(self._catalog.DropTable, catalog_pb2.DropTableRequest(name=name))

    def close(self) -> None:
        """Ends the connection and every query on it."""
        self._channel.close()

    def _catalog_call(self, call: Callable[..., object], request: object) -> None:
        try:
            call(request, timeout=self._timeout)
        except grpc.RpcError as error:
            raise errors.from_rpc(error) from None

    def _call(self, request: query_pb2.QueryRequest, timeout: float | None) -> _Call:
        return _Call(self._stub, request, self._timeout if timeout is None else timeout)

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"didymium.connect({self._url!r})"


class Result:
    """The rows of one query, and what the server said about it."""

    def __init__(self, table: pa.Table, header: query_pb2.Header, summary: query_pb2.Summary) -> None:
        self._table = table
        #: Names the query in the server's log.
        self.query_id = header.query_id
        #: Seconds from the arrival of the request to the last row.
        self.elapsed = summary.elapsed.ToTimedelta().total_seconds()
        #: Rows and bytes that were read of the tables' files, and how many of the files.
        self.rows_read, self.bytes_read, self.files_read = summary.rows_read, summary.bytes_read, summary.files_read
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

    def __init__(
        self, stub: query_pb2_grpc.QueryServiceStub, request: query_pb2.QueryRequest, timeout: float | None
    ) -> None:
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
                elif payload == "warning":
                    warnings.warn(response.warning.message, errors.DidymiumWarning, stacklevel=4)
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


def _request(
    sql: str,
    params: Sequence[Parameter] | Mapping[str, Parameter],
    named: Mapping[str, Parameter],
    published_as_of: date | None,
    committed_as_of: datetime | None,
) -> query_pb2.QueryRequest:
    if isinstance(params, str | bytes) or not isinstance(params, Sequence | Mapping):
        raise TypeError(f"params are a list, or a dict of names, not {params!r}")
    if isinstance(params, Mapping):
        params, named = (), {**params, **named}
    request = query_pb2.QueryRequest(
        sql=sql,
        positional_parameters=[_value(value) for value in params],
        named_parameters={name: _value(value) for name, value in named.items()},
    )
    if published_as_of is not None:
        request.published_as_of.CopyFrom(_day(published_as_of))
    if committed_as_of is not None:
        if committed_as_of.tzinfo is None:
            raise ValueError("committed_as_of needs a time zone: datetime.now(timezone.utc) has one")
        request.committed_as_of.FromDatetime(committed_as_of)
    return request


def _value(value: Parameter) -> query_pb2.Value:
    match value:
        case None:
            return query_pb2.Value(null=0)
        case bool():
            return query_pb2.Value(boolean=value)
        case numbers.Integral():
            return query_pb2.Value(integer=int(value))
        case numbers.Real():
            return query_pb2.Value(number=float(value))
        case str():
            return query_pb2.Value(text=value)
        case datetime():
            return query_pb2.Value(timestamp_micros=_micros(value))
        case date():
            return query_pb2.Value(date=_day(value))
        case Decimal():
            return query_pb2.Value(decimal=f"{value:f}")
    raise TypeError(f"{value!r} cannot be a parameter: send None, bool, int, float, str, date, datetime or Decimal")


def _micros(moment: datetime) -> int:
    """A moment as SQL has it, in no time zone: one with a zone is told in UTC."""
    if moment.tzinfo is not None:
        moment = moment.astimezone(timezone.utc).replace(tzinfo=None)
    return (moment - datetime(1970, 1, 1)) // timedelta(microseconds=1)


def _day(day: date) -> query_pb2.Date:
    if not isinstance(day, date) or isinstance(day, datetime):  # every datetime is a date, but not in SQL
        raise TypeError(f"{day!r} is not a date: a day is wanted, as date() of a datetime gives it")
    return query_pb2.Date(year=day.year, month=day.month, day=day.day)
