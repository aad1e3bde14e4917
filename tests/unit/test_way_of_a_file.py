"""The way of a file as a state machine: real rounds over a real ledger, and a model of what is around them.

A partner's folder in memory, a target folder, a clock, three worker processes. Hypothesis decides who does
what next: files are written, replaced, grown and taken away; listings come whole, cut, twice and late;
workers stand still between any two of their steps, die there, and wake up when others have their work. What
the promise says (design §8) is looked at after every step, and in the end, when all may drain, every file
that is on the server must have landed.
"""

from __future__ import annotations

import functools
import hashlib
import shutil
import tempfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from tests.unit.way.actors import LEASE_S, POLL_LIMIT_S, Actor, Seams, Time
from tests.unit.way.partner import Partner, Remote
from workers.ledger import Ledger, State
from workers.settings import Route
from workers.settings.models import Then
from workers.stores.local import LocalFolder

NAMES = st.sampled_from([b"a", b"b"])
SIZES = st.sampled_from([40, 64, 64, 100])
ACTORS = st.integers(0, 2)
ROUTE = "statements"
MAX_ATTEMPTS = 50
_MEMORY = Path("/dev/shm")
_WHEN = 1_600_000_000.0
"""Before any folder of this test was made: what changes there is newer than every file of the partner's."""

Row = tuple[int, str, bool, int]


