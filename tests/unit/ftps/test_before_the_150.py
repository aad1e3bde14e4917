"""The data channel's handshake does not wait for the 1xx: what may come on the control line meanwhile."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable
from queue import Queue

import pytest

from tests.faults.acts import Act, ordinary
from tests.faults.dialogue import Talk, reset
from tests.faults.scripted import ScriptedServer
from tests.servers.server import TlsVersion
from workers.ftps.connection import Connection
from workers.ftps.errors import FtpsError, LineLost, Refused, TransferBroken
from workers.ftps.states import State
from workers.ftps.stream import Stream

Script = Callable[..., ScriptedServer]
Connect = Callable[..., Connection]

FILE = b"ten bytes!" * 3000
NEVER_S = 600.0
"""A deadline that no test waits for: the server gives up long before it."""


def spoken_to(talk: Talk) -> socket.socket:
    """The data connection, once the client has begun its handshake there."""
    data = talk.accept()
    assert data.recv(1, socket.MSG_PEEK) == b"\x16"
    return data


def waiting_for_data(monkeypatch: pytest.MonkeyPatch) -> threading.Event:
    """Set once the client has looked at both connections and is about to wait: a reply must wake it."""
    waits, wait = threading.Event(), Stream.wait

    def told(self: Stream, what: int, until: float, *, beside: Stream | None = None) -> bool:
        if self.name == "data":
            waits.set()
        return wait(self, what, until, beside=beside)

    monkeypatch.setattr(Stream, "wait", told)
    return waits


def ends(data: socket.socket) -> bool:
    """Whether the client hangs up before the server gives up."""
    try:
        while data.recv(4096):
            pass
    except ConnectionResetError:
        pass
    except TimeoutError:
        return False
    return True


def late(*, when: str) -> Act:
    """RETR whose 150 comes when the handshake is waited for, or is over."""

    def retr(talk: Talk, _: bytes) -> None:
        data = spoken_to(talk)
        if when == "begun":
            talk.reply("150 Here it comes.")
        secure = talk.secured(data)
        if when == "over":
            talk.reply("150 Here it comes.")
        secure.sendall(FILE)
        secure.unwrap()
        talk.reply("226 Done.")

    return retr


@pytest.mark.parametrize("version", ["1.2", "1.3"])
@pytest.mark.parametrize("when", ["begun", "over"])
def test_the_handshake_does_not_wait_for_the_150(
    script: Script, connect: Connect, version: TlsVersion, when: str
) -> None:
    """A server whose 150 is late is served all the same, once and again, and the session is resumed."""
    line = connect(script({"RETR": late(when=when)}, tls_version=version))
    for _ in range(2):
        got = bytearray()
        assert line.retrieve(b"/x", got.extend, size=len(FILE)) == len(FILE)
        assert got == FILE
    assert line.state is State.READY
    assert (line.data_resumed, line.data_fresh) == (2, 0)


@pytest.mark.parametrize("opening", [b"", b"150 Here it comes.\r\n"], ids=["refused", "begun"])
@pytest.mark.parametrize("in_pieces", [False, True], ids=["whole", "in pieces"])
@pytest.mark.parametrize(
    ("reply", "told", "left"),
    [
        (b"550 No such file.", Refused, State.READY),
        (b"425 No data channel.", TransferBroken, State.READY),
        (b"421 Closing.", LineLost, State.DEAD),
    ],
)
def test_a_refusal_ends_the_handshake_at_once(
    script: Script,
    connect: Connect,
    opening: bytes,
    in_pieces: bool,
    reply: bytes,
    told: type[FtpsError],
    left: State,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The data side never answers in TLS; it sees the client hang up, and the refusal is what is told."""
    waits = waiting_for_data(monkeypatch)
    hung_up: Queue[bool] = Queue()

    def retr(talk: Talk, _: bytes) -> None:
        with spoken_to(talk) as data:
            waits.wait(60)
            talk.in_pieces = in_pieces
            talk.reply(opening + reply)
            hung_up.put(ends(data))

    line = connect(script({"RETR": retr}), reply_timeout=NEVER_S)
    with pytest.raises(told, match=reply[:3].decode()):
        line.retrieve(b"/x", bytearray().extend)
    assert hung_up.get(timeout=60)
    assert line.state is left


