"""The partner: puts documents on a server's folder, replaces, grows, renames and removes some, and keeps a
journal of it.

What it does is one step each for whoever looks: a file comes whole by a rename, grows by one write, and goes
by a rename into a bin outside the folder. So a deletion that is seen in the folder was not its own.

Two versions under one name never have the same length: equal size within one tick of a server's clock is what
Towline does not promise to notice (docs/design.md).
"""

from __future__ import annotations

import itertools
import os
import threading
import time
from dataclasses import dataclass
from pathlib import Path

from tests.witness.document import composed


@dataclass(frozen=True, slots=True)
class Arrival:
    """A version came to stand under a name. at: monotonic seconds. grown: in place, by an append."""

    route: str
    name: str
    version: int
    at: float
    grown: bool = False


class Journal:
    """What stood under which name, in the order in which it came; and what the writer took away itself."""

    def __init__(self) -> None:
        self.arrivals: dict[tuple[str, str], list[Arrival]] = {}
        self.withdrawn: set[tuple[str, str, int]] = set()
        """(route, name, version) that the writer removed or renamed away."""
        self.guard = threading.Lock()
        self._versions = itertools.count(1)

    def next_version(self) -> int:
        """A number that no version has had."""
        return next(self._versions)

    def arrived(self, route: str, name: str, version: int, *, grown: bool = False) -> None:
        """Note a version that stands there from now on."""
        arrival = Arrival(route, name, version, time.monotonic(), grown)
        self.arrivals.setdefault((route, name), []).append(arrival)

    def count(self) -> int:
        """How many versions there were under all names."""
        return sum(map(len, self.arrivals.values()))


def desk_of(folder: Path) -> Path:
    """Where the versions for a folder are written, before they come into it by a rename."""
    return folder.parent / f".{folder.name}-desk"


class Writer:
    """Writes one route's folder on a server. `folder` and its parent are on one file system."""

    def __init__(self, route: str, folder: Path, journal: Journal) -> None:
        self.route = route
        self.folder = folder
        self.journal = journal
        self._desk = desk_of(folder)
        self._bin = folder.parent / f".{folder.name}-bin"
        for place in (folder, self._desk, self._bin):
            place.mkdir(exist_ok=True)
        self._lengths: set[int] = set()

    def put(self, name: str, body: int = 1000) -> int:
        """A new file, or a new version of one that is there; returns the version's number."""
        version, content = self._compose(name, body)
        draft = self._desk / str(version)
        draft.write_bytes(content)
        with self.journal.guard:
            draft.replace(self.folder / name)
            self.journal.arrived(self.route, name, version)
        return version

    def grow(self, name: str, body: int = 1000) -> int:
        """One more record at the end of a file that is there."""
        file = self.folder / name
        version, content = self._compose(name, body, after=file.read_bytes())
        with self.journal.guard, file.open("ab") as grown:
            grown.write(content[grown.tell() :])
            self.journal.arrived(self.route, name, version, grown=True)
        return version

    def remove(self, name: str) -> bool:
        """Take a file away; False when somebody else has."""
        with self.journal.guard:
            try:
                (self.folder / name).rename(self._bin / f"{time.monotonic_ns()}")
            except FileNotFoundError:
                return False
            self._withdraw(name)
        return True

    def rename(self, name: str, new: str) -> bool:
        """Give a file a name that none has had before; False when it is gone.

        A name that is used again with an older version would be a delivery in the wrong order by the partner.
        """
        assert (self.route, new) not in self.journal.arrivals, f"{new} was used before"
        with self.journal.guard:
            try:
                (self.folder / name).rename(self.folder / new)
            except FileNotFoundError:
                return False
            version = self._withdraw(name)
            self.journal.arrived(self.route, new, version)
        return True

    def names(self) -> list[str]:
        """The files that are there now."""
        return sorted(entry.name for entry in os.scandir(self.folder) if entry.is_file())

    def _withdraw(self, name: str) -> int:
        version = self.journal.arrivals[self.route, name][-1].version
        self.journal.withdrawn.add((self.route, name, version))
        return version

    def _compose(self, name: str, body: int, *, after: bytes = b"") -> tuple[int, bytes]:
        version = self.journal.next_version()
        while True:
            content = composed(self.route, name, version, body, after=after)
            if len(content) not in self._lengths:
                self._lengths.add(len(content))
                return version, content
            body += 1
