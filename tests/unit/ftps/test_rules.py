"""The rules of the design, §4: one test or more for each, which fails when the rule is broken."""

from __future__ import annotations

import os
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests.servers.certificates import Certificates
from tests.unit.ftps.conftest import Server
from tests.unit.ftps.scripted import Scripted, Talk, server_context
from workers.ftps import data
from workers.ftps.connection import Connection
from workers.ftps.errors import (
    BadName,
    CertificateRefused,
    ConnectFailed,
    LineLost,
    Loss,
    NoAnswer,
    ProtocolError,
    Refused,
    TransferBroken,
)
from workers.ftps.states import State

Script = Callable[..., Scripted]
Serve = Callable[..., Server]
Connect = Callable[..., Connection]

FILE = b"ten bytes!" * 3000


def nowhere(_: memoryview) -> None:
    """A sink."""


def never(talk: Talk, _: bytes) -> None:
    """No answer at all."""


def hang_up(talk: Talk, _: bytes) -> None:
    talk.sock.close()


def send(content: bytes) -> Callable[[Talk, bytes], None]:
    """A download as it should be."""
    return lambda talk, _: talk.send_file(content[talk.offset :])


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
    server = script({"DELE": never})
    line = connect(server, reply_timeout=0.2)
    with pytest.raises(NoAnswer):
        line.delete(b"/x")
    line.close()
    assert "QUIT" not in server.commands


def test_r1_closing_in_the_middle_says_nothing(script: Script, connect: Connect) -> None:
    """QUIT from READY only: behind an unfinished listing it would be one more command that nobody reads."""
    server = script({"MLSD": lambda talk, _: (talk.say(b"150 Here it comes"), talk.secured_data())})
    line = connect(server)
    line.listing(b"/")
    line.close()
    assert "QUIT" not in server.commands
    assert line.state is State.DEAD


def test_r1_closing_takes_a_second_at_most(script: Script, connect: Connect) -> None:
    """A QUIT that is never answered holds nobody up (field note 8)."""
    line = connect(script({"QUIT": never}))
    began = time.monotonic()
    line.close()
    assert time.monotonic() - began < 1.0


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
    line = connect(script({"DELE": never}), reply_timeout=0.2)
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
            "SIZE": lambda talk, path: talk.say(b"550 no" if path == b"/7" else b"213 %d" % int(path[1:])),
            "MDTM": lambda talk, path: talk.say(b"550 no" if path == b"/7" else b"213 20260102030405"),
        }
    )
    found = connect(server).stat([b"/%d" % number for number in range(100)])
    assert [stat and stat.size for stat in found] == [None if n == 7 else n for n in range(100)]


def test_r2_commands_on_their_way_are_bounded(script: Script, connect: Connect) -> None:
    """Neither side may ever wait for the other to read: a silent server is sent one flight, no more."""
    server = script({"SIZE": never, "MDTM": never})
    line = connect(server, reply_timeout=0.3)
    with pytest.raises(NoAnswer):
        line.stat([b"/%d" % number for number in range(1000)])
    assert sum(command.startswith(("SIZE", "MDTM")) for command in server.commands) <= 32


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
    server = script({"NOOP": lambda talk, _: talk.sock.sendall(b"200 ok\r\n" + extra)})
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
        talk.sock.sendall(b"234 Go ahead\r\n230 You are in\r\n")
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
        talk.sock.sendall(b"200 ok\r\n421 Timeout\r\n")
        talk.sock.close()

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
        for byte in b"200 " + b"z" * 1000:
            if over.wait(0.05):
                return
            talk.sock.sendall(bytes([byte]))

    line = connect(script({"NOOP": drip}))
    began = time.monotonic()
    with pytest.raises(NoAnswer):
        line.noop(0.4)
    over.set()
    assert time.monotonic() - began < 1.0


