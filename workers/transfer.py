"""One batch of a route: take over what was left, receive, ask again, publish in groups. No Celery.

A file's own faults (it can't be read, it breaks the line each time, its name is refused) are counted against
it, and the batch goes on. Faults of the endpoint or of the place stop the batch; what was not published is
given back uncounted, and the bytes that came stay in their temps for the next claim.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace
from typing import TYPE_CHECKING

from workers.batch import ClaimLost, Doubt, Outcome, Stopped, Work, is_full
from workers.confirming import HashDiffers, confirm
from workers.crashpoints import crashpoint
from workers.endings import Endings
from workers.errors import OperationFailed, TowlineError
from workers.ftps.errors import BadName, Missing, Refused
from workers.ledger.values import Claim
from workers.publishing import Landing, Publisher, Received
from workers.receiving import Changed, Receipt, Wanted, asked_again, is_still, receive
from workers.stores.naming import NameRefused, below
from workers.stores.store import TempGone
from workers.stores.temp import TooLarge

if TYPE_CHECKING:
    from workers.stores.store import Store

__all__ = ["Receipt", "fetch_batch"]

log = logging.getLogger("towline.transfer")

# Replies to RETR that are about the file (RFC 959 §4.2.2; 501 is said of its name). Others, such as 522 and
# 530, may be about the account or the server.
_OF_THE_FILE = frozenset({450, 452, 501, 550, 551, 553})


def fetch_batch(work: Work, store: Store, claims: Sequence[Claim], outcome: Outcome) -> None:
    """Bring these claimed files in and publish them; every claim is ended when this returns or raises.

    outcome: what is added to, so that a caller knows what was done before something was raised. Raises
    ReconnectFailed, LoginRefused, CertificateRefused, EndpointClosed, StoreRefused, and OperationFailed or
    Refused where one file after the other dies of it.
    """
    batch = _Batch(work, store, Endings(work.route, work.ledger, claims, outcome))
    try:
        batch.run()
    except Stopped:
        log.info("%s: stopped in mid-file", work.route.name, extra={"action": "fetch.stopped"})
    finally:
        batch.close()


class _Batch:
    """The claims in hand, the group being gathered, and the one before it on its way to its final names.

    While a group is published, in a thread of its own, the line already brings the next one: neither waits
    for the other. All else, the claims' ends among it, is left to the batch's own thread.
    """

    def __init__(self, work: Work, store: Store, ends: Endings) -> None:
        self._work = work
        self._route = work.route
        self._session = work.session
        self._ledger = work.ledger
        self._store = store
        self._ends = ends
        self._publisher = Publisher(work.route, store, work.ledger)
        self._doubt = Doubt()
        self._group: list[Received] = []
        self._group_began = 0.0
        self._behind = ThreadPoolExecutor(1, "towline-publish")
        self._under_way: Future[Landing] | None = None

    def run(self) -> None:
        """The story: take over, then receive file by file and publish group by group."""
        crashpoint("claimed")
        due = self._take_over()
        for number, (claim, relative) in enumerate(due, 1):
            if self._work.stop.begun:
                break
            self._fetch(claim, relative, followed=number < len(due))
            if self._under_way is not None and self._under_way.done():
                self._land()  # its failure ends the batch before more is received
            sizes = [one.temp.size for one in self._group]
            if is_full(sizes, self._group_began, self._store.group_bytes):
                self._publish()
        self._publish()
        self._land()

    def close(self) -> None:
        """Give back, uncounted, whatever has not come to its end; its temps stay."""
        try:
            self._land()  # what is half published comes to its end first
        except TowlineError as failure:
            # We are leaving for another reason, which is raised; this group's intents are open.
            log.warning(
                "%s: a group was not published: %s",
                self._route.name,
                failure,
                extra={"action": "publish.failed"},
            )
        finally:
            self._behind.shutdown()
            for one in self._group:
                one.temp.close()
            self._ends.give_back()

    # -- what others left

    def _take_over(self) -> list[tuple[Claim, bytes]]:
        """Settle open intents, bring temps under the claims' fences; returns what is left to be fetched."""
        due: list[tuple[Claim, bytes]] = []
        for claim in list(self._ends.open.values()):
            try:
                relative = below(self._route.remote, claim.path)
                if claim.intent is not None:
                    receipt = self._publisher.settle(claim, claim.intent)
                    if receipt is not None:
                        self._ends.published(claim, receipt)
                        continue
                self._publisher.take_over(claim, relative)
            except NameRefused as refusal:
                self._ends.failed(claim, str(refusal))
            else:
                due.append((claim, relative))
        self._ledger.claims.took_over([claim for claim, _ in due])
        crashpoint("took-over")
        return due

    # -- one file

    def _fetch(self, claim: Claim, relative: bytes, *, followed: bool) -> None:
        if not self._work.holds(claim.path_id):
            return
        self._ends.begin(claim)
        try:
            if self._publisher.would_be_kept(relative):
                self._kept(claim, relative)
                return
            temp = self._store.open_temp(relative, self._publisher.temp_of(claim), resume=True)
            crashpoint("temp-made")
        except NameRefused as refusal:
            self._ends.failed(claim, str(refusal))
            return
        except TempGone:
            return  # somebody with a higher fence has this file
        try:
            receive(
                self._session,
                _wanted(claim),
                temp,
                tally=self._work.tally,
                go_on=lambda: self._work.go_on(claim),
                followed=followed,
            )
            if self._route.verify == "hash":
                confirm(self._session, _wanted(claim), temp, tally=self._work.tally)
        except Changed:
            temp.discard()
            self._ends.changed(claim)
        except Missing:
            temp.discard()
            self._ends.vanished(claim)
        except ClaimLost:
            temp.close()
        except (HashDiffers, TooLarge) as failure:
            temp.discard()
            self._ends.failed(claim, str(failure))
        except (Refused, BadName, OperationFailed) as failure:
            temp.close()
            self._failed(claim, failure)
        except BaseException:
            temp.close()
            raise
        else:
            self._doubt.over()
            if not self._group:
                self._group_began = time.monotonic()
            self._group.append(Received(claim, relative, temp, claim.modified, claim.precision_s))

    def _failed(self, claim: Claim, failure: Exception) -> None:
        """It could not be read. Where that may be the server's fault, the batch does not go on for ever."""
        self._ends.failed(claim, str(failure))
        if isinstance(failure, BadName) or (isinstance(failure, Refused) and failure.code in _OF_THE_FILE):
            self._doubt.over()
        else:
            self._doubt.raised(failure)

    def _kept(self, claim: Claim, relative: bytes) -> None:
        self._publisher.keep(claim, relative)
        self._ends.kept(claim)

    # -- a group

    def _publish(self) -> None:
        """Ask again about each file of the group, and begin to publish those that are what was wanted."""
        if not self._group:
            return
        self._land()
        wanted = [_wanted(one.claim) for one in self._group]
        stats = self._session.run(lambda line: asked_again(line, wanted), name="stat", tally=self._work.tally)
        crashpoint("asked-again")
        group, self._group = self._group, []
        unchanged: list[Received] = []
        for one, was, now in zip(group, wanted, stats, strict=True):
            if now is None:
                one.temp.discard()
                self._ends.vanished(one.claim)
            elif not is_still(was, now) or (now.size is not None and now.size != one.temp.size):
                one.temp.discard()
                self._ends.changed(one.claim)
            else:
                # LIST tells minutes or days, MDTM seconds.
                exact = now.modified is not None and now.precision_s <= was.precision_s
                if exact:
                    one = replace(one, modified=now.modified, precision_s=now.precision_s)
                unchanged.append(one)
        self._under_way = self._behind.submit(self._publisher.publish, unchanged)

    def _land(self) -> None:
        """Wait for the group that is on its way, and end its claims. Raises what `Publisher.publish` does."""
        if self._under_way is None:
            return
        under_way, self._under_way = self._under_way, None
        landing = under_way.result()
        for claim, receipt in landing.published:
            self._ends.published(claim, receipt)
        for claim, relative in landing.kept:
            self._kept(claim, relative)
        for claim, refusal in landing.refused:
            self._ends.failed(claim, str(refusal))
        self._session.progress()


def _wanted(claim: Claim) -> Wanted:
    return Wanted(claim.path, claim.size, claim.modified, claim.precision_s, claim.unique)
