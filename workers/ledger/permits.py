"""Who holds a line to which endpoint, over the whole fleet; and who may, where `max_sessions` limits them.

A row for every line that is held. Where there is a limit the row comes before the line and goes after it: it
is the permit. Whoever finds no permit free stands in the queue, as a row with `waiting_since`; the one that
has waited longest is next, so that nobody starves behind a holder that comes back again and again.

Rows are leased. A holder whose lease is over, or whose lock file on this host is free, counts no more. A
waiter whose lease is over holds up nobody, but has its place again when it comes back: who asks once a tick
must not begin at the queue's end each time.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, Row, and_, delete, insert, select, update

from workers.ledger.engine import Database, insert_missing
from workers.ledger.owners import Ownership, known_owners
from workers.ledger.tables import endpoints, permits
from workers.ledger.values import FullServer, HeldLine, LineFacts

FORGET_PLACE_S = 3600.0
"""So long the place is kept of somebody who has stopped to ask, and lives, as far as can be known."""

LAG_S = 1.0
"""So long a server may count a line that is closed already."""


@dataclass(frozen=True, slots=True)
class Standing:
    """Where a waiter stands. free: permits nobody holds. ahead: waiters who came before, and still count."""

    free: int
    ahead: int

    @property
    def is_next(self) -> bool:
        """Whether a permit is free that nobody before us has a right to."""
        return self.ahead < self.free


class Permits:
    """`ledger.permits`. An owner has at most one row for an endpoint."""

    def __init__(self, database: Database, ownership: Ownership) -> None:
        self._database = database
        self._ownership = ownership

    def take(self, endpoint: str, most: int, *, lease_s: float, wait_s: float, passing: int = 0) -> bool:
        """Take a permit for `lease_s` seconds, if fewer than `most` are held and nobody waits before us.

        Otherwise we stand in the queue, where we came first, and count for `wait_s` seconds from now.
        passing: so many of those before us were given their time, and did not come.
        """
        with self._database.write() as connection:
            now = self._database.now(connection)
            owner = self._ownership.register(connection, now)
            # Locks the endpoint, since a row that another is about to insert can't be locked (PostgreSQL).
            insert_missing(connection, endpoints, {"endpoint": endpoint})
            connection.execute(
                select(endpoints.c.endpoint).where(endpoints.c.endpoint == endpoint).with_for_update()
            )
            _delete(connection, self._dead(connection, now, endpoint))
            rows = _rows(connection, endpoint)
            mine = next((row for row in rows if row.owner == owner), None)
            if mine is not None and mine.waiting_since is None:
                return True
            standing = _standing(rows, mine, most, now)
            values = self._row(endpoint, now, lease_s)
            if taken := standing.ahead - passing < standing.free:
                values |= {"waiting_since": None}
            else:
                since = now if mine is None else mine.waiting_since
                values |= {"waiting_since": since, "taken_at": None, "lease_until": now + wait_s}
            if mine is None:
                connection.execute(insert(permits), values)
            else:
                connection.execute(update(permits).where(self._ours(endpoint)).values(**values))
            return taken

    def refused(self, endpoint: str, *, for_s: float) -> int | None:
        """The server had no room for our line beside those that are held; returns for how many it has.

        That is believed for `for_s` seconds, by all. One is always tried: the others may not be the fleet's.
        None: that can't be told just now, since a line was closed a moment ago, which may still count there.
        """
        with self._database.write() as connection:
            now = self._database.now(connection)
            insert_missing(connection, endpoints, {"endpoint": endpoint})
            one = endpoints.c.endpoint == endpoint
            left_at = connection.execute(select(endpoints.c.left_at).where(one).with_for_update()).scalar()
            if left_at is not None and left_at <= now < left_at + LAG_S:
                return None
            connection.execute(delete(permits).where(self._ours(endpoint), permits.c.built_at.is_not(None)))
            room = max(1, self._held(connection, endpoint, now))
            connection.execute(update(endpoints).where(one).values(room=room, room_until=now + for_s))
            return room

    def limit(self, endpoint: str, most: int | None) -> int | None:
        """How many lines there may be now: `most`, or fewer where the server was full a while ago."""
        with self._database.read() as connection:
            found = select(endpoints.c.room).where(
                endpoints.c.endpoint == endpoint, endpoints.c.room_until > self._database.now(connection)
            )
            room: int | None = connection.execute(found).scalar()
        return most if room is None else room if most is None else min(room, most)

    def full(self) -> list[FullServer]:
        """The servers that were full a while ago, and are spared a line more until that is over."""
        with self._database.read() as connection:
            now = self._database.now(connection)
            found = select(endpoints).where(endpoints.c.room_until > now).order_by(endpoints.c.endpoint)
            return [
                FullServer(row.endpoint, row.room, row.room_until - now) for row in connection.execute(found)
            ]

    def standing(self, endpoint: str, most: int) -> Standing | None:
        """Where we stand in the queue; None where we don't, or count no more. A short read."""
        with self._database.read() as connection:
            now = self._database.now(connection)
            dead = {row.permit_id for row in self._dead(connection, now, endpoint)}
            rows = [row for row in _rows(connection, endpoint) if row.permit_id not in dead]
        mine = next((row for row in rows if row.owner == self._ownership.owner), None)
        return None if mine is None or mine.lease_until <= now else _standing(rows, mine, most, now)

    def is_wanted(self, endpoint: str) -> bool:
        """Whether somebody waits for a permit of this endpoint."""
        with self._database.read() as connection:
            now = self._database.now(connection)
            waits = and_(permits.c.waiting_since.is_not(None), permits.c.lease_until > now)
            found = select(permits.c.permit_id).where(permits.c.endpoint == endpoint, waits).limit(1)
            return connection.execute(found).first() is not None

    def built(self, endpoint: str, facts: LineFacts, *, lease_s: float) -> None:
        """A line was built: tell what it is. Makes the row where no permit was needed."""
        with self._database.write() as connection:
            now = self._database.now(connection)
            self._ownership.register(connection, now)
            if not self._update(connection, endpoint, facts, now, lease_s):
                connection.execute(delete(permits).where(self._ours(endpoint)))  # a place that nobody needs
                row = self._row(endpoint, now, lease_s) | _told(facts, now)
                connection.execute(insert(permits), row)
            # One that was on its way while another was refused: there is room for more than was held then.
            held = self._held(connection, endpoint, now)
            believed = and_(endpoints.c.endpoint == endpoint, endpoints.c.room < held)
            connection.execute(update(endpoints).where(believed).values(room=held))

    def _held(self, connection: Connection, endpoint: str, now: float) -> int:
        """How many lines there are, as far as told."""
        dead = {row.permit_id for row in self._dead(connection, now, endpoint)}
        rows = _rows(connection, endpoint)
        return sum(1 for row in rows if row.built_at is not None and row.permit_id not in dead)

    def renew(self, lines: Mapping[str, LineFacts | None], *, lease_s: float) -> set[str]:
        """Renew the rows of these endpoints, and tell how their lines are (None: none is built now).

        Returns the endpoints whose row still is ours; the others were taken from us, with our lease over.
        """
        with self._database.write() as connection:
            now = self._database.now(connection)
            return {
                endpoint
                for endpoint, facts in lines.items()
                if self._update(connection, endpoint, facts, now, lease_s)
            }

    def leave(self, endpoint: str) -> None:
        """The line is closed, or we wait no longer."""
        with self._database.write() as connection:
            gone = delete(permits).where(self._ours(endpoint)).returning(permits.c.built_at)
            if connection.execute(gone).scalar() is not None:
                left = update(endpoints).where(endpoints.c.endpoint == endpoint)
                connection.execute(left.values(left_at=self._database.now(connection)))

    def lines(self) -> list[HeldLine]:
        """The lines held now, over the whole fleet; permits without a line are left out."""
        with self._database.read() as connection:
            now = self._database.now(connection)
            dead = {row.permit_id for row in self._dead(connection, now)}
            rows = select(permits).where(permits.c.built_at.is_not(None))
            found = connection.execute(rows.order_by(permits.c.endpoint, permits.c.built_at)).all()
        return [_held(row, now) for row in found if row.permit_id not in dead]

    def sweep(self) -> int:
        """Delete the rows of the dead; returns how many there were."""
        with self._database.read() as connection:
            if not self._dead(connection, self._database.now(connection)):
                return 0
        with self._database.write() as connection:
            # Asked again: one of them may have renewed its lease.
            return _delete(connection, self._dead(connection, self._database.now(connection)))

    def _dead(self, connection: Connection, now: float, endpoint: str | None = None) -> list[Row[Any]]:
        rows = select(permits) if endpoint is None else select(permits).where(permits.c.endpoint == endpoint)
        found = connection.execute(rows).all()
        known = known_owners(connection) if found else {}
        gone = {
            owner
            for owner in {row.owner for row in found}
            if owner in known and self._ownership.is_gone(known[owner])
        }
        return [row for row in found if row.owner in gone or _counts_until(row) <= now]

    def _ours(self, endpoint: str) -> Any:
        return and_(permits.c.endpoint == endpoint, permits.c.owner == self._ownership.owner)

    def _row(self, endpoint: str, now: float, lease_s: float) -> dict[str, Any]:
        owner = self._ownership
        return {
            "endpoint": endpoint,
            "owner": owner.owner,
            "host": owner.host,
            "pid": owner.pid,
            "taken_at": now,
            "lease_until": now + lease_s,
        }

    def _update(
        self, connection: Connection, endpoint: str, facts: LineFacts | None, now: float, lease_s: float
    ) -> bool:
        values = {"lease_until": now + lease_s} | (_told(facts, now) if facts is not None else {})
        ours = update(permits).where(self._ours(endpoint), permits.c.waiting_since.is_(None))
        return connection.execute(ours.values(**values)).rowcount > 0


