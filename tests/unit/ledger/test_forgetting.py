"""What the ledger forgets, and what it never does."""

from __future__ import annotations

from tests.unit.ledger.scene import ROUTE, Scene

DAY = 86_400.0


def versions(scene: Scene, path: bytes) -> int:
    return len(scene.ledger.history.explain(ROUTE, path).versions)


def test_a_published_file_is_forgotten_once_it_is_no_longer_listed(scene: Scene) -> None:
    """Ninety days after its listing lacked it, and not a day before."""
    scene.appear(b"/out/a")
    scene.publish(scene.claim_one())
    scene.clock.pass_(200 * DAY)
    assert scene.ledger.forget(90 * DAY) == 0, "still listed: it would be fetched again"
    scene.vanish(b"/out/a")
    scene.clock.pass_(89 * DAY)
    assert scene.ledger.forget(90 * DAY) == 0
    scene.clock.pass_(2 * DAY)
    assert scene.ledger.forget(90 * DAY) == 1
    assert scene.known() == {}


def test_an_older_version_is_forgotten_while_the_newer_one_stays(scene: Scene) -> None:
    """History goes; what the next listing is compared with stays."""
    scene.appear(b"/out/a")
    scene.change(b"/out/a")
    scene.publish(scene.claim_one())
    assert versions(scene, b"/out/a") == 2
    scene.clock.pass_(100 * DAY)
    assert scene.ledger.forget(90 * DAY) == 1
    assert versions(scene, b"/out/a") == 1
    assert b"/out/a" in scene.known()


def test_what_is_under_way_or_wants_a_person_is_not_forgotten(scene: Scene) -> None:
    """A claim, a waiting file and a quarantined one outlive any number of days."""
    scene.appear(b"/out/claimed", b"/out/quarantined")
    claims = {claim.path: claim for claim in scene.claim()}
    scene.ledger.claims.failed(claims[b"/out/quarantined"], "no", counted=True, max_attempts=1)
    scene.appear(b"/out/waiting", ready=False)
    scene.clock.pass_(1000 * DAY)
    assert scene.ledger.forget(DAY) == 0
    assert len(scene.known()) == 3
