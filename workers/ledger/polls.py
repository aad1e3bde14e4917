"""Bring listings into the ledger: one poll of a route at a time, and never an old listing over a newer one.

A poll that froze and woke up late still holds a listing, and believes in it. So each poll has a generation,
each chunk that is written asks whether it is still the newest, and a stale one applies nothing more.

Writing goes in chunks of at most 50 ms, so that a listing of a million entries lets claims and renewals pass
in between. A poll that dies half-way leaves nothing to repair: the next one compares anew.
"""

from __future__ import annotations

import time
from collections.abc import Collection, Sequence
from typing import Any

from sqlalchemy import Connection, Result, and_, case, select, text, update

from workers.crashpoints import crashpoint
from workers.ledger import listings, marks
from workers.ledger.counts import count, work
from workers.ledger.engine import Database, insert_missing
from workers.ledger.errors import StalePoll
from workers.ledger.owners import Ownership, known_owners
from workers.ledger.states import State
from workers.ledger.tables import LISTED_NOW, paths, routes, versions
from workers.ledger.values import Change, Counts, Known, Poll, Ready, Vanished, Work

CHUNK_S = 0.05
_FIRST_CHUNK = 200
_LARGEST_CHUNK = 2000
_NAMES = 500
"""Names that are asked for in one statement."""


_READY = (
    select(
        paths.c.path_id,
        versions.c.version_id,
        paths.c.remote,
        versions.c.size,
        paths.c.fence,
        paths.c.temp_fence,
    )
    .join(paths, paths.c.path_id == versions.c.path_id)
    .where(versions.c.state == State.READY, paths.c.owner.is_(None))
)


