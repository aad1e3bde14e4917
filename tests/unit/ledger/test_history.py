"""What a user may ask: what happened, why not yet, how is it going."""

from __future__ import annotations

from tests.unit.ledger.scene import ROUTE, Clock, Scene, done


def test_the_newest_comes_first_and_the_limit_holds(scene: Scene) -> None:
    """A line a version, newest first."""
    scene.appear(b"/a", b"/b", b"/c")
    assert [row.path for row in scene.ledger.history.rows(limit=2)] == [b"/c", b"/b"]


def test_rows_can_be_asked_for_by_route_and_by_state(scene: Scene) -> None:
    """CLAIMED is a state here, though nothing stores it; what is claimed is not READY."""
    scene.appear(b"/a", b"/b")
    scene.claim_one()
    history = scene.ledger.history
    assert [row.path for row in history.rows(state="CLAIMED")] == [b"/a"]
    assert [row.path for row in history.rows(state="READY")] == [b"/b"]
    assert history.rows(route="another") == []


def test_an_explanation_holds_all_versions_and_the_holder(scene: Scene) -> None:
    """Who has it in hand and until when, what came before, and how the route is doing."""
    scene.appear(b"/a", size=1)
    scene.publish(scene.claim_one())
    scene.change(b"/a", size=2)
    claim = scene.claim_one()
    told = scene.ledger.history.explain(ROUTE, b"/a")
    assert [(row.number, row.size, row.state) for row in told.versions] == [
        (2, 2, "CLAIMED"),
        (1, 1, "PUBLISHED"),
    ]
    assert told.holder is not None
    assert (told.holder.owner, told.holder.fence) == (scene.ledger.owner, claim.fence)
    assert told.route.complete_at == scene.clock.now


def test_a_path_nobody_has_seen_is_explained_by_the_route_alone(scene: Scene) -> None:
    """No versions, no holder; whether the route was ever listed says the rest."""
    told = scene.ledger.history.explain(ROUTE, b"/nothing")
    assert (told.versions, told.holder, told.route.complete_at) == ((), None, None)


def test_a_summary_has_a_line_for_every_route_asked_for(scene: Scene, clock: Clock) -> None:
    """Also for one that was never polled."""
    scene.appear(b"/a", b"/b")
    clock.pass_(5)
    scene.publish(scene.claim_one())
    known, unknown = scene.ledger.history.summary([ROUTE, "another"])
    assert (known.counts.ready, known.counts.published, known.last_published_at) == (1, 1, clock.now)
    assert (unknown.state.route, unknown.counts.ready, unknown.last_published_at) == ("another", 0, None)


def test_a_summary_tells_since_when_the_oldest_file_waits(scene: Scene, clock: Clock) -> None:
    """Unsettled, ready, in hand or spaced after a failure: it waits until it is published."""

    def oldest() -> float | None:
        [told] = scene.ledger.history.summary([ROUTE])
        return told.oldest_waiting_at

    assert oldest() is None
    began = clock.now
    scene.appear(b"/a", ready=False)
    clock.pass_(60)
    scene.appear(b"/b")
    assert oldest() == began
    scene.see(b"/a", ready=True)
    scene.ledger.claims.failed(scene.claim_one(), "550", counted=True)
    assert oldest() == began
    clock.pass_(60)
    claims = scene.claim()
    assert oldest() == began
    intents = scene.intend(*(claim for claim in claims if claim.path == b"/a"))
    assert oldest() == began
    scene.ledger.publishing.published([done(one) for one in intents])
    assert oldest() == began + 60
    scene.publish(*(claim for claim in claims if claim.path == b"/b"))
    assert oldest() is None
