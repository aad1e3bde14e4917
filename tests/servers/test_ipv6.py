"""A real server on IPv6, from the configuration to the published file."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.servers.certificates import Certificates
from tests.servers.command import Site
from tests.servers.ports import PortBlock
from tests.servers.server import FtpServer

StartServer = Callable[..., FtpServer]


@pytest.fixture
def six(start_server: StartServer, tmp_path: Path) -> FtpServer:
    """pyftpdlib on ::1, with a certificate for that address."""
    try:
        socket.create_server(("::1", 0), family=socket.AF_INET6).close()
    except OSError as none:
        pytest.skip(f"this machine has no ::1: {none}")
    return start_server("pyftpdlib", host="::1", certificates=Certificates.make(tmp_path / "tls", "::1"))


@pytest.fixture
def ports() -> Iterator[tuple[int, int]]:
    """Ports of this test's own, the first and the last."""
    block = PortBlock.take()
    yield block.first, block.last
    block.close()


@pytest.mark.parametrize("mode", ["passive", "active"])
def test_a_route_over_ipv6(six: FtpServer, ports: tuple[int, int], tmp_path: Path, mode: str) -> None:
    """Either way of data connections says nothing of IPv4, and each file arrives."""
    active = {"data_mode": "active", "active_ports": list(ports)}
    site = Site(tmp_path / "site", six, endpoint=active if mode == "active" else {})
    for number in range(5):
        site.put(f"{number}.xml", b"x" * number)
    ended = site.towline("run", "statements", "--wire")
    assert ended.returncode == 0, ended.stderr
    assert "5 files published" in ended.stdout
    assert ("> EPRT |2|::1|" if mode == "active" else "> EPSV") in ended.stderr
    assert "> PASV" not in ended.stderr
    assert "> PORT" not in ended.stderr
