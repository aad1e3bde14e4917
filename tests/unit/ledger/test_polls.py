"""Listings: what each change does to the versions known, and which poll may say so."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from tests.unit.ledger.scene import ROUTE, SLOW_ON_POSTGRESQL, TARGET, Clock, Scene, names
from workers.ledger import Appeared, Change, Changed, Counts, Ledger, Poll, Seen, StalePoll, State, Vanished


def begun(ledger: Ledger, until_s: float = 60) -> Poll:
    """A poll that has the right to go on."""
    poll = ledger.polls.begin(ROUTE, TARGET, until_s=until_s)
    assert poll is not None
    return poll


def test_a_new_file_waits_until_it_has_settled(scene: Scene) -> None:
    """One look is never enough, two looks make it ready."""
    scene.appear(b"/a", ready=False)
    assert scene.state(b"/a") == State.WAITING
    assert scene.claim() == []
    scene.see(b"/a", ready=False)
    assert (scene.state(b"/a"), scene.known()[b"/a"].looks) == (State.WAITING, 2)
    scene.see(b"/a", ready=True)
    assert names(scene.claim()) == [b"/a"]


def test_a_refused_name_is_recorded_and_never_fetched(scene: Scene) -> None:
    """It is in the history with its reason, and no claim ever gets it."""
    scene.apply([Appeared(b"/../x\r\n", 1, 1.0, 1.0, None, refused="it leaves the folder")])
    assert scene.state(b"/../x\r\n") == State.QUARANTINED
    assert scene.ledger.history.rows()[0].reason == "it leaves the folder"
    assert scene.claim() == []
    assert scene.known()[b"/../x\r\n"].state is State.QUARANTINED


def test_names_are_bytes_and_come_back_as_they_were(scene: Scene) -> None:
    """Neither encoding nor normalisation nor case makes two names one."""
    paths = [b"/\xff\xfe", b"/\x00", "/é".encode(), "/é".encode(), b"/A", b"/a", b"/ a ", b"/" + b"x" * 250]
    scene.appear(*paths)
    assert set(scene.known()) == set(paths)
    assert set(names(scene.claim())) == set(paths)


def test_a_changed_file_that_nobody_holds_is_superseded(scene: Scene) -> None:
    """The old version is history at once, the new one starts its looks anew."""
    scene.appear(b"/a", ready=False)
    scene.see(b"/a", ready=False)
    scene.change(b"/a", size=11, ready=False)
    assert scene.state(b"/a", 1) == State.SUPERSEDED
    known = scene.known()[b"/a"]
    assert (known.state, known.size, known.looks) == (State.WAITING, 11, 1)


def test_a_change_leaves_what_was_published_published(scene: Scene) -> None:
    """The old version keeps its place in the history, the new one is fetched."""
    scene.appear(b"/a", b"/b")
    one, two = scene.claim()
    scene.publish(one, two)
    scene.ledger.publishing.finish([two.version_id])
    scene.change(b"/a")
    scene.change(b"/b")
    assert (scene.state(b"/a", 1), scene.state(b"/b", 1)) == (State.PUBLISHED, State.FINISHED)
    assert sorted(names(scene.claim())) == [b"/a", b"/b"]


def test_a_newer_version_ends_a_quarantine(scene: Scene) -> None:
    """What could not be fetched is no longer wanted; its successor has all its attempts."""
    scene.appear(b"/a")
    scene.ledger.claims.failed(scene.claim_one(), "no", counted=True, max_attempts=1)
    scene.change(b"/a")
    assert scene.state(b"/a", 1) == State.SUPERSEDED
    assert scene.claim_one().attempts == 0


def test_a_vanished_file_that_comes_back_waits_again(scene: Scene, clock: Clock) -> None:
    """Nobody has looked at it while it was away: it settles anew."""
    scene.appear(b"/a")
    scene.vanish(b"/a")
    assert scene.state(b"/a") == State.VANISHED
    assert scene.claim() == []
    clock.pass_(100)
    scene.see(b"/a", ready=False)
    known = scene.known()[b"/a"]
    assert (known.state, known.looks, known.settled_since) == (State.WAITING, 1, clock.now)


def test_a_published_file_that_vanishes_and_returns_is_not_fetched_again(scene: Scene) -> None:
    """It stays known while it is away, and known as published when it is back."""
    scene.appear(b"/a")
    scene.publish(scene.claim_one())
    scene.vanish(b"/a")
    known = scene.known()[b"/a"]
    assert (known.state, known.listed) == (State.PUBLISHED, False)
    scene.see(b"/a", ready=True)
    scene.apply([Appeared(b"/a", 10, 1.0, 1.0, None, ready=True)])
    known = scene.known()[b"/a"]
    assert (known.state, known.listed) == (State.PUBLISHED, True)
    assert scene.claim() == []


def test_a_file_that_vanishes_in_somebodys_hands_is_gone_when_the_claim_ends(scene: Scene) -> None:
    """A listing does not take a file out of a worker's hands: it may just have been fetched whole."""
    scene.appear(b"/a", b"/b")
    first, second = scene.claim()
    for path in (b"/a", b"/b"):
        scene.vanish(path)
    assert scene.state(b"/a") == "CLAIMED"
    scene.ledger.claims.give_back([first])
    scene.publish(second)
    assert (scene.state(b"/a"), scene.state(b"/b")) == (State.VANISHED, State.PUBLISHED)


