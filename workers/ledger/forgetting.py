"""Forget what is long over, so that the ledger does not grow with every file there ever was.

What the last complete listing contained is never forgotten, however old: it would be fetched again. Nor is
anything that is claimed, may have left a temp, or whose follow-on task was not sent.
"""

from __future__ import annotations

from sqlalchemy import and_, delete, exists, func, not_, select

from workers.ledger.engine import Database
from workers.ledger.states import PUBLISHED_STATES, State
from workers.ledger.tables import outbox, paths, versions

_OVER = (*PUBLISHED_STATES, State.SUPERSEDED, State.VANISHED)
_CHUNK = 500  # rows a transaction: claims and renewals pass in between


def forget(database: Database, older_than_s: float) -> int:
    """Delete versions that have been over for longer than this (seconds), and paths left without one.

    Returns how many versions. A file that went unlisted counts from when that was noticed.
    """
    forgotten = 0
    while True:
        with database.write() as connection:
            before = database.now(connection) - older_than_s
            ended_at = func.coalesce(
                versions.c.vanished_at,
                versions.c.finished_at,
                versions.c.published_at,
                versions.c.last_seen_at,
            )
            old = (
                select(versions.c.version_id)
                .join(paths, paths.c.path_id == versions.c.path_id)
                .where(versions.c.state.in_(_OVER), ended_at < before)
                .where(not_(and_(versions.c.latest, versions.c.listed)))
                .where(paths.c.owner.is_(None), paths.c.temp_fence.is_(None))
                .where(
                    ~exists().where(outbox.c.version_id == versions.c.version_id, outbox.c.sent_at.is_(None))
                )
                .limit(_CHUNK)
            )
            ids = connection.execute(old).scalars().all()
            if not ids:
                return forgotten
            touched = select(versions.c.path_id).where(versions.c.version_id.in_(ids)).distinct()
            path_ids = connection.execute(touched).scalars().all()
            connection.execute(delete(outbox).where(outbox.c.version_id.in_(ids)))
            connection.execute(delete(versions).where(versions.c.version_id.in_(ids)))
            empty = ~exists().where(versions.c.path_id == paths.c.path_id)
            connection.execute(delete(paths).where(paths.c.path_id.in_(path_ids), empty))
            forgotten += len(ids)
