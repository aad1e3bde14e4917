"""The way of a file as a state machine: real rounds over a real ledger, and a model of what is around them.

A partner's folder in memory, a target folder, a clock, three worker processes. Hypothesis decides who does
what next: files are written, replaced, grown and taken away; listings come whole, cut, twice and late;
workers stand still between any two of their steps, die there, and wake up when others have their work. What
the promise says (design §8) is looked at after every step, and in the end, when all may drain, every file
that is on the server must have landed.

Planted by hand, and found by twenty examples or fewer: intents accepted without asking whose the path is; a
late listing applied after a newer one; a cut listing taken for a whole one; files known by name only; an
attempt counted for an outage.
"""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import precondition, rule, run_state_machine_as_test

from tests.unit.way.actors import LEASE_S, POLL_LIMIT_S, Actor
from tests.unit.way.world import World

NAMES = st.sampled_from([b"a", b"b"])
SIZES = st.sampled_from([40, 64, 64, 100])
ACTORS = st.integers(0, 2)


class WayOfAFile(World):
    """Everything that can happen to a file between a partner's folder and ours."""

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

    @precondition(lambda self: self.clock_may_jump)
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
        self._upkeep()


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
@pytest.mark.timeout(7200)
def test_files_arrive_once_and_whole_in_a_thousand_lives() -> None:
    """The same, with many more examples, and longer ones."""
    run_state_machine_as_test(
        WayOfAFile, settings=settings(ORDINARY, max_examples=1000, stateful_step_count=80)
    )
