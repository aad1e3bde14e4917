"""Rules R8 to R10 of the design, §4: the end of data is proven."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable
from dataclasses import replace

import pytest

from tests.faults.acts import close, send, silence, transfer
from tests.faults.dialogue import Talk
from tests.faults.scripted import PATIENCE_S, ScriptedServer
from workers.ftps import data
from workers.ftps.connection import Connection
from workers.ftps.errors import Loss, Refused, TransferBroken
from workers.ftps.states import State

Script = Callable[..., ScriptedServer]
Connect = Callable[..., Connection]

FILE = b"ten bytes!" * 3000


def nowhere(_: memoryview) -> None:
    """A sink."""


# -- R8: the end of data is proven


def ragged(content: bytes, reply: bytes = b"226 Done") -> Callable[[Talk, bytes], None]:
    """Bytes, then FIN without close_notify, then a reply."""

    def retr(talk: Talk, _: bytes) -> None:
        talk.reply(b"150 Here it comes")
        channel = talk.secured_data()
        channel.sendall(content)
        raw = socket.socket(fileno=channel.detach())
        raw.shutdown(socket.SHUT_WR)
        talk.reply(reply)
        raw.close()

    return retr


def test_r8_half_a_file_and_226_is_a_failure(script: Script, connect: Connect) -> None:
    """A clean end and a 226 prove nothing where the size says otherwise (field note 15)."""
    line = connect(script({"RETR": send(FILE)}))
    with pytest.raises(TransferBroken):
        line.retrieve(b"/x", nowhere, size=len(FILE) + 1)


def test_r8_half_a_file_of_unknown_size_is_a_failure(script: Script, connect: Connect) -> None:
    """Without a size, only a clean end of TLS proves the whole; FIN and 226 do not."""
    line = connect(script({"RETR": ragged(FILE)}))
    with pytest.raises(TransferBroken):
        line.retrieve(b"/x", nowhere)


def test_r8_a_missing_close_notify_is_forgiven_where_the_size_proves(
    script: Script, connect: Connect
) -> None:
    """Some servers never send it though all is well (field note 16)."""
    line = connect(script({"RETR": ragged(FILE)}))
    assert line.retrieve(b"/x", nowhere, size=len(FILE)) == len(FILE)
    assert line.state is State.READY


def test_r8_more_than_the_size_is_a_failure_at_once(script: Script, connect: Connect) -> None:
    """What was due is handed on, and no more of it: such a server fills no disk."""
    line = connect(script({"RETR": send(FILE)}))
    came: list[int] = []
    with pytest.raises(TransferBroken, match="more than"):
        line.retrieve(b"/x", lambda block: came.append(len(block)), size=10)
    assert came == [10]


def test_r8_the_final_reply_has_its_say(script: Script, connect: Connect) -> None:
    """All bytes and a clean end, but 426: not whole."""
    line = connect(script({"RETR": ragged(FILE, b"426 Aborted")}))
    with pytest.raises(TransferBroken, match="426"):
        line.retrieve(b"/x", nowhere, size=len(FILE))


def test_r8_a_resumed_download_counts_from_its_offset(script: Script, connect: Connect) -> None:
    """offset + received == size."""
    server = script(files={b"/x": FILE})
    got = bytearray()
    assert connect(server).retrieve(b"/x", got.extend, offset=len(FILE) - 5, size=len(FILE)) == 5
    assert bytes(got) == FILE[-5:]
    assert server.commands[-2:] == [f"REST {len(FILE) - 5}", "RETR /x"]


def test_r8_a_listing_that_breaks_off_is_none(script: Script, connect: Connect) -> None:
    """Entries without a clean end are not a folder."""
    line = connect(script({"MLSD": ragged(b"type=file;size=1; a\r\n")}))
    with pytest.raises(TransferBroken), line.listing(b"/") as listing:
        list(listing)
    assert not listing.complete


def test_r8_a_listing_cut_in_mid_line_is_incomplete(script: Script, connect: Connect) -> None:
    """Half a line at a clean end is no entry, and the listing says that it isn't whole."""
    line = connect(script({"MLSD": send(b"type=file;size=1; a\r\ntype=fi")}))
    with line.listing(b"/") as listing:
        assert [entry.name for entry in listing] == [b"a"]
    assert not listing.complete
    line.noop()


@pytest.mark.parametrize(
    "final",
    [
        "226 Output truncated to 2 matches",
        "226 Transfer done (but failed to open directory).",
        "226 Done; sub: Permission denied",
    ],
)
def test_r8_a_final_reply_may_say_that_the_folder_is_not_whole(
    script: Script, connect: Connect, final: str
) -> None:
    """Pure-FTPd and vsftpd end well, and name in passing what they left out."""
    line = connect(script({"MLSD": transfer(content=[b"type=file;size=1; a\r\n"], final=final)}))
    with line.listing(b"/") as listing:
        assert [entry.name for entry in listing] == [b"a"]
    assert not listing.complete
    assert listing.reason == final


