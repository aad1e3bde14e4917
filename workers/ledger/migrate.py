"""Bring the ledger's tables to this program's shape: whoever opens it first, under a lock.

A ledger written by a newer Towline is refused: an older program would not know what its new columns mean.
"""

from __future__ import annotations

import fcntl
import os
import secrets
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from sqlalchemy import Connection, inspect, select, text

from workers.errors import LedgerRefused
from workers.ledger.engine import Database, insert_missing, shown
from workers.ledger.tables import meta

HEAD = "0004"
"""The newest revision in migrations/versions; a test holds the two together. Knowing it here saves the import
of Alembic (a fifth of a second) in every process that finds the ledger as it should be."""

MIGRATIONS = Path(__file__).parent / "migrations"

_ADVISORY_KEY = 0x746F776C696E65  # "towline"


def migrate(database: Database) -> str:
    """Make or upgrade the tables where needed; returns the ledger's id. `LedgerRefused`: it is newer."""
    with _alone(database.file):
        with database.read() as connection:
            revision = _revision(connection)
            ledger_id = _ledger_id(connection) if revision == HEAD else None
        if ledger_id is not None:
            return ledger_id
        with database.write() as connection:
            if database.file is None:
                # Until the end of this transaction; whoever waited here may find all of it done.
                connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _ADVISORY_KEY})
                revision = _revision(connection)
            if revision != HEAD:
                _upgrade(connection, revision, database.url)
            return _name(connection, database.now(connection))


def _revision(connection: Connection) -> str | None:
    if not inspect(connection).has_table("alembic_version"):
        return None
    found: str | None = connection.execute(text("SELECT version_num FROM alembic_version")).scalar()
    return found


def _upgrade(connection: Connection, revision: str | None, url: str) -> None:
    from alembic import command
    from alembic.config import Config
    from alembic.script import ScriptDirectory

    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS).replace("%", "%%"))
    known = {script.revision for script in ScriptDirectory.from_config(config).walk_revisions()}
    if revision is not None and revision not in known:
        raise LedgerRefused(
            shown(url),
            f"it was written by a newer Towline (its shape is {revision}, this program knows {HEAD}); "
            "upgrade Towline",
        )
    # migrations/env.py uses this connection, and so this transaction: a migration happens whole, or not at
    # all.
    config.attributes["connection"] = connection
    command.upgrade(config, "head")


def _ledger_id(connection: Connection) -> str | None:
    found: str | None = connection.execute(select(meta.c.value).where(meta.c.key == "ledger_id")).scalar()
    return found


def _name(connection: Connection, now: float) -> str:
    for key, value in (
        ("ledger_id", str(uuid.uuid4())),
        ("created_at", repr(now)),
        ("salt", secrets.token_hex(16)),
    ):
        insert_missing(connection, meta, {"key": key, "value": value})
    named = _ledger_id(connection)
    assert named is not None
    return named


@contextmanager
def _alone(file: Path | None) -> Iterator[None]:
    """On SQLite, only one process at a time looks at, and changes, the ledger's shape."""
    if file is None:
        yield
        return
    lock = os.open(f"{file}.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
    finally:
        os.close(lock)
