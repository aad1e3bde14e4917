"""Marks: a listing that is the same as one in which nothing was new has nothing new in it.

A poll that compares a complete listing and finds nothing to write leaves its mark: a digest of the listing,
of the rules it was compared by, and of the place the files go to. When a later listing has the same mark,
comparing would find nothing again, unless the ledger has moved on by itself. So a mark counts only while no
version of the route waits (to settle, to grow old enough, for its marker), none has been added (by a fetch
that was asked for it by name), and none was found gone by a fetch. All of that is asked of indexes; a folder
of a hundred thousand files costs what listing it costs.

Every so often everything is compared all the same: a mark is an economy, not a truth.
"""

from __future__ import annotations

from typing import Any

from sqlalchemy import Connection, Row, exists, func, select, text

from workers.ledger.states import State
from workers.ledger.tables import versions

BELIEVED_S = 6 * 3600.0
"""For so long at most."""


def last_version(connection: Connection, route: str) -> int:
    """The newest version of a route there is; 0 for none."""
    newest = select(func.max(versions.c.version_id)).where(versions.c.route == route)
    return connection.execute(newest).scalar() or 0


def holds(connection: Connection, row: Row[Any], mark: str, now: float) -> bool:
    """Whether a listing with this mark has nothing new in it. row: of the route."""
    if row.mark != mark or not row.mark_at <= now < row.mark_at + BELIEVED_S:
        return False
    mine = versions.c.route == row.route
    waits = exists().where(mine, versions.c.state == State.WAITING)
    # Written out rather than bound: SQLite uses a partial index only where it sees the condition in the text.
    gone = exists().where(mine, text("versions.state = 'VANISHED'"), versions.c.vanished_at >= row.mark_at)
    moved_on = connection.execute(select(waits | gone)).scalar_one()
    return not moved_on and last_version(connection, row.route) == row.mark_version
