"""What lies in temps at the partner → files under their final names; what `publishing` is on the way in.

The partner's folder knows no fsync and no RENAME_NOREPLACE, and any reply may be lost. So each step can be
said again: a rename whose temp is gone was done by the attempt whose reply never came, since nobody but the
holder of the claim touches a temp, and whoever takes a claim over settles the open intent first.

A marker (`done_file`) is sent when its file has its name, and one that is there already goes before the
rename: it would vouch for a file that is being replaced.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from workers.crashpoints import crashpoint
from workers.detect import Rules
from workers.ftps.errors import Refused
from workers.ledger.values import Claim, FollowOn, Intent, Orphan, Published, temp_name
from workers.names import parsed, printable
from workers.receiving import Receipt, Wanted, asked_again
from workers.stores.naming import NameRefused, below, joined, numbered
from workers.storing import lacks_room, no_room

if TYPE_CHECKING:
    from workers.ftps.connection import Connection
    from workers.ledger import Ledger
    from workers.session import Session, Tally
    from workers.settings import Route
    from workers.stores.source import SourceFile

log = logging.getLogger("towline.transfer")

_MOST_NAMES = 1000
"""Names with a number that are looked at for `on_exists = "version"`."""


@dataclass(frozen=True, slots=True)
class Sent:
    """A file whose bytes are all in its temp at the partner; the source is still open.

    relative: its path below both folders. temp: the temp's name, in the folder of the final name.
    """

    claim: Claim
    relative: bytes
    temp: str
    file: SourceFile


class Depositor:
    """Brings what a route has sent to its final names, and settles what earlier workers left half done."""

    def __init__(self, route: Route, session: Session, ledger: Ledger, tally: Tally) -> None:
        self._route = route
        self._session = session
        self._ledger = ledger
        self._tally = tally
        rules = Rules.of(route, encoding=session.endpoint.encoding)
        self._rules = replace(rules, done_file=route.done_file)
        self._finished = route.after == "keep"
        self._then = (
            FollowOn(route.then.task, route.then.queue, pushed=True) if route.then is not None else None
        )

    def temp_of(self, claim: Claim) -> str:
        """The name of this claim's temp."""
        return temp_name(self._ledger.id, claim.path_id, claim.version_id, claim.fence)

    def place_of(self, relative: bytes) -> bytes:
        """The absolute remote path that belongs to a path below the route's folder."""
        return joined(self._route.remote, relative)

    # -- what others left

    def take_over(self, claim: Claim, relative: bytes, *, adopts: bool) -> None:
        """Remove what lower fences left for this path; adopts: bring it under this fence, to go on with it.

        Then a frozen worker that thaws finds nothing to rename.
        """
        if claim.temp_fence is None:
            return
        ours = beside(self.place_of(relative), self.temp_of(claim))
        fences = range(claim.fence - 1, claim.temp_fence - 1, -1)
        left = [self._left(claim, claim.version_id, fence, relative) for fence in fences]
        others = [self._left(claim, old, fence, relative) for old in claim.older_versions for fence in fences]

        def clear(line: Connection) -> None:
            adopted = not adopts
            for path in left:
                if adopted:
                    _may_fail(line.delete, path)
                else:
                    adopted = _may_fail(line.rename, path, ours)
            for path in others:
                _may_fail(line.delete, path)

        self._session.run(clear, name="take over", tally=self._tally)

    def _left(self, claim: Claim, version: int, fence: int, relative: bytes) -> bytes:
        name = temp_name(self._ledger.id, claim.path_id, version, fence)
        return beside(self.place_of(relative), name)

    def settle(self, claim: Claim, intent: Intent) -> Receipt | None:
        """Find out how far the worker came that committed this intent, and finish its work.

        None: the intent was taken back, and the file has to be sent. Raises Refused, the intent taken back,
        where the server won't take the file under its name.
        """
        landed: bool | Refused = False
        if intent.temp:
            shown = intent.final
            [(_, landed)] = self._session.run(
                lambda line: list(self._finish(line, [intent], tried={intent.version_id})),
                name=f"settle {shown}",
                tally=self._tally,
            )
        if isinstance(landed, Refused):
            self._ledger.publishing.abandon(claim)
            raise landed
        if not landed:
            self._ledger.publishing.abandon(claim)
            return None
        self._ledger.publishing.published([self._fact(intent)])
        log.info("%s: an interrupted push was finished", intent.final, extra={"action": "publish.settled"})
        return Receipt(claim.path, intent.size, intent.sha256, parsed(intent.final))

    # -- names

    def choose(self, relatives: Sequence[bytes]) -> list[bytes | None]:
        """The remote path for each file: its own, a numbered one, or None where what is there is kept."""
        places = [self.place_of(relative) for relative in relatives]
        if self._route.on_exists == "replace":
            return list(places)
        return self._session.run(
            lambda line: list(self._free(line, places)), name="look for names", tally=self._tally
        )

    def _free(self, line: Connection, places: Sequence[bytes]) -> Iterator[bytes | None]:
        taken = there_now(line, places)
        # A number must not lead to what another file of the group is about to be called.
        given = {place for place in places if place not in taken}
        for place in places:
            if place not in taken:
                yield place
            elif self._route.on_exists == "keep":
                yield None
            else:
                names = (numbered(place, number) for number in range(2, _MOST_NAMES))
                unused = (name for name in names if name not in given)
                free = next((name for name in unused if not there_now(line, [name])), None)
                if free is None:
                    raise Refused("RNTO", 553, f"{_MOST_NAMES} files of that name are there already")
                given.add(free)
                yield free

    # -- the way of a group

    def deposit(
        self, group: Sequence[tuple[Sent, bytes]], *, refused: Callable[[Claim, Refused], None]
    ) -> list[tuple[Claim, Receipt]]:
        """Give the temps of a group their final names, the ones chosen; what was published by that.

        refused: told of each file that the server won't take under its name. Raises what `Session.run`
        raises; then the intents stay open, and whoever claims the paths next settles them.
        """
        claims = {one.claim.path_id: one.claim for one, _ in group}
        intents = self._ledger.publishing.intend([self._intent(one, final) for one, final in group])
        crashpoint("intended")
        left, landed, tried = {one.version_id: one for one in intents}, list[Intent](), set[int]()

        def name_all(line: Connection) -> None:
            """The operation; replayed on a new line, it goes on with what is left."""
            again = frozenset(tried)
            tried.update(left)
            for intent, done in self._finish(line, list(left.values()), tried=again):
                if done is True:
                    landed.append(intent)
                    crashpoint("renamed")
                else:
                    self._ledger.publishing.abandon(claims[intent.path_id])
                if isinstance(done, Refused):
                    _may_fail(line.delete, _temp(intent))
                    refused(claims[intent.path_id], done)
                del left[intent.version_id]
                self._session.progress()

        try:
            self._session.run(name_all, name="rename", tally=self._tally)
        finally:
            # Also what got its name before the line was lost for good.
            self._ledger.publishing.published([self._fact(intent) for intent in landed])
            crashpoint("published")
        return [
            (
                claims[intent.path_id],
                Receipt(claims[intent.path_id].path, intent.size, intent.sha256, parsed(intent.final)),
            )
            for intent in landed
        ]

    def keep(self, claim: Claim, relative: bytes) -> None:
        """End a claim whose place is taken: nothing is published or announced, its source is left alone."""
        final = printable(self.place_of(relative))
        intent = Intent(claim.path_id, claim.version_id, claim.fence, "", final, claim.size or 0, "")
        if self._ledger.publishing.intend([intent]):
            kept = replace(self._fact(intent), bytes=0, then=None, finished=True)
            self._ledger.publishing.published([kept])

    def _finish(
        self, line: Connection, intents: Sequence[Intent], *, tried: Collection[int]
    ) -> Iterator[tuple[Intent, bool | Refused]]:
        """Rename, and send the markers, one by one as it is known how it went.

        False: the temp is not what the intent says, or not there. tried: the versions that an earlier attempt
        may have done, its reply being lost.
        """
        asked = [intent for intent in intents if intent.version_id in tried]
        found = asked_again(line, [Wanted(_temp(intent), intent.size, None, 1.0) for intent in asked])
        torn = [
            intent
            for intent, there in zip(asked, found, strict=True)
            if there is not None and there.size not in (None, intent.size)
        ]
        for intent in torn:
            yield intent, False
        sound = [intent for intent in intents if intent not in torn]
        markers = [self._marker(parsed(intent.final)) for intent in sound]
        line.delete_all([marker for marker in markers if marker is not None])
        outcomes = give_names(
            line,
            [(_temp(intent), parsed(intent.final)) for intent in sound],
            tried={_temp(intent) for intent in asked},
            replaces=self._route.on_exists == "replace",
        )
        for intent, marker, outcome in zip(sound, markers, outcomes, strict=True):
            done = outcome
            if done is True and marker is not None:
                crashpoint("renamed")
                try:
                    line.store(marker, [], size=0)
                except Refused as refusal:
                    if lacks_room(refusal):
                        # The file has its name: the intent stays open, and only the marker is sent again.
                        raise no_room(self._route, marker, refusal) from refusal
                    done = refusal
            yield intent, done

    def _marker(self, final: bytes) -> bytes | None:
        folder, _, name = final.rpartition(b"/")
        marker = self._rules.marker(name)
        return None if marker is None else folder + b"/" + marker

    def _intent(self, one: Sent, final: bytes) -> Intent:
        claim, file = one.claim, one.file
        return Intent(
            claim.path_id,
            claim.version_id,
            claim.fence,
            one.temp,
            printable(final),
            file.size,
            file.sha256,
            file.stat.modified,
            file.stat.precision_s,
        )

    def _fact(self, intent: Intent) -> Published:
        return Published(intent, intent.size, intent.sha256, intent.final, self._then, self._finished)


