"""What all processes know together about an endpoint."""

from __future__ import annotations

import sqlalchemy

from tests.unit.ledger.scene import Clock, Scene


def test_failures_in_a_row_are_counted_by_all_together(scene: Scene, second: Scene) -> None:
    """The count is the fleet's; a line that is built ends it."""
    assert scene.ledger.endpoints.failed("bank", "refused") == 1
    assert second.ledger.endpoints.failed("bank", "timed out") == 2
    state = scene.ledger.endpoints.get("bank")
    assert (state.consecutive_failures, state.last_error) == (2, "timed out")
    scene.ledger.endpoints.connected("bank")
    assert second.ledger.endpoints.failed("bank", "refused") == 1


def test_a_refused_login_closes_the_endpoint_for_all(scene: Scene, second: Scene, clock: Clock) -> None:
    """Until somebody opens it; the first refusal's time stays."""
    since = clock.now
    scene.ledger.endpoints.close("bank", "530 Login incorrect.", "digest")
    clock.pass_(10)
    scene.ledger.endpoints.close("bank", "530 Login incorrect.", "digest")
    closed = second.ledger.endpoints.is_closed("bank", "digest")
    assert closed is not None
    assert (closed.closed_at, closed.closed_reason) == (since, "530 Login incorrect.")
    second.ledger.endpoints.open_again("bank")
    assert scene.ledger.endpoints.is_closed("bank", "digest") is None


def test_other_credentials_open_a_closed_endpoint(scene: Scene) -> None:
    """The refused ones were changed: they deserve a try, and the old ones no other."""
    digest = scene.ledger.endpoints.digest
    scene.ledger.endpoints.close("bank", "530", digest("acme", "wrong"))
    assert scene.ledger.endpoints.is_closed("bank", digest("acme", "wrong")) is not None
    assert scene.ledger.endpoints.is_closed("bank", digest("acme", "right")) is None
    assert scene.ledger.endpoints.get("bank").closed_at is None


def test_a_digest_tells_credentials_apart_and_gives_nothing_away(scene: Scene, second: Scene) -> None:
    """Equal in all processes of one ledger; no password stands in the database."""
    digest = scene.ledger.endpoints.digest("acme", "s3cret-pass")
    assert digest == second.ledger.endpoints.digest("acme", "s3cret-pass")
    assert digest != scene.ledger.endpoints.digest("acmes3cret", "-pass")
    scene.ledger.endpoints.close("bank", "530", digest)
    with scene.ledger._database.read() as connection:
        rows = connection.execute(sqlalchemy.text("SELECT * FROM endpoints")).all()
    assert "s3cret" not in repr(rows)


def may_login(scene: Scene, since: float | None = None) -> bool:
    """Ask once; by default for a line whose building begins now."""
    since = scene.clock.now if since is None else since
    return scene.ledger.endpoints.may_login("bank", "digest", since=since, until_s=11)


def test_credentials_are_tried_by_one_process_at_a_time(scene: Scene, second: Scene, clock: Clock) -> None:
    """Its turn ends with its time, with its success or with its failure."""
    assert may_login(scene)
    assert may_login(scene), "a second try of the same process"
    assert not may_login(second)
    second.ledger.endpoints.failed("bank", "timed out")
    assert not may_login(second), "another's turn is not ended by our failure"
    scene.ledger.endpoints.failed("bank", "timed out")
    assert may_login(second)
    clock.pass_(11)
    assert may_login(scene)


def test_a_login_that_works_lets_all_pass_who_waited_for_it(
    scene: Scene, second: Scene, clock: Clock
) -> None:
    """A fleet that rebuilds its lines together waits for one of them; who begins later is alone again."""
    began = clock.now
    clock.pass_(1)
    assert may_login(scene)
    assert not may_login(second, began)
    scene.ledger.endpoints.logged_in("bank", "digest")
    assert may_login(second, began)
    assert may_login(scene, began), "nobody's turn was taken"
    clock.pass_(1)
    assert may_login(second)
    assert not may_login(scene)
    scene.ledger.endpoints.logged_in("bank", "digest")
    assert not may_login(scene), "a login out of turn says nothing of this one"


def test_a_refused_login_is_the_last(scene: Scene, second: Scene, clock: Clock) -> None:
    """Whoever waited for its turn gets none, though they had worked a moment ago."""
    began = clock.now
    assert may_login(scene)
    scene.ledger.endpoints.logged_in("bank", "digest")
    scene.ledger.endpoints.close("bank", "530", "digest")
    assert not may_login(second, began)
    assert second.ledger.endpoints.is_closed("bank", "digest")
    scene.ledger.endpoints.open_again("bank")
    assert may_login(second, began)
    assert not may_login(scene, began)


def test_a_paused_endpoint_is_closed_whatever_the_credentials(scene: Scene, clock: Clock) -> None:
    """Until it is resumed; a second pause keeps the first one's time."""
    since = clock.now
    scene.ledger.endpoints.pause("bank")
    clock.pass_(5)
    scene.ledger.endpoints.pause("bank")
    state = scene.ledger.endpoints.is_closed("bank", "any")
    assert state is not None
    assert (state.paused_at, state.closed_at) == (since, None)
    scene.ledger.endpoints.resume("bank")
    assert scene.ledger.endpoints.is_closed("bank", "any") is None


def test_what_a_server_can_is_learnt_once(scene: Scene, clock: Clock) -> None:
    """The same facts again write nothing; new ones replace the old."""
    learn = scene.ledger.endpoints.learn
    learn("bank", '{"mlsd": true}', 2e9)
    clock.pass_(5)
    learn("bank", '{"mlsd": true}', 2e9)
    state = scene.ledger.endpoints.get("bank")
    assert (state.features_json, state.certificate_not_after) == ('{"mlsd": true}', 2e9)
    learn("bank", '{"mlsd": false}', None)
    assert scene.ledger.endpoints.get("bank").features_json == '{"mlsd": false}'


def test_an_endpoint_never_used_has_a_fresh_state(scene: Scene) -> None:
    """No row is no error."""
    state = scene.ledger.endpoints.get("bank")
    assert (state.consecutive_failures, state.closed_at, state.paused_at) == (0, None, None)
