"""What all processes of all hosts know together about an endpoint.

Failures in a row, whether it is closed or paused, what its server can.

A refused login closes the endpoint here, and so for everybody: each further try would be another wrong
password, and the account locked. It opens again when somebody says so, or when the credentials differ from
the refused ones, which a salted digest tells without keeping them.
"""

from __future__ import annotations

import hashlib
from typing import Any

from sqlalchemy import Connection, Row, Select, and_, select, update
from sqlalchemy.sql.dml import ReturningUpdate

from workers.ledger.engine import Database, insert_missing
from workers.ledger.owners import Ownership, known_owners
from workers.ledger.tables import endpoints, meta
from workers.ledger.values import EndpointState

_OPEN: dict[str, None] = {"closed_at": None, "closed_reason": None, "closed_digest": None}
_NOBODY_TRIES: dict[str, None] = {"trying_owner": None, "trying_until": None}


class Endpoints:
    """`ledger.endpoints`. An endpoint that was never used has no row, and the state of a fresh one."""

    def __init__(self, database: Database, ownership: Ownership) -> None:
        self._database = database
        self._ownership = ownership
        self._salt: bytes | None = None
        self._digests: dict[bytes, str] = {}

    def get(self, name: str) -> EndpointState:
        """What is known of the endpoint now."""
        with self._database.read() as connection:
            return _state(name, _row(connection, name))

    def may_login(self, name: str, credentials_digest: str, *, since: float, until_s: float) -> bool:
        """Whether this process may try these credentials now: alone, for `until_s` seconds at most.

        They may be wrong since yesterday, and a fleet that rebuilds its lines together would lock the
        account. But where they have worked after `since`, by the ledger's clock, all pass who began then.
        """
        with self._database.read() as connection:
            row = _row(connection, name)
            now = self._database.now(connection)
            if row is not None and _worked_after(row, credentials_digest, since):
                return True
            if row is not None and self._is_anothers_turn(connection, row, credentials_digest, now):
                return False
        with self._database.write() as connection:
            insert_missing(connection, endpoints, {"endpoint": name})
            now = self._database.now(connection)
            owner = self._ownership.register(connection, now)
            row = _row(connection, name, lock=True)
            if row is not None and self._is_anothers_turn(connection, row, credentials_digest, now):
                return False
            trying = update(endpoints).where(endpoints.c.endpoint == name)
            connection.execute(trying.values(trying_owner=owner, trying_until=now + until_s))
            return True

    def _is_anothers_turn(
        self, connection: Connection, row: Row[Any], credentials_digest: str, now: float
    ) -> bool:
        # Closed since the caller asked: its try would be the second one.
        if row.closed_at is not None and row.closed_digest == credentials_digest:
            return True
        if row.trying_owner in (None, self._ownership.owner) or row.trying_until <= now:
            return False
        other = known_owners(connection).get(row.trying_owner)
        return other is None or not self._ownership.is_gone(other)

    def logged_in(self, name: str, credentials_digest: str) -> None:
        """The credentials work: all who waited for that may log in. Writes where it was our turn, only."""
        with self._database.read() as connection:
            row = _row(connection, name)
        if row is None or row.trying_owner != self._ownership.owner:
            return
        with self._database.write() as connection:
            worked = update(endpoints).where(endpoints.c.endpoint == name)
            now = self._database.now(connection)
            connection.execute(worked.values(proven_digest=credentials_digest, proven_at=now))
            self._leave_turn(connection, name)

    def connected(self, name: str) -> None:
        """A line was built: there are no failures in a row any more. Writes only what is new."""
        with self._database.read() as connection:
            row = _row(connection, name)
        if row is not None and (row.consecutive_failures or row.breaker_until is not None):
            self._set(name, consecutive_failures=0, breaker_until=None)

    def _leave_turn(self, connection: Connection, name: str) -> None:
        mine = and_(endpoints.c.endpoint == name, endpoints.c.trying_owner == self._ownership.owner)
        connection.execute(update(endpoints).where(mine).values(**_NOBODY_TRIES))

    def failed(self, name: str, error: str) -> int:
        """A line could not be built; returns how many times in a row, all processes together."""
        with self._database.write() as connection:
            insert_missing(connection, endpoints, {"endpoint": name})
            counted: ReturningUpdate[int] = (
                update(endpoints)
                .where(endpoints.c.endpoint == name)
                .values(
                    consecutive_failures=endpoints.c.consecutive_failures + 1,
                    last_error=error,
                    last_error_at=self._database.now(connection),
                )
                .returning(endpoints.c.consecutive_failures)
            )
            failures = int(connection.execute(counted).scalar_one())
            # Whoever failed without an answer leaves the turn to the next; another's turn is not ours to end.
            self._leave_turn(connection, name)
            return failures

    def trip(self, name: str, for_s: float) -> None:
        """A whole budget of connects is used up: open the breaker for `for_s` seconds."""
        with self._database.write() as connection:
            insert_missing(connection, endpoints, {"endpoint": name})
            until = self._database.now(connection) + for_s
            connection.execute(
                update(endpoints).where(endpoints.c.endpoint == name).values(breaker_until=until)
            )

    def is_tripped(self, name: str) -> EndpointState | None:
        """The endpoint's state while its breaker is open; None once its time is over or a line was built."""
        with self._database.read() as connection:
            row = _row(connection, name)
            if row is None or row.breaker_until is None:
                return None
            open_still = row.breaker_until > self._database.now(connection)
            return _state(name, row) if open_still else None

    def close(self, name: str, reason: str, credentials_digest: str) -> None:
        """Nobody connects any more: these credentials were refused. The first refusal's time stays."""
        with self._database.write() as connection:
            insert_missing(connection, endpoints, {"endpoint": name})
            now = self._database.now(connection)
            known = _state(name, _row(connection, name))
            connection.execute(
                update(endpoints)
                .where(endpoints.c.endpoint == name)
                .values(
                    closed_at=known.closed_at or now,
                    closed_reason=reason,
                    closed_digest=credentials_digest,
                    proven_digest=None,
                    **_NOBODY_TRIES,
                    last_error=reason,
                    last_error_at=now,
                )
            )

    def open_again(self, name: str) -> None:
        """Undo `close`: the next use tries the credentials once more."""
        self._set(name, **_OPEN)

    def is_closed(self, name: str, credentials_digest: str) -> EndpointState | None:
        """The endpoint's state if it is paused, or closed for these credentials; None if a line may be built.

        Other credentials than the refused ones open it.
        """
        with self._database.read() as connection:
            row = _row(connection, name)
        if row is None or (row.closed_at is None and row.paused_at is None):
            return None
        if row.closed_at is None or row.closed_digest == credentials_digest:
            return _state(name, row)
        with self._database.write() as connection:
            # Only what was read: somebody may have closed it for these very credentials meanwhile.
            as_read = and_(endpoints.c.endpoint == name, endpoints.c.closed_digest == row.closed_digest)
            connection.execute(update(endpoints).where(as_read).values(**_OPEN))
        return None if row.paused_at is None else self.get(name)

    def digest(self, user: str, password: str) -> str:
        """A salted digest of credentials, to tell whether they are still the refused ones.

        scrypt, since a stolen ledger must not make guessing a password cheap; kept for the life of this
        process, since it is asked before every connect and takes ten milliseconds.
        """
        if self._salt is None:
            with self._database.read() as connection:
                salt = connection.execute(select(meta.c.value).where(meta.c.key == "salt")).scalar_one()
            self._salt = bytes.fromhex(salt)
        told = f"{user}\0{password}".encode()
        key = hashlib.sha256(self._salt + told).digest()
        if key not in self._digests:
            self._digests[key] = hashlib.scrypt(told, salt=self._salt, n=2**12, r=8, p=1, dklen=32).hex()
        return self._digests[key]

    def pause(self, name: str) -> None:
        """Nobody connects until `resume`; a second pause keeps the first one's time."""
        with self._database.write() as connection:
            insert_missing(connection, endpoints, {"endpoint": name})
            fresh = endpoints.c.paused_at.is_(None)
            paused = update(endpoints).where(endpoints.c.endpoint == name, fresh)
            connection.execute(paused.values(paused_at=self._database.now(connection)))

    def resume(self, name: str) -> None:
        """Undo `pause`."""
        self._set(name, paused_at=None)

    def learn(self, name: str, features_json: str | None, not_after: float | None) -> None:
        """Remember what the server can, and when its certificate ends (epoch seconds; None: no TLS)."""
        known = self.get(name)
        if (known.features_json, known.certificate_not_after) != (features_json, not_after):
            self._set(name, features=features_json, features_at=self._now(), certificate_not_after=not_after)

    def _now(self) -> float:
        with self._database.read() as connection:
            return self._database.now(connection)

    def _set(self, name: str, **values: object) -> None:
        with self._database.write() as connection:
            insert_missing(connection, endpoints, {"endpoint": name})
            connection.execute(update(endpoints).where(endpoints.c.endpoint == name).values(**values))


def _row(connection: Connection, name: str, *, lock: bool = False) -> Row[Any] | None:
    statement: Select[Any] = select(endpoints).where(endpoints.c.endpoint == name)
    return connection.execute(statement.with_for_update() if lock else statement).one_or_none()


def _worked_after(row: Row[Any], credentials_digest: str, since: float) -> bool:
    worked_at = row.proven_at if row.proven_digest == credentials_digest else None
    return worked_at is not None and worked_at >= since


def _state(name: str, row: Row[Any] | None) -> EndpointState:
    if row is None:
        return EndpointState(name)
    return EndpointState(
        endpoint=name,
        features_json=row.features,
        certificate_not_after=row.certificate_not_after,
        consecutive_failures=row.consecutive_failures,
        last_error=row.last_error,
        last_error_at=row.last_error_at,
        closed_at=row.closed_at,
        closed_reason=row.closed_reason,
        paused_at=row.paused_at,
    )
