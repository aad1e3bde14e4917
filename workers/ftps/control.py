"""The control connection: commands, and the queue of those that wait for their replies.

Replies carry no name; only their order says which command they answer. So commands wait in a queue, first
in, first out, and each has its set of acceptable codes: a reply outside it, or bytes that no waiting command
explains, mean that the two sides disagree about what was asked, and then nothing that follows can be
believed. RFC 959 §4.2 and §5.4, RFC 2228, RFC 2389, RFC 2428, RFC 3659.
"""

from __future__ import annotations

import re
import ssl
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

from workers.ftps.errors import BadName, Forbidden, LineLost, Missing, ProtocolError, Refused
from workers.ftps.resuming import Resumption
from workers.ftps.stream import Stream
from workers.ftps.verbs import ASIDE, GREETING, TRANSFER, VERBS

# The longest reply line: a path of 4 KiB, shown twice, and some words.
MAX_LINE = 16 * 1024
# The longest reply of many lines; a FEAT has about one KiB, a talkative banner some more.
MAX_REPLY = 256 * 1024

_FIRST_DIGITS = b"12345"
# The commands to which 530 says something of the login they ask for …
_UNTIL_LOGIN = frozenset({"AUTH", "USER", "PASS"})
# … and how servers say, to any other, that a login which was there is gone. Some say 530 of a file as well.
_NOT_LOGGED_IN = re.compile(r"log(ged)?[ -]?[io]n|\bUSER\b|authenticat", re.I)
# What servers say where a 550 means that the file isn't there, and not that it may not be touched.
_ABSENT = ("no such", "not found", "not exist", "n't exist", "cannot find", "can't find", "existence")
# … and where it means that (the servers of the tests, and IIS; RFC 959 §4.2 has one code for both).
_NOT_ALLOWED = ("permission", "denied", "not allowed", "forbidden", "not permitted", "privilege")


class Farewell(LineLost):
    """421: the server says that it closes the line."""


@dataclass(frozen=True, slots=True)
class Reply:
    """One reply. code: three digits as a number. lines: its text without codes and line ends."""

    code: int
    lines: tuple[bytes, ...]

    @property
    def text(self) -> str:
        """All lines in one, shown as far as they are text."""
        return " / ".join(line.decode("utf-8", "backslashreplace") for line in self.lines).strip()

    @property
    def preliminary(self) -> bool:
        """1xx: another reply will follow."""
        return self.code < 200

    @property
    def refuses(self) -> bool:
        """4xx, 5xx: the server said no."""
        return self.code >= 400

    def __str__(self) -> str:
        return f"{self.code} {self.text}".rstrip()


class ReplyParser:
    """Bytes in, replies out; no I/O. Its memory is bounded whatever the peer sends."""

    def __init__(self) -> None:
        self._buffer = bytearray()
        self._searched = 0  # no line end before this index
        self._lines: list[bytes] = []  # of a reply of many lines, unfinished
        self._size = 0
        self._code = b""

    def feed(self, data: bytes | memoryview) -> None:
        """Take in bytes as they come."""
        self._buffer += data

    @property
    def holds_bytes(self) -> bool:
        """Whether anything was fed that no reply returned so far has used."""
        return bool(self._buffer or self._lines)

    def next(self) -> Reply | None:
        """The next whole reply; None until more is fed. Raises ProtocolError."""
        while (line := self._next_line()) is not None:
            if self._code:
                ends = line[:3] == self._code and line[3:4] in (b" ", b"")
                coded = ends or line[:4] == self._code + b"-"
                self._lines.append(line[4:] if coded else line)
                if ends:
                    return self._finish()
                self._size += len(line) + 1
                if self._size > MAX_REPLY:
                    raise ProtocolError(f"a reply longer than {MAX_REPLY} bytes")
                continue
            code, mark = line[:3], line[3:4]
            if not (
                len(code) == 3 and code.isdigit() and code[0] in _FIRST_DIGITS and mark in (b" ", b"-", b"")
            ):
                raise ProtocolError(f"not an FTP reply: {_shown(line)}")
            self._code = code
            self._lines.append(line[4:])
            if mark != b"-":
                return self._finish()
        return None

    def _next_line(self) -> bytes | None:
        end = self._buffer.find(b"\n", self._searched)
        if end > MAX_LINE or (end < 0 and len(self._buffer) > MAX_LINE):
            raise ProtocolError(f"a reply line longer than {MAX_LINE} bytes")
        if end < 0:
            self._searched = len(self._buffer)
            return None
        line = bytes(self._buffer[:end])
        del self._buffer[: end + 1]
        self._searched = 0
        return line.removesuffix(b"\r")

    def _finish(self) -> Reply:
        reply = Reply(int(self._code), tuple(self._lines))
        self._code, self._lines, self._size = b"", [], 0
        return reply