def test_r6_a_drip_on_the_data_channel_is_silence(script: Script, connect: Connect) -> None:
    """A byte now and then is less than the least progress: the idle limit ends the transfer."""
    over = threading.Event()

    def drip(talk: Talk, _: bytes) -> None:
        talk.say(b"150 Here it comes")
        channel = talk.secured_data()
        while not over.wait(0.05):
            channel.sendall(b"z")

    line = connect(script({"RETR": drip}), idle_timeout=0.4)
    began = time.monotonic()
    with pytest.raises(TransferBroken) as told:
        line.retrieve(b"/x", nowhere, size=10_000)
    over.set()
    assert time.monotonic() - began < 2.0
    assert told.value.loss is Loss.BLACK_HOLE
    assert line.state is State.DEAD


def test_r6_an_opening_that_drips_ends_in_time(script: Script) -> None:
    """connect_timeout covers name, TCP, TLS and login together."""

    def slowly(talk: Talk, _: bytes) -> None:
        threading.Event().wait(0.3)
        talk.say(b"331 Password?" if talk.commands[-1].startswith("USER") else b"230 Welcome")

    server = script({"USER": slowly, "PASS": slowly})
    began = time.monotonic()
    with pytest.raises(ConnectFailed):
        Connection.open(server.peer(connect_timeout=0.45))
    assert time.monotonic() - began < 1.0


def test_r6_a_name_server_that_hangs_ends_in_time(monkeypatch: pytest.MonkeyPatch, script: Script) -> None:
    """getaddrinfo takes no deadline; connect_timeout holds all the same."""
    asked = socket.getaddrinfo
    over = threading.Event()

    def hang(host: str, port: int, *rest: Any, **options: Any) -> Any:
        if not options.get("flags"):
            over.wait(5)
        return asked(host, port, *rest, **options)

    monkeypatch.setattr(socket, "getaddrinfo", hang)
    began = time.monotonic()
    with pytest.raises(ConnectFailed, match="not resolved in time"):
        Connection.open(script().peer(connect_timeout=0.3))
    over.set()
    assert time.monotonic() - began < 1.0


def test_r6_tcp_watches_the_control_connection(script: Script, connect: Connect) -> None:
    """Keepalive and the user time-out are set on the socket that really carries the line."""
    sock = connect(script())._line.control.stream.sock
    assert sock.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
    assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT) == 5000


# -- R7: TLS on data


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_r7_every_data_channel_resumes_the_control_session(
    script: Script, connect: Connect, version: ssl.TLSVersion
) -> None:
    """The server sees a resumed session on each data channel, and we count the same."""
    seen: list[bool | None] = []

    def retr(talk: Talk, _: bytes) -> None:
        talk.say(b"150 Here it comes")
        channel = talk.secured_data()
        seen.append(channel.session_reused)
        channel.sendall(FILE)
        channel.unwrap()
        talk.say(b"226 Done")

    line = connect(script({"RETR": retr}, version=version))
    for _ in range(3):
        assert line.retrieve(b"/x", nowhere, size=len(FILE)) == len(FILE)
    assert seen == [True] * 3
    assert (line.data_resumed, line.data_fresh) == (3, 0)


def test_r7_a_session_that_was_not_resumed_is_counted(
    script: Script, connect: Connect, certificates: Certificates
) -> None:
    """A server with a context of its own for data can't resume, and the miss is counted."""
    other = server_context(certificates, ssl.TLSVersion.TLSv1_3)

    def retr(talk: Talk, _: bytes) -> None:
        talk.say(b"150 Here it comes")
        talk.secured_data(other).unwrap()
        talk.say(b"226 Done")

    line = connect(script({"RETR": retr}))
    line.retrieve(b"/x", nowhere)
    assert (line.data_resumed, line.data_fresh) == (0, 1)


def test_r7_two_lines_share_no_session(script: Script, connect: Connect) -> None:
    """Each line has a context of its own: a shared cache gives random 425s (field note 18)."""
    server = script()
    one, other = connect(server), connect(server)
    assert one._line._context is not other._line._context
    assert not any(
        line._line.control.stream.tls is None or line._line.control.stream.tls.session_reused
        for line in (one, other)
    )


