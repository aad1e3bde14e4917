"""Session: what a process holds for one endpoint. It owns the counters and the policy.

A session holds at most one `Connection`. It asks before it uses one, throws a dead one away whole,
builds another with new objects, and counts each build by its reason. `run` is the only door.
Fork: a connection belongs to the process that opened it (compare redis-py's `_checkpid`); in any other
it is dropped without touching its TLS layer, because both processes would write into one TLS stream.
"""

from __future__ import annotations

import logging
import os
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TypeVar

from sqlalchemy.exc import SQLAlchemyError
from tenacity import RetryCallState, Retrying, retry_if_exception_type, stop_after_attempt, stop_after_delay
from tenacity.wait import wait_random_exponential

from workers import errors
from workers.ftps import errors as ftps
from workers.ftps.connection import Connection, Peer
from workers.ftps.features import Features
from workers.ftps.states import State
from workers.ftps.tls import Trust
from workers.ledger import Ledger, LineFacts
from workers.permit import Permit
from workers.settings import Endpoint
from workers.wire_log import into_log

T = TypeVar("T")
log = logging.getLogger("towline.session")

NOOP_EVERY_S = 30.0
"""Between two NOOPs during a transfer: firewalls that forget silent lines do it after a minute or more."""


class Reason(StrEnum):
    """Why a line was built. All but the first are rebuilds."""

    FIRST_USE = "first_use"
    IDLE_LOSS = ftps.Loss.IDLE.value
    SERVER_CLOSED = ftps.Loss.CLOSED.value
    BLACK_HOLE = ftps.Loss.BLACK_HOLE.value
    PROTOCOL = ftps.Loss.PROTOCOL.value
    ROTATION = "rotation"
    FORK = "fork"


@dataclass(slots=True)
class Tally:
    """What one task did to the line, summed over all its operations."""

    connects: int = 0  # connects tried, the first included
    reconnects: int = 0  # lines rebuilt with success
    heeds_breaker: bool = False
    """An endpoint known to be down fails the task at once; polls and people try all the same."""
    started: float = field(default_factory=time.monotonic)

    @property
    def elapsed_s(self) -> float:
        """Seconds since the task began, to the millisecond."""
        return round(time.monotonic() - self.started, 3)


@dataclass(slots=True)
class Counters:
    """What has happened to this session's line since the process began."""

    builds: Counter[Reason] = field(default_factory=Counter)
    failures: Counter[str] = field(default_factory=Counter)  # failed connects, by class of error
    data_sessions: Counter[str] = field(default_factory=Counter)  # data channels resumed: "true" or "false"

    @property
    def reconnects(self) -> int:
        """Lines rebuilt with success, whatever the reason."""
        return sum(count for reason, count in self.builds.items() if reason is not Reason.FIRST_USE)

    def since(self, earlier: Counters) -> Counters:
        """What has come since `earlier`."""
        return Counters(
            self.builds - earlier.builds,
            self.failures - earlier.failures,
            self.data_sessions - earlier.data_sessions,
        )


