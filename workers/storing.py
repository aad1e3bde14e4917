"""One file over the line to a server, into a temp there: what `receiving` is on the way in.

The unit of retry is the whole upload, replayed by `Session.run` on a new line. Where it is allowed to, it
goes on from the bytes that the server holds, as SIZE tells them; whatever it began with, the size decides at
the end whether the server has the file.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING

from workers.confirming import HashDiffers
from workers.crashpoints import crashpoint
from workers.errors import OperationFailed, StoreRefused
from workers.ftps.errors import Refused, TransferBroken
from workers.names import printable
from workers.receiving import Wanted, asked_again
from workers.stores.naming import joined

if TYPE_CHECKING:
    from workers.ftps.connection import Connection, Stat
    from workers.session import Session, Tally
    from workers.settings import Route
    from workers.stores.source import SourceFile


_NOT_WRITTEN = 451
"""What vsftpd, ProFTPD and Pure-FTPd say when their disk is full, each in words of its own."""
_FULL = frozenset({452, 552})
"""Refusals of the bytes. Any other to APPE is of the command, and STOR may do."""


def lacks_room(refusal: Refused) -> bool:
    """Whether the server could not keep the bytes of an upload; the command and the name it had taken."""
    told = refusal.text.lower()
    return refusal.code in {_NOT_WRITTEN, *_FULL} or "no space left" in told or "quota exceeded" in told


def no_room(route: Route, path: bytes, refusal: Refused) -> StoreRefused:
    """The failure of a push route whose partner has no room for the file `path`."""
    why = f"{printable(path)} is not taken: {refusal}; the server's owner has to make room"
    return StoreRefused(route.name, route.target, why)


class SourceChanged(Exception):
    """The source is no longer the version that was to be sent."""


def store(
    session: Session,
    path: bytes,
    file: SourceFile,
    *,
    shown: bytes,
    resumes: bool,
    begun: bool,
    tally: Tally,
    go_on: Callable[[], None],
    prepare: Callable[[Connection], None] = lambda _: None,
    progress: Callable[[int, int | None], None] | None = None,
    followed: bool = False,
) -> int:
    """Send all bytes of a file to the temp `path`; `prove` is what shows that the server has them.

    shown: what the file is called in failures. resumes: go on with what is there; begun: an earlier upload of
    this very version may have left something. go_on: called between blocks; whatever it raises stops the
    upload and leaves here. prepare: done first on each line. progress: told the bytes sent and the whole
    size. followed: another file will be next. Returns how many bytes it went on from in the end.
    Raises SourceChanged, Refused, OSError of the source, and what `Session.run` raises. A 451 is Refused when
    it comes a second time: a full disk breaks each line that is built, wherever it is full.
    """
    attempts = furthest = began_at = 0
    all_moved = False
    not_written = session.endpoint.reconnect.attempts == 1  # no second time would come

    def upload(line: Connection) -> None:
        nonlocal attempts, furthest, all_moved, not_written
        attempts += 1
        held = 0
        prepare(line)
        # What an earlier attempt sent may all be there, and only its reply be lost (design R10).
        if attempts > 1 or (resumes and begun):
            # A server that tells no sizes may list them.
            unseen = Wanted(path, None, None, 1.0)
            [there] = asked_again(line, [unseen]) if all_moved else line.stat([path])
            held = 0 if there is None or there.size is None else there.size
            if held == file.size and all_moved:
                return
            # As many bytes as the file has, and nobody has heard that they were taken: begin anew.
            if not resumes or held >= file.size:
                held = 0
            if held > furthest:
                furthest = held
                not_written = False
                session.progress()
        all_moved = False
        try:
            send(line, held)
        except TransferBroken as broken:
            all_moved = broken.all_moved
            refusal = broken.refusal
            if refusal is not None and refusal.code == _NOT_WRITTEN:
                if not_written:
                    raise refusal from broken
                not_written = True
            raise
        crashpoint("sent")

    def send(line: Connection, offset: int) -> None:
        nonlocal began_at
        began_at = offset
        if offset:
            try:
                line.append(path, blocks(offset), offset=offset, size=file.size)
            except Refused as refusal:
                if refusal.code in _FULL:
                    raise
            else:
                return
        began_at = 0
        line.store(path, blocks(0), size=file.size, followed=followed and attempts == 1)

    def blocks(offset: int) -> Iterator[memoryview]:
        sent = offset
        if progress is not None:
            progress(sent, file.size)
        for block in file.blocks(offset):
            go_on()
            yield block
            tally.bytes += len(block)
            sent += len(block)
            if progress is not None:
                progress(sent, file.size)
            crashpoint("sending")
        if not file.sha256 or not file.is_unchanged():
            raise SourceChanged

    session.run(upload, name=f"store {printable(shown)}", tally=tally)
    tally.files += 1
    return began_at


def prove(
    session: Session, uploads: Sequence[tuple[bytes, int]], *, tally: Tally
) -> list[OperationFailed | None]:
    """Ask how many bytes the server holds of each upload, a path and a size, all of which it says it took.

    For each None, or what is wrong with it; a server that tells no sizes is believed. On the way the line
    learns how such files may be renamed: now, while nothing hangs on their names. Raises what `Session.run`
    raises.
    """

    def ask(line: Connection) -> list[str | None]:
        try:
            found: list[Stat | Refused | None] = [*line.stat([path for path, _ in uploads])]
        except Refused:
            found = [_alone(line, path) for path, _ in uploads]  # a file's own, maybe
        told = [
            _shortfall(there, size) if line.features.size else None
            for there, (_, size) in zip(found, uploads, strict=True)
        ]
        whole = [path for (path, _), wrong in zip(uploads, told, strict=True) if wrong is None]
        if whole:
            line.learn_renames(whole[0])
        return told

    failures: list[OperationFailed | None] = []
    for (path, _), wrong in zip(uploads, session.run(ask, name="prove", tally=tally), strict=True):
        about = (f"store {printable(path)}", 1, tally.reconnects, tally.elapsed_s, wrong)
        failures.append(None if wrong is None else OperationFailed(session.endpoint.name, *about))
    return failures


def _alone(line: Connection, path: bytes) -> Stat | Refused | None:
    try:
        return line.stat([path])[0]
    except Refused as refusal:
        return refusal


def _shortfall(there: Stat | Refused | None, size: int) -> str | None:
    if isinstance(there, Refused):
        return str(there)
    if there is not None and there.size in (None, size):
        return None
    holds = "nothing" if there is None else f"{there.size} bytes"
    return f"the server holds {holds} of {size} bytes that it took"


def confirm_stored(session: Session, path: bytes, file: SourceFile, *, shown: bytes, tally: Tally) -> None:
    """Compare the server's digest of what it holds under `path` with the file's, where it tells one.

    An empty file is left at the proof by size. Raises HashDiffers, Refused, and what `Session.run` raises.
    """
    if not file.size:
        return
    told = session.run(
        lambda line: line.digest(path, size=file.size), name=f"hash {printable(shown)}", tally=tally
    )
    if told is not None and told.hex != file.digest(told.algorithm):
        raise HashDiffers(f"{told.algorithm} of the server: {told.hex}, of what was sent: another")


def make_folders(line: Connection, top: bytes, relative: bytes, made: set[bytes]) -> None:
    """Make the folders on the way to `relative` below the remote folder `top`; one that is there refuses.

    made: those that need no other try, by their paths; added to.
    """
    *folders, _ = relative.split(b"/")
    for depth in range(1, len(folders) + 1):
        folder = joined(top, b"/".join(folders[:depth]))
        if folder not in made:
            with contextlib.suppress(Refused):
                line.mkdir(folder)
            made.add(folder)