def test_r7_resuming_leaks_no_memory(script: Script, connect: Connect) -> None:
    """Looking at a session leaks 7 KiB in Python 3.11 (field note 12): 10,000 files must not take 70 MB."""
    control = connect(script())._line.control
    process = psutil.Process()
    before = process.memory_info().rss
    for _ in range(10_000):
        assert control.session is not None
    assert process.memory_info().rss - before < 20_000_000


def test_r7_the_command_goes_before_the_handshake(script: Script, connect: Connect) -> None:
    """No byte of TLS comes on the data channel until the 1xx: other orders deadlock vsftpd and ProFTPD."""
    early: list[bytes] = []

    def retr(talk: Talk, _: bytes) -> None:
        channel = talk.accept()
        channel.settimeout(0.2)
        try:
            early.append(channel.recv(1, socket.MSG_PEEK))
        except TimeoutError:
            early.append(b"")
        talk.say(b"150 Here it comes")
        channel.settimeout(5)
        secure = talk.server.context.wrap_socket(channel, server_side=True)
        secure.sendall(FILE)
        secure.unwrap()
        talk.say(b"226 Done")

    line = connect(script({"RETR": retr}))
    line.retrieve(b"/x", nowhere, size=len(FILE))
    assert early == [b""]


def test_r7_an_empty_file_shakes_hands_too(script: Script, connect: Connect) -> None:
    """Both ways (field note 17)."""
    handshakes: list[str | None] = []

    def retr(talk: Talk, _: bytes) -> None:
        talk.say(b"150 Here it comes")
        channel = talk.secured_data()
        handshakes.append(channel.version())
        channel.unwrap()
        talk.say(b"226 Done")

    def stor(talk: Talk, _: bytes) -> None:
        talk.say(b"150 Go on")
        channel = talk.secured_data()
        handshakes.append(channel.version())
        assert channel.recv(1) == b""
        channel.close()
        talk.say(b"226 Done")

    line = connect(script({"RETR": retr, "STOR": stor}))
    assert line.retrieve(b"/x", nowhere, size=0) == 0
    assert line.store(b"/x", [], size=0) == 0
    assert handshakes == ["TLSv1.3"] * 2


def test_r7_the_name_on_data_is_the_control_hosts(
    script: Script, connect: Connect, certificates: Certificates, tmp_path: Path
) -> None:
    """A data channel that shows a certificate for another name is refused, whatever address it has."""
    elsewhere = Certificates.make(tmp_path / "elsewhere", "elsewhere.example")
    other = server_context(elsewhere, ssl.TLSVersion.TLSv1_3)

    def retr(talk: Talk, _: bytes) -> None:
        talk.say(b"150 Here it comes")
        talk.secured_data(other)

    line = connect(script({"RETR": retr}))
    with pytest.raises(CertificateRefused):
        line.retrieve(b"/x", nowhere)
    assert line.state is State.DEAD


def test_r7_a_refused_session_wants_a_new_line_only_where_one_was_resumed(
    script: Script, connect: Connect, certificates: Certificates
) -> None:
    """522 on a line that never resumed is a settled no; else its ticket has ended (field note 5)."""
    forgetful = server_context(certificates, ssl.TLSVersion.TLSv1_3)

    def retr(talk: Talk, path: bytes) -> None:
        if path == b"/good":
            talk.send_file(FILE)
            return
        talk.say(b"150 Here it comes")
        talk.secured_data(forgetful).close()
        talk.say(b"522 SSL connection failed: session reuse required")

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


# -- R8: the end of data is proven


