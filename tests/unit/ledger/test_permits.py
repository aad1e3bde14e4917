"""Permits: never more lines than `max_sessions`, in the order of asking, and none held by the dead."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.unit.ledger.scene import SLOW_ON_POSTGRESQL, Clock, Other, Scene
from tests.waiting import wait_until
from workers.ledger import Ledger, LineFacts
from workers.ledger.permits import FORGET_PLACE_S, Standing

LEASE_S, WAIT_S = 60.0, 6.0
FACTS = LineFacts(5.0, 2.0, "TLSv1.3", {"idle_loss": 3}, "LineLost: EOF")


@pytest.fixture
def crowd(url: str, home: Path, clock: Clock) -> Iterator[list[Scene]]:
    """Eight owners, by the same clock."""
    with ExitStack() as ledgers:
        opened = [Ledger.open(url, state_dir=home, clock=clock) for _ in range(8)]
        for ledger in opened:
            ledgers.callback(ledger.close)
        yield [Scene(ledger, clock) for ledger in opened]


@pytest.fixture
def third(crowd: list[Scene]) -> Scene:
    """One more owner beside `scene` and `second`."""
    return crowd[0]


def take(scene: Scene, most: int = 1, endpoint: str = "bank") -> bool:
    """Ask once."""
    return scene.ledger.permits.take(endpoint, most, lease_s=LEASE_S, wait_s=WAIT_S)


def test_no_more_than_the_limit_hold_one(scene: Scene, second: Scene) -> None:
    """Of one endpoint; another has permits of its own. Whoever has one may ask again."""
    assert take(scene)
    assert not take(second)
    assert take(second, endpoint="other")
    assert take(scene)
    assert not take(second)


def test_the_holder_learns_that_somebody_waits_and_the_waiter_that_it_is_his_turn(
    scene: Scene, second: Scene
) -> None:
    """And once the permit is freed it goes to who waited, not to who asks again at once."""
    assert take(scene)
    assert not scene.ledger.permits.is_wanted("bank")
    assert not take(second)
    assert scene.ledger.permits.is_wanted("bank")
    assert second.ledger.permits.standing("bank", 1) == Standing(free=0, ahead=0)
    scene.ledger.permits.leave("bank")
    assert not take(scene), "somebody was there before"
    standing = second.ledger.permits.standing("bank", 1)
    assert standing is not None
    assert standing.is_next
    assert take(second)
    assert second.ledger.permits.is_wanted("bank")


def test_who_waits_no_longer_holds_up_nobody(scene: Scene, second: Scene, clock: Clock) -> None:
    """A waiter that left, or one that vanished without a word: its place is kept for seconds only."""
    assert take(scene)
    assert not take(second)
    scene.ledger.permits.leave("bank")
    clock.pass_(WAIT_S + 1)
    assert not scene.ledger.permits.is_wanted("bank")
    assert take(scene)


def test_who_comes_back_has_its_place_again(scene: Scene, second: Scene, third: Scene, clock: Clock) -> None:
    """However long it was away; who asks once an hour is not overtaken by who never leaves."""
    assert take(scene)
    assert not take(second)
    clock.pass_(WAIT_S + 1)
    assert not take(third)
    assert third.ledger.permits.standing("bank", 1) == Standing(free=0, ahead=0), (
        "nobody waits for the absent"
    )
    assert not take(second)
    assert third.ledger.permits.standing("bank", 1) == Standing(free=0, ahead=1)
    scene.ledger.permits.leave("bank")
    assert not take(third)
    assert take(second)
    clock.pass_(FORGET_PLACE_S + WAIT_S + 1)
    assert second.ledger.permits.sweep() == 2, "the holder, and a place that nobody came back to"


def test_who_does_not_come_when_it_is_its_turn_is_passed(scene: Scene, second: Scene, third: Scene) -> None:
    """By as many as were seen to be away, and no more; its place it keeps."""
    assert take(scene)
    assert not take(second)
    assert not take(third)
    scene.ledger.permits.leave("bank")
    assert not take(third), "the free one is the second's"
    assert third.ledger.permits.take("bank", 1, lease_s=LEASE_S, wait_s=WAIT_S, passing=1)
    assert not take(scene)
    third.ledger.permits.leave("bank")
    assert not take(scene)
    assert take(second)


@SLOW_ON_POSTGRESQL
def test_eight_that_ask_once_a_tick_are_served_in_the_order_they_came(
    crowd: list[Scene], clock: Clock
) -> None:
    """One line, each holder keeps it for a tick, all ask in another order each time: nobody is overtaken."""
    luck = random.Random(4)
    holder, served, asked = crowd[0], [], []
    assert take(holder)
    for _tick in range(16):
        clock.pass_(WAIT_S / 2)
        for one in luck.sample(crowd, len(crowd)):
            if one is not holder and one not in asked:
                asked.append(one)
            assert one is holder or not take(one)
        holder.ledger.permits.leave("bank")
        taken = [one for one in luck.sample(asked, len(asked)) if take(one)]
        assert taken == [asked.pop(0)], "the one that has waited longest"
        holder = taken[0]
        served.append(holder)
    assert {served.count(one) for one in crowd} == {2}


def test_a_permit_lasts_as_long_as_it_is_renewed(scene: Scene, second: Scene, clock: Clock) -> None:
    """A frozen holder loses it, and is told so when it thaws."""
    assert take(scene)
    clock.pass_(LEASE_S - 1)
    assert scene.ledger.permits.renew({"bank": None}, lease_s=LEASE_S) == {"bank"}
    clock.pass_(LEASE_S - 1)
    assert not take(second)
    clock.pass_(2)
    assert take(second)
    assert scene.ledger.permits.renew({"bank": None}, lease_s=LEASE_S) == set()


@SLOW_ON_POSTGRESQL
def test_what_a_killed_process_held_is_free_at_once(live: Scene, other: Callable[[], Other]) -> None:
    """Its lock file is free: nobody waits for a lease of a minute."""
    holder = other()
    assert holder.ask("take_permit", 1)
    assert not take(live)
    holder.kill()
    wait_until(lambda: take(live), LEASE_S / 2, what="the dead one's permit")


def test_a_closed_ledger_gives_its_permits_back(scene: Scene, second: Scene) -> None:
    """An orderly stop, for those who wait."""
    assert take(second)
    second.ledger.close()
    assert take(scene)


@SLOW_ON_POSTGRESQL
def test_many_processes_asking_at_once_never_hold_more_than_the_limit(
    live: Scene, other: Callable[[], Other]
) -> None:
    """Each of four takes and leaves ten times, and sees how many there are while it holds one."""
    crowd = [other() for _ in range(4)]
    for one in crowd:
        one.tell("crowd", 2, 10)
    # Fewer only where a busy machine let them work one after the other.
    assert max(one.answer() for one in crowd) <= 2


def test_every_line_is_known_to_the_whole_fleet(scene: Scene, second: Scene, clock: Clock) -> None:
    """With a limit or without; as old as it is, until it is closed."""
    scene.ledger.permits.built("bank", FACTS, lease_s=LEASE_S)
    assert take(second, endpoint="other")
    assert [line.endpoint for line in second.ledger.permits.lines()] == ["bank"], "a permit is no line yet"
    second.ledger.permits.built("other", FACTS, lease_s=LEASE_S)
    clock.pass_(1)
    bank, other = scene.ledger.permits.lines()
    assert (bank.endpoint, bank.age_s, bank.idle_s) == ("bank", 6.0, 3.0)
    assert (bank.tls, bank.reconnects, bank.last_error) == (FACTS.tls, FACTS.reconnects, FACTS.last_error)
    assert other.endpoint == "other"
    scene.ledger.permits.leave("bank")
    assert [line.endpoint for line in scene.ledger.permits.lines()] == ["other"]
    clock.pass_(LEASE_S)
    assert scene.ledger.permits.lines() == []
    assert scene.ledger.permits.sweep() == 1
    assert scene.ledger.permits.sweep() == 0
