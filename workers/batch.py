"""What a batch works with, in either direction: whom it asks, and whether it may go on."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from workers.ledger.values import Claim
from workers.names import printable
from workers.receiving import Receipt
from workers.stores.store import GROUP_BYTES

if TYPE_CHECKING:
    from workers.ledger import Ledger
    from workers.session import Session, Tally
    from workers.settings import Route
    from workers.stopping import StopFlag

log = logging.getLogger("towline.transfer")

# A group shares the question whether its files are still the same, the folder's fsync and the ledger's
# two transactions. Larger ones save little more, and would keep what has arrived waiting.
GROUP_FILES = 64
GROUP_SECONDS = 2.0

MOST_IN_A_ROW = 2
"""After so many files in a row that broke lines or were refused for no fault of a file, it isn't them."""


class Stopped(Exception):
    """The grace of an orderly stop is over."""


class ClaimLost(Exception):
    """The claim is no longer ours; somebody else has this file."""


@dataclass(frozen=True, slots=True)
class Work:
    """The route, its line and its ledger, and who may end it.

    stop: begun, no other file is begun; its grace over, the file in hand is left between two blocks. holds:
    whether the claim of a path id is still ours.
    """

    route: Route
    session: Session
    ledger: Ledger
    tally: Tally
    stop: StopFlag
    holds: Callable[[int], bool]

    def go_on(self, claim: Claim) -> None:
        """Asked between two blocks of a file. Raises Stopped, ClaimLost."""
        if self.stop.grace_over:
            raise Stopped
        if not self.holds(claim.path_id):
            # Said here and not by the janitor, to whom a claim that the batch has ended looks the same.
            log.warning(
                "%s: its lease is lost; left to whoever has it",
                printable(claim.path),
                extra={"action": "lease.lost"},
            )
            raise ClaimLost


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


class Doubt:
    """Was it the file? A server with closed data ports must not use up the attempts of all."""

    def __init__(self) -> None:
        self._in_a_row = 0

    def over(self) -> None:
        """A file came through, or failed of what is certainly its own."""
        self._in_a_row = 0

    def raised(self, failure: Exception) -> None:
        """A file failed of something that may be the server's; raises it where one after the other does."""
        self._in_a_row += 1
        if self._in_a_row >= MOST_IN_A_ROW:
            raise failure


def is_full(sizes: list[int], began: float, most_bytes: int = GROUP_BYTES) -> bool:
    """Whether a group of files of these sizes, begun then (monotonic), is to be published now."""
    return bool(sizes) and (
        len(sizes) >= GROUP_FILES or sum(sizes) >= most_bytes or time.monotonic() - began >= GROUP_SECONDS
    )
