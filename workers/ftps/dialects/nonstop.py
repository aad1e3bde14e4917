"""HP NonStop, which was Tandem: Guardian's files.

File         Code             EOF  Last Modification    Owner  RWEP
REPORT1       101           16354  22-Nov-26 11:47:12   244, 10 "nnnn"
EMS0012       134O        4292608  22-Nov-26 11:47:12   100,255 "NUNU"
"""

from __future__ import annotations

import re

from workers.ftps.dialects.dialect import Dialect, line_by_line
from workers.ftps.entry import BadLine, Entry, number
from workers.ftps.months import month_number
from workers.ftps.times import Clock, whole_year

_HEADER = re.compile(rb"\s*File\s+Code\s+EOF\s+Last Modif", re.IGNORECASE)
_LINE = re.compile(
    rb"""
    \s*+ (?P<name>[A-Za-z$\#][A-Za-z0-9.]*+)          # eight letters and digits
    \s++ \d++[A-Za-z+?*]*+                            # code, and marks: open, licensed, audited
    \s++ (?P<eof>\d++)
    \s++ (?P<day>\d{1,2})-(?P<month>[A-Za-z]{3})-(?P<year>\d{4}|\d\d)
    \s++ (?P<hour>\d{1,2}):(?P<minute>\d\d):(?P<second>\d\d)
    \s++ \d{1,3}\s*+,\s*+\d{1,3} \s++ "[^"]{4}"
    """,
    re.VERBOSE,
)


def parse_nonstop_line(line: bytes, clock: Clock) -> Entry | None:
    """One line; None for blank ones and the header. Raises BadLine."""
    match = _LINE.match(line)
    if match is None:
        if not line.strip() or _HEADER.match(line):
            return None
        raise BadLine(line)
    month = month_number(match["month"])
    year, day = whole_year(int(match["year"])), int(match["day"])
    clock_time = int(match["hour"]), int(match["minute"]), int(match["second"])
    modified = None if month is None else clock.instant(year, month, day, *clock_time)
    return Entry(match["name"], "file", number(match["eof"]), modified, 1.0)


def _knows(line: bytes) -> bool:
    return _HEADER.match(line) is not None or _LINE.match(line) is not None


NONSTOP = Dialect("NonStop", _knows, line_by_line(parse_nonstop_line))
