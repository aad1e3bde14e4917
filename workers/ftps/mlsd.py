"""MLSD (RFC 3659 §7): facts and a name in every line.

A million such lines are read as fast as they can be cut into facts: all lines of a listing name the same few
facts in the same few orders, so a line is matched against the orders already seen, and only a new order, or
an odd line, is taken to pieces. Both ways give the same entry; a test holds them against each other.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator

from workers.ftps.entry import BadLine, BadLines, Entry, Kind, make_entry, number

# Facts whose value never holds a blank. Against the RFC, others do: names of owners and groups ("Domain
# Users"), and the target that ProFTPD and Pure-FTPd put into a link's type.
_ONE_WORD = frozenset({b"size", b"modify"})
_LINK = re.compile(rb"OS\.unix=s(?:ym)?link(?::(?P<target>.*))?\Z", re.IGNORECASE | re.DOTALL)


def parse_mlsd_line(line: bytes) -> Entry | None:
    """One line of MLSD; None for the folder itself and its parent. Raises BadLine."""
    facts_text, name = _facts_and_name(line)
    facts: dict[bytes, bytes] = {}
    for fact in facts_text.split(b";"):
        key, equals, value = fact.partition(b"=")
        if equals:
            facts[key.strip().lower()] = value
    type_text = facts.get(b"type", b"file")
    kind: Kind = "other"
    target = None
    match type_text.strip().lower():
        case b"cdir" | b"pdir":
            return None
        case b"file":
            kind = "file"
        case b"dir":
            kind = "dir"
        case _:
            link = _LINK.match(type_text)
            if link is not None:
                kind, target = "link", link["target"] or None
    size = number(facts.get(b"size"))
    return make_entry(Entry, (name, kind, size, facts.get(b"modify"), facts.get(b"unique"), target))


def _facts_and_name(line: bytes) -> tuple[bytes, bytes]:
    """RFC 3659 §7.2: facts, each ended by a semicolon, one blank, and the name, which may hold anything."""
    cut = line.find(b" ")
    if cut < 0:
        raise BadLine(line)
    if cut > 0 and line[cut - 1 : cut] != b";":
        key, _, value = line[line.rfind(b";", 0, cut) + 1 : cut].partition(b"=")
        blank_is_in_value = key.lower() not in _ONE_WORD
        if key.lower() == b"type":
            blank_is_in_value = b":" in value
        later = line.find(b"; ", cut) if blank_is_in_value else -1
        # Else it is a server that leaves out the last semicolon.
        cut = later + 1 if later >= 0 else cut
    return line[:cut], line[cut + 1 :]


# Facts that are kept, and what they look like in all but odd lines, which are left to parse_mlsd_line. A fact
# is never given back once it is read (`*+`): that is a tenth of the time.
_KEPT = {b"size": rb"([0-9]{1,19}+)", b"modify": rb"([0-9][0-9.]*+)", b"unique": rb"([^;]*+)"}
_PLAIN: dict[bytes, Kind] = {b"file": "file", b"dir": "dir"}
_KEY = re.compile(rb"[\w.-]+\Z")
# A server that has more shapes of lines than this gets the others taken to pieces.
_MOST_SHAPES = 8

# The facts of a line in their order, as they are written; the value of `type`, else none.
_Shape = tuple[tuple[bytes, bytes], ...]
# Matches lines of a shape; what they are; and where size, time, unique fact and name are in the match.
_Reader = tuple[Callable[[bytes], "re.Match[bytes] | None"], Kind, int, int, int, int]
_NO_READER: _Reader = (re.compile(b"(?!)").fullmatch, "other", 0, 0, 0, 0)


def read_mlsd(blocks: Iterable[Iterable[bytes]], bad: BadLines) -> Iterator[Entry]:
    """The entries of a whole MLSD; lines that are none go to `bad`.

    blocks: lines, as many together as came together.
    """
    readers: dict[_Shape, _Reader] = {}
    match, kind, size_at, time_at, unique_at, name_at = _NO_READER
    make = make_entry
    for lines in blocks:
        for line in lines:
            found = match(line)
            if found is None:
                # Once one is found, the next line mostly has its shape too.
                for match, kind, size_at, time_at, unique_at, name_at in readers.values():  # noqa: B007
                    found = match(line)
                    if found is not None:
                        break
            if found is not None:
                size, time, unique, name = found.group(size_at, time_at, unique_at, name_at)
                yield make(Entry, (name, kind, int(size) if size else None, time, unique, None))
                continue
            if not line:
                continue
            try:
                entry = parse_mlsd_line(line)
            except BadLine:
                bad.note(line)
                continue
            if entry is not None:
                yield entry
            shape = _shape_of(line) if len(readers) < _MOST_SHAPES else ()
            if shape and shape not in readers:
                readers[shape] = _reader_of(shape)


def _shape_of(line: bytes) -> _Shape:
    """Empty where the line is not quite by the book."""
    facts_text, _, _ = line.partition(b" ")
    *facts, _ = facts_text.split(b";")
    shape: list[tuple[bytes, bytes]] = []
    for fact in facts:
        key, equals, value = fact.partition(b"=")
        is_type = key.lower() == b"type"
        if not equals or not _KEY.match(key) or (is_type and value not in _PLAIN):
            return ()
        shape.append((key, value if is_type else b""))
    one_each = len({key.lower() for key, _ in shape}) == len(shape)
    return tuple(shape) if one_each else ()


def _reader_of(shape: _Shape) -> _Reader:
    pattern = b""
    kind: Kind = "file"
    kept: list[bytes] = []
    for key, type_text in shape:
        known = key.lower()
        if known in _KEPT:
            kept.append(known)
        elif known == b"type":
            kind = _PLAIN[type_text]
        pattern += re.escape(key) + b"=" + (type_text or _KEPT.get(known, rb"[^;]*+")) + b";"
    # The group after the name's never takes part in a match: it stands for facts that aren't told.
    size_at, time_at, unique_at = (kept.index(key) + 1 if key in kept else len(kept) + 2 for key in _KEPT)
    match = re.compile(pattern + rb" (.*+)|(.)\Z(?!)", re.DOTALL).fullmatch
    return match, kind, size_at, time_at, unique_at, len(kept) + 1
