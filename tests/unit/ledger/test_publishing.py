"""The intent before the rename, the fact after it, and who may state either."""

from __future__ import annotations

import contextlib
import itertools
import json
from dataclasses import replace
from typing import Any

import pytest
import sqlalchemy

from tests.unit.ledger.scene import ROUTE, Clock, Scene, done, intent, names
from workers.errors import LedgerUnavailable
from workers.ledger import FollowOn, State
from workers.ledger.engine import Database


def test_a_file_goes_all_the_way(scene: Scene) -> None:
    """READY, claimed, PUBLISHING, PUBLISHED, FINISHED; the history knows when, and where it landed."""
    scene.appear(b"/a")
    claim = scene.claim_one()
    (intended,) = scene.intend(claim)
    assert scene.state(b"/a") == State.PUBLISHING
    scene.ledger.publishing.published([done(intended)])
    assert scene.state(b"/a") == State.PUBLISHED
    scene.ledger.publishing.finish([claim.version_id])
    (row,) = scene.ledger.history.rows()
    assert (row.state, row.local, row.bytes, row.published_at) == (
        State.FINISHED,
        "/final",
        10,
        scene.clock.now,
    )
    assert scene.ledger.claims.renew(60) == set()


def test_an_intent_needs_the_claim_it_was_written_under(scene: Scene, second: Scene, clock: Clock) -> None:
    """Another owner, a lower fence, another version: not accepted, and so not renamed."""
    scene.appear(b"/a", b"/b")
    lost, kept = scene.claim(lease_s=60)
    assert second.intend(lost, kept) == [], "another owner"
    clock.pass_(61)
    again = {claim.path: claim for claim in second.claim(1)}
    taken = again[lost.path]
    assert [one.path_id for one in scene.intend(lost)] == []
    assert second.ledger.publishing.intend([replace(intent(second.ledger, taken), fence=lost.fence)]) == []
    assert second.ledger.publishing.intend([replace(intent(second.ledger, taken), version_id=999)]) == []
    assert len(second.intend(taken)) == 1


def test_of_a_group_only_the_lost_ones_are_left_out(scene: Scene, second: Scene, clock: Clock) -> None:
    """One file taken by somebody else does not stop the others."""
    scene.appear(b"/a", b"/b", b"/c")
    (first,) = scene.claim(1, lease_s=60)
    rest = scene.claim(2, lease_s=600)
    clock.pass_(61)
    second.claim()
    assert [one.path_id for one in scene.intend(first, *rest)] == [claim.path_id for claim in rest]


def test_an_open_intent_comes_first_and_whole_to_the_next_claimant(scene: Scene, second: Scene) -> None:
    """All that is needed to find out how far the dead one came."""
    scene.appear(b"/a", b"/b")
    early, late = scene.claim()
    (intended,) = scene.intend(late)
    scene.ledger.claims.give_back([early, late])
    assert scene.state(b"/b") == State.PUBLISHING
    claims = second.claim()
    assert names(claims) == [b"/b", b"/a"]
    assert claims[0].intent == intended
    assert claims[0].fence > intended.fence
    assert claims[1].intent is None


def test_a_successor_may_state_what_the_dead_one_did(scene: Scene, second: Scene, clock: Clock) -> None:
    """The temp is gone, so it was published: the intent of the lower fence is fulfilled."""
    scene.appear(b"/a")
    scene.intend(scene.claim_one())
    clock.pass_(61)
    claim = second.claim_one()
    assert claim.intent is not None
    second.ledger.publishing.published([done(claim.intent)])
    assert scene.state(b"/a") == State.PUBLISHED
    assert second.ledger.claims.renew(60) == set()


def test_what_was_renamed_by_a_frozen_worker_is_published_once(
    scene: Scene, second: Scene, clock: Clock
) -> None:
    """It thaws between rename and report, while its successor is about to report the same: one
    announcement."""
    scene.appear(b"/a")
    (intended,) = scene.intend(scene.claim_one())
    clock.pass_(61)
    successor = second.claim_one()
    announced = replace(done(intended), then=FollowOn("billing.ingest", "billing"))
    scene.ledger.publishing.published([announced])
    assert scene.state(b"/a") == State.PUBLISHED
    assert second.ledger.claims.renew(60) == {successor.path_id}, "the successor's claim is its own to end"
    second.ledger.publishing.published([announced])
    assert second.ledger.claims.renew(60) == set()
    assert len(outbox(scene)) == 1


