"""NOOPs during a transfer: answered before it is, after it, or never, they are taken for nothing else."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable

import pytest

from tests.faults.acts import send
from tests.faults.dialogue import Talk
from tests.faults.scripted import Answer, ScriptedServer
from workers.ftps.connection import Connection
from workers.ftps.errors import Missing, Refused, TransferBroken
from workers.ftps.states import State

Script = Callable[..., ScriptedServer]
Connect = Callable[..., Connection]

BLOCKS = [bytes([number]) * 5000 for number in range(6)]
SIZE = sum(map(len, BLOCKS))
OFTEN = 0.0  # after each block

When = str
WHENS = ["before", "after", "never", "some", "refused"]


def retr(when: When, final: bytes = b"226 Done") -> Callable[[Talk, bytes], None]:
    """A download whose blocks come one by one; the NOOPs between them are answered as `when` says."""

    def act(talk: Talk, _: bytes) -> None:
        talk.reply(b"150 Here it comes")
        data = talk.secured_data()
        got = b""
        for block in BLOCKS[:-1]:
            data.sendall(block)
            got += talk.socket.recv(4096)
        data.sendall(BLOCKS[-1])
        with contextlib.suppress(OSError):
            data.unwrap()
        data.close()
        answer_around(talk, when, final, got)

    return act


def stor(when: When) -> Callable[[Talk, bytes], None]:
    """An upload, likewise."""

    def act(talk: Talk, _: bytes) -> None:
        talk.reply(b"150 Send it")
        data = talk.secured_data()
        while data.recv(65536):
            pass
        with contextlib.suppress(OSError):
            data.unwrap()
        data.close()
        answer_around(talk, when, b"226 Stored")

    return act


def answer_around(talk: Talk, when: When, final: bytes, got: bytes = b"") -> None:
    """Take the NOOPs out of what was sent, and give all or some of their answers around the final reply.

    got: what came already.
    """
    talk.socket.settimeout(0.1)
    with contextlib.suppress(TimeoutError):
        while True:
            got += talk.socket.recv(4096)
    talk.socket.settimeout(10)
    count = got.count(b"NOOP\r\n")
    assert got == b"NOOP\r\n" * count
    assert count >= 2
    talk.server.told.append(("NOOPs", count))
    reply = b"500 Not now" if when == "refused" else b"200 Still here"
    ahead = {"before": count, "refused": count, "some": 1}.get(when, 0)
    behind = {"after": count, "some": 1}.get(when, 0)
    talk.raw((reply + b"\r\n") * ahead + final + b"\r\n" + (reply + b"\r\n") * behind)


ANSWERED: dict[str, Answer] = {"PWD": b'257 "/"', "SIZE": b"213 7", "MDTM": b"213 20260102030405"}


@pytest.mark.parametrize("when", WHENS)
def test_a_download_and_what_follows_it(script: Script, connect: Connect, when: When) -> None:
    """Whole, and the next replies belong to their commands: NOOP's own 200 above all."""
    server = script(ANSWERED | {"RETR": retr(when)})
    line = connect(server, noop_every=OFTEN)
    got = bytearray()
    for _ in range(2):
        got.clear()
        assert line.retrieve(b"/a", got.extend, size=SIZE) == SIZE
        assert bytes(got) == b"".join(BLOCKS)
        assert line.state is State.READY
        line.noop()
        [stat] = line.stat([b"/a"])
        assert stat is not None
        assert stat.size == 7
    assert len(server.told) == 2


@pytest.mark.parametrize("when", WHENS)
def test_an_upload_and_what_follows_it(script: Script, connect: Connect, when: When) -> None:
    """The same the other way round."""
    line = connect(script(ANSWERED | {"STOR": stor(when)}), noop_every=OFTEN)
    assert line.store(b"/a", BLOCKS, size=SIZE) == SIZE
    line.noop()
    assert line.state is State.READY


@pytest.mark.parametrize("when", ["before", "after", "never"])
@pytest.mark.parametrize(
    ("final", "error"),
    [(b"426 Cut", TransferBroken), (b"551 Bad disk", Refused), (b"550 No such file", Missing)],
)
def test_a_transfer_that_fails_with_asides(
    script: Script, connect: Connect, when: When, final: bytes, error: type[Exception]
) -> None:
    """The refusal is the transfer's, and the line goes on."""
    line = connect(script(ANSWERED | {"RETR": retr(when, final)}), noop_every=OFTEN)
    with pytest.raises(error):
        line.retrieve(b"/a", lambda _: None, size=SIZE)
    line.noop()
    assert line.state is State.READY


def test_nothing_is_said_where_nobody_asked(script: Script, connect: Connect) -> None:
    """Without the key, and before its time, the control connection is silent during a transfer."""
    for every in (None, 60.0):
        server = script({"RETR": send(b"x" * 100_000)})
        line = connect(server, noop_every=every)
        line.retrieve(b"/a", lambda _: time.sleep(0.002), size=100_000)
        assert not {"NOOP", "PWD"} & set(server.commands)