@functools.cache
def _empty_ledger() -> bytes:
    """A new ledger's file: making one takes longer than an example."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "ledger.sqlite3"
        Ledger.open(f"sqlite:///{file}", state_dir=Path(folder)).close()
        return file.read_bytes()


class WayOfAFile(RuleBasedStateMachine):
    """Everything that can happen to a file between a partner's folder and ours."""

    @initialize(
        after=st.sampled_from(["keep", "delete"]),
        precision=st.sampled_from([1.0, 60.0]),
        settle=st.sampled_from([0.0, 0.0, 10.0]),
        takes=st.booleans(),
    )
    def open(self, after: str, precision: float, settle: float, takes: bool) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="towline-", dir=_MEMORY if _MEMORY.is_dir() else None))
        (self.folder / "ledger.sqlite3").write_bytes(_empty_ledger())
        self.target = self.folder / "in"
        self.time = Time(_WHEN)
        self.seams = Seams(self.time)
        self.partner = Partner(self.time, precision)
        self.route = Route(
            name=ROUTE,
            endpoint="partner",
            remote=b"/out",
            local=self.target,
            after=after,
            settle=settle,
            max_attempts=MAX_ATTEMPTS,
            then=Then(task="theirs", queue="theirs"),
        )
        self.url = f"sqlite:///{self.folder}/ledger.sqlite3"
        self.witness = Ledger.open(self.url, state_dir=self.folder, clock=self.time)
        self.actors = [self._actor() for _ in range(3)]
        self.landed: dict[bytes, list[int]] = {}
        self.takes = takes
        self.taken: set[bytes] = set()
        """Names whose file a consumer has taken on since it landed."""
        self.announced: set[tuple[str, str]] = set()
        self.losses = 0
        """How often a worker stopped with files in its hands: only that may count against a file here."""

    def _actor(self) -> Actor:
        return Actor(self.url, self.folder, self.route, self.partner, self.time)

    # -- the partner

    @rule(
        name=NAMES,
        size=SIZES,
        how=st.sampled_from(["another", "same size", "grown"]),
        looks=st.sampled_from([0, 1, 2, 2]),
    )
    def write(self, name: bytes, size: int, how: str, looks: int) -> None:
        """A new file, or another one in its place, or its writer was not done with it; seen, or not yet."""
        self._touch(name, size, how)
        for _ in range(looks if self._idle() else 0):
            self.time_passes(70.0)
            self.poll_at_once(0)

    @precondition(lambda self: self.partner.files)
    @rule(name=NAMES)
    def take_away(self, name: bytes) -> None:
        """Its writer wants it back."""
        self.partner.files.pop(name, None)

    @precondition(lambda self: self._idle())
    @rule(steps=st.integers(0, 4))
    def outage(self, steps: int) -> None:
        """The server goes away while somebody fetches, and comes back."""
        actor = self._idle()[0]
        actor.fetch()
        self._steps(actor, steps)
        self.partner.down = True
        for one in self._working():
            self._finish(one)
        self.partner.down = False

    # -- time

    @rule(seconds=st.sampled_from([1.0, 11.0, 70.0, 400.0]))
    def time_passes(self, seconds: float) -> None:
        """Whoever is not frozen renews what it holds, in time."""
        while seconds > 0:
            self.time.pass_(min(seconds, LEASE_S * 0.7))
            seconds -= LEASE_S * 0.7
            for actor in self.actors:
                if actor.busy and not actor.frozen:
                    actor.renew()

    @rule(seconds=st.sampled_from([-3600.0, -30.0, 30.0, 3600.0]))
    def clock_jumps(self, seconds: float) -> None:
        """Somebody sets it; leases end in nothing, or never seem to."""
        self.time.now += seconds
        self.losses += sum(actor.hands.full for actor in self.actors)

    # -- the workers

    @precondition(lambda self: self._idle())
    @rule(who=ACTORS)
    def poll_at_once(self, who: int) -> None:
        """A poll from its beginning to its end."""
        actor = _one_of(self._idle(), who)
        actor.poll(truncated=False)
        self._finish(actor)

    @precondition(lambda self: self._idle())
    @rule(who=ACTORS, truncated=st.booleans())
    def poll_slowly(self, who: int, truncated: bool) -> None:
        """Begin to list the folder; what was read may be written down much later, or never."""
        _one_of(self._idle(), who).poll(truncated=truncated)

    @precondition(lambda self: self._idle())
    @rule(who=ACTORS)
    def poll_in_vain(self, who: int) -> None:
        """A poll whose listing is cut."""
        actor = _one_of(self._idle(), who)
        actor.poll(truncated=True)
        self._finish(actor)

    @precondition(lambda self: self._idle())
    @rule(who=ACTORS, steps=st.integers(0, 9))
    def fetch(self, who: int, steps: int) -> None:
        """Begin to fetch, and do some steps of it."""
        actor = _one_of(self._idle(), who)
        actor.fetch()
        self._steps(actor, steps)

    @precondition(lambda self: self._idle() and self.partner.files)
    @rule(
        steps=st.integers(0, 10),
        how=st.sampled_from(["same size", "same size", "grown", "gone"]),
        ending=st.sampled_from(["finish", "kill", "freeze"]),
    )
    def disturb(self, steps: int, how: str, ending: str) -> None:
        """The partner touches its files while one of them is fetched."""
        actor = self._idle()[0]
        actor.fetch()
        self._steps(actor, steps)
        for name in sorted(self.partner.files):
            self._touch(name, 64, how)
        if ending == "finish":
            self._finish(actor)
        elif actor.busy:
            who = self.actors.index(actor)
            self._lose(who, killed=ending == "kill")

    @precondition(lambda self: self._working())
    @rule(who=ACTORS, steps=st.integers(1, 4))
    def go_on(self, who: int, steps: int) -> None:
        """Some steps of whatever was begun."""
        self._steps(_one_of(self._working(), who), steps)

    @precondition(lambda self: self._working())
    @rule(who=ACTORS)
    def finish(self, who: int) -> None:
        """All the steps of whatever was begun."""
        self._finish(_one_of(self._working(), who))

    @precondition(lambda self: any(actor.busy for actor in self.actors))
    @rule(who=ACTORS)
    def kill(self, who: int) -> None:
        """Another process takes its place."""
        actor = _one_of([actor for actor in self.actors if actor.busy], who)
        self._lose(self.actors.index(actor), killed=True)

    @precondition(lambda self: self._working())
    @rule(who=ACTORS)
    def freeze(self, who: int) -> None:
        """It stands where it is, and renews nothing."""
        self._lose(self.actors.index(_one_of(self._working(), who)), killed=False)

    @precondition(lambda self: len(self._idle()) > 1)
    @rule(
        task=st.sampled_from(["poll", "fetch"]),
        steps=st.integers(0, 9),
        partner_writes=st.booleans(),
    )
    def overtake(self, task: str, steps: int, partner_writes: bool) -> None:
        """One freezes for longer than it may, another does its work, and the first wakes up and goes on."""
        frozen, other, *_ = self._idle()
        if task == "poll":
            frozen.poll(truncated=False)
        else:
            frozen.fetch()
            self._steps(frozen, steps)
        self._nobody_renews(POLL_LIMIT_S + 1)
        if partner_writes:
            self.partner.write(b"a", 64)
        other.poll(truncated=False)
        self._finish(other)
        other.fetch()
        self._finish(other)
        self._finish(frozen)

    @precondition(lambda self: any(actor.frozen for actor in self.actors))
    @rule()
    def thaw(self) -> None:
        """All that were frozen may go on, and know nothing of what has happened."""
        for actor in self.actors:
            actor.frozen = False

    @rule()
    def everybodys_leases_end(self) -> None:
        """Nobody could renew for a while, and nobody knows."""
        self._nobody_renews(LEASE_S + 1)

    @rule()
    def upkeep(self) -> None:
        """The dead are given up, and temps that nobody will go on with are swept."""
        self.witness.claims.end_leases({ROUTE: MAX_ATTEMPTS})
        if self.target.is_dir():
            LocalFolder.of(self.route).sweep(self.witness.claims.temps(ROUTE, str(self.target)), idle=-1)

    def _touch(self, name: bytes, size: int, how: str) -> None:
        there = self.partner.files.get(name)
        if how == "gone":
            self.partner.files.pop(name, None)
        elif there is None or how == "another":
            self.partner.write(name, size)
        elif how == "same size":
            self.partner.write(name, len(there.body))
        else:
            self.partner.write(name, len(there.body) + 24, onto=there.body)

    def _lose(self, who: int, *, killed: bool) -> None:
        actor = self.actors[who]
        self.losses += actor.hands.full
        if killed:
            actor.kill()
            self.actors[who] = self._actor()
        else:
            actor.frozen = True

    def _nobody_renews(self, seconds: float) -> None:
        self.losses += sum(actor.hands.full for actor in self.actors)
        self.time.pass_(seconds)

    def _idle(self) -> list[Actor]:
        return [actor for actor in self.actors if not actor.busy]

    def _working(self) -> list[Actor]:
        return [actor for actor in self.actors if actor.busy and not actor.frozen]

    def _finish(self, actor: Actor) -> None:
        self._steps(actor, 1000)

    def _steps(self, actor: Actor, most: int) -> None:
        for _ in range(most):
            if not actor.busy:
                return
            self._step(actor)

    def _step(self, actor: Actor) -> None:
        """One step; what a late or a cut listing may not do is looked at around it."""
        applies = actor.at == "listed"
        before = self._rows() if applies else {}
        late = applies and actor.generation != self.witness.routes.get(ROUTE).generation
        cut = applies and actor.session.truncated
        actor.step()
        if late:
            assert self._rows() == before, "a listing was applied after a newer one"
        if cut:
            still = {one: row for one, row in self._rows().items() if one in before}
            gone = [one for one, row in still.items() if before[one][2] and not row[2]]
            assert not gone, "a listing that was cut took files away"
        self.look_at_the_target()

    # -- what always holds

    @invariant()
    def look_at_the_target(self) -> None:
        """Each file that landed is one that was there, whole, and newer than the one before it."""
        if not hasattr(self, "actors"):
            return
        for file in self.target.iterdir() if self.target.is_dir() else ():
            name = file.name.encode()
            if name.startswith(b".towline-"):
                continue
            serial = self.partner.states[name].get(file.read_bytes())
            assert serial is not None, "torn: these bytes were never a file"
            landed = self.landed.setdefault(name, [])
            if not landed or landed[-1] != serial or name in self.taken:
                assert not landed or serial >= landed[-1], "stale: an older one over a newer one"
                assert not landed or serial > landed[-1], "doubled: it had landed, and was taken on"
                landed.append(serial)
                self.taken.discard(name)
            if self.takes:
                file.unlink()
                self.taken.add(name)
        for name, removed in self.partner.removed_by_us:
            assert removed.serial in self.landed.get(name, []), "early delete: it had not landed"

    @invariant()
    def look_at_the_ledger(self) -> None:
        """Published means landed, and is announced once; only a lost worker counts against a file."""
        if not hasattr(self, "actors"):
            return
        for one in self.witness.outbox.take(hold_s=1e9):
            key = (one.arguments["path"], one.arguments["sha256"])
            assert key not in self.announced, "doubled: announced before"
            self.announced.add(key)
            assert key[1] in self._digests(key[0]), "ghost: published, and never landed"
            self.witness.outbox.sent([one.id])
        attempts = [row[3] for row in self._rows().values()]
        assert max(attempts, default=0) <= max(0, self.losses - 1), "counted for no fault of the file's"

    def _digests(self, path: str) -> set[str]:
        name = path.rpartition("/")[2].encode()
        states, landed = self.partner.states[name], self.landed.get(name, [])
        return {hashlib.sha256(body).hexdigest() for body, serial in states.items() if serial in landed}

    def _rows(self) -> dict[int, Row]:
        rows: Any = self.witness.history.rows(limit=9999)
        known = self.witness.polls.known(ROUTE, str(self.target)).values()
        listed = {one.version_id: one.listed for one in known}
        return {
            row.version_id: (row.number, str(row.state), listed.get(row.version_id, False), row.attempts)
            for row in rows
        }

    # -- the end

    def teardown(self) -> None:
        """Nothing happens any more but ticks: everything drains."""
        if not hasattr(self, "actors"):
            return
        try:
            self._drain()
        finally:
            for actor in self.actors:
                actor.kill()
            self.witness.close()
            self.seams.close()
            shutil.rmtree(self.folder)

    def _drain(self) -> None:
        there = dict(self.partner.files)
        for actor in self.actors:
            self.losses += actor.hands.full
            actor.kill()
        self.actors = [self._actor()]
        for _ in range(12):
            # Longer than any lease, pause between attempts, or poll that nobody ends.
            self.time.pass_(4000.0)
            self.poll_at_once(0)
            self.fetch(0, 1000)
            self.look_at_the_ledger()
            if self._all_is_done(there):
                break
        for name, file in there.items():
            assert self.landed.get(name, [0])[-1] == file.serial, "lost"
        assert self._all_is_done(there), "something is left to be done, and nobody does it"
        assert self.route.after == "keep" or not self.partner.files
        self.upkeep()
        assert not list(self.target.glob(".towline-*")), "an orphaned temp"

    def _all_is_done(self, there: dict[bytes, Remote]) -> bool:
        """Every file has landed, and nothing is left to be done for any version."""
        for name, file in there.items():
            if self.landed.get(name, [0])[-1] != file.serial:
                return False
        over = (State.FINISHED, State.SUPERSEDED, State.VANISHED)
        return all(row[1] in over for row in self._rows().values())


def _one_of(actors: list[Actor], who: int) -> Actor:
    return actors[who % len(actors)]


ORDINARY = settings(
    max_examples=12,
    stateful_step_count=30,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
)


def test_files_arrive_once_and_whole_whatever_happens_on_their_way() -> None:
    """Nothing lost, doubled, torn, stale, orphaned, forgotten or deleted early: a sample."""
    run_state_machine_as_test(WayOfAFile, settings=ORDINARY)


@pytest.mark.long
@pytest.mark.timeout(1800)
def test_files_arrive_once_and_whole_in_a_thousand_lives() -> None:
    """The same, with many more examples, and longer ones."""
    run_state_machine_as_test(
        WayOfAFile, settings=settings(ORDINARY, max_examples=1000, stateful_step_count=80)
    )
