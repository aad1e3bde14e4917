"""The real servers are what the other tests take them for."""

from __future__ import annotations

import ftplib
import io
import ssl
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.servers.ftplib_client import FtplibClient
from tests.servers.kinds import NAMES, OFFERS, demands_resumption, resumes_data
from tests.servers.server import FtpServer, TlsMode, TlsVersion
from tests.waiting import wait_until

StartServer = Callable[..., FtpServer]


@contextmanager
def logged_in(server: FtpServer) -> Iterator[FtplibClient]:
    client = FtplibClient.of(server)
    try:
        yield client
    finally:
        client.close()


@pytest.mark.parametrize(("name", "tls", "version"), OFFERS)
def test_serves_files_over_the_tls_asked_for(
    start_server: StartServer, name: str, tls: TlsMode, version: TlsVersion
) -> None:
    """Lists, retrieves, stores, renames, deletes under exactly this TLS version; logs each transfer once."""
    server = start_server(name, tls=tls, tls_version=version)
    (server.root / "here.bin").write_bytes(b"x" * 70_000)
    (server.root / "empty.bin").write_bytes(b"")
    with logged_in(server) as client:
        assert isinstance(client.sock, ssl.SSLSocket)
        assert client.sock.version() == f"TLSv{version}"
        listed: list[str] = []
        client.retrlines("LIST", listed.append)
        assert len(listed) == 2
        assert client.fetch("here.bin") == b"x" * 70_000
        assert client.fetch("empty.bin") == b""
        client.storbinary("STOR new.part", io.BytesIO(b"new"))
        client.rename("new.part", "new.bin")
        client.delete("here.bin")
        assert client.data_resumed == (4 if resumes_data(name, version) else 0)
        client.quit()
    assert sorted(path.name for path in server.root.iterdir()) == ["empty.bin", "new.bin"]
    assert (server.root / "new.bin").read_bytes() == b"new"
    wait_until(lambda: server.transfers() == 3)
    assert server.retrieved() == ["/here.bin", "/empty.bin"]
    assert server.stored() == ["/new.part"]
    assert (server.connections(), server.logins(), server.refused_logins()) == (1, 1, 0)


@pytest.mark.parametrize("name", NAMES)
def test_wrong_password_is_refused_and_logged(start_server: StartServer, name: str) -> None:
    """The server really checks the password."""
    server = start_server(name)
    with pytest.raises(ftplib.error_perm, match=r"^530"):
        FtplibClient.of(server, password="wrong")
    wait_until(lambda: server.refused_logins() == 1)
    assert server.logins() == 0


@pytest.mark.parametrize("version", ["1.2", "1.3"])
@pytest.mark.parametrize("name", [name for name in NAMES if demands_resumption(name)])
def test_data_session_of_its_own_is_refused(
    start_server: StartServer, name: str, version: TlsVersion
) -> None:
    """A client that doesn't resume the control connection's TLS session gets no data (field note 13)."""
    server = start_server(name, tls_version=version)
    client = FtplibClient.of(server, resume=False)
    with pytest.raises(ftplib.Error, match=r"^(522|425)"):
        client.retrlines("LIST", lambda _: None)
    client.close()


@pytest.mark.parametrize("name", NAMES)
def test_stops_and_starts_again_on_the_same_port(start_server: StartServer, name: str) -> None:
    """stop() ends the old lines and refuses new ones; start() brings the same server back."""
    server = start_server(name)
    (server.root / "kept.txt").write_bytes(b"kept")
    with logged_in(server) as client:
        server.stop()
        with pytest.raises(ConnectionRefusedError):
            FtplibClient.of(server)
        with pytest.raises((OSError, EOFError)):
            client.sendcmd("NOOP")
    server.start()
    with logged_in(server) as client:
        assert client.fetch("kept.txt") == b"kept"
    wait_until(lambda: server.logins() == 2)


@pytest.mark.parametrize("name", NAMES)
def test_killed_lines_end_and_new_ones_work(start_server: StartServer, name: str) -> None:
    """kill_lines() is a crash of the lines now open, not of the server."""
    server = start_server(name)
    with logged_in(server) as client:
        assert server.kill_lines() > 0
        with pytest.raises((OSError, EOFError)):
            client.sendcmd("NOOP")
    with logged_in(server) as client:
        assert client.sendcmd("NOOP").startswith("2")


@pytest.mark.parametrize("name", [name for name in NAMES if name != "vsftpd"])
def test_lists_machine_readably(start_server: StartServer, name: str) -> None:
    """All but vsftpd have MLSD."""
    server = start_server(name)
    (server.root / "one.txt").write_bytes(b"1")
    with logged_in(server) as client:
        facts = {entry: about for entry, about in client.mlsd() if about["type"] == "file"}
    assert facts["one.txt"]["size"] == "1"


def test_proftpd_hashes_files(start_server: StartServer) -> None:
    """mod_digest is loaded."""
    server = start_server("proftpd")
    (server.root / "abc").write_bytes(b"abc")
    with logged_in(server) as client:
        assert "BA7816BF" in client.sendcmd("XSHA256 abc").upper()


def test_pure_ftpd_cuts_long_listings_and_says_226(start_server: StartServer) -> None:
    """The listing's limit is told in the reply's text only (field note 27)."""
    server = start_server("pure-ftpd", listing_limit=20)
    for number in range(30):
        (server.root / f"{number}.txt").touch()
    listed: list[str] = []
    with logged_in(server) as client:
        said = client.retrlines("LIST", listed.append)
    assert said.startswith("226")
    assert "truncated" in said
    assert len(listed) == 20


def test_proftpd_has_a_shared_session_cache_when_asked_for(start_server: StartServer) -> None:
    """mod_tls_shmcache is loaded and holds a piece of shared memory, which goes with the server."""

    def creators() -> list[int]:
        lines = Path("/proc/sysvipc/shm").read_text().splitlines()[1:]
        return [int(line.split()[4]) for line in lines]

    server = start_server("proftpd", tls_version="1.2", shmcache=True)
    with logged_in(server) as client:
        client.retrlines("LIST", lambda _: None)
        assert client.data_resumed == 1
    assert server.process is not None
    pid = server.process.pid
    assert pid in creators()
    server.stop()
    assert pid not in creators()
