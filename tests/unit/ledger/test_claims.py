"""Claims: one holder a path, fences that rise, leases that end, and what counts as an attempt."""

from __future__ import annotations

from tests.unit.ledger.scene import ROUTE, TARGET, Clock, Scene, intent, names
from workers.ledger import Appeared, State, temp_name


def test_the_oldest_ready_files_come_first(scene: Scene, clock: Clock) -> None:
    """What became ready first is fetched first, whatever the names are."""
    scene.appear(b"/z")
    clock.pass_(1)
    scene.appear(b"/a")
    assert names(scene.claim(1)) == [b"/z"]
    assert names(scene.claim(1)) == [b"/a"]


def test_a_batch_ends_at_its_files_and_at_its_bytes(scene: Scene) -> None:
    """Both limits hold; one file that is larger than the limit comes by itself."""
    scene.appear(*(b"/%d" % number for number in range(5)), size=100)
    assert len(scene.claim(3)) == 3
    assert len(scene.claim(3, bytes=150)) == 1
    assert len(scene.claim(3, bytes=1)) == 1
    assert scene.claim(3) == []


def test_what_is_claimed_is_not_claimed_again(scene: Scene, second: Scene) -> None:
    """Two owners share out the files; nobody gets one twice."""
    scene.appear(*(b"/%d" % number for number in range(10)))
    mine, theirs = scene.claim(6), second.claim(6)
    assert sorted(names(mine) + names(theirs)) == [b"/%d" % number for number in range(10)]
    assert scene.state(b"/0") == "CLAIMED"


def test_a_fence_only_rises(scene: Scene, second: Scene) -> None:
    """Every claim of a path has a higher number than all before it, whoever had them."""
    scene.appear(b"/a")
    fences = []
    for one in (scene, second, scene):
        claim = one.claim_one()
        fences.append(claim.fence)
        one.ledger.claims.give_back([claim])
    assert fences == [1, 2, 3]


def test_a_claim_ends_with_its_lease(scene: Scene, second: Scene, clock: Clock) -> None:
    """A holder that does not renew loses the path to whoever comes next."""
    scene.appear(b"/a")
    scene.claim(lease_s=60)
    clock.pass_(59)
    assert second.claim() == []
    clock.pass_(1)
    assert names(second.claim()) == [b"/a"]


def test_claiming_ends_no_leases_of_other_routes(scene: Scene, second: Scene, clock: Clock) -> None:
    """Whoever claims knows how many attempts its own route has, not the others'."""
    scene.appear(b"/a")
    claim = scene.claim_one()
    clock.pass_(61)
    second.ledger.claims.claim("another", TARGET, files=1, bytes=1, lease_s=60)
    assert scene.ledger.claims.renew(60) == {claim.path_id}


def test_a_renewed_lease_goes_on(scene: Scene, second: Scene, clock: Clock) -> None:
    """Renewing counts from now."""
    scene.appear(b"/a")
    claim = scene.claim_one()
    clock.pass_(50)
    assert scene.ledger.claims.renew(60) == {claim.path_id}
    clock.pass_(50)
    assert second.claim() == []


def test_renewing_what_somebody_else_has_taken_says_that_it_is_lost(
    scene: Scene, second: Scene, clock: Clock
) -> None:
    """A holder that comes back too late learns which files it must let go."""
    scene.appear(b"/a", b"/b")
    scene.claim(lease_s=60)
    clock.pass_(61)
    (taken,) = second.claim(1)
    assert taken.path_id not in scene.ledger.claims.renew(60)
    assert scene.ledger.claims.renew(60) == set(), "ended leases are no longer ours, taken or not"