def sweep(route: Route, session: Session, ledger: Ledger, tally: Tally) -> None:
    """Remove the temps at the partner that nobody will go on with. Raises what `Session.run` raises.

    By their names and not by a listing: others may send to that folder, and have temps of their own there.
    """
    while orphans := ledger.claims.orphans(route.name, route.target):

        def remove(line: Connection, orphans: Sequence[Orphan] = orphans) -> None:
            for orphan in orphans:
                for temp in _temps_of(route, orphan):
                    _may_fail(line.delete, temp)

        session.run(remove, name="sweep", tally=tally)
        ledger.claims.orphans_gone(orphans)


def _temps_of(route: Route, orphan: Orphan) -> list[bytes]:
    """Where its temps may lie at the partner; none where the file came from another source folder."""
    try:
        place = joined(route.remote, below(route.source, orphan.path))
    except NameRefused:
        log.warning(
            "%s: what was sent of %s stays at the partner: it came from another folder",
            route.name,
            printable(orphan.path),
            extra={"action": "push.temp_left"},
        )
        return []
    return [beside(place, temp) for temp in orphan.temps]


def _temp(intent: Intent) -> bytes:
    return beside(parsed(intent.final), intent.temp)


def beside(path: bytes, name: str) -> bytes:
    """The path of a name in the folder of another path."""
    return path.rpartition(b"/")[0] + b"/" + name.encode()


