"""Write the changes of one listing: what each means for the versions already known.

Between reading `known` and writing, others were at work: claims began and ended, `fetch` admitted files. So
each change is held against the rows as they are now, and applies only as far as it still makes sense.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from sqlalchemy import ColumnElement, Connection, Row, and_, bindparam, func, insert, select, update

from workers.ledger.locks import lock_paths, lock_route, lock_versions
from workers.ledger.states import State, Step, after, allows
from workers.ledger.tables import paths, versions
from workers.ledger.values import Appeared, Change, Changed, Poll, Seen, Vanished, same_version

Fresh = tuple[int, int, Appeared | Changed]
"""(path_id, number, facts) of a version to be inserted."""


def apply(connection: Connection, poll: Poll, chunk: Sequence[Change], now: float) -> None:
    """Write one chunk, in the caller's transaction, which has made sure that the poll is the newest."""
    appeared = {change.path: change for change in chunk if isinstance(change, Appeared)}
    others = [change for change in chunk if not isinstance(change, Appeared)]
    current = _versions(connection, [change.known.version_id for change in others])
    updates: dict[int, dict[str, Any]] = {}
    fresh: list[Fresh] = []
    for change in others:
        row = current.get(change.known.version_id)
        # A newer version came in between (`fetch` with paths): this listing is older than what is known.
        if row is not None and row.latest:
            _decide(change, row, now, updates, fresh)
    for appearance, path_id, number, row in _places(connection, poll, appeared):
        if row is None:
            fresh.append((path_id, number, appearance))
        elif _same(appearance, row):
            _listed_again(row, appearance.ready, now, updates)
        else:
            _replace(row, appearance, now, updates, fresh)
    write_updates(connection, updates)
    if fresh:
        connection.execute(insert(versions), [_new_row(poll.route, one, now) for one in fresh])


def leave_others(connection: Connection, route: str, target: str, now: float) -> None:
    """The route's files land in `target` from now on: what waits for another place is given up there.

    It is as if it had vanished, so that it comes back should that place be the route's again.
    """
    found = connection.execute(
        select(versions.c.version_id, versions.c.state, paths.c.owner)
        .select_from(versions.join(paths, paths.c.path_id == versions.c.path_id))
        .where(versions.c.route == route, versions.c.state.in_([State.WAITING, State.READY]))
        .where(paths.c.target != target)
        .with_for_update(of=versions)
    )
    updates: dict[int, dict[str, Any]] = {}
    for row in found:
        gone: dict[str, Any] = {"listed": False, "vanished_at": now, "reason": "the route has another target"}
        if row.owner is None:
            gone["state"] = after(State(row.state), Step.GONE)
        updates[row.version_id] = gone
    write_updates(connection, updates)


def _decide(
    change: Changed | Seen | Vanished,
    row: Row[Any],
    now: float,
    updates: dict[int, dict[str, Any]],
    fresh: list[Fresh],
) -> None:
    match change:
        case Seen(ready=ready):
            _listed_again(row, ready, now, updates)
        case Changed():
            _replace(row, change, now, updates, fresh)
        case Vanished():
            gone: dict[str, Any] = {"listed": False, "vanished_at": now}
            if not row.claimed and allows(State(row.state), Step.GONE):
                gone["state"] = after(State(row.state), Step.GONE)
            updates[row.version_id] = gone


def _listed_again(row: Row[Any], ready: bool, now: float, updates: dict[int, dict[str, Any]]) -> None:
    state = State(row.state)
    seen: dict[str, Any] = {"listed": True, "last_seen_at": now}
    if state is State.VANISHED:
        state = after(state, Step.LISTED_AGAIN)
        # It waits anew: nobody has looked at it while it was away.
        seen |= {"state": state, "looks": 0, "settled_since": now, "vanished_at": None, "reason": None}
        row_looks = 0
    elif state is State.WAITING:
        row_looks = row.looks
    elif row.listed:
        return  # nothing new: the route's complete_at says when it was last seen
    else:
        updates[row.version_id] = seen | {"vanished_at": None}
        return
    seen["looks"] = row_looks + 1
    if ready:
        seen |= {"state": after(state, Step.SETTLED), "ready_at": now, "next_attempt_at": now}
    updates[row.version_id] = seen


def _replace(
    row: Row[Any],
    facts: Appeared | Changed,
    now: float,
    updates: dict[int, dict[str, Any]],
    fresh: list[Fresh],
) -> None:
    updates[row.version_id] = replaced(row, now)
    fresh.append((row.path_id, row.number + 1, facts))


def replaced(row: Row[Any], now: float) -> dict[str, Any]:
    """What becomes of a path's latest version when a newer one is known; nothing yet while it is held."""
    old: dict[str, Any] = {"latest": False, "last_seen_at": now}
    if not row.claimed and allows(State(row.state), Step.REPLACED):
        old["state"] = after(State(row.state), Step.REPLACED)
    return old