def test_a_late_report_about_an_earlier_intent_changes_nothing(
    scene: Scene, second: Scene, clock: Clock
) -> None:
    """The successor took the intent back and has its own: what the first one had received is not what is
    there."""
    scene.appear(b"/a")
    (late,) = scene.intend(scene.claim_one())
    clock.pass_(61)
    successor = second.claim_one()
    second.ledger.publishing.abandon(successor)
    second.intend(successor)
    scene.ledger.publishing.published([done(late)])
    assert scene.state(b"/a") == State.PUBLISHING


def test_an_abandoned_intent_cannot_be_fulfilled_any_more(scene: Scene) -> None:
    """Once it is taken back, a late report of it is about something that is to be fetched anew."""
    scene.appear(b"/a")
    claim = scene.claim_one()
    (intended,) = scene.intend(claim)
    scene.ledger.publishing.abandon(claim)
    assert scene.ledger.claims.renew(60) == {claim.path_id}, "the claim is still ours"
    scene.ledger.publishing.published([done(intended)])
    assert scene.state(b"/a") == "CLAIMED"
    assert scene.ledger.claims.renew(60) == {claim.path_id}


def test_a_newer_version_does_not_overtake_an_open_intent(scene: Scene, clock: Clock) -> None:
    """As long as the older one's rename is not settled, the newer one is not fetched."""
    scene.appear(b"/a")
    old = scene.claim_one()
    scene.intend(old)
    scene.change(b"/a")
    scene.ledger.claims.failed(old, "the disk is away", counted=True, max_attempts=1)
    assert scene.state(b"/a", 1) == State.PUBLISHING
    assert scene.claim() == [], "the older one is spaced, the newer one waits for it"
    clock.pass_(3600)
    settled = scene.claim_one()
    assert settled.version_id == old.version_id
    assert settled.intent is not None
    scene.ledger.publishing.published([done(settled.intent)])
    assert scene.claim_one().version_id != old.version_id


def test_the_announcement_is_written_with_the_fact(scene: Scene) -> None:
    """The outbox holds the follow-on task's arguments as the contract names them, names in their
    printable form."""
    scene.appear(b"/\xff.xml")
    claim = scene.claim_one()
    (intended,) = scene.intend(claim)
    scene.ledger.publishing.published([replace(done(intended), then=FollowOn("billing.ingest", "billing"))])
    ((route, task, queue, payload, sent_at),) = outbox(scene)
    assert (route, task, queue, sent_at) == (ROUTE, "billing.ingest", "billing", None)
    assert json.loads(payload) == {
        "route": ROUTE,
        "path": "/\\xff.xml",
        "version": claim.version_id,
        "local": "/final",
        "bytes": 10,
        "sha256": "ab" * 32,
        "published_at": "2027-01-15T08:00:00.000+00:00",
    }


def test_the_fact_and_its_announcement_are_one_commit(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever dies after the first commit: a file is PUBLISHED and announced, or neither."""
    scene.appear(b"/a")
    (intended,) = scene.intend(scene.claim_one())
    write, writes = Database.write, itertools.count()

    def once(database: Database) -> Any:
        if next(writes):
            raise LedgerUnavailable("sqlite", "it died")
        return write(database)

    with monkeypatch.context() as patched, contextlib.suppress(LedgerUnavailable):
        patched.setattr(Database, "write", once)
        scene.ledger.publishing.published(
            [replace(done(intended), then=FollowOn("billing.ingest", "billing"))]
        )
    assert (scene.state(b"/a"), len(outbox(scene))) == ("PUBLISHED", 1)


def test_without_a_follow_on_task_nothing_is_announced(scene: Scene) -> None:
    """The outbox is for those who asked for it."""
    scene.appear(b"/a")
    scene.publish(scene.claim_one())
    assert outbox(scene) == []


def outbox(scene: Scene) -> list[tuple[Any, ...]]:
    """The announcements, read from the database itself."""
    statement = sqlalchemy.text("SELECT route, task, queue, payload, sent_at FROM outbox")
    with scene.ledger._database.read() as connection:
        return [tuple(row) for row in connection.execute(statement)]


def test_a_file_with_nothing_to_do_at_its_source_is_finished_as_it_is_published(scene: Scene) -> None:
    """A route that later deletes its sources must not begin with what was published when it kept them."""
    scene.appear(b"/a")
    (intended,) = scene.intend(scene.claim_one())
    scene.ledger.publishing.published([replace(done(intended), finished=True)])
    (file,) = scene.ledger.history.explain(ROUTE, b"/a").versions
    assert (file.state, file.finished_at) == ("FINISHED", file.published_at)
