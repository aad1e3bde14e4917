"""The protocol on real servers: every way of opening, every verb, under TLS 1.2 and 1.3."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

import pytest

from tests.servers.kinds import OFFERS, resumes_data
from tests.servers.server import FtpServer, TlsMode, TlsVersion
from workers.ftps.connection import Connection, Peer
from workers.ftps.errors import (
    LineLost,
    LoginRefused,
    Loss,
    Missing,
    ProtocolError,
    Refused,
    TransferBroken,
    Transient,
)
from workers.ftps.states import State
from workers.ftps.tls import Trust

StartServer = Callable[..., FtpServer]


def peer_of(server: FtpServer, **changes: Any) -> Peer:
    """What a connection must know of a server of the tests."""
    values: dict[str, Any] = {
        "host": server.host,
        "port": server.port,
        "user": server.user,
        "password": server.password,
        "tls": server.tls,
        "trust": Trust(ca_file=str(server.ca_file)),
    }
    return Peer(**(values | changes))


@pytest.mark.parametrize(("name", "tls", "version"), OFFERS)
def test_every_verb_works_on_every_server(
    start_server: StartServer, name: str, tls: TlsMode, version: TlsVersion
) -> None:
    """Listing, both directions, zero bytes, resume, SIZE and MDTM, rename, delete, folders: on one line."""
    server = start_server(name, tls=tls, tls_version=version)
    content = os.urandom(3_000_000)
    wire: list[str] = []
    line = Connection.open(peer_of(server), wire=wire.append)
    try:
        assert line.tls is not None
        assert line.tls.version == f"TLSv{version}"

        assert line.store(b"/large", [content[:1_000_000], content[1_000_000:]], size=len(content)) == len(
            content
        )
        assert line.store(b"/empty", []) == 0
        assert (server.root / "large").read_bytes() == content
        assert (server.root / "empty").read_bytes() == b""

        got = bytearray()
        assert line.retrieve(b"/large", got.extend, size=len(content)) == len(content)
        assert bytes(got) == content
        assert line.retrieve(b"/empty", got.extend, size=0) == 0
        tail = bytearray()
        assert line.retrieve(b"/large", tail.extend, offset=2_999_000, size=len(content)) == 1000
        assert bytes(tail) == content[-1000:]

        with line.listing(b"/") as listing:
            found = {entry.name: entry for entry in listing}
        assert listing.complete, listing.reason
        assert found[b"large"].size == len(content)
        assert found[b"empty"].size == 0
        modified = (server.root / "large").stat().st_mtime
        told = found[b"large"].modified
        assert told is not None
        assert abs(told - modified) <= found[b"large"].precision_s

        large, missing, empty = line.stat([b"/large", b"/nothing", b"/empty"])
        assert missing is None
        assert large is not None
        assert empty is not None
        assert (large.size, empty.size) == (len(content), 0)
        assert large.modified is not None
        assert abs(large.modified - modified) <= 1

        line.rename(b"/large", b"/renamed")
        line.delete(b"/empty")
        line.mkdir(b"/folder")
        assert sorted(path.name for path in server.root.iterdir()) == ["folder", "renamed"]
        with pytest.raises(Missing):
            line.retrieve(b"/nothing", got.extend)
        with pytest.raises(Refused):
            line.delete(b"/nothing")
        with line.listing(b"/folder") as listing:
            assert list(listing) == []
        assert listing.complete
        line.noop()
        assert line.state is State.READY
        if resumes_data(name, version):
            assert line.data_fresh == 0
    finally:
        line.close()
        print("\n".join(wire), line.data_resumed, line.data_fresh, line.dead)


ODD_NAMES = [
    b" leading",
    b"trailing ",
    b"a;b=c; d",
    b"caf\xe9 in latin-1",
    "café in one form".encode(),
    "cafe\N{COMBINING ACUTE ACCENT} in another".encode(),
    b"a -> b",
    b"-rf",
    b"x" * 250,
    b"\xff of telnet\xff\xff, and its \xff\xfd order",
    b"quote\"and'percent%20#",
]


@pytest.mark.parametrize("name", ["vsftpd", "proftpd", "pure-ftpd", "pyftpdlib"])
def test_names_come_back_as_they_came(start_server: StartServer, name: str) -> None:
    """R12: whatever bytes a name has, RETR, SIZE and DELE take it as the listing gave it."""
    server = start_server(name)
    root = os.fsencode(server.root)
    # pyftpdlib shows a name that isn't UTF-8 with question marks, and so under no name it has.
    names = [
        odd for odd in ODD_NAMES if name != "pyftpdlib" or not {0xE9, 0xFF} & set(odd) or b"\xc3\xa9" in odd
    ]
    contents = {odd: b"%d" % number * 100 for number, odd in enumerate(names)}
    for odd, content in contents.items():
        with open(root + b"/" + odd, "wb") as file:  # noqa: PTH123  Path can't hold these bytes everywhere
            file.write(content)
    line = Connection.open(peer_of(server))
    with line.listing(b"/") as listing:
        listed = {entry.name: entry.size for entry in listing}
    assert listing.complete, listing.reason
    assert listed == {odd: len(content) for odd, content in contents.items()}
    for odd in listed:
        got = bytearray()
        line.retrieve(b"/" + odd, got.extend, size=listed[odd])
        assert bytes(got) == contents[odd]
    assert [stat and stat.size for stat in line.stat([b"/" + odd for odd in listed])] == list(listed.values())
    for odd in listed:
        line.delete(b"/" + odd)
    assert list(server.root.iterdir()) == []
    line.close()


@pytest.mark.parametrize("name", ["vsftpd", "proftpd", "pure-ftpd", "pyftpdlib"])
def test_a_missing_folder_is_never_an_empty_one(start_server: StartServer, name: str) -> None:
    """Refused, or at least not complete (field note 28)."""
    line = Connection.open(peer_of(start_server(name)))
    try:
        with line.listing(b"/nothing") as listing:
            assert list(listing) == []
    except Refused:
        assert line.state is State.READY
    else:
        assert not listing.complete
        assert listing.reason
    line.noop()
    line.close()


def test_a_listing_that_pure_ftpd_cuts_off_is_not_complete(start_server: StartServer) -> None:
    """226, and only its text tells (field note 27)."""
    server = start_server("pure-ftpd", listing_limit=50)
    for number in range(60):
        (server.root / f"{number}").touch()
    line = Connection.open(peer_of(server))
    with line.listing(b"/") as listing:
        count = len(list(listing))
    assert count <= 50
    assert not listing.complete
    line.noop()
    line.close()


@pytest.mark.parametrize("name", ["vsftpd", "proftpd", "pure-ftpd", "pyftpdlib"])
def test_links_folders_and_files_are_told_apart(start_server: StartServer, name: str) -> None:
    """A link is a link, or what it points to; never a file of its target's name."""
    server = start_server(name)
    (server.root / "file").write_bytes(b"123")
    (server.root / "folder").mkdir()
    (server.root / "link").symlink_to("file")
    line = Connection.open(peer_of(server))
    with line.listing(b"/") as listing:
        kinds = {entry.name: entry.kind for entry in listing}
    assert kinds[b"file"] == "file"
    assert kinds[b"folder"] == "dir"
    assert kinds[b"link"] in ("link", "file")
    assert len(kinds) == 3
    line.close()


