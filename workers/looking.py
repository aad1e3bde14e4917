"""Looking at a remote folder, and at those below it.

A walk goes breadth first over one line, and each folder that was listed counts as progress: a line that dies
in the middle costs that folder's listing and no more. What can't be listed on the way (forbidden, or gone
since its parent told of it) makes the look incomplete, with its name in the reason, and the walk goes on.

Links are never followed. A server that follows them itself shows a folder that is its own ancestor; such a
loop is cut where MLSD's `unique` fact shows it, or else where a folder lists the very same entries as one of
its ancestors. Where neither tells, `max_depth` ends it.
"""

from __future__ import annotations

import hashlib
import logging
import sys
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING

from workers.errors import ListingFailed, PermissionRefused, StoreRefused
from workers.ftps.connection import Connection
from workers.ftps.entry import Entry
from workers.ftps.errors import Forbidden, Missing, Refused
from workers.names import printable
from workers.session import Session, Tally
from workers.stores.naming import joined, refusal

if TYPE_CHECKING:
    from workers.detect import Rules
    from workers.process import Process
    from workers.settings import Route

log = logging.getLogger("towline.looking")


@dataclass(frozen=True, slots=True)
class Listed:
    """What a look showed. Names are paths below the folder that was looked at; `reason`: why not complete."""

    entries: list[Entry]
    complete: bool
    reason: str | None
    more: bool = False
    """There were more entries than `look` was to keep, and none of them is here."""
    digest: str | None = None
    """The same for two looks to which the server has told the very same; None: not taken."""


def look(
    session: Session,
    folder: bytes,
    *,
    tally: Tally,
    depth: int = 0,
    enters: Callable[[bytes], bool] = lambda _: True,
    keep: int | None = None,
) -> Listed:
    """List a folder, and the folders below it down to `depth` levels.

    enters: whether a folder, by its path below `folder`, is to be listed at all. keep: of a listing with more
    entries than this only its digest is wanted: neither memory nor, in a single folder, time is spent on
    them. Raises `ftps.errors.Missing` or `Forbidden` where the folder itself can't be listed (`Refused` where
    nobody can tell which), and what `Session.run` raises.
    """
    walk = _Walk(folder, depth, enters, session.progress, sys.maxsize if keep is None else keep)
    session.run(walk.go_on, name=f"list {printable(folder)}", tally=tally)
    return walk.listed()


def look_at_route(
    process: Process, route: Route, rules: Rules, tally: Tally, keep: int | None = None
) -> Listed:
    """The remote folder of a pull route; see `look`.

    Raises ListingFailed when nothing usable came, PermissionRefused, and what `Session.run` raises.
    """
    folder, session = printable(route.remote), process.session(route.endpoint)
    try:
        listed = look(session, route.remote, tally=tally, depth=rules.depth, enters=rules.enters, keep=keep)
    except Forbidden as refusal:
        raise PermissionRefused(route.endpoint, folder, str(refusal)) from refusal
    except Refused as refusal:
        raise ListingFailed(route.name, f"{folder}: {refusal}") from refusal
    if not (listed.complete or listed.entries or listed.more):
        raise ListingFailed(route.name, f"{folder}: {listed.reason}")
    return listed


def scan(process: Process, route: Route, rules: Rules) -> Listed:
    """The same for the folder of a push route. Raises ListingFailed where it can't be read."""
    try:
        entries, unread = process.source(route).entries(depth=rules.depth, enters=rules.enters)
    except StoreRefused as refusal:
        raise ListingFailed(route.name, f"{route.local}: {refusal.args[2]}") from refusal
    return Listed(entries, unread is None, unread)


@dataclass(frozen=True, slots=True)
class _Folder:
    """One folder of a walk. relative: its path below the top; unique: MLSD's fact, where there is one."""

    relative: bytes
    unique: bytes | None
    above: tuple[_Folder, ...]
    shapes: frozenset[int]
    """What its ancestors listed, a number each."""

    def below(self, name: bytes) -> bytes:
        """The path of what is called `name` in it."""
        return joined(self.relative, name) if self.relative else name


_CHUNK = 1000
"""Entries that are looked at together."""


class _Content:
    """What one folder holds, as it is being listed. shape: the same for the same entries, in any order.

    folders, shape: of a walk that goes deeper.
    """

    def __init__(self, deep: bool, keep: int) -> None:
        self._deep = deep
        self._keep = keep
        self.count = 0
        self.entries: list[Entry] = []
        self.folders: list[Entry] = []
        self.shape = 0
        self.digest = hashlib.sha256()
        self._files = False
        self._unique = True

    @property
    def kept(self) -> bool:
        """Whether `entries` are all of them."""
        return self.count == len(self.entries)

    @property
    def tells_itself(self) -> bool:
        """Whether such entries, met again, are the same folder: `x/x` made by one command look alike, too."""
        return bool(self.folders) and (self._files or self._unique)

    def hear(self, block: memoryview) -> bool:
        """The next bytes, as the server wrote them; whether that is all that is wanted of them."""
        self.digest.update(block)
        return not self._deep and not self.kept

    def add(self, chunk: list[Entry]) -> None:
        """The next entries."""
        if self._deep:
            self.shape = (self.shape + sum(map(tuple.__hash__, chunk))) & 0xFFFF_FFFF_FFFF_FFFF
            self.folders += [entry for entry in chunk if entry.kind == "dir"]
            self._files = self._files or any(entry.kind == "file" for entry in chunk)
            self._unique = self._unique and all(entry.unique for entry in chunk)
        if self.kept and self.count + len(chunk) <= self._keep:
            self.entries += chunk
        else:
            self.entries = []
        self.count += len(chunk)


