"""A folder's entries, by MLSD or LIST, as they come over a data channel."""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Iterable, Iterator
from dataclasses import replace
from functools import partial
from itertools import chain
from types import TracebackType
from typing import Self

from workers.ftps.control import Reply
from workers.ftps.data import Incoming
from workers.ftps.errors import Forbidden, LineLost, NoAnswer, Refused, TransferBroken
from workers.ftps.line import Line
from workers.ftps.listing import BadLines, Entry, LineSplitter, read_list, read_mlsd
from workers.ftps.transfer import Transfer
from workers.ftps.verbs import UNKNOWN_COMMAND

MOST_LISTED = 1 << 30
"""Bytes of a listing, some ten million entries: what is longer has no end, and would be read for ever."""
# How servers say, in a 226, that they left something out (Pure-FTPd at 10,000; vsftpd).
_CURTAILED = ("truncated", "failed to open", "permission denied")

Read = Callable[[Iterable[memoryview], BadLines], Iterator[Entry]]
"""What makes entries of a listing's bytes."""
Hear = Callable[[memoryview], bool | None]
"""Is given a listing's bytes as they come; True: no entries are to be made of these, nor of what follows."""


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


def listing(line: Line, path: bytes, hear: Hear | None) -> Listing:
    """`Connection.listing`."""
    if line.features.mlsd:
        try:
            return _begun(line, "MLSD", path, overheard(read_mlsd, hear))
        except Refused as refused:
            if refused.code not in UNKNOWN_COMMAND:
                raise
        line.features = replace(line.features, mlsd=False)
    read = overheard(partial(read_list, now=time.time(), zone=line.peer.zone), hear)
    return Listing(_told_apart(line, path, _begun(line, "LIST", path, read)), line.die)


def _begun(line: Line, verb: str, path: bytes, read: Read) -> Listing:
    with line.operation():
        transfer = Transfer.begin(line, verb, path)
    return Listing(_rows(line, verb, transfer, read), line.die)


def _rows(line: Line, verb: str, transfer: Transfer, read: Read) -> Generator[Entry, None, str | None]:
    """The entries of a listing under way; returns why it is not complete, None if it is."""
    bad = BadLines()
    with line.operation():
        incoming = Incoming(transfer.stream, idle=line.peer.idle_timeout)
        yield from read(bounded(incoming), bad)
        transfer.end_of_data()
        if isinstance(incoming.end, NoAnswer):
            raise TransferBroken(str(incoming.end), loss=incoming.end.loss)
        reply = transfer.final_reply(all_moved=False)
        if incoming.end is not None:
            raise TransferBroken(f"{verb}: {incoming.end}")
    return curtailed(reply, bad)


def _told_apart(line: Line, path: bytes, rows: Listing) -> Generator[Entry, None, str | None]:
    """The same for LIST, where nothing may mean three things, and one entry two.

    vsftpd answers with no line and "226 Directory send OK." for an empty folder and for a missing one
    (field note 28); of a forbidden one it lists the folder itself, as `ls` does of a file. Only a folder
    whose entries these are shows `.` when asked for all.
    """
    own_name = path.rstrip(b"/").rpartition(b"/")[2]
    listed = 0
    itself: list[Entry] = []
    with rows:
        for entry in rows:
            listed += 1
            if listed == 1 and entry.kind == "dir" and entry.name == own_name:
                itself.append(entry)
                continue
            yield from itself
            itself.clear()
            yield entry
    if listed > len(itself) or not rows.complete:
        yield from itself
        return rows.reason
    try:
        with _begun(line, "LIST", b"-a " + path, read_itself) as again:
            shows_itself = bool(list(again))
    except Refused:
        shows_itself = True  # it takes "-a" for a name: no `ls` stands behind it, and no such riddle
    if shows_itself:
        yield from itself
        return None
    if itself:
        raise Forbidden("LIST", 226, "only the folder itself is listed, not what is in it")
    return again.reason or "nothing is listed, not even the folder itself: is it missing, or forbidden?"


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


def overheard(read: Read, hear: Hear | None) -> Read:
    """The same reading, each block of which is given to `hear` first; see there."""
    if hear is None:
        return read

    def passed_on(blocks: Iterable[memoryview]) -> Iterator[memoryview]:
        in_line = True  # whether the last line that was passed on may go on in the next block
        for block in blocks:
            if not hear(block):
                yield block
            elif in_line:
                end = bytes(block).find(b"\n") + 1
                in_line = not end
                yield block[:end] if end else block

    return lambda blocks, bad: read(passed_on(blocks), bad)


def read_itself(blocks: Iterable[memoryview], _: BadLines) -> Iterator[Entry]:
    """Nothing but the folder itself, as often as it is found in what `ls -la` says."""
    splitter = LineSplitter()
    for lines in chain(map(splitter.feed, blocks), (splitter.rest(),)):
        for line in lines:
            if line.endswith(b" ."):
                yield Entry(b".", "dir", None, None, 1.0)
