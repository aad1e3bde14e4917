"""The next port asked for ahead, on real servers: three take one command at a time, one doesn't."""

from __future__ import annotations

import re
from collections.abc import Callable
from contextlib import closing

import pytest

from tests.servers.kinds import NAMES
from tests.servers.server import FtpServer, TlsVersion
from tests.servers.test_connection import peer_of
from workers.ftps import dialogue
from workers.ftps.connection import Connection
from workers.ftps.errors import FtpsError, Missing
from workers.ftps.features import Features
from workers.ftps.states import State
from workers.ftps.transfer import SMALL

StartServer = Callable[..., FtpServer]

SIZES = (0, 1, 10 * 1024, 300 * 1024, SMALL)
IN_TURN = [name for name in NAMES if name != "pyftpdlib"]


def content(number: int) -> bytes:
    return bytes([number + 1]) * SIZES[number]


@pytest.mark.parametrize("version", ["1.2", "1.3"])
@pytest.mark.parametrize("name", IN_TURN)
def test_one_command_at_a_time(start_server: StartServer, name: str, version: TlsVersion) -> None:
    """Files go up and come down whole, a missing one among them, each port but the first asked for ahead."""
    server = start_server(name, tls_version=version)
    sent: list[str] = []
    with closing(Connection.open(peer_of(server), wire=sent.append)) as line:
        for number, size in enumerate(SIZES):
            line.store(b"/%d" % number, [content(number)], size=size, followed=True)
            assert (server.root / str(number)).read_bytes() == content(number)
        with pytest.raises(Missing):
            line.retrieve(b"/none", bytearray().extend, size=1, followed=True)
        for number, size in enumerate(SIZES):
            got = bytearray()
            line.retrieve(b"/%d" % number, got.extend, size=size, followed=number < len(SIZES) - 1)
            assert got == content(number)
        assert line.features.ports_ahead
        assert line.state is State.READY
    asked = [told[2:] for told in sent if told[0] == ">"]
    assert asked.count("EPSV") == asked.count("RETR /none") + 2 * len(SIZES)
    first = next(at for at, told in enumerate(asked) if told.startswith("STOR"))
    assert asked[first : first + 3] == ["STOR /0", "EPSV", "STOR /1"]


def test_a_server_that_reads_on_loses_nothing(
    start_server: StartServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """pyftpdlib drops a data channel for a new port. Not known by its banner, it shows that once."""
    server = start_server("pyftpdlib")
    (server.root / "a").write_bytes(bytes(SMALL))
    with closing(Connection.open(peer_of(server))) as line:
        assert line.features.ports_ahead is False
    monkeypatch.setattr(dialogue, "_READS_ON", re.compile("(?!)"))
    known: Features | None = None
    failures = 0
    for _ in range(3):
        with closing(Connection.open(peer_of(server), known=known)) as line:
            got = bytearray()
            try:
                line.retrieve(b"/a", got.extend, size=SMALL, followed=True)
            except FtpsError:
                failures += 1
            else:
                assert got == bytes(SMALL)
            known = line.features
    assert failures == 1
    assert known is not None
    assert known.ports_ahead is False
