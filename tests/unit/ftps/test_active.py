"""Active mode: where we listen, what the server is told, whom we let in, and what if nobody comes."""

from __future__ import annotations

import contextlib
import socket
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from tests.faults.dialogue import Talk
from tests.faults.scripted import PATIENCE_S, Answer, ScriptedServer
from tests.servers.certificates import Certificates
from tests.servers.ports import PortBlock
from workers.ftps.connection import Connection
from workers.ftps.errors import NoAnswer, Refused, TransferBroken
from workers.ftps.states import State
from workers.ftps.tls import Trust

Script = Callable[..., ScriptedServer]
Active = Callable[..., ScriptedServer]
Connect = Callable[..., Connection]

CONTENT = b"what the server has" * 100


@pytest.fixture
def ports() -> Iterator[tuple[int, int]]:
    """Ports of this test's own, the first and the last."""
    block = PortBlock.take()
    yield block.first + 1, block.first + 3
    block.close()


def call(talk: Talk, *, ours: str = "127.0.0.1") -> socket.socket:
    """Connect to where the client said."""
    return socket.create_connection(talk.server.told[-1], PATIENCE_S, source_address=(ours, 0))


def send_over(talk: Talk, plain: socket.socket) -> None:
    """The file, over TLS, to a client that came to be connected to."""
    data = talk.secured(plain)
    data.sendall(CONTENT)
    with contextlib.suppress(OSError):
        data.unwrap()
    data.close()
    talk.reply(b"226 Done")


NOT_PASSIVE: dict[str, Answer] = {"EPSV": b"500 No", "PASV": b"500 No"}


@pytest.fixture
def active(script: Script) -> Active:
    """A scripted server that connects to the client, and to it alone."""

    def start(answers: dict[str, Answer] | None = None) -> ScriptedServer:
        return script(NOT_PASSIVE | (answers or {}), files={b"/a": CONTENT})

    return start


def retrieved(line: Connection) -> bytes:
    got = bytearray()
    line.retrieve(b"/a", got.extend, size=len(CONTENT))
    return bytes(got)


def test_the_server_connects_to_a_port_of_ours(
    active: Active, connect: Connect, ports: tuple[int, int]
) -> None:
    """EPRT with the control connection's own address and a port of the range; TLS sessions are resumed."""
    server = active()
    line = connect(server, active_ports=ports)
    for _ in range(16):
        assert retrieved(line) == CONTENT
    assert all(host == "127.0.0.1" and ports[0] <= port <= ports[1] for host, port in server.told)
    assert len({port for _, port in server.told}) > 1
    assert not any(command.startswith(("EPSV", "PASV", "PORT")) for command in server.commands)
    assert (line.data_resumed, line.data_fresh) == (16, 0)
    assert line.state is State.READY


def test_port_where_eprt_is_refused_and_then_always(
    active: Active, connect: Connect, ports: tuple[int, int]
) -> None:
    """A server from before RFC 2428 is asked once; the next line knows."""
    server = active({"EPRT": b"500 What?"})
    line = connect(server, active_ports=ports)
    assert retrieved(line) == retrieved(line) == CONTENT
    asked = [command.split(" ")[0] for command in server.commands if command[:4] in ("EPRT", "PORT")]
    assert asked == ["EPRT", "PORT", "PORT"]
    later = Connection.open(server.peer(active_ports=ports), known=line.features)
    assert retrieved(later) == CONTENT
    later.close()
    assert sum(command.startswith("EPRT") for command in server.commands) == 1


def test_a_server_that_will_have_neither(active: Active, connect: Connect, ports: tuple[int, int]) -> None:
    """Refused in its words, and the line goes on."""
    line = connect(active({"EPRT": b"500 No", "PORT": b"500 Illegal PORT"}), active_ports=ports)
    with pytest.raises(Refused, match="Illegal PORT"):
        retrieved(line)
    line.noop()


def test_we_listen_nowhere_else(active: Active, connect: Connect, ports: tuple[int, int]) -> None:
    """Not on the machine's other addresses, and no longer once the server is in."""
    open_doors: list[str] = []

    def knock(talk: Talk, _: bytes) -> None:
        port = talk.server.told[-1][1]
        talk.reply(b"150 Here it comes")
        with contextlib.suppress(ConnectionRefusedError):
            socket.create_connection(("127.0.0.2", port), 1).close()
            open_doors.append("the other address")
        send_over(talk, call(talk))

    server = active({"RETR": knock})
    line = connect(server, active_ports=ports)
    assert retrieved(line) == CONTENT
    assert open_doors == []
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(server.told[-1], 1)


