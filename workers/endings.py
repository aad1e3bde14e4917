"""How the claims of a batch end: each told to the ledger, counted in the outcome, once."""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING

from workers.ledger.values import Claim
from workers.names import printable

if TYPE_CHECKING:
    from workers.batch import Outcome
    from workers.ledger import Ledger
    from workers.receiving import Receipt
    from workers.settings import Route

log = logging.getLogger("towline.transfer")


class Endings:
    """The claims that are still open, and what has become of the others."""

    def __init__(self, route: Route, ledger: Ledger, claims: Sequence[Claim], outcome: Outcome) -> None:
        self.open = {claim.path_id: claim for claim in claims}
        self.outcome = outcome
        self._route = route
        self._ledger = ledger
        self._began: dict[int, float] = {}

    def begin(self, claim: Claim) -> None:
        """This file is in hand now: should the process die, it is the one that is tried alone."""
        self._ledger.claims.begin(claim)
        self._began[claim.path_id] = time.monotonic()

    def give_back(self) -> None:
        """End, uncounted, whatever has not come to its end."""
        if self.open:
            self._ledger.claims.give_back(list(self.open.values()))

    def published(self, claim: Claim, receipt: Receipt) -> None:
        """The ledger knows it already: it has been told for the whole group."""
        self.outcome.published += 1
        self.outcome.bytes += receipt.bytes
        self.outcome.files.append(receipt)
        self._ended(claim, "published")

    def kept(self, claim: Claim) -> None:
        """Its place was taken, and the ledger knows it."""
        self.outcome.kept += 1
        self._ended(claim, "kept")

    def vanished(self, claim: Claim) -> None:
        """There is no such file any more."""
        self._ledger.claims.vanished(claim)
        self.outcome.vanished += 1
        self._ended(claim, "vanished")

    def changed(self, claim: Claim) -> None:
        """It is another version by now."""
        self._ledger.claims.changed(claim)
        self.outcome.changed += 1
        self._ended(claim, "changed")

    def failed(self, claim: Claim, error: str, *, counted: bool = True) -> None:
        """It could not be moved; counted: of its own fault, which is an attempt."""
        self._ledger.claims.failed(claim, error, counted=counted, max_attempts=self._route.max_attempts)
        self.outcome.failed += 1
        self._ended(claim, "failed")
        if self.outcome.first_error is None:
            self.outcome.first_error = f"{printable(claim.path)}: {error}"
        log.warning("%s: %s", printable(claim.path), error, extra={"action": "file.failed"})

    def _ended(self, claim: Claim, what: str) -> None:
        del self.open[claim.path_id]
        now = time.monotonic()
        self.outcome.took.append((what, now - self._began.get(claim.path_id, now)))
