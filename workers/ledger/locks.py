"""Lock first, then read: how writers keep out of each other's way on PostgreSQL.

There a statement sees the rows as they were when it began. One that waits for a row's lock gets that row as
it is now, and every row joined to it as it was before the wait: a version that was just superseded would
look like the newest. So whoever writes first locks the rows, and reads in the next statement.

A path's row is the lock of all its versions. Paths are locked in the order of their ids, after the route's
row where that is locked as well; nobody waits in a ring, and claims wait for nobody (SKIP LOCKED).

On SQLite a writing transaction has the only lock from its first statement on, and nothing is done here.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from sqlalchemy import ColumnElement, Connection, Select, select

from workers.ledger.engine import insert_missing
from workers.ledger.tables import paths, routes, versions


def lock_paths(connection: Connection, *conditions: ColumnElement[bool]) -> None:
    """Lock the paths that meet these conditions (on columns of `paths`), and with them their versions."""
    _lock(connection, select(paths.c.path_id).where(*conditions).order_by(paths.c.path_id))


def lock_versions(connection: Connection, version_ids: Collection[int]) -> None:
    """Lock these versions, by locking their paths."""
    theirs = select(versions.c.path_id).where(versions.c.version_id.in_(version_ids))
    lock_paths(connection, paths.c.path_id.in_(theirs))


def lock_route(connection: Connection, route: str) -> None:
    """Lock a route's row, made where it is missing: who writes new paths and versions of it takes turns."""
    insert_missing(connection, routes, {"route": route})
    _lock(connection, select(routes.c.route).where(routes.c.route == route))


def _lock(connection: Connection, statement: Select[Any]) -> None:
    if connection.dialect.name != "sqlite":
        connection.execute(statement.with_for_update()).close()
