"""The ledger itself: opened once a process, one attribute a book, ready for a fork."""

from __future__ import annotations

import os
import weakref
from collections.abc import Callable
from pathlib import Path

from sqlalchemy import delete, update
from sqlalchemy.exc import DBAPIError

from workers.errors import LedgerRefused, LedgerUnavailable
from workers.ledger import held
from workers.ledger.claims import Claims
from workers.ledger.counters import Counters
from workers.ledger.endpoints import Endpoints
from workers.ledger.engine import Database, reason_of, refuse_network_disk, shown, sqlite_file
from workers.ledger.forgetting import forget as forget_versions
from workers.ledger.history import History
from workers.ledger.migrate import migrate
from workers.ledger.outbox import Outbox
from workers.ledger.owners import Ownership, forget
from workers.ledger.permits import Permits
from workers.ledger.polls import Polls
from workers.ledger.postgres import is_for_good
from workers.ledger.publishing import Publishing
from workers.ledger.routes import Routes
from workers.ledger.sources import Sources
from workers.ledger.tables import paths, permits, routes


class Ledger:
    """The durable memory of all routes: files, claims, endpoints. Safe for threads, and for a fork.

    A forked child may go on using the object it inherited: it is a new owner there, with its own connections.
    """

    def __init__(self, database: Database, ownership: Ownership, ledger_id: str) -> None:
        self._database = database
        self._ownership = ownership
        self.id = ledger_id
        self.polls = Polls(database, ownership)
        self.claims = Claims(database, ownership, ledger_id)
        self.publishing = Publishing(database, ownership)
        self.outbox = Outbox(database)
        self.sources = Sources(database)
        self.endpoints = Endpoints(database, ownership)
        self.permits = Permits(database, ownership)
        self.routes = Routes(database)
        self.counters = Counters(database)
        self.history = History(database)
        _open.add(self)

    @classmethod
    def open(cls, url: str, *, state_dir: Path, clock: Callable[[], float] | None = None) -> Ledger:
        """Open the ledger at a database URL, and make or upgrade its tables where needed.

        state_dir: where the owners' lock files are. clock: epoch seconds, instead of the ledger's own
        (tests). Raises `workers.errors.LedgerRefused`: a newer Towline wrote it, SQLite on a network file
        system, a database that is not there or lets us in no way; LedgerUnavailable: no answer just now.
        """
        file = sqlite_file(url)
        if file is not None:
            file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            refuse_network_disk(file)
        database = Database(url, clock=clock)
        return cls(database, Ownership(state_dir), _opened(database))

    @property
    def owner(self) -> str:
        """This process's owner id; asking for it makes its lock file."""
        return self._ownership.owner

    def now(self) -> float:
        """The ledger's clock, epoch seconds."""
        with self._database.read() as connection:
            return self._database.now(connection)

    def forget(self, older_than_s: float) -> int:
        """Forget versions that have been over for longer than this (seconds); returns how many."""
        return forget_versions(self._database, older_than_s)

    def close(self) -> None:
        """Give back what is still claimed, uncounted, and let go of lock and connections. Idempotent."""
        _open.discard(self)
        try:
            self._leave()
            forgotten = True
        except LedgerUnavailable:
            # The ledger can't be reached. The lock file stays, free: that says that this owner is gone.
            forgotten = False
        self._ownership.close(forgotten=forgotten)
        self._database.close()

    def _leave(self) -> None:
        if not self._ownership.registered:
            return
        with self._database.write() as connection:
            now = self._database.now(connection)
            owner = self._ownership.owner
            polled = update(routes).where(routes.c.poll_owner == owner)
            connection.execute(polled.values(poll_owner=None, poll_until=None))
            rows = held.claimed_where(connection, paths.c.owner == owner)
            held.end(connection, {row.version_id: held.rest(row, now) for row in rows}, rows)
            connection.execute(delete(permits).where(permits.c.owner == owner))
            forget(connection, owner)

    def _before_fork(self) -> None:
        self._database.hold_for_fork()

    def _after_fork_in_parent(self) -> None:
        self._database.go_on_after_fork()

    def _after_fork_in_child(self) -> None:
        self._database.renew_after_fork()
        self._ownership.forked()


def _opened(database: Database) -> str:
    """The ledger's id, its tables being as they should be; nothing stays open where that fails."""
    try:
        return migrate(database)
    except LedgerUnavailable as failure:
        database.close()
        ledger, reason = failure.args
        if is_for_good(reason):
            raise LedgerRefused(ledger, reason) from failure
        raise
    except DBAPIError as failure:
        database.close()
        raise LedgerRefused(shown(database.url), reason_of(failure)) from failure


# os.register_at_fork can't be undone, so it is registered once, for whichever ledgers are open then.
_open: weakref.WeakSet[Ledger] = weakref.WeakSet()


def _before_fork() -> None:
    for ledger in list(_open):
        ledger._before_fork()


def _after_fork_in_parent() -> None:
    for ledger in list(_open):
        ledger._after_fork_in_parent()


def _after_fork_in_child() -> None:
    for ledger in list(_open):
        ledger._after_fork_in_child()


os.register_at_fork(
    before=_before_fork,
    after_in_parent=_after_fork_in_parent,
    after_in_child=_after_fork_in_child,
)
