"""What is remembered of a route beside its files: pauses, listings, what last went wrong."""

from __future__ import annotations

from sqlalchemy import Row, func, select, update

from workers.ledger.engine import Database, insert_missing
from workers.ledger.tables import routes
from workers.ledger.values import RouteState

_SOON_S = 1.0
"""A look that comes this much later than the wanted one will do."""


class Routes:
    """`ledger.routes`. A route that was never polled or paused has no row, and the state of a fresh one."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def get(self, route: str) -> RouteState:
        """What is known of the route now."""
        with self._database.read() as connection:
            row = connection.execute(select(routes).where(routes.c.route == route)).one_or_none()
        return RouteState(route) if row is None else route_state(row)

    def pause(self, route: str, reason: str | None = None) -> None:
        """No polls and no fetches of it until `resume`; a second pause keeps the first one's time."""
        with self._database.write() as connection:
            insert_missing(connection, routes, {"route": route})
            now = self._database.now(connection)
            fresh = routes.c.paused_at.is_(None)
            paused = update(routes).where(routes.c.route == route, fresh)
            connection.execute(paused.values(paused_at=now, pause_reason=reason))

    def resume(self, route: str) -> None:
        """Undo `pause`; nothing where it was not paused."""
        with self._database.write() as connection:
            resumed = update(routes).where(routes.c.route == route)
            connection.execute(resumed.values(paused_at=None, pause_reason=None))

    def refused(self, route: str, reason: str) -> None:
        """Where its files land takes none: fetches go on asking, one at a time. The first time stays."""
        with self._database.write() as connection:
            insert_missing(connection, routes, {"route": route})
            since = func.coalesce(routes.c.refused_at, self._database.now(connection))
            refused = update(routes).where(routes.c.route == route)
            connection.execute(refused.values(refused_at=since, refused_reason=reason))

    def taken_again(self, route: str) -> None:
        """Undo `refused`: something was published, or nothing waits any more."""
        if self.get(route).refused_at is None:
            return
        with self._database.write() as connection:
            taken = update(routes).where(routes.c.route == route)
            connection.execute(taken.values(refused_at=None, refused_reason=None))

    def ask_look(self, route: str, in_s: float) -> bool:
        """Whether a poll in `in_s` seconds has to be asked for: not when one was that will come as soon.

        True makes the caller the one who asks. What was asked for and got lost is forgotten when its time is
        over.
        """
        with self._database.write() as connection:
            insert_missing(connection, routes, {"route": route})
            now = self._database.now(connection)
            here = routes.c.route == route
            asked = connection.execute(select(routes.c.look_at).where(here).with_for_update()).scalar_one()
            if asked is not None and now < asked <= now + in_s + _SOON_S:
                return False
            connection.execute(update(routes).where(here).values(look_at=now + in_s))
            return True


def route_state(row: Row[tuple[object, ...]]) -> RouteState:
    """A row of `routes` as a value."""
    return RouteState(
        route=row.route,
        paused_at=row.paused_at,
        pause_reason=row.pause_reason,
        generation=row.generation,
        polling_until=row.poll_until if row.poll_owner is not None else None,
        listed_at=row.listed_at,
        complete_at=row.complete_at,
        first_complete_at=row.first_complete_at,
        listed_count=row.listed_count,
        last_error=row.last_error,
        last_error_at=row.last_error_at,
        refused_at=row.refused_at,
        refused_reason=row.refused_reason,
    )
