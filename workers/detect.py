"""Listing + rules + what the ledger knows → what has changed, what is ready, when to look again. Pure.

Detection is a difference of sets. A high-water mark by time misses files that arrive with an old time, a set
of names misses re-deliveries (field note 32); so every listed file is held against the version known under
its path.

Same version: sizes equal, and times equal within the coarser precision of the two. That is also what carries
a change of the listing's format, `ls` turning "Apr 22 17:04" into "Apr 22 2026" after six months. MLSD's
`unique` fact is kept, and decides nothing: it holds a device number on many servers, and would change for a
whole folder when a disk is mounted anew.

Settled: size and time were the same in two looks at least `settle` apart by our own clock, and nothing can
have been written in between unseen. A write within one tick of the server's clock leaves the time as it was:
so the time must be older than its precision, by the server's clock, or the two looks further apart than that,
by ours.

With `recursive` a name is a path below the route's folder, and the filters see all of it; a folder that was
renamed is files that vanished and others that appeared.

With `done_file` a file is believed in only while its marker is listed beside it; the marker is no file of its
own. With `backlog = "new"` all that is listed up to and with the first complete listing is left alone.

Only plain files count. A link's size and time are the link's own, and what it points to may be anywhere:
links are passed over in this version. So are files called like Towline's own temporary ones: somebody is
pushing.
"""

from __future__ import annotations

import fnmatch
import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields, replace
from typing import TYPE_CHECKING, Literal

from workers.ftps.listing import Entry
from workers.ledger.states import PUBLISHED_STATES, State
from workers.ledger.values import Appeared, Change, Changed, Known, Seen, Vanished, same_version
from workers.stores.naming import TEMP_PREFIX, NameRefused, joined, parts, refusal

if TYPE_CHECKING:
    from workers.settings import Route


@dataclass(frozen=True, slots=True)
class Rules:
    """Which files of a folder a route wants, and when it believes in them."""

    remote: bytes
    include: re.Pattern[str]
    exclude: re.Pattern[str] | None
    regex: re.Pattern[str] | None
    settle: float
    min_age: float
    encoding: str
    done_file: str | None = None
    backlog: Literal["all", "new"] = "all"
    redeliver: bool = False
    depth: int = 0
    """So many levels of folders below `remote` belong to the route; 0: it is not recursive."""
    left_out: re.Pattern[str] | None = None
    """Folders below which no file can pass `exclude`, with a slash behind their names."""

    @classmethod
    def of(cls, route: Route, *, encoding: str = "utf-8") -> Rules:
        """A route's rules. encoding: of the endpoint's names; only for holding them against the patterns."""
        whole = [pattern for pattern in route.exclude if pattern.endswith("*")]
        return cls(
            remote=route.source,
            include=_globs(route.include),
            exclude=_globs(route.exclude) if route.exclude else None,
            regex=re.compile(route.regex) if route.regex is not None else None,
            settle=route.settle,
            min_age=route.min_age,
            encoding=encoding,
            # Of a push it is what the partner gets; nothing here waits for one.
            done_file=route.done_file if route.direction == "pull" else None,
            backlog=route.backlog,
            redeliver=route.redeliver,
            depth=route.max_depth if route.recursive else 0,
            left_out=_globs(whole) if whole else None,
        )

    def told(self) -> str:
        """All of them in words: the same for rules that decide the same."""
        values = (getattr(self, field.name) for field in fields(self))
        return repr([one.pattern if isinstance(one, re.Pattern) else one for one in values])

    def marker(self, name: bytes) -> bytes | None:
        """The name (or path) of the marker that has to be beside a file; None: the route asks for none."""
        if self.done_file is None:
            return None
        before, behind = self._around_name()
        folder, slash, last = name.rpartition(b"/")
        return folder + slash + before + last + behind

    def is_marker(self, name: bytes) -> bool:
        """Whether this is a marker's name or path, whatever it marks."""
        if self.done_file is None:
            return False
        name = name.rpartition(b"/")[2]
        before, behind = self._around_name()
        longer = len(name) > len(before) + len(behind)
        return longer and name.startswith(before) and name.endswith(behind)

    def _around_name(self) -> tuple[bytes, bytes]:
        before, _, behind = (self.done_file or "").partition("{name}")
        return before.encode(self.encoding), behind.encode(self.encoding)

    def wants(self, relative: bytes) -> bool:
        """Whether the filters let this path below `remote` through; `*` passes slashes too."""
        text = relative.decode(self.encoding, "surrogateescape")
        return (
            not self.is_marker(relative)
            and self.include.match(text) is not None
            and (self.exclude is None or self.exclude.match(text) is None)
            and (self.regex is None or self.regex.search(text) is not None)
        )

    def enters(self, folder: bytes) -> bool:
        """Whether files that are wanted may lie below this folder, told by its path below `remote`.

        An `exclude` that ends in `*` and lets the folder's own name and slash through leaves out all of it:
        then nobody has to be allowed to list it.
        """
        text = folder.decode(self.encoding, "surrogateescape") + "/"
        return self.left_out is None or self.left_out.match(text) is None

    def refusal(self, name: bytes) -> str | None:
        """Why a listed name, or path below `remote`, may not be used here; None when it may."""
        if not self.depth:
            return refusal(name)
        try:
            parts(name)
        except NameRefused as refused:
            return refused.reason
        return None

    def path(self, name: bytes) -> bytes:
        """The absolute path of a listed name, as it is sent to the server."""
        return joined(self.remote, name)


