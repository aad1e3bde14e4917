"""What becomes of a file's source once its copy is durable, or its attempts are used up: delete, move, keep.

The file itself is safe by then; a server that refuses makes no file fail. The step is recorded in the ledger,
tried at the end of the fetch that published, and by later polls and fetches as long as it takes.

Before each try the server is asked what lies there now. Only what certainly still is that version is removed:
a newer one under the same name has not been fetched yet. So a step may be repeated after any crash or lost
reply: the source gone means that it was done. Where a move's reply was lost, both names are looked at. A
move never replaces what lies in its folder; it takes a name with a number, as `on_exists = "version"` does.

A marker (`done_file`) goes first. Left behind, it would vouch for the next file of that name while that one
is still being written.
"""

from __future__ import annotations

import contextlib
import logging
import time
from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING

from workers.crashpoints import crashpoint
from workers.detect import Rules
from workers.errors import OperationFailed
from workers.ftps.errors import Refused
from workers.ftps.inquiry import Stat
from workers.ledger.values import Source
from workers.names import printable
from workers.receiving import Wanted, asked_again, is_still
from workers.stores.naming import NameRefused, below, joined, numbered

if TYPE_CHECKING:
    from workers.ftps.connection import Connection
    from workers.ledger import Ledger
    from workers.session import Session, Tally
    from workers.settings import Route
    from workers.stopping import StopFlag

log = logging.getLogger("towline.sources")

GROUP_FILES = 32
"""Asked about in one flight, and recorded in one transaction."""

FRESH_S = 2.0
"""An answer older than this is no basis for a deletion: asked again. The moment that remains is not promised
away (design §8)."""

_MOST_NAMES = 1000
"""Names with a number that are looked at in the folder of a move before it counts as refused."""


def clear(
    route: Route,
    session: Session,
    ledger: Ledger,
    *,
    tally: Tally,
    stop: StopFlag,
    hold_s: float,
    within_s: float = float("inf"),
) -> None:
    """Do what is due at the sources of a route; what the server refuses is recorded and tried later.

    hold_s: for how long a group of them is ours. within_s: no group is begun after so many seconds. Raises
    what `Session.run` raises when no line can be had; what was not done by then is due again at once.
    """
    until = time.monotonic() + within_s
    while not stop.begun and time.monotonic() < until and ledger.sources.any_due(route.name):
        group = _Group(route, session, ledger, tally, stop, hold_s)
        if not group.run():
            return


