"""What lies in temps → published files: take-over, open intents, and the way of a group to its final names.

The order makes a crash harmless at every step. Temps and their names are durable before the intent is
committed, for the whole group; so after a crash "temp there" means that the rename is still due, and "temp
gone" that it was done, even where a consumer has moved the file on meanwhile. Only then come the renames, the
folders' fsync, and the ledger's PUBLISHED with its outbox record.

Without fsyncs (`durability = "rename"`) a power cut may take temp and file alike; there, a file that is
nowhere is fetched again.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from workers.crashpoints import crashpoint
from workers.errors import StoreRefused
from workers.ledger.values import Claim, FollowOn, Intent, Published, temp_name
from workers.names import parsed, printable
from workers.receiving import Receipt
from workers.stores.naming import NameRefused
from workers.stores.store import Occupied, ReceivingTemp, Store, TempGone

if TYPE_CHECKING:
    from workers.ledger import Ledger
    from workers.settings import Route

log = logging.getLogger("towline.transfer")

_DAY = 86400.0


@dataclass(frozen=True, slots=True)
class Received:
    """A file whose bytes are all in its temp, still open.

    relative: its path below the route's folder. modified, precision_s: its time, as exactly as the server
    has told it.
    """

    claim: Claim
    relative: bytes
    temp: ReceivingTemp
    modified: float | None
    precision_s: float


@dataclass(slots=True)
class Landing:
    """What became of a group. Claims that are in none of these lists still are whatever they were."""

    published: list[tuple[Claim, Receipt]] = field(default_factory=list)
    kept: list[tuple[Claim, bytes]] = field(default_factory=list)
    refused: list[tuple[Claim, NameRefused]] = field(default_factory=list)


class Publisher:
    """Brings the files of one route to their final names, and settles what earlier workers left half done."""

    def __init__(self, route: Route, store: Store, ledger: Ledger) -> None:
        self._store = store
        self._ledger = ledger
        self._on_exists = route.on_exists
        # FINISHED at once: were `after` changed to "delete" one day, what was published before must not go.
        self._finished = route.after == "keep"
        self._then = FollowOn(route.then.task, route.then.queue) if route.then is not None else None

    def temp_of(self, claim: Claim) -> str:
        """The name of this claim's temp."""
        return temp_name(self._ledger.id, claim.path_id, claim.version_id, claim.fence)

    def would_be_kept(self, relative: bytes) -> bool:
        """Whether a file stands in this one's place and is to stay: then nothing need be fetched."""
        return self._on_exists == "keep" and self._store.choose(relative, "keep") is None

    # -- what others left

    def take_over(self, claim: Claim, relative: bytes) -> None:
        """Bring what lower fences left for this path under this claim's fence, or remove it.

        A temp of the same version is continued. Then a frozen worker that thaws finds nothing to rename.
        """
        if claim.temp_fence is None:
            return
        adopted = False
        for fence in range(claim.fence - 1, claim.temp_fence - 1, -1):
            left = temp_name(self._ledger.id, claim.path_id, claim.version_id, fence)
            if adopted:
                self._store.remove_temp(relative, left)
            elif self._store.adopt(relative, left, self.temp_of(claim)):
                adopted = True
                crashpoint("adopted")
            for version in claim.older_versions:
                self._store.remove_temp(relative, temp_name(self._ledger.id, claim.path_id, version, fence))

    def settle(self, claim: Claim, intent: Intent) -> Receipt | None:
        """Find out how far the worker came that committed this intent, and finish its work.

        None: the intent was taken back, and the file has to be fetched (what is in the temp counts).
        """
        final = self._store.relative_of(parsed(intent.final))
        temp = self._store.temp_facts(final, intent.temp) if intent.temp else None
        crashpoint("settling")
        if not intent.temp:
            landed = False  # it was about to be kept
        elif temp is not None:
            landed = temp == (intent.size, intent.sha256) and self._finish(final, intent)
        elif (marked := self._store.bears(final, intent.temp)) is not None:
            landed = marked
        elif self._store.durable:
            self._must_be_the_same_folder(claim, final)
            landed = True
        else:
            landed = self._store.size_of(final) == intent.size
        if not landed:
            self._ledger.publishing.abandon(claim)
            return None
        crashpoint("settle-renamed")
        self._store.sync_folders([final])
        self._ledger.publishing.published([self._fact(intent)])
        crashpoint("settled")
        log.info(
            "%s: an interrupted publish was finished",
            printable(claim.path),
            extra={"action": "publish.settled"},
        )
        return Receipt(claim.path, intent.size, intent.sha256, parsed(intent.final))

    def _finish(self, final: bytes, intent: Intent) -> bool:
        """The rename that was due; False when its place has been taken.

        Where the temp is gone since we looked, somebody with a higher fence has done it, and told the ledger.
        """
        try:
            self._store.publish(final, intent.temp, replace=self._on_exists == "replace")
        except Occupied:
            return False
        except TempGone:
            pass
        return True

    def _must_be_the_same_folder(self, claim: Claim, final: bytes) -> None:
        """A temp that is gone has changed its folder; a mount point whose disk is missing has not changed.

        Raises StoreRefused when the folder has been as it is since a day before the file came to be. A
        server whose clock is ahead of ours tells nothing by it.
        """
        changed_at = self._store.folder_changed_at(final)
        came_at = claim.modified if claim.modified is not None else 0.0
        if changed_at is None or changed_at + _DAY < came_at <= self._ledger.now():
            raise StoreRefused(
                self._store.route,
                str(self._store.root),
                "a file under way is missing here: is the disk mounted?",
            )

    # -- the way of a group

    def publish(self, group: Sequence[Received]) -> Landing:
        """Publish files that were received and asked about again. Closes their temps.

        Raises StoreRefused: what was not published by then keeps its temp, or its open intent.
        """
        landing = Landing()
        try:
            chosen = self._choose(group, landing)
            if not chosen:
                return landing
            self._store.sync([one.temp for one, _ in chosen], [one.modified for one, _ in chosen])
            crashpoint("synced")
            self._store.sync_folders([one.relative for one, _ in chosen])
            crashpoint("names-synced")
            by_path = {one.claim.path_id: one for one, _ in chosen}
            intents = self._ledger.publishing.intend([self._intent(one, final) for one, final in chosen])
            crashpoint("intended")
            renamed: list[Intent] = []
            while intents:
                taken = self._rename(intents, by_path, landing, renamed)
                # Their names came to be used since they were chosen: other intents, which ask for the fence.
                again = [self._intent(one, final) for one, final in self._choose(taken, landing)]
                intents = self._ledger.publishing.intend(again) if again else []
            self._store.sync_folders([self._final(intent) for intent in renamed])
            crashpoint("folder-synced")
            self._ledger.publishing.published([self._fact(intent) for intent in renamed])
            crashpoint("published")
        finally:
            for one in group:
                one.temp.close()
        for intent in renamed:
            claim = by_path[intent.path_id].claim
            landing.published.append(
                (claim, Receipt(claim.path, intent.size, intent.sha256, parsed(intent.final)))
            )
        return landing

    def _choose(self, group: Sequence[Received], landing: Landing) -> list[tuple[Received, bytes]]:
        """Each file's final name; those that have none are kept, or refused."""
        chosen: list[tuple[Received, bytes]] = []
        for one in group:
            try:
                final = self._store.choose(one.relative, self._on_exists)
            except NameRefused as refusal:
                landing.refused.append((one.claim, refusal))
                continue
            if final is None:
                one.temp.discard()
                landing.kept.append((one.claim, one.relative))
            else:
                chosen.append((one, final))
        return chosen

    def _rename(
        self, intents: Sequence[Intent], by_path: dict[int, Received], landing: Landing, renamed: list[Intent]
    ) -> list[Received]:
        """Give files their intents' names, adding to `renamed`; returns those whose name is taken meanwhile.

        Raises StoreRefused: those that were renamed by then keep their open intents.
        """
        taken: list[Received] = []
        for intent, why_not in self._side_by_side(intents):
            if why_not is None:
                renamed.append(intent)
                crashpoint("renamed")
                continue
            # TempGone: somebody with a higher fence has taken it over; if not, it is ours to fetch again.
            one = by_path[intent.path_id]
            self._ledger.publishing.abandon(one.claim)
            if isinstance(why_not, NameRefused):
                landing.refused.append((one.claim, why_not))
            elif isinstance(why_not, Occupied):
                taken.append(one)
        return taken

    def _side_by_side(
        self, intents: Sequence[Intent]
    ) -> Iterator[tuple[Intent, TempGone | NameRefused | Occupied | None]]:
        """Each with what kept it from getting its name, or None; several at once where the store is far."""
        if self._store.side_by_side == 1:
            yield from zip(intents, map(self._give_name, intents), strict=True)
            return
        pool = ThreadPoolExecutor(self._store.side_by_side, "towline-publish")
        try:
            yield from zip(intents, pool.map(self._give_name, intents), strict=True)
        finally:
            # After a failure what has been asked for is waited for, and nothing more is asked.
            pool.shutdown(cancel_futures=True)

    def _give_name(self, intent: Intent) -> TempGone | NameRefused | Occupied | None:
        try:
            self._store.publish(self._final(intent), intent.temp, replace=self._on_exists == "replace")
        except (TempGone, NameRefused, Occupied) as why_not:
            return why_not
        return None

    def keep(self, claim: Claim, relative: bytes) -> None:
        """End a claim whose place is taken: nothing is published or announced, its source is left alone."""
        size = self._store.size_of(relative) or 0
        intent = Intent(claim.path_id, claim.version_id, claim.fence, "", self._located(relative), size, "")
        if self._ledger.publishing.intend([intent]):
            self._ledger.publishing.published(
                [replace(self._fact(intent), bytes=0, then=None, finished=True)]
            )

    def _intent(self, one: Received, final: bytes) -> Intent:
        claim, temp = one.claim, one.temp
        return Intent(
            claim.path_id,
            claim.version_id,
            claim.fence,
            self.temp_of(claim),
            self._located(final),
            temp.size,
            temp.sha256,
            one.modified,
            one.precision_s,
        )

    def _fact(self, intent: Intent) -> Published:
        return Published(intent, intent.size, intent.sha256, intent.final, self._then, self._finished)

    def _located(self, relative: bytes) -> str:
        return printable(self._store.located(relative))

    def _final(self, intent: Intent) -> bytes:
        return self._store.relative_of(parsed(intent.final))
