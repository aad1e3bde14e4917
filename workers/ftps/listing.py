"""Listings: bytes of MLSD or LIST → entries. Pure: bytes in, values out.

Names stay bytes: what a listing gave is what RETR sends back (design R12). A name that no file may be
written under ("..", "a/b", one with CR or NUL) is an entry all the same, so that it can be recorded.

MLSD is read in `mlsd`; LIST in one of the `dialects`, which the first line that belongs to one of them
alone decides for the whole listing.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import chain

from workers.ftps import mlsd
from workers.ftps.dialects.dialect import Dialect
from workers.ftps.dialects.nonstop import NONSTOP
from workers.ftps.dialects.os400 import OS400
from workers.ftps.dialects.unix import UNIX
from workers.ftps.dialects.vms import VMS
from workers.ftps.dialects.windows import WINDOWS
from workers.ftps.dialects.zos import ZOS
from workers.ftps.entry import BadLine, BadLines, Entry, Kind
from workers.ftps.errors import ProtocolError
from workers.ftps.mlsd import parse_mlsd_line
from workers.ftps.times import Clock, parse_time_value

__all__ = [
    "MAX_LINE",
    "BadLine",
    "BadLines",
    "Entry",
    "Kind",
    "LineSplitter",
    "parse_list_line",
    "parse_mlsd_line",
    "parse_time_value",
    "read_list",
    "read_mlsd",
]

# No name is longer than 255 bytes on any file system, no path than 4096; MLSD facts add some hundred.
MAX_LINE = 16 * 1024

_DIALECTS = (UNIX, WINDOWS, VMS, ZOS, OS400, NONSTOP)


class LineSplitter:
    """Cuts a stream of bytes into lines; bounded in memory. Lines end in CRLF, or LF on careless servers."""

    def __init__(self) -> None:
        self._rest = b""

    def feed(self, data: bytes | memoryview) -> list[bytes]:
        """The lines that `data` completes. Raises ProtocolError for a line without end."""
        text = self._rest + data
        lines = text.split(b"\r\n")
        if text.count(b"\n") >= len(lines):  # some of them ended in LF alone
            lines = [line.removesuffix(b"\r") for line in text.split(b"\n")[:-1]]
            lines.append(text[text.rfind(b"\n") + 1 :])
        self._rest = lines.pop()
        if len(self._rest) > MAX_LINE:
            raise ProtocolError(f"a line longer than {MAX_LINE} bytes in a listing")
        return lines

    def rest(self) -> Iterator[bytes]:
        """At the end: what came after the last line end, which is nothing in a well-formed listing."""
        if self._rest:
            yield self._rest


def read_mlsd(blocks: Iterable[bytes | memoryview], bad: BadLines) -> Iterator[Entry]:
    """The entries of a whole MLSD as its bytes come; lines that are none go to `bad`, and spoil nothing."""
    return mlsd.read_mlsd(_lines(blocks), bad)


def read_list(
    blocks: Iterable[bytes | memoryview], bad: BadLines, *, now: float, zone: str
) -> Iterator[Entry]:
    """The entries of a whole LIST as its bytes come; lines that are none go to `bad`, and spoil nothing.

    now: epoch seconds, to guess the year that `ls` leaves out. zone: IANA name of the server's time zone.
    """
    clock = Clock.of(now, zone)
    lines = chain.from_iterable(_lines(blocks))
    for line in lines:
        dialect = _dialect_of(line)
        if dialect is not None:
            yield from dialect.read(chain((line,), lines), clock, bad)
        elif line.strip():
            bad.note(line)


def parse_list_line(line: bytes, *, now: float, zone: str) -> Entry | None:
    """One line of LIST by itself, in whatever dialect; None for a line that is no entry. Raises BadLine."""
    if not line.strip():
        return None
    dialect = _dialect_of(line)
    if dialect is None:
        raise BadLine(line)
    bad = BadLines()
    entry = next(dialect.read((line,), Clock.of(now, zone), bad), None)
    if bad.count:
        raise BadLine(line)
    return entry


def _dialect_of(line: bytes) -> Dialect | None:
    return next((dialect for dialect in _DIALECTS if dialect.knows(line)), None)


def _lines(blocks: Iterable[bytes | memoryview]) -> Iterator[list[bytes]]:
    splitter = LineSplitter()
    for block in blocks:
        yield splitter.feed(block)
    yield list(splitter.rest())
