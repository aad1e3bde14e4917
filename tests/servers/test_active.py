"""Active mode on real servers: they connect to us, and all else is as it was."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.servers.command import Site
from tests.servers.kinds import NAMES, resumes_data
from tests.servers.ports import PortBlock
from tests.servers.server import FtpServer, TlsVersion
from tests.servers.test_connection import peer_of
from workers.ftps.connection import Connection

StartServer = Callable[..., FtpServer]


@pytest.fixture
def ports() -> Iterator[tuple[int, int]]:
    """Ports of this test's own, the first and the last."""
    block = PortBlock.take()
    yield block.first, block.last
    block.close()


@pytest.mark.parametrize("version", ["1.2", "1.3"])
@pytest.mark.parametrize("name", NAMES)
def test_every_transfer_works_in_active_mode(
    start_server: StartServer, ports: tuple[int, int], name: str, version: TlsVersion
) -> None:
    """Listing, both directions, zero bytes, a resume; every TLS session resumed where the server can."""
    server = start_server(name, tls_version=version)
    content = os.urandom(1_000_000)
    wire: list[str] = []
    line = Connection.open(peer_of(server, active_ports=ports), wire=wire.append)
    assert line.store(b"/large", [content], size=len(content)) == len(content)
    assert line.store(b"/empty", []) == 0
    with line.listing(b"/") as listing:
        assert {entry.name: entry.size for entry in listing} == {b"large": len(content), b"empty": 0}
    assert listing.complete
    got = bytearray()
    line.retrieve(b"/large", got.extend, size=len(content))
    line.retrieve(b"/empty", got.extend, size=0)
    assert bytes(got) == content
    tail = bytearray()
    line.retrieve(b"/large", tail.extend, offset=999_000, size=len(content))
    assert bytes(tail) == content[-1000:]
    for number in range(20):
        assert line.retrieve(b"/large", lambda _: None, offset=999_990 + number % 10, size=len(content))
    line.noop()
    if resumes_data(name, version):
        assert line.data_fresh == 0
    line.close()
    asked = [line for line in wire if line.startswith(("> EPRT", "> PORT", "> EPSV", "> PASV"))]
    assert all(line.startswith("> EPRT |1|127.0.0.1|") for line in asked)
    assert len(asked) >= 26


@pytest.mark.parametrize("name", ["vsftpd", "pyftpdlib"])
def test_a_route_in_active_mode(
    start_server: StartServer, ports: tuple[int, int], tmp_path: Path, name: str
) -> None:
    """data_mode and active_ports of the configuration reach the line."""
    site = Site(tmp_path, start_server(name), endpoint={"data_mode": "active", "active_ports": list(ports)})
    for number in range(5):
        site.put(f"{number}.xml", b"x" * number)
    ended = site.towline("run", "statements", "--wire")
    assert "5 files published" in ended.stdout, ended.stderr
    assert "> EPRT" in ended.stderr
    assert "> EPSV" not in ended.stderr