def ragged(content: bytes, reply: bytes = b"226 Done") -> Callable[[Talk, bytes], None]:
    """Bytes, then FIN without close_notify, then a reply."""

    def retr(talk: Talk, _: bytes) -> None:
        talk.say(b"150 Here it comes")
        channel = talk.secured_data()
        channel.sendall(content)
        raw = socket.socket(fileno=channel.detach())
        raw.shutdown(socket.SHUT_WR)
        talk.say(reply)
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
    """A server that sends more than is due fills no disk."""
    line = connect(script({"RETR": send(FILE)}))
    came: list[int] = []
    with pytest.raises(TransferBroken, match="more than"):
        line.retrieve(b"/x", lambda block: came.append(len(block)), size=10)
    assert came == []


def test_r8_the_final_reply_has_its_say(script: Script, connect: Connect) -> None:
    """All bytes and a clean end, but 426: not whole."""
    line = connect(script({"RETR": ragged(FILE, b"426 Aborted")}))
    with pytest.raises(TransferBroken, match="426"):
        line.retrieve(b"/x", nowhere, size=len(FILE))


def test_r8_a_resumed_download_counts_from_its_offset(script: Script, connect: Connect) -> None:
    """offset + received == size."""
    server = script({"RETR": send(FILE)})
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


def test_r8_a_server_that_waits_for_our_end_is_not_waited_for(
    script: Script, connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Once the size says that all is here, the end is waited for two seconds only (field note 16)."""

    def retr(talk: Talk, _: bytes) -> None:
        talk.say(b"150 Here it comes")
        channel = talk.secured_data()
        channel.sendall(FILE)
        while True:
            try:
                if not channel.recv(1):
                    break
            except OSError:
                break
        talk.say(b"226 Done")

    monkeypatch.setattr(data, "LINGER_S", 0.3)
    line = connect(script({"RETR": retr}), idle_timeout=60)
    began = time.monotonic()
    assert line.retrieve(b"/x", nowhere, size=len(FILE)) == len(FILE)
    assert time.monotonic() - began < 2


# -- R9: the end of an upload


def test_r9_an_upload_ends_with_close_notify(script: Script, connect: Connect) -> None:
    """The server reads a clean end of TLS after the last byte."""
    received: list[bytes] = []

    def stor(talk: Talk, _: bytes) -> None:
        talk.say(b"150 Go on")
        channel = talk.secured_data()
        while block := channel.recv(65536):  # a missing close_notify would raise here
            received.append(block)
        channel.close()
        talk.say(b"226 Done")

    line = connect(script({"STOR": stor}))
    assert line.store(b"/x", [FILE[:7], memoryview(FILE)[7:]], size=len(FILE)) == len(FILE)
    assert b"".join(received) == FILE


def test_r9_the_peers_end_is_waited_for_two_seconds_at_most(
    script: Script, connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A server that sends neither its end nor its reply for a while is not waited for on the data channel."""
    ended = threading.Event()

    def stor(talk: Talk, _: bytes) -> None:
        talk.say(b"150 Go on")
        channel = talk.secured_data()
        while channel.recv(65536):
            pass
        # Our end of TCP comes after LINGER_S: only then the reply.
        raw = socket.socket(fileno=channel.detach())
        poll_until_reset(raw)
        ended.set()
        talk.say(b"226 Done")

    def poll_until_reset(raw: socket.socket) -> None:
        began = time.monotonic()
        while time.monotonic() - began < 5:
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
    assert 0.3 <= time.monotonic() - began < 2


def test_r9_the_control_reply_decides(script: Script, connect: Connect) -> None:
    """All bytes taken, and then 552: refused, and the line is READY."""

    def stor(talk: Talk, _: bytes) -> None:
        talk.say(b"150 Go on")
        channel = talk.secured_data()
        while channel.recv(65536):
            pass
        channel.close()
        talk.say(b"552 Quota exceeded")

    line = connect(script({"STOR": stor}))
    with pytest.raises(Refused, match="552"):
        line.store(b"/x", [FILE])
    assert line.state is State.READY


def test_r9_an_upload_that_is_cut_learns_the_reason(script: Script, connect: Connect) -> None:
    """The server closes the data channel in the middle, and says why on the control connection."""

    def stor(talk: Talk, _: bytes) -> None:
        talk.say(b"150 Go on")
        channel = talk.secured_data()
        channel.recv(10)
        channel.close()
        talk.say(b"552 Disk full")

    line = connect(script({"STOR": stor}))
    with pytest.raises(Refused, match="552"):
        line.store(b"/x", (FILE for _ in range(10_000)))
    assert line.state is State.READY


# -- R10: everything moved, and no 226


@pytest.mark.parametrize(("end", "loss"), [(never, Loss.BLACK_HOLE), (hang_up, Loss.CLOSED)])
def test_r10_all_moved_without_226_can_be_told_apart(
    script: Script, connect: Connect, end: Callable[[Talk, bytes], None], loss: Loss
) -> None:
    """The caller must know that only the reply is missing: it asks for the size anew (field note 6)."""

    def retr(talk: Talk, argument: bytes) -> None:
        talk.say(b"150 Here it comes")
        channel = talk.secured_data()
        channel.sendall(FILE)
        channel.unwrap()
        end(talk, argument)

    def stor(talk: Talk, argument: bytes) -> None:
        talk.say(b"150 Go on")
        channel = talk.secured_data()
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
        line = connect(server, reply_timeout=0.3)
        with pytest.raises(TransferBroken) as told:
            operate(line)
        assert told.value.all_moved
        assert told.value.loss is loss
        assert line.state is State.DEAD


def test_r10_a_part_that_moved_is_not_all(script: Script, connect: Connect) -> None:
    """A line that dies in the middle of a file has not moved it."""

    def retr(talk: Talk, _: bytes) -> None:
        talk.say(b"150 Here it comes")
        talk.secured_data().sendall(FILE)
        talk.reset()

    line = connect(script({"RETR": retr}), idle_timeout=0.5)
    with pytest.raises(TransferBroken) as told:
        line.retrieve(b"/x", nowhere, size=len(FILE) + 1)
    assert not told.value.all_moved


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
        lambda: line.set_modified(name, 0.0),
        lambda: line.rename(name, b"/x"),
        lambda: line.rename(b"/x", name),
        lambda: line.delete(name),
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
        assert inside._data is not None
        seen.append(inside._data.sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY))

    line.retrieve(b"/x", sink, size=len(FILE))
    assert seen
    assert all(seen)