class _NotYet(ftps.Transient):
    """Another process is trying these credentials for the first time; nothing was sent by this one."""


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
        """wire: told every command and reply, without the password (`Connection.open`); left out: the log is,
        where the endpoint wants it."""
        self.endpoint = endpoint
        self.counters = Counters()
        self._taken = Counters()
        self._ledger = ledger
        self._wire = into_log(endpoint.name) if wire is None and endpoint.wire_log else wire
        self._line: Connection | None = None
        self._line_pid = os.getpid()
        self._line_data: Counter[str] = Counter()  # of the line in hand, as far as counted
        self._next_build = Reason.FIRST_USE
        self._building = False
        self._progressed = False
        self.permit = Permit(endpoint, ledger, lease_s=lease_s, holding=holding)
        self._users = 0  # who must not lose the line in between
        self._last_error: str | None = None
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
        budget = self.endpoint.reconnect
        policy = Retrying(
            # Only our own transient errors: tenacity's default would retry through SoftTimeLimitExceeded.
            retry=retry_if_exception_type(ftps.Transient),
            stop=stop_after_attempt(budget.attempts) | stop_after_delay(budget.within),
            wait=wait_random_exponential(multiplier=budget.first_wait, max=budget.max_wait),
            after=self._start_anew_after_progress,
            reraise=True,
        )
        tried = 0

        def attempt() -> T:
            nonlocal tried
            tried += 1
            self._progressed = False
            return self._on_a_ready_line(operation, tally)

        with self.reserved(), self._lock:
            try:
                return policy(attempt)
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
        return LineFacts(now - line.opened_at, now - line.used_at, tls, rebuilt, self._last_error)

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
        elif now - line.opened_at >= self.endpoint.max_age:
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
            self._last_error = f"{type(because).__name__}: {because}"
        if line is not None:
            line.close()
            self._count_data(line)
            try:
                self._learn(line)
            except SQLAlchemyError as failure:
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

    # -- building

    def _build(self, tally: Tally) -> Connection:
        """A new connection, with new objects throughout. Counts it, here and in the ledger."""
        name, book = self.endpoint.name, self._ledger.endpoints
        secret = self.endpoint.secret()
        credentials = book.digest(self.endpoint.user, secret)
        self.refuse_if_closed(credentials)
        if tally.heeds_breaker and not tally.connects:
            self._refuse_if_down(tally)
        self._building = True
        # An unproven password is tried by one process at a time, else a fleet of them locks the account.
        if not book.may_login(name, credentials, until_s=self.endpoint.connect_timeout + 1):
            raise _NotYet("another process is trying these credentials")
        tally.connects += 1
        if self.endpoint.tls != "off" and not self.endpoint.verify:
            log.warning(
                "%s: verify = false: any certificate is believed", name, extra={"action": "line.unverified"}
            )
        learned = book.get(name).features_json
        try:
            line = Connection.open(
                peer_of(self.endpoint, secret),
                known=Features.from_json(learned) if learned else None,
                wire=self._wire,
            )
        except ftps.FtpsError as failure:
            self.counters.failures[type(failure).__name__] += 1
            self._last_error = f"{type(failure).__name__}: {failure}"
            self._tell_everybody(failure, credentials)
            raise
        self._building = False
        self._line, self._line_pid, self._line_data = line, os.getpid(), Counter()
        book.connected(name, credentials)
        self._learn(line)
        reason, self._next_build = self._next_build, Reason.FIRST_USE
        self.counters.builds[reason] += 1
        self.permit.built(self._facts_of(line))
        if reason is not Reason.FIRST_USE:
            tally.reconnects += 1
        log.info("%s: line built: %s", name, reason, extra={"action": "line.built", "reason": reason.value})
        return line

    def _learn(self, line: Connection) -> None:
        """Keep what the line has found out: a refused EPSV need not be refused every time."""
        not_after = line.tls.not_after if line.tls else None
        self._ledger.endpoints.learn(self.endpoint.name, line.features.to_json(), not_after)

    def refuse_if_closed(self, credentials: str | None = None) -> None:
        """Raises EndpointClosed where the endpoint is paused, or closed for these credentials."""
        if credentials is None:
            credentials = self._ledger.endpoints.digest(self.endpoint.user, self.endpoint.secret())
        shut = self._ledger.endpoints.is_closed(self.endpoint.name, credentials)
        if shut is not None:
            since = shut.closed_at or shut.paused_at
            raise errors.EndpointClosed(self.endpoint.name, since, shut.closed_reason or "paused")

    def _refuse_if_down(self, tally: Tally) -> None:
        """Raises ReconnectFailed, with no connect tried, while the endpoint's breaker is open.

        Else every hint of every process would knock at a door that is known to be shut, for a whole budget
        each, and the client be banned for it (field note 10).
        """
        down = self._ledger.endpoints.is_tripped(self.endpoint.name)
        if down is not None:
            facts = (down.consecutive_failures, tally.reconnects, tally.elapsed_s, down.last_error or "")
            raise errors.ReconnectFailed(self.endpoint.name, 0, *facts)

    def _tell_everybody(self, failure: ftps.FtpsError, credentials: str) -> None:
        """Write a failed connect into the ledger; raise what is final."""
        name = self.endpoint.name
        if isinstance(failure, ftps.LoginRefused):
            self._ledger.endpoints.close(name, str(failure), credentials)
            raise errors.LoginRefused(name, str(failure)) from failure
        self._ledger.endpoints.failed(name, f"{type(failure).__name__}: {failure}")
        if isinstance(failure, ftps.CertificateRefused | ftps.TlsRefused):
            raise errors.CertificateRefused(name, str(failure)) from failure

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
        last = f"{type(lost).__name__}: {lost}"
        if self._building:
            self._building = False
            if tally.connects:
                self._ledger.endpoints.trip(self.endpoint.name, self.endpoint.reconnect.within)
            failures = self._ledger.endpoints.get(self.endpoint.name).consecutive_failures
            return errors.ReconnectFailed(
                self.endpoint.name, tally.connects, failures, tally.reconnects, tally.elapsed_s, last
            )
        return errors.OperationFailed(
            self.endpoint.name, name, tried, tally.reconnects, tally.elapsed_s, last
        )


def peer_of(endpoint: Endpoint, secret: str) -> Peer:
    """What the protocol must know of an endpoint."""
    return Peer(
        host=endpoint.host,
        port=endpoint.port,
        user=endpoint.user,
        password=secret,
        tls=endpoint.tls,
        trust=Trust(
            verify=endpoint.verify,
            ca_file=str(endpoint.ca_file) if endpoint.ca_file else None,
            fingerprints=tuple(endpoint.fingerprint),
            client_cert=str(endpoint.client_cert) if endpoint.client_cert else None,
            client_key=str(endpoint.client_key) if endpoint.client_key else None,
            tls_min=endpoint.tls_min,
            tls_max=endpoint.tls_max,
        ),
        encoding=endpoint.encoding,
        zone=endpoint.timezone,
        connect_timeout=endpoint.connect_timeout,
        reply_timeout=endpoint.reply_timeout,
        probe_timeout=endpoint.probe_timeout,
        idle_timeout=endpoint.idle_timeout,
        trust_pasv_address=tuple(str(network) for network in endpoint.trust_pasv_address),
        active_ports=endpoint.active_ports,
        noop_every=NOOP_EVERY_S if endpoint.noop_during_transfer else None,
    )
