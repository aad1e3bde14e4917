"""The janitor: one thread a process, which keeps alive what the process holds while it works.

It renews the leases of claims and lines, asks idle lines that have `keepalive` set, and gives up those that
somebody else waits for. It must never be the reason why a process lives on: it is a daemon thread and holds
nothing that an exit would have to give back.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterable

from workers.crashpoints import crashpoint
from workers.errors import LedgerUnavailable
from workers.ledger import Ledger
from workers.session import Session

log = logging.getLogger("towline.janitor")

GIVE_WAY_S = 0.5
"""So often an idle line looks whether somebody waits for one: a server may be full without `max_sessions`."""


class Janitor:
    """Renews this process's leases every third of a lease, and knows which of them are lost."""

    def __init__(self, ledger: Ledger, lease: float, sessions: Callable[[], Iterable[Session]]) -> None:
        self._ledger = ledger
        self._lease = lease
        self._sessions = sessions
        self._wake = threading.Event()
        self._closed = False
        self._held: frozenset[int] = frozenset()
        self._renewed_at = time.monotonic()
        self._due_at = 0.0
        self._lines_wait_until = 0.0
        self._guard = threading.Lock()
        self._thread = threading.Thread(target=self._work, name="towline-janitor", daemon=True)
        self._thread.start()

    def hold(self, path_ids: Iterable[int], *, asked_at: float) -> None:
        """These paths were claimed; asked_at: monotonic, before the ledger was asked for them.

        Not the time of this call: a process may freeze between the ledger's answer and it.
        """
        with self._guard:
            self._held = frozenset(path_ids)
            self._renewed_at = asked_at
            self._due_at = asked_at + self._lease / 3
        self.wake()

    def release(self) -> None:
        """Nothing is held any more."""
        with self._guard:
            self._held = frozenset()

    def holds(self, path_id: int) -> bool:
        """Whether the claim is still ours, as far as this process can know.

        A holder that could not renew stops before its lease ends, not after: another may begin then.
        """
        with self._guard:
            fresh = time.monotonic() - self._renewed_at < self._lease * 0.8
            return fresh and path_id in self._held

    def wake(self) -> None:
        """Look again at what is due: something was added."""
        self._wake.set()

    def close(self) -> None:
        """End the thread; waits for a renewal under way."""
        self._closed = True
        self.wake()
        self._thread.join(timeout=5)

    def _work(self) -> None:
        while not self._closed:
            self._wake.wait(self._pause())
            self._wake.clear()
            if self._closed:
                return
            if self._held and time.monotonic() >= self._due_at:
                self._renew()
            for session in self._sessions():
                if session.endpoint.keepalive is not None:
                    self._keep_alive(session, session.endpoint.keepalive)
            try:
                self._keep_lines()
            except LedgerUnavailable as failure:
                # `Permit.needed` says yes in time, and the line is given up.
                log.warning("lines not renewed: %s", failure, extra={"action": "permit.not_renewed"})
                self._lines_wait_until = time.monotonic() + self._lease / 20

    def _keep_alive(self, session: Session, every: float) -> None:
        try:
            session.keep_alive(every)
        except LedgerUnavailable as failure:
            # What a lost line had taught could not be kept.
            log.warning(
                "%s: not told to the ledger: %s",
                session.endpoint.name,
                failure,
                extra={"action": "line.lost"},
            )

    def _pause(self) -> float | None:
        """Seconds until something is due; None: until somebody wakes us."""
        waits = [session.endpoint.keepalive / 2 for session in self._sessions() if session.endpoint.keepalive]
        if self._held:
            waits.append(max(0.0, self._due_at - time.monotonic()))
        now = time.monotonic()
        for permit in [session.permit for session in self._sessions() if session.permit.held]:
            due_at = max(permit.fresh_at + self._lease / 3, self._lines_wait_until)
            waits += (max(0.0, due_at - now), GIVE_WAY_S)
        return min(waits, default=None)

    def _keep_lines(self) -> None:
        """Renew the rows of the lines held, and give up the idle ones that somebody waits for."""
        asked_at = time.monotonic()
        if asked_at < self._lines_wait_until:
            return
        held = {session.endpoint.name: session for session in self._sessions() if session.permit.held}
        if any(asked_at - session.permit.fresh_at >= self._lease / 3 for session in held.values()):
            told = {name: session.facts() for name, session in held.items()}
            ours = self._ledger.permits.renew(told, lease_s=self._lease)
            for name, session in held.items():
                facts = told[name]
                if name not in ours and facts is not None and session.endpoint.max_sessions is None:
                    session.permit.built(facts)  # we were frozen, and counted as dead: nobody minds
                else:
                    session.permit.renewed(ours=name in ours, asked_at=asked_at)
        for session in held.values():
            session.give_way()

    def _renew(self) -> None:
        with self._guard:
            held = self._held
        asked_at = time.monotonic()
        try:
            still_ours = self._ledger.claims.renew(self._lease)
        except LedgerUnavailable as failure:
            # The ledger is busy or away, and the thread outlives that: else no lease were ever renewed again.
            # `_renewed_at` stays, so that `holds` says no in time.
            log.warning("leases not renewed: %s", failure, extra={"action": "lease.not_renewed"})
            self._due_at = time.monotonic() + self._lease / 20
            return
        crashpoint("lease-renewed")
        with self._guard:
            if self._held == held:
                self._held = held & frozenset(still_ours)
                self._renewed_at = asked_at
                self._due_at = asked_at + self._lease / 3
