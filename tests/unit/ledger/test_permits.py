"""Permits: never more lines than `max_sessions`, in the order of asking, and none held by the dead."""

from __future__ import annotations

import time
from collections.abc import Callable

from tests.unit.ledger.scene import Clock, Other, Scene
from tests.waiting import wait_until
from workers.ledger import LineFacts

LEASE_S, WAIT_S = 60.0, 6.0
FACTS = LineFacts(5.0, 2.0, "TLSv1.3", {"idle_loss": 3}, "LineLost: EOF")


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
    assert not second.ledger.permits.is_our_turn("bank", 1)
    scene.ledger.permits.leave("bank")
    assert not take(scene), "somebody was there before"
    assert second.ledger.permits.is_our_turn("bank", 1)
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


def test_what_a_killed_process_held_is_free_at_once(live: Scene, other: Callable[[], Other]) -> None:
    """Its lock file is free: nobody waits for a lease of a minute."""
    holder = other()
    assert holder.ask("take_permit", 1)
    assert not take(live)
    holder.kill()
    began = time.monotonic()
    wait_until(lambda: take(live), 5, what="the dead one's permit")
    assert time.monotonic() - began < 2


def test_a_closed_ledger_gives_its_permits_back(scene: Scene, second: Scene) -> None:
    """An orderly stop, for those who wait."""
    assert take(second)
    second.ledger.close()
    assert take(scene)


def test_many_processes_asking_at_once_never_hold_more_than_the_limit(
    live: Scene, other: Callable[[], Other]
) -> None:
    """Each of four takes and leaves for two seconds, and sees how many there are while it holds one."""
    crowd = [other() for _ in range(4)]
    for one in crowd:
        one.tell("crowd", 2, 2.0)
    answers = [one.answer() for one in crowd]
    assert max(most for _, most in answers) == 2
    assert min(turns for turns, _ in answers) >= 5, "nobody starves"


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
