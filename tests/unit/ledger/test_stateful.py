"""Two owners, a restless folder and a clock: whatever the order, nothing twice and nothing too late."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from tests.unit.ledger.scene import ROUTE, TARGET, Clock, Scene, done
from workers.ledger import Appeared, Change, Changed, Claim, Intent, Ledger, Seen, State, Vanished

PATHS = st.sampled_from([b"/a", b"/b", b"/c"])
OWNERS = st.sampled_from([0, 1])
LEASE = 60.0
COUNTED = st.booleans()


class TwoOwners(RuleBasedStateMachine):
    """Each owner remembers claims it may have lost, as a worker does that froze and thawed."""

    @initialize()
    def open(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="towline-ledger-"))
        self.clock = Clock()
        url = f"sqlite:///{self.folder}/ledger.sqlite3"
        self.owners = [
            Scene(Ledger.open(url, state_dir=self.folder, clock=self.clock), self.clock) for _ in range(2)
        ]
        self.believed: list[list[tuple[Claim, float]]] = [[], []]
        self.intents: list[list[tuple[Claim, Intent]]] = [[], []]
        self.fences: dict[int, int] = {}
        self.published: dict[int, list[int]] = {}
        self.size = 10

    def teardown(self) -> None:
        if hasattr(self, "owners"):
            for owner in self.owners:
                owner.ledger.close()
            shutil.rmtree(self.folder)

    # -- the folder

    @rule(path=PATHS, what=st.sampled_from(["same", "changed", "gone"]), ready=st.booleans())
    def list(self, path: bytes, what: str, ready: bool) -> None:
        known = self.owners[0].known().get(path)
        self.size += 1
        change: Change
        if known is None:
            change = Appeared(path, self.size, 1.0, 1.0, None, ready=ready)
        elif what == "changed":
            change = Changed(known, self.size, 1.0, 1.0, None, ready=ready)
        else:
            change = Seen(known, ready) if what == "same" else Vanished(known)
        self.owners[0].apply([change])

    @rule(path=PATHS, owner=OWNERS)
    def admit(self, path: bytes, owner: int) -> None:
        self.owners[owner].ledger.claims.admit(ROUTE, TARGET, path, self.size, 1.0, 1.0, None)

    @rule(seconds=st.sampled_from([1.0, 30.0, 61.0, 4000.0]))
    def time_passes(self, seconds: float) -> None:
        self.clock.pass_(seconds)

    # -- the workers

    @rule(owner=OWNERS, files=st.integers(1, 3))
    def claim(self, owner: int, files: int) -> None:
        for claim in self.owners[owner].claim(files, lease_s=LEASE):
            assert claim.fence > self.fences.get(claim.path_id, 0), "a fence only rises"
            self.fences[claim.path_id] = claim.fence
            for other in (0, 1):
                held = {one.path_id for one, until in self.believed[other] if until > self.clock.now}
                assert claim.path_id not in held, "nobody else may have it"
            published = self.published.get(claim.path_id, [])
            assert not published or claim.version_id > max(published), "nothing older, and nothing twice"
            self.believed[owner].append((claim, self.clock.now + LEASE))

    @rule(owner=OWNERS)
    def renew(self, owner: int) -> None:
        ours = self.owners[owner].ledger.claims.renew(LEASE)
        still = [(one, self.clock.now + LEASE) for one, _ in self.believed[owner] if self._ours(one, owner)]
        assert ours == {one.path_id for one, _ in still}

    def _ours(self, claim: Claim, owner: int) -> bool:
        """Whether the database says that this claim stands; used to know which beliefs are true."""
        holder = self.owners[0].ledger.history.explain(ROUTE, claim.path).holder
        mine = self.owners[owner].ledger.owner
        return holder is not None and (holder.owner, holder.fence) == (mine, claim.fence)

    @precondition(lambda self: any(self.believed))
    @rule(owner=OWNERS, how=st.sampled_from(["back", "failed", "vanished", "changed"]), counted=COUNTED)
    def end(self, owner: int, how: str, counted: bool) -> None:
        if not self.believed[owner]:
            return
        claim, _ = self.believed[owner].pop(0)
        claims = self.owners[owner].ledger.claims
        if how == "back":
            claims.give_back([claim])
        elif how == "failed":
            claims.failed(claim, "a fault", counted=counted, max_attempts=3)
        elif how == "vanished":
            claims.vanished(claim)
        else:
            claims.changed(claim)

    @precondition(lambda self: any(self.believed))
    @rule(owner=OWNERS)
    def intend(self, owner: int) -> None:
        if not self.believed[owner]:
            return
        claim, _ = self.believed[owner][0]
        stood = self._ours(claim, owner)
        for intended in self.owners[owner].intend(claim):
            assert stood, "an intent needs a claim that stands"
            self.intents[owner].append((claim, intended))

    @precondition(lambda self: any(self.intents))
    @rule(owner=OWNERS)
    def publish(self, owner: int) -> None:
        if self.intents[owner]:
            claim, intended = self.intents[owner].pop(0)
            self._report(owner, claim, intended)

    @precondition(lambda self: any(self.believed))
    @rule(owner=OWNERS, renamed=st.booleans())
    def settle(self, owner: int, renamed: bool) -> None:
        for claim, _ in list(self.believed[owner]):
            if claim.intent is not None and self._ours(claim, owner):
                if renamed:
                    self._report(owner, claim, claim.intent)
                else:
                    self.owners[owner].ledger.publishing.abandon(claim)

    def _report(self, owner: int, claim: Claim, intended: Intent) -> None:
        before = self._state(claim)
        self.owners[owner].ledger.publishing.published([done(intended)])
        # Who has reported a file holds its path no longer, and knows it.
        self.believed[owner] = [one for one in self.believed[owner] if one[0] != claim]
        if before is not State.PUBLISHED and self._state(claim) is State.PUBLISHED:
            published = self.published.setdefault(claim.path_id, [])
            assert not published or claim.version_id > max(published), "an older one after a newer one"
            published.append(claim.version_id)

    def _state(self, claim: Claim) -> State | str:
        files = self.owners[0].ledger.history.explain(ROUTE, claim.path).versions
        return next(file.state for file in files if file.version_id == claim.version_id)

    # -- what always holds

    @invariant()
    def published_stays_published(self) -> None:
        if not hasattr(self, "owners"):
            return
        rows: dict[int, Any] = {row.version_id: row for row in self.owners[0].ledger.history.rows(limit=999)}
        for versions in self.published.values():
            assert all(rows[one].state == State.PUBLISHED for one in versions)

    @invariant()
    def at_most_one_version_of_a_path_is_open(self) -> None:
        if not hasattr(self, "owners"):
            return
        open_ones: dict[bytes, int] = {}
        for row in self.owners[0].ledger.history.rows(limit=999):
            if row.state in ("CLAIMED", State.PUBLISHING):
                open_ones[row.path] = open_ones.get(row.path, 0) + 1
        assert all(number == 1 for number in open_ones.values())


TwoOwners.TestCase.settings = settings(
    max_examples=15,
    stateful_step_count=30,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
)
TestTwoOwners = TwoOwners.TestCase