def test_an_incomplete_listing_takes_nothing_away(scene: Scene) -> None:
    """Absence in half a listing means nothing: to say so is a fault of the caller."""
    scene.appear(b"/a")
    poll = begun(scene.ledger)
    with pytest.raises(ValueError, match="incomplete"):
        scene.ledger.polls.apply(
            poll, [Vanished(scene.known()[b"/a"])], complete=False, reason="cut", listed=0
        )


def test_one_poll_of_a_route_at_a_time(scene: Scene, second: Scene, clock: Clock) -> None:
    """The second is told so; when the first one's time is up, it is replaced."""
    begun(scene.ledger, until_s=60)
    assert second.ledger.polls.begin(ROUTE, TARGET, until_s=60) is None
    assert second.ledger.polls.begin("another route", TARGET, until_s=60) is not None
    clock.pass_(60)
    assert second.ledger.polls.begin(ROUTE, TARGET, until_s=60) is not None


def test_a_poll_that_was_replaced_applies_nothing(scene: Scene, second: Scene, clock: Clock) -> None:
    """It froze with an old listing in its hands; a newer one is under way, or even done."""
    old = begun(scene.ledger, until_s=60)
    clock.pass_(60)
    new = begun(second.ledger)
    change = [Appeared(b"/stale", 1, 1.0, 1.0, None)]
    with pytest.raises(StalePoll):
        scene.ledger.polls.apply(old, change, complete=True, reason=None, listed=1)
    scene.ledger.polls.failed(old, "too late to say so")
    second.ledger.polls.apply(new, [], complete=True, reason=None, listed=0)
    with pytest.raises(StalePoll):
        scene.ledger.polls.apply(old, change, complete=True, reason=None, listed=1)
    assert scene.known() == {}
    assert scene.ledger.routes.get(ROUTE).last_error is None


def test_a_poll_that_failed_makes_way_for_the_next(scene: Scene) -> None:
    """Its error is remembered until a listing succeeds."""
    scene.ledger.polls.failed(begun(scene.ledger), "no such folder")
    assert scene.ledger.routes.get(ROUTE).last_error == "no such folder"
    scene.apply([])
    state = scene.ledger.routes.get(ROUTE)
    assert (state.last_error, state.complete_at) == (None, scene.clock.now)


def test_an_incomplete_listing_is_not_taken_for_a_complete_one(scene: Scene, clock: Clock) -> None:
    """`complete_at` says when the folder was last seen whole, `last_error` why not since."""
    scene.apply([])
    first = clock.now
    clock.pass_(10)
    poll = begun(scene.ledger)
    scene.ledger.polls.apply(poll, [], complete=False, reason="10,000 entries, then 226", listed=10_000)
    state = scene.ledger.routes.get(ROUTE)
    assert (state.complete_at, state.listed_at, state.listed_count) == (first, clock.now, 10_000)
    assert state.last_error == "10,000 entries, then 226"


