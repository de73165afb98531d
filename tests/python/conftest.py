"""Fixtures: one store, one server and one server of buckets for the whole run; a test that changes or limits any makes
its own."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import harness
import output
from bucket import Moto, Proxy


@pytest.fixture(scope="session")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store with the shipped figures. Nobody writes to it."""
    return harness.init(tmp_path_factory.mktemp("shared") / "store")


@pytest.fixture(scope="session")
def server(store: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[harness.Server]:
    """A server of the shared store."""
    server = harness.Server(store, tmp_path_factory.mktemp("log") / "server.log")
    yield server
    server.stop()


@pytest.fixture
def own_store(store: Path, tmp_path: Path) -> Path:
    """A copy of the shared store, to write to."""
    return Path(shutil.copytree(store, tmp_path / "own"))


@pytest.fixture
def serve(tmp_path: Path) -> Iterator[Callable[..., harness.Server]]:
    """Starts servers for one test and stops them after it."""
    servers: list[harness.Server] = []

    def start(store: Path, *options: str, **access: Any) -> harness.Server:
        servers.append(harness.Server(store, tmp_path / f"server-{len(servers)}.log", *options, **access))
        return servers[-1]

    yield start
    for server in servers:
        if not server.stopped:
            server.stop()


@pytest.fixture(scope="session")
def moto(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Moto]:
    """A server of buckets."""
    moto = Moto(tmp_path_factory.mktemp("moto") / "moto.log")
    yield moto
    moto.stop()


@pytest.fixture
def bucket(moto: Moto, monkeypatch: pytest.MonkeyPatch) -> str:
    """A new bucket, and the environment that leads there."""
    monkeypatch.setenv("AWS_ENDPOINT_URL", moto.endpoint)
    monkeypatch.setenv("AWS_REGION", "us-east-1")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "test")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "test")
    return moto.new_bucket()


@pytest.fixture
def place(moto: Moto, bucket: str, own_store: Path) -> str:
    """A store in the bucket, with the shipped figures and the empty table `output`: the files of one in a folder."""
    for file in output.create(own_store).rglob("*"):
        if file.is_file():
            moto.put(f"{bucket}/some/prefix/{file.relative_to(own_store)}", file.read_bytes())
    return f"s3://{bucket}/some/prefix"


@pytest.fixture
def proxy(moto: Moto, place: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Proxy]:
    """What every command of the test asks in place of the bucket's server, once the store is made."""
    proxy = Proxy(moto.endpoint)
    monkeypatch.setenv("AWS_ENDPOINT_URL", proxy.endpoint)
    yield proxy
    proxy.stop()
