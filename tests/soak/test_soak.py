"""The soak: thousands of versions through a whole fleet while something breaks every two seconds.

`make soak` runs it; TOWLINE_SOAK_VERSIONS and TOWLINE_SOAK_SEED ask for a longer one, or for the same again.
It writes what it did and what it found to TOWLINE_SOAK_RESULT (`make soak`: docs/soak.json, from which
docs/promise.md is made).
"""

from __future__ import annotations

import json
import os
import random
import time
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path

import pytest

from tests.servers.postgres import Postgres
from tests.servers.server import FtpServer
from tests.servers.valkey import Valkey
from tests.soak import page
from tests.soak.faults import FAULTS, Struck
from tests.soak.fleet import SERVERS, WORKERS, Fleet
from tests.waiting import wait_until
from tests.witness.verdict import Verdict
from tests.witness.writer import Writer

FAULT_EVERY_S = 2.0
FIRST_WITHIN_S = 120.0
QUIET_WITHIN_S = 600.0
NUMBERS = tuple(f"{number}.xml" for number in range(300))
"""Of each route's files: so many, that most versions are fetched before they are replaced."""


@dataclass(frozen=True, slots=True)
class Result:
    """What a soak did, and the seven sets it ended with (`missed`: what the watcher could not see)."""

    seed: int
    versions: int
    published: int
    workers: int
    servers: tuple[str, ...]
    duration_s: float
    quiet_after_s: float
    asked_again: int
    faults: dict[str, int]
    sets: dict[str, int]


class Soak:
    """Writes at a steady pace and strikes every two seconds, as its seed draws it."""

    def __init__(self, fleet: Fleet, seed: int, names: Sequence[str] = NUMBERS) -> None:
        """names: of each route's files."""
        self._fleet = fleet
        self._names = names
        self._draw = random.Random(seed)
        self._seed = seed
        self._faults: Counter[str] = Counter()
        self._to_come: list[str] = []
        self._repairs: list[tuple[float, Struck]] = []
        self._began = time.monotonic()

    def run(self, *, versions: int, pace: float) -> tuple[Result, Verdict]:
        """Until so many versions are written, `pace` of them a second; then wait until all is over."""
        fleet = self._fleet
        strike_at = self._began + FAULT_EVERY_S
        while fleet.journal.count() < versions:
            self._act(self._draw.choice(list(fleet.writers.values())))
            now = time.monotonic()
            assert fleet.watcher.appearances or now - self._began < FIRST_WITHIN_S, fleet.stack.said()[-4000:]
            if now >= strike_at:
                strike_at += FAULT_EVERY_S
                self._strike()
            self._repair(now)
            fleet.supervise()
            time.sleep(max(0.0, self._began + fleet.journal.count() / pace - time.monotonic()))
        over_at = time.monotonic()
        self._repair(float("inf"))
        asked_again = self._come_to_rest()
        found = fleet.verdict()
        result = Result(
            seed=self._seed,
            versions=fleet.journal.count(),
            published=len(fleet.watcher.appearances),
            workers=len(WORKERS),
            servers=tuple(fleet.servers),
            duration_s=round(over_at - self._began, 1),
            quiet_after_s=round(time.monotonic() - over_at, 1),
            asked_again=asked_again,
            faults=dict(sorted(self._faults.items())),
            sets=found.counts(),
        )
        return result, found

    def _act(self, writer: Writer) -> None:
        """One thing that a partner does; growing is for folders that nobody else removes files from."""
        draw = self._draw
        body = draw.randrange(200, 20_000) if draw.random() < 0.97 else draw.randrange(500_000, 3_000_000)
        there = writer.names()
        name = draw.choice(self._names)
        chance = draw.random()
        if chance < 0.8 or not there:
            writer.put(name, body)
        elif chance < 0.9 and writer.route.endswith("keep"):
            writer.grow(draw.choice(there), body)
        elif chance < 0.95:
            writer.remove(draw.choice(there))
        else:
            writer.rename(draw.choice(there), f"renamed-{time.monotonic_ns()}.xml")

    def _strike(self) -> None:
        """Each fault once, in any order, before any of them comes again."""
        if not self._to_come:
            self._to_come = self._draw.sample(list(FAULTS), len(FAULTS))
        name = self._to_come.pop()
        struck = FAULTS[name](self._fleet, self._draw)
        self._faults[name] += 1
        if struck is not None:
            self._repairs.append((time.monotonic() + struck.lasts_s, struck))

    def _repair(self, now: float) -> None:
        due = [one for one in self._repairs if one[0] <= now]
        self._repairs = [one for one in self._repairs if one not in due]
        for _, struck in due:
            struck.repair()

    def _come_to_rest(self) -> int:
        """Wait until nothing is left to do; returns for how many files, put off for long, we had to ask."""
        fleet = self._fleet
        asked = fleet.retry()
        left: list[str] = []

        def is_over() -> bool:
            nonlocal left
            fleet.supervise()
            left = fleet.left()
            return not left

        try:
            wait_until(is_over, QUIET_WITHIN_S)
        except AssertionError:
            raise AssertionError(f"{len(left)} are not finished: {left[:20]}") from None
        return asked


@pytest.fixture
def fleet(
    start_server: Callable[..., FtpServer], valkey: Valkey, postgres: Postgres, tmp_path: Path
) -> Fleet:
    return Fleet(tmp_path, {name: start_server(name) for name in SERVERS}, valkey, postgres)


def soaked(fleet: Fleet, *, seed: int, versions: int, pace: float) -> None:
    """Run it, write the result down where that is asked for, and hold it against the promise."""
    with ExitStack() as running:
        running.enter_context(fleet)
        result, found = Soak(fleet, seed).run(versions=versions, pace=pace)
    print(json.dumps(asdict(result), indent=2))
    if place := os.environ.get("TOWLINE_SOAK_RESULT"):
        file = Path(place)
        file.write_text(json.dumps(page.added(page.read(file), asdict(result)), indent=2) + "\n")
    assert found.clean, str(found)


@pytest.mark.long
@pytest.mark.timeout(900)
def test_a_minute_of_faults_breaks_no_promise(fleet: Fleet) -> None:
    """The short form: 600 versions, a fault every two seconds, seven empty sets."""
    soaked(fleet, seed=20260704, versions=600, pace=10.0)


@pytest.mark.soak
@pytest.mark.timeout(4 * 3600)
def test_thousands_of_versions_under_faults_break_no_promise(fleet: Fleet) -> None:
    """Three thousand versions or more, by another seed each time: it is in the result."""
    seed = int(os.environ.get("TOWLINE_SOAK_SEED") or random.SystemRandom().randrange(1 << 32))
    versions = int(os.environ.get("TOWLINE_SOAK_VERSIONS") or 3_000)
    soaked(fleet, seed=seed, versions=versions, pace=10.0)
