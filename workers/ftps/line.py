"""Line: what every verb of a connection is made of.

The states, the control connection, at most one data channel beside it, and the rule that holds them together:
an operation is left through the final reply to its command, which makes the line READY, or the line is DEAD.
"""

from __future__ import annotations

import contextlib
import os
import ssl
import time
from collections.abc import Callable, Iterator
from dataclasses import replace

from workers.ftps import data as channel
from workers.ftps import dialogue
from workers.ftps.active import Door
from workers.ftps.control import Control, Reply, command, concealed, refusal
from workers.ftps.dialogue import secrets
from workers.ftps.errors import (
    BadName,
    ConnectFailed,
    FtpsError,
    LineLost,
    Refused,
    TransferBroken,
    Transient,
)
from workers.ftps.features import Features
from workers.ftps.peer import Peer
from workers.ftps.states import Event, Machine, State
from workers.ftps.stream import Stream
from workers.ftps.tls import TlsFacts, check_pins, client_context, facts

# QUIT and its reply together; design R1 allows a second for the whole of close().
_QUIT_S = 0.8
# After a failed data handshake, the server's reason comes on the control connection, at once or never.
_EXPLANATION_S = 2.0
# Replies that mean: the data channel failed, not the file. RFC 959 §4.2.2.
_DATA_FAILED = frozenset({425, 426, 451})

Turn = Callable[[], contextlib.AbstractContextManager[None]]
"""What the login happens in: whoever logs in one after the other waits at its beginning."""


