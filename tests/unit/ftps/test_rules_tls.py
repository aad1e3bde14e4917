"""Rule R7 of the design, §4: TLS on the data channel resumes the control connection's session."""

from __future__ import annotations

import socket
import ssl
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest

from tests.faults.acts import send
from tests.faults.dialogue import Talk
from tests.faults.scripted import ScriptedServer, server_context
from tests.servers.certificates import Certificates
from tests.servers.server import TlsVersion
from workers.ftps import resuming
from workers.ftps.connection import Connection
from workers.ftps.errors import CertificateRefused, Refused, TransferBroken
from workers.ftps.states import State

Script = Callable[..., ScriptedServer]
Connect = Callable[..., Connection]

FILE = b"ten bytes!" * 3000


def nowhere(_: memoryview) -> None:
    """A sink."""


@contextmanager
def unsecured(line: Connection) -> Iterator[ssl.SSLSocket]:
    """A TLS socket of the line's context, before its handshake."""
    context = line._line.context
    assert context is not None
    ours, theirs = socket.socketpair()
    with (
        theirs,
        context.wrap_socket(ours, server_hostname="localhost", do_handshake_on_connect=False) as data,
    ):
        yield data


# -- R7: TLS on data


@pytest.mark.parametrize("version", ["1.2", "1.3"])
def test_r7_every_data_channel_resumes_the_control_session(
    script: Script, connect: Connect, version: TlsVersion
) -> None:
    """The server sees a resumed session on each data channel, and we count the same."""
    seen: list[bool | None] = []

    def retr(talk: Talk, _: bytes) -> None:
        talk.reply(b"150 Here it comes")
        channel = talk.secured_data()
        seen.append(channel.session_reused)
        channel.sendall(FILE)
        channel.unwrap()
        talk.reply(b"226 Done")

    line = connect(script({"RETR": retr}, tls_version=version))
    for _ in range(3):
        assert line.retrieve(b"/x", nowhere, size=len(FILE)) == len(FILE)
    assert seen == [True] * 3
    assert (line.data_resumed, line.data_fresh) == (3, 0)


def test_r7_a_session_that_was_not_resumed_is_counted(
    script: Script, connect: Connect, certificates: Certificates
) -> None:
    """A server with a context of its own for data can't resume, and the miss is counted."""
    other = server_context(certificates)

    def retr(talk: Talk, _: bytes) -> None:
        talk.reply(b"150 Here it comes")
        talk.secured_data(other).unwrap()
        talk.reply(b"226 Done")

    line = connect(script({"RETR": retr}))
    line.retrieve(b"/x", nowhere)
    assert (line.data_resumed, line.data_fresh) == (0, 1)


def test_r7_two_lines_share_no_session(script: Script, connect: Connect) -> None:
    """Each line has a context of its own: a shared cache gives random 425s (field note 18)."""
    server = script()
    one, other = connect(server), connect(server)
    assert one._line.context is not other._line.context
    assert not any(
        line._line.control.stream.tls is None or line._line.control.stream.tls.session_reused
        for line in (one, other)
    )


def test_r7_resuming_leaks_no_memory(script: Script, connect: Connect) -> None:
    """Looking at a session leaks 7 KiB in Python 3.11 (field note 12): 10,000 files must not take 70 MB."""
    line = connect(script())
    resumption = line._line.control.resumption
    assert resumption is not None
    process = psutil.Process()
    with unsecured(line) as data:
        before = process.memory_info().rss
        for _ in range(10_000):
            resumption.offer(data)
    assert process.memory_info().rss - before < 30_000_000


@pytest.mark.parametrize("version", ["1.2", "1.3"])
@pytest.mark.parametrize(
    ("attribute", "closed"), [("_OPENSSL", None), ("_openssl_of", lambda _: None)], ids=["linked", "laid out"]
)
def test_r7_a_session_is_resumed_where_openssl_is_out_of_reach(
    script: Script,
    connect: Connect,
    monkeypatch: pytest.MonkeyPatch,
    version: TlsVersion,
    attribute: str,
    closed: object,
) -> None:
    """By Python's own way then, and on Pythons where each look leaks, the session is kept for minutes."""
    monkeypatch.setattr(resuming, "LOOKING_LEAKS", True)
    monkeypatch.setattr(resuming, attribute, closed)
    line = connect(script(tls_version=version, files={b"/x": FILE}))
    for _ in range(2):
        line.retrieve(b"/x", nowhere, size=len(FILE))
    assert (line.data_resumed, line.data_fresh) == (2, 0)
    resumption = line._line.control.resumption
    assert resumption is not None
    with unsecured(line) as data:
        resumption.offer(data)
        first = data.session
        monkeypatch.setattr(resuming, "_KEPT_S", 0.0)
        resumption.offer(data)
        assert first is not data.session is not None


