"""Rules R3 to R6 of the design, §4: which replies are believed, and how long they are waited for."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable
from typing import Any

import pytest

from tests.faults.dialogue import Talk
from tests.faults.scripted import PATIENCE_S, ScriptedServer
from workers.ftps.connection import Connection
from workers.ftps.errors import ConnectFailed, LineLost, Loss, NoAnswer, ProtocolError, TransferBroken
from workers.ftps.states import State

Script = Callable[..., ScriptedServer]
Connect = Callable[..., Connection]


def nowhere(_: memoryview) -> None:
    """A sink."""


# -- R3: each command has its acceptable replies


@pytest.mark.parametrize("reply", [b"226 Done", b"150 Wait", b"331 Password?", b"hello", b"99 x", b"600 x"])
def test_r3_a_reply_outside_the_set_is_a_protocol_error(
    script: Script, connect: Connect, reply: bytes
) -> None:
    """A NOOP answered by 226 is not a healthy line (field note 3)."""
    line = connect(script({"NOOP": reply}))
    with pytest.raises(ProtocolError) as told:
        line.noop()
    assert told.value.loss is Loss.PROTOCOL
    assert line.state is State.DEAD


@pytest.mark.parametrize("extra", [b"226 Late", b"22"])
def test_r3_bytes_that_no_command_explains_are_a_protocol_error(
    script: Script, connect: Connect, extra: bytes
) -> None:
    """A reply too many is noticed before the next command is sent, whole or half."""
    server = script({"NOOP": lambda talk, _: talk.raw(b"200 ok\r\n" + extra)})
    line = connect(server)
    line.noop()
    with pytest.raises(ProtocolError, match="no command explains"):
        line.delete(b"/x")
    assert not any(command.startswith("DELE") for command in server.commands)


def test_r3_tickets_are_not_such_bytes(script: Script, connect: Connect) -> None:
    """TLS 1.3 sends session tickets after the handshake, which are read while no command waits."""
    line = connect(script())
    for _ in range(3):
        line.noop()
    assert line.state is State.READY


def test_r3_success_without_a_1xx_is_no_transfer(script: Script, connect: Connect) -> None:
    """A 226 that skips the 150 has moved no byte."""
    line = connect(script({"RETR": b"226 Done"}))
    with pytest.raises(ProtocolError):
        line.retrieve(b"/x", nowhere)
    assert line.state is State.DEAD


# -- R4: clear text behind AUTH TLS


def test_r4_clear_text_behind_auth_is_refused(script: Script) -> None:
    """What was slipped in before the handshake is never taken for an encrypted answer (field note 42)."""

    def inject(talk: Talk, _: bytes) -> None:
        talk.raw(b"234 Go ahead\r\n230 You are in\r\n")
        talk.secure()

    server = script({"AUTH": inject}, tls="explicit")
    with pytest.raises(ConnectFailed, match="clear text behind"):
        Connection.open(server.peer())
    assert not any(command.startswith("USER") for command in server.commands)


# -- R5: 421


@pytest.mark.parametrize("verb", ["NOOP", "DELE", "SIZE", "EPSV", "RETR"])
def test_r5_421_in_answer_to_anything_is_the_end(script: Script, connect: Connect, verb: str) -> None:
    """421 means that the server closes: dead, without QUIT, counted as the server's doing."""
    server = script({verb: b"421 Timeout"})
    line = connect(server)
    with pytest.raises(LineLost) as told:
        {
            "NOOP": line.noop,
            "DELE": lambda: line.delete(b"/x"),
            "SIZE": lambda: line.stat([b"/x"]),
        }.get(verb, lambda: line.retrieve(b"/x", nowhere))()
    assert told.value.loss is Loss.CLOSED
    line.close()
    assert line.state is State.DEAD
    assert "QUIT" not in server.commands


def test_r5_421_that_was_waiting_is_found_before_use(script: Script, connect: Connect) -> None:
    """421 to an idle line, and then its end, is counted as closed by the server, not as an idle loss."""

    def farewell(talk: Talk, _: bytes) -> None:
        talk.raw(b"200 ok\r\n421 Timeout\r\n")
        talk.close()

    line = connect(script({"NOOP": farewell}))
    line.noop()
    with pytest.raises(LineLost) as told:
        line.noop()
    assert told.value.loss is Loss.CLOSED


# -- R6: deadlines are absolute


def test_r6_a_drip_on_the_control_connection_defeats_no_deadline(script: Script, connect: Connect) -> None:
    """One byte of the reply every 50 ms keeps no command alive (field note 11)."""
    over = threading.Event()

    def drip(talk: Talk, _: bytes) -> None:
        for byte in b"200 " + b"z" * 2000:
            if over.wait(0.05):
                return
            talk.raw(bytes([byte]))

    line = connect(script({"NOOP": drip}))
    began = time.monotonic()
    with pytest.raises(NoAnswer):
        line.noop(0.4)
    over.set()
    assert time.monotonic() - began < PATIENCE_S / 2


def test_r6_a_drip_on_the_data_channel_is_silence(script: Script, connect: Connect) -> None:
    """A byte now and then is less than the least progress: the idle limit ends the transfer."""
    over = threading.Event()

    def drip(talk: Talk, _: bytes) -> None:
        talk.reply(b"150 Here it comes")
        channel = talk.secured_data()
        while not over.wait(0.05):
            channel.sendall(b"z")

    line = connect(script({"RETR": drip}), idle_timeout=1.0)
    began = time.monotonic()
    with pytest.raises(TransferBroken) as told:
        line.retrieve(b"/x", nowhere, size=10_000)
    over.set()
    assert time.monotonic() - began < PATIENCE_S / 2
    assert told.value.loss is Loss.BLACK_HOLE
    assert line.state is State.DEAD


def test_r6_an_opening_that_drips_ends_in_time(script: Script) -> None:
    """connect_timeout covers name, TCP, TLS and login together: each answer comes in time, both do not."""

    def slowly(talk: Talk, _: bytes) -> None:
        threading.Event().wait(0.3)
        talk.reply(b"331 Password?" if talk.verb == "USER" else b"230 Welcome")

    server = script({"USER": slowly, "PASS": slowly})
    with pytest.raises(ConnectFailed):
        Connection.open(server.peer(connect_timeout=0.45))


def test_r6_a_name_server_that_hangs_ends_in_time(monkeypatch: pytest.MonkeyPatch, script: Script) -> None:
    """getaddrinfo takes no deadline; connect_timeout holds all the same."""
    asked = socket.getaddrinfo
    over = threading.Event()

    def hang(host: str, port: int, *rest: Any, **options: Any) -> Any:
        if not options.get("flags"):
            over.wait(PATIENCE_S)
        return asked(host, port, *rest, **options)

    monkeypatch.setattr(socket, "getaddrinfo", hang)
    began = time.monotonic()
    with pytest.raises(ConnectFailed, match="not resolved in time"):
        Connection.open(script().peer(connect_timeout=0.3))
    over.set()
    assert time.monotonic() - began < PATIENCE_S / 2


def test_r6_tcp_watches_the_control_connection(script: Script, connect: Connect) -> None:
    """Keepalive and the user time-out are set on the socket that really carries the line."""
    sock = connect(script(), reply_timeout=5.0)._line.control.stream.sock
    assert sock.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
    assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT) == 5000