@pytest.mark.parametrize("name", ["vsftpd", "proftpd", "pure-ftpd", "pyftpdlib"])
def test_a_server_that_dies_in_mid_file_proves_nothing(start_server: StartServer, name: str) -> None:
    """The line is lost, the bytes so far were handed over, and nobody calls them a file."""
    server = start_server(name)
    size = 40_000_000
    with (server.root / "large").open("wb") as file:
        file.truncate(size)
    line = Connection.open(peer_of(server, reply_timeout=30))
    came = 0

    def sink(block: memoryview) -> None:
        nonlocal came
        if came == 0:
            server.kill_lines()
        came += len(block)

    with pytest.raises(TransferBroken) as told:
        line.retrieve(b"/large", sink, size=size)
    assert not told.value.all_moved
    assert 0 < came < size
    assert line.state is State.DEAD
    line.close()


@pytest.mark.parametrize("name", ["vsftpd", "proftpd", "pure-ftpd", "pyftpdlib"])
def test_a_server_that_dies_while_idle_is_found_by_asking(start_server: StartServer, name: str) -> None:
    """Counted as an idle loss, or a protocol error where the dying server spoke; the next line opens."""
    server = start_server(name)
    line = Connection.open(peer_of(server))
    server.kill_lines()
    with pytest.raises((LineLost, ProtocolError)) as told:
        line.noop()
    # What is left of vsftpd writes "500 OOPS: priv_sock_get_int" past its TLS layer (field note 20).
    assert told.value.loss is Loss.IDLE or (name == "vsftpd" and "priv_sock" in str(told.value))
    line.close()
    Connection.open(peer_of(server)).close()


@pytest.mark.parametrize("name", ["vsftpd", "proftpd", "pyftpdlib"])  # Pure-FTPd takes six seconds for it
def test_a_wrong_password_is_refused_once(start_server: StartServer, name: str) -> None:
    """One login at the server, and the password in no message."""
    server = start_server(name)
    with pytest.raises(LoginRefused) as told:
        Connection.open(peer_of(server, password="wrong-horse"))
    assert "wrong-horse" not in str(told.value)
    assert server.logins() == 0


def test_a_crash_under_tls_1_3_is_ordinary_weather(start_server: StartServer) -> None:
    """ProFTPD with mod_tls_shmcache dies under us now and then; a new line goes on (field note 21b)."""
    server = start_server("proftpd", tls_version="1.3", shmcache=True)
    (server.root / "file").write_bytes(b"x" * 10_000)
    line = Connection.open(peer_of(server, reply_timeout=30))
    lost = 0
    for _ in range(60):
        while True:
            try:
                assert line.retrieve(b"/file", lambda _: None, size=10_000) == 10_000
                break
            except Transient:
                lost += 1
                assert lost < 50
                line.close()
                line = Connection.open(peer_of(server, reply_timeout=30))
    line.close()


def test_a_large_folder_comes_whole(start_server: StartServer) -> None:
    """Three thousand entries, by MLSD and by LIST."""
    for name in ("proftpd", "vsftpd"):
        server = start_server(name)
        for number in range(3_000):
            (server.root / f"file-{number:05}").touch()
        line = Connection.open(peer_of(server))
        with line.listing(b"/") as listing:
            assert sum(1 for _ in listing) == 3_000
        assert listing.complete
        line.close()
