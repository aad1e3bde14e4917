"""Follow-on tasks: taken by one sender, sent at least once, and again when somebody asks."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from tests.unit.ledger.scene import ROUTE, SLOW_ON_POSTGRESQL, Clock, Other, Scene, done
from workers.ledger import Announcement, FollowOn

THEN = FollowOn("billing.ingest", "billing")


def publish(scene: Scene, *paths: bytes, then: FollowOn | None = THEN) -> None:
    """These files are published, and announced in the outbox."""
    scene.appear(*paths)
    intents = scene.intend(*scene.claim())
    scene.ledger.publishing.published([replace(done(one), then=then) for one in intents])


def taken(scene: Scene, route: str | None = None, hold_s: float = 60.0) -> list[Announcement]:
    """What a sender gets now."""
    return scene.ledger.outbox.take(route=route, hold_s=hold_s)


def paths(announcements: list[Announcement]) -> list[str]:
    """Which files these are about."""
    return [one.arguments["path"] for one in announcements]


def test_what_is_sent_is_not_sent_again(scene: Scene) -> None:
    """One round of take and mark, and the outbox is empty."""
    publish(scene, b"/a", b"/b")
    first = taken(scene)
    assert paths(first) == ["/a", "/b"]
    assert {(one.task, one.queue) for one in first} == {("billing.ingest", "billing")}
    scene.ledger.outbox.sent([one.id for one in first])
    assert taken(scene) == []


def test_who_dies_between_sending_and_marking_has_it_sent_again(scene: Scene, clock: Clock) -> None:
    """Taken for a while only: at least once, never lost."""
    publish(scene, b"/a")
    first = taken(scene, hold_s=60)
    clock.pass_(59)
    assert taken(scene) == [], "the first sender may still be at it"
    clock.pass_(2)
    assert taken(scene) == first


def test_what_the_broker_did_not_take_is_due_at_once(scene: Scene) -> None:
    """And what it took before it went away is not put back."""
    publish(scene, b"/a", b"/b")
    first = taken(scene)
    scene.ledger.outbox.sent([first[0].id])
    scene.ledger.outbox.put_back([one.id for one in first])
    assert paths(taken(scene)) == ["/b"]


def test_a_fetch_sends_what_is_its_own_routes(scene: Scene) -> None:
    """Others have their own fetches, and upkeep."""
    publish(scene, b"/a")
    assert taken(scene, route="another") == []
    assert paths(taken(scene, route=ROUTE)) == ["/a"]


@SLOW_ON_POSTGRESQL
def test_senders_at_the_same_time_take_different_rows(live: Scene, other: Callable[[], Other]) -> None:
    """Three processes empty one outbox: each file is taken once."""
    names = [b"/%03d" % number for number in range(200)]
    for begin in range(0, 200, 50):
        publish(live, *names[begin : begin + 50])
    senders = [other() for _ in range(3)]
    for sender in senders:
        sender.tell("take_announcements")
    answers = [sender.answer() for sender in senders]
    assert sorted(path for answer in answers for path in answer) == [name.decode() for name in names]


def test_announced_again_is_what_was_published_since_then(scene: Scene, clock: Clock) -> None:
    """With the same arguments; older files and those that wait anyway are not added."""
    publish(scene, b"/old")
    clock.pass_(100)
    since = clock.now
    publish(scene, b"/new")
    first = taken(scene)
    scene.ledger.outbox.sent([one.id for one in first])
    publish(scene, b"/waiting")
    assert scene.ledger.outbox.again(ROUTE, THEN, since=since) == 2
    again = taken(scene)
    assert sorted(paths(again)) == ["/new", "/waiting"]
    assert first[1].arguments in [one.arguments for one in again]


def test_files_from_before_there_was_a_follow_on_task_can_be_announced(scene: Scene) -> None:
    """A new consumer begins with what is there."""
    publish(scene, b"/a", then=None)
    assert taken(scene) == []
    assert scene.ledger.outbox.again(ROUTE, THEN, since=0.0) == 1
    assert paths(taken(scene)) == ["/a"]


def test_a_file_that_was_kept_in_favour_of_another_is_never_announced(scene: Scene) -> None:
    """`on_exists = "keep"`: nothing of ours landed under that name, and nobody is to be told of it."""
    scene.appear(b"/a")
    (kept,) = scene.intend(scene.claim_one())
    nothing = replace(done(kept), bytes=0, sha256="", then=None, finished=True)
    scene.ledger.publishing.published([nothing])
    publish(scene, b"/b", then=None)
    assert scene.ledger.outbox.again(ROUTE, THEN, since=0) == 1
    assert paths(taken(scene)) == ["/b"]
