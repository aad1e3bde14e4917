"""Which versions may be claimed now, in which order, how many of them, and the taking itself."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import Connection, Row, Select, bindparam, exists, or_, select, text, update

from workers.ledger.states import PUBLISHED_STATES, State
from workers.ledger.tables import paths, versions
from workers.ledger.values import Claim, Intent, Orphan, temp_name

_COLUMNS = (
    paths.c.path_id,
    paths.c.remote,
    paths.c.fence,
    paths.c.temp_fence,
    versions.c.version_id,
    versions.c.route,
    versions.c.size,
    versions.c.modified,
    versions.c.precision_s,
    versions.c.unique_fact,
    versions.c.attempts,
    versions.c.alone,
    versions.c.intent_fence,
    versions.c.intent_temp,
    versions.c.intent_final,
    versions.c.intent_size,
    versions.c.intent_sha256,
)

_older = versions.alias("older")
# Written out rather than bound: SQLite uses a partial index only where it sees the condition in the text.
_intent_open = exists().where(_older.c.path_id == versions.c.path_id, text("older.state = 'PUBLISHING'"))


def due(connection: Connection, route: str, target: str, now: float, files: int) -> list[Row[Any]]:
    """Up to `files` versions that could be claimed now: open intents first, then those ready longest."""
    found: list[Row[Any]] = []
    for state in (State.PUBLISHING, State.READY):
        statement = _claimable(state).where(
            versions.c.route == route, versions.c.next_attempt_at <= now, paths.c.target == target
        )
        ordered = statement.order_by(versions.c.next_attempt_at, versions.c.version_id)
        found += connection.execute(ordered.limit(files - len(found))).all()
        if len(found) == files:
            break
    return found


def these(connection: Connection, version_ids: Sequence[int]) -> list[Row[Any]]:
    """Those of the versions that could be claimed now."""
    found: list[Row[Any]] = []
    for state in (State.PUBLISHING, State.READY):
        statement = _claimable(state).where(versions.c.version_id.in_(version_ids))
        found += connection.execute(statement.order_by(versions.c.version_id)).all()
    return found


def batch(found: Sequence[Row[Any]], largest: int) -> list[Row[Any]]:
    """The front of `found`, at most `largest` bytes, at least one; what must be alone comes alone."""
    if found and found[0].alone:
        return [found[0]]
    chosen: list[Row[Any]] = []
    size = 0
    for row in found:
        if row.alone:
            continue  # it will be the first one soon: all before it are being taken
        size += row.size or 0
        if chosen and size > largest:
            break
        chosen.append(row)
    return chosen


def take(connection: Connection, rows: Sequence[Row[Any]], owner: str, lease_until: float) -> list[Claim]:
    """Claim these rows' paths for `owner`, each with a fence higher than ever before."""
    if not rows:
        return []
    taken = [
        {
            "_path_id": row.path_id,
            "_fence": row.fence + 1,
            "_temp_fence": row.fence + 1 if row.temp_fence is None else row.temp_fence,
            "_version_id": row.version_id,
        }
        for row in rows
    ]
    statement = update(paths).where(paths.c.path_id == bindparam("_path_id"))
    connection.execute(
        statement.values(
            owner=owner,
            lease_until=lease_until,
            fence=bindparam("_fence"),
            temp_fence=bindparam("_temp_fence"),
            claimed_version=bindparam("_version_id"),
        ),
        taken,
    )
    older = _older_versions(connection, [row.path_id for row in rows if row.temp_fence is not None])
    return [_claim(row, older) for row in rows]


_ALIVE = or_(
    versions.c.state.in_([State.WAITING, State.READY, State.PUBLISHING]),
    paths.c.claimed_version == versions.c.version_id,
)
"""A version whose temp is in use, or that a later claim would go on with."""


def temps(connection: Connection, ledger_id: str, route: str, target: str) -> set[str]:
    """The names of temps that a claim or an open intent uses, or that the next claim would go on with."""
    found = connection.execute(
        select(
            paths.c.path_id, versions.c.version_id, paths.c.temp_fence, paths.c.fence, versions.c.intent_temp
        )
        .select_from(paths.join(versions, versions.c.path_id == paths.c.path_id))
        .where(paths.c.route == route, paths.c.target == target, paths.c.temp_fence.is_not(None), _ALIVE)
    )
    names: set[str] = set()
    for path_id, version_id, lowest, highest, intended in found:
        names.update(temp_name(ledger_id, path_id, version_id, fence) for fence in range(lowest, highest + 1))
        if intended is not None:
            names.add(intended)
    return names


def orphans(connection: Connection, ledger_id: str, route: str, target: str, most: int) -> list[Orphan]:
    """Paths of which a temp may be left, and no version that anybody would go on with."""
    alive = exists().where(versions.c.path_id == paths.c.path_id, _ALIVE).correlate(paths)
    found = connection.execute(
        select(paths.c.path_id, paths.c.remote, paths.c.temp_fence, paths.c.fence)
        .where(paths.c.route == route, paths.c.target == target, paths.c.temp_fence.is_not(None))
        .where(paths.c.owner.is_(None), ~alive)
        .order_by(paths.c.path_id)
        .limit(most)
    ).all()
    numbers = _older_versions(connection, [row.path_id for row in found])
    return [
        Orphan(
            row.path_id,
            row.remote,
            row.fence,
            tuple(
                temp_name(ledger_id, row.path_id, version, fence)
                for fence in range(row.temp_fence, row.fence + 1)
                for version in numbers[row.path_id]
            ),
        )
        for row in found
    ]


def _claimable(state: State) -> Select[Any]:
    statement = (
        select(*_COLUMNS)
        .join(paths, paths.c.path_id == versions.c.path_id)
        .where(versions.c.state == state, paths.c.owner.is_(None))
        # Both rows, or PostgreSQL would look again at the path alone once it has its lock, and take a version
        # as it was before another published it.
        .with_for_update(of=[paths, versions], skip_locked=True)
    )
    # A newer version waits until the older one's rename is settled: it must not be overtaken by it.
    return statement.where(~_intent_open) if state is State.READY else statement


def _older_versions(connection: Connection, path_ids: Sequence[int]) -> dict[int, list[int]]:
    """Versions that may have left temps, by path: those since the last published one."""
    if not path_ids:
        return {}
    found = connection.execute(
        select(versions.c.path_id, versions.c.version_id, versions.c.state)
        .where(versions.c.path_id.in_(path_ids))
        .order_by(versions.c.path_id, versions.c.number)
    )
    since: dict[int, list[int]] = {path_id: [] for path_id in path_ids}
    for path_id, version_id, state in found:
        if State(state) in PUBLISHED_STATES:
            since[path_id].clear()
        else:
            since[path_id].append(version_id)
    return since


def _claim(row: Row[Any], older: dict[int, list[int]]) -> Claim:
    intent = None
    if row.intent_temp is not None:
        intent = Intent(
            path_id=row.path_id,
            version_id=row.version_id,
            fence=row.intent_fence,
            temp=row.intent_temp,
            final=row.intent_final,
            size=row.intent_size,
            sha256=row.intent_sha256,
        )
    return Claim(
        path_id=row.path_id,
        version_id=row.version_id,
        route=row.route,
        path=row.remote,
        size=row.size,
        modified=row.modified,
        precision_s=row.precision_s,
        unique=row.unique_fact,
        fence=row.fence + 1,
        temp_fence=row.temp_fence,
        intent=intent,
        attempts=row.attempts,
        alone=row.alone,
        older_versions=tuple(one for one in older.get(row.path_id, []) if one != row.version_id),
    )
