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

from workers.ftps import dialogue
from workers.ftps.control import Control, Reply, command, concealed, refusal
from workers.ftps.data import Address
from workers.ftps.dialogue import secrets
from workers.ftps.errors import (
    BadName,
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

Turn = Callable[[], contextlib.AbstractContextManager[None]]
"""What the login happens in: whoever logs in one after the other waits at its beginning."""


class Line:
    """The inside of a `Connection`; what there is to know is described there.

    host: what certificates are held against. context: None without TLS. data: the channel of a `Transfer`.
    port: where the next one goes, if that is known already.
    """

    def __init__(self, peer: Peer, wire: Callable[[str], None] | None = None) -> None:
        self.peer = peer
        self.dead: FtpsError | None = None
        self.features = Features()
        self.tls: TlsFacts | None = None
        self.data_resumed = 0
        self.data_fresh = 0
        self.opened_at = time.monotonic()
        self.machine = Machine()
        self.host = peer.host.removesuffix(".")  # a certificate's names have no final dot
        self.context: ssl.SSLContext | None = None
        self.data: Stream | None = None
        self.port: Address | None = None
        self._control: Control | None = None
        self._wire = wire
        self._secrets = secrets(peer.password, peer.encoding)
        self._opener = os.getpid()

    # -- life

    def open(self, known: Features | None, turn: Turn) -> None:
        """The opening dialogue, all of it within `connect_timeout`. Failures come as they are, but that a
        password which the server repeats is in none of them."""
        with self._concealing():
            self._open(known, turn)

    def _open(self, known: Features | None, turn: Turn) -> None:
        peer, until = self.peer, self.opened_at + self.peer.connect_timeout
        if peer.tls != "off":
            self.context = client_context(peer.trust)
        stream = Stream.dial(peer.host, peer.port, until, "control")
        self._control = Control(stream, conceal=self._secrets, wire=self._wire)
        stream.keep_alive(peer.reply_timeout)
        self.machine.step(Event.CONNECTED)
        if peer.tls == "implicit":
            self._secure(until)
            banner = dialogue.greet(self.control, until)
            self.machine.step(Event.GREETED)
        else:
            banner = dialogue.greet(self.control, until)
            self.machine.step(Event.GREETED)
            if peer.tls == "explicit":
                dialogue.ask_for_tls(self.control, until)
                self._secure(until)
            else:
                self.machine.step(Event.STAYED_CLEAR)
        with turn():
            dialogue.log_in(self.control, peer.user, peer.password, peer.encoding, until)
        self.machine.step(Event.LOGGED_IN)
        if peer.tls == "off":
            self.machine.step(Event.STAYED_CLEAR)
        else:
            dialogue.protect(self.control, until)
            self.machine.step(Event.PROTECTED)
        self.features = dialogue.prepare(self.control, peer.encoding, known, until, banner=banner)
        self.control.telnet = bool(self.features.telnet)
        self.machine.step(Event.PREPARED)

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
        assert self.context is not None
        self._control = self.control.secured(self.context, self.host, until)
        secure = self._control.stream.tls
        assert secure is not None
        check_pins(secure, self.peer.trust)
        self.tls = facts(secure)
        self.machine.step(Event.SECURED)

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
        self.machine.step(Event.DIED)
        self.drop_data()
        if self._control is not None:
            self._drop(self._control.stream)

    @property
    def state(self) -> State:
        """Where the line stands."""
        return self.machine.state

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
            if told and self.machine.state is not State.DEAD:
                self._settle()
            else:
                self.die(error)
            raise

    def ask(self, verb: str, argument: bytes = b"", *, timeout: float | None = None) -> Reply:
        """One command and its final reply. Raises BadName, Refused, Transient."""
        command(verb, argument)
        self.ask_for_telnet(argument)
        until = time.monotonic() + (self.peer.reply_timeout if timeout is None else timeout)
        self.machine.step(Event.SENT)
        reply = self.control.ask(verb, argument, until=until)
        self.machine.step(Event.SETTLED)
        if reply.refuses:
            raise refusal(verb, reply)
        return reply

    def ask_all(self, commands: list[tuple[str, bytes]], *, timeout: float | None = None) -> list[Reply]:
        """Commands in one flight, and their replies, each within `timeout`; refusals are returned."""
        for verb, argument in commands:
            command(verb, argument)
        self.ask_for_telnet(*(argument for _, argument in commands))
        self.machine.step(Event.SENT)
        replies = self.control.ask_all(
            commands, timeout=self.peer.reply_timeout if timeout is None else timeout
        )
        self.machine.step(Event.SETTLED)
        return replies

    def ask_for_telnet(self, *arguments: bytes) -> None:
        """Before the first name with a byte 0xFF: learn how the server wants it.

        The control connection is Telnet's (RFC 959 §4), to which 0xFF begins an order, and twice is one 0xFF.
        ProFTPD reads it so; vsftpd, Pure-FTPd and pyftpdlib take names as they come. Who repeats a name in a
        refusal shows what has become of it; the others are taken to be of the many.
        """
        if self.features.telnet is not None or not any(b"\xff" in argument for argument in arguments):
            return
        self.machine.step(Event.SENT)
        reply = self.control.ask("SIZE", b"/.towline-\xff\xff", until=self.reply_deadline())
        self.machine.step(Event.SETTLED)
        self.control.telnet = any(b"-\xff" in line and b"\xff\xff" not in line for line in reply.lines)
        self.features = replace(self.features, telnet=self.control.telnet)

    def reply_deadline(self) -> float:
        """Monotonic time until which the next reply is waited for."""
        return time.monotonic() + self.peer.reply_timeout

    def drop_data(self) -> None:
        """Close the data channel, if there is one."""
        if self.data is not None:
            self._drop(self.data)
            self.data = None

    def _drop(self, stream: Stream) -> None:
        # In a forked child the parent's TLS state and TCP connection are not ours to end (R15).
        if os.getpid() == self._opener:
            stream.close()
        else:
            stream.abandon()

    def _settle(self) -> None:
        self.drop_data()
        if self.state is not State.READY:
            self.machine.step(Event.SETTLED)


def _without_traceback(error: FtpsError) -> FtpsError:
    """The same, but for the frames: they hold the line, which would keep itself until the collector comes."""
    kept = type(error).__new__(type(error), *error.args)
    kept.__dict__.update(error.__dict__)
    return kept
