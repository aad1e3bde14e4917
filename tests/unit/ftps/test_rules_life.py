"""Rules R1, R2 and R15 of the design, §4: a connection lives once; how a command is left; forks."""

from __future__ import annotations

import gc
import os
import time
import weakref
from collections.abc import Callable, Iterator

import pytest

from tests.faults.acts import send, silence
from tests.faults.scripted import PATIENCE_S, ScriptedServer
from tests.unit.ftps.conftest import Server
from workers.ftps.connection import Connection
from workers.ftps.errors import BadName, LineLost, Loss, NoAnswer, ProtocolError, Refused
from workers.ftps.states import State

Script = Callable[..., ScriptedServer]
Serve = Callable[..., Server]
Connect = Callable[..., Connection]

FILE = b"ten bytes!" * 3000


def nowhere(_: memoryview) -> None:
    """A sink."""


# -- R1: a connection lives once


def test_r1_dead_is_final(script: Script, connect: Connect) -> None:
    """Once dead, a connection refuses every verb and stays dead."""
    line = connect(script({"NOOP": b"226 Out of step"}))
    with pytest.raises(ProtocolError):
        line.noop()
    with pytest.raises(LineLost, match="dead already"):
        line.delete(b"/x")
    assert line.state is State.DEAD
    assert isinstance(line.dead, ProtocolError)


def test_r1_a_dead_line_does_not_keep_itself(script: Script, connect: Connect) -> None:
    """Its reason holds no frames, which would hold the line: it goes at once, without the collector."""
    server = script({"NOOP": b"226 Out of step"})
    line = Connection.open(server.peer())
    with pytest.raises(ProtocolError) as told:
        line.noop()
    inside = weakref.ref(line._line.control)
    assert str(line.dead) == str(told.value)
    gc.disable()
    try:
        del line, told
        assert inside() is None
    finally:
        gc.enable()


def test_r1_closing_says_quit_from_ready_and_only_once(script: Script, connect: Connect) -> None:
    """close() says QUIT when nothing is owed; a second close() says nothing."""
    server = script()
    line = connect(server)
    line.close()
    line.close()
    assert server.commands.count("QUIT") == 1
    assert line.state is State.DEAD


def test_r1_closing_a_dead_line_says_nothing(script: Script, connect: Connect) -> None:
    """A line that died is closed without QUIT: the server is not there, or not where we think."""
    server = script({"DELE": silence})
    line = connect(server, reply_timeout=0.2)
    with pytest.raises(NoAnswer):
        line.delete(b"/x")
    line.close()
    assert "QUIT" not in server.commands


def test_r1_closing_in_the_middle_says_nothing(script: Script, connect: Connect) -> None:
    """QUIT from READY only: behind an unfinished listing it would be one more command that nobody reads."""
    server = script({"MLSD": lambda talk, _: (talk.reply(b"150 Here it comes"), talk.secured_data())})
    line = connect(server)
    line.listing(b"/")
    line.close()
    assert "QUIT" not in server.commands
    assert line.state is State.DEAD


def test_r1_closing_waits_for_no_reply_for_long(script: Script, connect: Connect) -> None:
    """A QUIT that is never answered holds nobody up (field note 8): a second, on an idle machine."""
    line = connect(script({"QUIT": silence}))
    began = time.monotonic()
    line.close()
    assert time.monotonic() - began < PATIENCE_S / 2


def test_r1_closing_never_raises(script: Script, connect: Connect) -> None:
    """Not even when the line turns out to be gone."""
    line = connect(script({"QUIT": lambda talk, _: talk.reset()}))
    line.close()
    assert line.state is State.DEAD


# -- R2: a command is left through its final reply, or the line is dead