def test_a_thawed_worker_ends_no_claim_but_its_own(scene: Scene, second: Scene, clock: Clock) -> None:
    """Whatever it reports about a claim it has lost changes nothing."""
    scene.appear(b"/a")
    lost = scene.claim_one()
    clock.pass_(61)
    held = second.claim_one()
    scene.ledger.claims.give_back([lost])
    scene.ledger.claims.failed(lost, "too late", counted=True, max_attempts=1)
    scene.ledger.claims.vanished(lost)
    scene.ledger.claims.changed(lost)
    scene.ledger.publishing.abandon(lost)
    assert second.ledger.claims.renew(60) == {held.path_id}
    assert scene.state(b"/a") == "CLAIMED"
    assert scene.attempts(b"/a") == 0


def test_an_earlier_claim_of_the_same_process_ends_nothing_either(scene: Scene, clock: Clock) -> None:
    """A task that was given up must not end the claim that a later task of its process has on the path."""
    scene.appear(b"/a")
    earlier = scene.claim_one()
    clock.pass_(61)
    later = scene.claim_one()
    scene.ledger.claims.give_back([earlier])
    scene.ledger.claims.failed(earlier, "too late", counted=True, max_attempts=1)
    assert scene.ledger.claims.renew(60) == {later.path_id}


def test_uncounted_returns_cost_nothing(scene: Scene) -> None:
    """A dead line, a full disk or a shutdown is not the file's fault: it is due at once, with all its
    attempts."""
    scene.appear(b"/a")
    for _ in range(20):
        scene.ledger.claims.give_back(scene.claim())
    assert scene.attempts(b"/a") == 0
    assert len(scene.claim()) == 1


def test_an_uncounted_failure_lets_others_come_first(scene: Scene, clock: Clock) -> None:
    """For a minute, however often it comes; and no attempt is used up."""
    scene.appear(b"/a")
    for _ in range(20):
        assert scene.ledger.claims.failed(scene.claim_one(), "no room", counted=False) is State.READY
        assert scene.claim() == []
        clock.pass_(60)
    assert scene.attempts(b"/a") == 0
    assert len(scene.claim()) == 1


def test_counted_failures_are_spaced_and_end_in_quarantine(scene: Scene, clock: Clock) -> None:
    """Its own faults cost a file attempts, wider and wider apart, and the last one names the reason."""
    scene.appear(b"/a")
    waits = []
    for attempt in range(3):
        state = scene.ledger.claims.failed(
            scene.claim_one(), f"fault {attempt}", counted=True, max_attempts=3
        )
        assert scene.claim() == []
        waits.append(scene.ledger.history.explain(ROUTE, b"/a").versions[0].next_attempt_at)
        clock.pass_(3600)
    assert state is State.QUARANTINED
    assert scene.claim() == []
    assert scene.ledger.history.rows(state="QUARANTINED")[0].reason == "fault 2"
    assert waits == [1_800_000_010.0, 1_800_003_640.0, None], "10 s, then 40 s"


def test_an_uncounted_return_keeps_the_spacing_of_an_earlier_fault(scene: Scene, clock: Clock) -> None:
    """Coming back uncounted neither forgives an attempt nor makes it due earlier."""
    scene.appear(b"/a")
    scene.ledger.claims.failed(scene.claim_one(), "its own fault", counted=True)
    before = scene.ledger.history.explain(ROUTE, b"/a").versions[0]
    clock.pass_(10)
    scene.ledger.claims.give_back(scene.claim())
    after = scene.ledger.history.explain(ROUTE, b"/a").versions[0]
    assert (after.attempts, after.next_attempt_at) == (1, before.next_attempt_at)


def test_retry_makes_a_quarantined_file_due_with_all_its_attempts(scene: Scene) -> None:
    """Somebody says so: that ends a quarantine, and a wait as well."""
    scene.appear(b"/a", b"/b")
    first, _ = scene.claim()
    scene.ledger.claims.failed(first, "no", counted=True, max_attempts=1)
    assert scene.ledger.claims.retry(ROUTE, b"/a")
    assert scene.attempts(b"/a") == 0
    assert names(scene.claim()) == [b"/a"]


