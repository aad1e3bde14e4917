"""Transfer: one command that moves data over a second connection, from its port to its final reply.

RETR, STOR, APPE, MLSD and LIST are all made of it. The line keeps the data channel, so that it goes down with
the line; what a failure means is decided here, once the control reply is known. RFC 959 §3.3, RFC 4217 §12.

Where another transfer follows a small file's, the question for its port (EPSV) flies behind the command of
this one: the answer comes with the final reply, which is a round trip less for each file. Most servers read
one command at a time, and reach the EPSV when the transfer is over. Others read on meanwhile: they drop the
data channel for a new port, or say 450 of the EPSV where the transfer's reply is due. Which kind a server is,
its first transfer shows: until that has ended, with all its data and its replies in order, the server is
taken for one that can't. Of a transfer whose replies are out of order nothing is believed, so the worst that
comes of it is another try, and what is tried again asks for nothing ahead.
"""

from __future__ import annotations

import contextlib
import ssl
import time
from collections.abc import Iterator
from dataclasses import replace

from workers.ftps.active import Door
from workers.ftps.control import Reply, command, refusal
from workers.ftps.data import ask_for_port, extended
from workers.ftps.errors import ConnectFailed, NoAnswer, ProtocolError, Refused, TransferBroken, Transient
from workers.ftps.line import Line
from workers.ftps.states import Event, State
from workers.ftps.stream import Stream
from workers.ftps.tls import check_pins

# After a failed data handshake, the server's reason comes on the control connection, at once or never.
_EXPLANATION_S = 2.0
# Replies that mean: the data channel failed, not the file. RFC 959 §4.2.2.
_DATA_FAILED = frozenset({425, 426, 451})
# Of a larger file a round trip is no share worth having; and one that takes long has NOOPs beside it (R7),
# for which ProFTPD reads on: it would find the EPSV too early.
SMALL = 1024 * 1024
# A server may give up a port that nobody comes to; those that were looked at keep it for a minute and more.
_PORT_KEPT_S = 10.0


