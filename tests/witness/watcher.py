"""Somebody who sees every file that ever has a final name, and every file that leaves the server's folder.

It asks the kernel (inotify), so nothing happens between two looks; and it opens each of Towline's temporary
files when that is made, so that a file which is replaced a moment after it was published is still read. One
queue of the kernel serves all folders: what came before what is known across them, which is what "its source
was removed before its copy was there" is about.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from tests.witness import inotify
from tests.witness.document import Document, judged
from tests.witness.writer import desk_of
from workers.stores.naming import TEMP_PREFIX

_TEMPS = (os.fsdecode(TEMP_PREFIX), ".pureftpd-rename.")
"""How names begin that are no final ones. The second is Pure-FTPd's, of what it is about to delete."""
_BARRIER_WITHIN_S = 60.0


@dataclass(frozen=True, slots=True)
class Folders:
    """Where a route's files are: on the server, where they land, and where its sources are moved to."""

    route: str
    source: Path
    target: Path
    archive: Path | None = None


@dataclass(frozen=True, slots=True)
class Appearance:
    """A file had a final name. order: rises over all that was seen. document: None when it is not whole."""

    order: int
    route: str
    name: str
    document: Document | None
    sha256: str


@dataclass(frozen=True, slots=True)
class Coming:
    """A file came into the server's folder; the writer's journal knows which."""

    order: int
    route: str
    name: str


@dataclass(frozen=True, slots=True)
class Removal:
    """Towline deleted a file from the server's folder, or moved it to the archive. at: monotonic seconds."""

    order: int
    route: str
    name: str
    at: float


