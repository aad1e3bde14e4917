"""What the reading verbs ask: what happened to which file, why one is not here yet, how a route is doing."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, Row, Select, and_, func, select

from workers.ledger.counts import count
from workers.ledger.engine import Database
from workers.ledger.routes import route_state
from workers.ledger.states import CLAIMED, State
from workers.ledger.tables import meta, owners, paths, routes, versions
from workers.ledger.values import Counts, RouteState


@dataclass(frozen=True, slots=True)
class FileRow:
    """One version of one file, as the ledger has it. Times are epoch seconds; None: it did not happen."""

    route: str
    path: bytes
    target: str
    version_id: int
    number: int
    latest: bool
    state: str
    """A `State`, or CLAIMED while somebody has it in hand."""
    listed: bool
    size: int | None
    modified: float | None
    precision_s: float
    first_seen_at: float
    last_seen_at: float
    settled_since: float
    looks: int
    ready_at: float | None
    attempts: int
    next_attempt_at: float | None
    """When a failure lets it be tried again; None where nothing holds it back."""
    alone: bool
    last_error: str | None
    reason: str | None
    bytes: int | None
    sha256: str | None
    local: str | None
    published_at: float | None
    finished_at: float | None
    vanished_at: float | None
    after_step: str | None = None
    """What became of the source: "deleted", "moved:/archive/a.xml", "gone", "replaced" (by a newer version),
    "kept"; None as long as that is open."""
    after_attempts: int = 0
    after_next_at: float | None = None
    """When something is to be done at the source; None where nothing is."""
    after_error: str | None = None


@dataclass(frozen=True, slots=True)
class Holder:
    """Who has a path in hand, and until when."""

    owner: str
    host: str | None
    pid: int | None
    lease_until: float
    fence: int


@dataclass(frozen=True, slots=True)
class Explanation:
    """All that is known about one path: its versions, newest first, who holds it, how its route is."""

    route: RouteState
    path: bytes
    versions: tuple[FileRow, ...]
    holder: Holder | None


@dataclass(frozen=True, slots=True)
class RouteSummary:
    """A line of `towline routes`."""

    state: RouteState
    counts: Counts
    last_published_at: float | None
    oldest_waiting_at: float | None
    """When the oldest version not yet published was first seen."""
    quiet_since: float
    """The last publication; before the first one, the first complete listing, or the ledger's beginning."""


@dataclass(frozen=True, slots=True)
class Gauged:
    """What monitoring asks of a route.

    oldest_waiting_s: age of the oldest version not yet published, 0 where there is none. complete_at: epoch
    seconds of the last complete listing. quiet_s: since a file was published. files: versions by state.
    """

    oldest_waiting_s: float
    complete_at: float | None
    quiet_s: float
    files: dict[str, int]


_claimed = and_(paths.c.owner.is_not(None), paths.c.claimed_version == versions.c.version_id)


