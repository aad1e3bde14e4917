"""The scripted server is an ordinary FTPS server until it is told otherwise."""

from __future__ import annotations

import ftplib
import io
import socket
import ssl
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager

import pytest

from tests.faults import acts
from tests.faults.scripted import ScriptedServer
from tests.servers.certificates import Certificates
from tests.servers.ftplib_client import FtplibClient
from tests.servers.server import TlsMode, TlsVersion
from tests.waiting import wait_until
from workers.ftps.connection import Connection, Peer
from workers.ftps.errors import TransferBroken
from workers.ftps.tls import Trust

CONTENT = bytes(range(256)) * 400


@pytest.fixture
def start(certificates: Certificates) -> Iterator[Callable[..., ScriptedServer]]:
    with ExitStack() as started:

        def start(**options: object) -> ScriptedServer:
            options.setdefault("files", {b"/a.bin": CONTENT})
            return started.enter_context(ScriptedServer(certificates, **options))  # type: ignore[arg-type]

        yield start


@contextmanager
def client_of(server: ScriptedServer) -> Iterator[FtplibClient]:
    client = FtplibClient(server.ca_file, tls=server.tls)
    try:
        client.connect(server.host, server.port)
        client.login(server.user, server.password)
        client.prot_p()
        yield client
    finally:
        client.close()


@pytest.mark.parametrize("version", ["1.2", "1.3"])
@pytest.mark.parametrize("tls", ["explicit", "implicit"])
def test_ordinary_dialogue(start: Callable[..., ScriptedServer], tls: TlsMode, version: TlsVersion) -> None:
    """Two clients that know nothing of scripts find an ordinary server, with resumption demanded."""
    server = start(tls=tls, tls_version=version, demand_resumption=True)
    with client_of(server) as client:
        assert isinstance(client.sock, ssl.SSLSocket)
        assert client.sock.version() == f"TLSv{version}"
        assert [(name, about["size"]) for name, about in client.mlsd("/")] == [("a.bin", str(len(CONTENT)))]
        assert client.fetch("/a.bin") == CONTENT
        client.storbinary("STOR /new", io.BytesIO(b"new"))
        client.rename("/new", "/b.bin")
        assert client.size("/b.bin") == 3
        client.delete("/a.bin")
        assert client.data_resumed == 3
        client.quit()
    assert server.files == {b"/b.bin": b"new"}
    peer = Peer(
        server.host, server.port, server.user, server.password, tls, Trust(ca_file=str(server.ca_file))
    )
    line = Connection.open(peer)
    got = bytearray()
    assert line.retrieve(b"/b.bin", got.extend, offset=1, size=3) == 2
    assert line.store(b"/c.bin", [b"12", b"34"], size=4) == 4
    with line.listing(b"/") as listing:
        assert {entry.name: entry.size for entry in listing} == {b"b.bin": 3, b"c.bin": 4}
    line.close()
    # Our QUIT is not waited for any longer than a moment.
    wait_until(lambda: server.count("QUIT") == 2, what="the server reads it")
    assert (server.connections, server.logins, server.troubles) == (2, 2, [])


def test_script_has_its_turn_and_ends(start: Callable[..., ScriptedServer]) -> None:
    """skip and times say which of the commands a script takes."""
    server = start()
    server.when("NOOP", acts.answer("450 Not now."), skip=1, times=1)
    with client_of(server) as client:
        assert client.sendcmd("NOOP").startswith("200")
        with pytest.raises(ftplib.error_temp, match="450 Not now"):
            client.sendcmd("NOOP")
        assert client.sendcmd("NOOP").startswith("200")


@pytest.mark.parametrize(
    ("act", "raised"),
    [
        (acts.close, (EOFError, OSError)),
        (acts.reset_line, (EOFError, OSError)),  # CPython 3.11 takes RST inside TLS for an end
        (acts.garbage, (ftplib.Error, UnicodeDecodeError)),
        (acts.clear_in_tls(), ssl.SSLError),
        (acts.silence, TimeoutError),
    ],
)
def test_faults_reach_the_client(
    start: Callable[..., ScriptedServer], act: acts.Act, raised: type[Exception] | tuple[type[Exception], ...]
) -> None:
    """Each act at NOOP shows as what it is."""
    server = start()
    server.when("NOOP", act)
    with client_of(server) as client:
        assert client.sock is not None
        client.sock.settimeout(0.3 if raised is TimeoutError else 60)
        with pytest.raises(raised):
            client.sendcmd("NOOP")


def test_replies_may_come_in_pieces_and_too_often(start: Callable[..., ScriptedServer]) -> None:
    """in_pieces is one reply all the same; stale leaves one more behind."""
    server = start()
    server.when("SYST", acts.in_pieces)
    server.when("NOOP", acts.stale("226 Long ago."), times=1)
    with client_of(server) as client:
        assert client.sendcmd("SYST").startswith("215")
        assert client.sendcmd("NOOP").startswith("200")
        assert client.getresp() == "226 Long ago."


def test_idle_line_is_told_421(start: Callable[..., ScriptedServer]) -> None:
    """An act can strike lines that wait for a command."""
    server = start()
    with client_of(server) as client:
        client.sendcmd("NOOP")
        assert server.to_idle_lines(acts.farewell()) == 1
        with pytest.raises(ftplib.error_temp, match="421 Closing"):
            client.getresp()
        with pytest.raises((EOFError, ssl.SSLEOFError)):
            client.getresp()


@pytest.mark.parametrize("end", ["clean", "ragged", "reset"])
def test_half_a_file_and_226(start: Callable[..., ScriptedServer], end: acts.End) -> None:
    """Half the data comes, ends as told, and is called done; the product isn't taken in."""
    server = start()
    server.when("RETR", acts.transfer(share=0.5, end=end))
    peer = Peer(
        server.host, server.port, server.user, server.password, trust=Trust(ca_file=str(server.ca_file))
    )
    line = Connection.open(peer)
    got = bytearray()
    with pytest.raises(TransferBroken):
        line.retrieve(b"/a.bin", got.extend, size=len(CONTENT))
    line.close()
    assert bytes(got) == CONTENT[: len(got)]
    assert len(got) <= len(CONTENT) // 2


def test_clear_text_behind_234_is_one_packet(start: Callable[..., ScriptedServer]) -> None:
    """The injected reply is there before TLS begins."""
    server = start()
    server.when("AUTH", acts.clear_behind_234("220 injected"))
    with socket.create_connection((server.host, server.port), 60) as line:
        assert line.recv(100).startswith(b"220")
        line.sendall(b"AUTH TLS\r\n")
        assert line.recv(100) == b"234 Begin.\r\n220 injected\r\n"


def test_data_session_may_be_unresumable(start: Callable[..., ScriptedServer]) -> None:
    """The data channel can forget the control connection's TLS session."""
    server = start()
    server.when("RETR", acts.transfer(resumable=False))
    with client_of(server) as client:
        assert client.fetch("/a.bin") == CONTENT
        assert client.data_resumed == 0


def test_upload_may_be_cut_short(start: Callable[..., ScriptedServer]) -> None:
    """The server stops reading after so many bytes and says so."""
    server = start()
    server.when("STOR", acts.receive(stop_after=1000, final="552 Disk full."))
    with client_of(server) as client, pytest.raises((ftplib.error_perm, OSError)):
        client.storbinary("STOR /big", io.BytesIO(bytes(1_000_000)))
    assert len(server.files[b"/big"]) == 1000
