"""Claims that still are what they were, and their end: shared by all who end claims.

A claim is ours as long as its path has our owner id and the claim's fence. Both are compared inside the
transaction that acts on them, never before it, and once the path is locked.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from sqlalchemy import ColumnElement, Connection, Row, bindparam, select, update

from workers.ledger.listings import write_updates
from workers.ledger.locks import lock_paths
from workers.ledger.states import State, at_rest
from workers.ledger.tables import paths, versions
from workers.ledger.values import Claim

HELD = (
    paths.c.path_id,
    paths.c.owner,
    paths.c.fence,
    paths.c.temp_fence,
    versions.c.version_id,
    versions.c.route,
    versions.c.state,
    versions.c.latest,
    versions.c.listed,
    versions.c.attempts,
    versions.c.alone,
    versions.c.intent_fence,
)


def claimed_where(connection: Connection, *conditions: ColumnElement[bool]) -> list[Row[Any]]:
    """The claimed paths that meet the conditions (on columns of `paths`), each with the version it is claimed
    for; locked."""
    claimed = (paths.c.owner.is_not(None), *conditions)
    lock_paths(connection, *claimed)
    joined = paths.join(versions, versions.c.version_id == paths.c.claimed_version)
    return list(connection.execute(select(*HELD).select_from(joined).where(*claimed)))


def held(connection: Connection, owner: str, claims: Iterable[Claim]) -> dict[int, Row[Any]]:
    """Those of the claims that still are this owner's, by path id."""
    fences = {claim.path_id: claim.fence for claim in claims}
    if not fences:
        return {}
    rows = claimed_where(connection, paths.c.owner == owner, paths.c.path_id.in_(list(fences)))
    return {row.path_id: row for row in rows if row.fence == fences[row.path_id]}


def rest(row: Row[Any], now: float) -> dict[str, Any]:
    """What a version becomes when its claim ends without a result."""
    state = at_rest(State(row.state), latest=row.latest, listed=row.listed)
    return {"state": state, "vanished_at": now} if state is State.VANISHED else {"state": state}


def end(connection: Connection, ended: Mapping[int, dict[str, Any]], rows: Sequence[Row[Any]]) -> None:
    """Update versions (by version id) and free the paths of these rows; their fences stay as they are."""
    write_updates(connection, dict(ended))
    free(connection, [row.path_id for row in rows])


def free(connection: Connection, path_ids: Sequence[int], **more: Any) -> None:
    """Nobody claims these paths any more; `more`: further columns of them."""
    if path_ids:
        statement = update(paths).where(paths.c.path_id == bindparam("_path_id"))
        freed = statement.values(owner=None, lease_until=None, claimed_version=None, **more)
        connection.execute(freed, [{"_path_id": path_id} for path_id in path_ids])