class Polls:
    """`ledger.polls`."""

    def __init__(self, database: Database, ownership: Ownership) -> None:
        self._database = database
        self._ownership = ownership
        # Ended while the ledger was away: nobody else knows yet that the route is free.
        self._left: set[tuple[str, int]] = set()

    def begin(self, route: str, target: str, *, until_s: float) -> Poll | None:
        """Take the right to poll a route for `until_s` seconds; None while another poll of it is under way.

        A poll whose time is up, or whose process is gone, is replaced.
        """
        with self._database.write() as connection:
            now = self._database.now(connection)
            owner = self._ownership.register(connection, now)
            insert_missing(connection, routes, {"route": route})
            row = connection.execute(select(routes).where(routes.c.route == route).with_for_update()).one()
            ended = (route, row.generation) in self._left
            if row.poll_owner is not None and row.poll_until > now and not ended:
                other = known_owners(connection).get(row.poll_owner)
                if other is None or not self._ownership.is_gone(other):
                    return None
            begun = update(routes).where(routes.c.route == route)
            generation = row.generation + 1
            connection.execute(
                begun.values(generation=generation, poll_owner=owner, poll_until=now + until_s, target=target)
            )
            if row.target != target:
                listings.leave_others(connection, route, target, now)
            self._left.discard((route, row.generation))
            last = marks.last_version(connection, route)
            return Poll(route, target, generation, now, last, marked=row.mark is not None)

    def known(self, route: str, target: str, *, named: Collection[bytes] | None = None) -> dict[bytes, Known]:
        """The latest version of every path of the route, by its name: what a listing is compared with.

        named: of what was not in the last listing, these only: history may be a hundred times the folder.
        """
        claimed = and_(paths.c.owner.is_not(None), paths.c.claimed_version == versions.c.version_id)
        statement = (
            select(
                paths.c.path_id,
                versions.c.version_id,
                paths.c.remote,
                versions.c.size,
                versions.c.modified,
                versions.c.precision_s,
                versions.c.unique_fact,
                versions.c.state,
                versions.c.settled_since,
                versions.c.looks,
                versions.c.listed,
                case((claimed, True), else_=False),
                versions.c.source_modified,
                versions.c.source_precision_s,
            )
            .join(paths, paths.c.path_id == versions.c.path_id)
            .where(paths.c.target == target)
        )
        mine = and_(versions.c.route == route, versions.c.latest)
        found: dict[bytes, Known] = {}
        with self._database.read() as connection:
            if named is None:
                _add_known(found, connection.execute(statement.where(mine)))
                return found
            # Written out rather than bound: SQLite uses a partial index only where it sees its condition.
            listed = statement.where(versions.c.route == route, text(LISTED_NOW))
            _add_known(found, connection.execute(listed))
            others = [path for path in named if path not in found]
            for start in range(0, len(others), _NAMES):
                some = paths.c.remote.in_(others[start : start + _NAMES])
                _add_known(
                    found,
                    connection.execute(statement.where(versions.c.latest, paths.c.route == route, some)),
                )
        return found

    def confirm(self, poll: Poll, mark: str) -> int | None:
        """End a poll whose complete listing has this mark, if that says that nothing is new.

        Returns how many entries it has: as many as the one that left the mark. None: something may be new.
        Raises `StalePoll`.
        """
        with self._database.write() as connection:
            row = self._still_newest(connection, poll)
            now = self._database.now(connection)
            if not marks.holds(connection, row, mark, now):
                return None
            listed: int = row.listed_count
            self._end(connection, poll, row, now, complete=True, reason=None, listed=listed)
            return listed

    def apply(
        self,
        poll: Poll,
        changes: Sequence[Change],
        *,
        complete: bool,
        reason: str | None,
        listed: int,
        mark: str | None = None,
    ) -> None:
        """Write what a listing showed, and end the poll.

        complete: whether the listing was whole; an incomplete one (`reason` says why) may add and never take
        away. listed: how many entries it had. mark: what it is known by, should there be no changes, where
        that may be remembered (marks.py). Raises `StalePoll` as soon as another poll of the route has
        begun; what was written before stays, and is true.
        """
        if not complete and any(isinstance(change, Vanished) for change in changes):
            raise ValueError("an incomplete listing cannot say that a file vanished")
        start, size = 0, _FIRST_CHUNK
        while True:
            chunk = changes[start : start + size]
            start += len(chunk)
            with self._database.write() as connection:
                began = time.monotonic()
                row = self._still_newest(connection, poll)
                now = self._database.now(connection)
                listings.apply(connection, poll, chunk, now)
                if start >= len(changes):
                    self._end(connection, poll, row, now, complete=complete, reason=reason, listed=listed)
                    self._mark(connection, poll, mark if complete and not changes else None)
                    return
                took = time.monotonic() - began
            crashpoint("applied-chunk")
            # Aim at four fifths of the limit: the commit's fsync is not in `took`.
            size = max(20, min(_LARGEST_CHUNK, int(size * 0.8 * CHUNK_S / max(took, 1e-4))))

    def failed(self, poll: Poll, error: str) -> None:
        """End a poll that has nothing to apply. Nothing happens where it was replaced already.

        Where the ledger does not answer, this process's next `begin` of the route counts it as ended.
        """
        self._left.add((poll.route, poll.generation))
        with self._database.write() as connection:
            now = self._database.now(connection)
            ours = and_(routes.c.route == poll.route, routes.c.generation == poll.generation)
            ended = {"poll_owner": None, "poll_until": None, "last_error": error, "last_error_at": now}
            connection.execute(update(routes).where(ours).values(**ended))
        self._left.discard((poll.route, poll.generation))

    def counts(self, route: str) -> Counts:
        """How many versions of the route are in which state, now."""
        with self._database.read() as connection:
            return count(connection, route, self._database.now(connection))

    def work(self, route: str) -> Work:
        """How much there is to do on the route, now: however long its history, in a moment."""
        with self._database.read() as connection:
            return work(connection, route, self._database.now(connection))

    def any_ready(self, route: str, target: str) -> bool:
        """Whether a claim would find something now."""
        with self._database.read() as connection:
            now = self._database.now(connection)
            due = (
                select(versions.c.version_id)
                .join(paths, paths.c.path_id == versions.c.path_id)
                .where(versions.c.route == route, versions.c.state.in_([State.READY, State.PUBLISHING]))
                .where(versions.c.next_attempt_at <= now, paths.c.owner.is_(None), paths.c.target == target)
            )
            return connection.execute(due.limit(1)).first() is not None

    def first_ready(self, route: str, target: str) -> Ready | None:
        """The file that the next claim would fetch first, now; None where none is ready."""
        with self._database.read() as connection:
            now = self._database.now(connection)
            due = _READY.where(
                versions.c.route == route, versions.c.next_attempt_at <= now, paths.c.target == target
            )
            ordered = due.order_by(versions.c.next_attempt_at, versions.c.version_id)
            row = connection.execute(ordered.limit(1)).one_or_none()
        return None if row is None else Ready(*row)

    def ready(self, version_ids: Sequence[int]) -> list[Ready]:
        """Those of the versions that could be claimed now, spaced or not."""
        with self._database.read() as connection:
            rows = connection.execute(_READY.where(versions.c.version_id.in_(version_ids))).all()
        return [Ready(*row) for row in rows]

    def _still_newest(self, connection: Connection, poll: Poll) -> Any:
        row = connection.execute(
            select(routes).where(routes.c.route == poll.route).with_for_update()
        ).one_or_none()
        if row is None or row.generation != poll.generation:
            raise StalePoll(poll.route, poll.generation)
        return row

    def _mark(self, connection: Connection, poll: Poll, mark: str | None) -> None:
        """Remember the mark of a listing in which nothing was new, or forget what was remembered.

        As of the poll's beginning: what happened since, this listing may not have seen.
        """
        marked = {"mark": mark, "mark_at": poll.began_at, "mark_version": poll.last_version}
        connection.execute(update(routes).where(routes.c.route == poll.route).values(**marked))

    def _end(
        self,
        connection: Connection,
        poll: Poll,
        row: Any,
        now: float,
        *,
        complete: bool,
        reason: str | None,
        listed: int,
    ) -> None:
        values: dict[str, object] = {
            "poll_owner": None,
            "poll_until": None,
            "listed_at": now,
            "listed_count": listed,
            "last_error": None if complete else reason,
            "last_error_at": None if complete else now,
        }
        if complete:
            values["complete_at"] = now
            values["first_complete_at"] = row.first_complete_at or now
        connection.execute(update(routes).where(routes.c.route == poll.route).values(**values))


_STATES = {str(state): state for state in State}


def _add_known(found: dict[bytes, Known], rows: Result[Any]) -> None:
    for batch in rows.partitions(5000):
        row: Any
        for row in batch:
            path_id, version_id, path, size, modified, precision, unique, state, *rest = row
            found[path] = Known(
                path_id, version_id, path, size, modified, precision, unique, _STATES[state], *rest
            )
