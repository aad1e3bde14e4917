"""One batch of a route: take over what was left, receive, ask again, publish in groups. No Celery.

A file's own faults (it can't be read, it breaks the line each time, its name is refused) are counted against
it, and the batch goes on. Faults of the endpoint or of the place stop the batch; what was not published is
given back uncounted, and the bytes that came stay in their temps for the next claim.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from workers.confirming import HashDiffers, confirm
from workers.crashpoints import crashpoint
from workers.errors import OperationFailed
from workers.ftps.errors import BadName, Missing, Refused
from workers.ledger.values import Claim
from workers.names import printable
from workers.publishing import Publisher, Received
from workers.receiving import Changed, Receipt, Wanted, asked_again, download, is_still, receive
from workers.stores.naming import NameRefused, below

if TYPE_CHECKING:
    from workers.ledger import Ledger
    from workers.session import Session, Tally
    from workers.settings import Route
    from workers.stopping import StopFlag
    from workers.stores.local import LocalFolder

__all__ = ["Outcome", "Receipt", "download", "fetch_batch"]

log = logging.getLogger("towline.transfer")

# A group shares the question whether its files are still the same, the folder's fsync and the ledger's
# two transactions. Larger ones save little more, and would keep what has arrived waiting.
GROUP_FILES = 64
GROUP_BYTES = 64 * 2**20
GROUP_SECONDS = 2.0

MOST_IN_A_ROW = 2
"""After so many files in a row that broke lines or were refused for no fault of a file, it isn't them."""

# Replies to RETR that are about the file (RFC 959 §4.2.2; 501 is said of its name). Others, such as 522 and
# 530, may be about the account or the server.
_OF_THE_FILE = frozenset({450, 452, 501, 550, 551, 553})


class _Stopped(Exception):
    """The grace of an orderly stop is over."""


class _ClaimLost(Exception):
    """The claim is no longer ours; somebody else fetches this file."""


@dataclass(slots=True)
class Outcome:
    """What a batch did: counts of files, the bytes published, and a receipt for each published file."""

    published: int = 0
    bytes: int = 0
    already: int = 0
    vanished: int = 0
    changed: int = 0
    kept: int = 0
    failed: int = 0
    first_error: str | None = None
    files: list[Receipt] = field(default_factory=list)
    took: list[tuple[str, float]] = field(default_factory=list)
    """What became of each file, and the seconds since it was begun."""


def fetch_batch(
    route: Route,
    session: Session,
    ledger: Ledger,
    store: LocalFolder,
    claims: Sequence[Claim],
    *,
    tally: Tally,
    stop: StopFlag,
    holds: Callable[[int], bool] = lambda _: True,
    outcome: Outcome | None = None,
) -> Outcome:
    """Bring these claimed files in and publish them; every claim is ended when this returns or raises.

    stop: begun, no other file is begun; its grace over, the file in hand is left between two blocks. holds:
    whether the claim of a path id is still ours. outcome: what is added to, so that a caller knows what was
    done before something was raised. Raises ReconnectFailed, LoginRefused, CertificateRefused,
    EndpointClosed, StoreRefused, and OperationFailed or Refused where one file after the other dies of it.
    """
    batch = _Batch(
        route, session, ledger, store, claims, tally, stop, holds, Outcome() if outcome is None else outcome
    )
    try:
        batch.run()
    except _Stopped:
        log.info("%s: stopped in mid-file", route.name, extra={"action": "fetch.stopped"})
    finally:
        batch.close()
    return batch.outcome


