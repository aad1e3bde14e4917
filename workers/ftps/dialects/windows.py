"""IIS in its MS-DOS style, and `dir` of Windows.

04-22-26  05:04PM       <DIR>          archive
04-22-26  05:04PM                10240 report.csv
04-22-2026  17:04                10240 report.csv
2026-04-22  17:04    <JUNCTION>     old [D:\\old]
"""

from __future__ import annotations

import re

from workers.ftps.dialects.dialect import Dialect, line_by_line
from workers.ftps.entry import BadLine, Entry, Kind
from workers.ftps.times import MINUTE, Clock, hour_of_day, whole_year

_LINE = re.compile(
    rb"""
    [ ]*+ (?: (?P<first>\d{1,2})(?P<mark>[-/.])(?P<second>\d{1,2})(?P=mark)(?P<year>\d{4}|\d\d)
            | (?P<isoyear>\d{4})[-/](?P<month>\d\d)[-/](?P<day>\d\d) )
    [ ]++ (?P<hour>\d{1,2}):(?P<minute>\d\d)(?::(?P<second_s>\d\d))? [ ]?(?P<half>[AaPp][Mm]?)?
    [ ]++ (?: <(?P<tag>[A-Z]++)> (?P<after>.++) | (?P<size>\d{1,3}(?:[,.]\d{3})++|\d++) [ ](?P<name>.++) )
    """,
    re.VERBOSE | re.DOTALL,
)
_KINDS: dict[bytes, Kind] = {b"DIR": "dir", b"JUNCTION": "link", b"SYMLINKD": "link", b"SYMLINK": "link"}
# Behind a tag, blanks fill up to here; more of them belong to the name.
_TAG_WIDTH = 15


def parse_windows_line(line: bytes, clock: Clock) -> Entry | None:
    """One line; None for blank lines, "." and "..". Raises BadLine."""
    match = _LINE.match(line)
    if match is None:
        if not line.strip():
            return None
        raise BadLine(line)
    modified, precision = _time(match, clock)
    tag = match["tag"]
    if tag is None:
        size = int(re.sub(rb"\D", b"", match["size"])[:19])
        return Entry(match["name"], "file", size, modified, precision)
    name = _behind_tag(match["after"], _TAG_WIDTH - len(tag) - 2)
    kind = _KINDS.get(tag, "other")
    target = None
    if kind == "link" and name.endswith(b"]") and b" [" in name:
        name, _, target = name[:-1].partition(b" [")
    if name in (b".", b".."):
        return None
    return Entry(name, kind, None, modified, precision, None, target)


def _behind_tag(text: bytes, fill: int) -> bytes:
    blanks = len(text) - len(text.lstrip(b" "))
    return text[min(blanks, max(fill, 1)) :]


def _time(match: re.Match[bytes], clock: Clock) -> tuple[float | None, float]:
    if match["isoyear"] is not None:
        year, month, day = int(match["isoyear"]), int(match["month"]), int(match["day"])
    else:
        year, month, day = whole_year(int(match["year"])), int(match["first"]), int(match["second"])
        # IIS writes the month first whatever the country, `dir` as the country does. Each line is read by
        # itself, not by its neighbours: a file's time must not change because another file has come.
        if match["mark"] == b"." or month > 12:
            month, day = day, month
    hour = hour_of_day(int(match["hour"]), match["half"])
    second = match["second_s"]
    precision = MINUTE if second is None else 1.0
    return clock.instant(year, month, day, hour, int(match["minute"]), int(second or 0)), precision


def _knows(line: bytes) -> bool:
    return _LINE.match(line) is not None


WINDOWS = Dialect("Windows", _knows, line_by_line(parse_windows_line))