class Line:
    """The inside of a `Connection`; its attributes are described there."""

    def __init__(self, peer: Peer, wire: Callable[[str], None] | None = None) -> None:
        self.peer = peer
        self.dead: FtpsError | None = None
        self.features = Features()
        self.tls: TlsFacts | None = None
        self.data_resumed = 0
        self.data_fresh = 0
        self.opened_at = time.monotonic()
        self._host = peer.host.removesuffix(".")  # a certificate's names have no final dot
        self._wire = wire
        self._secrets = secrets(peer.password, peer.encoding)
        self._machine = Machine()
        self._opener = os.getpid()
        self._context: ssl.SSLContext | None = None
        self._control: Control | None = None
        self._data: Stream | None = None
        self._nudged_at = 0.0

    # -- life

    def open(self, known: Features | None, turn: Turn) -> None:
        """The opening dialogue, all of it within `connect_timeout`. Failures come as they are, but that a
        password which the server repeats is in none of them."""
        with self._concealing():
            self._open(known, turn)

    def _open(self, known: Features | None, turn: Turn) -> None:
        peer, until = self.peer, self.opened_at + self.peer.connect_timeout
        if peer.tls != "off":
            self._context = client_context(peer.trust)
        stream = Stream.dial(peer.host, peer.port, until, "control")
        self._control = Control(stream, conceal=self._secrets, wire=self._wire)
        stream.keep_alive(peer.reply_timeout)
        self._machine.step(Event.CONNECTED)
        if peer.tls == "implicit":
            self._secure(until)
            dialogue.greet(self.control, until)
            self._machine.step(Event.GREETED)
        else:
            dialogue.greet(self.control, until)
            self._machine.step(Event.GREETED)
            if peer.tls == "explicit":
                dialogue.ask_for_tls(self.control, until)
                self._secure(until)
            else:
                self._machine.step(Event.STAYED_CLEAR)
        with turn():
            dialogue.log_in(self.control, peer.user, peer.password, peer.encoding, until)
        self._machine.step(Event.LOGGED_IN)
        if peer.tls == "off":
            self._machine.step(Event.STAYED_CLEAR)
        else:
            dialogue.protect(self.control, until)
            self._machine.step(Event.PROTECTED)
        self.features = dialogue.prepare(self.control, peer.encoding, known, until)
        self.control.telnet = bool(self.features.telnet)
        self._machine.step(Event.PREPARED)

    @contextlib.contextmanager
    def _concealing(self) -> Iterator[None]:
        """Make the password unreadable in what a failure says: it goes to logs, the ledger and Flower."""
        try:
            yield
        except FtpsError as failure:
            failure.args = tuple(
                concealed(said, self._secrets) if isinstance(said, str) else said for said in failure.args
            )
            raise

    def _secure(self, until: float) -> None:
        assert self._context is not None
        self._control = self.control.secured(self._context, self._host, until)
        secure = self._control.stream.tls
        assert secure is not None
        check_pins(secure, self.peer.trust)
        self.tls = facts(secure)
        self._machine.step(Event.SECURED)

    def close(self) -> None:
        """Say QUIT if nothing is owed, and end."""
        if self.state is State.READY and os.getpid() == self._opener:
            with contextlib.suppress(FtpsError):
                self.control.ask("QUIT", until=time.monotonic() + _QUIT_S)
        self.die(None)

    def die(self, why: BaseException | None) -> None:
        """End for good: sockets closed at once, no QUIT, no close_notify. The first reason is kept."""
        if self.dead is None and why is not None:
            state = self.state.value
            self.dead = (
                _without_traceback(why)
                if isinstance(why, FtpsError)
                else FtpsError(f"left in {state}: {type(why).__name__}")
            )
        self._machine.step(Event.DIED)
        self._drop_data()
        if self._control is not None:
            self._drop(self._control.stream)

    @property
    def state(self) -> State:
        """Where the line stands."""
        return self._machine.state

    @property
    def control(self) -> Control:
        """The control connection."""
        assert self._control is not None
        return self._control

    @property
    def used_at(self) -> float:
        """Monotonic time of the last reply."""
        return self._control.answered_at if self._control is not None else self.opened_at

    @property
    def session_ends_at(self) -> float | None:
        """Monotonic time after which data channels may be refused; None as long as there was none."""
        resumption = self._control.resumption if self._control is not None else None
        return resumption.ends_at if resumption is not None else None

    # -- operations

    @contextlib.contextmanager
    def operation(self) -> Iterator[None]:
        """Around all that talks: left by an exception, the line is READY if nothing is owed, else DEAD."""
        if os.getpid() != self._opener:
            self.close()
        if self.state is State.DEAD:
            loss = self.dead.loss if isinstance(self.dead, Transient) else None
            raise LineLost(f"the line is dead already: {self.dead or 'closed'}", loss=loss)
        try:
            with self._concealing():
                yield
        except BaseException as error:
            # KeyboardInterrupt and a caller's own too: an unread reply would answer the next question.
            told = isinstance(error, Refused | TransferBroken | BadName) and not self.control.owed
            if told and self._machine.state is not State.DEAD:
                self._settle()
            else:
                self.die(error)
            raise

    def ask(self, verb: str, argument: bytes = b"", *, timeout: float | None = None) -> Reply:
        """One command and its final reply. Raises BadName, Refused, Transient."""
        command(verb, argument)
        self._ask_for_telnet(argument)
        until = time.monotonic() + (self.peer.reply_timeout if timeout is None else timeout)
        self._machine.step(Event.SENT)
        reply = self.control.ask(verb, argument, until=until)
        self._machine.step(Event.SETTLED)
        if reply.refuses:
            raise refusal(verb, reply)
        return reply

    def ask_all(self, commands: list[tuple[str, bytes]], *, timeout: float | None = None) -> list[Reply]:
        """Commands in one flight, and their replies, each within `timeout`; refusals are returned."""
        for verb, argument in commands:
            command(verb, argument)
        self._ask_for_telnet(*(argument for _, argument in commands))
        self._machine.step(Event.SENT)
        replies = self.control.ask_all(
            commands, timeout=self.peer.reply_timeout if timeout is None else timeout
        )
        self._machine.step(Event.SETTLED)
        return replies

    def begin(self, verb: str, path: bytes, offset: int = 0) -> Stream:
        """A secured data channel, with `verb` begun on it: port, TCP, command, then 1xx and TLS together.

        We speak first in TLS, so nothing need be waited for: what we say lies there until the server asks.
        In active mode TCP comes after the 1xx, or whenever the server likes: the kernel lets it in. Then TLS.
        """
        command(verb, path)
        control = self.control
        self._ask_for_telnet(path)
        self._machine.step(Event.PORT_WANTED)
        with contextlib.ExitStack() as listening:
            door = None
            if self.peer.active_ports is None:
                self._data = self._dialled()
            else:
                door = listening.enter_context(contextlib.closing(Door(control, self.peer.active_ports)))
                if not door.tell(eprt=self.features.eprt, timeout=self.peer.reply_timeout):
                    self.features = replace(self.features, eprt=False)
            if offset:
                reply = control.ask("REST", str(offset).encode(), until=self._reply_deadline())
                if reply.refuses:
                    raise refusal("REST", reply)
            control.send(verb, path, until=self._reply_deadline())
            self._machine.step(Event.SENT)
            if door is not None or self._context is None:
                self._begun(verb, control.reply(self._reply_deadline()))
            if door is not None:
                with self._explaining(verb):
                    self._data = door.admit(time.monotonic() + self.peer.connect_timeout)
        if self._context is not None:
            self._secure_data(verb, self._context)
        assert self._data is not None
        self._machine.step(Event.DATA_SECURED)
        if self.state is State.AHEAD:
            self._begun(verb, control.reply(self._reply_deadline()))
        self._nudged_at = time.monotonic()
        return self._data

    def _ask_for_telnet(self, *arguments: bytes) -> None:
        """Before the first name with a byte 0xFF: learn how the server wants it.

        The control connection is Telnet's (RFC 959 §4), to which 0xFF begins an order, and twice is one 0xFF.
        ProFTPD reads it so; vsftpd, Pure-FTPd and pyftpdlib take names as they come. Who repeats a name in a
        refusal shows what has become of it; the others are taken to be of the many.
        """
        if self.features.telnet is not None or not any(b"\xff" in argument for argument in arguments):
            return
        self._machine.step(Event.SENT)
        reply = self.control.ask("SIZE", b"/.towline-\xff\xff", until=self._reply_deadline())
        self._machine.step(Event.SETTLED)
        self.control.telnet = any(b"-\xff" in line and b"\xff\xff" not in line for line in reply.lines)
        self.features = replace(self.features, telnet=self.control.telnet)

    def _dialled(self) -> Stream:
        """The data connection to the port that the server names."""
        peer = self.peer
        address = channel.ask_for_port(
            self.control, epsv=self.features.epsv, trusted=peer.trust_pasv_address, timeout=peer.reply_timeout
        )
        if not address.epsv and self.features.epsv:
            self.features = replace(self.features, epsv=False)
        try:
            return Stream.dial(address.host, address.port, time.monotonic() + peer.connect_timeout, "data")
        except ConnectFailed as error:
            raise TransferBroken(str(error)) from error

    def _secure_data(self, verb: str, context: ssl.SSLContext) -> None:
        """TLS with the control connection's session as it is now, and the control connection's host name."""
        assert self._data is not None
        with self._explaining(verb):
            self._data = self._data.wrapped(context, self._host, resumption=self.control.resumption)
        self._shake_hands(verb, self._data)
        secure = self._data.tls
        assert secure is not None
        check_pins(secure, self.peer.trust)
        if secure.session_reused:
            self.data_resumed += 1
        else:
            self.data_fresh += 1

    def _shake_hands(self, verb: str, data: Stream) -> None:
        """The data channel's handshake, with an ear on the control connection: a refusal ends it at once."""
        control, until, woken = self.control, self._reply_deadline(), True
        while True:
            with self._explaining(verb):
                wants = data.shake_hands()
            if not wants:
                return
            while woken and (reply := control.overheard()) is not None:
                self._begun(verb, reply)
                until = self._reply_deadline()
            with self._explaining(verb):
                woken = data.wait(wants, until, beside=None if control.keeps_reply else control.stream)

    def _begun(self, verb: str, reply: Reply) -> None:
        if reply.refuses:
            raise self._refusal(verb, reply)
        self._machine.step(Event.BEGUN)

    @contextlib.contextmanager
    def _explaining(self, verb: str) -> Iterator[None]:
        """Why the data channel fails here, as the control connection tells it: 550, 425, 522 (a session)."""
        try:
            yield
        except Transient as failure:
            until = time.monotonic() + _EXPLANATION_S
            reply = self.control.reply(until)
            while reply.preliminary:
                reply = self.control.reply(until)
            why = self._refusal(verb, reply) if reply.refuses else TransferBroken(str(failure))
            raise why from failure

    def keep_awake(self) -> None:
        """Called between blocks: NOOP when it is time, for firewalls that forget silent connections."""
        every, now = self.peer.noop_every, time.monotonic()
        if every is not None and now - self._nudged_at >= every:
            self._nudged_at = now
            self.control.aside(until=self._reply_deadline())

    def end_of_data(self) -> None:
        """All data has moved, or never will: the channel is closed, and the final reply is owed."""
        self._drop_data()
        self._machine.step(Event.MOVED)

    def final_reply(self, verb: str, *, all_moved: bool) -> Reply:
        """The reply that settles a transfer. Raises Refused, TransferBroken.

        A line that dies of what came beside the transfer takes nothing from it: it is settled, the line DEAD.
        """
        try:
            reply = self.control.reply(self._reply_deadline())
        except Transient as lost:
            raise TransferBroken(
                f"{verb}: no final reply: {lost}", loss=lost.loss, all_moved=all_moved
            ) from lost
        try:
            self.control.settle_asides(until=self._reply_deadline())
        except Transient as lost:
            self.die(lost)
        if reply.refuses:
            raise self._refusal(verb, reply, all_moved=all_moved)
        if self.state is not State.DEAD:
            self._machine.step(Event.SETTLED)
        return reply

    def _refusal(self, verb: str, reply: Reply, *, all_moved: bool = False) -> Refused | TransferBroken:
        # 522 on a line that resumed before: its ticket has ended, and a new line has a new one.
        if reply.code in _DATA_FAILED or (reply.code == 522 and self.data_resumed):
            # 425 and 426 are about a connection that had done its work; 451 may be about what was moved.
            disowned = all_moved and reply.code == 451
            all_moved = all_moved and reply.code in (425, 426)
            return TransferBroken(
                f"{verb}: {reply}", all_moved=all_moved, disowned=disowned, refusal=refusal(verb, reply)
            )
        return refusal(verb, reply)

    def _reply_deadline(self) -> float:
        return time.monotonic() + self.peer.reply_timeout

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

    def _settle(self) -> None:
        self._drop_data()
        if self.state is not State.READY:
            self._machine.step(Event.SETTLED)


def _without_traceback(error: FtpsError) -> FtpsError:
    """The same, but for the frames: they hold the line, which would keep itself until the collector comes."""
    kept = type(error).__new__(type(error), *error.args)
    kept.__dict__.update(error.__dict__)
    return kept
