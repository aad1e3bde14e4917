"""Forget what is long over, so that the ledger does not grow with every file there ever was.

What the last complete listing contained is never forgotten, however old: it would be fetched again. Nor is
anything that is claimed, or whose follow-on task was not sent.
"""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import ColumnElement, Connection, and_, delete, exists, func, select, text

from workers.ledger.engine import Database
from workers.ledger.locks import lock_versions
from workers.ledger.states import PUBLISHED_STATES, State
from workers.ledger.tables import NOT_LISTED_NOW, outbox, paths, versions

_OVER = (*PUBLISHED_STATES, State.SUPERSEDED, State.VANISHED, State.BACKLOG)
_CHUNK = 500
"""Rows a transaction: claims and renewals pass in between."""


def forget(database: Database, older_than_s: float) -> int:
    """Delete versions that have been over for longer than this (seconds), and paths left without one.

    Returns how many versions. A file that went unlisted counts from when that was noticed.
    """
    forgotten = 0
    while True:
        # Looking is no writer's business: it takes longer than deleting, and mostly finds nothing.
        with database.read() as connection:
            before = database.now(connection) - older_than_s
            ids = _over_since(connection, before)
        if not ids:
            return forgotten
        with database.write() as connection:
            # Asked again: a listing may have brought one of them back.
            lock_versions(connection, ids)
            still = _over_since(connection, before, versions.c.version_id.in_(ids))
            _delete(connection, still)
        forgotten += len(still)


def _over_since(connection: Connection, before: float, *also: ColumnElement[bool]) -> Sequence[int]:
    ended_at = func.coalesce(
        versions.c.vanished_at, versions.c.finished_at, versions.c.published_at, versions.c.last_seen_at
    )
    waits = exists().where(outbox.c.version_id == versions.c.version_id, outbox.c.sent_at.is_(None))
    old = (
        select(versions.c.version_id)
        .join(paths, paths.c.path_id == versions.c.path_id)
        .where(text(NOT_LISTED_NOW), versions.c.last_seen_at < before, *also)
        .where(and_(versions.c.state.in_(_OVER), ended_at < before), paths.c.owner.is_(None), ~waits)
        .limit(_CHUNK)
    )
    return connection.execute(old).scalars().all()


def _delete(connection: Connection, ids: Sequence[int]) -> None:
    touched = select(versions.c.path_id).where(versions.c.version_id.in_(ids)).distinct()
    path_ids = connection.execute(touched).scalars().all()
    connection.execute(delete(outbox).where(outbox.c.version_id.in_(ids)))
    connection.execute(delete(versions).where(versions.c.version_id.in_(ids)))
    empty = ~exists().where(versions.c.path_id == paths.c.path_id)
    connection.execute(delete(paths).where(paths.c.path_id.in_(path_ids), empty))