class History:
    """`ledger.history`: reads, never writes."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def rows(self, route: str | None = None, state: str | None = None, limit: int = 100) -> list[FileRow]:
        """The newest `limit` versions, newest first; of one route, or in one state (CLAIMED is one here)."""
        statement = _files().order_by(versions.c.version_id.desc()).limit(limit)
        if route is not None:
            statement = statement.where(versions.c.route == route)
        if state == CLAIMED:
            statement = statement.where(_claimed, versions.c.state == State.READY)
        elif state is not None:
            statement = statement.where(versions.c.state == State(state))
            if state == State.READY:
                statement = statement.where(~_claimed)
        with self._database.read() as connection:
            return [_file(row) for row in connection.execute(statement)]

    def explain(self, route: str, path: bytes) -> Explanation:
        """What the ledger knows of one path; `versions` is empty where it has never seen it."""
        here = and_(paths.c.route == route, paths.c.remote == path)
        with self._database.read() as connection:
            found = connection.execute(_files().where(here).order_by(versions.c.version_id.desc()))
            files = tuple(_file(row) for row in found)
            holding = (
                select(paths.c.owner, paths.c.lease_until, paths.c.fence, owners.c.host, owners.c.pid)
                .select_from(paths.outerjoin(owners, owners.c.owner == paths.c.owner))
                .where(here, paths.c.owner.is_not(None))
            )
            held = connection.execute(holding).first()
            row = connection.execute(select(routes).where(routes.c.route == route)).one_or_none()
        holder = None
        if held is not None:
            holder = Holder(held.owner, held.host, held.pid, held.lease_until, held.fence)
        return Explanation(RouteState(route) if row is None else route_state(row), path, files, holder)

    def summary(self, names: Sequence[str]) -> list[RouteSummary]:
        """A line for each of these routes, in their order; one that was never polled has zeros."""
        found: list[RouteSummary] = []
        with self._database.read() as connection:
            now = self._database.now(connection)
            for name in names:
                row = connection.execute(select(routes).where(routes.c.route == name)).one_or_none()
                last = _last_published_at(connection, name)
                found.append(
                    RouteSummary(
                        state=RouteState(name) if row is None else route_state(row),
                        counts=count(connection, name, now),
                        last_published_at=last,
                        oldest_waiting_at=_oldest_waiting_at(connection, name),
                        quiet_since=_quiet_since(connection, name, last),
                    )
                )
        return found

    def gauges(self, names: Iterable[str]) -> dict[str, Gauged]:
        """What monitoring asks, of each of these routes."""
        with self._database.read() as connection:
            now = self._database.now(connection)
            return {name: _gauged(connection, name, now) for name in names}


def _gauged(connection: Connection, name: str, now: float) -> Gauged:
    mine = versions.c.route == name
    by_state = (
        connection.execute(select(versions.c.state, func.count()).where(mine).group_by(versions.c.state))
        .tuples()
        .all()
    )
    oldest = _oldest_waiting_at(connection, name)
    complete_at = connection.execute(select(routes.c.complete_at).where(routes.c.route == name)).scalar()
    return Gauged(
        oldest_waiting_s=0.0 if oldest is None else max(0.0, now - oldest),
        complete_at=complete_at,
        quiet_s=now - _quiet_since(connection, name, _last_published_at(connection, name)),
        files=dict(by_state),
    )


def _last_published_at(connection: Connection, name: str) -> float | None:
    # Not the empty digest: a file that was kept in favour of another was not published.
    published = and_(versions.c.route == name, versions.c.published_at.is_not(None), versions.c.sha256 != "")
    return connection.execute(select(func.max(versions.c.published_at)).where(published)).scalar()


def _oldest_waiting_at(connection: Connection, name: str) -> float | None:
    open_ones = versions.c.state.in_([State.WAITING, State.READY, State.PUBLISHING])
    oldest = select(func.min(versions.c.first_seen_at)).where(versions.c.route == name, open_ones)
    return connection.execute(oldest).scalar()


def _quiet_since(connection: Connection, name: str, last_published_at: float | None) -> float:
    if last_published_at is not None:
        return last_published_at
    listed = connection.execute(select(routes.c.first_complete_at).where(routes.c.route == name)).scalar()
    if listed is not None:
        return float(listed)
    began = connection.execute(select(meta.c.value).where(meta.c.key == "created_at")).scalar_one()
    return float(began)


def _files() -> Select[Any]:
    return select(versions, paths.c.remote, paths.c.target, _claimed.label("claimed")).join(
        paths, paths.c.path_id == versions.c.path_id
    )


def _file(row: Row[Any]) -> FileRow:
    spaced = row.attempts > 0 and row.state in (State.READY, State.PUBLISHING)
    return FileRow(
        route=row.route,
        path=row.remote,
        target=row.target,
        version_id=row.version_id,
        number=row.number,
        latest=row.latest,
        state=CLAIMED if row.claimed and row.state == State.READY else row.state,
        listed=row.listed,
        size=row.size,
        modified=row.modified,
        precision_s=row.precision_s,
        first_seen_at=row.first_seen_at,
        last_seen_at=row.last_seen_at,
        settled_since=row.settled_since,
        looks=row.looks,
        ready_at=row.ready_at,
        attempts=row.attempts,
        next_attempt_at=row.next_attempt_at if spaced and row.next_attempt_at else None,
        alone=row.alone,
        last_error=row.last_error,
        reason=row.reason,
        bytes=row.bytes,
        sha256=row.sha256,
        local=row.local,
        published_at=row.published_at,
        finished_at=row.finished_at,
        vanished_at=row.vanished_at,
        after_step=row.after_step,
        after_attempts=row.after_attempts,
        after_next_at=row.after_next_at,
        after_error=row.after_error,
    )
