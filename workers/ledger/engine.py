"""The database under the ledger: one engine a process, whole transactions, forks, and dialects.

Everything that knows whether SQLite or PostgreSQL is below stands here.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sqlalchemy import Connection, Engine, Insert, Table, create_engine, event, text
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError, DBAPIError, InterfaceError, OperationalError
from sqlalchemy.exc import TimeoutError as NoneFree

from workers.errors import LedgerRefused, LedgerUnavailable
from workers.ledger.mounts import network_file_system
from workers.ledger.postgres import postgres_engine
from workers.ledger.turns import Turns

if TYPE_CHECKING:
    from sqlalchemy.dialects import postgresql, sqlite

BUSY_TIMEOUT_S = 30.0
"""How long a writer waits for another one. Transactions hold the lock for milliseconds; a disk that
stalls, for seconds."""

FORK_WAIT_S = BUSY_TIMEOUT_S
"""How long a fork waits for the transactions of other threads to end."""


class Database:
    """An engine, its transactions and its clock; renews itself in a forked child.

    SQLite keeps, a process, what it has locked in which file; a child that inherits that and opens the same
    file believes in locks it does not hold (its WAL index could be truncated under it). So a fork first waits
    for the transactions of other threads and closes every idle connection; nothing of SQLite is open while
    the process doubles.
    """

    def __init__(self, url: str, *, clock: Callable[[], float] | None = None) -> None:
        """clock: instead of the ledger's own (tests)."""
        self.url = url
        self._clock = clock
        self._engine = _engine(url)
        self._writer = self._engine.execution_options(towline_writes=True)
        # What is one snapshot in SQLite anyway.
        self._reader = (
            self._engine
            if self.file is not None
            else self._engine.execution_options(isolation_level="REPEATABLE READ")
        )
        self._turns = self._new_turns()
        self._gate = threading.Condition()
        self._inside: dict[int, int] = {}
        self._forking = False

    @property
    def file(self) -> Path | None:
        """SQLite's file; None for PostgreSQL."""
        return sqlite_file(self.url)

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """One snapshot: everything read inside belongs to the same moment. Never waits for a writer.

        As `write`, raises LedgerUnavailable where the database does not answer.
        """
        with self._passage(), self._told(), self._reader.begin() as connection:
            yield connection

    @contextmanager
    def write(self) -> Iterator[Connection]:
        """One transaction that may write; committed at the end, rolled back when anything is raised.

        On SQLite it has the only write lock from its first statement on (BEGIN IMMEDIATE): a transaction that
        reads first and writes later would fail with SQLITE_BUSY whatever the time-out, when another wrote in
        between. On PostgreSQL writers meet at rows only: see `locks`.
        """
        with self._passage(), self._told(), ExitStack() as transaction:
            with self._turns.take() if self._turns is not None else nullcontext():
                connection = transaction.enter_context(self._writer.begin())
            yield connection

    def now(self, connection: Connection) -> float:
        """The ledger's clock, epoch seconds: this host's, or PostgreSQL's own, since hosts disagree."""
        if self._clock is not None:
            return self._clock()
        if connection.dialect.name == "sqlite":
            return time.time()
        return float(connection.execute(text("SELECT extract(epoch FROM clock_timestamp())")).scalar_one())

    def close(self) -> None:
        """Close every connection."""
        self._engine.dispose()
        if self._turns is not None:
            self._turns.close()

    # A fork, seen from before, from the parent and from the child (ledger.py registers these).

    def hold_for_fork(self) -> None:
        """Let nobody begin a transaction, wait for those under way elsewhere, close what is idle."""
        me = threading.get_ident()
        with self._gate:
            self._forking = True
            self._gate.wait_for(lambda: not (self._inside.keys() - {me}), FORK_WAIT_S)
        self.close()

    def go_on_after_fork(self) -> None:
        """In the parent: as before."""
        with self._gate:
            self._forking = False
            self._gate.notify_all()

    def renew_after_fork(self) -> None:
        """In the child: a new lock (a thread that did not survive may hold the old one) and a new pool."""
        self._gate = threading.Condition()
        self._inside = {}
        self._forking = False
        if self._turns is not None:
            self._turns.close()
            self._turns = self._new_turns()
        # close=False: a connection that was in use at the fork is the parent's, and closing it would tell the
        # server so.
        self._engine.dispose(close=False)

    @contextmanager
    def _told(self) -> Iterator[None]:
        """The driver's failures, once and for all, as what they mean to whoever asked."""
        try:
            yield
        except (OperationalError, InterfaceError, NoneFree) as failure:
            raise LedgerUnavailable(shown(self.url), reason_of(failure)) from failure

    def _new_turns(self) -> Turns | None:
        file = self.file
        return Turns(file.with_name(f"{file.name}.turn")) if file is not None else None

    @contextmanager
    def _passage(self) -> Iterator[None]:
        me = threading.get_ident()
        with self._gate:
            if me not in self._inside:
                self._gate.wait_for(lambda: not self._forking)
            self._inside[me] = self._inside.get(me, 0) + 1
        gate = self._gate
        try:
            yield
        finally:
            if gate is self._gate:  # a fork in the middle has made a new one
                with gate:
                    self._inside[me] -= 1
                    if not self._inside[me]:
                        del self._inside[me]
                        gate.notify_all()


