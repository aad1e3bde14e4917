"""The data channel: where it goes, how it is secured, and how bytes move on it until they end.

A control connection and a data channel fail in different ways, so nothing here decides what a failure
means: `connection` does, once the control reply is known.
RFC 959 §3.3, RFC 2428 (EPSV), RFC 4217 §9 and §12 (TLS on data).
"""

from __future__ import annotations

import contextlib
import re
import select
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from ipaddress import ip_address, ip_network

from workers.ftps.control import Control, Reply, refusal
from workers.ftps.errors import LineLost, ProtocolError, TransferBroken, Transient
from workers.ftps.stream import Stream

# What is handed on at once: a turn of the caller's loop costs some 14 µs, whatever it brings. Half of the
# processor's second-level cache; twice as much was slower again (docs/decisions/0020).
BLOCK = 512 * 1024
# So many bytes have to move within the idle time: a drip is as good as silence (design R6).
LEAST_PROGRESS = 4096
# How long the other side's end of TLS is waited for (design R9; field note 16).
LINGER_S = 2.0

# Digits of ASCII only. RFC 2428 §3 takes any delimiter; one that is a digit can't be told from the port.
_EPSV = re.compile(r"\(([!-/:-~])\1\1(\d{1,5})\1\)", re.ASCII)
_PASV = re.compile(r"(\d{1,3}),(\d{1,3}),(\d{1,3}),(\d{1,3}),(\d{1,3}),(\d{1,3})", re.ASCII)
# Replies by which a server says that it will never do EPSV or EPRT, and not that it can't just now.
NEVER = frozenset({500, 501, 502, 504, 522})


@dataclass(frozen=True, slots=True)
class Address:
    """Where the server waits for the data connection. epsv: how it was asked. told_at: monotonic time."""

    host: str
    port: int
    epsv: bool
    told_at: float


def ask_for_port(control: Control, *, epsv: bool, trusted: tuple[str, ...], timeout: float) -> Address:
    """EPSV, or PASV where the server doesn't do that. Raises Refused, TransferBroken, ProtocolError.

    The address in a 227 is ignored, unless it lies in one of the `trusted` networks: it is a private one as
    often as not, and may be somebody else's (field note 41).
    """
    if epsv:
        reply = control.ask("EPSV", until=time.monotonic() + timeout)
        if not reply.refuses:
            return extended(control, reply)
        if reply.code not in NEVER:
            raise TransferBroken(f"EPSV: {reply}")
    host = control.stream.host
    reply = control.ask("PASV", until=time.monotonic() + timeout)
    if reply.refuses:
        raise refusal("PASV", reply) if reply.code >= 500 else TransferBroken(f"PASV: {reply}")
    match = _PASV.search(reply.text)
    port = _port(match, reply)
    if match is not None and trusted and all(int(part) < 256 for part in match.groups()):
        told = ".".join(str(int(part)) for part in match.groups()[:4])  # 010 is ten, as FTP counts
        if any(ip_address(told) in ip_network(network) for network in trusted):
            host = told
    return Address(host, port, False, time.monotonic())


def extended(control: Control, reply: Reply) -> Address:
    """What a 229 says (RFC 2428 §3). Raises ProtocolError."""
    return Address(control.stream.host, _port(_EPSV.search(reply.text), reply), True, time.monotonic())


def _port(match: re.Match[str] | None, reply: Reply) -> int:
    if match is None:
        raise ProtocolError(f"no port in: {reply}")
    numbers = [int(number) for number in match.groups()[-2:] if number.isdigit()]
    port = numbers[0] * 256 + numbers[1] if reply.code == 227 else numbers[-1]
    if not 0 < port < 65536:
        raise ProtocolError(f"no port in: {reply}")
    return port