class _Group:
    """Some sources that are due, and what has become of each."""

    def __init__(
        self,
        route: Route,
        session: Session,
        ledger: Ledger,
        tally: Tally,
        stop: StopFlag,
        hold_s: float,
    ) -> None:
        self._route = route
        self._session = session
        self._ledger = ledger
        self._tally = tally
        self._stop = stop
        self._encoding = session.endpoint.encoding
        self._rules = Rules.of(route, encoding=self._encoding)
        self._made: set[bytes] = set()  # folders of a move that are there, as far as that can be known
        # Before the hold is over, not after: somebody else may begin then.
        self._until = time.monotonic() + hold_s * 0.8
        self._left = ledger.sources.take(route.name, files=GROUP_FILES, hold_s=hold_s)
        crashpoint("sources-taken")
        self._tried: set[Source] = set()
        self._became: dict[Source, str] = {}
        self._refused: dict[Source, str] = {}

    def run(self) -> bool:
        """Do what can be done; False when lines die of it, and the rest is better left for later."""
        for source in list(self._left):
            if not source.latest:
                self._end(source, "replaced")
            elif self._action(source) == "keep":
                self._end(source, "kept")
        try:
            if self._left:
                self._session.run(self._clear, name="clear sources", tally=self._tally)
        except OperationFailed as failure:
            # No line failed to be built, but each one dies of this: of the first that is left, it seems.
            self._refuse(self._left[0], str(failure))
            return False
        finally:
            self._ledger.sources.done(self._became)
            self._ledger.sources.failed(self._refused)
            self._ledger.sources.give_back(self._left)
            crashpoint("source-recorded")
        return True

    def _clear(self, line: Connection) -> None:
        """The operation; replayed on a new line, it goes on with what is left."""
        while self._left and self._may_go_on():
            found = self._asked(line, self._left)
            asked_at = time.monotonic()
            crashpoint("source-asked")
            for source, now in zip(list(self._left), found, strict=True):
                if time.monotonic() - asked_at > FRESH_S or not self._may_go_on():
                    break
                self._one(line, source, now)
                self._session.progress()

    def _may_go_on(self) -> bool:
        return not self._stop.begun and time.monotonic() < self._until

    # -- what is there

    def _asked(self, line: Connection, sources: Sequence[Source]) -> list[Stat | None]:
        """What each of them is now; None only where it is certainly gone.

        "550" to SIZE or MDTM may also mean that the file can't be read any more: a listing of its folder
        tells, where there is one.
        """
        found = asked_again(line, [_wanted(source) for source in sources])
        coarse = [
            number
            for number, (source, now) in enumerate(zip(sources, found, strict=True))
            if now is not None and now.precision_s > source.precision_s
        ]
        if coarse:
            # The listing had the last word about a time that MDTM tells otherwise. But where it tells days
            # and MDTM seconds (vsftpd, of files older than half a year), it has nothing to say here.
            with contextlib.suppress(Refused):
                exact = line.stat([sources[number].path for number in coarse])
                for number, stat in zip(coarse, exact, strict=True):
                    if stat is not None and stat.modified is not None:
                        found[number] = stat
        missing = {source.path for source, now in zip(sources, found, strict=True) if now is None}
        listed = _listed(line, missing)
        return [
            listed.get(source.path) if now is None else now
            for source, now in zip(sources, found, strict=True)
        ]

    def _one(self, line: Connection, source: Source, now: Stat | None) -> None:
        """Decide about one source by what it is now, and act."""
        action = self._action(source)
        if now is None:
            self._end(source, self._how_it_went(line, source, action))
            return
        if not is_still(_wanted(source), now):
            self._end(source, "replaced")
            return
        if not _tells_enough(source, now):
            self._refuse(source, "the server does not tell whether it still is the file that was fetched")
            return
        try:
            self._remove_marker(line, source)
            became = self._remove(line, source, action)
        except Refused as refusal:
            [now] = self._asked(line, [source])
            if now is not None:
                self._refuse(source, str(refusal))
                return
            became = self._how_it_went(line, source, action)
        crashpoint("source-removed")
        self._end(source, became)

    def _how_it_went(self, line: Connection, source: Source, action: str) -> str:
        """The source is gone: by an earlier try whose reply or record was lost, or by somebody else."""
        if action == "delete":
            return "deleted" if source in self._tried else "gone"
        taken, _ = self._names(line, source, action)
        return "gone" if taken is None else f"moved:{printable(taken)}"

    # -- acting

    def _remove_marker(self, line: Connection, source: Source) -> None:
        folder, _, name = source.path.rpartition(b"/")
        marker = self._rules.marker(name)
        if marker is None:
            return
        path = folder + b"/" + marker
        try:
            line.delete(path)
        except Refused:
            if line.stat([path]) != [None] or _listed(line, {path}):
                raise
        crashpoint("marker-removed")

    def _remove(self, line: Connection, source: Source, action: str) -> str:
        """The step itself; returns what to record. Raises Refused."""
        self._tried.add(source)
        if action == "delete":
            line.delete(source.path)
            return "deleted"
        _, free = self._names(line, source, action)
        if free is None:
            raise Refused("RNTO", 553, f"{_MOST_NAMES} files of that name are in {action} already")
        if b"/" in self._relative(source):
            self._make_folders(line, action, free)
        line.rename(source.path, free)
        return f"moved:{printable(free)}"

    def _names(self, line: Connection, source: Source, action: str) -> tuple[bytes | None, bytes | None]:
        """Of a move's folder: under which name this very version lies there, and the first free name."""
        first = joined(self._folder(action), self._relative(source))
        ours: bytes | None = None
        for number in range(1, _MOST_NAMES):
            name = first if number == 1 else numbered(first, number)
            [there] = asked_again(line, [Wanted(name, source.size, source.modified, source.precision_s)])
            if there is None or (there.size is None and there.modified is None):
                return ours, name
            if is_still(_wanted(source), there):
                ours = ours or name
        return ours, None

    def _folder(self, action: str) -> bytes:
        """Where an action moves files to."""
        return action.removeprefix("move:").encode(self._encoding).rstrip(b"/")

    def _relative(self, source: Source) -> bytes:
        """Its path below the route's folder: a move keeps it, or files of several folders would meet."""
        try:
            return below(self._route.remote, source.path)
        except NameRefused:  # the route's folder was another when it was fetched
            return source.path.rpartition(b"/")[2]

    def _make_folders(self, line: Connection, action: str, name: bytes) -> None:
        """Those between the folder of a move, which has to be there, and `name`."""
        folder = self._folder(action)
        for step in name.removeprefix(folder + b"/").split(b"/")[:-1]:
            folder = joined(folder, step)
            if folder not in self._made:
                # That it is there already looks like any other refusal; RNTO has the last word.
                with contextlib.suppress(Refused):
                    line.mkdir(folder)
                self._made.add(folder)

    # -- how a source ends

    def _action(self, source: Source) -> str:
        """By the configuration as it is now: who changed it to "keep" wants what is still there kept."""
        return self._route.after_failure if source.given_up else self._route.after

    def _end(self, source: Source, became: str) -> None:
        self._left.remove(source)
        self._became[source] = became
        if became != "kept":
            log.info("%s: source %s", printable(source.path), became, extra={"action": "source.done"})

    def _refuse(self, source: Source, error: str) -> None:
        self._left.remove(source)
        self._refused[source] = error
        log.warning("%s: source stays: %s", printable(source.path), error, extra={"action": "source.refused"})


def _listed(line: Connection, paths: Collection[bytes]) -> dict[bytes, Stat]:
    """Those of the paths that the listings of their folders have; where there is no listing, none."""
    found: dict[bytes, Stat] = {}
    for folder in {path.rpartition(b"/")[0] for path in paths}:
        try:
            with line.listing(folder or b"/") as listing:
                for entry in listing:
                    path = folder + b"/" + entry.name
                    if path in paths:
                        found[path] = Stat(entry.size, entry.modified, entry.precision_s)
        except Refused:
            continue
    return found


def _wanted(source: Source) -> Wanted:
    return Wanted(source.path, source.size, source.modified, source.precision_s)


def _tells_enough(source: Source, now: Stat) -> bool:
    """Whether size and time were compared, as exactly as they are known; what is not told proves nothing."""
    if source.modified is not None and (now.modified is None or now.precision_s > source.precision_s):
        return False
    if source.size is None:
        return source.modified is not None
    return now.size is not None