def test_a_stranger_is_not_let_in(active: Active, connect: Connect, ports: tuple[int, int]) -> None:
    """Whoever connects from another address is shown the door, and the server's connection is awaited."""
    seen: list[bytes] = []

    def intrude(talk: Talk, _: bytes) -> None:
        talk.reply(b"150 Here it comes")
        stranger = call(talk, ours="127.0.0.2")
        stranger.settimeout(PATIENCE_S)
        with contextlib.suppress(ConnectionResetError):
            seen.append(stranger.recv(1))  # a client that takes him for the server says hello
        stranger.close()
        send_over(talk, call(talk))

    line = connect(active({"RETR": intrude}), active_ports=ports)
    assert retrieved(line) == CONTENT
    assert seen in ([], [b""])


def test_a_server_may_connect_before_the_command(
    active: Active, connect: Connect, ports: tuple[int, int]
) -> None:
    """pyftpdlib does, at once; the kernel lets it in, and the command goes out all the same."""
    early: list[socket.socket] = []

    def at_once(talk: Talk, argument: bytes) -> None:
        _, _, host, port, _ = argument.decode().split("|")
        early.append(socket.create_connection((host, int(port)), PATIENCE_S))
        talk.reply(b"200 Connected")

    def then_send(talk: Talk, _: bytes) -> None:
        talk.reply(b"150 Here it comes")
        send_over(talk, early.pop())

    line = connect(active({"EPRT": at_once, "RETR": then_send}), active_ports=ports)
    assert retrieved(line) == CONTENT


@pytest.mark.parametrize("replies", [b"425 Can't reach you", b"150 Now\r\n425 Can't reach you"])
def test_a_server_that_cannot_connect_says_so(
    active: Active, connect: Connect, ports: tuple[int, int], replies: bytes
) -> None:
    """A firewall before us: its words are told, soon, and the line goes on."""
    line = connect(active({"RETR": replies}), active_ports=ports)
    began = time.monotonic()
    with pytest.raises(TransferBroken, match="Can't reach you"):
        retrieved(line)
    assert time.monotonic() - began < PATIENCE_S / 2
    line.noop()


def test_nobody_comes(
    active: Active, connect: Connect, ports: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The wait ends with connect_timeout, and the line with it: a reply is owed."""
    line = connect(active({"RETR": b"150 Here it comes"}), active_ports=ports)
    # The opening, too, has to be over within connect_timeout.
    monkeypatch.setattr(line._line, "peer", replace(line._line.peer, connect_timeout=0.3))
    with pytest.raises(NoAnswer):
        retrieved(line)
    assert line.state is State.DEAD
    with contextlib.closing(socket.create_server(("127.0.0.1", ports[0]))):
        pass


def test_ports_in_use_are_passed_over(active: Active, connect: Connect, ports: tuple[int, int]) -> None:
    """The free one of three is found; when there is none, that is said, and nothing of it to the server."""
    first, last = ports
    server = active()
    with contextlib.ExitStack() as busy:
        for port in (first, last):
            busy.enter_context(contextlib.closing(socket.create_server(("127.0.0.1", port))))
        line = connect(server, active_ports=ports)
        for _ in range(5):
            assert retrieved(line) == CONTENT
        assert {port for _, port in server.told} == {first + 1}
        busy.enter_context(contextlib.closing(socket.create_server(("127.0.0.1", first + 1))))
        before = len(server.commands)
        with pytest.raises(TransferBroken, match=f"ports {first} to {last}"):
            retrieved(line)
        assert len(server.commands) == before
        assert line.state is State.READY
    assert retrieved(line) == CONTENT


@pytest.mark.parametrize("mode", ["active", "passive"])
def test_ipv6(tmp_path: Path, ports: tuple[int, int], mode: str) -> None:
    """EPRT with |2| and EPSV; PORT and PASV know no such address, and are not tried."""
    try:
        socket.create_server(("::1", 0), family=socket.AF_INET6).close()
    except OSError as none:
        pytest.skip(f"this machine has no ::1: {none}")
    certificates = Certificates.make(tmp_path, "::1")
    answers = {} if mode == "passive" else NOT_PASSIVE
    with ScriptedServer(certificates, answers, host="::1", files={b"/a": CONTENT}) as server:
        trust = Trust(ca_file=str(certificates.ca_file))
        chosen = ports if mode == "active" else None
        line = Connection.open(server.peer(host="::1", trust=trust, active_ports=chosen))
        assert retrieved(line) == CONTENT
        said = [command for command in server.commands if command[:4] in ("EPSV", "EPRT", "PASV", "PORT")]
        expected = "EPSV" if mode == "passive" else f"EPRT |2|::1|{server.told[-1][1] if server.told else 0}|"
        assert said == [expected]
        server.when("EPRT", b"522 Not supported")
        if mode == "active":
            with pytest.raises(Refused, match="522"):
                retrieved(line)
            assert not any(command.startswith("PORT") for command in server.commands)
        line.close()
