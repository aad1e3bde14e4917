"""Session: what a process holds for one endpoint. It owns the counters and the policy.

A session holds at most one `Connection`. It asks before it uses one, throws a dead one away whole,
builds another with new objects, and counts each build by its reason. `run` is the only door.
Fork: a connection belongs to the process that opened it (compare redis-py's `_checkpid`); in any other
it is dropped without touching its TLS layer, because both processes would write into one TLS stream.
"""

from __future__ import annotations

import logging
import math
import os
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from copy import deepcopy
from typing import TypeVar

from tenacity import RetryCallState, Retrying, retry_if_exception_type, stop_after_attempt, stop_after_delay
from tenacity.wait import wait_random_exponential

from workers import errors
from workers.building import Builder
from workers.counting import Counters, Reason, Tally, shown
from workers.ftps import errors as ftps
from workers.ftps.connection import Connection
from workers.ftps.states import State
from workers.ledger import Ledger, LineFacts
from workers.permit import Permit
from workers.settings import Endpoint

__all__ = ["Counters", "Reason", "Session", "Tally"]

T = TypeVar("T")
log = logging.getLogger("towline.session")


class Session:
    """At most one connection to an endpoint, rebuilt fully whenever it is not known to be alive."""

    def __init__(
        self,
        endpoint: Endpoint,
        ledger: Ledger,
        *,
        wire: Callable[[str], None] | None = None,
        lease_s: float = 60.0,
        holding: Callable[[], None] = lambda: None,
    ) -> None:
        """wire: as for `Builder`. holding: told when there is something to be renewed (`Janitor.wake`)."""
        self.endpoint = endpoint
        budget = endpoint.reconnect
        self._policy = Retrying(
            # Only our own transient errors: tenacity's default would retry through SoftTimeLimitExceeded.
            retry=retry_if_exception_type(ftps.Transient),
            stop=stop_after_attempt(budget.attempts) | stop_after_delay(budget.within),
            wait=wait_random_exponential(multiplier=budget.first_wait, max=budget.max_wait),
            after=self._start_anew_after_progress,
            reraise=True,
        )
        self.counters = Counters()
        self._taken = Counters()
        self._builder = Builder(endpoint, ledger, self.counters, wire=wire)
        self._line: Connection | None = None
        self._line_pid = os.getpid()
        self._line_data: Counter[str] = Counter()  # of the line in hand, as far as counted
        self._next_build = Reason.FIRST_USE
        self._building = False
        self._progressed = False
        self.permit = Permit(endpoint, ledger, lease_s=lease_s, holding=holding)
        self._users = 0  # who must not lose the line in between
        # One operation at a time; the janitor's keep-alive only ever tries this lock.
        self._lock = threading.Lock()

    def run(self, operation: Callable[[Connection], T], *, name: str, tally: Tally) -> T:
        """Run `operation` on a READY connection; replay it on a new one when the line dies under it.

        An operation that can continue says `progress()` when a byte is durable or a file finished: that
        starts the count of attempts and the time allowed anew.

        Raises ReconnectFailed when no line could be built, OperationFailed when lines were built and the
        operation died on each, LoginRefused, CertificateRefused and EndpointClosed at once, and whatever
        else the operation itself raises (`ftps.Refused`, say, which leaves the line READY).
        """
        tried = 0

        def attempt() -> T:
            nonlocal tried
            tried += 1
            self._progressed = False
            return self._on_a_ready_line(operation, tally)

        with self.reserved(), self._lock:
            try:
                return self._policy(attempt)
            except ftps.Transient as lost:
                raise self._exhausted(lost, name, tried, tally) from lost

    @contextmanager
    def reserved(self) -> Iterator[None]:
        """Have the right to a line for as long as the block lasts: nobody takes it between two operations.

        Whoever claims files does so inside. At the block's end a line that somebody waits for is given up.
        Raises EndpointBusy when `max_sessions` lines are in use and none came free in time.
        """
        with self._lock:
            self._permitted()
            self._users += 1
        try:
            yield
        finally:
            with self._lock:
                self._users -= 1
                self._give_way()

    def progress(self) -> None:
        """A byte is durable or a file finished: what comes next deserves all attempts again."""
        self._progressed = True

    def keep_alive(self, every: float) -> None:
        """Ask a line that was idle for `every` seconds whether it lives; skip it while an operation runs."""
        if not self._lock.acquire(blocking=False):
            return
        try:
            line = self._own_line()
            if line is not None and time.monotonic() - line.used_at >= every:
                self._ask(line)
        finally:
            self._lock.release()

    def take_counters(self) -> Counters:
        """What has been counted since this was called last."""
        with self._lock:
            if self._line is not None:
                self._count_data(self._line)
            taken = self.counters.since(self._taken)
            self._taken = deepcopy(self.counters)
            return taken

    def give_way(self) -> None:
        """Close an idle line that somebody waits for, then free its permit (the janitor asks)."""
        if not self.permit.held or not self._lock.acquire(blocking=False):
            return
        try:
            self._give_way()
        finally:
            self._lock.release()

    def facts(self) -> LineFacts | None:
        """How the line is now; None where none is held."""
        line = self._line
        return self._facts_of(line) if line is not None else None

    def _facts_of(self, line: Connection) -> LineFacts:
        now = time.monotonic()
        rebuilt = {str(why): count for why, count in self.counters.builds.items() if why != Reason.FIRST_USE}
        tls = line.tls.version if line.tls is not None else None
        return LineFacts(now - line.opened_at, now - line.used_at, tls, rebuilt, self.counters.last_error)

    def refuse_if_closed(self) -> None:
        """Raises EndpointClosed where no line would be built: paused, or a login refused."""
        self._builder.refuse_if_closed()

    def close(self) -> None:
        """Give the line up. The session may be used again; it then builds a new one, for rotation."""
        with self._lock:
            if self._own_line() is not None:
                self._drop(Reason.ROTATION)
            self.permit.free()

    def _permitted(self) -> None:
        """Have a permit, where one is needed; a line whose permit another may have by now is closed first."""
        if self.permit.needed:
            if self._own_line() is not None:
                self._drop(Reason.ROTATION)
            self.permit.take()

    def _give_way(self) -> None:
        """Keep the line unless somebody waits for it, and no permit without a line."""
        if self._users:
            return
        line = self._own_line()
        if line is not None and (line.state is State.DEAD or self.permit.needed or self.permit.wanted):
            self._drop(Reason.ROTATION if line.state is not State.DEAD else Reason.PROTOCOL)
        if self._line is None:
            self.permit.free()

    # -- one attempt

    def _on_a_ready_line(self, operation: Callable[[Connection], T], tally: Tally) -> T:
        self._permitted()
        line = self._usable_line() or self._build(tally)
        try:
            return operation(line)
        except ftps.Transient as lost:
            self._drop(Reason(lost.loss.value), lost)
            raise
        except BaseException as failure:
            # A command left through anything but its final reply has killed the line (R2).
            if line.state is State.DEAD:
                self._drop(Reason.PROTOCOL, failure)
            raise

    def _own_line(self) -> Connection | None:
        """This process's connection; one that came through a fork is dropped."""
        if self._line is not None and self._line_pid != os.getpid():
            self._drop(Reason.FORK)
        return self._line

    def _usable_line(self) -> Connection | None:
        """The line held, if it is known to be alive; else None, with the reason for the next build noted."""
        line = self._own_line()
        if line is None:
            return None
        now = time.monotonic()
        if line.state is State.DEAD:
            self._drop(Reason.PROTOCOL)
        elif now >= min(line.opened_at + self.endpoint.max_age, line.session_ends_at or math.inf):
            self._drop(Reason.ROTATION)
        elif now - line.used_at >= self.endpoint.probe_after:
            self._ask(line)
        return self._line

    def _ask(self, line: Connection) -> None:
        """Readiness cannot be seen, only asked: NOOP, under its own short deadline."""
        try:
            line.noop(self.endpoint.probe_timeout)
        except ftps.Transient as lost:
            self._drop(Reason(lost.loss.value), lost)
        except ftps.Refused as refusal:
            self._drop(Reason.PROTOCOL, refusal)

    def _drop(self, why: Reason, because: BaseException | None = None) -> None:
        line, self._line = self._line, None
        self._next_build = why
        if because is not None:
            self.counters.last_error = shown(because)
        if line is not None:
            line.close()
            self._count_data(line)
            try:
                self._builder.learn(line)
            except errors.LedgerUnavailable as failure:
                # What a line has learned is a convenience; why it was lost must not hide behind it.
                log.warning(
                    "%s: not kept: %s", self.endpoint.name, failure, extra={"action": "features.lost"}
                )
            log.info(
                "%s: line given up: %s%s",
                self.endpoint.name,
                why,
                f" ({because})" if because else "",
                extra={"action": "line.lost", "reason": why.value},
            )

    def _count_data(self, line: Connection) -> None:
        """Bring the line's own counts of data channels into ours."""
        counted = {"true": line.data_resumed, "false": line.data_fresh}
        self.counters.data_sessions.update(Counter(counted) - self._line_data)
        self._line_data = Counter(counted)

    def _build(self, tally: Tally) -> Connection:
        """A line where there was none; counted by the reason for which it had to be built."""
        self._building = True
        try:
            line = self._builder.build(tally)
        except ftps.Capacity:
            self.permit.refused()
            raise
        self._building = False
        self._line, self._line_pid, self._line_data = line, os.getpid(), Counter()
        reason, self._next_build = self._next_build, Reason.FIRST_USE
        self.counters.builds[reason] += 1
        self.permit.built(self._facts_of(line))
        if reason is not Reason.FIRST_USE:
            tally.reconnects += 1
        name = self.endpoint.name
        log.info("%s: line built: %s", name, reason, extra={"action": "line.built", "reason": reason.value})
        return line

    # -- giving up

    def _start_anew_after_progress(self, state: RetryCallState) -> None:
        """The budget counts attempts and seconds without progress, and its clock starts at the first failure:

        a transfer of ten hours that lost its line must not have used its sixty seconds up long ago.
        """
        if self._progressed:
            state.attempt_number = 1
        if state.attempt_number == 1:
            state.start_time = time.monotonic()

    def _exhausted(self, lost: ftps.Transient, name: str, tried: int, tally: Tally) -> errors.TowlineError:
        if self._building:
            self._building = False
            return self._builder.exhausted(lost, tally)
        facts = (tried, tally.reconnects, tally.elapsed_s, shown(lost))
        return errors.OperationFailed(self.endpoint.name, name, *facts)
