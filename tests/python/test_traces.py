"""Traces: what a server sends to a collector by OTLP, and that it sends it into its caller's own trace."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import grpc
import pytest

import harness
from harness import Server
from test_overload import until

EXPORT = "/opentelemetry.proto.collector.trace.v1.TraceService/Export"

#: The trace and the span of a caller, as `traceparent` has them.
TRACE, SPAN = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"


class Collector:
    """Takes what is exported, as it comes."""

    def __init__(self) -> None:
        self.received: list[bytes] = []
        taken = grpc.unary_unary_rpc_method_handler(self._take)
        service, method = EXPORT.strip("/").split("/")
        self._server = grpc.server(ThreadPoolExecutor(2))
        self._server.add_generic_rpc_handlers([grpc.method_handlers_generic_handler(service, {method: taken})])
        self.port = self._server.add_insecure_port("127.0.0.1:0")
        self._server.start()

    def _take(self, request: bytes, _: grpc.ServicerContext) -> bytes:
        self.received.append(request)
        return b""

    def stop(self) -> None:
        self._server.stop(None)


@pytest.fixture
def collector() -> Iterator[Collector]:
    collector = Collector()
    yield collector
    collector.stop()


def ask(server: Server, parent: str) -> None:
    request = harness.request("select holder, count(*) from quotas group by holder order by 1 -- nobody's business")
    metadata = [("traceparent", parent)]
    assert list(server.stub.Query(request, metadata=metadata, timeout=harness.PATIENCE_S))


def test_a_call_its_query_and_its_operators_come_in_the_callers_trace(
    serve: Callable[..., Server], store: Path, collector: Collector
) -> None:
    server = serve(store, "--otlp-endpoint", f"http://127.0.0.1:{collector.port}")
    ask(server, f"00-{TRACE}-{SPAN}-01")

    def named() -> bool:
        spans = b"".join(collector.received)
        names = [b"/didymium.v1.QueryService/Query", b"query", b"SortExec", b"AggregateExec", b"output_rows"]
        return all(name in spans for name in names)

    until(named)
    spans = b"".join(collector.received)
    # The call, its query, and each operator: all in the trace, the call below the caller's own span.
    assert spans.count(bytes.fromhex(TRACE)) >= 5
    assert spans.count(bytes.fromhex(SPAN)) == 1
    assert b"nobody's business" not in spans
    server.stop()


@pytest.mark.parametrize("parent", ["", "nonsense", f"00-{'0' * 32}-{SPAN}-01", f"00-{TRACE}-{SPAN}", "00-" + "g" * 32 + f"-{SPAN}-01"])
def test_a_parent_that_is_none_begins_a_trace(
    serve: Callable[..., Server], store: Path, collector: Collector, parent: str
) -> None:
    server = serve(store, "--otlp-endpoint", f"http://127.0.0.1:{collector.port}")
    ask(server, parent)
    server.stop()  # what is not sent yet is sent at the end
    spans = b"".join(collector.received)
    assert b"/didymium.v1.QueryService/Query" in spans
    assert bytes.fromhex(SPAN) not in spans


def test_a_collector_that_is_away_disturbs_nobody(serve: Callable[..., Server], store: Path) -> None:
    server = serve(store, "--otlp-endpoint", "http://127.0.0.1:9")
    ask(server, f"00-{TRACE}-{SPAN}-01")
    server.assert_lives()
    server.stop()


def test_an_endpoint_that_is_none_is_refused(store: Path) -> None:
    done = harness.run("serve", "--store", store, "--otlp-endpoint", "collector of mine")
    assert done.returncode != 0
    assert "http://HOST:PORT" in done.stderr