ROUND = 1_000
"""Limits of listings are multiples of it: 1,000, 2,000, 5,000, 10,000 were met."""


@dataclass(frozen=True, slots=True)
class Decision:
    """What a listing means.

    changes: for the ledger. ready, waiting, refused: files of this listing that were found settled, that have
    to be looked at again, that can't be fetched for their name. next_look_in: seconds until the next of the
    waiting ones may have settled; None when none waits.
    """

    changes: list[Change]
    ready: int
    waiting: int
    refused: int
    next_look_in: float | None

    def doubt(self, listed: int) -> str | None:
        """Why a listing of so many entries, that ended well, says nothing of what it lacks; None: it does.

        Servers that stop at some number of entries stop at a round one, and not all of them say so (field
        note 27). Where nothing is missing the number proves nothing.
        """
        if listed == 0 or listed % ROUND or not any(isinstance(one, Vanished) for one in self.changes):
            return None
        return f"exactly {listed:,} entries, and not all that were known: the server may stop there"

    def without_losses(self) -> Decision:
        """The same, from which nothing has vanished."""
        return replace(self, changes=[one for one in self.changes if not isinstance(one, Vanished)])


def decide(
    entries: Iterable[Entry],
    known: Mapping[bytes, Known],
    rules: Rules,
    now: float,
    *,
    complete: bool,
    first: bool = False,
) -> Decision:
    """Compare a listing with what is known.

    known: the latest version of each path of the route. now: the ledger's clock when the listing was begun,
    not when it ended: two looks are then never closer together than they seem. complete: whether the
    listing had everything; if not, nothing is said to have vanished (field note 27). first: no listing of
    the route was complete before this one.
    """
    changes: list[Change] = []
    waits: list[float] = []
    ready = refused = unmarked = 0
    is_backlog = first and rules.backlog == "new"
    listed = _files(entries)
    for name, entry in listed.items():
        path = rules.path(name)
        before = known.get(path)
        if name.rpartition(b"/")[2].startswith(TEMP_PREFIX) or not rules.wants(name):
            # Filters that were changed meanwhile: what was not begun is not wanted any more.
            if complete and before is not None and before.state in (State.WAITING, State.READY):
                changes.append(Vanished(before))
            continue
        if (reason := rules.refusal(name)) is not None:
            refused += 1
            if before is None:
                changes.append(
                    Appeared(path, entry.size, entry.modified, entry.precision_s, entry.unique, reason)
                )
            elif not before.listed:
                changes.append(Seen(before, ready=False))
            continue
        wait, change = _look(entry, path, before, rules, now)
        if is_backlog and isinstance(change, Appeared | Changed):
            changes.append(replace(change, ready=False, backlog=True))
            continue
        marker = rules.marker(name)
        if marker is not None and marker not in listed and isinstance(change, Appeared | Changed | Seen):
            # No look is asked for: nobody knows when its marker will come.
            changes.append(replace(change, ready=False))
            unmarked += wait is not None
            continue
        if change is not None:
            changes.append(change)
        if wait is None:
            continue
        if wait <= 0:
            ready += 1
        else:
            waits.append(wait)
    if complete:
        there = {rules.path(name) for name in listed}
        changes += [Vanished(one) for path, one in known.items() if one.listed and path not in there]
    return Decision(changes, ready, len(waits) + unmarked, refused, min(waits, default=None))


