"""Who is gone, and what becomes of the file in its hands: real processes, really killed."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.unit.ledger.scene import ROUTE, SLOW_ON_POSTGRESQL, TARGET, Other, Scene, names
from tests.waiting import wait_until
from workers.ledger import State

Start = Callable[[], Other]

pytestmark = SLOW_ON_POSTGRESQL


def test_a_killed_owners_claims_are_free_at_once(live: Scene, other: Start) -> None:
    """Its lock went with it, long before its leases end; nothing is counted."""
    live.appear(b"/a", b"/b", b"/c")
    dead = other()
    assert len(dead.ask("claim", 3, 3600)) == 3
    assert live.claim() == []
    dead.kill()
    assert names(live.claim()) == [b"/a", b"/b", b"/c"]
    assert live.attempts(b"/a") == 0


def test_a_frozen_owner_keeps_its_claims_until_the_lease_ends(live: Scene, other: Start) -> None:
    """It still has its lock: it may thaw and go on."""
    live.appear(b"/a")
    frozen = other()
    frozen.ask("claim", 1, 3600)
    frozen.freeze()
    assert live.claim() == []
    frozen.thaw()
    assert len(frozen.ask("renew")) == 1


def test_the_file_in_a_dead_workers_hands_is_tried_alone_at_once(live: Scene, other: Start) -> None:
    """It comes first, in a batch of its own, and uncounted; the others of its batch are simply free."""
    live.appear(b"/a", b"/b", b"/c")
    dead = other()
    dead.ask("claim", 3)
    dead.ask("begin", 1)
    dead.kill()
    (suspect,) = live.claim()
    assert (suspect.path, suspect.alone, suspect.attempts) == (b"/b", True, 0)
    assert names(live.claim()) == [b"/a", b"/c"]


def test_a_file_that_was_alone_when_the_worker_died_is_charged(live: Scene, other: Start) -> None:
    """Nothing else was in work: this time it is the file's, and in the end it is quarantined."""
    live.appear(b"/a", b"/b")
    for _ in range(2):
        dead = other()
        dead.ask("claim", 2)
        dead.ask("begin", 0)
        dead.kill()
    assert live.ledger.claims.end_leases({ROUTE: 1}) == {ROUTE: 1}
    assert live.state(b"/a") == State.QUARANTINED
    reason = live.ledger.history.explain(ROUTE, b"/a").versions[0].reason
    assert reason is not None
    assert "died" in reason
    assert names(live.claim()) == [b"/b"]


def test_a_charged_file_is_spaced_like_any_other(live: Scene, other: Start) -> None:
    """With attempts left, it waits for the next one, and is still tried alone."""
    live.appear(b"/a")
    for _ in range(2):
        dead = other()
        dead.ask("claim", 1)
        dead.ask("begin", 0)
        dead.kill()
    live.ledger.claims.end_leases({ROUTE: 5})
    (row,) = live.ledger.history.explain(ROUTE, b"/a").versions
    assert (row.state, row.attempts, row.alone) == (State.READY, 1, True)
    assert live.claim() == []


def test_a_file_claimed_alone_but_not_begun_is_not_charged(live: Scene, other: Start) -> None:
    """The worker died before it touched the file."""
    live.appear(b"/a")
    first = other()
    first.ask("claim", 1)
    first.ask("begin", 0)
    first.kill()
    idle = other()
    assert idle.ask("claim", 1) == ["/a"]
    idle.kill()
    (again,) = live.claim()
    assert (again.alone, again.attempts) == (True, 0)


