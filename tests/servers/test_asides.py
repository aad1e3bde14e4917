"""noop_during_transfer on real servers, which answer such a NOOP each in its own way."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator

import pytest

from tests.servers.kinds import NAMES
from tests.servers.server import FtpServer, TlsVersion
from tests.servers.test_connection import peer_of
from workers.ftps.connection import Connection
from workers.ftps.states import State

StartServer = Callable[..., FtpServer]


@pytest.mark.parametrize("version", ["1.2", "1.3"])
@pytest.mark.parametrize("name", NAMES)
def test_noops_during_transfers(start_server: StartServer, name: str, version: TlsVersion) -> None:
    """Files arrive whole in both directions, and each later reply is that of its command."""
    server = start_server(name, tls_version=version)
    content = os.urandom(4_000_000)
    wire: list[str] = []
    line = Connection.open(peer_of(server, noop_every=0.02), wire=wire.append)

    def blocks() -> Iterator[bytes]:
        for at in range(0, len(content), 200_000):
            time.sleep(0.01)
            yield content[at : at + 200_000]

    def sink(block: memoryview) -> None:
        time.sleep(0.0005)
        got.extend(block)

    for number in range(3):
        path = f"/{number}".encode()
        assert line.store(path, blocks(), size=len(content)) == len(content)
        assert (server.root / str(number)).read_bytes() == content
        got = bytearray()
        assert line.retrieve(path, sink, size=len(content)) == len(content)
        assert bytes(got) == content
        line.noop()
        [stat] = line.stat([path])
        assert stat is not None
        assert stat.size == len(content)
    assert line.state is State.READY
    line.close()
    assert wire.count("> NOOP") > 3 + 6  # besides those after the transfers, some in each