def command(verb: str, argument: bytes = b"") -> bytes:
    """The line that goes over the wire. Raises BadName where the argument would end it early (R12)."""
    if any(odd in argument for odd in (b"\r", b"\n", b"\0")):
        raise BadName(f"{verb}: CR, LF or NUL in {argument!r}" if verb != "PASS" else "PASS: CR, LF or NUL")
    return verb.encode("ascii") + (b" " + argument if argument else b"") + b"\r\n"


def refusal(verb: str, reply: Reply) -> Refused:
    """The exception for a final 4xx or 5xx: Missing or Forbidden where the text says so, else Refused."""
    text = reply.text.lower()
    if reply.code in (450, 550) and any(words in text for words in _ABSENT):
        return Missing(verb, reply.code, reply.text)
    not_allowed = any(words in text for words in _NOT_ALLOWED)
    return (Forbidden if not_allowed else Refused)(verb, reply.code, reply.text)


class Control:
    """Writes commands, and hands out replies in the order in which their commands were written.

    answered_at: monotonic time of the last reply. resumption: what data channels resume; None in clear text.
    telnet: each 0xFF is sent twice. wire: told each line, with all of `conceal` made unreadable.
    """

    def __init__(
        self,
        stream: Stream,
        *,
        conceal: tuple[str, ...] = (),
        wire: Callable[[str], None] | None = None,
    ) -> None:
        self.stream = stream
        self.answered_at = time.monotonic()
        self.telnet = False
        self._parser = ReplyParser()
        self._kept: Reply | None = None  # overheard, and left for `reply`
        self._waiting: deque[str] = deque()
        self._begun = False  # the command in front has had its preliminary reply
        self._asides = 0  # NOOPs whose replies may come at any time, or never
        self._heard = False  # something has come since the last command was written
        self._buffer = memoryview(bytearray(MAX_LINE))
        self.resumption = Resumption(stream.tls) if stream.tls is not None else None
        self._conceal = conceal
        self._wire = wire

    def secured(self, context: ssl.SSLContext, host: str, until: float) -> Control:
        """Shake hands, and return the control connection that speaks TLS, with a reply buffer of its own.

        Raises ProtocolError where clear text is buffered already: it would be taken for the first
        encrypted answer (R4; CVE-2011-0411 and its kin).
        """
        if self._parser.holds_bytes or self._waiting:
            raise ProtocolError(
                "clear text behind the reply to AUTH TLS: somebody may be tampering with the line"
            )
        stream = self.stream.secured(context, host, until)
        return Control(stream, conceal=self._conceal, wire=self._wire)

    def expect_greeting(self) -> None:
        """Wait for the reply that nobody asked for."""
        self._waiting.append(GREETING)

    def send(self, verb: str, argument: bytes = b"", *, until: float) -> None:
        """Write one command; its reply is owed from here on."""
        self.send_all([(verb, argument)], until=until)

    def send_all(self, commands: list[tuple[str, bytes]], *, until: float) -> None:
        """Write several commands in one flight; a small one: a peer whose replies pile up stops reading."""
        lines = [command(verb, argument) for verb, argument in commands]
        if not self._waiting and not self._asides:
            self._must_be_silent()
        self._waiting.extend(verb for verb, _ in commands)
        for (verb, _), line in zip(commands, lines, strict=True):
            self._tell(">", b"PASS ***" if verb == "PASS" else line)
        self._heard = False
        flight = b"".join(lines)
        self.stream.write(flight.replace(b"\xff", b"\xff\xff") if self.telnet else flight, until)

    def reply(self, until: float) -> Reply:
        """The next reply to the command in front. A final one, a refusal too, settles that command.

        Raises LineLost (EOF, reset, and 421 in answer to anything, R5), NoAnswer, ProtocolError.
        """
        reply, self._kept = self._kept or self._parser.next(), None
        while reply is None:
            if self._heard:
                # A server with Nagle's algorithm holds its 226 until the 150 is acknowledged: 40 ms a file.
                self.stream.acknowledge()
            got = self.stream.read_into(self._buffer, until)
            if not got:
                raise LineLost(f"the server ended the line; owed: {', '.join(self._waiting)}")
            self._heard = True
            self._parser.feed(self._buffer[:got])
            reply = self._parser.next()
        self.answered_at = time.monotonic()
        self._tell("<", str(reply).encode())
        if reply.code == 421:
            raise Farewell(str(reply))
        if self._asides and reply.code in ASIDE:
            self._asides -= 1
            return self.reply(until)
        verb = self._waiting[0]
        if reply.code == 530 and verb not in _UNTIL_LOGIN and _NOT_LOGGED_IN.search(reply.text):
            raise LineLost(f"the server has forgotten the login: {reply}")
        knows = VERBS[verb]
        if reply.code in knows.preliminary and not self._begun:
            self._begun = True
            return reply
        # A success that skips its 1xx has moved no data.
        if not reply.refuses and (reply.code not in knows.accepts or (knows is TRANSFER and not self._begun)):
            raise ProtocolError(f"{verb} can't be answered by: {reply}")
        self._waiting.popleft()
        self._begun = False
        return reply

    def overheard(self) -> Reply | None:
        """A preliminary reply, or a refusal, that has come already; None: nothing that counts has.

        What wakes the socket may be a TLS ticket or half a line. A success is kept for `reply`: it ends what
        is only beginning. Raises as `reply` does.
        """
        while self._kept is None:
            self._kept = self._parser.next()
            if self._kept is None:
                arrived = self.stream.read_now(MAX_LINE)
                if arrived is None:
                    return None
                if not arrived:
                    raise LineLost(f"the server ended the line; owed: {', '.join(self._waiting)}")
                self._heard = True
                self._parser.feed(arrived)
        ends_well = self._begun and not self._kept.preliminary and not self._kept.refuses
        return None if ends_well else self.reply(time.monotonic())

    def ask(self, verb: str, argument: bytes = b"", *, until: float) -> Reply:
        """Write one command and wait for its final reply; a refusal is returned like any other."""
        self.send(verb, argument, until=until)
        return self.reply(until)

    def ask_all(self, commands: list[tuple[str, bytes]], *, timeout: float) -> list[Reply]:
        """Write several commands in one flight, and wait for their replies, `timeout` seconds for each.

        Replies to like commands look alike, and one too many would shift them all unseen. A NOOP flies last:
        a reply that is none of its own shows that they were shifted. Raises ProtocolError then.
        """
        self.send_all([*commands, ("NOOP", b"")], until=time.monotonic() + timeout)
        replies = [self.reply(time.monotonic() + timeout) for _ in commands]
        last = self.reply(time.monotonic() + timeout)
        if last.code not in ASIDE:
            raise ProtocolError(f"NOOP can't be answered by: {last}")
        return replies

    def aside(self, *, until: float) -> None:
        """NOOP in the middle of a transfer; once that has its final reply, `settle_asides` has to follow."""
        line = command("NOOP")
        self._asides += 1
        self._tell(">", line)
        self.stream.write(line, until)

    def settle_asides(self, *, until: float) -> None:
        """Know which replies are still to come: none. Nothing else may be owed.

        A NOOP during a transfer is answered before the transfer is, after it, or never (field note 7). Asked
        for something that 200 can't answer, the server shows how it is: replies come in order.
        """
        if self._asides:
            self.ask("PWD", until=until)
            self._asides = 0

    @property
    def asides(self) -> int:
        """How many replies to asides may still come."""
        return self._asides

    @property
    def owed(self) -> int:
        """How many final replies are still to come."""
        return len(self._waiting)

    @property
    def keeps_reply(self) -> bool:
        """Whether a reply that was overheard waits for `reply`; until then nothing more is overheard."""
        return self._kept is not None

    @property
    def holds_bytes(self) -> bool:
        """Whether something has come already that no reply so far has used; the socket does not show it."""
        secure = self.stream.tls
        return self._parser.holds_bytes or (secure is not None and secure.pending() > 0)

    def _must_be_silent(self) -> None:
        """Nothing is owed, so nothing may have come. Raises LineLost (end of line, 421), ProtocolError."""
        # What came together with the last reply is looked at first: a 421 explains the end that follows it.
        arrived = None if self._parser.holds_bytes else self.stream.read_now(MAX_LINE)
        if arrived:
            self._parser.feed(arrived)
        if self._parser.holds_bytes:
            reply = self._parser.next()
            if reply is None:
                raise ProtocolError("bytes that no command explains")
            self._tell("<", str(reply).encode())
            if reply.code == 421:
                raise Farewell(str(reply))
            raise ProtocolError(f"a reply that no command explains: {reply}")
        if arrived == b"":
            raise LineLost("the server has ended the line")

    def _tell(self, direction: str, line: bytes) -> None:
        if self._wire is None:
            return
        text = line.decode("utf-8", "backslashreplace").rstrip("\r\n")
        # A server may repeat the password in its reply.
        self._wire(f"{direction} {concealed(text, self._conceal)}")


def concealed(text: str, secrets: tuple[str, ...]) -> str:
    """The text without any of the secrets."""
    for secret in secrets:
        text = text.replace(secret, "***")
    return text


def _shown(line: bytes) -> str:
    return repr(line[:100].decode("utf-8", "backslashreplace"))
