"""PostgreSQL under the ledger: how it is connected to, and what its failures mean for a user."""

from __future__ import annotations

import re
from typing import Any

from sqlalchemy import Engine, create_engine, event

from workers.errors import LedgerRefused

CONNECT_TIMEOUT_S = 10
"""Name, TCP, TLS and login, for each address the name stands for."""

SILENCE_MS = 30_000
"""So long the server's host may leave bytes unacknowledged before the connection counts as dead."""

LOCK_TIMEOUT_MS = 30_000
"""How long a writer waits for another one, whose transaction takes milliseconds."""

IDLE_IN_TRANSACTION_MS = 30_000
"""After so long the server ends the transaction of a process that was frozen inside it: it holds locks that
the rest of the fleet waits for."""

_KEEP_ALIVE = {
    "connect_timeout": CONNECT_TIMEOUT_S,
    "keepalives_idle": 15,
    "keepalives_interval": 5,
    "keepalives_count": 3,
    "tcp_user_timeout": SILENCE_MS,
    "application_name": "towline",
}

_SETTINGS = (
    f"SET lock_timeout = {LOCK_TIMEOUT_MS}",
    f"SET idle_in_transaction_session_timeout = {IDLE_IN_TRANSACTION_MS}",
    # A commit that a crash of the server may lose will not do: "published" must not be unsaid.
    "SELECT set_config('synchronous_commit', 'on', false)"
    " WHERE current_setting('synchronous_commit') = 'off'",
)

# Waiting does not help; the server says so in words only, since a refused login carries no SQLSTATE in libpq.
_FOR_GOOD = re.compile(
    r"does not exist|authentication failed|no password supplied|no pg_hba\.conf entry|permission denied"
    r"|invalid connection option"
)


def postgres_engine(url: str, shown: str) -> Engine:
    """An engine that notices dead connections before it lends them. Raises LedgerRefused: no driver."""
    try:
        engine = create_engine(url, pool_pre_ping=True, connect_args=_KEEP_ALIVE, hide_parameters=True)
    except ModuleNotFoundError as missing:
        raise LedgerRefused(
            shown, "PostgreSQL's driver is not installed: pip install 'towline[postgres]'"
        ) from missing

    @event.listens_for(engine, "connect")
    def prepare(connection: Any, _record: object) -> None:
        with connection.cursor() as cursor:
            cursor.execute("; ".join(_SETTINGS))
        connection.commit()

    return engine


def is_for_good(reason: str) -> bool:
    """Whether the server has refused us, so that asking again later is of no use."""
    return _FOR_GOOD.search(reason) is not None
