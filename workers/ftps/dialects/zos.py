"""IBM z/OS: data sets, and the members of a partitioned one (its Unix side speaks Unix).

Volume Unit    Referred Ext Used Recfm Lrecl BlkSz Dsorg Dsname
SAVE00 3390   2026/11/22  1    1  FB     128  6144  PS  REPORTS.DAILY
SAVE00 3390   2026/11/22  1    1  FB      80 27920  PO  SOURCE.LIB
Migrated                                                REPORTS.OLD

 Name     VV.MM   Created       Changed      Size  Init   Mod   Id
REPORT1   01.03 2026/09/12 2026/11/22 11:47    11    11     0 ACME01
NOSTATS

 Name      Size     TTR   Alias-of AC --------- Attributes --------- Amode Rmode
PROGRAM   0002A8   00121B          00 FO           RN RU            31    ANY
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator

from workers.ftps.dialects.dialect import Dialect
from workers.ftps.entry import BadLine, BadLines, Entry, Kind
from workers.ftps.times import MINUTE, Clock

_DATA_SETS = re.compile(rb"\s*Volume\s+Unit\s+Referred\s", re.IGNORECASE)
_MEMBERS = re.compile(rb"\s*Name\s+VV\.MM\s+Created\s", re.IGNORECASE)
_PROGRAMS = re.compile(rb"\s*Name\s+Size\s+TTR\s", re.IGNORECASE)

# Qualifiers of eight letters, digits and #@$-, in quotes where they are the whole name.
_DATA_SET = re.compile(rb"(?P<facts>.*\S)\s+(?P<name>'?[A-Z#@$][A-Z0-9#@$.-]{0,43}'?)\s*\Z", re.IGNORECASE)
_MEMBER = re.compile(
    rb"""
    \s{0,3} (?P<name>[A-Z#@$][A-Z0-9#@$]{0,7})
    (?: \s++ \d\d\.\d\d \s++ \d{4}/\d\d/\d\d
        \s++ (?P<year>\d{4})/(?P<month>\d\d)/(?P<day>\d\d) \s++ (?P<hour>\d\d):(?P<minute>\d\d)
        (?::(?P<second>\d\d))? (?:\s.*)? )?
    \s*\Z
    """,
    re.VERBOSE | re.DOTALL | re.IGNORECASE,
)
_PROGRAM = re.compile(
    rb"\s{0,3}(?P<name>[A-Z#@$][A-Z0-9#@$]{0,7})\s+[0-9A-F]{6,8}\s+[0-9A-F]{6}(?:\s.*)?\Z", re.DOTALL
)
_KINDS: dict[bytes, Kind] = {b"PS": "file", b"PS-E": "file", b"PS-L": "file", b"PO": "dir", b"PO-E": "dir"}


def _data_set(line: bytes, _: Clock) -> Entry:
    """What is written of time is when it was last *referred to*, which RETR changes: so no time is known."""
    match = _DATA_SET.match(line)
    if match is None:
        raise BadLine(line)
    words = match["facts"].upper().split()
    if words[0] == b"PSEUDO":
        kind: Kind = "dir"  # a qualifier that names more than one data set
    elif words[0] in (b"MIGRATED", b"ARCIVE"):
        kind = "file"  # RETR calls it back from tape
    elif len(words) > 2:
        kind = _KINDS.get(words[-1], "other")
    else:
        raise BadLine(line)
    return Entry(match["name"], kind, None, None, 1.0)


def _member(line: bytes, clock: Clock) -> Entry:
    """Its size is in records, and so not known; a member may have no statistics at all."""
    match = _MEMBER.match(line)
    if match is None:
        raise BadLine(line)
    if match["year"] is None:
        return Entry(match["name"], "file", None, None, 1.0)
    date = int(match["year"]), int(match["month"]), int(match["day"])
    second = match["second"]
    modified = clock.instant(*date, int(match["hour"]), int(match["minute"]), int(second or 0))
    return Entry(match["name"], "file", None, modified, MINUTE if second is None else 1.0)


def _program(line: bytes, _: Clock) -> Entry:
    match = _PROGRAM.match(line)
    if match is None:
        raise BadLine(line)
    return Entry(match["name"], "file", None, None, 1.0)


_PARSERS: tuple[tuple[re.Pattern[bytes], Callable[[bytes, Clock], Entry]], ...] = (
    (_DATA_SETS, _data_set),
    (_MEMBERS, _member),
    (_PROGRAMS, _program),
)


def read_zos(lines: Iterable[bytes], clock: Clock, bad: BadLines) -> Iterator[Entry]:
    """The entries of a listing. Its header says what its lines are: a member may be nothing but a name."""
    parse: Callable[[bytes, Clock], Entry] | None = None
    for line in lines:
        header = _header(line)
        if header is not None:
            parse = header
        elif line.strip():
            try:
                if parse is None:
                    raise BadLine(line)
                yield parse(line, clock)
            except BadLine:
                bad.note(line)


def _header(line: bytes) -> Callable[[bytes, Clock], Entry] | None:
    return next((parse for header, parse in _PARSERS if header.match(line)), None)


def _knows(line: bytes) -> bool:
    return _header(line) is not None


ZOS = Dialect("z/OS", _knows, read_zos)
