"""Worker processes that a test moves: real rounds in a thread each, stopped at every crash point.

Only one thread runs at a time, and which one is the test's decision. So a process can be left standing
between any two of its steps (frozen), or never go on (killed), while others take its place.
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any, cast

from sqlalchemy.exc import OperationalError

from tests.unit.ledger.scene import Clock
from tests.unit.way.partner import Partner, PartnerSession
from workers import batch, errors, rounds, sources, transfer
from workers.crashpoints import crashpoint
from workers.ledger import Ledger
from workers.process import Process
from workers.session import Tally
from workers.settings import Endpoint, Route
from workers.stores.local import LocalFolder

LEASE_S = 60.0
POLL_LIMIT_S = 300.0
_PATIENCE_S = 600.0
"""For a thread to come to its next crash point: the test has failed long before."""


class Killed(BaseException):
    """What a dead process would do next is not done."""


@dataclass
class Time(Clock):
    """The ledger's clock, which somebody may set, and the monotonic one, which nobody can."""

    monotonic: float = 0.0

    def pass_(self, seconds: float) -> None:
        """Both go on."""
        self.monotonic += seconds
        super().pass_(seconds)


class Hands:
    """Which paths a process believes to hold: what the janitor does, by the model's time."""

    def __init__(self, time: Time) -> None:
        self._time = time
        self._held: set[int] = set()
        self._renewed_at = 0.0

    @property
    def full(self) -> bool:
        """Whether anything is claimed, as far as this process knows."""
        return bool(self._held)

    def hold(self, path_ids: Iterable[int], *, asked_at: float) -> None:  # noqa: ARG002 - a real clock's
        """Claimed just now: the model's time stands still between question and answer."""
        self._held = set(path_ids)
        self._renewed_at = self._time.monotonic

    def release(self) -> None:
        """Nothing is held any more."""
        self._held = set()

    def holds(self, path_id: int) -> bool:
        """As far as this process can know."""
        return self._time.monotonic - self._renewed_at < LEASE_S * 0.8 and path_id in self._held

    def renewed(self, path_ids: set[int]) -> None:
        """These are still ours."""
        self._held &= path_ids
        self._renewed_at = self._time.monotonic


class Actor:
    """A worker process with its own ledger. One task at a time: a poll or a fetch."""

    def __init__(self, url: str, folder: Path, route: Route, partner: Partner, time: Time) -> None:
        self.frozen = False
        self.at: str | None = None
        """The crash point where it stands; None: it has nothing to do."""
        self.generation = 0
        """Of the route's listings, when this actor began its poll."""
        self.hands = Hands(time)
        self._route = route
        self._time = time
        self._dead = False
        self._buried = False
        self.ledger = Ledger.open(url, state_dir=folder, clock=self._now)
        endpoint = Endpoint(name="partner", host="localhost", user="u", password="p")  # type: ignore[arg-type]
        self.session = PartnerSession(endpoint, self.ledger)
        self.session.partner = partner
        self._process = cast(
            Process,
            SimpleNamespace(
                ledger=self.ledger,
                settings=SimpleNamespace(
                    lease=LEASE_S, poll_hard_limit=POLL_LIMIT_S, routes={route.name: route}
                ),
                session=lambda _endpoint: self.session,
                store=lambda _route: LocalFolder.of(route),
                janitor=self.hands,
            ),
        )
        self._go = threading.Semaphore(0)
        self._stands = threading.Semaphore(0)
        self._thread: threading.Thread | None = None
        self._fault: BaseException | None = None

    @property
    def dead(self) -> bool:
        """Whether it was killed."""
        return self._dead

    @property
    def busy(self) -> bool:
        """Whether it is in the middle of a task."""
        return self.at is not None

    def poll(self, *, truncated: bool) -> None:
        """Begin a poll; it stands when the listing has been read. truncated: not all of it came."""
        self.session.truncated = truncated
        self._begin(lambda: rounds.poll(self._process, self._route, Tally()))
        while self.busy and self.at != "listed":
            self.step()
        self.generation = self.ledger.routes.get(self._route.name).generation

    def fetch(self) -> None:
        """Begin a fetch; it stands at its first crash point."""
        self.session.truncated = False
        self._begin(lambda: rounds.fetch(self._process, self._route, Tally()))

    def step(self) -> None:
        """Go on to the next crash point, or to the end of the task."""
        assert self.busy
        self._let_go()

    def renew(self) -> None:
        """What the janitor does in time; it learns which claims are lost."""
        self.hands.renewed(self.ledger.claims.renew(LEASE_S))

    def kill(self) -> None:
        """SIGKILL: nothing more is written; the kernel lets go of the lock file."""
        self._dead = True
        if self.busy:
            self._let_go()
        self._buried = True
        # As of one that can't reach its ledger: it gives nothing back, and its lock is free.
        self.ledger.close()

    def stand(self, name: str) -> None:
        """Called in the actor's thread, at each crash point."""
        self.at = name
        self._stands.release()
        assert self._go.acquire(timeout=_PATIENCE_S)
        if self._dead:
            raise Killed

    def _begin(self, task: Callable[[], object]) -> None:
        assert not self.busy

        def work() -> None:
            _standing.actor = self
            try:
                task()
            except (Killed, errors.TowlineError):
                pass
            except BaseException as fault:  # noqa: BLE001 - told to the test's thread
                self._fault = fault
            self.at = None
            self._stands.release()

        self._thread = threading.Thread(target=work, daemon=True)
        self.at = "beginning"
        self._thread.start()
        self._wait()

    def _let_go(self) -> None:
        self._go.release()
        self._wait()

    def _wait(self) -> None:
        assert self._stands.acquire(timeout=_PATIENCE_S), "a worker neither stands nor ends"
        if self.at is None and self._thread is not None:
            self._thread.join()
        if self._fault is not None:
            raise self._fault

    def _now(self) -> float:
        if self._buried:
            raise OperationalError("the ledger", {}, Exception("out of reach"))
        if self._dead:
            raise Killed
        return self._time.now


