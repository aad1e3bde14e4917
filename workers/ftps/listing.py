"""Lines of MLSD (RFC 3659 §7) and of a Unix LIST → entries. Pure: bytes in, values out.

Names stay bytes: what a listing gave is what RETR sends back (design R12). A name that no file may be
written under ("..", "a/b", one with CR or NUL) is an entry all the same, so that it can be recorded.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Literal
from zoneinfo import ZoneInfo

from workers.ftps.errors import ProtocolError

Kind = Literal["file", "dir", "link", "other"]

# No name is longer than 255 bytes on any file system, no path than 4096; MLSD facts add some hundred.
MAX_LINE = 16 * 1024
_MINUTE, _DAY = 60.0, 86400.0


@dataclass(frozen=True, slots=True)
class Entry:
    """One line of a listing.

    size: bytes; None where it isn't said. modified: epoch seconds UTC; None where it isn't said.
    precision_s: how coarse `modified` is: 1 for MLSD, 60 or 86400 for LIST. unique: MLSD's fact of that
    name. target: where a link points.
    """

    name: bytes
    kind: Kind
    size: int | None
    modified: float | None
    precision_s: float
    unique: bytes | None = None
    target: bytes | None = None


class BadLine(ValueError):
    """A line that is no entry, and nothing else we know."""


class LineSplitter:
    """Cuts a stream of bytes into lines; bounded in memory. Lines end in CRLF, or LF on careless servers."""

    def __init__(self) -> None:
        self._rest = b""

    def feed(self, data: bytes | memoryview) -> Iterator[bytes]:
        """The lines that `data` completes. Raises ProtocolError for a line without end."""
        lines = (self._rest + bytes(data)).split(b"\n")
        self._rest = lines.pop()
        if len(self._rest) > MAX_LINE:
            raise ProtocolError(f"a line longer than {MAX_LINE} bytes in a listing")
        for line in lines:
            yield line.removesuffix(b"\r")

    def rest(self) -> Iterator[bytes]:
        """At the end: what came after the last line end, which is nothing in a well-formed listing."""
        if self._rest:
            yield self._rest


def parse_mlsd_line(line: bytes) -> Entry | None:
    """One line of MLSD; None for the folder itself and its parent. Raises BadLine."""
    facts_text, name = _facts_and_name(line)
    facts: dict[bytes, bytes] = {}
    for fact in facts_text.split(b";"):
        key, equals, value = fact.partition(b"=")
        if equals:
            facts[key.strip().lower()] = value
    kind_text = facts.get(b"type", b"file").lower()
    if kind_text in (b"cdir", b"pdir"):
        return None
    kind: Kind = "other"
    target = None
    if kind_text == b"file":
        kind = "file"
    elif kind_text == b"dir":
        kind = "dir"
    elif kind_text.startswith((b"os.unix=slink", b"os.unix=symlink")):
        kind = "link"
        target = facts[b"type"].partition(b":")[2] or None
    modified, precision = parse_time_value(facts.get(b"modify", b""))
    return Entry(name, kind, _number(facts.get(b"size")), modified, precision, facts.get(b"unique"), target)


def _facts_and_name(line: bytes) -> tuple[bytes, bytes]:
    """RFC 3659 §7.2: facts, each ended by a semicolon, one blank, and the name, which may hold anything."""
    cut = line.find(b" ")
    if cut < 0:
        raise BadLine(f"no name in {line[:200]!r}")
    # ProFTPD and Pure-FTPd put a link's target into its type, blanks and all.
    if b"slink:" in line[:cut].lower() and line[cut - 1 : cut] != b";":
        later = line.find(b"; ", cut)
        cut = later + 1 if later >= 0 else cut
    return line[:cut], line[cut + 1 :]


_TIME_VALUE = re.compile(rb"(\d{4})(\d\d)(\d\d)(\d\d)(\d\d)(\d\d)(?:\.(\d{1,9}))?\Z")


def parse_time_value(text: bytes) -> tuple[float | None, float]:
    """`YYYYMMDDHHMMSS[.sss]` in UTC (RFC 3659 §2.3) → epoch seconds, precision; else (None, 1)."""
    match = _TIME_VALUE.match(text)
    if match is None:
        return None, 1.0
    try:
        # strptime would take longer than all the rest of a line.
        year, month, day, hour, minute, second = map(int, match.groups()[:6])
        whole = datetime(year, month, day, hour, minute, second, tzinfo=UTC).timestamp()
    except ValueError:
        return None, 1.0
    fraction = match[7]
    if fraction is None:
        return whole, 1.0
    return whole + int(fraction) / 10 ** len(fraction), 10.0 ** -len(fraction)


def _number(text: bytes | None) -> int | None:
    # 19 digits are more than any file; int() of a million digits takes minutes.
    return int(text) if text is not None and text.isdigit() and len(text) < 20 else None


_LIST_LINE = re.compile(
    rb"""
    (?P<type>[-bcdlpsD])[-rwxsStTlLugoa]{9}[.+@]?   # what it is, who may what, and a mark for ACLs
    \s+ \d+                                          # links
    (?:\s+ \S+){1,2}?                                # owner, and mostly a group
    \s+ (?:(?P<size>\d+) | \d+,\s*\d+)               # bytes, or a device's two numbers
    \s+ (?:(?P<month>[A-Za-z]{3}) \s+ (?P<day>\d{1,2}) | (?P<day2>\d{1,2}) \s+ (?P<month2>[A-Za-z]{3}))
    \s+ (?:(?P<hour>\d{1,2}):(?P<minute>\d{2}) | (?P<year>\d{4}))
    [ ](?P<name>.*)                                  # one blank; more of them belong to the name
    """,
    re.VERBOSE | re.DOTALL,
)
_KINDS: dict[bytes, Kind] = {b"-": "file", b"d": "dir", b"l": "link"}
_MONTHS = {
    name: number for number, name in enumerate(b"jan feb mar apr may jun jul aug sep oct nov dec".split(), 1)
}
_TOTAL = re.compile(rb"total \d+\Z", re.IGNORECASE)


def parse_list_line(line: bytes, *, now: float, zone: str) -> Entry | None:
    """One line of `ls -l`; None for "total", blank lines, "." and "..". Raises BadLine.

    now: epoch seconds, to guess the year that `ls` leaves out. zone: IANA name of the server's time zone.
    """
    if not line.strip() or _TOTAL.match(line):
        return None
    match = _LIST_LINE.match(line)
    if match is None:
        raise BadLine(f"not a line of LIST: {line[:200]!r}")
    kind = _KINDS.get(match["type"], "other")
    name, target = match["name"], None
    if kind == "link":
        name, arrow, rest = name.partition(b" -> ")
        target = rest if arrow else None
    if kind == "dir" and name in (b".", b".."):
        return None
    modified, precision = _list_time(match, now, zone)
    return Entry(
        name, kind, _number(match["size"]) if kind == "file" else None, modified, precision, None, target
    )


def _list_time(match: re.Match[bytes], now: float, zone: str) -> tuple[float | None, float]:
    month = _MONTHS.get((match["month"] or match["month2"]).lower())
    day = int(match["day"] or match["day2"])
    if month is None:
        return None, _DAY  # a month in another language
    there = ZoneInfo(zone)
    if match["year"] is not None:
        return _instant(int(match["year"]), month, day, 0, 0, there), _DAY
    # Without a year it is the latest such day that isn't in the future, give or take a day of wrong clock
    # and wrong zone. 29 February may be up to eight years back (1900 and 2100 have none).
    latest = datetime.fromtimestamp(now, there) + timedelta(days=1)
    for year in range(latest.year, latest.year - 9, -1):
        instant = _instant(year, month, day, int(match["hour"]), int(match["minute"]), there)
        if instant is not None and instant <= latest.timestamp():
            return instant, _MINUTE
    return None, _MINUTE


def _instant(year: int, month: int, day: int, hour: int, minute: int, zone: ZoneInfo) -> float | None:
    try:
        return datetime(year, month, day, hour, minute, tzinfo=zone).timestamp()
    except (ValueError, OverflowError):
        return None