_SHOWN_REASONS = 3
"""So many folders are named in a reason; a tree may be forbidden as a whole."""


class _Walk:
    """Where a walk stands, so that it goes on after its line was replaced."""

    def __init__(
        self,
        top: bytes,
        depth: int,
        enters: Callable[[bytes], bool],
        progress: Callable[[], None],
        keep: int,
    ) -> None:
        self._top = top
        self._depth = depth
        self._enters = enters
        self._progress = progress
        self._keep = keep
        self._left = deque([_Folder(b"", None, (), frozenset())])
        self._incomplete: list[str] = []
        self._more = 0
        self._entries: list[Entry] = []
        self._count = 0
        self._digest = hashlib.sha256()

    def listed(self) -> Listed:
        """What the walk has found by now."""
        more = [f"and {self._more} folders more"] if self._more else []
        reasons = self._incomplete + more
        return Listed(
            self._entries,
            not reasons,
            "; ".join(reasons) or None,
            not self._kept,
            self._digest.hexdigest(),
        )

    def go_on(self, line: Connection) -> None:
        """List what is left; the operation of a session."""
        while self._left:
            self._list(line, self._left[0])
            self._left.popleft()
            self._progress()

    def _list(self, line: Connection, folder: _Folder) -> None:
        path = joined(self._top, folder.relative) if folder.relative else self._top
        content = _Content(self._depth > 0, self._keep - len(self._entries) if self._kept else 0)
        content.digest.update(line.peer.zone.encode())  # by it the times of LIST are read
        try:
            with line.listing(path, hear=content.hear) as listing:
                while chunk := list(islice(listing, _CHUNK)):
                    content.add(chunk)
        except Refused as refused:
            if not folder.relative:
                raise _told_apart(line, path, refused) from refused
            self._lacks(path, str(refused))
            return
        if listing.reason is not None:
            if not content.count and not folder.relative:
                raise _told_apart(line, path, Refused("LIST", 226, listing.reason))
            self._lacks(path, listing.reason)
        if content.tells_itself and content.shape in folder.shapes:
            log.info("%s: a loop, cut", printable(path), extra={"action": "walk.loop"})
            return
        self._take(folder, content)
        if len(folder.above) < self._depth:
            above, shapes = (*folder.above, folder), folder.shapes | {content.shape}
            self._left.extend(
                _Folder(folder.below(entry.name), entry.unique, above, shapes)
                for entry in content.folders
                if self._goes_into(folder, entry)
            )

    @property
    def _kept(self) -> bool:
        return self._count == len(self._entries)

    def _take(self, folder: _Folder, content: _Content) -> None:
        """Add what a folder holds, now that all of it is known."""
        self._digest.update(repr((folder.relative, content.digest.digest())).encode())
        if self._kept and content.kept:
            self._entries += (
                [entry.within(folder.relative) for entry in content.entries]
                if folder.relative
                else content.entries
            )
        else:
            self._entries = []
        self._count += content.count

    def _goes_into(self, folder: _Folder, entry: Entry) -> bool:
        relative = folder.below(entry.name)
        if entry.name in (b".", b".."):
            return False
        if (odd := refusal(entry.name)) is not None:
            log.warning("%s: not looked into: %s", printable(relative), odd, extra={"action": "walk.refused"})
            return False
        if entry.unique is not None and any(one.unique == entry.unique for one in (*folder.above, folder)):
            log.info("%s: a loop, cut", printable(relative), extra={"action": "walk.loop"})
            return False
        return self._enters(relative)

    def _lacks(self, path: bytes, why: str) -> None:
        if len(self._incomplete) < _SHOWN_REASONS:
            self._incomplete.append(f"{printable(path)}: {why}" if path != self._top else why)
        else:
            self._more += 1


def _told_apart(line: Connection, folder: bytes, refused: Refused) -> Refused:
    """Why a folder can't be listed: Missing, Forbidden, or what the server said.

    Pure-FTPd says the same of both, and vsftpd nothing. The folder above knows.
    """
    above, _, name = folder.rstrip(b"/").rpartition(b"/")
    if isinstance(refused, Forbidden) or not name:
        return refused
    kinds = set()
    try:
        with line.listing(above or b"/") as listing:
            kinds = {entry.kind for entry in listing if entry.name == name}
    except Refused:
        return refused
    said = (refused.verb, refused.code)
    if kinds == {"dir"}:
        return Forbidden(*said, f"{refused.text} (it is there, and can't be listed)")
    if kinds or not listing.complete or isinstance(refused, Missing):
        return refused
    return Missing(*said, f"{refused.text} (it is not there)")