def test_a_file_alone_on_a_lost_host_is_charged(
    live: Scene, other: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What another host had in its hands can't be read; where it had only one file, that one it was."""
    live.appear(b"/a", b"/b")
    first = other()
    first.ask("claim", 1)
    first.ask("begin", 0)
    first.kill()
    lost = other()
    assert lost.ask("claim", 1, 0.0) == ["/a"]
    monkeypatch.setattr(live.ledger._ownership, "host", "another host")
    assert live.ledger.claims.end_leases() == {ROUTE: 1}
    assert live.attempts(b"/a") == 1


def test_what_an_earlier_claim_held_is_not_blamed_for_a_later_death(live: Scene, other: Start) -> None:
    """The hand names path and fence: a file that was begun under another claim is not the one in hand."""
    live.appear(b"/a")
    dead = other()
    dead.ask("claim", 1)
    dead.ask("begin", 0)
    dead.ask("intend")
    dead.ask("published")
    live.change(b"/a")
    dead.ask("claim", 1)
    dead.kill()
    assert live.claim_one().alone is False


def test_a_poll_of_a_dead_process_is_replaced_at_once(live: Scene, other: Start) -> None:
    """Nobody waits for the time it had asked for."""
    dead = other()
    assert dead.ask("poll") == 1
    assert live.ledger.polls.begin(ROUTE, TARGET, until_s=60) is None
    dead.kill()
    poll = live.ledger.polls.begin(ROUTE, TARGET, until_s=60)
    assert poll is not None
    assert poll.generation == 2


def test_lock_files_and_rows_of_the_dead_are_removed(live: Scene, other: Start, home: Path) -> None:
    """A worker that dies every hour must not fill the folder; the living keep theirs."""
    live.appear(b"/a")
    dead, idle = other(), other()
    dead.ask("claim", 1)
    dead.kill()
    idle.ask("poll")
    live.ledger.claims.end_leases()
    locks = {file.stem for file in (home / "owners").iterdir()}
    assert locks == {idle.owner, live.ledger.owner}
    holder = live.ledger.history.explain(ROUTE, b"/a").holder
    assert holder is None


def test_an_owner_of_another_host_is_judged_by_its_lease_alone(
    live: Scene, other: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A lock file says nothing about another host, even where both see the same folder."""
    live.appear(b"/a")
    elsewhere = other()
    elsewhere.ask("claim", 1, 3600)
    elsewhere.kill()
    with monkeypatch.context() as patched:
        patched.setattr(live.ledger._ownership, "host", "another host")
        assert live.claim() == []
    assert len(live.claim()) == 1


def test_a_missing_lock_file_proves_no_death(live: Scene, other: Start, home: Path) -> None:
    """Another state_dir, another mount: what is not there cannot be asked."""
    live.appear(b"/a")
    alive = other()
    alive.ask("claim", 1, 3600)
    (home / "owners" / f"{alive.owner}.lock").unlink()
    assert live.claim() == []


def test_a_forked_child_does_not_keep_its_dead_parents_lock(live: Scene, other: Start) -> None:
    """A flock lives as long as any copy of its descriptor: the child lets go of it."""
    live.appear(b"/a")
    parent = other()
    parent.ask("claim", 1, 3600)
    child = parent.ask("fork_holding_lock")
    try:
        parent.kill()
        wait_until(live.claim, what="the child, once it runs, lets go of its parent's lock")
    finally:
        os.kill(child, signal.SIGKILL)


def test_many_processes_share_one_ledger(live: Scene, other: Start) -> None:
    """Four processes claim, give back and publish at the same time: every file once, every fence once."""
    count = 300
    live.appear(*(b"/%03d" % number for number in range(count)))
    processes = [other() for _ in range(4)]
    for process in processes:
        process.tell("work")
    claimed = [tuple(one) for process in processes for one in process.answer()]
    assert len(set(claimed)) == len(claimed), "no path was claimed twice with the same fence"
    assert live.ledger.polls.counts(ROUTE).published == count
    for number in range(count):
        fences = [fence for path, fence in claimed if path == f"/{number:03d}"]
        assert sorted(fences) == list(range(1, len(fences) + 1))


def test_a_wrong_password_is_tried_by_one_process(live: Scene, other: Start) -> None:
    """The others wait for its answer; it is refused, and nobody tries again."""
    first, second = other(), other()
    assert first.ask("may_login", "digest")
    assert not second.ask("may_login", "digest")
    live.ledger.endpoints.close("bank", "530 Login incorrect.", "digest")
    assert not second.ask("may_login", "digest")
    assert live.ledger.endpoints.is_closed("bank", "digest") is not None