def test_retry_says_no_where_there_is_nothing_to_retry(scene: Scene) -> None:
    """Unknown, published, or refused for its name."""
    scene.appear(b"/a")
    scene.publish(*scene.claim())
    scene.apply([Appeared(b"/..", 1, 1.0, 1.0, None, refused="a name with ..")])
    assert not scene.ledger.claims.retry(ROUTE, b"/unknown")
    assert not scene.ledger.claims.retry(ROUTE, b"/a")
    assert not scene.ledger.claims.retry(ROUTE, b"/..")


def test_a_newer_version_waits_for_the_older_ones_claim(scene: Scene, second: Scene) -> None:
    """Two versions of one path are never under way together; the older one is superseded when its claim
    ends."""
    scene.appear(b"/a")
    old = scene.claim_one()
    scene.change(b"/a")
    assert second.claim() == []
    assert scene.state(b"/a", 1) == "CLAIMED"
    scene.ledger.claims.give_back([old])
    assert scene.state(b"/a", 1) == State.SUPERSEDED
    new = second.claim_one()
    assert new.version_id != old.version_id
    assert new.fence > old.fence


def test_a_superseded_version_is_not_quarantined(scene: Scene) -> None:
    """A failure of a version that is no longer the newest costs nobody anything."""
    scene.appear(b"/a")
    old = scene.claim_one()
    scene.change(b"/a")
    assert scene.ledger.claims.failed(old, "no", counted=True, max_attempts=1) is State.SUPERSEDED


def test_an_older_version_never_comes_after_a_newer_one_was_published(scene: Scene) -> None:
    """Once the newer one is there, nothing of the older one can be claimed or intended."""
    scene.appear(b"/a")
    old = scene.claim_one()
    scene.change(b"/a")
    scene.ledger.claims.changed(old)
    scene.publish(scene.claim_one())
    assert scene.ledger.claims.claim_versions([old.version_id], 60) == []
    assert scene.ledger.publishing.intend([intent(scene.ledger, old)]) == []
    assert scene.state(b"/a", 1) == State.SUPERSEDED


def test_a_file_that_changed_waits_for_new_looks(scene: Scene) -> None:
    """Changed between listing and publishing: the version must settle again before it is believed."""
    scene.appear(b"/a")
    scene.ledger.claims.changed(scene.claim_one())
    assert scene.state(b"/a") == State.WAITING
    known = scene.known()[b"/a"]
    assert (known.looks, known.settled_since) == (0, scene.clock.now)
    assert scene.attempts(b"/a") == 0


def test_a_file_that_vanished_is_remembered_as_gone(scene: Scene) -> None:
    """The server says that there is no such file: an outcome, not an attempt."""
    scene.appear(b"/a")
    scene.ledger.claims.vanished(scene.claim_one())
    assert scene.state(b"/a") == State.VANISHED
    assert scene.claim() == []


def test_a_first_claim_has_nothing_to_take_over(scene: Scene) -> None:
    """None says that no fence can have left a temp, so nobody looks for one."""
    scene.appear(b"/a")
    assert scene.claim_one().temp_fence is None


def test_the_next_claimant_learns_which_fences_may_have_left_temps(scene: Scene) -> None:
    """From the lowest that may have, up to its own; after taking over, only its own."""
    scene.appear(b"/a")
    for _ in range(2):
        scene.ledger.claims.give_back(scene.claim())
    third = scene.claim_one()
    assert (third.temp_fence, third.fence) == (1, 3)
    scene.ledger.claims.took_over([third])
    scene.ledger.claims.give_back([third])
    fourth = scene.claim_one()
    assert (fourth.temp_fence, fourth.fence) == (3, 4)


def test_a_published_file_leaves_no_temp_behind(scene: Scene) -> None:
    """The rename took it: the next version's claimant has nothing to take over."""
    scene.appear(b"/a")
    scene.publish(scene.claim_one())
    scene.change(b"/a")
    assert scene.claim_one().temp_fence is None


