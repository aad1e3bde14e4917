"""Asking about many files at once: SIZE and MDTM (RFC 3659 §3, §4) in flights, and what the answers say."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from workers.ftps.control import Reply
from workers.ftps.entry import number
from workers.ftps.listing import BadLine, parse_mlsd_line, parse_time_value

# So many commands, and bytes of them, are on their way at most: less than any socket buffer holds, so that
# neither side ever waits for the other to read.
_FLIGHT_COMMANDS = 32
_FLIGHT_BYTES = 8192


@dataclass(frozen=True, slots=True)
class Stat:
    """SIZE and MDTM of a file; None for what the server can't tell.

    size: bytes. modified: epoch seconds UTC. precision_s: how coarse `modified` is.
    """

    size: int | None
    modified: float | None
    precision_s: float


def flights(commands: Sequence[tuple[str, bytes]], *, together: int = 1) -> Iterator[list[tuple[str, bytes]]]:
    """Cut commands into groups that fit into any socket buffer; so many of them belong `together`."""
    flight: list[tuple[str, bytes]] = []
    size = 0
    for at in range(0, len(commands), together):
        ones = commands[at : at + together]
        length = sum(len(verb) + len(argument) + 3 for verb, argument in ones)
        if flight and (len(flight) + together > _FLIGHT_COMMANDS or size + length > _FLIGHT_BYTES):
            yield flight
            flight, size = [], 0
        flight += ones
        size += length
    if flight:
        yield flight


def stat_of(answers: Mapping[str, Reply]) -> Stat | None:
    """What SIZE and MDTM have answered about one file; None where either says 550: there is no such file."""
    if any(answer.code == 550 for answer in answers.values()):
        return None
    size, time = (answers.get(verb) for verb in ("SIZE", "MDTM"))
    # The value stands in the last line, whatever a talkative server says before it.
    digits = size.lines[-1].strip() if size is not None and size.code == 213 else None
    modified, precision = parse_time_value(
        time.lines[-1].strip() if time is not None and time.code == 213 else b""
    )
    return Stat(number(digits), modified, precision)


def unique_of(answer: Reply) -> bytes | None:
    """The unique fact in the reply to MLST (RFC 3659 §7.2): between its first line and its last."""
    for line in answer.lines[1:-1]:
        try:
            # Some servers forget the blank before it.
            entry = parse_mlsd_line(line.removeprefix(b" "))
        except BadLine:
            continue
        if entry is not None and entry.unique is not None:
            return entry.unique
    return None