def insert(connection: Connection, table: Table) -> sqlite.Insert | postgresql.Insert:
    """An INSERT that knows `on_conflict_do_nothing`, of this connection's dialect."""
    # Imported where they are used: a start on SQLite need not pay for PostgreSQL's.
    if connection.dialect.name == "sqlite":
        from sqlalchemy.dialects import sqlite

        return sqlite.insert(table)
    from sqlalchemy.dialects import postgresql

    return postgresql.insert(table)


def insert_missing(connection: Connection, table: Table, values: Mapping[str, Any]) -> None:
    """Insert one row unless its key is there already."""
    statement: Insert = insert(connection, table).values(values).on_conflict_do_nothing()
    connection.execute(statement)


def sqlite_file(url: str) -> Path | None:
    """The file of a SQLite URL, None for PostgreSQL; `LedgerRefused` for anything else."""
    try:
        parsed = make_url(url)
    except ArgumentError:
        raise LedgerRefused(
            "ledger", "this is no database URL; sqlite:////path or postgresql+psycopg://… is"
        ) from None
    if parsed.get_backend_name() == "postgresql":
        return None
    if parsed.get_backend_name() != "sqlite":
        raise LedgerRefused(shown(url), "only SQLite and PostgreSQL can hold a ledger")
    if not parsed.database or parsed.database == ":memory:":
        raise LedgerRefused(shown(url), "a ledger in memory forgets; name a file")
    return Path(parsed.database)


def shown(url: str) -> str:
    """The URL without its password, and without its query, which may hold another one."""
    return make_url(url).set(query={}).render_as_string(hide_password=True)


def reason_of(failure: Exception) -> str:
    """What the database said, in one line; without the statement and its values."""
    said = failure.orig if isinstance(failure, DBAPIError) else failure
    return " ".join(str(said).split())


def refuse_network_disk(file: Path, mountinfo: str | None = None) -> None:
    """`LedgerRefused` where SQLite's file would lie on a network file system."""
    kind = network_file_system(file.parent, mountinfo)
    if kind is not None:
        reason = (
            f"{file.parent} is on a network file system ({kind}), where SQLite loses data; "
            "use a local state_dir, or PostgreSQL"
        )
        raise LedgerRefused(str(file), reason)


def _engine(url: str) -> Engine:
    if sqlite_file(url) is None:
        return postgres_engine(url, shown(url))
    # SQLAlchemy's pool lends one connection to one thread at a time, but not always to the same.
    engine = create_engine(
        url, connect_args={"timeout": BUSY_TIMEOUT_S, "check_same_thread": False}, hide_parameters=True
    )

    @event.listens_for(engine, "connect")
    def prepare(connection: Any, _record: object) -> None:
        # Python's sqlite3 begins transactions by guessing from the statement's first word; we say BEGIN
        # ourselves.
        connection.isolation_level = None
        cursor = connection.cursor()
        cursor.execute("PRAGMA journal_mode=WAL")
        # WAL with NORMAL loses the last commits at a power cut: "published" must not be unsaid.
        cursor.execute("PRAGMA synchronous=FULL")
        cursor.execute("PRAGMA foreign_keys=ON")
        cursor.close()

    @event.listens_for(engine, "begin")
    def begin(connection: Connection) -> None:
        writes = connection.get_execution_options().get("towline_writes", False)
        connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")

    return engine
