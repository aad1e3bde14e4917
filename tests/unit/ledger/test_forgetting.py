"""What is forgotten, and above all what is not."""

from __future__ import annotations

from dataclasses import replace

from tests.unit.ledger.scene import ROUTE, TARGET, Clock, Scene, done
from workers.ledger import Appeared, FollowOn, State

DAY = 86400.0


def test_what_is_still_listed_is_never_forgotten(scene: Scene, clock: Clock) -> None:
    """It would be taken for new, and fetched again."""
    scene.appear(b"/a")
    scene.publish(scene.claim_one())
    clock.pass_(1000 * DAY)
    assert scene.ledger.forget(90 * DAY) == 0
    assert scene.known()[b"/a"].state is State.PUBLISHED


def test_what_went_long_ago_is_forgotten_with_its_path(scene: Scene, clock: Clock) -> None:
    """It counts from when it was seen to be gone."""
    scene.appear(b"/a")
    scene.publish(scene.claim_one())
    clock.pass_(100 * DAY)
    scene.vanish(b"/a")
    clock.pass_(89 * DAY)
    assert scene.ledger.forget(90 * DAY) == 0
    clock.pass_(2 * DAY)
    assert scene.ledger.forget(90 * DAY) == 1
    assert scene.known() == {}
    assert scene.ledger.history.explain(ROUTE, b"/a").versions == ()


def test_older_versions_go_while_the_listed_one_stays(scene: Scene, clock: Clock) -> None:
    """A file that is replaced every day keeps a history, not all of history."""
    scene.appear(b"/a")
    for size in range(20, 25):
        scene.change(b"/a", size=size)
        clock.pass_(DAY)
    assert scene.ledger.forget(3 * DAY) == 2
    assert [row.number for row in scene.ledger.history.explain(ROUTE, b"/a").versions] == [6, 5, 4, 3]


def test_what_is_claimed_or_not_yet_announced_is_kept(scene: Scene, clock: Clock) -> None:
    """Somebody works on the one, and somebody waits for the other."""
    scene.appear(b"/announced", b"/held")
    announced, held = scene.claim(lease_s=1000 * DAY)
    (intended,) = scene.intend(announced)
    scene.ledger.publishing.published([replace(done(intended), then=FollowOn("billing.ingest", "billing"))])
    for path in (b"/announced", b"/held"):
        scene.vanish(path)
    clock.pass_(100 * DAY)
    assert scene.ledger.forget(DAY) == 0
    assert scene.ledger.claims.renew(60) == {held.path_id}


def test_a_path_whose_newest_version_was_forgotten_can_come_back(scene: Scene, clock: Clock) -> None:
    """An older version may stay longer than the newest; numbers go on from the highest there is."""
    scene.appear(b"/a")
    (intended,) = scene.intend(scene.claim_one())
    scene.ledger.publishing.published([replace(done(intended), then=FollowOn("billing.ingest", "billing"))])
    scene.change(b"/a")
    scene.vanish(b"/a")
    clock.pass_(100 * DAY)
    assert scene.ledger.forget(DAY) == 1
    scene.apply([Appeared(b"/a", 30, 3.0, 1.0, None, ready=True)])
    assert scene.ledger.claims.admit(ROUTE, TARGET, b"/a", 31, 3.0, 1.0, None) is not None
    numbers = [row.number for row in scene.ledger.history.explain(ROUTE, b"/a").versions]
    assert numbers == [3, 2, 1]
