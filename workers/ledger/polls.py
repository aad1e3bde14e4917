"""Bring listings into the ledger: one poll of a route at a time, and never an old listing over a newer one.

A poll that froze and woke up late still holds a listing, and believes in it. So each poll has a generation,
each chunk that is written asks whether it is still the newest, and a stale one applies nothing more.

Writing goes in chunks of at most 50 ms, so that a listing of a million entries lets claims and renewals pass
in between. A poll that dies half-way leaves nothing to repair: the next one compares anew.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

from sqlalchemy import Connection, and_, case, func, select, update

from workers.crashpoints import crashpoint
from workers.ledger import listings
from workers.ledger.engine import Database, insert_missing
from workers.ledger.errors import StalePoll
from workers.ledger.owners import Ownership, known_owners
from workers.ledger.states import State
from workers.ledger.tables import paths, routes, versions
from workers.ledger.values import Change, Counts, Known, Poll, Ready, Vanished

CHUNK_S = 0.05
_FIRST_CHUNK = 200
_LARGEST_CHUNK = 2000


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
                begun.values(generation=generation, poll_owner=owner, poll_until=now + until_s)
            )
            self._left.discard((route, row.generation))
            return Poll(route, target, generation, now)

    def known(self, route: str, target: str) -> dict[bytes, Known]:
        """The latest version of every path of the route, by its name: what a listing is compared with."""
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
            )
            .join(paths, paths.c.path_id == versions.c.path_id)
            .where(versions.c.route == route, versions.c.latest, paths.c.target == target)
        )
        states = {str(state): state for state in State}
        found: dict[bytes, Known] = {}
        with self._database.read() as connection:
            for batch in connection.execute(statement).partitions(5000):
                for row in batch:
                    path_id, version_id, path, size, modified, precision, unique, state, *rest = row
                    found[path] = Known(
                        path_id, version_id, path, size, modified, precision, unique, states[state], *rest
                    )
        return found

    def apply(
        self, poll: Poll, changes: Sequence[Change], *, complete: bool, reason: str | None, listed: int
    ) -> None:
        """Write what a listing showed, and end the poll.

        complete: whether the listing was whole; an incomplete one (`reason` says why) may add and never take
        away. listed: how many entries it had. Raises `StalePoll` as soon as another poll of the route has
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


def count(connection: Connection, route: str, now: float) -> Counts:
    """`Polls.counts`, inside a transaction of the caller's."""
    per_state = (
        select(versions.c.state, func.count()).where(versions.c.route == route).group_by(versions.c.state)
    )
    by_state: dict[str, int] = dict(connection.execute(per_state).all())
    # What is in work, or could be: as many rows as there are files to fetch, not as there are files.
    open_states = [State.READY, State.PUBLISHING]
    due = versions.c.next_attempt_at <= now
    mine = paths.c.claimed_version == versions.c.version_id
    free = paths.c.owner.is_(None)
    row = connection.execute(
        select(
            func.count(case((and_(free, due), 1))).label("ready"),
            func.coalesce(func.sum(case((and_(free, due), versions.c.size))), 0).label("ready_bytes"),
            func.count(case((and_(free, due, versions.c.alone), 1))).label("ready_alone"),
            func.count(case((and_(paths.c.owner.is_not(None), mine), 1))).label("claimed"),
        )
        .select_from(versions.join(paths, paths.c.path_id == versions.c.path_id))
        .where(versions.c.route == route, versions.c.state.in_(open_states))
    ).one()
    in_work = sum(by_state.get(state, 0) for state in open_states)
    return Counts(
        waiting=by_state.get(State.WAITING, 0),
        ready=row.ready,
        ready_bytes=int(row.ready_bytes),
        ready_alone=row.ready_alone,
        later=in_work - row.ready - row.claimed,
        claimed=row.claimed,
        published=by_state.get(State.PUBLISHED, 0),
        finished=by_state.get(State.FINISHED, 0),
        superseded=by_state.get(State.SUPERSEDED, 0),
        vanished=by_state.get(State.VANISHED, 0),
        quarantined=by_state.get(State.QUARANTINED, 0),
    )
