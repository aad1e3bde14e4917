"""A session's right to hold a line: one of the endpoint's `max_sessions`, or simply its entry in the ledger.

The order is permit, line, claims. Who gets no permit within seconds ends its task, and has nothing to hand
back. The permit is freed after the line is closed, never before.
"""

from __future__ import annotations

import time
from collections.abc import Callable

from workers.errors import EndpointBusy
from workers.ledger import Ledger, LineFacts
from workers.settings import Endpoint

PATIENCE_S = 5.0
"""So long a task waits for a permit. An idle holder gives its line up within one; a busy one may take as long
as a batch, and a process that waits does nothing else."""

LOOK_S = 0.1
"""Between two looks whether it is our turn."""


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
    def limited(self) -> bool:
        """Whether the endpoint has a limit; otherwise the row only tells."""
        return self._most is not None

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

        A holder that could not renew it stops before its lease ends, not after.
        """
        if not self.limited:
            return False
        return not self._held or time.monotonic() - self._fresh_at > self._lease_s * 0.8

    def take(self) -> None:
        """Have a permit, where one is needed. Raises EndpointBusy when none came free in time."""
        if self._most is None or not self.needed:
            return
        self._held = False
        began = asked_at = time.monotonic()
        try:
            while not self._book.take(self._name, self._most, lease_s=self._lease_s, wait_s=PATIENCE_S + 1):
                while not self._book.is_our_turn(self._name, self._most):
                    if time.monotonic() - began > PATIENCE_S:
                        raise EndpointBusy(self._name, self._most, round(time.monotonic() - began, 1))
                    time.sleep(LOOK_S)
                asked_at = time.monotonic()
        except BaseException:
            self._book.leave(self._name)  # a place in the queue that nobody uses would hold up the others
            raise
        self._held, self._fresh_at = True, asked_at
        self._holding()

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
        return self.limited and self._held and self._book.is_wanted(self._name)

    def free(self) -> None:
        """Nothing is held any more."""
        if self._held:
            self._held = False
            self._book.leave(self._name)