def _same(facts: Appeared, row: Row[Any]) -> bool:
    return same_version(
        facts.size, facts.modified, facts.precision_s, row.size, row.modified, row.precision_s
    )


def _new_row(route: str, fresh: Fresh, now: float) -> dict[str, Any]:
    path_id, number, facts = fresh
    refused = facts.refused if isinstance(facts, Appeared) else None
    if refused is not None:
        state = State.QUARANTINED
    elif facts.backlog:
        state = State.BACKLOG
    else:
        state = State.READY if facts.ready else State.WAITING
    return new_version(path_id, route, number, facts, state, now) | {"reason": refused}


def new_version(
    path_id: int, route: str, number: int, facts: Any, state: State, now: float
) -> dict[str, Any]:
    """The row of a version seen for the first time; facts: size, modified, precision_s, unique."""
    return {
        "path_id": path_id,
        "route": route,
        "number": number,
        "latest": True,
        "size": facts.size,
        "modified": facts.modified,
        "precision_s": facts.precision_s,
        "unique_fact": facts.unique,
        "state": state,
        "listed": True,
        "first_seen_at": now,
        "last_seen_at": now,
        "settled_since": now,
        "looks": 1,
        "ready_at": now if state is State.READY else None,
        "next_attempt_at": now if state is State.READY else 0.0,
        "reason": None,
    }


_SEEN: tuple[ColumnElement[Any], ...] = (
    versions.c.version_id,
    versions.c.path_id,
    versions.c.number,
    versions.c.state,
    versions.c.latest,
    versions.c.listed,
    versions.c.looks,
    versions.c.size,
    versions.c.modified,
    versions.c.precision_s,
    and_(paths.c.owner.is_not(None), paths.c.claimed_version == versions.c.version_id).label("claimed"),
)

_any = versions.alias("any_version")
# Not the latest version's number: that one may have been forgotten before an older one.
_last_number = select(func.max(_any.c.number)).where(_any.c.path_id == paths.c.path_id).scalar_subquery()
_PLACED: tuple[ColumnElement[Any], ...] = (
    *_SEEN,
    paths.c.path_id.label("place"),
    paths.c.remote,
    _last_number.label("last_number"),
)


def _versions(connection: Connection, ids: list[int]) -> dict[int, Row[Any]]:
    if not ids:
        return {}
    lock_versions(connection, ids)
    joined = versions.join(paths, paths.c.path_id == versions.c.path_id)
    found = connection.execute(select(*_SEEN).select_from(joined).where(versions.c.version_id.in_(ids)))
    return {row.version_id: row for row in found.all()}


def _places(
    connection: Connection, poll: Poll, appeared: dict[bytes, Appeared]
) -> Iterable[tuple[Appeared, int, int, Row[Any] | None]]:
    """Each appearance with its path (made where it is missing), the next number, and the latest version."""
    if not appeared:
        return
    latest = and_(versions.c.path_id == paths.c.path_id, versions.c.latest)
    here = and_(
        paths.c.route == poll.route, paths.c.target == poll.target, paths.c.remote.in_(list(appeared))
    )
    lock_paths(connection, here)
    found = connection.execute(
        select(*_PLACED).select_from(paths.outerjoin(versions, latest)).where(here)
    ).all()
    missing = dict(appeared)
    for row in found:
        latest_row = row if row.version_id is not None else None
        yield missing.pop(row.remote), row.place, (row.last_number or 0) + 1, latest_row
    if missing:
        rows = [{"route": poll.route, "remote": path, "target": poll.target} for path in missing]
        made = connection.execute(insert(paths).returning(paths.c.path_id, paths.c.remote), rows)
        for path_id, path in made:
            yield missing[path], path_id, 1, None


def write_updates(connection: Connection, updates: dict[int, dict[str, Any]]) -> None:
    """Update versions by id; those that change the same columns go together."""
    alike: dict[tuple[str, ...], list[dict[str, Any]]] = {}
    for version_id, values in updates.items():
        alike.setdefault(tuple(sorted(values)), []).append(values | {"_version_id": version_id})
    for columns, rows in alike.items():
        statement = update(versions).where(versions.c.version_id == bindparam("_version_id"))
        connection.execute(statement.values({column: bindparam(column) for column in columns}), rows)


def place_of(
    connection: Connection, route: str, target: str, path: bytes
) -> tuple[int, int, Row[Any] | None]:
    """(path_id, number of its next version, its latest one or None) of a path, made where it is missing."""
    lock_route(connection, route)
    wanted = Appeared(path, None, None, 0.0, None)
    for _, path_id, number, row in _places(connection, Poll(route, target, 0, 0.0), {path: wanted}):
        return path_id, number, row
    raise AssertionError("a path is found or made")
