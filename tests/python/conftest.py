"""Fixtures: one store and one server for the whole run; a test that changes or limits either makes its own."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import harness


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

    def start(store: Path, *options: str) -> harness.Server:
        servers.append(harness.Server(store, tmp_path / f"server-{len(servers)}.log", *options))
        return servers[-1]

    yield start
    for server in servers:
        if not server.stopped:
            server.stop()
