"""MLSD (RFC 3659 §7): facts and a name in every line.

A million such lines are read as fast as they can be cut into facts: all lines of a listing name the same few
facts in the same few orders, so a line is matched against the orders already seen, and only a new order, or
an odd line, is taken to pieces. Both ways give the same entry; a test holds them against each other.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator

from workers.ftps.entry import BadLine, BadLines, Entry, Kind, make_entry, number

# Facts whose value may hold blanks, against the RFC: names of owners and groups ("Domain Users"), and the
# target that ProFTPD and Pure-FTPd put into a link's type.
_ONE_WORD = frozenset({b"size", b"sizd", b"modify", b"create", b"perm", b"unique", b"unix.mode"})
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
    return make_entry((name, kind, size, facts.get(b"modify", b""), facts.get(b"unique"), target))


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


_WANTED = (b"type", b"size", b"modify", b"unique")
# What else they may say is rare, and left to parse_mlsd_line.
_VALUES = {b"type": rb"(file|dir)", b"size": rb"(\d{1,19})", b"modify": rb"([^; ]*)", b"unique": rb"([^; ]*)"}
_KINDS: dict[bytes | None, Kind] = {b"file": "file", b"dir": "dir", None: "file"}
_KEY = re.compile(rb"[\w.-]+\Z")
# A server that has more orders than this gets the lines of the others taken to pieces.
_MOST_ORDERS = 8

_Match = Callable[[bytes], "re.Match[bytes] | None"]
# Where in the match type, size, time, unique fact and name are.
_Places = tuple[int, int, int, int, int]


def read_mlsd(blocks: Iterable[Iterable[bytes]], bad: BadLines) -> Iterator[Entry]:
    """The entries of a whole MLSD; lines that are none go to `bad`.

    blocks: lines, as many together as came together.
    """
    orders: dict[tuple[bytes, ...], tuple[_Match, _Places]] = {}
    matches: list[tuple[_Match, _Places]] = []
    make, kinds = make_entry, _KINDS
    for lines in blocks:
        for line in lines:
            for match, places in matches:
                found = match(line)
                if found is not None:
                    kind, size, time_value, unique, name = found.group(*places)
                    yield make(
                        (name, kinds[kind], int(size) if size else None, time_value or b"", unique, None)
                    )
                    break
            else:
                if not line:
                    continue
                try:
                    entry = parse_mlsd_line(line)
                except BadLine:
                    bad.note(line)
                    continue
                if entry is not None:
                    yield entry
                order = _order_of(line)
                if order and order not in orders and len(orders) < _MOST_ORDERS:
                    orders[order] = _matcher(order)
                    matches = list(orders.values())


def _order_of(line: bytes) -> tuple[bytes, ...]:
    """The names of a line's facts, as they are written; empty where the line is not quite by the book."""
    facts_text, _, _ = line.partition(b" ")
    *facts, last = facts_text.split(b";")
    keys = tuple(fact.partition(b"=")[0] for fact in facts)
    regular = not last and all(b"=" in fact for fact in facts) and all(map(_KEY.match, keys))
    return keys if regular and len({key.lower() for key in keys}) == len(keys) else ()


def _matcher(order: tuple[bytes, ...]) -> tuple[_Match, _Places]:
    pattern = b"".join(re.escape(key) + b"=" + _VALUES.get(key.lower(), rb"[^; ]*") + b";" for key in order)
    told = [key.lower() for key in order if key.lower() in _WANTED]
    # The group after the name's never takes part in a match: it stands for facts that aren't told.
    places = [told.index(key) + 1 if key in told else len(told) + 2 for key in _WANTED]
    reader = re.compile(pattern + rb" (.*)|(.)\Z(?!)", re.DOTALL)
    return reader.fullmatch, (places[0], places[1], places[2], places[3], len(told) + 1)