class Transfer:
    """A command under way. Inside an operation of its line, from the first to the last."""

    def __init__(self, line: Line, verb: str, *, asks_ahead: bool) -> None:
        """Not for callers: `Transfer.begin` returns one whose data channel is secured."""
        self._line = line
        self._verb = verb
        self._nudged_at = 0.0
        self._asks_ahead = asks_ahead
        self._known = line.features.ports_ahead

    @classmethod
    def begin(
        cls, line: Line, verb: str, path: bytes, offset: int = 0, *, due: int | None = None
    ) -> Transfer:
        """A secured data channel, with `verb` begun on it: port, TCP, command, then 1xx and TLS together.

        We speak first in TLS, so nothing need be waited for: what we say lies there until the server asks.
        In active mode TCP comes after the 1xx, or whenever the server likes: the kernel lets it in. Then TLS.
        due: so many bytes will move, and another transfer will be next; None: one of the two isn't known.
        Raises BadName, Refused, Transient.
        """
        command(verb, path)
        can = line.peer.active_ports is None and line.features.epsv and line.features.ports_ahead is not False
        transfer = cls(line, verb, asks_ahead=can and due is not None and due <= SMALL)
        line.ask_for_telnet(path)
        line.machine.step(Event.PORT_WANTED)
        with contextlib.ExitStack() as listening:
            door = None
            if line.peer.active_ports is None:
                line.data = transfer._dialled()
            else:
                door = listening.enter_context(contextlib.closing(Door(line.control, line.peer.active_ports)))
                if not door.tell(eprt=line.features.eprt, timeout=line.peer.reply_timeout):
                    line.features = replace(line.features, eprt=False)
            transfer._ask(path, offset)
            if door is not None or line.context is None:
                transfer._begun(transfer._reply())
            if door is not None:
                with transfer._explaining():
                    line.data = door.admit(time.monotonic() + line.peer.connect_timeout)
        if line.context is not None:
            transfer._secure(line.context)
        line.machine.step(Event.DATA_SECURED)
        if line.state is State.AHEAD:
            transfer._begun(transfer._reply())
        transfer._nudged_at = time.monotonic()
        return transfer

    @property
    def stream(self) -> Stream:
        """The data channel."""
        assert self._line.data is not None
        return self._line.data

    # -- its beginning

    def _dialled(self) -> Stream:
        """The data connection to the port that the server names, or has named already."""
        line, peer = self._line, self._line.peer
        address, line.port = line.port, None
        if address is None or time.monotonic() - address.told_at > _PORT_KEPT_S:
            address = ask_for_port(
                line.control,
                epsv=line.features.epsv,
                trusted=peer.trust_pasv_address,
                timeout=peer.reply_timeout,
            )
        if not address.epsv and line.features.epsv:
            line.features = replace(line.features, epsv=False)
        try:
            return Stream.dial(address.host, address.port, time.monotonic() + peer.connect_timeout, "data")
        except ConnectFailed as error:
            raise TransferBroken(str(error)) from error

    def _ask(self, path: bytes, offset: int) -> None:
        """Send the command itself, and what flies with it: in one TLS record, or a server would find the
        second command on its socket while it is at the first."""
        line = self._line
        if offset:
            reply = line.control.ask("REST", str(offset).encode(), until=line.reply_deadline())
            if reply.refuses:
                raise refusal("REST", reply)
        commands = [(self._verb, path)]
        if self._asks_ahead:
            commands.append(("EPSV", b""))
            if self._known is None:
                self._learn(can=False)
        line.control.send_all(commands, until=line.reply_deadline())
        line.machine.step(Event.SENT)

    def _reply(self, until: float | None = None) -> Reply:
        """The next reply. Raises Transient."""
        with self._in_order():
            return self._line.control.reply(self._line.reply_deadline() if until is None else until)

    @contextlib.contextmanager
    def _in_order(self) -> Iterator[None]:
        """Around what reads replies: a server that confuses them is not asked ahead again."""
        try:
            yield
        except ProtocolError:
            if self._asks_ahead:
                self._learn(can=False)
            raise

    def _take_port(self, final: Reply, *, all_moved: bool = False) -> None:
        """What the EPSV behind the command is answered, once the command has its final reply.

        That one is not believed where the replies turn out to be confused, nor a refusal where it can't be
        known whose it was: TransferBroken. A success that the line dies of stands.
        """
        if not self._asks_ahead:
            return
        line = self._line
        try:
            reply = self._reply()
            with self._in_order():
                line.port = None if reply.refuses else extended(line.control, reply)
        except Transient as lost:
            if final.refuses or isinstance(lost, ProtocolError):
                why = f"{self._verb}: {final}; then: {lost}"
                raise TransferBroken(why, loss=lost.loss, all_moved=all_moved) from lost
            if isinstance(lost, NoAnswer):
                self._learn(can=False)  # what it never answers, each transfer would wait for
            line.die(lost)
            return
        if final.refuses and final.code not in _DATA_FAILED:
            self._learn(can=self._known)  # nothing moved, so nothing is known that was not known before
        else:
            self._learn(can=all_moved and not final.refuses)

    def _learn(self, *, can: bool | None) -> None:
        """Whether the server bears to be asked ahead; kept from here on, whatever the line dies of."""
        self._line.features = replace(self._line.features, ports_ahead=can)

    def _begun(self, reply: Reply) -> None:
        if reply.refuses:
            self._take_port(reply)
            raise self._refusal(reply)
        self._line.machine.step(Event.BEGUN)

    def _secure(self, context: ssl.SSLContext) -> None:
        """TLS with the control connection's session as it is now, and the control connection's host name."""
        line = self._line
        with self._explaining():
            line.data = self.stream.wrapped(context, line.host, resumption=line.control.resumption)
        self._shake_hands(line.data)
        secure = line.data.tls
        assert secure is not None
        check_pins(secure, line.peer.trust)
        if secure.session_reused:
            line.data_resumed += 1
        else:
            line.data_fresh += 1

    def _shake_hands(self, data: Stream) -> None:
        """The data channel's handshake, with an ear on the control connection: a refusal ends it at once."""
        line, control, woken = self._line, self._line.control, True
        until = line.reply_deadline()
        while True:
            with self._explaining():
                wants = data.shake_hands()
            if not wants:
                return
            while woken and (reply := self._overheard()) is not None:
                self._begun(reply)
                until = line.reply_deadline()
            with self._explaining():
                woken = data.wait(wants, until, beside=None if control.keeps_reply else control.stream)

    def _overheard(self) -> Reply | None:
        with self._in_order():
            return self._line.control.overheard()

    @contextlib.contextmanager
    def _explaining(self) -> Iterator[None]:
        """Why the data channel fails here, as the control connection tells it: 550, 425, 522 (a session)."""
        try:
            yield
        except Transient as failure:
            until = time.monotonic() + _EXPLANATION_S
            reply = self._reply(until)
            while reply.preliminary:
                reply = self._reply(until)
            self._take_port(reply)
            why = self._refusal(reply) if reply.refuses else TransferBroken(str(failure))
            raise why from failure

    # -- its end

    def keep_awake(self) -> None:
        """Called between blocks: NOOP when it is time, for firewalls that forget silent connections."""
        if self._asks_ahead:
            return  # it is a small file
        line = self._line
        every, now = line.peer.noop_every, time.monotonic()
        if every is not None and now - self._nudged_at >= every:
            self._nudged_at = now
            line.control.aside(until=line.reply_deadline())

    def end_of_data(self) -> None:
        """All data has moved, or never will: the channel is closed, and the final reply is owed."""
        self._line.drop_data()
        self._line.machine.step(Event.MOVED)

    def final_reply(self, *, all_moved: bool) -> Reply:
        """The reply that settles the transfer. Raises Refused, TransferBroken.

        A line that dies of what came beside the transfer takes nothing from it: it is settled, the line DEAD.
        """
        line, control = self._line, self._line.control
        try:
            reply = self._reply()
        except Transient as lost:
            raise TransferBroken(
                f"{self._verb}: no final reply: {lost}", loss=lost.loss, all_moved=all_moved
            ) from lost
        self._take_port(reply, all_moved=all_moved)
        if line.state is not State.DEAD:
            try:
                control.settle_asides(until=line.reply_deadline())
            except Transient as lost:
                line.die(lost)
        if reply.refuses:
            raise self._refusal(reply, all_moved=all_moved)
        if line.state is not State.DEAD:
            line.machine.step(Event.SETTLED)
        return reply

    def _refusal(self, reply: Reply, *, all_moved: bool = False) -> Refused | TransferBroken:
        # 522 on a line that resumed before: its ticket has ended, and a new line has a new one.
        if reply.code in _DATA_FAILED or (reply.code == 522 and self._line.data_resumed):
            # 425 and 426 are about a connection that had done its work; 451 may be about what was moved.
            disowned = all_moved and reply.code == 451
            all_moved = all_moved and reply.code in (425, 426)
            return TransferBroken(
                f"{self._verb}: {reply}",
                all_moved=all_moved,
                disowned=disowned,
                refusal=refusal(self._verb, reply),
            )
        return refusal(self._verb, reply)