class Pace:
    """How long the peer may still let us wait.

    Each LEAST_PROGRESS bytes have to move within `idle` seconds of *waiting*: time that our own disk or
    caller takes is not the peer's.
    """

    __slots__ = ("_allowed", "_began", "_idle", "_moved")

    def __init__(self, idle: float) -> None:
        self._idle = self._allowed = idle
        self._moved = 0
        self._began = 0.0

    def until(self) -> float:
        """The deadline of the wait that begins now."""
        self._began = time.monotonic()
        return self._began + self._allowed

    def moved(self, count: int) -> None:
        """The wait is over, and so many bytes have moved."""
        self._moved += count
        if self._moved >= LEAST_PROGRESS:
            self._moved, self._allowed = 0, self._idle
        else:
            self._allowed -= time.monotonic() - self._began


class Incoming:
    """The bytes of a download, block by block, until they end.

    received: bytes so far. end: what ended them; None after a clean end of TLS (in clear text: of TCP).
    expect: so many bytes are due, where that is known. Once they are here, the end is waited for LINGER_S
    only: some servers never send close_notify, some wait for our end first (field note 16).
    """

    def __init__(self, stream: Stream, *, idle: float, expect: int | None = None) -> None:
        self.received = 0
        self.end: Transient | None = None
        self._stream = stream
        self._idle = idle
        self._expect = expect

    def __iter__(self) -> Iterator[memoryview]:
        """Views, each valid until the next is asked for. More than is due raises TransferBroken behind it."""
        buffer = memoryview(bytearray(BLOCK))
        pace = Pace(self._idle)
        # TLS 1.3's ticket comes first, and Nagle's algorithm would hold a small file behind it for 40 ms.
        self._stream.acknowledge()
        while True:
            until = pace.until() if self.received != self._expect else time.monotonic() + LINGER_S
            try:
                got = self._stream.read_into(buffer, until)
            except Transient as end:
                self.end = end
                return
            if not got:
                # Our own close_notify, for servers that log its absence. The bytes are here, and the
                # server's word on them comes on the control connection.
                with contextlib.suppress(Transient):
                    self._stream.say_end(time.monotonic())
                return
            pace.moved(got)
            self.received += got
            if self._expect is not None and self.received > self._expect:
                # What was due goes first: by its beginning a server is found out that ignores REST.
                if (due := got - (self.received - self._expect)) > 0:
                    yield buffer[:due]
                raise TransferBroken(f"more than the {self._expect} bytes that were due")
            yield buffer[:got]


class Outgoing:
    """The bytes of an upload. sent: bytes the kernel took. end: what ended them early; None: all went."""

    def __init__(self, stream: Stream, source: Iterable[bytes | memoryview], *, idle: float) -> None:
        self.sent = 0
        self.end: Transient | None = None
        self._stream = stream
        self._source = source
        self._idle = idle

    def run(self) -> None:
        """Write every block of the source, or stop at the first that the line does not take."""
        pace = Pace(self._idle)
        for block in self._source:
            view = memoryview(block).cast("B")
            while view:
                try:
                    count = self._stream.write_some(view[:BLOCK], pace.until())
                except Transient as end:
                    self.end = end
                    return
                pace.moved(count)
                self.sent += count
                view = view[count:]


def end_upload(stream: Stream, control: Control) -> None:
    """Say the end, and linger until the peer's, the control reply, or LINGER_S (design R9).

    Closing at once would be a reset where anything unread lies in our buffer, TLS 1.3 tickets for one, and
    a reset can take from the server what it has not read yet.
    """
    until = time.monotonic() + LINGER_S
    try:
        stream.say_end(until)
    except LineLost:
        return  # it has gone already; the control reply will say whether it was content
    poll = select.poll()
    poll.register(stream.sock.fileno(), select.POLLIN)
    if not control.asides:  # it would be their replies that come
        poll.register(control.stream.sock.fileno(), select.POLLIN)
    while (left := until - time.monotonic()) > 0:
        ready = poll.poll(left * 1000)
        if not ready or any(descriptor != stream.sock.fileno() for descriptor, _ in ready):
            return
        try:
            if stream.read_now(BLOCK) == b"":
                return
        except Transient:
            return
