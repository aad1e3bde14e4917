"""A session's right to hold a line: one of the endpoint's `max_sessions`, or simply its entry in the ledger.

The order is permit, line, claims. Who gets no permit within seconds ends its task, and has nothing to hand
back; its place in the queue is kept for when it comes again. The permit is freed after the line is closed,
never before.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable

from workers.crashpoints import crashpoint
from workers.errors import EndpointBusy
from workers.ledger import Ledger, LineFacts
from workers.settings import Endpoint

log = logging.getLogger("towline.permit")

PATIENCE_S = 5.0
"""So long a task waits while all permits are in use. An idle holder gives its line up within a second; a busy
one may take as long as a batch, and a process that waits does nothing else."""

KEPT_S = 5.0
"""So long a free permit is kept for those before us who are away: they gave up waiting, and come back soon
(tasks/hints.py)."""

PLACE_S = PATIENCE_S + KEPT_S + 10.0
"""So long, from when it asked, others leave its turn to a process; it may have to do something else first."""

LOOK_S = 0.1
"""Between two looks whether it is our turn."""

FULL_S = 300.0
"""So long a server that was full is spared a line more; then the next one asks again."""


class Permit:
    """What one session holds of one endpoint in the ledger. Used under the session's lock."""

    def __init__(
        self, endpoint: Endpoint, ledger: Ledger, *, lease_s: float, holding: Callable[[], None]
    ) -> None:
        """holding: told when there is something to be renewed from now on (the janitor's `wake`)."""
        self._name = endpoint.name
        self._most = endpoint.max_sessions
        self._book = ledger.permits
        self._lease_s = lease_s
        self._holding = holding
        self._held = False
        self._fresh_at = 0.0

    @property
    def held(self) -> bool:
        """Whether there is a row of ours, as far as we know."""
        return self._held

    @property
    def fresh_at(self) -> float:
        """When it was taken or renewed last (monotonic)."""
        return self._fresh_at

    @property
    def needed(self) -> bool:
        """Whether one has to be taken before a line may be used: we have none, or another may have ours.

        A holder that could not renew it stops before its lease ends, not after; nobody takes the row that
        only tells of a line.
        """
        if not self._held or self._most is None:
            return not self._held
        return time.monotonic() - self._fresh_at > self._lease_s * 0.8

    def take(self) -> None:
        """Have a permit, where one is needed. Raises EndpointBusy when none came free in time.

        The place in the queue is kept then, for the next try; `forgo` gives it up. An endpoint without
        `max_sessions` needs none, but while its server is known to be full.
        """
        if not self.needed:
            return
        self._held = False
        began = asked_at = time.monotonic()
        passing = 0
        try:
            while (most := self._book.limit(self._name, self._most)) is not None:
                if self._ask(most, passing):
                    break
                passing = self._await_turn(most, began)
                asked_at = time.monotonic()
            else:
                return
        except EndpointBusy:
            raise
        except BaseException:
            self._book.leave(self._name)  # a place in the queue that nobody uses would hold up the others
            raise
        crashpoint("permit-taken")
        self._held, self._fresh_at = True, asked_at
        self._holding()

    def refused(self) -> None:
        """The server is full: fewer lines for a while, for the whole fleet, and ours is not one of them."""
        room = self._book.refused(self._name, for_s=FULL_S)
        if room is not None:
            told = "%s: the server is full: no more than %d lines for now"
            log.warning(told, self._name, room, extra={"action": "endpoint.full"})
            self.free()

    def _ask(self, most: int, passing: int) -> bool:
        times = {"lease_s": self._lease_s, "wait_s": PLACE_S}
        return self._book.take(self._name, most, passing=passing, **times)

    def _await_turn(self, most: int, began: float) -> int:
        """Returns when it is time to ask again: how many of those before us have let their turn pass.

        A permit that stays free is somebody's who is away, or frozen. Raises EndpointBusy.
        """
        free_since: float | None = None
        while (standing := self._book.standing(self._name, most)) is not None:
            now = time.monotonic()
            if standing.is_next:
                return 0
            if not standing.free:
                free_since = None
                if now - began > PATIENCE_S:
                    raise EndpointBusy(self._name, most, round(now - began, 1))
            else:
                free_since = now if free_since is None else free_since
                # Each a look later than who stands before: among those who are here, the first one passes.
                if now - free_since > KEPT_S + standing.ahead * 2 * LOOK_S:
                    return standing.ahead
            time.sleep(LOOK_S)
        return 0

    def forgo(self) -> None:
        """Leave the queue: what was to be done is done by others, or not at all."""
        if not self._held:
            self._book.leave(self._name)

    def built(self, facts: LineFacts) -> None:
        """A line was built under it."""
        asked_at = time.monotonic()
        self._book.built(self._name, facts, lease_s=self._lease_s)
        self._held, self._fresh_at = True, asked_at
        self._holding()

    def renewed(self, *, ours: bool, asked_at: float) -> None:
        """The janitor has renewed it, or found it gone; no lock, since an operation may run for hours."""
        if self._held and self._fresh_at <= asked_at:  # else it was freed or taken anew meanwhile
            self._held = ours
            self._fresh_at = asked_at

    @property
    def wanted(self) -> bool:
        """Whether somebody waits for one."""
        return self._held and self._book.is_wanted(self._name)

    def free(self) -> None:
        """Nothing is held any more."""
        if self._held:
            self._held = False
            self._book.leave(self._name)
