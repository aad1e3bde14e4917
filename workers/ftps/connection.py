"""Connection: opened once, used until it dies, closed once.

There is no reconnect() and no reset(): a rebuild is another object (see `states`). Every operation is left
through the final reply to its command, which makes the line READY again, or it leaves the line DEAD.
"""

from __future__ import annotations

import contextlib
import os
import ssl
import time
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

from workers.ftps import data as channel
from workers.ftps import dialogue
from workers.ftps.control import Control, Farewell, Reply, command, refusal
from workers.ftps.errors import (
    BadName,
    Capacity,
    ConnectFailed,
    FtpsError,
    LineLost,
    Loss,
    Missing,
    NoAnswer,
    Refused,
    TransferBroken,
    Transient,
)
from workers.ftps.features import Features
from workers.ftps.folder import Listing, curtailed, entries
from workers.ftps.inquiry import Stat, flights, stat_of
from workers.ftps.listing import (
    Entry,
    parse_list_line,
    parse_mlsd_line,
)
from workers.ftps.states import Event, Machine, State
from workers.ftps.stream import ClearText, Stream
from workers.ftps.tls import TlsFacts, Trust, check_pins, client_context, facts

# QUIT and its reply together; design R1 allows a second for the whole of close().
_QUIT_S = 0.8
# After a failed data handshake, the server's reason comes on the control connection, at once or never.
_EXPLANATION_S = 2.0
# Replies that mean: the data channel failed, not the file. RFC 959 §4.2.2.
_DATA_FAILED = frozenset({425, 426, 451})
# 501 is not among them: some servers say it of an argument, others of a folder that isn't there.
_UNKNOWN_COMMAND = frozenset({500, 502, 504})


@dataclass(frozen=True, slots=True)
class Peer:
    """Everything a connection must know about the other side. Durations are seconds.

    zone: of LIST's times. connect_timeout: name, TCP, TLS and login together. trust_pasv_address: networks
    from which the address in a 227 is believed.
    """

    host: str
    port: int
    user: str
    password: str = field(repr=False)
    tls: Literal["explicit", "implicit", "off"] = "explicit"
    trust: Trust = field(default_factory=Trust)
    encoding: str = "utf-8"
    zone: str = "UTC"
    connect_timeout: float = 10
    reply_timeout: float = 30
    probe_timeout: float = 3
    idle_timeout: float = 60
    trust_pasv_address: tuple[str, ...] = ()


