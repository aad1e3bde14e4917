"""What a push will need of a line: broken uploads that go on, and files that keep their time."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

import pytest

from tests.faults.acts import answer, in_turn, receive, reset_line
from tests.faults.scripted import ScriptedServer
from tests.servers.certificates import Certificates
from tests.servers.kinds import NAMES
from tests.servers.server import FtpServer
from tests.servers.test_connection import peer_of
from workers.ftps.connection import Connection
from workers.ftps.errors import Missing, TransferBroken
from workers.ftps.states import State

StartServer = Callable[..., FtpServer]


def opened(server: Any) -> Connection:
    return Connection.open(peer_of(server, reply_timeout=60))


@pytest.mark.parametrize("name", NAMES)
def test_an_upload_goes_on_where_it_ended(start_server: StartServer, name: str) -> None:
    """APPE adds the rest to what is there; a file that isn't there yet begins at nought."""
    server = start_server(name)
    content = os.urandom(300_000)
    (server.root / "half").write_bytes(content[:123_456])
    line = opened(server)
    rest = len(content) - 123_456
    assert line.append(b"/half", [content[123_456:]], offset=123_456, size=len(content)) == rest
    assert (server.root / "half").read_bytes() == content
    assert line.append(b"/new", [content], offset=0, size=len(content)) == len(content)
    assert (server.root / "new").read_bytes() == content
    with pytest.raises(TransferBroken, match="300000 of 5 bytes"):
        line.append(b"/half", [b"more"], offset=5)
    assert (server.root / "half").read_bytes() == content
    line.noop()
    line.close()


def test_a_part_of_unknown_size_is_not_appended_to(certificates: Certificates) -> None:
    """No SIZE, no APPE; the line goes on."""
    with ScriptedServer(certificates, files={b"/a": b"123"}) as server:
        server.when("SIZE", answer("502 No."))
        line = opened(server)
        with pytest.raises(TransferBroken, match="unknown"):
            line.append(b"/a", [b"45"], offset=3)
        assert server.count("APPE") == 0
        assert line.state is State.READY
        line.close()


def test_an_append_without_its_last_reply_may_be_whole(certificates: Certificates) -> None:
    """R10, as for STOR: all moved, so the size decides."""
    with ScriptedServer(certificates, files={b"/a": b"123"}) as server:
        # The line ends instead of a wait that a held-up server would sit out as well.
        server.when("APPE", in_turn(receive(final=None), reset_line))
        line = opened(server)
        with pytest.raises(TransferBroken) as told:
            line.append(b"/a", [b"45"], offset=3, size=5)
        assert told.value.all_moved
        assert server.files[b"/a"] == b"12345"


@pytest.mark.parametrize("name", NAMES)
def test_a_file_keeps_its_time(start_server: StartServer, name: str) -> None:
    """By MFMT, or by vsftpd's MDTM; the seconds are whole, the zone is UTC."""
    server = start_server(name)
    line = opened(server)
    for file in ("a", "with blank"):
        line.store(b"/" + file.encode(), [b"x"])
        assert line.set_modified([(b"/" + file.encode(), 1_700_000_000.9)])
        assert (server.root / file).stat().st_mtime == 1_700_000_000
    assert line.state is State.READY
    line.close()


def test_a_server_that_sets_no_times(certificates: Certificates) -> None:
    """It says so by looking for a file of an odd name; where MFMT is offered a missing file is one."""
    with ScriptedServer(certificates, files={b"/a": b"1"}) as server:
        line = opened(server)
        assert not line.set_modified([(b"/a", 1_700_000_000)])
        assert server.commands[-2:] == ["MDTM 20231114221320 /a", "NOOP"]
        line.close()
        server.when("FEAT", answer("211-F\r\n MFMT\r\n211 End"))
        server.when("MFMT", answer("550 No such file."))
        line = opened(server)
        with pytest.raises(Missing):
            line.set_modified([(b"/b", 1_700_000_000)])
        assert line.state is State.READY
        line.close()