def test_r8_a_server_that_waits_for_our_end_is_not_waited_for(
    script: Script, connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Once the size says that all is here, the end is waited for two seconds only (field note 16)."""

    def retr(talk: Talk, _: bytes) -> None:
        talk.reply(b"150 Here it comes")
        channel = talk.secured_data()
        channel.sendall(FILE)
        while True:
            try:
                if not channel.recv(1):
                    break
            except OSError:
                break
        talk.reply(b"226 Done")

    monkeypatch.setattr(data, "LINGER_S", 0.3)
    line = connect(script({"RETR": retr}))
    began = time.monotonic()
    assert line.retrieve(b"/x", nowhere, size=len(FILE)) == len(FILE)
    assert time.monotonic() - began < PATIENCE_S / 2


# -- R9: the end of an upload


def test_r9_an_upload_ends_with_close_notify(script: Script, connect: Connect) -> None:
    """The server reads a clean end of TLS after the last byte."""
    received: list[bytes] = []

    def stor(talk: Talk, _: bytes) -> None:
        talk.reply(b"150 Go on")
        channel = talk.secured_data()
        while block := channel.recv(65536):  # a missing close_notify would raise here
            received.append(block)
        channel.close()
        talk.reply(b"226 Done")

    line = connect(script({"STOR": stor}))
    assert line.store(b"/x", [FILE[:7], memoryview(FILE)[7:]], size=len(FILE)) == len(FILE)
    assert b"".join(received) == FILE


def test_r9_the_peers_end_is_waited_for_two_seconds_at_most(
    script: Script, connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A server that sends neither its end nor its reply for a while is not waited for on the data channel."""
    ended = threading.Event()

    def stor(talk: Talk, _: bytes) -> None:
        talk.reply(b"150 Go on")
        channel = talk.secured_data()
        while channel.recv(65536):
            pass
        # Our end of TCP comes after LINGER_S: only then the reply.
        raw = socket.socket(fileno=channel.detach())
        poll_until_reset(raw)
        ended.set()
        talk.reply(b"226 Done")

    def poll_until_reset(raw: socket.socket) -> None:
        began = time.monotonic()
        while time.monotonic() - began < PATIENCE_S:
            try:
                raw.send(b"x")
            except OSError:
                return
            threading.Event().wait(0.05)

    assert data.LINGER_S == 2
    monkeypatch.setattr(data, "LINGER_S", 0.3)
    line = connect(script({"STOR": stor}))
    began = time.monotonic()
    assert line.store(b"/x", [FILE]) == len(FILE)
    assert ended.is_set()
    assert 0.3 <= time.monotonic() - began < PATIENCE_S / 2


def test_r9_the_control_reply_decides(script: Script, connect: Connect) -> None:
    """All bytes taken, and then 552: refused, and the line is READY."""

    def stor(talk: Talk, _: bytes) -> None:
        talk.reply(b"150 Go on")
        channel = talk.secured_data()
        while channel.recv(65536):
            pass
        channel.close()
        talk.reply(b"552 Quota exceeded")

    line = connect(script({"STOR": stor}))
    with pytest.raises(Refused, match="552"):
        line.store(b"/x", [FILE])
    assert line.state is State.READY


def test_r9_an_upload_that_is_cut_learns_the_reason(script: Script, connect: Connect) -> None:
    """The server closes the data channel in the middle, and says why on the control connection."""

    def stor(talk: Talk, _: bytes) -> None:
        talk.reply(b"150 Go on")
        channel = talk.secured_data()
        channel.recv(10)
        channel.close()
        talk.reply(b"552 Disk full")

    line = connect(script({"STOR": stor}))
    with pytest.raises(Refused, match="552"):
        line.store(b"/x", (FILE for _ in range(10_000)))
    assert line.state is State.READY


# -- R10: everything moved, and no 226


@pytest.mark.parametrize(("end", "loss"), [(silence, Loss.BLACK_HOLE), (close, Loss.CLOSED)])
def test_r10_all_moved_without_226_can_be_told_apart(
    script: Script, connect: Connect, end: Callable[[Talk, bytes], None], loss: Loss
) -> None:
    """The caller must know that only the reply is missing: it asks for the size anew (field note 6)."""

    def impatient() -> None:
        """From now on, when nothing but the last reply is to be waited for."""
        if end is silence:
            line._line.peer = replace(line._line.peer, reply_timeout=0.5)

    def retr(talk: Talk, argument: bytes) -> None:
        talk.reply(b"150 Here it comes")
        channel = talk.secured_data()
        impatient()
        channel.sendall(FILE)
        channel.unwrap()
        end(talk, argument)

    def stor(talk: Talk, argument: bytes) -> None:
        talk.reply(b"150 Go on")
        channel = talk.secured_data()
        impatient()
        while channel.recv(65536):
            pass
        channel.close()
        end(talk, argument)

    server = script({"RETR": retr, "STOR": stor})
    operations: list[Callable[[Connection], int]] = [
        lambda line: line.retrieve(b"/x", nowhere, size=len(FILE)),
        lambda line: line.store(b"/x", [FILE]),
    ]
    for operate in operations:
        line = connect(server)
        with pytest.raises(TransferBroken) as told:
            operate(line)
        assert told.value.all_moved
        assert told.value.loss is loss
        assert line.state is State.DEAD


def test_r10_a_part_that_moved_is_not_all(script: Script, connect: Connect) -> None:
    """A line that dies in the middle of a file has not moved it."""

    def retr(talk: Talk, _: bytes) -> None:
        talk.reply(b"150 Here it comes")
        talk.secured_data().sendall(FILE)
        talk.reset()

    line = connect(script({"RETR": retr}), idle_timeout=1.0)
    with pytest.raises(TransferBroken) as told:
        line.retrieve(b"/x", nowhere, size=len(FILE) + 1)
    assert not told.value.all_moved
