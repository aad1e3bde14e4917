"""IBM i, which was OS/400 (its LISTFMT 0; with LISTFMT 1 it speaks Unix).

QSYS            77824 11/22/26 11:47:12 *DIR       reports/
ACME             8192 11/22/26 11:47:12 *STMF      report.csv
ACME            36864 11/22/26 11:47:12 *FILE      ORDERS.FILE
ACME                                    *MEM       ORDERS.FILE/NEW.MBR
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from workers.ftps.dialects.dialect import Dialect, line_by_line
from workers.ftps.entry import BadLine, Entry, Kind, number
from workers.ftps.times import Clock, whole_year

_LINE = re.compile(
    rb"""
    (?P<owner>\S++)
    (?: \s++ (?P<size>\d++)
        \s++ (?P<first>\d{2}|\d{4})(?P<mark>[-/.])(?P<second>\d\d)(?P=mark)(?P<third>\d{4}|\d\d)
        \s++ (?P<hour>\d\d)[:.](?P<minute>\d\d)[:.](?P<seconds>\d\d) )?
    \s++ \*(?P<type>[A-Z][A-Z0-9]*+) (?=[ ]++[^ ]) (?P<after>.++)
    """,
    re.VERBOSE | re.DOTALL,
)
_KINDS: dict[bytes, Kind] = {
    **dict.fromkeys((b"STMF", b"DSTMF", b"MEM", b"DOC"), "file"),
    **dict.fromkeys((b"DIR", b"DDIR", b"LIB", b"FLR"), "dir"),
    b"SYMLNK": "link",
}
# The type is filled up to ten columns, and one blank follows; more of them belong to the name.
_TYPE_WIDTH = 10


def parse_os400_line(line: bytes, clock: Clock) -> Entry | None:
    """One line; None for blank ones. Raises BadLine.

    A member's name holds the file it is in, and a slash. Sizes are known of stream files only: for all
    other objects it is what they take up on disk, which is not what RETR sends.
    """
    match = _LINE.match(line)
    if match is None:
        if not line.strip():
            return None
        raise BadLine(line)
    after = match["after"]
    fill = max(_TYPE_WIDTH - len(match["type"]), 1)
    name = after[min(len(after) - len(after.lstrip(b" ")), fill) :]
    kind = _kind(match["type"], name)
    if kind == "dir" and len(name) > 1 and name.find(b"/") == len(name) - 1:
        name = name[:-1]
    size = number(match["size"]) if match["type"] in (b"STMF", b"DSTMF") else None
    return Entry(name, kind, size, None if match["first"] is None else _time(match, clock), 1.0)


def _kind(type_name: bytes, name: bytes) -> Kind:
    if type_name == b"FILE":
        # A save file is one that can be fetched; any other holds members.
        return "file" if name.upper().rstrip(b" ").endswith(b".SAVF") else "dir"
    return _KINDS.get(type_name, "other")


def _time(match: re.Match[bytes], clock: Clock) -> float | None:
    clock_time = int(match["hour"]), int(match["minute"]), int(match["seconds"])
    for year, month, day in _orders(match["first"], match["second"], match["third"]):
        instant = clock.instant(year, month, day, *clock_time)
        if instant is not None and clock.is_past(instant):
            return instant
    return None


def _orders(first: bytes, second: bytes, third: bytes) -> Iterator[tuple[int, int, int]]:
    """Ways to read a date, the likelier first: the order is a setting of that machine.

    Each line is read by itself, not by its neighbours: a file's time must not change because another came.
    """
    one, two, three = int(first), int(second), int(third)
    if len(first) == 2:
        yield whole_year(three), one, two
        yield whole_year(three), two, one
    if len(third) == 2:
        yield whole_year(one), two, three


def _knows(line: bytes) -> bool:
    match = _LINE.match(line)
    return match is not None and (match["first"] is not None or match["type"] == b"MEM")


OS400 = Dialect("OS/400", _knows, line_by_line(parse_os400_line))
