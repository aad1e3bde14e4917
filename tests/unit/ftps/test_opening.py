"""The opening dialogue: what each refusal at each step means, and what is never sent."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.faults.dialogue import Talk
from tests.faults.scripted import ScriptedServer
from tests.unit.ftps.conftest import PASSWORD, Server
from workers.ftps.connection import Connection
from workers.ftps.errors import Capacity, ConnectFailed, FtpsError, LoginRefused, TlsRefused
from workers.ftps.states import State
from workers.ftps.tls import Trust

Script = Callable[..., ScriptedServer]
Connect = Callable[..., Connection]

OPENING = ["USER acme", f"PASS {PASSWORD}", "PBSZ 0", "PROT P", "TYPE I", "FEAT", "OPTS UTF8 ON"]
HALF = {"CONNECT": b"220-Half a greeting"}


def test_implicit_tls_says_no_word_in_clear(script: Script, connect: Connect) -> None:
    """TLS first, greeting after it, and no AUTH."""
    server = script(tls="implicit")
    line = connect(server)
    assert line.state is State.READY
    assert server.commands == OPENING


def test_explicit_tls_asks_before_the_name(script: Script, connect: Connect) -> None:
    """AUTH TLS comes first, USER only inside TLS."""
    server = script(tls="explicit")
    connect(server)
    assert server.commands == ["AUTH TLS", *OPENING]


def test_no_tls_only_on_purpose(script: Script, connect: Connect) -> None:
    """tls="off" neither asks for TLS nor for protection, and moves files."""

    server = script(tls="explicit", files={b"/x": b"clear"})
    line = connect(server, tls="off")
    got = bytearray()
    assert line.retrieve(b"/x", got.extend, size=5) == 5
    assert got == b"clear"
    assert line.tls is None
    assert not {"AUTH TLS", "PBSZ 0", "PROT P"} & set(server.commands)


def test_utf8_is_switched_on_where_it_is_offered(serve: Callable[..., Server], connect: Connect) -> None:
    """And only where names are UTF-8."""
    server = serve()
    connect(server)
    assert "OPTS UTF8 ON" in server.commands
    server.commands.clear()
    connect(server, encoding="latin-1")
    assert "OPTS UTF8 ON" not in server.commands


@pytest.mark.parametrize("reply", [b"500 What?", b"502 No", b"504 No TLS", b"534 Policy"])
def test_a_refused_auth_is_final_and_sends_no_name(script: Script, reply: bytes) -> None:
    """Never a quiet fall back to clear text (field note 19)."""
    server = script({"AUTH": reply}, tls="explicit")
    with pytest.raises(TlsRefused):
        Connection.open(server.peer())
    assert server.commands == ["AUTH TLS"]


def test_auth_that_is_refused_for_now_may_be_tried_again(script: Script) -> None:
    """431: RFC 4217 §4.1."""
    with pytest.raises(ConnectFailed):
        Connection.open(script({"AUTH": b"431 Later"}, tls="explicit").peer())


@pytest.mark.parametrize("verb", ["PBSZ", "PROT"])
def test_refused_protection_is_final(script: Script, verb: str) -> None:
    """Data in clear text is no substitute."""
    with pytest.raises(TlsRefused):
        Connection.open(script({verb: b"536 No"}).peer())


@pytest.mark.parametrize(
    ("answers", "error"),
    [
        ({"PASS": b"530 Login incorrect."}, LoginRefused),
        ({"PASS": b"430 Invalid user name or password"}, LoginRefused),
        ({"PASS": b"530 Too many failed login attempts"}, LoginRefused),
        ({"USER": b"530 Not you"}, LoginRefused),
        ({"PASS": b"332 Account?"}, LoginRefused),
        ({"USER": b"332 Account?"}, LoginRefused),
        (
            {"PASS": b"530 Sorry, the maximum number of clients (5) for this user are already connected."},
            Capacity,
        ),
        ({"PASS": b"421 Too many users"}, Capacity),
        ({"USER": b"421 Too many users"}, Capacity),
        ({"PASS": b"450 Try later"}, ConnectFailed),
        ({"CONNECT": b"421 There are too many connected users, please try later."}, Capacity),
        ({"CONNECT": b"530 Too many connections"}, Capacity),
        ({"CONNECT": b"554 Banned"}, ConnectFailed),
        ({"CONNECT": b"SSH-2.0-OpenSSH_9.2"}, ConnectFailed),
        (HALF, ConnectFailed),
        ({"TYPE": b"500 No"}, ConnectFailed),
        ({"USER": b"227 What?"}, ConnectFailed),
    ],
)
def test_what_a_refusal_means(script: Script, answers: dict[str, bytes], error: type[FtpsError]) -> None:
    """A wrong password is for ever, a full server for a while (field note 9)."""
    server = script(answers)
    # Of half a greeting the rest never comes.
    peer = server.peer(connect_timeout=1.0) if answers == HALF else server.peer()
    with pytest.raises(FtpsError) as told:
        Connection.open(peer)
    assert type(told.value) is error


def test_a_greeting_may_be_delayed(script: Script, connect: Connect) -> None:
    """120, and 220 later."""

    def slow(talk: Talk, _: bytes) -> None:
        talk.reply(b"120 In a minute")
        talk.reply(b"220 Ready")

    connect(script({"CONNECT": slow}))


def test_no_password_where_none_is_asked(script: Script, connect: Connect) -> None:
    """230 or 232 to USER."""
    for reply in (b"230 Come in", b"232 Your certificate will do"):
        server = script({"USER": reply})
        connect(server)
        assert not any(command.startswith("PASS") for command in server.commands)


def test_a_server_without_feat_is_taken_as_it_is(script: Script, connect: Connect) -> None:
    """stat() then tells nothing, and asks nothing."""
    server = script({"FEAT": b"500 What?"})
    line = connect(server)
    (stat,) = line.stat([b"/x"])
    assert stat is not None
    assert (stat.size, stat.modified) == (None, None)
    assert not any(command.startswith("SIZE") for command in server.commands)


def test_the_password_is_in_no_message_and_in_no_log(script: Script) -> None:
    """Not in what the wire callback is told, nor in errors, nor in repr, even when the server repeats it."""
    echo = f"530 Wrong password {PASSWORD} for acme".encode()
    server = script({"PASS": echo})
    peer = server.peer()
    wire: list[str] = []
    with pytest.raises(LoginRefused) as told:
        Connection.open(peer, wire=wire.append)
    assert "> PASS ***" in wire
    for text in (*wire, str(told.value), repr(told.value), repr(peer)):
        assert PASSWORD not in text


def test_a_password_in_another_encoding_is_concealed_as_well(script: Script) -> None:
    """What a server repeats is bytes: as UTF-8 they read differently."""
    server = script({"PASS": b"530 No: l\xf6sung"})
    wire: list[str] = []
    with pytest.raises(LoginRefused) as told:
        Connection.open(server.peer(password="l\xf6sung", encoding="latin-1"), wire=wire.append)
    for text in (*wire, str(told.value)):
        assert "sung" not in text


@pytest.mark.parametrize("password", ["a\r\nDELE x", "\udc80"])
def test_a_password_that_cannot_be_sent_is_refused_here(script: Script, password: str) -> None:
    """Nothing of it is sent, nothing of it is told."""
    server = script()
    with pytest.raises(LoginRefused) as told:
        Connection.open(server.peer(password=password))
    assert not any(command.startswith(("PASS", "DELE")) for command in server.commands)
    assert "DELE" not in str(told.value)


def test_every_address_of_a_name_is_tried(
    script: Script, connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first refuses, the second swallows, the third answers."""
    server = script()
    asked = socket.getaddrinfo
    swallowing = socket.create_server(("127.0.0.2", server.peer().port), backlog=0)
    fillers = [socket.socket() for _ in range(4)]
    for filler in fillers:
        filler.setblocking(False)
        filler.connect_ex(swallowing.getsockname())

    def several(host: str, port: int, *rest: object, **options: object) -> object:
        if host != "several.example":
            return asked(host, port, *rest, **options)  # type: ignore[arg-type]
        if options.get("flags"):
            raise socket.gaierror(socket.EAI_NONAME, "no address")
        kind, proto = socket.SOCK_STREAM, socket.IPPROTO_TCP
        return [
            (socket.AF_INET, kind, proto, "", (address, port))
            for address in ("127.0.0.3", "127.0.0.2", "127.0.0.1")
        ]

    monkeypatch.setattr(socket, "getaddrinfo", several)
    line = connect(server, host="several.example", trust=Trust(verify=False), connect_timeout=8.0)
    assert line.state is State.READY
    for sock in (swallowing, *fillers):
        sock.close()