def give_names(
    line: Connection, places: Sequence[tuple[bytes, bytes]], *, tried: Collection[bytes], replaces: bool
) -> Iterator[bool | Refused]:
    """Give each temp its final name; in their order True, or what the server has against it, or False where
    there is no temp, and no earlier attempt can have renamed it.

    tried: the temps that an earlier attempt may have renamed, its reply being lost. replaces: whatever lies
    there.
    """
    refused = line.rename_all(places)
    there = there_now(
        line, [temp for (temp, _), why_not in zip(places, refused, strict=True) if why_not is not None]
    )
    for (temp, final), why_not in zip(places, refused, strict=True):
        if why_not is None:
            yield True
        elif temp not in there and (why_not.verb == "RNFR" or temp in tried):
            # Also behind RNTO: the server may have been busy yet with what the lost line had sent.
            yield temp in tried
        elif temp in there and why_not.verb == "RNTO" and replaces and there_now(line, [final]):
            yield _replace(line, temp, final)
        else:
            yield why_not


def _replace(line: Connection, temp: bytes, final: bytes) -> bool | Refused:
    """Where a server (IIS, for one) renames onto no file that is there.

    Between the two commands the partner sees neither; a crash there leaves the temp (and an intent open).
    """
    try:
        line.delete(final)
        line.rename(temp, final)
    except Refused as refusal:
        return refusal
    return True


def there_now(line: Connection, paths: Sequence[bytes]) -> Collection[bytes]:
    """Those of the paths under which something lies."""
    found = asked_again(line, [Wanted(path, None, None, 1.0) for path in paths])
    return {path for path, stat in zip(paths, found, strict=True) if stat is not None}


def _may_fail(step: Callable[..., None], *paths: bytes) -> bool:
    """Whether a step was done; a server that refuses it (nothing lies there, mostly) is no failure."""
    try:
        step(*paths)
    except Refused:
        return False
    return True