def test_r13_a_server_that_waits_for_acknowledgements_costs_no_time(script: Script, connect: Connect) -> None:
    """The scripted server leaves Nagle's algorithm on: its 226 waits for our acknowledgement of the 150."""
    line = connect(script({"RETR": send(FILE)}))
    began = time.monotonic()
    for _ in range(20):
        line.retrieve(b"/x", nowhere, size=len(FILE))
    assert time.monotonic() - began < 20 * 0.04


# -- R14: EPSV first


def test_r14_pasv_where_epsv_fails_and_then_always(script: Script, connect: Connect) -> None:
    """EPSV is asked once, and remembered as impossible; the 227's address is ignored."""

    def pasv(talk: Talk, _: bytes) -> None:
        port = talk.listen()
        talk.say(b"227 Entering Passive Mode (203,0,113,7,%d,%d)." % divmod(port, 256))

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
        talk.say(b"227 Entering Passive Mode (127,0,0,2,%d,%d)." % divmod(port, 256))

    server = script({"EPSV": b"500 What?", "PASV": pasv, "RETR": send(FILE)}, data_host="127.0.0.2")
    trusting = connect(server, trust_pasv_address=("10.0.0.0/8", "127.0.0.0/24"))
    assert trusting.retrieve(b"/x", nowhere, size=len(FILE)) == len(FILE)
    for others in ((), ("10.0.0.0/8", "::/0")):
        with pytest.raises(TransferBroken):
            connect(server, trust_pasv_address=others).retrieve(b"/x", nowhere)


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
