"""Who works on which path: claims with a lease and a fence, and how each of them ends.

A claim is on the path, so that two versions of one file are never under way together. Its fence rises with
every claim and never falls: what an older claimant still does is refused by number, whatever it believes. A
claim ends in exactly one way: published (publishing.py), or given back, failed, vanished, changed (here), or
somebody else ends its lease (leases.py).

Every ending asks first whether the claim still is what it was. A worker that thaws after its path was taken
by another ends nothing: its words are no longer about its own claim.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from sqlalchemy import Connection, Row, bindparam, insert, select, update

from workers.crashpoints import crashpoint
from workers.ledger import claiming, held, leases, listings
from workers.ledger.engine import Database
from workers.ledger.leases import MAX_ATTEMPTS
from workers.ledger.locks import lock_paths
from workers.ledger.owners import Ownership
from workers.ledger.states import PUBLISHED_STATES, State, Step, after, allows
from workers.ledger.tables import paths, versions
from workers.ledger.values import Appeared, Claim, Orphan, same_version


class Claims:
    """`ledger.claims`."""

    def __init__(self, database: Database, ownership: Ownership, ledger_id: str) -> None:
        self._database = database
        self._ledger_id = ledger_id
        self._ownership = ownership
        # Given back while the ledger was away: it learns of them as soon as it is asked for anything new.
        self._left: list[Claim] = []

    def claim(
        self,
        route: str,
        target: str,
        *,
        files: int,
        bytes: int,
        lease_s: float,
        max_attempts: int = MAX_ATTEMPTS,
    ) -> list[Claim]:
        """Claim up to `files` files, together about `bytes` bytes, for `lease_s` seconds; [] if none is due.

        First come open intents (somebody died between PUBLISHING and PUBLISHED), then the ready ones, oldest
        first. One larger than `bytes` comes by itself; a version marked `alone` comes in a batch of its own.
        The route's claims whose owner is gone, or whose lease is over, are ended first (see `end_leases`).
        """
        leases.free_overdue(self._database, self._ownership, {route: max_attempts}, only=route)
        with self._database.write() as connection:
            now = self._database.now(connection)
            due = claiming.due(connection, route, target, now, files)
            batch = claiming.batch(due, bytes)
            owner = self._ownership.register(connection, now) if batch else ""
            return claiming.take(connection, batch, owner, now + lease_s)

    def claim_versions(self, version_ids: Sequence[int], lease_s: float) -> list[Claim]:
        """Claim these versions, as far as they are ready, spaced or not, and nobody has their paths.

        A version marked `alone` comes only when nothing else could be claimed: call again for it. What the
        dead had claimed is not freed here: `end_leases`.
        """
        with self._database.write() as connection:
            now = self._database.now(connection)
            found = claiming.these(connection, version_ids)
            ordinary = [row for row in found if not row.alone]
            owner = self._ownership.register(connection, now)
            return claiming.take(connection, ordinary or found[:1], owner, now + lease_s)

    def admit(
        self,
        route: str,
        target: str,
        path: bytes,
        size: int | None,
        modified: float | None,
        precision_s: float,
        unique: bytes | None,
    ) -> int | None:
        """Record a file somebody asked for by name: READY at once, without settling, quarantined or not.

        Returns its version id, or None where this very version is published already. The file may be in
        somebody's hands: then it cannot be claimed now.
        """
        facts = Appeared(path, size, modified, precision_s, unique)
        with self._database.write() as connection:
            now = self._database.now(connection)
            path_id, number, row = listings.place_of(connection, route, target, path)
            if row is not None:
                known = (row.size, row.modified, row.precision_s)
                if same_version(size, modified, precision_s, *known):
                    return self._admit_known(connection, row, now)
                listings.write_updates(connection, {row.version_id: listings.replaced(row, now)})
            fresh = listings.new_version(path_id, route, number, facts, State.READY, now)
            made = connection.execute(insert(versions).returning(versions.c.version_id), [fresh])
            return int(made.scalar_one())

    def begin(self, claim: Claim) -> None:
        """Say that this file is in hand now: should this process die, it is the one that is tried alone.

        A few microseconds, and no transaction: it goes into the owner's lock file (owners.py).
        """
        self._ownership.hold(claim.path_id, claim.fence)

    def took_over(self, claims: Sequence[Claim]) -> None:
        """What lower fences left for these paths has been renamed to the claim's own fence, or removed."""
        rows = [
            {"_path_id": claim.path_id, "_fence": claim.fence}
            for claim in claims
            if claim.temp_fence is not None
        ]
        if not rows:
            return
        with self._database.write() as connection:
            lock_paths(connection, paths.c.path_id.in_([row["_path_id"] for row in rows]))
            ours = update(paths).where(
                paths.c.path_id == bindparam("_path_id"),
                paths.c.fence == bindparam("_fence"),
                paths.c.owner == self._ownership.owner,
            )
            connection.execute(ours.values(temp_fence=bindparam("_fence")), rows)

    def renew(self, lease_s: float) -> set[int]:
        """Lengthen our leases to `lease_s` seconds from now; returns the path ids that are still ours.

        A claim that is not among them was taken by somebody else, or ended: its file must be let go.
        """
        if not self._ownership.registered:
            return set()
        with self._database.write() as connection:
            until = self._database.now(connection) + lease_s
            mine = paths.c.owner == self._ownership.owner
            lock_paths(connection, mine)
            ours = update(paths).where(mine)
            renewed = connection.execute(ours.values(lease_until=until).returning(paths.c.path_id))
            return set(renewed.scalars())

    def give_back(self, claims: Sequence[Claim]) -> None:
        """End claims without a result and without counting an attempt: shutdown, a dead line, a full disk.

        Where the ledger does not answer, this process's next `end_leases` gives them back, and nothing is
        in hand meanwhile: its outage is no fault of theirs.
        """
        self._ownership.put_down(claims)
        self._left += claims
        self._give_back_left()

    def _give_back_left(self) -> None:
        if not self._left:
            return
        with self._database.write() as connection:
            now = self._database.now(connection)
            rows = list(held.held(connection, self._ownership.owner, self._left).values())
            held.end(connection, {row.version_id: held.rest(row, now) for row in rows}, rows)
        self._left.clear()

    def failed(self, claim: Claim, error: str, *, counted: bool, max_attempts: int = MAX_ATTEMPTS) -> State:
        """End a claim after a failure; returns the version's state.

        counted: the file's own fault; the next attempt is spaced (10 s, 40 s, … at most an hour), and after
        `max_attempts` it is QUARANTINED. Not counted: others come first for a minute.
        Nothing happens when the claim is no longer ours.
        """
        with self._database.write() as connection:
            now = self._database.now(connection)
            for row in held.held(connection, self._ownership.owner, [claim]).values():
                put_off = {"next_attempt_at": now + leases.UNCOUNTED_WAIT_S}
                values = held.rest(row, now) | {"last_error": error} | put_off
                if counted:
                    # This process survived it: the next attempt need not be alone.
                    values |= leases.charged(row, values["state"], error, now, max_attempts) | {
                        "alone": False
                    }
                held.end(connection, {row.version_id: values}, [row])
            stored = select(versions.c.state).where(versions.c.version_id == claim.version_id)
            return State(connection.execute(stored).scalar_one())

    def vanished(self, claim: Claim) -> None:
        """End a claim: the server says that there is no such file."""
        self._end(claim, Step.GONE, lambda now: {"listed": False, "vanished_at": now})

    def changed(self, claim: Claim) -> None:
        """End a claim: size or time are no longer those of this version. It waits for a new look."""
        self._end(claim, Step.UNSETTLED, lambda now: {"looks": 0, "settled_since": now, "alone": False})

    def end_leases(self, max_attempts: Mapping[str, int] | None = None) -> dict[str, int]:
        """End the claims whose lease is over or whose owner on this host is gone; returns how many, by route.

        The file a dead worker had in its hands is tried again at once, `alone`; only when it was alone
        already is it charged, and quarantined after `max_attempts` of its route (5 where the mapping has
        none). What else the worker had claimed is simply free. Lock files of the dead are removed.
        """
        self._give_back_left()
        routes = leases.free_overdue(self._database, self._ownership, max_attempts or {})
        crashpoint("leases-ended")
        leases.forget_the_dead(self._database, self._ownership)
        return routes

    def temps(self, route: str, target: str) -> set[str]:
        """Names of the route's temps that are in use, or that a later claim would go on with."""
        with self._database.read() as connection:
            return claiming.temps(connection, self._ledger_id, route, target)

    def orphans(self, route: str, target: str, *, most: int = 100) -> list[Orphan]:
        """Paths of the route whose temps nobody will go on with: vanished, replaced or given up."""
        with self._database.read() as connection:
            return claiming.orphans(connection, self._ledger_id, route, target, most)

    def orphans_gone(self, orphans: Sequence[Orphan]) -> None:
        """Their temps are removed; of those that nobody has claimed since."""
        with self._database.write() as connection:
            for orphan in orphans:
                unclaimed = (paths.c.owner.is_(None), paths.c.fence == orphan.fence)
                gone = update(paths).where(paths.c.path_id == orphan.path_id, *unclaimed)
                connection.execute(gone.values(temp_fence=None))

    def retry(self, route: str, path: bytes) -> bool:
        """Somebody asks for another try: what is quarantined or spaced is due now, with all its attempts.

        So is a published file's source that the server refused to delete or move. False where there is
        nothing to retry: unknown, finished, gone, or a name that was refused at first sight.
        """
        with self._database.write() as connection:
            now = self._database.now(connection)
            lock_paths(connection, paths.c.route == route, paths.c.remote == path)
            found = connection.execute(
                select(versions.c.version_id, versions.c.state, versions.c.after_error)
                .select_from(versions.join(paths, paths.c.path_id == versions.c.path_id))
                .where(paths.c.route == route, paths.c.remote == path)
                .where(versions.c.latest, versions.c.ready_at.is_not(None))
            ).all()
            updates = {
                row.version_id: {
                    "state": after(State(row.state), Step.RETRIED),
                    "attempts": 0,
                    "next_attempt_at": now,
                    "reason": None,
                    "alone": False,
                    "after_next_at": None,
                }
                for row in found
                if allows(State(row.state), Step.RETRIED)
            }
            updates |= {
                row.version_id: {"after_next_at": now}
                for row in found
                if row.state == State.PUBLISHED and row.after_error is not None
            }
            listings.write_updates(connection, updates)
            return bool(updates)

    def _admit_known(self, connection: Connection, row: Row[Any], now: float) -> int | None:
        if State(row.state) in PUBLISHED_STATES:
            return None
        values: dict[str, Any] = {"listed": True, "last_seen_at": now}
        if not row.claimed:
            values |= {
                "state": after(State(row.state), Step.ADMITTED),
                "ready_at": now,
                "next_attempt_at": now,
                "vanished_at": None,
            }
            if row.state == State.QUARANTINED:
                values |= {"attempts": 0, "reason": None, "after_next_at": None}
        listings.write_updates(connection, {row.version_id: values})
        return int(row.version_id)

    def _end(self, claim: Claim, step: Step, also: Callable[[float], dict[str, Any]]) -> None:
        with self._database.write() as connection:
            now = self._database.now(connection)
            for row in held.held(connection, self._ownership.owner, [claim]).values():
                values = held.rest(row, now)
                # Where a newer version is known, that is the truth about this one.
                if allows(values["state"], step):
                    values |= {"state": after(values["state"], step)} | also(now)
                held.end(connection, {row.version_id: values}, [row])
