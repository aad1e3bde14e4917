"""What is remembered of a route: a place that takes no files, and the file that waits for it to take one."""

from __future__ import annotations

from tests.unit.ledger.scene import ROUTE, TARGET, Clock, Scene


def test_a_place_that_refuses_is_remembered_since_the_first_time(scene: Scene, clock: Clock) -> None:
    """The reason is the newest one; what is published ends it, and a person's pause is another thing."""
    routes = scene.ledger.routes
    routes.taken_again(ROUTE)
    routes.refused(ROUTE, "full")
    since = clock.now
    clock.pass_(60)
    routes.refused(ROUTE, "read-only")
    routes.pause(ROUTE)
    state = routes.get(ROUTE)
    assert (state.refused_at, state.refused_reason) == (since, "read-only")
    routes.taken_again(ROUTE)
    state = routes.get(ROUTE)
    assert (state.refused_at, state.refused_reason, state.paused_at) == (None, None, clock.now)
    routes.refused(ROUTE, "full")
    assert routes.get(ROUTE).refused_at == clock.now


def test_the_file_that_comes_next_is_told_with_what_may_lie_there_of_it(scene: Scene) -> None:
    """The one that a claim would take first, its size, and the fences whose temps may hold some of it."""
    assert scene.ledger.polls.first_ready(ROUTE, TARGET) is None
    scene.appear(b"/a", b"/b")
    first = scene.ledger.polls.first_ready(ROUTE, TARGET)
    assert first is not None
    assert (first.path, first.fence, first.temp_fence) == (b"/a", 0, None)
    assert scene.ledger.polls.ready([first.version_id]) == [first]
    claims = scene.claim()
    assert claims[0].size == first.size
    assert scene.ledger.polls.first_ready(ROUTE, TARGET) is None
    assert scene.ledger.polls.ready([first.version_id]) == []
    scene.ledger.claims.give_back(claims)
    again = scene.ledger.polls.first_ready(ROUTE, TARGET)
    assert again is not None
    assert (again.path, again.fence, again.temp_fence) == (b"/a", 1, 1)