def _told(facts: LineFacts, now: float) -> dict[str, Any]:
    return {
        "built_at": now - facts.age_s,
        "used_at": now - facts.idle_s,
        "tls": facts.tls,
        "reconnects": json.dumps(dict(facts.reconnects)),
        "last_error": facts.last_error,
    }


def _held(row: Row[Any], now: float) -> HeldLine:
    return HeldLine(
        endpoint=row.endpoint,
        host=row.host.partition("/")[0],
        pid=row.pid,
        age_s=now - row.built_at,
        idle_s=now - row.used_at,
        tls=row.tls,
        reconnects=json.loads(row.reconnects),
        last_error=row.last_error,
    )


def _counts_until(row: Row[Any]) -> float:
    kept_s = 0.0 if row.waiting_since is None else FORGET_PLACE_S
    return float(row.lease_until) + kept_s


def _rows(connection: Connection, endpoint: str) -> list[Row[Any]]:
    """Holders and waiters of an endpoint, the waiters in the order in which they came."""
    rows = select(permits).where(permits.c.endpoint == endpoint)
    return list(connection.execute(rows.order_by(permits.c.waiting_since, permits.c.permit_id)))


def _standing(rows: list[Row[Any]], mine: Row[Any] | None, most: int, now: float) -> Standing:
    held = sum(1 for row in rows if row.waiting_since is None)
    waiting = [row for row in rows if row.waiting_since is not None]
    before = waiting if mine is None else waiting[: waiting.index(mine)]
    return Standing(free=max(0, most - held), ahead=sum(1 for row in before if row.lease_until > now))


def _delete(connection: Connection, rows: list[Row[Any]]) -> int:
    """Delete rows as they were read; those that were renewed since then stay. Returns how many went.

    PostgreSQL lets a holder renew its lease between the reading and the deletion.
    """
    return sum(
        connection.execute(
            delete(permits).where(
                permits.c.permit_id == row.permit_id, permits.c.lease_until == row.lease_until
            )
        ).rowcount
        for row in rows
    )
