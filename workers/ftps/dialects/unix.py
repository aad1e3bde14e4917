"""`ls -l` in its dialects, as ProFTPD, vsftpd, wu-ftpd, Pure-FTPd and most others write it.

-rw-r--r--   1 acme     users      10240 Nov 22 11:47 report.csv
-rw-r--r--   1 acme     users      10240 Apr  2  2024 old.csv
lrwxrwxrwx   1 0        0              9 Nov 22 11:47 latest -> report.csv
-rw-r--r--+  1 acme     10240 2026-11-22 11:47 no-group.csv
"""

from __future__ import annotations

import re
from dataclasses import replace
from zoneinfo import ZoneInfo

from workers.ftps.dialects.dialect import Dialect, line_by_line
from workers.ftps.entry import BadLine, Entry, Kind, number
from workers.ftps.months import month_number
from workers.ftps.times import DAY, MINUTE, Clock, part_of_second

# Possessive quantifiers: a line of 16 KiB made for it must not take minutes.
_LINE = re.compile(
    rb"""
    (?P<type>[-bcdlpsDCMnP?])[-rwxsStTlLugoa]{9}[.+@]?   # what it is, who may what, and a mark for ACLs
    (?:\s*+ \d++)?                                    # links, glued to the rights where there are thousands
    (?:\s++ \S++){0,6}?                               # owner and group: none, one, or of several words
    \s++ (?:(?P<size>\d++) | \d++,\s*+\d++)           # bytes, or a device's two numbers
    \s++ (?:
        (?:(?:Sun|Mon|Tue|Wed|Thu|Fri|Sat)[ ]++)?
        (?: (?P<month>[A-Za-z\x80-\xff]\S{1,11}|\d{1,2}\xe6\x9c\x88) \s*+ (?P<day>\d{1,2})(?:,|\xe6\x97\xa5)?
          | (?P<day2>\d{1,2})\.? \s++ (?P<month2>[A-Za-z\x80-\xff]\S{1,11}) )
        \s++ (?: (?P<time>\d{1,2}:\d\d(?P<seconds>:\d\d)?)
                   (?(seconds) (?:[ ](?P<timeyear>\d{4})(?=[ ]))?)   # BSD's `ls -T` says all
               | (?P<year>\d{4}) )
      | (?P<iso>\d{4}-\d\d-\d\d)
        (?: [ ](?P<isotime>\d\d:\d\d(?P<isoseconds>:\d\d(?:[.,]\d++)?)?)
              (?(isoseconds) (?:[ ](?P<offset>[-+]\d{4})(?=[ ]))?)   # GNU's `full-iso` says all
          | [ ]?(?=[ ]) )                             # and its `iso` fills up to its own width
      | (?P<isoday>\d\d-\d\d) [ ] (?P<isodaytime>\d\d:\d\d)
    )
    [ ](?P<name>.*)                                   # one blank; more of them belong to the name
    """,
    re.VERBOSE | re.DOTALL,
)
_TOTAL = re.compile(
    rb"(?:total|insgesamt|gesamt|totale|totalt|totaal)\b:?\s*[\d.,]+\s*[KMGT]?\s*\Z", re.IGNORECASE
)
_UTC = ZoneInfo("UTC")
_KINDS: dict[bytes, Kind] = {b"-": "file", b"d": "dir", b"l": "link", b"C": "file", b"M": "file"}


def parse_unix_line(line: bytes, clock: Clock) -> Entry | None:
    """One line; None for "total", blank lines, "." and "..". Raises BadLine."""
    match = _LINE.match(line)
    if match is None:
        if not line.strip() or _TOTAL.match(line):
            return None
        raise BadLine(line)
    kind = _KINDS.get(match["type"], "other")
    name, size, target = match["name"], number(match["size"]), None
    if kind == "link":
        name, target = _name_and_target(name, size)
    elif kind == "dir":
        if name in (b".", b".."):
            return None
        # `ls -p` and `ls -F` say with a slash what the first letter says already.
        if len(name) > 1 and name.find(b"/") == len(name) - 1:
            name = name[:-1]
    modified, precision = _time(match, clock)
    return Entry(name, kind, size if kind == "file" else None, modified, precision, None, target)


def _name_and_target(text: bytes, size: int | None) -> tuple[bytes, bytes | None]:
    """`name -> target`; where there are more arrows than one, a link's size is the length of its target."""
    cut = text.find(b" -> ")
    first = cut
    while cut >= 0:
        if len(text) - cut - 4 == size:
            return text[:cut], text[cut + 4 :]
        cut = text.find(b" -> ", cut + 1)
    return (text, None) if first < 0 else (text[:first], text[first + 4 :])


def _time(match: re.Match[bytes], clock: Clock) -> tuple[float | None, float]:
    if match["iso"] is not None:
        return _iso_time(match, clock)
    if match["isoday"] is not None:
        month, day = map(int, match["isoday"].split(b"-"))
        hour, minute = map(int, match["isodaytime"].split(b":"))
        return clock.latest(month, day, hour, minute), MINUTE
    told_month = month_number(match["month"] or match["month2"])
    day = int(match["day"] or match["day2"])
    if match["time"] is None:
        return told_month and clock.instant(int(match["year"]), told_month, day), DAY
    clock_time = [int(part) for part in match["time"].split(b":")]
    precision = MINUTE if len(clock_time) == 2 else 1.0
    if told_month is None:
        return None, precision
    if match["timeyear"] is not None:
        return clock.instant(int(match["timeyear"]), told_month, day, *clock_time), precision
    return clock.latest(told_month, day, *clock_time), precision


def _iso_time(match: re.Match[bytes], clock: Clock) -> tuple[float | None, float]:
    year, month, day = map(int, match["iso"].split(b"-"))
    if match["isotime"] is None:
        return clock.instant(year, month, day), DAY
    whole, _, fraction = match["isotime"].replace(b",", b".").partition(b".")
    parts = [int(part) for part in whole.split(b":")]
    precision = MINUTE if len(parts) == 2 else 1.0
    offset = match["offset"]
    instant = (clock if offset is None else replace(clock, zone=_UTC)).instant(year, month, day, *parts)
    if instant is None:
        return None, precision
    if offset is not None:
        minutes = int(offset[1:3]) * 60 + int(offset[3:])
        instant -= minutes * 60 if offset[:1] == b"+" else -minutes * 60
    if fraction:
        part, precision = part_of_second(fraction)
        instant += part
    return instant, precision


def _knows(line: bytes) -> bool:
    return _LINE.match(line) is not None or _TOTAL.match(line) is not None


UNIX = Dialect("Unix", _knows, line_by_line(parse_unix_line))