@pytest.mark.parametrize("escape", [RuntimeError, KeyboardInterrupt, SystemExit, BadName, Refused])
def test_r2_an_exception_in_the_sink_kills_the_line(
    script: Script, connect: Connect, escape: type[BaseException]
) -> None:
    """Whatever the sink raises, even a class of ours, leaves a 226 unread: dead (field note 3)."""
    line = connect(script({"RETR": send(FILE)}))

    def sink(_: memoryview) -> None:
        raise escape("STOR", 552, "full") if escape is Refused else escape

    with pytest.raises(escape):
        line.retrieve(b"/x", sink)
    assert line.state is State.DEAD


def test_r2_an_exception_in_the_source_kills_the_line(serve: Serve, connect: Connect) -> None:
    """A source that breaks off must not leave half an upload looking like a whole one on a living line."""
    line = connect(serve())

    def source() -> Iterator[bytes]:
        yield b"half"
        raise RuntimeError

    with pytest.raises(RuntimeError):
        line.store(b"/x", source())
    assert line.state is State.DEAD


def test_r2_a_deadline_kills_the_line(script: Script, connect: Connect) -> None:
    """The answer that comes too late would answer the next question."""
    line = connect(script({"DELE": silence}), reply_timeout=0.2)
    with pytest.raises(NoAnswer) as told:
        line.delete(b"/x")
    assert told.value.loss is Loss.BLACK_HOLE
    assert line.state is State.DEAD


def test_r2_a_refusal_leaves_the_line_ready(script: Script, connect: Connect) -> None:
    """A final no settles its command like a yes."""
    line = connect(script({"DELE": b"550 Not yours", "RETR": b"550 Not yours", "SIZE": b"213 5"}))
    with pytest.raises(Refused):
        line.delete(b"/x")
    with pytest.raises(Refused):
        line.retrieve(b"/x", nowhere)
    assert line.state is State.READY
    line.noop()


def test_r2_a_listing_left_early_kills_the_line(serve: Serve, connect: Connect) -> None:
    """The rest of the listing, and its 226, are still on their way."""
    server = serve()
    for number in range(20):
        (server.root / str(number)).touch()
    line = connect(server)
    with line.listing(b"/") as listing:
        next(iter(listing))
    assert line.state is State.DEAD
    assert not listing.complete


def test_r2_a_listing_nobody_reads_kills_the_line(serve: Serve, connect: Connect) -> None:
    """Even when not one entry was asked for."""
    line = connect(serve())
    with line.listing(b"/"):
        pass
    assert line.state is State.DEAD


def test_r2_replies_answer_commands_in_order(script: Script, connect: Connect) -> None:
    """Many commands may be on their way; each gets its own reply."""
    server = script(
        {
            "SIZE": lambda talk, path: talk.reply(b"550 no" if path == b"/7" else b"213 %d" % int(path[1:])),
            "MDTM": lambda talk, path: talk.reply(b"550 no" if path == b"/7" else b"213 20260102030405"),
        }
    )
    found = connect(server).stat([b"/%d" % number for number in range(100)])
    assert [stat and stat.size for stat in found] == [None if n == 7 else n for n in range(100)]


def test_r2_commands_on_their_way_are_bounded(script: Script, connect: Connect) -> None:
    """Neither side may ever wait for the other to read: a silent server is sent one flight, no more."""
    server = script(dict.fromkeys(("SIZE", "MDTM", "NOOP"), silence))
    line = connect(server, reply_timeout=0.3)
    with pytest.raises(NoAnswer):
        line.stat([b"/%d" % number for number in range(1000)])
    assert sum(command.startswith(("SIZE", "MDTM")) for command in server.commands) <= 32


# -- R15: fork


def test_r15_a_forked_child_drops_the_line_without_touching_it(script: Script, connect: Connect) -> None:
    """The child's close() and its use of the line write nothing: the parent's next command is answered."""
    server = script()
    line = connect(server)
    child = os.fork()
    if child == 0:
        verdict = 1
        try:
            try:
                line.noop()
            except LineLost:
                line.close()
                verdict = 0 if line.state is State.DEAD else 2
        finally:
            os._exit(verdict)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    line.noop()
    assert line.state is State.READY
    assert "QUIT" not in server.commands
    assert server.commands.count("NOOP") == 1
