"""The listings of `listings/`, and what is expected of them (its README says how they are written)."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from workers.ftps.entry import BadLines, Entry, Kind

FOLDER = Path(__file__).parent / "listings"

# An entry, or a line that was set aside.
Outcome = Entry | str
BAD = "bad"

_EXPECTED = re.compile(
    r'(?P<kind>file|dir|link|other) (?P<size>\d+|-) (?P<time>[^ /]+)/(?P<precision>\S+) "(?P<name>.*?)"'
    r'(?: -> "(?P<target>.*?)")?(?: unique "(?P<unique>.*)")?'
)


@dataclass(frozen=True, slots=True)
class Listed:
    """One listing: its lines without their ends, and what comes of them, in order."""

    title: str
    now: float
    zone: str
    lines: list[bytes] = field(default_factory=list)
    outcomes: list[Outcome] = field(default_factory=list)

    @property
    def sent(self) -> bytes:
        """As it comes over the line."""
        return b"".join(line + b"\r\n" for line in self.lines)


class Recorded(BadLines):
    """Lines set aside, in one row with the entries."""

    def __init__(self) -> None:
        super().__init__()
        self.outcomes: list[Outcome] = []

    def note(self, line: bytes) -> None:
        super().note(line)
        self.outcomes.append(BAD)


def listings(dialect: str) -> list[Listed]:
    """All listings of a file."""
    found: list[Listed] = []
    now, zone = 0.0, "UTC"
    for row in (FOLDER / f"{dialect}.txt").read_text(encoding="utf-8").splitlines():
        mark, _, rest = row.partition(" ")
        if mark == "now":
            now = datetime.fromisoformat(rest).replace(tzinfo=UTC).timestamp()
        elif mark == "zone":
            zone = rest
        elif mark == "##":
            found.append(Listed(f"{dialect}: {rest}", now, zone))
        elif mark == "|":
            found[-1].lines.append(_raw(rest))
        elif mark == "=":
            found[-1].outcomes.extend(_outcome(rest))
        else:
            raise ValueError(row)
    return found


def _outcome(text: str) -> list[Outcome]:
    if text == "none":
        return []
    if text == BAD:
        return [BAD]
    match = _EXPECTED.fullmatch(text)
    if match is None:
        raise ValueError(text)
    kinds: dict[str, Kind] = {"file": "file", "dir": "dir", "link": "link", "other": "other"}
    told = match["time"]
    return [
        Entry(
            _raw(match["name"]),
            kinds[match["kind"]],
            None if match["size"] == "-" else int(match["size"]),
            None if told == "-" else datetime.fromisoformat(told).replace(tzinfo=UTC).timestamp(),
            float(match["precision"]),
            None if match["unique"] is None else _raw(match["unique"]),
            None if match["target"] is None else _raw(match["target"]),
        )
    ]


def _raw(text: str) -> bytes:
    return re.sub(
        rb"\\(?:\\|x([0-9a-f]{2}))",
        lambda match: b"\\" if match[1] is None else bytes([int(match[1], 16)]),
        text.encode("ascii"),
    )
