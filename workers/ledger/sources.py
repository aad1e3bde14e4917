"""What is still to be done at the source of a file: delete or move it once it is published, or given up.

A version is due from the moment its state says so (PUBLISHED, or QUARANTINED for its own faults) until it is
said what became of its source. Taking it moves `after_next_at` into the future: should the taker die, it is
due again then, and until then nobody else takes it. That time is also the token by which a taker that froze
is told from its successor.

A source is never claimed. Whoever acts on it asks for its identity first, so that two who act do no more
harm than one; and of a path that has a newer version only that one's source can still be there.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from sqlalchemy import ColumnElement, func, select

from workers.ledger.engine import Database
from workers.ledger.listings import write_updates
from workers.ledger.locks import lock_versions
from workers.ledger.states import State, Step, after
from workers.ledger.tables import paths, versions
from workers.ledger.values import Source

FIRST_WAIT_S = 10.0
LONGEST_WAIT_S = 3600.0
_GROWTH = 4

# Written out rather than bound: SQLite uses a partial index only where it sees the condition in the text.
_DUE: tuple[ColumnElement[bool], ...] = (
    versions.c.after_next_at.is_not(None),
    versions.c.state.in_([State.PUBLISHED, State.QUARANTINED]),
)


class Sources:
    """`ledger.sources`."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def any_due(self, route: str) -> bool:
        """Whether something could be done at the route's source now; one short read."""
        with self._database.read() as connection:
            now = self._database.now(connection)
            due = select(versions.c.version_id).where(
                versions.c.route == route, versions.c.after_next_at <= now, *_DUE
            )
            return connection.execute(due.limit(1)).first() is not None

    def take(self, route: str, *, files: int, hold_s: float) -> list[Source]:
        """Up to `files` sources that are due, the oldest first, for `hold_s` seconds."""
        with self._database.write() as connection:
            now = self._database.now(connection)
            due = (
                select(
                    versions.c.version_id,
                    versions.c.state,
                    versions.c.latest,
                    versions.c.size,
                    versions.c.bytes,
                    func.coalesce(versions.c.source_modified, versions.c.modified).label("modified"),
                    func.coalesce(versions.c.source_precision_s, versions.c.precision_s).label("precision_s"),
                    versions.c.after_attempts,
                    paths.c.remote,
                )
                .join(paths, paths.c.path_id == versions.c.path_id)
                .where(versions.c.route == route, versions.c.after_next_at <= now, *_DUE)
                .order_by(versions.c.after_next_at, versions.c.version_id)
                .limit(files)
                .with_for_update(of=[paths, versions], skip_locked=True)
            )
            taken = [
                Source(
                    version_id=row.version_id,
                    path=row.remote,
                    size=row.bytes if row.size is None else row.size,
                    modified=row.modified,
                    precision_s=row.precision_s,
                    given_up=row.state == State.QUARANTINED,
                    latest=row.latest,
                    attempts=row.after_attempts,
                    held_until=now + hold_s,
                )
                for row in connection.execute(due)
            ]
            held = {one.version_id: {"after_next_at": one.held_until} for one in taken}
            write_updates(connection, held)
            return taken

    def done(self, became: Mapping[Source, str]) -> None:
        """Nothing is left to be done at these sources; the value says what became of each.

        A published version is FINISHED by it, one that was given up stays QUARANTINED. Accepted from whoever
        knows it, as long as the version still is what it was.
        """

        def ended(source: Source, state: State, now: float) -> dict[str, Any]:
            values: dict[str, Any] = {
                "after_step": became[source],
                "after_next_at": None,
                "after_error": None,
            }
            if state is State.PUBLISHED:
                values |= {"state": after(state, Step.FINISHED), "finished_at": now}
            return values

        self._write(list(became), ended)

    def failed(self, errors: Mapping[Source, str]) -> None:
        """The server refused: to be tried again, later each time. The file itself has not failed."""

        def spaced(source: Source, _: State, now: float) -> dict[str, Any]:
            wait = min(LONGEST_WAIT_S, FIRST_WAIT_S * _GROWTH ** min(source.attempts, 10))
            return {
                "after_attempts": source.attempts + 1,
                "after_error": errors[source],
                "after_next_at": now + wait,
            }

        self._write(list(errors), spaced, only_held=True)

    def give_back(self, sources: Sequence[Source]) -> None:
        """Nothing was done about these, for no fault of theirs: due at once."""
        self._write(sources, lambda _source, _state, now: {"after_next_at": now}, only_held=True)

    def _write(
        self,
        sources: Sequence[Source],
        values: Callable[[Source, State, float], dict[str, Any]],
        *,
        only_held: bool = False,
    ) -> None:
        """Update those that still have something to be done; only_held: and which nobody took since."""
        if not sources:
            return
        with self._database.write() as connection:
            now = self._database.now(connection)
            ids = [one.version_id for one in sources]
            lock_versions(connection, ids)
            stored = select(versions.c.version_id, versions.c.state, versions.c.after_next_at)
            here = versions.c.version_id.in_(ids)
            rows = {row.version_id: row for row in connection.execute(stored.where(here, *_DUE))}
            updates: dict[int, dict[str, Any]] = {}
            for source in sources:
                row = rows.get(source.version_id)
                if row is None or (only_held and row.after_next_at != source.held_until):
                    continue
                updates[source.version_id] = values(source, State(row.state), now)
            write_updates(connection, updates)
