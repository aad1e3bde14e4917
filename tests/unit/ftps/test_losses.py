"""How the question before use tells the ways in which a line is lost."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable

import pytest

from tests.faults.acts import farewell
from tests.faults.dialogue import Talk
from tests.faults.scripted import PATIENCE_S, ScriptedServer
from workers.ftps.connection import Connection
from workers.ftps.errors import LineLost, Loss, NoAnswer, Transient
from workers.ftps.states import State

Script = Callable[..., ScriptedServer]
Connect = Callable[..., Connection]


def lose(line: Connection, timeout: float = PATIENCE_S) -> Transient:
    with pytest.raises(Transient) as told:
        line.noop(timeout)
    assert line.state is State.DEAD
    return told.value


def end_by_fin(talk: Talk) -> None:
    talk.close()


def end_by_close_notify(talk: Talk) -> None:
    talk.socket.settimeout(0)
    with contextlib.suppress(OSError):
        talk.socket.unwrap()  # type: ignore[attr-defined]
    talk.close()


def end_by_reset(talk: Talk) -> None:
    talk.reset()


@pytest.mark.parametrize("end", [end_by_fin, end_by_close_notify, end_by_reset])
def test_an_end_while_idle_is_an_idle_loss(
    script: Script, connect: Connect, end: Callable[[Talk], None]
) -> None:
    """FIN, close_notify or RST: found by asking (field note 1)."""
    server = script()
    line = connect(server)
    end(server.talks[0])
    lost = lose(line)
    assert isinstance(lost, LineLost)
    assert lost.loss is Loss.IDLE


def test_an_end_in_answer_is_an_idle_loss(script: Script, connect: Connect) -> None:
    """The line broke between the question and its answer."""
    lost = lose(connect(script({"NOOP": lambda talk, _: talk.reset()})))
    assert lost.loss is Loss.IDLE


def test_421_and_an_end_is_the_servers_doing(script: Script, connect: Connect) -> None:
    """Both before the question, and in answer to it."""
    server = script({"NOOP": b"421 Timeout"})
    assert lose(connect(server)).loss is Loss.CLOSED
    line = connect(server)
    assert server.talks[1].interrupt(farewell("421 Timeout"))
    assert lose(line).loss is Loss.CLOSED


def test_silence_is_a_black_hole(script: Script, connect: Connect) -> None:
    """probe_timeout, not reply_timeout."""
    line = connect(script({"NOOP": lambda *_: None}), probe_timeout=0.2)
    began = time.monotonic()
    with pytest.raises(NoAnswer) as told:
        line.noop()
    assert told.value.loss is Loss.BLACK_HOLE
    assert time.monotonic() - began < PATIENCE_S / 2


def test_an_end_in_the_middle_of_work_is_the_servers_doing(script: Script, connect: Connect) -> None:
    """EOF and RST outside the question before use count as closed."""
    for end in (end_by_fin, end_by_reset):
        line = connect(script({"DELE": lambda talk, _, end=end: end(talk)}))
        with pytest.raises(LineLost) as told:
            line.delete(b"/x")
        assert told.value.loss is Loss.CLOSED


def test_a_living_line_is_used_when_it_answers(script: Script, connect: Connect) -> None:
    """used_at moves with each reply."""
    line = connect(script())
    before = line.used_at
    line.noop()
    assert line.used_at > before
    assert line.opened_at <= before
