"""OpenVMS: DIRECTORY, with a version behind every name, and long names on a line of their own.

Directory DISK$USER:[ACME]

REPORT.CSV;12             5/9      22-NOV-2026 11:47:12  [ACME,USER]    (RWED,RWED,RE,)
ARCHIVE.DIR;1             1/9      22-NOV-2026 11:47  [ACME,USER]    (RWE,RWE,RE,)
A_NAME_THAT_LEAVES_NO_ROOM_FOR_THE_REST.CSV;3
                        120/126    22-NOV-2026 11:47:12.34  [ACME,USER]    (RWED,RWED,RE,)
SECRET.CSV;1            %RMS-E-PRV, insufficient privilege or file protection violation

Total of 4 files, 126/144 blocks.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from workers.ftps.dialects.dialect import Dialect
from workers.ftps.entry import BadLines, Entry
from workers.ftps.months import month_number
from workers.ftps.times import DAY, MINUTE, Clock, part_of_second

_NAME = re.compile(rb"(?P<name>[^\s;%]\S*?;\d{1,5})(?P<facts>\s.*|)\Z", re.DOTALL)
_TIME = re.compile(
    rb"""
    (?<!\S) (?P<day>\d{1,2})-(?P<month>[A-Za-z]{3})-(?P<year>\d{4})
    (?: \s++ (?P<hour>\d{1,2}):(?P<minute>\d\d)(?::(?P<second>\d\d)(?:\.(?P<fraction>\d{1,7}))?)? )?
    """,
    re.VERBOSE,
)
_ERROR = re.compile(rb"\s*(?:%|no privilege)", re.IGNORECASE)
_AROUND = re.compile(rb"\s*(?:Directory\s|Total of \d|Grand total of \d|%DIRECT-W-NOFILES)", re.IGNORECASE)
_HEADER = re.compile(rb"\s*Directory\s+\S+[\]>]\s*\Z|%DIRECT-W-NOFILES", re.IGNORECASE)


def read_vms(lines: Iterable[bytes], clock: Clock, bad: BadLines) -> Iterator[Entry]:
    """The entries of a listing.

    A name keeps its version, since every version is a file of its own that never changes; a folder's name
    loses `.DIR;1`, with which no path would work. Sizes are in blocks, and so not known.
    """
    alone: bytes | None = None  # a name whose facts are to come
    for line in lines:
        match = _NAME.match(line)
        if match is None and alone is not None:
            entry = _entry(alone, line, clock)
            if entry is None:
                bad.note(alone)
            alone = None
            if entry is not None:
                yield entry
                continue
        if match is None:
            if line.strip() and not _AROUND.match(line):
                bad.note(line)
            continue
        if alone is not None:
            bad.note(alone)
            alone = None
        if not match["facts"].strip():
            alone = match["name"]
            continue
        entry = _entry(match["name"], match["facts"], clock)
        if entry is None:
            bad.note(line)
        else:
            yield entry
    if alone is not None:
        bad.note(alone)


def _entry(name: bytes, facts: bytes, clock: Clock) -> Entry | None:
    stem, _, version = name.rpartition(b";")
    is_folder = stem.upper().endswith(b".DIR") and version == b"1" and len(stem) > len(b".DIR")
    if is_folder:
        name = stem[: -len(b".DIR")]
    if _ERROR.match(facts):
        return Entry(name, "dir" if is_folder else "file", None, None, 1.0)
    match = _TIME.search(facts)
    if match is None:
        return None
    modified, precision = _time(match, clock)
    return Entry(name, "dir" if is_folder else "file", None, modified, precision)


def _time(match: re.Match[bytes], clock: Clock) -> tuple[float | None, float]:
    month = month_number(match["month"])
    date = int(match["year"]), month or 0, int(match["day"])
    if match["hour"] is None:
        return clock.instant(*date), DAY
    instant = clock.instant(*date, int(match["hour"]), int(match["minute"]), int(match["second"] or 0))
    fraction = match["fraction"]
    if instant is not None and fraction is not None:
        part, precision = part_of_second(fraction)
        return instant + part, precision
    return instant, MINUTE if match["second"] is None else 1.0


def _knows(line: bytes) -> bool:
    if _HEADER.match(line):
        return True
    match = _NAME.match(line)
    if match is None:
        return False
    facts = match["facts"]
    return not facts.strip() or _TIME.search(facts) is not None or _ERROR.match(facts) is not None


VMS = Dialect("VMS", _knows, read_vms)