class _Batch:
    """The claims in hand, the group being gathered, and what has become of the others."""

    def __init__(
        self,
        route: Route,
        session: Session,
        ledger: Ledger,
        store: LocalFolder,
        claims: Sequence[Claim],
        tally: Tally,
        stop: StopFlag,
        holds: Callable[[int], bool],
        outcome: Outcome,
    ) -> None:
        self.outcome = outcome
        self._route = route
        self._session = session
        self._ledger = ledger
        self._store = store
        self._tally = tally
        self._stop = stop
        self._holds = holds
        self._publisher = Publisher(route, store, ledger)
        self._open = {claim.path_id: claim for claim in claims}
        self._began: dict[int, float] = {}
        self._group: list[Received] = []
        self._group_began = 0.0
        self._doubtful = 0

    def run(self) -> None:
        """The story: take over, then receive file by file and publish group by group."""
        crashpoint("claimed")
        for claim, relative in self._take_over():
            if self._stop.begun:
                break
            self._fetch(claim, relative)
            if self._group_is_full():
                self._publish()
        self._publish()

    def close(self) -> None:
        """Give back, uncounted, whatever has not come to its end; its temps stay."""
        for one in self._group:
            one.temp.close()
        if self._open:
            self._ledger.claims.give_back(list(self._open.values()))

    # -- what others left

    def _take_over(self) -> list[tuple[Claim, bytes]]:
        """Settle open intents, bring temps under the claims' fences; returns what is left to be fetched."""
        due: list[tuple[Claim, bytes]] = []
        for claim in list(self._open.values()):
            try:
                relative = below(self._route.remote, claim.path)
                if claim.intent is not None:
                    receipt = self._publisher.settle(claim, claim.intent)
                    if receipt is not None:
                        self._published(claim, receipt)
                        continue
                self._publisher.take_over(claim, relative)
            except NameRefused as refusal:
                self._failed(claim, str(refusal))
            else:
                due.append((claim, relative))
        self._ledger.claims.took_over([claim for claim, _ in due])
        crashpoint("took-over")
        return due

    # -- one file

    def _fetch(self, claim: Claim, relative: bytes) -> None:
        if not self._holds(claim.path_id):
            return
        self._ledger.claims.begin(claim)
        self._began[claim.path_id] = time.monotonic()
        try:
            if self._publisher.would_be_kept(relative):
                self._kept(claim, relative)
                return
            temp = self._store.open_temp(relative, self._publisher.temp_of(claim), resume=True)
            crashpoint("temp-made")
        except NameRefused as refusal:
            self._failed(claim, str(refusal))
            return
        try:
            receive(self._session, _wanted(claim), temp, tally=self._tally, go_on=lambda: self._go_on(claim))
            if self._route.verify == "hash":
                confirm(self._session, _wanted(claim), temp, tally=self._tally)
        except Changed:
            temp.discard()
            self._changed(claim)
        except Missing:
            temp.discard()
            self._vanished(claim)
        except _ClaimLost:
            temp.close()
        except HashDiffers as failure:
            temp.discard()
            self._failed(claim, str(failure))
        except (Refused, BadName, OperationFailed) as failure:
            temp.close()
            self._failed(claim, str(failure))
            self._doubt(failure)
        except BaseException:
            temp.close()
            raise
        else:
            self._doubtful = 0
            if not self._group:
                self._group_began = time.monotonic()
            self._group.append(Received(claim, relative, temp, claim.modified, claim.precision_s))

    def _go_on(self, claim: Claim) -> None:
        """Asked between blocks: whether this file may be gone on with."""
        if self._stop.grace_over:
            raise _Stopped
        if not self._holds(claim.path_id):
            raise _ClaimLost

    def _doubt(self, failure: Exception) -> None:
        """Was it the file? A server with closed data ports must not use up the attempts of all."""
        if isinstance(failure, BadName) or (isinstance(failure, Refused) and failure.code in _OF_THE_FILE):
            self._doubtful = 0
            return
        self._doubtful += 1
        if self._doubtful >= MOST_IN_A_ROW:
            raise failure

    # -- a group

    def _group_is_full(self) -> bool:
        return bool(self._group) and (
            len(self._group) >= GROUP_FILES
            or sum(one.temp.size for one in self._group) >= GROUP_BYTES
            or time.monotonic() - self._group_began >= GROUP_SECONDS
        )

    def _publish(self) -> None:
        """Ask again about each file of the group, and publish those that are still what was wanted."""
        if not self._group:
            return
        wanted = [_wanted(one.claim) for one in self._group]
        stats = self._session.run(lambda line: asked_again(line, wanted), name="stat", tally=self._tally)
        crashpoint("asked-again")
        group, self._group = self._group, []
        unchanged: list[Received] = []
        for one, was, now in zip(group, wanted, stats, strict=True):
            if now is None:
                one.temp.discard()
                self._vanished(one.claim)
            elif not is_still(was, now) or (now.size is not None and now.size != one.temp.size):
                one.temp.discard()
                self._changed(one.claim)
            else:
                # LIST tells minutes or days, MDTM seconds.
                exact = now.modified is not None and now.precision_s <= was.precision_s
                if exact:
                    one = replace(one, modified=now.modified, precision_s=now.precision_s)
                unchanged.append(one)
        landing = self._publisher.publish(unchanged)
        for claim, receipt in landing.published:
            self._published(claim, receipt)
        for claim, relative in landing.kept:
            self._kept(claim, relative)
        for claim, refusal in landing.refused:
            self._failed(claim, str(refusal))
        self._session.progress()

    # -- how a claim ends

    def _took(self, claim: Claim, outcome: str) -> None:
        now = time.monotonic()
        self.outcome.took.append((outcome, now - self._began.get(claim.path_id, now)))

    def _published(self, claim: Claim, receipt: Receipt) -> None:
        del self._open[claim.path_id]
        self.outcome.published += 1
        self._took(claim, "published")
        self.outcome.bytes += receipt.bytes
        self.outcome.files.append(receipt)

    def _kept(self, claim: Claim, relative: bytes) -> None:
        self._publisher.keep(claim, relative)
        del self._open[claim.path_id]
        self.outcome.kept += 1
        self._took(claim, "kept")

    def _vanished(self, claim: Claim) -> None:
        self._ledger.claims.vanished(claim)
        del self._open[claim.path_id]
        self.outcome.vanished += 1
        self._took(claim, "vanished")

    def _changed(self, claim: Claim) -> None:
        self._ledger.claims.changed(claim)
        del self._open[claim.path_id]
        self.outcome.changed += 1
        self._took(claim, "changed")

    def _failed(self, claim: Claim, error: str) -> None:
        self._ledger.claims.failed(claim, error, counted=True, max_attempts=self._route.max_attempts)
        del self._open[claim.path_id]
        self.outcome.failed += 1
        self._took(claim, "failed")
        if self.outcome.first_error is None:
            self.outcome.first_error = f"{printable(claim.path)}: {error}"
        log.warning("%s: %s", printable(claim.path), error, extra={"action": "file.failed"})


def _wanted(claim: Claim) -> Wanted:
    return Wanted(claim.path, claim.size, claim.modified, claim.precision_s)