class Watcher:
    """Watches routes from `with` on. The three lists are whole after `catch_up`."""

    def __init__(self, desk: Path, *routes: Folders) -> None:
        """desk: an empty folder of the watcher's own."""
        self.appearances: list[Appearance] = []
        self.comings: list[Coming] = []
        self.removals: list[Removal] = []
        self.missed: list[str] = []
        """What could not be read in time. A verdict without it is worth nothing."""
        self._desk = desk
        self._sources = {one.source: one for one in routes}
        self._targets = {one.target: one for one in routes}
        self._archives = {one.archive for one in routes if one.archive is not None}
        self._order = 0
        self._open: dict[tuple[Path, str], int] = {}
        self._moving: dict[int, int] = {}
        self._leaving: dict[int, Removal] = {}
        self._facts: dict[tuple[Path, str], tuple[int, int, int] | None] = {}
        self._latest: dict[tuple[Path, str], Appearance] = {}
        self._signals: dict[str, threading.Event] = {}
        self._kernel = inotify.Inotify()
        self._thread = threading.Thread(target=self._watch, name="witness", daemon=True)

    def catch_up(self) -> None:
        """Return when everything that happened before this call has been seen."""
        name = f"{time.monotonic_ns()}"
        seen = self._signals[name] = threading.Event()
        (self._desk / name).touch()
        assert seen.wait(_BARRIER_WITHIN_S), "the watcher is late"

    def __enter__(self) -> Self:
        # The kernel merges two renames to one name when nothing lies between them; what leaves the writer's
        # desk, or is a temp in the target, keeps them apart.
        desks = [desk_of(source) for source in self._sources]
        for folder in (self._desk, *desks, *self._sources, *self._targets, *self._archives):
            folder.mkdir(parents=True, exist_ok=True)
            self._kernel.watch(folder)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._signals["end"] = threading.Event()
        (self._desk / "end").touch()
        self._thread.join()
        self._kernel.close()
        for file in (*self._open.values(), *self._moving.values()):
            os.close(file)

    # -- one event after the other

    def _watch(self) -> None:
        while "end" not in self._signals or not self._signals["end"].is_set():
            for event in self._kernel.read():
                self._order += 1
                self._take(event)

    def _take(self, event: inotify.Event) -> None:
        if event.what == inotify.OVERFLOW:
            self.missed.append("the kernel's queue was full")
        elif event.folder == self._desk:
            if event.name in self._signals:
                self._signals[event.name].set()
        elif event.folder in self._sources:
            self._at_source(event, self._sources[event.folder].route)
        elif event.folder in self._targets:
            if event.name.startswith(_TEMPS):
                self._at_temp(event)
            else:
                self._at_target(event, self._targets[event.folder].route)
        elif event.what == inotify.MOVED_TO and event.cookie in self._leaving:
            self.removals.append(self._leaving.pop(event.cookie))

    def _at_source(self, event: inotify.Event, route: str) -> None:
        gone = Removal(self._order, route, event.name, time.monotonic())
        match event.what:
            case inotify.DELETE:
                self.removals.append(gone)
            case inotify.MOVED_FROM:
                # Towline's, should it come to lie in the archive; else the writer's own.
                self._leaving[event.cookie] = gone
            case inotify.MOVED_TO:
                self.comings.append(Coming(self._order, route, event.name))

    def _at_temp(self, event: inotify.Event) -> None:
        place = (event.folder, event.name)
        match event.what:
            case inotify.CREATE:
                with contextlib.suppress(FileNotFoundError):
                    self._open[place] = os.open(event.folder / event.name, os.O_RDONLY | os.O_CLOEXEC)
            case inotify.MOVED_FROM if place in self._open:
                self._moving[event.cookie] = self._open.pop(place)
            case inotify.MOVED_TO if event.cookie in self._moving:
                self._forget(place)
                self._open[place] = self._moving.pop(event.cookie)
            case inotify.DELETE:
                self._forget(place)

    def _forget(self, place: tuple[Path, str]) -> None:
        if place in self._open:
            os.close(self._open.pop(place))

    def _at_target(self, event: inotify.Event, route: str) -> None:
        place = (event.folder, event.name)
        if event.what == inotify.CLOSE_WRITE and self._facts.get(place) == _facts(event.folder / event.name):
            return  # it was renamed while its writer still had it open, and not written since
        if event.what not in (inotify.MOVED_TO, inotify.CREATE, inotify.CLOSE_WRITE):
            return
        file = self._moving.pop(event.cookie, None) if event.what == inotify.MOVED_TO else None
        try:
            if file is None:
                file = os.open(event.folder / event.name, os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:
            if event.what != inotify.CLOSE_WRITE:
                self.missed.append(f"{route}: {event.name} came and went")
            return
        try:
            facts, content = _facts(file), _read(file)
            in_place = event.what == inotify.CREATE and not self._is_link(file)
        finally:
            os.close(file)
        if facts == self._facts.get(place):
            # Opened by its name, the one before it was this one already: that one was never seen.
            self.appearances.remove(self._latest[place])
            self.missed.append(f"{route}: {event.name} was replaced too soon")
        digest = hashlib.sha256(content).hexdigest()
        self._facts[place] = facts
        # What is made under its final name was empty there, however whole it is by now.
        document = None if in_place else judged(content)
        self._latest[place] = Appearance(self._order, route, event.name, document, digest)
        self.appearances.append(self._latest[place])

    def _is_link(self, file: int) -> bool:
        """Whether it is one of Towline's temps under a second name."""
        told = os.fstat(file)
        return told.st_nlink > 1 or told.st_ino in [os.fstat(temp).st_ino for temp in self._open.values()]


def _facts(file: Path | int) -> tuple[int, int, int] | None:
    """What tells whether a file was written: inode, size and modification time; None: gone."""
    try:
        told = file.stat() if isinstance(file, Path) else os.fstat(file)
    except FileNotFoundError:
        return None
    return told.st_ino, told.st_size, told.st_mtime_ns


def _read(file: int) -> bytes:
    blocks = []
    at = 0
    while block := os.pread(file, 1 << 20, at):
        blocks.append(block)
        at += len(block)
    return b"".join(blocks)
