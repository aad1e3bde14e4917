"""The verdict: seven sets, each of something that must never happen, all of which must be empty.

They are exact about what is promised (docs/design.md, "What is promised, and what is not"):

* A version that its partner replaced or took away before it was fetched was never owed. What stands in the
  folder at the end is, and so is whatever Towline itself removed.
* Between the question what lies at a source and DELE there is a moment in which a partner may write. A newer
  version that came within it, in the place of one that had been published, is not counted as lost.
* An outbox sends at least once, so messages are none of this.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable
from dataclasses import dataclass, fields

from tests.witness.watcher import Appearance, Coming, Removal, Watcher
from tests.witness.writer import Arrival, Journal

MOMENT_S = 2.0
"""What design §8 doesn't promise: a write between the question and the deletion."""


@dataclass(frozen=True, slots=True)
class Row:
    """What the ledger says was published: under which final name, and of which bytes (SHA-256, hex)."""

    route: str
    name: str
    sha256: str


@dataclass(frozen=True, slots=True)
class Verdict:
    """What was found, each as a line for people.

    lost: owed and never published. doubled: one version published twice. torn: bytes that are no whole
    version of this file. stale: an older version over a newer one. orphaned: temps that nobody will go on
    with. early: a source removed that had not been published. ghosts: rows without bytes. missed: what the
    watcher could not see; it must be empty as well, or the others mean nothing.
    """

    lost: tuple[str, ...] = ()
    doubled: tuple[str, ...] = ()
    torn: tuple[str, ...] = ()
    stale: tuple[str, ...] = ()
    orphaned: tuple[str, ...] = ()
    early: tuple[str, ...] = ()
    ghosts: tuple[str, ...] = ()
    missed: tuple[str, ...] = ()

    @property
    def clean(self) -> bool:
        """Whether nothing was found, and everything was seen."""
        return self == Verdict()

    def counts(self) -> dict[str, int]:
        """How many of each."""
        return {field.name: len(getattr(self, field.name)) for field in fields(self)}

    def __str__(self) -> str:
        found = ((field.name, getattr(self, field.name)) for field in fields(self))
        return "\n".join(f"{name}: {', '.join(lines)}" for name, lines in found if lines) or "clean"


def verdict(journal: Journal, watcher: Watcher, rows: Iterable[Row], temps: Iterable[str]) -> Verdict:
    """Judge what was seen until now. rows: what the ledger has published. temps: nobody goes on with."""
    watcher.catch_up()
    published = _first_published(watcher.appearances)
    removed = list(_removed(journal, watcher.comings, watcher.removals))
    excused = {
        (one.arrival.route, one.arrival.name, one.arrival.version)
        for one in removed
        if one.in_the_moment(published)
    }
    return Verdict(
        lost=tuple(
            _shown(arrivals[-1])
            for arrivals in journal.arrivals.values()
            if (owed := _version(arrivals[-1])) not in journal.withdrawn
            and owed not in published
            and owed not in excused
        ),
        doubled=tuple(_doubled(watcher.appearances)),
        torn=tuple(_torn(journal, watcher.appearances)),
        stale=tuple(_stale(journal, watcher.appearances)),
        orphaned=tuple(temps),
        early=tuple(
            _shown(one.arrival)
            for one in removed
            if published.get(_version(one.arrival), one.order) >= one.order
            and _version(one.arrival) not in excused
        ),
        ghosts=tuple(_ghosts(watcher.appearances, rows)),
        missed=tuple(watcher.missed),
    )


Version = tuple[str, str, int]
"""Route, name on the server, number."""


@dataclass(frozen=True, slots=True)
class _Removed:
    """What stood under a name when Towline removed it, and what had stood there before."""

    order: int
    at: float
    arrival: Arrival
    before: Arrival | None

    def in_the_moment(self, published: Collection[Version]) -> bool:
        """Whether it came between question and deletion, in the place of a version that was published."""
        return (
            _version(self.arrival) not in published
            and self.before is not None
            and _version(self.before) in published
            and self.at - self.arrival.at < MOMENT_S
        )


def _removed(journal: Journal, comings: Iterable[Coming], removals: Iterable[Removal]) -> Iterable[_Removed]:
    """Each removal with the version that it met: the nth file that came under a name is the journal's nth."""
    count: dict[tuple[str, str], int] = {}
    events: list[Coming | Removal] = [*comings, *removals]
    for event in sorted(events, key=lambda one: one.order):
        place = (event.route, event.name)
        if isinstance(event, Coming):
            count[place] = count.get(place, 0) + 1
            continue
        if place not in journal.arrivals:
            continue  # a marker, which is no file of the route
        came = list(_came(journal.arrivals[place], count.get(place, 0)))
        yield _Removed(event.order, event.at, came[-1], came[-2] if len(came) > 1 else None)


def _came(arrivals: Iterable[Arrival], files: int) -> Iterable[Arrival]:
    """The versions of the first `files` files under a name, with what each of them grew to."""
    for arrival in arrivals:
        files -= not arrival.grown
        if files < 0:
            return
        yield arrival


def _first_published(appearances: Iterable[Appearance]) -> dict[Version, int]:
    """When each version first had a final name."""
    first: dict[Version, int] = {}
    for one in appearances:
        if one.document is not None:
            for name in _names(one.name):
                first.setdefault((one.route, name, one.document.version), one.order)
    return first


def _doubled(appearances: Iterable[Appearance]) -> Iterable[str]:
    seen: set[Version] = set()
    for one in appearances:
        if one.document is not None:
            version = (one.route, _names(one.name)[-1], one.document.version)
            if version in seen:
                yield f"{one.route}: {one.name} version {one.document.version}"
            seen.add(version)


def _torn(journal: Journal, appearances: Iterable[Appearance]) -> Iterable[str]:
    for one in appearances:
        if one.document is None:
            yield f"{one.route}: {one.name} is not whole"
        elif _position(journal, one) is None:
            told = one.document
            yield f"{one.route}: {one.name} holds {told.route}: {told.path} version {told.version}"


def _stale(journal: Journal, appearances: Iterable[Appearance]) -> Iterable[str]:
    newest: dict[tuple[str, str], int] = {}
    for one in appearances:
        position = _position(journal, one)
        if position is None:
            continue
        place = (one.route, one.name)
        if position < newest.get(place, -1):
            yield f"{one.route}: {one.name} went back to its version number {position + 1}"
        newest[place] = max(position, newest.get(place, -1))


def _ghosts(appearances: Iterable[Appearance], rows: Iterable[Row]) -> Iterable[str]:
    seen = {(one.route, one.name, one.sha256) for one in appearances}
    for row in rows:
        if (row.route, row.name, row.sha256) not in seen:
            yield f"{row.route}: {row.name} {row.sha256[:8]}"


def _position(journal: Journal, one: Appearance) -> int | None:
    """Which of the versions that stood under this name it is; None: none of them."""
    if one.document is not None:
        for name in _names(one.name):
            for position, arrival in enumerate(journal.arrivals.get((one.route, name), [])):
                if arrival.version == one.document.version:
                    return position
    return None


def _names(final: str) -> list[str]:
    """The names on the server that a final name may stand for: itself, or without `on_exists`' number."""
    plain = re.sub(r"\.\d+(?=\.[^.]*$|$)", "", final)
    return [final] if plain == final else [final, plain]


def _version(arrival: Arrival) -> Version:
    return arrival.route, arrival.name, arrival.version


def _shown(arrival: Arrival) -> str:
    return f"{arrival.route}: {arrival.name} version {arrival.version}"
