"""The outbox: follow-on tasks that are due because files were published.

A row is written in the very transaction that says PUBLISHED, so no crash can lose it. Sending comes after,
and is at least once: a sender takes rows for a while, sends them, and marks them. One that dies in between
has sent what others will send again; the receiver tells it by `version`.
"""

from __future__ import annotations

import json
from collections.abc import Collection
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import ColumnElement, Row, exists, insert, select, update

from workers.ledger.engine import Database
from workers.ledger.states import PUBLISHED_STATES
from workers.ledger.tables import outbox, paths, versions
from workers.ledger.values import Announcement, FollowOn
from workers.names import printable


class Outbox:
    """`ledger.outbox`."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def take(self, *, route: str | None = None, limit: int = 100, hold_s: float) -> list[Announcement]:
        """The oldest that are due, of one route or of all; for `hold_s` seconds nobody else takes them.

        Where nothing is due it is one short read.
        """
        due: list[ColumnElement[bool]] = [outbox.c.sent_at.is_(None)]
        if route is not None:
            due.append(outbox.c.route == route)
        with self._database.read() as connection:
            now = self._database.now(connection)
            anything = select(outbox.c.id).where(*due, outbox.c.next_at <= now).limit(1)
            if connection.execute(anything).first() is None:
                return []
        with self._database.write() as connection:
            now = self._database.now(connection)
            wanted = select(outbox).where(*due, outbox.c.next_at <= now).order_by(outbox.c.id).limit(limit)
            rows = connection.execute(wanted.with_for_update(skip_locked=True)).all()
            taken = update(outbox).where(outbox.c.id.in_([row.id for row in rows]))
            connection.execute(taken.values(next_at=now + hold_s, attempts=outbox.c.attempts + 1))
        return [Announcement(row.id, row.task, row.queue, json.loads(row.payload)) for row in rows]

    def sent(self, ids: Collection[int]) -> None:
        """The broker has accepted these."""
        with self._database.write() as connection:
            now = self._database.now(connection)
            connection.execute(update(outbox).where(outbox.c.id.in_(ids)).values(sent_at=now))

    def put_back(self, ids: Collection[int]) -> None:
        """These were not sent: they are due again now."""
        with self._database.write() as connection:
            now = self._database.now(connection)
            unsent = update(outbox).where(outbox.c.id.in_(ids), outbox.c.sent_at.is_(None))
            connection.execute(unsent.values(next_at=now))

    def again(self, route: str, then: FollowOn, *, since: float) -> int:
        """Announce once more what a route has published since then (epoch seconds); returns how many files.

        Also what was published before the route had a follow-on task; what still waits in the outbox is
        counted, and not sent twice. A file that was kept in favour of another was never announced.
        """
        with self._database.write() as connection:
            now = self._database.now(connection)
            published = (
                select(versions, paths.c.remote)
                .join(paths, paths.c.path_id == versions.c.path_id)
                .where(versions.c.route == route, versions.c.published_at >= since)
                .where(versions.c.state.in_(PUBLISHED_STATES), versions.c.sha256 != "")
                .order_by(versions.c.published_at, versions.c.version_id)
            )
            files = connection.execute(published).all()
            waits = exists().where(outbox.c.version_id == versions.c.version_id, outbox.c.sent_at.is_(None))
            waiting = set(
                connection.execute(
                    select(versions.c.version_id).where(versions.c.route == route, waits)
                ).scalars()
            )
            rows = [
                announcement(row, row.local, row.bytes, row.sha256, row.published_at, then, now)
                for row in files
                if row.version_id not in waiting
            ]
            if rows:
                connection.execute(insert(outbox), rows)
        return len(files)


def announcement(
    row: Row[Any], local: str, size: int, sha256: str, published_at: float, then: FollowOn, now: float
) -> dict[str, Any]:
    """A row of the outbox; the payload: the follow-on task's keyword arguments (contract §4).

    row: the version's, with its path's `remote`.
    """
    ends = (local, printable(row.remote)) if then.pushed else (printable(row.remote), local)
    payload = {
        "route": row.route,
        "path": ends[0],
        "version": row.version_id,
        "local": ends[1],
        "bytes": size,
        "sha256": sha256,
        "published_at": datetime.fromtimestamp(published_at, UTC).isoformat(timespec="milliseconds"),
    }
    return {
        "version_id": row.version_id,
        "route": row.route,
        "task": then.task,
        "queue": then.queue,
        "payload": json.dumps(payload),
        "created_at": now,
        "next_at": now,
    }
