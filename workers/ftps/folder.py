"""Listing: a folder's entries as they come over a data channel."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Iterator
from itertools import chain
from types import TracebackType
from typing import Self

from workers.ftps.control import Reply
from workers.ftps.errors import LineLost, TransferBroken
from workers.ftps.listing import BadLines, Entry, LineSplitter

MOST_LISTED = 1 << 30
"""Bytes of a listing, some ten million entries: what is longer has no end, and would be read for ever."""
# How servers say, in a 226, that they left something out (Pure-FTPd at 10,000; vsftpd).
_CURTAILED = ("truncated", "failed to open", "permission denied")

Read = Callable[[Iterable[memoryview], BadLines], Iterator[Entry]]
"""What makes entries of a listing's bytes."""


class Listing:
    """Iterate it once for the entries of a folder; leaving it early gives the line up.

    complete: after the last entry, whether this was the whole folder. reason: why not, in words. Absence
    from an incomplete listing means nothing (field note 27).
    """

    def __init__(
        self, rows: Generator[Entry, None, str | None], abandon: Callable[[BaseException], None]
    ) -> None:
        """Take rows, which return why they are incomplete, and what to do if nobody reads them all."""
        self.complete = False
        self.reason: str | None = "not read to its end"
        self._entries = self._run(rows)
        self._abandon = abandon
        self._over = False

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if not self._over:
            self._abandon(error or LineLost("a listing was left before its end"))
            self._entries.close()

    def __iter__(self) -> Iterator[Entry]:
        return self._entries

    def _run(self, rows: Generator[Entry, None, str | None]) -> Generator[Entry, None, None]:
        try:
            self.reason = yield from rows
        except Exception as error:
            self._over = True  # the line has been settled, or has died of it
            self.reason = str(error)
            raise
        self._over = True
        self.complete = self.reason is None


def curtailed(reply: Reply, bad: BadLines) -> str | None:
    """Why a listing that ended well is not the whole folder all the same; None: it is."""
    if any(words in reply.text.lower() for words in _CURTAILED):
        return str(reply)
    if bad.count:
        return f"lines not understood: {bad.count}, the first: {bad.first}"
    return None


def bounded(blocks: Iterable[memoryview]) -> Iterator[memoryview]:
    """The same blocks. Raises TransferBroken for more than MOST_LISTED bytes (field note 41)."""
    left = MOST_LISTED
    for block in blocks:
        left -= len(block)
        if left < 0:
            raise TransferBroken(f"a listing longer than {MOST_LISTED} bytes")
        yield block


def overheard(read: Read, hear: Callable[[memoryview], object] | None) -> Read:
    """The same reading, each block of which is given to `hear` first."""
    if hear is None:
        return read

    def passed_on(blocks: Iterable[memoryview]) -> Iterator[memoryview]:
        for block in blocks:
            hear(block)
            yield block

    return lambda blocks, bad: read(passed_on(blocks), bad)


def read_itself(blocks: Iterable[memoryview], _: BadLines) -> Iterator[Entry]:
    """Nothing but the folder itself, as often as it is found in what `ls -la` says."""
    splitter = LineSplitter()
    for lines in chain(map(splitter.feed, blocks), (splitter.rest(),)):
        for line in lines:
            if line.endswith(b" ."):
                yield Entry(b".", "dir", None, None, 1.0)
