"""What operators and generic tools rely on: health, reflection, a clean stop."""

import socket
import time
from collections.abc import Callable
from pathlib import Path

import grpc
import pytest
from google.protobuf import descriptor_pool
from grpc import StatusCode
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import ProtoReflectionDescriptorDatabase

import harness
from didymium.v1 import query_pb2
from harness import Server


@pytest.mark.parametrize("service", ["", "didymium.v1.QueryService"])
def test_health_is_serving(server: Server, service: str) -> None:
    health = health_pb2_grpc.HealthStub(server.channel)
    answer = health.Check(health_pb2.HealthCheckRequest(service=service), timeout=harness.PATIENCE_S)
    assert answer.status == health_pb2.HealthCheckResponse.SERVING


def test_health_of_an_unknown_service_is_not_found(server: Server) -> None:
    health = health_pb2_grpc.HealthStub(server.channel)
    with pytest.raises(grpc.RpcError) as error:
        health.Check(health_pb2.HealthCheckRequest(service="didymium.v1.Nothing"), timeout=harness.PATIENCE_S)
    assert error.value.code() == StatusCode.NOT_FOUND


def test_reflection_describes_the_service(server: Server) -> None:
    database = ProtoReflectionDescriptorDatabase(server.channel)
    assert {"didymium.v1.QueryService", "grpc.health.v1.Health"} <= set(database.get_services())

    pool = descriptor_pool.DescriptorPool(database)
    service = pool.FindServiceByName("didymium.v1.QueryService")
    declared = query_pb2.DESCRIPTOR.services_by_name["QueryService"]
    assert [method.name for method in service.methods] == [method.name for method in declared.methods]
    for message in ("QueryRequest", "QueryResponse", "Header", "Column", "Summary"):
        reflected = pool.FindMessageTypeByName(f"didymium.v1.{message}")
        ours = getattr(query_pb2, message).DESCRIPTOR
        assert [(f.number, f.name, f.type) for f in reflected.fields] == [
            (f.number, f.name, f.type) for f in ours.fields
        ]


def test_a_running_query_ends_well_while_the_server_stops(serve: Callable[..., Server], store: Path) -> None:
    server = serve(store)
    rows = 1_000_000  # more than the transport buffers, so the query runs until it is read
    call = server.stub.Query(
        harness.request(f"select value from generate_series(1, {rows})"), timeout=harness.PATIENCE_S
    )
    answer = harness.Answer([next(call)])
    server.ask_to_stop()
    time.sleep(0.5)

    with pytest.raises(grpc.RpcError) as refused, grpc.insecure_channel(server.target) as late:
        harness.query(harness.query_pb2_grpc.QueryServiceStub(late), "select 1")
    assert refused.value.code() == StatusCode.UNAVAILABLE

    answer.messages.extend(call)
    assert answer.summary.rows == answer.table.num_rows == rows
    assert server.wait() == 0


def test_an_idle_connection_does_not_hold_up_the_stop(serve: Callable[..., Server], store: Path) -> None:
    server = serve(store)
    server.assert_lives()  # the channel stays open
    server.ask_to_stop()
    assert server.wait(patience_s=20) == 0  # grpcio itself takes some seconds to hang up


def test_a_connection_that_says_nothing_does_not_hold_up_the_stop(serve: Callable[..., Server], store: Path) -> None:
    server = serve(store)
    host, port = server.target.split(":")
    with socket.create_connection((host, int(port))):  # as a load balancer's probe or a port scan leaves it
        server.assert_lives()  # and so the earlier connection is accepted
        server.ask_to_stop()
        assert server.wait(patience_s=20) == 0