class Connection:
    """One line to one server, for one thread at a time, in the process that opened it.

    state, dead: where it stands, and why it died. features, tls: what the server can do, what the handshake
    has shown. opened_at, used_at: monotonic; used_at is when the last reply came. data_resumed, data_fresh:
    data channels whose TLS session was, or was not, resumed.

    Every verb raises BadName before a byte is sent, Refused with the line READY, and Transient otherwise.
    """

    def __init__(self, peer: Peer, wire: Callable[[str], None] | None = None) -> None:
        """Not for callers: `Connection.open` returns one that is READY."""
        self.peer = peer
        self.dead: FtpsError | None = None
        self.features = Features()
        self.tls: TlsFacts | None = None
        self.data_resumed = 0
        self.data_fresh = 0
        self.opened_at = time.monotonic()
        self._wire = wire
        self._machine = Machine()
        self._opener = os.getpid()
        self._context: ssl.SSLContext | None = None
        self._control: Control | None = None
        self._data: Stream | None = None

    # -- life

    @classmethod
    def open(
        cls, peer: Peer, *, known: Features | None = None, wire: Callable[[str], None] | None = None
    ) -> Connection:
        """A READY connection.

        known: what an earlier line has learned. wire: told every line, commands and replies, without the password.
        Raises ConnectFailed, Capacity, LoginRefused, CertificateRefused, TlsRefused.
        """
        line = cls(peer, wire)
        try:
            line._open(known)
        except Farewell as full:
            line._die(full)
            raise Capacity(str(full)) from full
        except ConnectFailed as error:
            line._die(error)
            raise
        except Transient as error:
            line._die(error)
            full_up = isinstance(error, ClearText) and error.text.startswith("421")
            raise (Capacity if full_up else ConnectFailed)(f"{line._where()}: {error}") from error
        except BaseException as error:
            line._die(error)
            raise
        return line

    def _open(self, known: Features | None) -> None:
        peer, until = self.peer, self.opened_at + self.peer.connect_timeout
        host = peer.host.removesuffix(".")
        if peer.tls != "off":
            self._context = client_context(peer.trust)
        stream = Stream.dial(peer.host, peer.port, until, "control")
        self._control = Control(stream, conceal=peer.password, wire=self._wire)
        stream.keep_alive(peer.reply_timeout)
        self._machine.step(Event.CONNECTED)
        if peer.tls == "implicit":
            self._secure(host, until)
            dialogue.greet(self._line, until)
            self._machine.step(Event.GREETED)
        else:
            dialogue.greet(self._line, until)
            self._machine.step(Event.GREETED)
            if peer.tls == "explicit":
                dialogue.ask_for_tls(self._line, until)
                self._secure(host, until)
            else:
                self._machine.step(Event.STAYED_CLEAR)
        dialogue.log_in(self._line, peer.user, peer.password, peer.encoding, until)
        self._machine.step(Event.LOGGED_IN)
        if peer.tls == "off":
            self._machine.step(Event.STAYED_CLEAR)
        else:
            dialogue.protect(self._line, until)
            self._machine.step(Event.PROTECTED)
        self.features = dialogue.prepare(self._line, peer.encoding, known, until)
        self._machine.step(Event.PREPARED)

    def _secure(self, host: str, until: float) -> None:
        assert self._context is not None
        self._control = self._line.secured(self._context, host, until)
        secure = self._control.stream.tls
        assert secure is not None
        check_pins(secure, self.peer.trust)
        self.tls = facts(secure)
        self._machine.step(Event.SECURED)

    def close(self) -> None:
        """Say QUIT if nothing is owed, and close. Idempotent; never raises; takes a second at most."""
        if self.state is State.READY and os.getpid() == self._opener:
            with contextlib.suppress(FtpsError):
                self._line.ask("QUIT", until=time.monotonic() + _QUIT_S)
        self._die(None)

    @property
    def state(self) -> State:
        """Where the line stands."""
        return self._machine.state

    @property
    def used_at(self) -> float:
        """Monotonic time of the last reply."""
        return self._control.answered_at if self._control is not None else self.opened_at

    # -- commands

    def noop(self, timeout: float | None = None) -> None:
        """Ask whether the line lives; `timeout` in seconds, else `probe_timeout`.

        An end that was found by asking is counted as an idle loss; one that the server announced by 421, as
        closed by it; silence as a black hole.
        """
        with self._operation():
            try:
                self._ask("NOOP", timeout=self.peer.probe_timeout if timeout is None else timeout)
            except Farewell:
                raise
            except LineLost as lost:
                lost.loss = Loss.IDLE
                raise

    def stat(self, paths: Sequence[bytes]) -> list[Stat | None]:
        """SIZE and MDTM of each path, asked in flights; None where there is no such file.

        A server without these commands tells nothing, which is Stat(None, None, 1). Raises Refused for the
        first refusal that is neither.
        """
        verbs = [verb for verb, can in (("SIZE", self.features.size), ("MDTM", self.features.mdtm)) if can]
        questions = [(verb, path) for path in paths for verb in verbs]
        for verb, path in questions:
            command(verb, path)
        answers: list[Reply] = []
        with self._operation():
            for flight in flights(questions):
                answers += self._ask_all(flight)
            for (verb, _), answer in zip(questions, answers, strict=True):
                if answer.refuses and answer.code != 550 and answer.code not in _UNKNOWN_COMMAND:
                    raise refusal(verb, answer)
        replies = iter(answers)
        return [stat_of(dict(zip(verbs, replies, strict=False)) if verbs else {}) for _ in paths]

    def rename(self, old: bytes, new: bytes) -> None:
        """RNFR, RNTO. What happens to a file under the new name is the server's choice (field note 38)."""
        command("RNTO", new)
        with self._operation():
            self._ask("RNFR", old)
            self._ask("RNTO", new)

    def delete(self, path: bytes) -> None:
        """DELE."""
        with self._operation():
            self._ask("DELE", path)

    def mkdir(self, path: bytes) -> None:
        """MKD."""
        with self._operation():
            self._ask("MKD", path)

    # -- transfers

    def listing(self, path: bytes) -> Listing:
        """The folder at `path`, by MLSD or else LIST.

        Raises Refused here; a listing that breaks off raises TransferBroken while it is iterated.
        """
        if self.features.mlsd:
            try:
                return self._listing("MLSD", path, parse_mlsd_line)
            except Refused as refused:
                if refused.code not in _UNKNOWN_COMMAND:
                    raise
            self.features = replace(self.features, mlsd=False)
        now, zone = time.time(), self.peer.zone
        return self._listing("LIST", path, lambda line: parse_list_line(line, now=now, zone=zone))

    def _listing(self, verb: str, path: bytes, parse: Callable[[bytes], Entry | None]) -> Listing:
        with self._operation():
            data = self._begin(verb, path)
        return Listing(self._rows(verb, data, parse), self._die)

    def _rows(
        self, verb: str, data: Stream, parse: Callable[[bytes], Entry | None]
    ) -> Generator[Entry, None, str | None]:
        odd: list[str] = []
        with self._operation():
            incoming = channel.Incoming(data, idle=self.peer.idle_timeout)
            yield from entries(incoming, parse, odd)
            self._end_of_data()
            if isinstance(incoming.end, NoAnswer):
                raise TransferBroken(str(incoming.end), loss=incoming.end.loss)
            reply = self._final_reply(verb, all_moved=False)
            if incoming.end is not None:
                raise TransferBroken(f"{verb}: {incoming.end}")
        return curtailed(reply, odd)

    def retrieve(
        self, path: bytes, sink: Callable[[memoryview], object], *, offset: int = 0, size: int | None = None
    ) -> int:
        """RETR, from `offset` on: every block goes to `sink` (the view is valid during the call only).

        size: of the whole file, as known from elsewhere. Returns how many bytes came in this call, and only
        when they are proven to be all (R8): acceptable final reply, and offset + bytes == size, or, where the
        size is not known, a clean end of TLS. Raises Missing, Refused, TransferBroken; with its `all_moved`
        set, everything came but the final reply.
        """
        expect = None if size is None else size - offset
        try:
            with self._operation():
                data = self._begin("RETR", path, offset)
                incoming = channel.Incoming(data, idle=self.peer.idle_timeout, expect=expect)
                for block in incoming:
                    sink(block)
                self._end_of_data()
                proven = incoming.end is None if expect is None else incoming.received == expect
                if not proven and isinstance(incoming.end, NoAnswer):
                    raise TransferBroken(str(incoming.end), loss=incoming.end.loss)
                self._final_reply("RETR", all_moved=proven)
                if not proven:
                    due = "unknown" if expect is None else f"{expect} bytes"
                    raise TransferBroken(
                        f"{incoming.received} bytes came, due: {due}; {incoming.end or 'a clean end'}"
                    )
                return incoming.received
        except Refused as refused:
            # vsftpd says "550 Failed to open file." of a missing file and of a forbidden one.
            if refused.code == 550 and not isinstance(refused, Missing) and self._is_missing(path):
                raise Missing(refused.verb, refused.code, refused.text) from refused
            raise

    def store(
        self, path: bytes, source: Iterable[bytes | memoryview], *, offset: int = 0, size: int | None = None
    ) -> int:
        """STOR, from `offset` on, of all blocks of `source`. Returns how many bytes went over in this call.

        size: what the whole file must have in the end. The server's final reply decides (R9). Raises Refused,
        TransferBroken; with its `all_moved` set, everything went over but the final reply never came.
        """
        with self._operation():
            data = self._begin("STOR", path, offset)
            outgoing = channel.Outgoing(data, source, idle=self.peer.idle_timeout)
            outgoing.run()
            if outgoing.end is None:
                channel.end_upload(data, self._line)
            self._end_of_data()
            if isinstance(outgoing.end, NoAnswer):
                raise TransferBroken(str(outgoing.end), loss=outgoing.end.loss)
            self._final_reply("STOR", all_moved=outgoing.end is None)
            if outgoing.end is not None:
                raise TransferBroken(f"after {outgoing.sent} bytes: {outgoing.end}")
            if size is not None and offset + outgoing.sent != size:
                raise TransferBroken(f"{offset + outgoing.sent} bytes went over, due: {size}")
            return outgoing.sent

    # -- inside

    @property
    def _line(self) -> Control:
        assert self._control is not None
        return self._control

    @contextlib.contextmanager
    def _operation(self) -> Iterator[None]:
        """Around all that talks: left by an exception, the line is READY if nothing is owed, else DEAD."""
        if os.getpid() != self._opener:
            self.close()
        if self.state is State.DEAD:
            loss = self.dead.loss if isinstance(self.dead, Transient) else None
            raise LineLost(f"the line is dead already: {self.dead or 'closed'}", loss=loss)
        try:
            yield
        except (Refused, TransferBroken) as error:
            if self._line.owed:
                self._die(error)
                raise
            self._drop_data()
            if self.state is not State.READY:
                self._machine.step(Event.SETTLED)
            raise
        except BadName:
            raise
        except BaseException as error:
            # KeyboardInterrupt and a caller's own too: an unread reply would answer the next question.
            self._die(error)
            raise

    def _ask(self, verb: str, argument: bytes = b"", *, timeout: float | None = None) -> Reply:
        """One command and its final reply. Raises BadName, Refused, Transient."""
        command(verb, argument)
        until = time.monotonic() + (self.peer.reply_timeout if timeout is None else timeout)
        self._machine.step(Event.SENT)
        reply = self._line.ask(verb, argument, until=until)
        self._machine.step(Event.SETTLED)
        if reply.refuses:
            raise refusal(verb, reply)
        return reply

    def _ask_all(self, commands: list[tuple[str, bytes]]) -> list[Reply]:
        """Commands in one flight, and their replies; refusals are returned."""
        self._machine.step(Event.SENT)
        self._line.send_all(commands, until=self._reply_deadline())
        replies = [self._line.reply(self._reply_deadline()) for _ in commands]
        self._machine.step(Event.SETTLED)
        return replies

    def _begin(self, verb: str, path: bytes, offset: int = 0) -> Stream:
        """A secured data channel, with `verb` begun on it: port, TCP, command, 1xx, TLS, in this order."""
        command(verb, path)
        peer, control = self.peer, self._line
        self._machine.step(Event.PORT_WANTED)
        address = channel.ask_for_port(
            control, epsv=self.features.epsv, trusted=peer.trust_pasv_address, timeout=peer.reply_timeout
        )
        if not address.epsv and self.features.epsv:
            self.features = replace(self.features, epsv=False)
        try:
            self._data = Stream.dial(
                address.host, address.port, time.monotonic() + peer.connect_timeout, "data"
            )
        except ConnectFailed as error:
            raise TransferBroken(str(error)) from error
        if offset:
            reply = control.ask("REST", str(offset).encode(), until=self._reply_deadline())
            if reply.refuses:
                raise refusal("REST", reply)
        control.send(verb, path, until=self._reply_deadline())
        self._machine.step(Event.SENT)
        reply = control.reply(self._reply_deadline())
        if reply.refuses:
            raise self._refusal(verb, reply)
        self._machine.step(Event.BEGUN)
        if self._context is not None:
            self._secure_data(verb, self._context)
        self._machine.step(Event.DATA_SECURED)
        return self._data

    def _secure_data(self, verb: str, context: ssl.SSLContext) -> None:
        """TLS with the control connection's session as it is now, and the control connection's host name."""
        plain = self._data
        assert plain is not None
        host = self.peer.host.removesuffix(".")
        try:
            self._data = plain.secured(context, host, self._reply_deadline(), session=self._line.session)
        except Transient as failure:
            # A refused session is explained on the control connection: 425, 522.
            reply = self._line.reply(time.monotonic() + _EXPLANATION_S)
            if reply.refuses:
                raise self._refusal(verb, reply) from failure
            raise TransferBroken(str(failure)) from failure
        secure = self._data.tls
        assert secure is not None
        check_pins(secure, self.peer.trust)
        if secure.session_reused:
            self.data_resumed += 1
        else:
            self.data_fresh += 1

    def _end_of_data(self) -> None:
        self._drop_data()
        self._machine.step(Event.MOVED)

    def _final_reply(self, verb: str, *, all_moved: bool) -> Reply:
        """The reply that settles a transfer. Raises Refused, TransferBroken."""
        try:
            reply = self._line.reply(self._reply_deadline())
        except Transient as lost:
            raise TransferBroken(
                f"{verb}: no final reply: {lost}", loss=lost.loss, all_moved=all_moved
            ) from lost
        if reply.refuses:
            raise self._refusal(verb, reply)
        self._machine.step(Event.SETTLED)
        return reply

    def _refusal(self, verb: str, reply: Reply) -> Refused | TransferBroken:
        # 522 on a line that resumed before: its ticket has ended, and a new line has a new one.
        if reply.code in _DATA_FAILED or (reply.code == 522 and self.data_resumed):
            return TransferBroken(f"{verb}: {reply}")
        return refusal(verb, reply)

    def _is_missing(self, path: bytes) -> bool:
        return self.features.size and self.stat([path]) == [None]

    def _reply_deadline(self) -> float:
        return time.monotonic() + self.peer.reply_timeout

    def _where(self) -> str:
        return f"{self.peer.host} port {self.peer.port}, {self.state.value}"

    def _die(self, why: BaseException | None) -> None:
        """The end, for good: sockets closed at once, no QUIT, no close_notify."""
        if self.dead is None and why is not None:
            told = (
                why
                if isinstance(why, FtpsError)
                else FtpsError(f"left while {self.state.value}: {type(why).__name__}")
            )
            self.dead = told
        self._machine.step(Event.DIED)
        self._drop_data()
        if self._control is not None:
            self._drop(self._control.stream)

    def _drop_data(self) -> None:
        if self._data is not None:
            self._drop(self._data)
            self._data = None

    def _drop(self, stream: Stream) -> None:
        # In a forked child the parent's TLS state and TCP connection are not ours to end (R15).
        if os.getpid() == self._opener:
            stream.close()
        else:
            stream.abandon()
