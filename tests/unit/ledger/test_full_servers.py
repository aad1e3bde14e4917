"""A server that is full: the fleet asks it for no line more, for a while."""

from __future__ import annotations

from tests.unit.ledger.scene import Clock, Scene
from workers.ledger import FullServer, LineFacts
from workers.ledger.permits import LAG_S

FACTS = LineFacts(0.0, 0.0, "TLSv1.3", {}, None)


def test_it_has_room_for_the_lines_that_are_held(scene: Scene, second: Scene, clock: Clock) -> None:
    """By all processes, with max_sessions or without; for no more than max_sessions, and only for a while."""
    permits = scene.ledger.permits
    assert permits.limit("bank", None) is None
    assert permits.limit("bank", 4) == 4
    for holder in (scene, second):
        holder.ledger.permits.built("bank", FACTS, lease_s=60)
    assert scene.ledger.permits.refused("bank", for_s=30) == 1, "the other's; ours is not built"
    assert second.ledger.permits.limit("bank", None) == 1
    assert second.ledger.permits.limit("other", None) is None
    assert permits.limit("bank", 4) == 1
    clock.pass_(10)
    assert permits.full() == [FullServer("bank", 1, 20.0)]
    clock.pass_(20)
    assert permits.limit("bank", 4) == 4
    assert permits.full() == []


def test_one_line_is_always_tried(scene: Scene, clock: Clock) -> None:
    """The lines that fill the server may be somebody else's, and will be gone some day."""
    assert scene.ledger.permits.refused("bank", for_s=30) == 1
    assert scene.ledger.permits.take("bank", 1, lease_s=60, wait_s=6)


def test_a_line_that_comes_to_be_all_the_same_shows_that_there_is_room(scene: Scene, second: Scene) -> None:
    """It was on its way while another was refused."""
    scene.ledger.permits.built("bank", FACTS, lease_s=60)
    assert second.ledger.permits.refused("bank", for_s=30) == 1
    second.ledger.permits.built("bank", FACTS, lease_s=60)
    assert scene.ledger.permits.limit("bank", None) == 2


def test_a_line_that_was_closed_just_now_may_still_count_there(
    scene: Scene, second: Scene, clock: Clock
) -> None:
    """Who takes its place at once, and is refused, has learned nothing of how many there may be."""
    second.ledger.permits.take("bank", 2, lease_s=60, wait_s=6)
    second.ledger.permits.built("bank", FACTS, lease_s=60)
    second.ledger.permits.leave("bank")
    assert scene.ledger.permits.refused("bank", for_s=30) is None
    assert scene.ledger.permits.limit("bank", 2) == 2
    clock.pass_(LAG_S)
    assert scene.ledger.permits.refused("bank", for_s=30) == 1
    assert scene.ledger.permits.limit("bank", 2) == 1