def test_a_claimant_learns_the_older_versions_that_may_have_left_temps(scene: Scene) -> None:
    """A temp's name holds its version, so whoever is to remove it has to know the version."""
    scene.appear(b"/a")
    old = scene.claim_one()
    scene.change(b"/a")
    scene.ledger.claims.give_back([old])
    new = scene.claim_one()
    assert new.older_versions == (old.version_id,)
    assert new.temp_fence == old.fence


def test_versions_up_to_a_published_one_have_left_no_temps(scene: Scene) -> None:
    """A path that is replaced every day has many versions; only those since the last success are looked
    for."""
    scene.appear(b"/a")
    scene.publish(scene.claim_one())
    scene.change(b"/a", size=30)
    failed = scene.claim_one()
    scene.change(b"/a", size=40)
    scene.ledger.claims.give_back([failed])
    assert scene.claim_one().older_versions == (failed.version_id,)


def test_temps_in_use_are_told_from_litter(scene: Scene) -> None:
    """What a claim holds, or a later claim would go on with, must not be swept; what nobody continues may
    be."""
    scene.appear(b"/held", b"/partial", b"/gone")
    held, partial, gone = scene.claim()
    scene.ledger.claims.give_back([partial])
    scene.ledger.claims.vanished(gone)
    kept = scene.ledger.claims.temps(ROUTE, TARGET)
    temps = [
        temp_name(scene.ledger.id, one.path_id, one.version_id, one.fence) for one in (held, partial, gone)
    ]
    assert [temp in kept for temp in temps] == [True, True, False]


def test_asking_for_a_file_by_name_makes_it_ready_at_once(scene: Scene) -> None:
    """`fetch` with paths skips settling, back-off and quarantine."""
    admit = scene.ledger.claims.admit
    fresh = admit(ROUTE, TARGET, b"/new", 5, 1.0, 1.0, None)
    scene.appear(b"/waiting", ready=False)
    waiting = admit(ROUTE, TARGET, b"/waiting", 10, 1.0, 1.0, None)
    scene.appear(b"/bad")
    (bad,) = (claim for claim in scene.claim() if claim.path == b"/bad")
    scene.ledger.claims.failed(bad, "no", counted=True, max_attempts=1)
    for claim in scene.claim():
        scene.ledger.claims.give_back([claim])
    quarantined = admit(ROUTE, TARGET, b"/bad", 10, 1.0, 1.0, None)
    assert None not in (fresh, waiting, quarantined)
    assert quarantined == bad.version_id
    assert scene.state(b"/bad") == State.READY


def test_asking_for_what_is_published_in_that_version_answers_none(scene: Scene) -> None:
    """Nothing is fetched twice; another version under the name is fetched."""
    scene.appear(b"/a", size=10, modified=1000.0)
    scene.publish(scene.claim_one())
    admit = scene.ledger.claims.admit
    assert admit(ROUTE, TARGET, b"/a", 10, 1000.5, 1.0, None) is None, "the same within the precision"
    newer = admit(ROUTE, TARGET, b"/a", 11, 1000.0, 1.0, None)
    assert newer is not None
    assert scene.ledger.claims.claim_versions([newer], 60)[0].size == 11


def test_claiming_by_version_respects_other_holders(scene: Scene, second: Scene) -> None:
    """Whoever has the path keeps it."""
    scene.appear(b"/a")
    held = scene.claim_one()
    assert second.ledger.claims.claim_versions([held.version_id], 60) == []


def test_a_closed_ledger_gives_back_what_it_had(scene: Scene, second: Scene) -> None:
    """An orderly end leaves nothing for leases or locks to find out; closing twice does no harm."""
    scene.appear(b"/a")
    scene.claim()
    scene.ledger.close()
    scene.ledger.close()
    assert names(second.claim()) == [b"/a"]