def test_changes_are_held_against_what_happened_meanwhile(scene: Scene) -> None:
    """Between reading what is known and writing, a file may be admitted, claimed, published."""
    scene.appear(b"/a", b"/b")
    before = scene.known()
    newer = scene.ledger.claims.admit(ROUTE, TARGET, b"/a", 99, 9.0, 1.0, None)
    scene.publish(*(claim for claim in scene.claim() if claim.path == b"/b"))
    scene.apply(
        [
            Changed(before[b"/a"], 50, 5.0, 1.0, None, ready=True),
            Seen(before[b"/b"], ready=True),
        ]
    )
    assert scene.known()[b"/a"].version_id == newer
    assert scene.known()[b"/b"].state is State.PUBLISHED


@SLOW_ON_POSTGRESQL
def test_a_large_listing_is_applied_in_chunks_and_whole(scene: Scene) -> None:
    """Chunks are made by time; none is lost or applied twice."""
    paths = [b"/%06d" % number for number in range(5000)]
    scene.appear(*paths, ready=False)
    known = scene.known()
    assert len(known) == len(paths)
    scene.apply([Seen(one, ready=True) for one in known.values()])
    assert scene.ledger.polls.counts(ROUTE).ready == len(paths)


class Interrupted(list[Change]):
    """A listing between whose chunks something happens."""

    def __init__(self, changes: list[Change], between: Callable[[], None]) -> None:
        super().__init__(changes)
        self._between: Callable[[], None] | None = between

    def __getitem__(self, place: Any) -> Any:
        if place.start and self._between is not None:
            happens, self._between = self._between, None
            happens()
        return super().__getitem__(place)


def test_a_stale_poll_is_stopped_between_two_chunks(scene: Scene, second: Scene, clock: Clock) -> None:
    """What it wrote before is true; nothing more of it follows."""

    def another_begins() -> None:
        clock.pass_(60)
        begun(second.ledger)

    changes: list[Change] = [Appeared(b"/%d" % number, 1, 1.0, 1.0, None) for number in range(1000)]
    old = begun(scene.ledger, until_s=60)
    with pytest.raises(StalePoll):
        scene.ledger.polls.apply(
            old, Interrupted(changes, another_begins), complete=True, reason=None, listed=1000
        )
    assert 0 < len(scene.known()) < 1000


def test_counts_say_what_can_be_done_now(scene: Scene, clock: Clock) -> None:
    """Ready now, later, in hand, and each of the ends."""
    scene.appear(*(b"/%d" % number for number in range(8)), size=7)
    scene.appear(b"/waiting", ready=False)
    scene.appear(b"/gone", ready=False)
    scene.vanish(b"/gone")
    spaced, quarantined, published, finished, held = scene.claim(5)
    scene.ledger.claims.failed(spaced, "", counted=True)
    scene.ledger.claims.failed(quarantined, "", counted=True, max_attempts=1)
    scene.publish(published, finished)
    scene.ledger.publishing.finish([finished.version_id])
    scene.intend(held)
    assert scene.ledger.polls.counts(ROUTE) == Counts(
        waiting=1,
        ready=3,
        ready_bytes=21,
        later=1,
        claimed=1,
        published=1,
        finished=1,
        vanished=1,
        quarantined=1,
    )


def test_an_extra_look_is_asked_for_once(scene: Scene, second: Scene, clock: Clock) -> None:
    """Whoever asks first sends the message; an earlier look, or one that got lost, is asked for anew."""
    ask = scene.ledger.routes.ask_look
    assert ask(ROUTE, 10)
    assert not second.ledger.routes.ask_look(ROUTE, 10)
    assert ask(ROUTE, 5), "this one is due earlier"
    clock.pass_(5)
    assert ask(ROUTE, 10)


def test_a_paused_route_says_since_when_and_why(scene: Scene, clock: Clock) -> None:
    """A second pause changes neither; resume ends it."""
    scene.ledger.routes.pause(ROUTE, "maintenance")
    since = clock.now
    clock.pass_(10)
    scene.ledger.routes.pause(ROUTE, "again")
    state = scene.ledger.routes.get(ROUTE)
    assert (state.paused_at, state.pause_reason) == (since, "maintenance")
    scene.ledger.routes.resume(ROUTE)
    assert scene.ledger.routes.get(ROUTE).paused_at is None
