"""A tree of processes: started in order, started again when one dies, stopped in the opposite order.

Everything it waits for is a descriptor (signals through the wake-up socket, the end of a child through its
pidfd), so it sleeps in one `select` and acts at once.
"""

from __future__ import annotations

import contextlib
import heapq
import selectors
import signal
import socket
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from types import FrameType

from workers.child import Child, Readable, Wait
from workers.errors import TowlineError

FIRST_WAIT = 0.5  # seconds before a dead member is started again; doubles with each death in a row
LONGEST_WAIT = 30.0
LIVED = 60.0  # seconds; a member that lived so long died of something new
SAME_STOP = 0.25  # seconds; timeout(1) sends its signal to its child and then to the group: that is one stop

# SIGHUP: a closed terminal is no reason to stop moving files.
_HEARD = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


@dataclass(frozen=True, slots=True)
class Member:
    """One place in the tree. `start` makes its process, with `stop_within` seconds to end after SIGTERM.

    What `start` has to wait for, it waits for by the `Wait` that it is given.
    """

    name: str
    start: Callable[[Wait], Child]
    stop_within: float


@dataclass(slots=True)
class _Place:
    """What is in a member's place now."""

    member: Member
    child: Child | None = None
    started_at: float = 0.0
    deaths: int = 0


class ProcessTree:
    """Runs the members of `stages` until it is told to stop. Once; from the main thread.

    Stages are started first to last and stopped last to first; the members of one stage together.
    `tell` gets a line about each death and each step of the stop.
    """

    def __init__(self, stages: Sequence[Sequence[Member]], *, tell: Callable[[str], object]) -> None:
        self._stages = [[_Place(member) for member in stage] for stage in stages]
        self._tell = tell
        self._selector = selectors.DefaultSelector()
        self._due: list[tuple[float, int, _Place]] = []  # heap of members to be started again, and when
        self._hear, self._wake = socket.socketpair()
        self._hear.setblocking(False)
        self._wake.setblocking(False)
        self._selector.register(self._hear, selectors.EVENT_READ)
        self._stop_heard_at: float | None = None
        self._told_twice = False

    def run(self, *, begun: Callable[[], object] = lambda: None) -> bool:
        """Start everything, keep it running until `stop` or a signal, then stop it.

        `begun` is called once, when every member has been started.
        True after an orderly stop; False when a second signal cut that short. Raises TowlineError where a
        member can't be started at the beginning. No process of the tree is left in any case.
        """
        with self._signals():
            try:
                for place in self._places():
                    try:
                        self._start(place)
                    except TowlineError:
                        if not self._stopping():
                            raise
                    if self._stopping():
                        break
                else:
                    begun()
                while not self._stopping():
                    self._watch(self._due[0][0] if self._due else None)
                    self._start_due()
                return self._stop()
            finally:
                for place in self._places():
                    self._bury(place)
                self._selector.close()
                self._hear.close()
                self._wake.close()

    def stop(self) -> None:
        """Ask for an orderly stop, as SIGTERM does; from any thread. Does nothing after the end."""
        with contextlib.suppress(OSError):  # closed: it has stopped already
            self._wake.send(bytes([signal.SIGTERM]))

    def _places(self) -> Iterator[_Place]:
        return (place for stage in self._stages for place in stage)

    @contextmanager
    def _signals(self) -> Iterator[None]:
        """Have signals arrive as bytes in the selector instead of as exceptions anywhere."""

        # A function, not SIG_IGN: what is ignored stays ignored after exec, in every child.
        def only_wake(number: int, frame: FrameType | None) -> None:
            pass

        before = {number: signal.signal(number, only_wake) for number in _HEARD}
        wakeup = signal.set_wakeup_fd(self._wake.fileno(), warn_on_full_buffer=False)
        try:
            yield
        finally:
            signal.set_wakeup_fd(wakeup)
            for number, handler in before.items():
                signal.signal(number, handler)

    def _stopping(self) -> bool:
        """Whether a stop was asked for; reads the signals that have come in since."""
        try:
            numbers = self._hear.recv(64)
        except BlockingIOError:
            numbers = b""
        if any(number != signal.SIGHUP for number in numbers):
            if self._stop_heard_at is None:
                self._stop_heard_at = time.monotonic()
            elif time.monotonic() - self._stop_heard_at > SAME_STOP:
                self._told_twice = True
        return self._stop_heard_at is not None

    def _watch(self, until: float | None) -> None:
        """Wait for a signal or a death, at most `until` (monotonic), and take care of the deaths."""
        timeout = None if until is None else max(0.0, until - time.monotonic())
        for key, _ in self._selector.select(timeout):
            if isinstance(key.data, _Place):
                self._died(key.data)

    def _start(self, place: _Place) -> None:
        place.child = place.member.start(self._wait_for)
        place.started_at = time.monotonic()
        self._selector.register(place.child, selectors.EVENT_READ, place)

    def _wait_for(self, ready: Readable, within: float) -> bool:
        """The `Wait` of our members."""
        until = time.monotonic() + within
        with selectors.DefaultSelector() as waiting:
            waiting.register(ready, selectors.EVENT_READ)
            waiting.register(self._hear, selectors.EVENT_READ)
            while not self._stopping() and (left := until - time.monotonic()) > 0:
                if any(key.fileobj is ready for key, _ in waiting.select(left)):
                    return True
        return False

    def _start_due(self) -> None:
        while self._due and self._due[0][0] <= time.monotonic():
            place = heapq.heappop(self._due)[2]
            try:
                self._start(place)
            except (TowlineError, OSError) as failure:
                # OSError: no process to be had just now. The others go on meanwhile.
                self._again(place, f"could not be started: {failure}")

    def _died(self, place: _Place) -> None:
        code = self._bury(place)
        how = f"was killed by {signal.Signals(-code).name}" if code < 0 else f"ended with exit code {code}"
        if self._stop_heard_at is None:
            if time.monotonic() - place.started_at >= LIVED:
                place.deaths = 0
            self._again(place, how)

    def _again(self, place: _Place, how: str) -> None:
        wait = min(LONGEST_WAIT, FIRST_WAIT * 2**place.deaths)
        place.deaths += 1
        self._tell(f"{place.member.name} {how}; it is started again in {wait:g} s")
        heapq.heappush(self._due, (time.monotonic() + wait, id(place), place))

    def _bury(self, place: _Place) -> int:
        """End what is in a place, with everything it has started; its exit code (0 for nothing)."""
        if place.child is None:
            return 0
        self._selector.unregister(place.child)
        child, place.child = place.child, None
        return child.end()

    def _stop(self) -> bool:
        """Stop stage by stage; False as soon as a second signal says that there is no time."""
        for stage in reversed(self._stages):
            running = [place for place in stage if place.child is not None]
            if not running:
                continue
            self._tell(f"stopping {', '.join(place.member.name for place in running)}")
            for place in running:
                assert place.child is not None
                place.child.ask(signal.SIGTERM)
            begun = time.monotonic()
            for place in running:
                until = begun + place.member.stop_within
                while place.child is not None and time.monotonic() < until:
                    self._watch(until)
                    if self._stopping() and self._told_twice:
                        self._tell("told twice: killing what is left")
                        return False
                if place.child is not None:
                    self._tell(f"{place.member.name} did not stop in {place.member.stop_within:g} s: killed")
                    self._bury(place)
        return True
