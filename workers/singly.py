"""One file now, in the foreground and without a ledger, either way; what a failed call left is gone on with.

The temp has a name made of the server, the path and the version of what is being moved, so that only the same
version is ever continued: a file that has changed begins anew, under another name.
"""

from __future__ import annotations

import contextlib
import hashlib
import secrets
import socket
from collections.abc import Callable
from typing import TYPE_CHECKING

from workers.confirming import HashDiffers
from workers.depositing import beside, give_names, there_now
from workers.ftps.errors import Missing, Refused
from workers.names import printable
from workers.receiving import Changed, Receipt, Wanted, asked_again, is_still, receive
from workers.stores.naming import TEMP_PREFIX
from workers.stores.store import Occupied, TempGone
from workers.storing import SourceChanged, confirm_stored, make_folders, prove, store

if TYPE_CHECKING:
    from workers.ftps.connection import Connection
    from workers.session import Session, Tally
    from workers.stores.local import LocalFolder
    from workers.stores.source import SourceFile, SourceFolder

Progress = Callable[[int, int | None], None]
"""Told the bytes that are there, those of an earlier call included, and the whole size (None: not known)."""


class TempTaken(Exception):
    """The temporary file is in use, or gone, and we have not renamed it."""

    def __str__(self) -> str:
        return "its temporary file is in use or was taken away; does another call move the same file?"


def download(
    session: Session,
    path: bytes,
    folder: LocalFolder,
    relative: bytes,
    *,
    keep: bool = False,
    tally: Tally,
    go_on: Callable[[], None] = lambda: None,
    progress: Progress,
) -> Receipt | None:
    """Fetch the remote file `path` to `relative` in a local folder.

    keep: leave alone what bears that name already; None is returned then. go_on: called between blocks;
    whatever it raises stops the transfer and leaves here. Raises Missing, Refused, Changed when the file
    changed meanwhile, NameRefused, TooLarge, TempTaken, StoreRefused, and what `Session.run` raises.
    """
    if folder.choose(relative, "keep" if keep else "replace") is None:
        return None
    [stat], unique = session.run(
        lambda line: (line.stat([path]), line.unique(path)), name="stat", tally=tally
    )
    if stat is None:
        raise Missing("SIZE", 550, "no such file")
    wanted = Wanted(path, stat.size, stat.modified, stat.precision_s, unique)
    name = _temp_name("get", session, printable(path), stat.size, stat.modified, unique)
    try:
        temp = folder.open_temp(relative, name, resume=True)
    except TempGone:
        raise TempTaken from None
    try:
        progress(temp.size, wanted.size)
        receive(session, wanted, temp, tally=tally, go_on=go_on, progress=progress)
        [now] = session.run(lambda line: asked_again(line, [wanted]), name="stat", tally=tally)
        if now is None or not is_still(wanted, now):
            raise Changed
        folder.sync([temp], [wanted.modified])
        folder.publish(relative, name, replace=not keep)
        folder.sync_folders([relative])
    except Changed:
        temp.discard()
        raise
    except Occupied:
        temp.discard()
        return None
    except TempGone:
        raise TempTaken from None
    except BaseException:
        # Bytes are kept for the next try; an empty temp is only litter.
        if temp.size == 0:
            temp.discard()
        raise
    finally:
        temp.close()
    return Receipt(path, temp.size, temp.sha256, folder.located(relative))


def upload(
    session: Session,
    source: SourceFolder,
    relative: bytes,
    top: bytes,
    below: bytes,
    *,
    made: set[bytes],
    keep: bool = False,
    tally: Tally,
    go_on: Callable[[], None] = lambda: None,
    progress: Progress,
) -> Receipt | None:
    """Send the file `relative` of a local folder to the path `below` in the remote folder `top`.

    Folders on the way below `top` are made. It goes to a temp beside its final name, is proven by SIZE there,
    where it was gone on with also by a digest that the server tells, and is renamed. While another call sends
    the same file, the temp is this call's alone, and nobody goes on with it later. made: as for
    `make_folders`; keep, go_on: as for `download`. Raises FileNotFoundError where the source is gone,
    SourceChanged, HashDiffers, Refused, NameRefused, TempTaken, StoreRefused, and what `Session.run` raises:
    OperationFailed also where the server holds another number of bytes than it took.
    """
    path = top.rstrip(b"/") + b"/" + below
    file = source.open(relative)
    if file is None:
        raise FileNotFoundError(printable(relative))
    with contextlib.closing(file):
        if keep and session.run(lambda line: there_now(line, [path]), name="stat", tally=tally):
            return None
        local = f"{socket.gethostname()}:{printable(source.located(relative))}"
        name = _temp_name("put", session, printable(path), local, file.size, file.stat.modified)
        goes_on = file.reserve()
        if not goes_on:
            name = f"{name}-{secrets.token_hex(4)}"
        temp = beside(path, name)
        try:
            went_on_from = store(
                session,
                temp,
                file,
                shown=path,
                resumes=True,
                begun=goes_on,
                tally=tally,
                go_on=go_on,
                prepare=lambda line: make_folders(line, top, below, made),
                progress=progress,
            )
            [failure] = prove(session, [(temp, file.size)], tally=tally)
            if failure is not None:
                raise failure
            if went_on_from:
                confirm_stored(session, temp, file, shown=path, tally=tally)
            named = _named(session, temp, path, file, keep=keep, tally=tally)
        except (SourceChanged, HashDiffers, Refused):
            # Nobody will go on with these bytes.
            session.run(lambda line: _delete(line, temp), name="discard", tally=tally)
            raise
    return Receipt(path, file.size, file.sha256, source.located(relative)) if named else None


def _named(session: Session, temp: bytes, path: bytes, file: SourceFile, *, keep: bool, tally: Tally) -> bool:
    """Give a whole temp the source's time and its final name; False where that is taken, and kept."""
    tried = False

    def name(line: Connection) -> bool:
        nonlocal tried
        again, tried = tried, True
        if keep and len(there_now(line, [temp, path])) == 2:
            _delete(line, temp)
            return False
        if file.stat.modified is not None:
            # The time is a courtesy: a server that refuses it has the file all the same.
            with contextlib.suppress(Refused):
                line.set_modified([(temp, file.stat.modified)])
        tried_now = {temp} if again else set[bytes]()
        [named] = give_names(line, [(temp, path)], tried=tried_now, replaces=not keep)
        if isinstance(named, Refused):
            raise named
        if not named:
            raise TempTaken
        if again:
            [there] = line.stat([path])
            if there is None or there.size not in (None, file.size):
                raise TempTaken
        return True

    return session.run(name, name=f"rename {printable(path)}", tally=tally)


def _temp_name(verb: str, session: Session, *version: object) -> str:
    endpoint = session.endpoint
    server = f"{endpoint.user}@{endpoint.host}:{endpoint.port}"
    told = " ".join(map(str, (server, *version)))
    return f"{TEMP_PREFIX.decode()}{verb}-{hashlib.sha256(told.encode()).hexdigest()[:24]}"


def _delete(line: Connection, path: bytes) -> None:
    with contextlib.suppress(Refused):
        line.delete(path)
