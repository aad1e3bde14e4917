"""The protocol on real servers: every way of opening, every verb, under TLS 1.2 and 1.3."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

import pytest

from tests.servers.kinds import OFFERS, resumes_data
from tests.servers.server import FtpServer, TlsMode, TlsVersion
from workers.ftps.connection import Connection, Peer
from workers.ftps.errors import Missing, Refused
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
    """Listing, both directions, zero bytes, resume, SIZE and MDTM, rename, delete, folders: one line does all."""
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