_standing = threading.local()


def _stand_here(name: str) -> None:
    actor: Actor | None = getattr(_standing, "actor", None)
    if actor is not None:
        actor.stand(name)


class Beside:
    """In place of the thread that publishes: one thread an actor, which does it when it is told to.

    later: when it is waited for, after what is received meanwhile; else at once. A stand-in, since a second
    thread would run while its actor stands; nothing may depend on the order of the two, so both are tried.
    """

    def __init__(self, *_: object, later: bool) -> None:
        self._later = later

    def submit(self, work: Callable[..., Any], *arguments: Any) -> Done:
        """As an executor does."""
        done = Done(partial(work, *arguments))
        if not self._later:
            done.go_on()
        return done

    def shutdown(self) -> None:
        """Nothing is under way."""


class Done:
    """What `Beside` has done, or is to do."""

    def __init__(self, work: Callable[[], Any]) -> None:
        self._work: Callable[[], Any] | None = work
        self._result: Any = None
        self._fault: errors.TowlineError | None = None

    def done(self) -> bool:
        """Whether it need not be waited for."""
        return self._work is None

    def go_on(self) -> None:
        """Do it, if it is not done. A dead process does nothing any more."""
        if self._work is None:
            return
        if _standing.actor.dead:
            raise Killed
        work, self._work = self._work, None
        try:
            self._result = work()
        except errors.TowlineError as fault:
            self._fault = fault

    def result(self) -> Any:
        """Wait for it; raises what it raised."""
        self.go_on()
        if self._fault is not None:
            raise self._fault
        return self._result


class Seams:
    """Until it is closed, actors stand at every crash point, and sources go by the model's time.

    group: so many files are published together. later: not before the next group is there.
    """

    def __init__(self, time: Time, *, group: int, later: bool) -> None:
        self._were: list[tuple[ModuleType, str, Any]] = []
        for name, module in list(sys.modules.items()):
            # The ledger's own places are inside transactions: who stood there would hold up all others.
            ours = name.startswith("workers.") and not name.startswith("workers.ledger")
            if ours and getattr(module, "crashpoint", None) is crashpoint:
                self._replace(module, "crashpoint", _stand_here)
        self._replace(sources, "time", SimpleNamespace(monotonic=lambda: time.monotonic))
        self._replace(batch, "GROUP_FILES", group)
        self._replace(transfer, "ThreadPoolExecutor", partial(Beside, later=later))

    def close(self) -> None:
        """As before."""
        for module, name, was in self._were:
            vars(module)[name] = was

    def _replace(self, module: ModuleType, name: str, by: object) -> None:
        self._were.append((module, name, vars(module)[name]))
        vars(module)[name] = by
