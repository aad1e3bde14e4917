"""End the claims of those who are gone or too late, and judge the file a dead worker had in its hands.

One file may be what kills a worker (a parser's fault, memory). Tried again and again inside a batch it would
take the batch with it each time, and every file of it would look guilty. So the file in hand is tried again
at once and alone; if a worker dies with it then, it is charged, and in the end quarantined. The rest of the
batch was not begun, and is simply free.

Where the hand cannot be read (the worker was on another host) nobody is suspected; only a file that was
alone is charged, since nothing else was in work.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from sqlalchemy import Row, func, or_, select

from workers.ledger import held
from workers.ledger.engine import Database
from workers.ledger.owners import Owner, Ownership, forget, forgettable, known_owners
from workers.ledger.states import State, Step, after
from workers.ledger.tables import paths

MAX_ATTEMPTS = 5
"""Of a file, for its own faults, where the caller says nothing else (the contract's `max_attempts`)."""

FIRST_WAIT_S = 10.0
LONGEST_WAIT_S = 3600.0
_GROWTH = 4
UNCOUNTED_WAIT_S = 60.0
"""After a failure that is not the file's: batches that follow each other are not to meet it in each."""

DUE_AT_SOURCE: dict[str, Any] = {"after_step": None, "after_attempts": 0, "after_error": None}
"""Of a version with which something is to be done at the source from `after_next_at` on."""

DIED = "the worker died while it had only this file in its hands"


def charged(row: Row[Any], state: State, error: str, now: float, max_attempts: int) -> dict[str, Any]:
    """What one more attempt of its own fault makes of a version that is `state` now: spaced, or used up."""
    attempts = row.attempts + 1
    wait = min(LONGEST_WAIT_S, FIRST_WAIT_S * _GROWTH ** min(attempts - 1, 10))
    values: dict[str, Any] = {
        "state": state,
        "attempts": attempts,
        "next_attempt_at": now + wait,
        "last_error": error,
    }
    # An open intent is never put aside: first it must be known what became of the rename.
    if state is State.READY and attempts >= max_attempts:
        # From now on its source may be moved away, where the route says so.
        values |= (
            {"state": after(state, Step.USED_UP), "reason": error} | DUE_AT_SOURCE | {"after_next_at": now}
        )
    return values


def free_overdue(
    database: Database, ownership: Ownership, max_attempts: Mapping[str, int], *, only: str | None = None
) -> dict[str, int]:
    """End the claims whose lease is over or whose owner is gone; returns how many, by route.

    Where there are none it is one short read. only: those of this route, leaving the others to whoever knows
    how many attempts they have.
    """
    with database.read() as connection:
        now = database.now(connection)
        holding = select(paths.c.owner, func.min(paths.c.lease_until)).where(paths.c.owner.is_not(None))
        holders = dict(connection.execute(holding.group_by(paths.c.owner)).all())
        known = known_owners(connection) if holders else {}
    known = {owner: other for owner, other in known.items() if owner in holders}
    gone = [owner for owner, other in known.items() if ownership.is_gone(other)]
    if not gone and all(until > now for until in holders.values()):
        return {}
    hands = {owner: ownership.in_hand(other) for owner, other in known.items()}
    with database.write() as connection:
        now = database.now(connection)
        overdue = [or_(paths.c.owner.in_(gone), paths.c.lease_until <= now)]
        if only is not None:
            overdue.append(paths.c.route == only)
        rows = held.claimed_where(connection, *overdue)
        judged = {row.version_id: _judge(row, hands, now, max_attempts) for row in rows}
        held.end(connection, judged, rows)
    return dict(Counter(row.route for row in rows))


def _judge(
    row: Row[Any], hands: Mapping[str, tuple[int, int] | None], now: float, max_attempts: Mapping[str, int]
) -> dict[str, Any]:
    values = held.rest(row, now)
    hand = hands.get(row.owner)
    suspected = row.alone if hand is None else hand == (row.path_id, row.fence)
    if not suspected:
        return values
    if row.alone:
        return values | charged(row, values["state"], DIED, now, max_attempts.get(row.route, MAX_ATTEMPTS))
    return values | {"alone": True, "next_attempt_at": 0.0}


def forget_the_dead(database: Database, ownership: Ownership) -> None:
    """Delete the rows and lock files of owners that hold nothing and are gone."""
    with database.read() as connection:
        dead = forgettable(connection, ownership, database.now(connection))
        known = known_owners(connection)
    if dead:
        with database.write() as connection:
            # Asked again: one of another host that seemed idle may be claiming now.
            dead = forgettable(connection, ownership, database.now(connection))
            for other in dead:
                forget(connection, other.owner)
    for other in dead:
        if other.host == ownership.host:
            other.lock_file.unlink(missing_ok=True)
    for stray in _strays(ownership, known):
        stray.unlink(missing_ok=True)


def _strays(ownership: Ownership, known: Mapping[str, Owner]) -> list[Path]:
    """Free lock files of owners that never came to claim anything."""
    found = [file for file in ownership.folder.glob("*.lock") if file.stem not in known]
    return [file for file in found if ownership.is_gone(Owner(file.stem, ownership.host, file, 0.0))]
