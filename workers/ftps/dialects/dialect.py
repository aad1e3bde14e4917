"""What a dialect of LIST is."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

from workers.ftps.entry import BadLine, BadLines, Entry
from workers.ftps.times import Clock

Read = Callable[[Iterable[bytes], Clock, BadLines], Iterator[Entry]]


@dataclass(frozen=True, slots=True)
class Dialect:
    """One way of writing a listing.

    name: whose it is. knows: whether this line can only be of this dialect. read: the entries of all lines
    of a listing; those that are none go to the last argument.
    """

    name: str
    knows: Callable[[bytes], bool]
    read: Read


def line_by_line(parse: Callable[[bytes, Clock], Entry | None]) -> Read:
    """Reads a dialect whose lines stand each for itself. parse: None for no entry; raises BadLine."""

    def read(lines: Iterable[bytes], clock: Clock, bad: BadLines) -> Iterator[Entry]:
        for line in lines:
            try:
                entry = parse(line, clock)
            except BadLine:
                bad.note(line)
                continue
            if entry is not None:
                yield entry

    return read
