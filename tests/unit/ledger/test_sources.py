"""What is due at a source, who has taken it, and when it is tried again."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tests.unit.ledger.scene import ROUTE, Clock, Scene, done, intent
from workers.ledger import Appeared, FileRow, Source, State


def published(scene: Scene, *paths: bytes) -> None:
    """Files under their final names, with something to do at their sources."""
    scene.appear(*paths)
    scene.publish(*scene.claim())


def take(scene: Scene, hold_s: float = 60) -> list[Source]:
    return scene.ledger.sources.take(ROUTE, files=9, hold_s=hold_s)


def row(scene: Scene, path: bytes = b"/a") -> FileRow:
    return scene.ledger.history.explain(ROUTE, path).versions[0]


def test_a_published_file_is_due_at_its_source_until_it_is_said_what_became_of_it(scene: Scene) -> None:
    """Then it is FINISHED, and the ledger knows how."""
    published(scene, b"/a")
    assert scene.ledger.sources.any_due(ROUTE)
    [source] = take(scene)
    assert (source.path, source.size, source.modified, source.latest) == (b"/a", 10, 1.0, True)
    scene.ledger.sources.done({source: "deleted"})
    assert (row(scene).state, row(scene).after_step) == (State.FINISHED, "deleted")
    assert row(scene).finished_at == scene.clock.now
    assert not scene.ledger.sources.any_due(ROUTE)


def test_nothing_is_due_before_its_file_is_published(scene: Scene) -> None:
    """Claimed, and about to be renamed: the only copy may still be the partner's."""
    scene.appear(b"/a")
    claim = scene.claim_one()
    assert take(scene) == []
    (intended,) = scene.intend(claim)
    assert (scene.ledger.sources.any_due(ROUTE), take(scene)) == (False, [])
    scene.ledger.publishing.published([done(intended)])
    assert [source.path for source in take(scene)] == [b"/a"]


def test_nothing_is_due_where_the_source_is_kept(scene: Scene) -> None:
    """FINISHED as it is published."""
    scene.appear(b"/a")
    (intended,) = scene.intend(scene.claim_one())
    scene.ledger.publishing.published([replace(done(intended), finished=True)])
    assert take(scene) == []


def test_a_taker_that_died_is_followed_when_its_time_is_over(
    scene: Scene, second: Scene, clock: Clock
) -> None:
    """Not before; and what the first one has to say then counts only if it is that it is done."""
    published(scene, b"/a")
    [first] = take(scene)
    assert take(second) == []
    clock.pass_(61)
    [again] = take(second)
    scene.ledger.sources.failed({first: "550"})
    scene.ledger.sources.give_back([first])
    assert (row(scene).after_attempts, row(scene).after_next_at) == (0, again.held_until)
    scene.ledger.sources.done({first: "deleted"})
    second.ledger.sources.failed({again: "550 no such file"})
    assert (row(scene).state, row(scene).after_attempts) == (State.FINISHED, 0)


def test_a_refused_source_is_tried_later_each_time_and_for_ever(scene: Scene, clock: Clock) -> None:
    """Ten seconds, then four times as long, at most an hour; the file's own attempts are untouched."""
    published(scene, b"/a")
    waits = []
    for _ in range(7):
        [source] = take(scene)
        scene.ledger.sources.failed({source: "DELE: 550"})
        assert take(scene) == []
        waits.append((row(scene).after_next_at or 0) - clock.now)
        clock.pass_(waits[-1])
    assert waits == [10, 40, 160, 640, 2560, 3600, 3600]
    assert (row(scene).state, row(scene).attempts, row(scene).after_attempts) == ("PUBLISHED", 0, 7)


def test_what_was_given_back_is_due_at_once(scene: Scene) -> None:
    """No line could be had: nothing is counted."""
    published(scene, b"/a", b"/b")
    scene.ledger.sources.give_back(take(scene))
    assert [source.attempts for source in take(scene)] == [0, 0]


def test_a_version_that_was_replaced_says_so(scene: Scene) -> None:
    """Its source can no longer be there: whoever takes it need not even ask."""
    published(scene, b"/a")
    scene.change(b"/a")
    [source] = take(scene)
    assert not source.latest


def test_the_time_that_was_asked_for_at_the_fetch_is_what_the_source_is_known_by(scene: Scene) -> None:
    """The listing's coarser one stays what listings are compared with."""
    scene.apply([Appeared(b"/a", 10, 0.0, 86400.0, None, ready=True)])
    told = replace(intent(scene.ledger, scene.claim_one()), modified=5000.0, precision_s=1.0)
    scene.ledger.publishing.published([done(one) for one in scene.ledger.publishing.intend([told])])
    [source] = take(scene)
    assert (source.modified, source.precision_s) == (5000.0, 1.0)
    assert (row(scene).modified, row(scene).precision_s) == (0.0, 86400.0)


def test_a_file_is_due_at_its_source_when_its_attempts_are_used_up(scene: Scene) -> None:
    """It stays QUARANTINED; what a retry takes on again is due no more."""
    scene.appear(b"/a", b"/b")
    for claim in scene.claim():
        scene.ledger.claims.failed(claim, "no", counted=True, max_attempts=1)
    assert scene.ledger.claims.retry(ROUTE, b"/b")
    [source] = take(scene)
    assert (source.path, source.given_up) == (b"/a", True)
    scene.ledger.sources.done({source: "moved:/failed/a"})
    assert (row(scene).state, row(scene).after_step) == (State.QUARANTINED, "moved:/failed/a")
    assert row(scene, b"/b").after_next_at is None


def test_a_name_that_was_refused_at_first_sight_is_left_where_it_is(scene: Scene) -> None:
    """It was never tried, and no command could name it."""
    scene.apply([Appeared(b"/a\n", 10, 1.0, 1.0, None, refused="it holds a line end")])
    assert take(scene) == []


@pytest.mark.parametrize("path", [b"/a", b"/b"])
def test_somebody_who_has_put_the_folder_right_need_not_wait(scene: Scene, path: bytes) -> None:
    """`retry` makes a refused source due at once; where nothing was refused there is nothing to retry."""
    published(scene, b"/a", b"/b")
    first = next(source for source in take(scene) if source.path == b"/a")
    scene.ledger.sources.failed({first: "RNTO: 550"})
    assert scene.ledger.claims.retry(ROUTE, path) is (path == b"/a")
    assert [source.path for source in take(scene)] == ([b"/a"] if path == b"/a" else [])
