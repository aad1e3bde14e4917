"""One file over the line into its temp: resumed where that is safe, and asked about again before it counts.

The unit of retry is the whole reception, replayed by `Session.run` on a new line; it goes on from the bytes
that the temp holds. A resume may glue two files together: the partner has replaced the file meanwhile (field
note 35), or the server takes REST and ignores it. So a resumed transfer first asks for size, time and unique
fact, begins 64 KiB before the end of what is there, and compares; and of whatever was received, size and time
are asked again before it is published.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from workers.crashpoints import crashpoint
from workers.ftps.errors import Missing, Refused, TransferBroken
from workers.ftps.inquiry import Stat
from workers.ledger.values import same_version
from workers.names import printable
from workers.stores.store import OVERLAP

if TYPE_CHECKING:
    from workers.ftps.connection import Connection
    from workers.session import Session, Tally
    from workers.stores.store import ReceivingTemp

Name = bytes  # beside a field that is called `bytes`


class Changed(Exception):
    """The remote file is no longer the version that was wanted."""


class _Glued(Exception):
    """The server does not go on where the temp ends: another file, or REST ignored."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """A remote file by its absolute path, and what makes the version: size (bytes), time (epoch seconds) and
    the time's precision; None for what nobody could tell. unique: MLSD's fact, where it told one."""

    path: bytes
    size: int | None
    modified: float | None
    precision_s: float
    unique: bytes | None = None


@dataclass(frozen=True, slots=True)
class Receipt:
    """A file that landed: its remote path, its bytes and their SHA-256 (hexadecimal), its local path."""

    path: Name
    bytes: int
    sha256: str
    local: Name


def receive(
    session: Session,
    wanted: Wanted,
    temp: ReceivingTemp,
    *,
    tally: Tally,
    go_on: Callable[[], None],
    progress: Callable[[int, int | None], None] | None = None,
    followed: bool = False,
) -> None:
    """Fill `temp` with the whole file; it may hold the beginning already.

    go_on: called between blocks; whatever it raises stops the transfer and leaves here. progress: told the
    bytes held and the whole size. followed: another file will be next. Raises Changed, Missing, Refused,
    StoreRefused, and what `Session.run` raises.
    """
    attempts, furthest = 0, temp.size

    def reception(line: Connection) -> None:
        nonlocal attempts
        attempts += 1
        size = wanted.size
        if temp.size:
            size = _size_of_the_same(line, wanted)
            if wanted.unique is not None and line.unique(wanted.path) not in (None, wanted.unique):
                # No other version (a unique fact changes with the disk that the partner mounts, too), but
                # maybe the bytes of another file.
                temp.restart()
            elif size and temp.size == size:
                # All was moved, by an earlier attempt whose last reply never came, or by a worker that
                # died before it published (design R10). What it was is asked once more before it counts.
                return
        elif attempts > 1 or size is None:
            size = _size_now(line, wanted)
        if temp.size and (size is None or temp.size > size or not line.features.rest_stream):
            temp.restart()
        try:
            _retrieve(line, wanted.path, temp, size, sink, followed=followed and attempts == 1)
        except Refused as refusal:
            if refusal.verb != "REST":
                raise
            temp.restart()
            _retrieve(line, wanted.path, temp, size, sink, followed=False)
        except TransferBroken as broken:
            if broken.disowned or (temp.size == size and not broken.all_moved):
                # As many bytes as there should be, and yet not proven to be these.
                temp.restart()
            raise

    def sink(block: memoryview) -> None:
        nonlocal furthest
        go_on()
        temp.write(block)
        # Bytes that had come before are no progress: where each attempt begins anew and breaks off, or ends
        # in a refusal, the file would be fetched for ever.
        if temp.size > furthest:
            tally.bytes += temp.size - furthest
            furthest = temp.size
            session.progress()
        if progress is not None:
            progress(temp.size, wanted.size)
        if wanted.size is None or temp.size < wanted.size:
            crashpoint("receiving")

    session.run(reception, name=f"retrieve {printable(wanted.path)}", tally=tally)
    tally.files += 1
    crashpoint("received")


def _size_of_the_same(line: Connection, wanted: Wanted) -> int | None:
    """The size of the version that was wanted; Missing or Changed where the server has it no more."""
    [stat] = asked_again(line, [wanted])
    if stat is None:
        raise Missing("SIZE", 550, "no such file any more")
    if not is_still(wanted, stat):
        raise Changed
    return wanted.size if stat.size is None else stat.size


def _size_now(line: Connection, wanted: Wanted) -> int | None:
    """The size the server tells now, or else the listing told. Raises Missing, Changed."""
    [stat] = line.stat([wanted.path])
    if stat is None:
        raise Missing("SIZE", 550, "no such file any more")
    if stat.size is None:
        return wanted.size
    if wanted.size is not None and stat.size != wanted.size:
        raise Changed
    return stat.size


def _retrieve(
    line: Connection,
    path: bytes,
    temp: ReceivingTemp,
    size: int | None,
    sink: Callable[[memoryview], None],
    *,
    followed: bool,
) -> None:
    """RETR from the temp's end, or from a little before it, to see that it is the same file."""
    there = temp.tail(OVERLAP)

    def compare_then_sink(block: memoryview) -> None:
        nonlocal there
        if there:
            known = min(len(there), len(block))
            if block[:known] != there[:known]:
                raise _Glued
            there, block = there[known:], block[known:]
        if block:
            sink(block)

    try:
        offset = temp.size - len(there)
        line.retrieve(path, compare_then_sink, offset=offset, size=size, followed=followed)
    except _Glued:
        # The line has died of this exception; the replay begins on a new one, at the beginning.
        temp.restart()
        raise TransferBroken("the server does not go on where the transfer had stopped") from None


def asked_again(line: Connection, files: Sequence[Wanted]) -> list[Stat | None]:
    """What each file is now: None where it is gone, a Stat that `is_still` can judge otherwise.

    SIZE and MDTM are asked in flights. Where they can't be compared with what the listing told (not
    supported, or at odds with it about the time zone), another listing is asked for: one for each folder.
    """
    try:
        stats = line.stat([file.path for file in files])
    except Refused:
        stats = [Stat(None, None, 1.0)] * len(files)
    doubtful = [number for number, file in enumerate(files) if _in_doubt(file, stats[number])]
    for folder in {files[number].path.rpartition(b"/")[0] for number in doubtful}:
        try:
            with line.listing(folder or b"/") as listing:
                entries = {entry.name: entry for entry in listing}
        except Refused:
            continue
        for number in doubtful:
            parent, _, name = files[number].path.rpartition(b"/")
            if parent != folder:
                continue
            entry = entries.get(name)
            if entry is not None:
                stats[number] = Stat(entry.size, entry.modified, entry.precision_s)
            elif listing.complete:
                stats[number] = None
    return stats


def is_still(file: Wanted, stat: Stat) -> bool:
    """Whether what the server tells now is the version that was wanted."""
    return same_version(
        file.size, file.modified, file.precision_s, stat.size, stat.modified, stat.precision_s
    )


def _in_doubt(file: Wanted, stat: Stat | None) -> bool:
    if stat is None or (None not in (file.size, stat.size) and file.size != stat.size):
        return False
    return (
        stat.size is None or (file.modified is not None and stat.modified is None) or not is_still(file, stat)
    )