def test_r7_the_session_that_is_offered_is_the_current_one(
    script: Script, connect: Connect, certificates: Certificates
) -> None:
    """Under TLS 1.3 it comes with what is read after the handshake: what was offered before is not kept."""
    line = connect(script())
    context = line._line.context
    assert context is not None
    ours, theirs = socket.socketpair()
    with ThreadPoolExecutor(1) as other, unsecured(line) as data:
        accepted = other.submit(server_context(certificates).wrap_socket, theirs, server_side=True)
        control = context.wrap_socket(ours, server_hostname="localhost")
        with control, accepted.result() as server:
            resumption = resuming.Resumption(control)
            offered = []
            for _ in range(2):
                resumption.offer(data)
                offered.append(data.session.id if data.session is not None else b"")
                server.sendall(b"a")
                control.recv(1)
            assert control.session is not None
            assert offered[0] != offered[1] == control.session.id


def test_r7_the_command_goes_before_the_handshake(script: Script, connect: Connect) -> None:
    """vsftpd and ProFTPD answer in TLS only when they have a command; the 1xx, though, is not waited for."""
    early: list[bytes] = []

    def retr(talk: Talk, _: bytes) -> None:
        channel = talk.accept()
        early.append(channel.recv(1, socket.MSG_PEEK))
        talk.reply(b"150 Here it comes")
        secure = talk.secured(channel)
        secure.sendall(FILE)
        secure.unwrap()
        talk.reply(b"226 Done")

    line = connect(script({"RETR": retr}))
    line.retrieve(b"/x", nowhere, size=len(FILE))
    assert early == [b"\x16"]


def test_r7_an_empty_file_shakes_hands_too(script: Script, connect: Connect) -> None:
    """Both ways (field note 17)."""
    handshakes: list[str | None] = []

    def retr(talk: Talk, _: bytes) -> None:
        talk.reply(b"150 Here it comes")
        channel = talk.secured_data()
        handshakes.append(channel.version())
        channel.unwrap()
        talk.reply(b"226 Done")

    def stor(talk: Talk, _: bytes) -> None:
        talk.reply(b"150 Go on")
        channel = talk.secured_data()
        handshakes.append(channel.version())
        assert channel.recv(1) == b""
        channel.close()
        talk.reply(b"226 Done")

    line = connect(script({"RETR": retr, "STOR": stor}))
    assert line.retrieve(b"/x", nowhere, size=0) == 0
    assert line.store(b"/x", [], size=0) == 0
    assert handshakes == ["TLSv1.3"] * 2


def test_r7_the_name_on_data_is_the_control_hosts(
    script: Script, connect: Connect, certificates: Certificates, tmp_path: Path
) -> None:
    """A data channel that shows a certificate for another name is refused, whatever address it has."""
    elsewhere = Certificates.make(tmp_path / "elsewhere", "elsewhere.example")
    other = server_context(elsewhere)

    def retr(talk: Talk, _: bytes) -> None:
        talk.reply(b"150 Here it comes")
        talk.secured_data(other)

    line = connect(script({"RETR": retr}))
    with pytest.raises(CertificateRefused):
        line.retrieve(b"/x", nowhere)
    assert line.state is State.DEAD


def test_r7_a_refused_session_wants_a_new_line_only_where_one_was_resumed(
    script: Script, connect: Connect, certificates: Certificates
) -> None:
    """522 on a line that never resumed is a settled no; else its ticket has ended (field note 5)."""
    forgetful = server_context(certificates)

    def retr(talk: Talk, path: bytes) -> None:
        if path == b"/good":
            send(FILE)(talk, path)
            return
        talk.reply(b"150 Here it comes")
        talk.secured_data(forgetful).close()
        talk.reply(b"522 SSL connection failed: session reuse required")

    line = connect(script({"RETR": retr}))
    with pytest.raises(Refused, match="522"):
        line.retrieve(b"/bad", nowhere)
    line.retrieve(b"/good", nowhere)
    with pytest.raises(TransferBroken, match="522"):
        line.retrieve(b"/bad", nowhere)


@pytest.mark.parametrize("code", [425, 426, 451])
def test_r7_a_failed_data_channel_is_no_refusal_of_the_file(
    script: Script, connect: Connect, code: int
) -> None:
    """425, 426 and 451 are about the channel: transient, and the line stays usable."""
    line = connect(script({"RETR": b"%d Not now" % code}))
    with pytest.raises(TransferBroken):
        line.retrieve(b"/x", nowhere)
    assert line.state is State.READY
