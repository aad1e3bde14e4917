"""How many versions of a route are in which state: what is to be done, and what ever was."""

from __future__ import annotations

from dataclasses import asdict

from sqlalchemy import Connection, and_, case, func, or_, select

from workers.ledger.states import State
from workers.ledger.tables import paths, routes, versions
from workers.ledger.values import Counts, Work

_IN_WORK = (State.READY, State.PUBLISHING)


def work(connection: Connection, route: str, now: float) -> Work:
    """`Polls.work`, inside a transaction of the caller's: reads as many rows as there are files to fetch.

    What waits for an earlier place (the route's `local` was changed) is nobody's work.
    """
    here = select(routes.c.target).where(routes.c.route == route).scalar_subquery()
    mine = (versions.c.route == route, or_(here.is_(None), paths.c.target == here))
    joined = versions.join(paths, paths.c.path_id == versions.c.path_id)
    waiting = (
        select(func.count())
        .select_from(versions)
        .where(versions.c.route == route, versions.c.state == State.WAITING)
    )
    due = versions.c.next_attempt_at <= now
    held = and_(paths.c.owner.is_not(None), paths.c.claimed_version == versions.c.version_id)
    free = paths.c.owner.is_(None)
    row = connection.execute(
        select(
            waiting.scalar_subquery().label("waiting"),
            func.count().label("all"),
            func.count(case((and_(free, due), 1))).label("ready"),
            func.coalesce(func.sum(case((and_(free, due), versions.c.size))), 0).label("ready_bytes"),
            func.count(case((and_(free, due, versions.c.alone), 1))).label("ready_alone"),
            func.count(case((held, 1))).label("claimed"),
        )
        .select_from(joined)
        .where(*mine, versions.c.state.in_(_IN_WORK))
    ).one()
    return Work(
        waiting=row.waiting,
        ready=row.ready,
        ready_bytes=int(row.ready_bytes),
        ready_alone=row.ready_alone,
        later=row.all - row.ready - row.claimed,
        claimed=row.claimed,
    )


def count(connection: Connection, route: str, now: float) -> Counts:
    """`Polls.counts`, inside a transaction of the caller's: reads an index, from end to end."""
    per_state = (
        select(versions.c.state, func.count()).where(versions.c.route == route).group_by(versions.c.state)
    )
    by_state: dict[str, int] = dict(connection.execute(per_state).all())
    return Counts(
        **asdict(work(connection, route, now)),
        published=by_state.get(State.PUBLISHED, 0),
        finished=by_state.get(State.FINISHED, 0),
        superseded=by_state.get(State.SUPERSEDED, 0),
        vanished=by_state.get(State.VANISHED, 0),
        quarantined=by_state.get(State.QUARANTINED, 0),
    )
