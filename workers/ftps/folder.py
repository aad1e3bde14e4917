"""Listing: a folder's entries as they come over a data channel."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Iterator
from itertools import chain
from types import TracebackType
from typing import Self

from workers.ftps.control import Reply
from workers.ftps.errors import LineLost
from workers.ftps.listing import BadLine, Entry, LineSplitter

# How servers say, in a 226, that they left something out (Pure-FTPd at 10,000; vsftpd).
_CURTAILED = ("truncated", "failed to open", "permission denied")


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


def entries(
    blocks: Iterable[memoryview], parse: Callable[[bytes], Entry | None], odd: list[str]
) -> Iterator[Entry]:
    """Blocks of a listing → entries. A line nobody can read goes to `odd`, and spoils nothing."""
    splitter = LineSplitter()
    for line in chain((line for block in blocks for line in splitter.feed(block)), splitter.rest()):
        if not line:
            continue
        try:
            entry = parse(line)
        except BadLine as error:
            odd.append(str(error))
            continue
        if entry is not None:
            yield entry


def curtailed(reply: Reply, odd: list[str]) -> str | None:
    """Why a listing that ended well is not the whole folder all the same; None: it is."""
    if any(words in reply.text.lower() for words in _CURTAILED):
        return str(reply)
    if odd:
        return f"{len(odd)} lines not understood, the first: {odd[0]}"
    return None


def itself(line: bytes) -> Entry | None:
    """A parser that finds nothing but the folder itself in what `ls -la` says."""
    return Entry(b".", "dir", None, None, 1.0) if line.endswith(b" .") else None
