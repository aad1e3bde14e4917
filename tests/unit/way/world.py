"""What a file's way leads through, and what must always hold there."""

from __future__ import annotations

import functools
import hashlib
import shutil
import sqlite3
import tempfile
from pathlib import Path
from typing import Any

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant

from tests.unit.way.actors import Actor, Seams, Time
from tests.unit.way.partner import Partner, Remote
from workers.ledger import Ledger, State
from workers.ledger.values import temp_name
from workers.settings import Route
from workers.settings.models import Then
from workers.stores.local import LocalFolder

ROUTE = "statements"
MAX_ATTEMPTS = 50
_MEMORY = Path("/dev/shm")
_WHEN = 1_600_000_000.0
"""Before any folder of this test was made: what changes there is newer than every file of the partner's."""

Row = tuple[int, str, bool, int]
"""Of a version: its number, its state, whether it is listed (true of the older ones), its attempts."""


@functools.cache
def _empty_ledger() -> bytes:
    """A new ledger's file: making one takes longer than an example."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "ledger.sqlite3"
        Ledger.open(f"sqlite:///{file}", state_dir=Path(folder)).close()
        return file.read_bytes()


class World(RuleBasedStateMachine):
    """The partner, the target folder, the clock and three workers; no rules, which are `WayOfAFile`'s."""

    @initialize(
        after=st.sampled_from(["keep", "delete"]),
        precision=st.sampled_from([1.0, 60.0]),
        settle=st.sampled_from([0.0, 0.0, 10.0]),
        takes=st.booleans(),
        clock_jumps=st.booleans(),
        group=st.sampled_from([1, 64]),
        later=st.booleans(),
    )
    def open(
        self,
        *,
        after: str,
        precision: float,
        settle: float,
        takes: bool,
        clock_jumps: bool,
        group: int,
        later: bool,
    ) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="towline-", dir=_MEMORY if _MEMORY.is_dir() else None))
        (self.folder / "ledger.sqlite3").write_bytes(_empty_ledger())
        self.target = self.folder / "in"
        self.time = Time(_WHEN)
        self.seams = Seams(self.time, group=group, later=later)
        self.partner = Partner(self.time, precision)
        self.route = Route(
            name=ROUTE,
            endpoint="partner",
            remote=b"/out",
            local=self.target,
            after=after,
            settle=settle,
            max_attempts=MAX_ATTEMPTS,
            then=Then(task="theirs", queue="theirs"),
        )
        self.url = f"sqlite:///{self.folder}/ledger.sqlite3"
        self.witness = Ledger.open(self.url, state_dir=self.folder, clock=self.time)
        self.actors = [self._actor() for _ in range(3)]
        self.landed: dict[bytes, list[int]] = {}
        self.takes = takes
        self.taken: set[bytes] = set()
        """Names whose file a consumer has taken on since it landed."""
        self.announced: set[tuple[str, str]] = set()
        self.clock_may_jump = clock_jumps
        """Then leases may end unseen: the ledger goes by this clock, workers by the monotonic one."""
        self.losses = 0
        """How often a worker stopped with files in its hands: only that may count against a file here."""

    def _actor(self) -> Actor:
        return Actor(self.url, self.folder, self.route, self.partner, self.time)

    def _touch(self, name: bytes, size: int, how: str) -> None:
        there = self.partner.files.get(name)
        if how == "gone":
            self.partner.files.pop(name, None)
        elif there is None or how == "another":
            self.partner.write(name, size)
        elif how == "same size":
            self.partner.write(name, len(there.body))
        else:
            self.partner.write(name, len(there.body) + 24, onto=there.body)

    def _lose(self, who: int, *, killed: bool) -> None:
        actor = self.actors[who]
        self.losses += actor.hands.full
        if killed:
            actor.kill()
            self.actors[who] = self._actor()
        else:
            actor.frozen = True

    def _upkeep(self) -> None:
        self.witness.claims.end_leases({ROUTE: MAX_ATTEMPTS})
        if self.target.is_dir():
            LocalFolder.of(self.route).sweep(self.witness.claims.temps(ROUTE, str(self.target)), idle=-1)

    def _nobody_renews(self, seconds: float) -> None:
        self.losses += sum(actor.hands.full for actor in self.actors)
        self.time.pass_(seconds)

    def _idle(self) -> list[Actor]:
        return [actor for actor in self.actors if not actor.busy]

    def _working(self) -> list[Actor]:
        return [actor for actor in self.actors if actor.busy and not actor.frozen]

    def _finish(self, actor: Actor) -> None:
        self._steps(actor, 1000)

    def _steps(self, actor: Actor, most: int) -> None:
        for _ in range(most):
            if not actor.busy:
                return
            self._step(actor)

    def _step(self, actor: Actor) -> None:
        """One step; what a late or a cut listing may not do is looked at around it."""
        applies = actor.at == "listed"
        before = self._rows() if applies else {}
        late = applies and actor.generation != self.witness.routes.get(ROUTE).generation
        cut = applies and actor.session.truncated
        actor.step()
        if late:
            assert self._rows() == before, "a listing was applied after a newer one"
        if cut:
            still = {one: row for one, row in self._rows().items() if one in before}
            gone = [one for one, row in still.items() if before[one][2] and not row[2]]
            assert not gone, "a listing that was cut took files away"
        self.look_at_the_target()

    # -- what always holds

    @invariant()
    def look_at_the_target(self) -> None:
        """Each file that landed is one that was there, whole, and newer than the one before it."""
        if not hasattr(self, "actors"):
            return
        for file in self.target.iterdir() if self.target.is_dir() else ():
            name = file.name.encode()
            if name.startswith(b".towline-"):
                continue
            serial = self.partner.states[name].get(file.read_bytes())
            assert serial is not None, "torn: these bytes were never a file"
            landed = self.landed.setdefault(name, [])
            if not landed or landed[-1] != serial or name in self.taken:
                assert not landed or serial >= landed[-1], "stale: an older one over a newer one"
                assert not landed or serial > landed[-1], "doubled: it had landed, and was taken on"
                landed.append(serial)
                self.taken.discard(name)
            if self.takes:
                file.unlink()
                self.taken.add(name)
        for name, removed in self.partner.removed_by_us:
            assert removed.serial in self.landed.get(name, []), "early delete: it had not landed"

    @invariant()
    def look_at_the_ledger(self) -> None:
        """Published means landed, and is announced once; only a lost worker counts against a file."""
        if not hasattr(self, "actors"):
            return
        for one in self.witness.outbox.take(hold_s=1e9):
            key = (one.arguments["path"], one.arguments["sha256"])
            assert key not in self.announced, "doubled: announced before"
            self.announced.add(key)
            assert key[1] in self._digests(key[0]), "ghost: published, and never landed"
            self.witness.outbox.sent([one.id])
        attempts = [row[3] for row in self._rows().values()]
        assert max(attempts, default=0) <= max(0, self.losses - 1), "counted for no fault of the file's"

    def _digests(self, path: str) -> set[str]:
        name = path.rpartition("/")[2].encode()
        states, landed = self.partner.states[name], self.landed.get(name, [])
        return {hashlib.sha256(body).hexdigest() for body, serial in states.items() if serial in landed}

    def _rows(self) -> dict[int, Row]:
        rows: Any = self.witness.history.rows(limit=9999)
        known = self.witness.polls.known(ROUTE, str(self.target)).values()
        listed = {one.version_id: one.listed for one in known}
        return {
            row.version_id: (row.number, str(row.state), listed.get(row.version_id, True), row.attempts)
            for row in rows
        }

    # -- the end

    def teardown(self) -> None:
        """Nothing happens any more but ticks: everything drains."""
        if not hasattr(self, "actors"):
            return
        try:
            self._drain()
        finally:
            for actor in self.actors:
                actor.kill()
            self.witness.close()
            self.seams.close()
            shutil.rmtree(self.folder)

    def _drain(self) -> None:
        there = dict(self.partner.files)
        for actor in self.actors:
            self.losses += actor.hands.full
            actor.kill()
        self.actors = [self._actor()]
        for _ in range(12):
            # Longer than any lease, pause between attempts, or poll that nobody ends.
            self.time.pass_(4000.0)
            self.actors[0].poll(truncated=False)
            self._finish(self.actors[0])
            self.actors[0].fetch()
            self._finish(self.actors[0])
            self.look_at_the_ledger()
            if self._all_is_done(there):
                break
        for name, file in there.items():
            assert self.landed.get(name, [0])[-1] == file.serial, "lost"
        assert self._all_is_done(there), "something is left to be done, and nobody does it"
        assert self.route.after == "keep" or not self.partner.files
        self._look_for_temps()
        self._upkeep()
        assert not list(self.target.glob(".towline-*")), "an orphaned temp"

    def _look_for_temps(self) -> None:
        """Before the sweep, which is there for files that vanished, so that nobody claims them any more.

        And for what a worker leaves whose lease ended unseen, because somebody set the clock.
        """
        left = {file.name for file in self.target.glob(".towline-*")}
        assert self.clock_may_jump or left <= self._temps_of_the_vanished(), "orphaned before the sweep"

    def _temps_of_the_vanished(self) -> set[str]:
        """All that paths may have left of which a version vanished."""
        with sqlite3.connect(self.folder / "ledger.sqlite3") as ledger:
            found = ledger.execute(
                "SELECT p.path_id, v.version_id, p.fence FROM paths p JOIN versions v USING (path_id)"
                " WHERE p.path_id IN (SELECT path_id FROM versions WHERE state = 'VANISHED')"
            ).fetchall()
        return {
            temp_name(self.witness.id, path_id, version_id, fence)
            for path_id, version_id, highest in found
            for fence in range(1, highest + 1)
        }

    def _all_is_done(self, there: dict[bytes, Remote]) -> bool:
        """Every file has landed, and nothing is left to be done for any version."""
        for name, file in there.items():
            if self.landed.get(name, [0])[-1] != file.serial:
                return False
        over = (State.FINISHED, State.SUPERSEDED, State.VANISHED)
        return all(row[1] in over for row in self._rows().values())
