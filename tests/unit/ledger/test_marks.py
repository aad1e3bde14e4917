"""A listing that is the same as the last quiet one needs no comparing, unless the ledger has moved on."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.unit.ledger.scene import ROUTE, TARGET, Clock, Scene
from tests.unit.ledger.test_polls import begun
from workers.ledger import StalePoll, State, marks

MARK = "a" * 64


def quiet(scene: Scene, mark: str = MARK) -> None:
    """A poll that compared a complete listing, and found nothing to write."""
    scene.ledger.polls.apply(begun(scene.ledger), [], complete=True, reason=None, listed=7, mark=mark)


def nothing_new(scene: Scene, mark: str = MARK) -> bool:
    """Whether a listing with this mark needs no comparing; the poll is ended either way."""
    poll = begun(scene.ledger)
    count = scene.ledger.polls.confirm(poll, mark)
    if count is None:
        scene.ledger.polls.failed(poll, "compared")
    return count is not None


@pytest.fixture
def settled(scene: Scene, clock: Clock) -> Scene:
    """Two files are published, one is ready; the last poll was quiet."""
    scene.appear(b"/a", b"/b", b"/c")
    scene.publish(*scene.claim(2))
    clock.pass_(1)
    quiet(scene)
    clock.pass_(1)
    return scene


def test_the_same_listing_again_has_nothing_new(settled: Scene, clock: Clock) -> None:
    """As often as it comes; the route's times say that it was listed, completely, and its size."""
    for _ in range(3):
        assert nothing_new(settled)
        clock.pass_(600)
    told = settled.ledger.routes.get(ROUTE)
    assert (told.listed_at, told.complete_at) == (clock() - 600, clock() - 600)
    assert (told.listed_count, told.last_error) == (7, None)


def test_another_mark_says_nothing(settled: Scene) -> None:
    """Another listing, other rules, another version of Towline: all of that is in the mark."""
    assert not nothing_new(settled, "b" * 64)


def test_a_poll_that_wrote_something_leaves_no_mark(settled: Scene) -> None:
    """What it wrote may have to be looked at again; and an incomplete listing proves nothing."""
    settled.appear(b"/d")
    assert not nothing_new(settled)
    quiet(settled)
    assert nothing_new(settled)
    poll = begun(settled.ledger)
    settled.ledger.polls.apply(poll, [], complete=False, reason="cut", listed=1, mark=MARK)
    assert not nothing_new(settled)


def wait(scene: Scene) -> None:
    scene.ledger.claims.changed(scene.claim_one())


def vanish(scene: Scene) -> None:
    scene.ledger.claims.vanished(scene.claim_one())


def admit_newer(scene: Scene) -> None:
    assert scene.ledger.claims.admit(ROUTE, TARGET, b"/a", 99, 99.0, 1.0, None) is not None


def lose(scene: Scene) -> None:
    """A worker has it in hand while a listing lacks it, and gives it back."""
    [claim] = scene.claim()
    scene.vanish(b"/c")
    quiet(scene)
    scene.ledger.claims.give_back([claim])


@pytest.mark.parametrize("event", [wait, vanish, admit_newer, lose])
def test_a_ledger_that_has_moved_on_wants_a_comparison(
    settled: Scene, clock: Clock, event: Callable[[Scene], None]
) -> None:
    """A fetch found the file changed, or gone; somebody had a newer version fetched by name."""
    event(settled)
    clock.pass_(1)
    assert not nothing_new(settled)


def test_a_file_that_waits_is_looked_at_each_time(scene: Scene, clock: Clock) -> None:
    """To settle, to grow older, for its marker: the same listing may be the one that makes it ready."""
    scene.appear(b"/a", ready=False)
    clock.pass_(1)
    quiet(scene)
    assert not nothing_new(scene)
    scene.see(b"/a", ready=True)
    quiet(scene)
    assert nothing_new(scene)


def test_attempts_quarantine_and_retry_change_nothing_about_a_listing(settled: Scene, clock: Clock) -> None:
    """The file is as listed as before; `retry` makes it ready without a look."""
    settled.ledger.claims.failed(settled.claim_one(), "no", counted=True, max_attempts=1)
    assert settled.state(b"/c") == State.QUARANTINED
    assert nothing_new(settled)
    assert settled.ledger.claims.retry(ROUTE, b"/c")
    assert nothing_new(settled)
    assert settled.ledger.polls.work(ROUTE).ready == 1


def test_a_mark_is_believed_for_a_while(settled: Scene, clock: Clock) -> None:
    """Then everything is compared once more; nor is one believed that is from the future."""
    clock.pass_(marks.BELIEVED_S - 10)
    assert nothing_new(settled)
    clock.pass_(10)
    assert not nothing_new(settled)
    quiet(settled)
    clock.pass_(-5)
    assert not nothing_new(settled)


def test_what_came_while_a_poll_listed_is_not_in_its_mark(scene: Scene, clock: Clock) -> None:
    """The mark is as old as the poll's beginning."""
    scene.appear(b"/a")
    clock.pass_(1)
    poll = begun(scene.ledger)
    clock.pass_(1)
    scene.ledger.claims.admit(ROUTE, TARGET, b"/b", 1, 1.0, 1.0, None)
    scene.ledger.polls.apply(poll, [], complete=True, reason=None, listed=1, mark=MARK)
    assert not nothing_new(scene)


def test_a_poll_that_froze_confirms_nothing(settled: Scene, clock: Clock) -> None:
    """Another has listed the folder since."""
    frozen = begun(settled.ledger, until_s=1)
    clock.pass_(2)
    assert nothing_new(settled)
    with pytest.raises(StalePoll):
        settled.ledger.polls.confirm(frozen, MARK)


def test_what_is_known_can_be_asked_for_by_name(scene: Scene) -> None:
    """All that the last listing had, and of what it had not only what is named."""
    scene.appear(b"/a", b"/b", b"/c")
    scene.publish(*scene.claim())
    scene.vanish(b"/b")
    scene.vanish(b"/c")
    known = scene.ledger.polls.known(ROUTE, TARGET, named=[b"/c", b"/new"])
    assert {path: one.listed for path, one in known.items()} == {b"/a": True, b"/c": False}
    assert known[b"/c"] == scene.known()[b"/c"]


def test_a_route_whose_target_changed_gives_up_what_waited_for_the_old_one(scene: Scene) -> None:
    """It counts as work no more; should the old target return, it is looked at anew."""
    scene.appear(b"/a", b"/b")
    scene.appear(b"/c", ready=False)
    held = scene.claim_one()
    elsewhere = scene.ledger.polls.begin(ROUTE, "/elsewhere", until_s=60)
    assert elsewhere is not None
    scene.ledger.polls.apply(elsewhere, [], complete=True, reason=None, listed=0)
    work = scene.ledger.polls.work(ROUTE)
    assert (work.ready, work.waiting, work.claimed, work.later) == (0, 0, 0, 0)
    scene.ledger.claims.give_back([held])
    assert {scene.state(path) for path in (b"/a", b"/b", b"/c")} == {"VANISHED"}
    assert "another target" in (scene.ledger.history.rows()[0].reason or "")
    scene.see(b"/a", ready=True)
    assert scene.state(b"/a") == State.READY
    assert scene.ledger.polls.any_ready(ROUTE, TARGET)