DELIVERED = PUBLISHED_STATES | {State.BACKLOG}
"""What has vanished in one of these states and is there again was delivered again."""


def _look(
    entry: Entry, path: bytes, before: Known | None, rules: Rules, now: float
) -> tuple[float | None, Change | None]:
    """Seconds until this file can have settled (None: not a question any more), and what is new about it."""
    facts = (entry.size, entry.modified, entry.precision_s, entry.unique)
    again = rules.redeliver and before is not None and before.state in DELIVERED and not before.listed
    if (
        before is None
        or again
        or not same_version(
            entry.size, entry.modified, entry.precision_s, before.size, before.modified, before.precision_s
        )
    ):
        wait = _unsettled_for(entry, rules, now, since=None)
        if before is None:
            return wait, Appeared(path, *facts, ready=wait <= 0)
        return wait, Changed(before, *facts, ready=wait <= 0)
    if before.state is State.VANISHED:
        wait = _unsettled_for(entry, rules, now, since=None)
        return wait, Seen(before, ready=wait <= 0)
    if before.state is State.WAITING:
        wait = _unsettled_for(entry, rules, now, since=before.settled_since)
        return wait, Seen(before, ready=wait <= 0)
    return None, None if before.listed else Seen(before, ready=False)


def _unsettled_for(entry: Entry, rules: Rules, now: float, *, since: float | None) -> float:
    """Seconds until the file may be taken; 0: now. since: when it was first seen so, None when this is it."""
    looked_for = 0.0 if since is None else now - since
    waits = [rules.settle - looked_for]
    if rules.settle > 0:
        in_doubt = entry.precision_s - looked_for
        if entry.modified is not None:
            in_doubt = min(in_doubt, entry.modified + entry.precision_s - now)
        waits.append(in_doubt)
    if rules.min_age > 0:
        age = looked_for if entry.modified is None else now - entry.modified
        waits.append(rules.min_age - age)
    return max(0.0, *waits)


def _files(entries: Iterable[Entry]) -> dict[bytes, Entry]:
    """The plain files by name. A name listed twice counts once: its newest entry, whatever the order."""
    files: dict[bytes, Entry] = {}
    for entry in entries:
        if entry.kind != "file":
            continue
        twin = files.get(entry.name)
        if twin is None or _newness(entry) > _newness(twin):
            files[entry.name] = entry
    return files


def _newness(entry: Entry) -> tuple[float, int, float, bytes]:
    # What is not told is less than a nought: equal to it, the order of the two would decide.
    modified = -math.inf if entry.modified is None else entry.modified
    size = -1 if entry.size is None else entry.size
    return modified, size, entry.precision_s, b"" if entry.unique is None else b"=" + entry.unique


def _globs(patterns: Iterable[str]) -> re.Pattern[str]:
    return re.compile("|".join(fnmatch.translate(pattern) for pattern in patterns))
