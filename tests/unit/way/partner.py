"""The partner's server as the model has it: a folder in memory, and lines that read from it."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any, TypeVar, cast

from tests.unit.ledger.scene import Clock
from workers import errors
from workers.ftps.connection import Connection
from workers.ftps.entry import Entry
from workers.ftps.errors import Missing, TransferBroken, Transient
from workers.ftps.inquiry import Stat
from workers.session import Session, Tally

T = TypeVar("T")

REMOTE = b"/out"
_TRIES = 3


@dataclass(frozen=True, slots=True)
class Remote:
    """A file on the server. serial: of all that was ever written under its name; it only rises."""

    serial: int
    body: bytes
    modified: float


class Partner:
    """Writes files, replaces them and takes them away; remembers every state that a name has had.

    Two states of a name never look the same in a listing: a partner who rewrites a file in place, with equal
    size and within the precision of his server's times, is outside the promise (design §8).
    """

    def __init__(self, clock: Clock, precision_s: float) -> None:
        """precision_s: of the times in listings; MDTM tells seconds."""
        self.down = False
        self.files: dict[bytes, Remote] = {}
        self.states: dict[bytes, dict[bytes, int]] = {}
        self.removed_by_us: list[tuple[bytes, Remote]] = []
        self._clock = clock
        self._precision = precision_s
        self._last: dict[bytes, Remote] = {}

    def write(self, name: bytes, size: int, *, onto: bytes = b"") -> None:
        """A new state of a file: these bytes, and then so many that no other state has."""
        last = self._last.get(name)
        serial = 1 if last is None else last.serial + 1
        body = onto + (b"%b%06d." % (name, serial) * size)[:size]
        shown_later = -math.inf if last is None else self.shown(last) + self._precision
        self.files[name] = self._last[name] = Remote(serial, body, max(self._clock.now // 1, shown_later))
        self.states.setdefault(name, {})[body] = serial

    def shown(self, file: Remote) -> float:
        """A file's time as a listing tells it."""
        return file.modified // self._precision * self._precision

    def entries(self) -> list[Entry]:
        """The listing of the folder as it is now."""
        return [
            Entry(name, "file", len(file.body), self.shown(file), self._precision)
            for name, file in sorted(self.files.items())
        ]

    def at(self, path: bytes) -> Remote | None:
        """The file that is under this path now."""
        return self.files.get(path.removeprefix(REMOTE + b"/"))


class Listing:
    """What a line gives for a listing; cut in the middle where `truncated`."""

    def __init__(self, entries: list[Entry], *, truncated: bool) -> None:
        self._entries = iter(entries[: len(entries) // 2] if truncated else entries)
        self.complete = not truncated
        self.reason = "cut" if truncated else None

    def __iter__(self) -> Iterator[Entry]:
        return self._entries


class Line:
    """A READY connection to the partner. truncated: its listings break off."""

    features = SimpleNamespace(rest_stream=True)
    peer = SimpleNamespace(zone="UTC")

    def __init__(self, partner: Partner, *, truncated: bool) -> None:
        self._partner = partner
        self._truncated = truncated

    @contextmanager
    def listing(
        self, _path: bytes, *, hear: Callable[[memoryview], object] | None = None
    ) -> Iterator[Listing]:
        """MLSD or LIST of the folder. hear: is given what stands for its bytes."""
        entries = self._partner.entries()
        if hear is not None:
            hear(memoryview(repr(entries).encode()))
        yield Listing(entries, truncated=self._truncated)

    def stat(self, paths: Sequence[bytes]) -> list[Stat | None]:
        """SIZE and MDTM of each."""
        found = [self._partner.at(path) for path in paths]
        return [Stat(len(file.body), file.modified, 1.0) if file is not None else None for file in found]

    def retrieve(
        self,
        path: bytes,
        sink: Callable[[memoryview], None],
        *,
        offset: int = 0,
        size: int | None = None,
        **_: object,
    ) -> int:
        """RETR in two blocks. A file that is rewritten between them goes on with its new bytes."""
        moved = offset
        for last in (False, True):
            file = self._partner.at(path)
            if file is None:
                raise Missing("RETR", 550, "no such file") if not last else TransferBroken("gone")
            upto = len(file.body) if last else (offset + len(file.body)) // 2
            sink(memoryview(file.body)[moved:upto])
            moved = max(moved, upto)
        if size is not None and moved != size:
            raise TransferBroken(f"{moved} bytes of {size}")
        return moved - offset

    def delete(self, path: bytes) -> None:
        """DELE."""
        file = self._partner.files.pop(path.removeprefix(REMOTE + b"/"), None)
        if file is None:
            raise Missing("DELE", 550, "no such file")
        self._partner.removed_by_us.append((path.removeprefix(REMOTE + b"/"), file))


class PartnerSession(Session):
    """A session whose lines need no building; an operation that dies on one is replayed on the next."""

    partner: Partner
    truncated = False

    @contextmanager
    def reserved(self) -> Iterator[None]:
        """There are lines for all."""
        yield

    def refuse_if_closed(self) -> None:
        """It never is."""

    def run(self, operation: Callable[[Connection], T], *, name: str, tally: Tally) -> T:  # noqa: ARG002 - lines need no building
        """Raises ReconnectFailed while the server is down, and OperationFailed as the real one does."""
        for _ in range(_TRIES):
            if self.partner.down:
                raise errors.ReconnectFailed("partner", _TRIES, _TRIES, 0, 0.0, "the server is down")
            line: Any = Line(self.partner, truncated=self.truncated)
            try:
                return operation(cast(Connection, line))
            except Transient as lost:
                last = lost
        raise errors.OperationFailed("partner", name, _TRIES, 0, 0.0, str(last))
