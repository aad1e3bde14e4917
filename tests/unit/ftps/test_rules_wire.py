"""Rules R11 to R14 of the design, §4: what goes over the wire, and where to."""

from __future__ import annotations

import socket
import statistics
import threading
import time
from collections.abc import Callable

import pytest

from tests.faults.acts import send
from tests.faults.dialogue import Talk
from tests.faults.scripted import PATIENCE_S, ScriptedServer
from tests.unit.ftps.conftest import Server
from workers.ftps.connection import Connection
from workers.ftps.errors import BadName, TransferBroken
from workers.ftps.states import State

Script = Callable[..., ScriptedServer]
Serve = Callable[..., Server]
Connect = Callable[..., Connection]

FILE = b"ten bytes!" * 3000


def nowhere(_: memoryview) -> None:
    """A sink."""


# -- R11, R12, R13


def test_r11_type_i_once_and_no_folder_to_restore(serve: Serve, connect: Connect) -> None:
    """One TYPE I a line, never TYPE A, never CWD."""
    server = serve()
    line = connect(server)
    line.store(b"/a", [FILE])
    line.retrieve(b"/a", nowhere, size=len(FILE))
    with line.listing(b"/") as listing:
        assert len(list(listing)) == 1
    verbs = [command.split()[0] for command in server.commands]
    assert [command for command in server.commands if command.startswith("TYPE")] == ["TYPE I"]
    assert not {"CWD", "CDUP", "PWD"} & set(verbs)


@pytest.mark.parametrize("odd", [b"\r", b"\n", b"\0"])
def test_r12_names_that_no_command_can_carry_are_refused_before_a_byte_is_sent(
    script: Script, connect: Connect, odd: bytes
) -> None:
    """CR, LF and NUL, in every verb's every name; the line stays READY."""
    server = script()
    line = connect(server)
    name = b"/a" + odd + b"DELE /b"
    before = len(server.commands)
    for verb in (
        lambda: line.listing(name),
        lambda: line.stat([b"/fine", name]),
        lambda: line.retrieve(name, nowhere),
        lambda: line.store(name, [FILE]),
        lambda: line.append(name, [FILE], offset=0),
        lambda: line.set_modified([(b"/fine", 0.0), (name, 0.0)]),
        lambda: line.rename(name, b"/x"),
        lambda: line.rename(b"/x", name),
        lambda: line.rename_all([(b"/fine", b"/x"), (b"/x", name)]),
        lambda: line.delete(name),
        lambda: line.delete_all([b"/fine", name]),
        lambda: line.mkdir(name),
    ):
        with pytest.raises(BadName):
            verb()
    assert line.state is State.READY
    line.noop()
    assert server.commands[before:] == ["NOOP"]


def test_r12_names_are_bytes_and_come_back_as_they_came(script: Script, connect: Connect) -> None:
    """What a listing gave is what RETR sends, whatever encoding it was in."""
    name = b" \xff\xfe; size=3;  x \xe4 "
    server = script({"MLSD": send(b"type=file;size=30000; " + name + b"\r\n"), "RETR": send(FILE)})
    line = connect(server)
    with line.listing(b"/") as listing:
        (entry,) = listing
    assert entry.name == name
    line.retrieve(b"/" + entry.name, nowhere, size=entry.size)
    assert server.commands[-1].encode("latin-1") == b"RETR /" + name


def test_r13_no_delay_on_both_channels(
    script: Script, connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without TCP_NODELAY a small upload costs 40 ms (field note 22)."""
    line = connect(script({"RETR": send(FILE)}))
    inside = line._line
    assert inside.control.stream.sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
    seen: list[int] = []

    def sink(_: memoryview) -> None:
        assert inside.data is not None
        seen.append(inside.data.sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY))

    line.retrieve(b"/x", sink, size=len(FILE))
    assert seen
    assert all(seen)


def test_r13_a_server_that_waits_for_acknowledgements_costs_no_time(script: Script, connect: Connect) -> None:
    """With Nagle's algorithm on, the server's 226 waits for our acknowledgement of the 150.

    A late acknowledgement, after 40 ms, makes all of them that long but the first few; a busy machine makes
    many longer, and some not.
    """

    def retr(talk: Talk, path: bytes) -> None:
        talk.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 0)
        send(FILE)(talk, path)

    line = connect(script({"RETR": retr}))
    took = []
    for _ in range(41):
        began = time.monotonic()
        line.retrieve(b"/x", nowhere, size=len(FILE))
        took.append(time.monotonic() - began)
    assert statistics.quantiles(took, n=4)[0] < 0.04


def test_r13_what_has_come_is_handed_on_though_a_block_holds_more(script: Script, connect: Connect) -> None:
    """A server that stops until it sees what became of its first bytes is not waited for."""
    handed_on = threading.Event()
    seen: list[bool] = []

    def retr(talk: Talk, _: bytes) -> None:
        talk.reply(b"150 Here it comes")
        channel = talk.secured_data()
        channel.sendall(FILE[:10])
        seen.append(handed_on.wait(PATIENCE_S))
        channel.sendall(FILE[10:])
        channel.unwrap()
        talk.reply(b"226 Done")

    line = connect(script({"RETR": retr}), idle_timeout=2 * PATIENCE_S)
    assert line.retrieve(b"/x", lambda _: handed_on.set(), size=len(FILE)) == len(FILE)
    assert seen == [True]


# -- R14: EPSV first


def test_r14_pasv_where_epsv_fails_and_then_always(script: Script, connect: Connect) -> None:
    """EPSV is asked once, and remembered as impossible; the 227's address is ignored."""

    def pasv(talk: Talk, _: bytes) -> None:
        port = talk.listen()
        talk.reply(b"227 Entering Passive Mode (203,0,113,7,%d,%d)." % divmod(port, 256))

    server = script({"EPSV": b"500 What?", "PASV": pasv, "RETR": send(FILE)})
    line = connect(server)
    for _ in range(2):
        line.retrieve(b"/x", nowhere, size=len(FILE))
    assert [command for command in server.commands if "SV" in command] == ["EPSV", "PASV", "PASV"]
    assert not line.features.epsv
    again = Connection.open(server.peer(), known=line.features)
    assert not again.features.epsv
    again.close()


def test_r14_a_227s_address_is_believed_in_trusted_networks(script: Script, connect: Connect) -> None:
    """trust_pasv_address names networks; the data port is then looked for at the address told."""

    def pasv(talk: Talk, _: bytes) -> None:
        port = talk.listen()
        talk.reply(b"227 Entering Passive Mode (127,0,0,2,%d,%d)." % divmod(port, 256))

    server = script({"EPSV": b"500 What?", "PASV": pasv, "RETR": send(FILE)}, data_host="127.0.0.2")
    trusting = connect(server, trust_pasv_address=("10.0.0.0/8", "127.0.0.0/24"))
    assert trusting.retrieve(b"/x", nowhere, size=len(FILE)) == len(FILE)
    for others in ((), ("10.0.0.0/8", "::/0")):
        with pytest.raises(TransferBroken):
            connect(server, trust_pasv_address=others).retrieve(b"/x", nowhere)