def test_nobody_there(script: Script, free_port: Callable[[], int]) -> None:
    """A refused connection and an unknown name are ConnectFailed, with the reason."""
    peer, port = script().peer(), free_port()
    with pytest.raises(ConnectFailed, match="refused"):
        Connection.open(type(peer)("127.0.0.1", port, "a", "b"))
    with pytest.raises(ConnectFailed, match=r"no\.such\.name\.invalid"):
        Connection.open(type(peer)("no.such.name.invalid", port, "a", "b"))
    with pytest.raises(ConnectFailed):
        Connection.open(type(peer)("a" * 64 + ".example", port, "a", "b"))


def test_a_failed_opening_leaves_nothing_open(script: Script) -> None:
    """No descriptor and no thread stays behind, wherever the opening fails (field note 12)."""
    server = script({"PASS": b"530 No"})
    descriptors = Path("/proc/self/fd")

    def fail() -> None:
        with pytest.raises(LoginRefused):
            Connection.open(server.peer())
        for talk in server.talks:
            while talk.socket.fileno() >= 0:
                threading.Event().wait(0.001)

    fail()
    before = len(list(descriptors.iterdir()))
    for _ in range(20):
        fail()
    # What other tests have left may be collected meanwhile.
    assert len(list(descriptors.iterdir())) <= before


@pytest.mark.parametrize("password", [PASSWORD, "hüñter\\2 'x'"])
@pytest.mark.parametrize(
    ("verb", "said"),
    [
        ("PASS", "530 No such password: {}"),
        ("PASS", "421 {} is one too many."),
        ("PASS", "430 {}"),
        ("PASS", "450 {} for now."),
        ("PASS", "299 You said {}"),
        ("PASS", "You said {}"),
        ("PBSZ", "500 {}"),
        ("FEAT", "421 {}"),
        ("NOOP", "You said {}"),
    ],
)
def test_a_password_that_the_server_repeats_is_in_no_failure(
    script: Script, connect: Connect, verb: str, said: str, password: str
) -> None:
    """Whatever the reply means: failures go to logs, to the ledger and to Flower."""
    server = script({verb: said.format(password).encode()})
    server.password = password
    with pytest.raises(FtpsError) as failure:
        connect(server, password=password).noop()
    told = f"{failure.value} {failure.value!r}"
    assert "***" in told
    assert not any(form in told for form in (password, repr(password)[1:-1]))