def test_the_end_of_the_control_line_ends_the_handshake_at_once(
    script: Script, connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without a word: the line is lost, as it is anywhere else."""
    waits = waiting_for_data(monkeypatch)
    hung_up: Queue[bool] = Queue()

    def retr(talk: Talk, _: bytes) -> None:
        with spoken_to(talk) as data:
            waits.wait(60)
            talk.close()
            hung_up.put(ends(data))

    line = connect(script({"RETR": retr}), reply_timeout=NEVER_S)
    with pytest.raises(LineLost):
        line.retrieve(b"/x", bytearray().extend)
    assert hung_up.get(timeout=60)
    assert line.state is State.DEAD


@pytest.mark.parametrize(
    ("final", "told"),
    [("550 No such file.", Refused), ("226 Done.", TransferBroken), ("425 No.", TransferBroken)],
)
def test_a_data_channel_that_breaks_is_explained_by_the_final_reply(
    script: Script, connect: Connect, final: str, told: type[FtpsError]
) -> None:
    """The 150 that comes first is no reason; the line is good for more."""

    def retr(talk: Talk, _: bytes) -> None:
        reset(spoken_to(talk))
        talk.reply("150 Here it comes.")
        talk.reply(final)

    server = script({"RETR": retr})
    line = connect(server)
    with pytest.raises(told):
        line.retrieve(b"/x", bytearray().extend)
    assert line.state is State.READY
    server.forget("RETR")
    server.files[b"/x"] = FILE
    assert line.retrieve(b"/x", bytearray().extend, size=len(FILE)) == len(FILE)


def test_a_data_channel_that_is_gone_before_the_handshake_is_explained_too(script: Script) -> None:
    """ProFTPD drops it together with its 550, and may be quicker than we are."""
    dialled, gone = threading.Event(), threading.Event()

    def epsv(talk: Talk, argument: bytes) -> None:
        ordinary(talk, argument)
        data = talk.accept()
        dialled.wait(60)
        reset(data)
        gone.set()

    def told(line: str) -> None:
        if line.startswith("> RETR"):
            dialled.set()
            assert gone.wait(60)

    server = script({"EPSV": epsv, "RETR": "550 No such file."})
    line = Connection.open(server.peer(), wire=told)
    with pytest.raises(Refused, match="550"):
        line.retrieve(b"/x", bytearray().extend)
    assert line.state is State.READY
    line.close()


def test_a_success_that_comes_before_the_handshake_is_over_is_kept(script: Script, connect: Connect) -> None:
    """150 and 226 in one packet, then TLS: the bytes are still awaited, and the 226 settles them."""

    def retr(talk: Talk, _: bytes) -> None:
        data = spoken_to(talk)
        talk.reply("150 Here it comes.\r\n226 Done.")
        secure = talk.secured(data)
        secure.sendall(FILE)
        secure.unwrap()

    line = connect(script({"RETR": retr}))
    assert line.retrieve(b"/x", bytearray().extend, size=len(FILE)) == len(FILE)
    assert line.state is State.READY


def test_a_success_without_a_150_ends_the_handshake(script: Script, connect: Connect) -> None:
    """It has moved nothing: a fault of the protocol, told at once."""

    def retr(talk: Talk, _: bytes) -> None:
        talk.kept.append(spoken_to(talk))
        talk.reply("226 Done.")

    line = connect(script({"RETR": retr}))
    with pytest.raises(FtpsError, match="can't be answered by: 226"):
        line.retrieve(b"/x", bytearray().extend)
    assert line.state is State.DEAD
