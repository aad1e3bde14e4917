"""From a proven temp to a published file: the intent before the rename, the fact after it.

The intent is committed, for a whole group of files, before the first rename. Whoever comes after a crash
finds in it all that is needed: temp still there → finish the rename; temp gone → it was published.

The fact is accepted from whoever knows it. A worker that froze between rename and report speaks the truth
when it thaws, though its claim may be another's by now; a version that is published already is not announced
twice.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import Connection, Row, insert, select

from workers.crashpoints import crashpoint
from workers.ledger import held
from workers.ledger.engine import Database
from workers.ledger.leases import DUE_AT_SOURCE
from workers.ledger.listings import write_updates
from workers.ledger.locks import lock_versions
from workers.ledger.outbox import announcement
from workers.ledger.owners import Ownership
from workers.ledger.states import PUBLISHED_STATES, State, Step, after, allows
from workers.ledger.tables import outbox, paths, versions
from workers.ledger.values import Claim, Intent, Published

_NO_INTENT: dict[str, Any] = {
    "intent_fence": None,
    "intent_temp": None,
    "intent_final": None,
    "intent_size": None,
    "intent_sha256": None,
    "intent_at": None,
}


class Publishing:
    """`ledger.publishing`."""

    def __init__(self, database: Database, ownership: Ownership) -> None:
        self._database = database
        self._ownership = ownership

    def intend(self, items: Sequence[Intent]) -> list[Intent]:
        """Commit that these files are about to be renamed; returns those that still are ours.

        The others must not be renamed: somebody else has their path, and a higher fence.
        """
        with self._database.write() as connection:
            now = self._database.now(connection)
            ours = paths.c.owner == self._ownership.owner
            wanted = paths.c.path_id.in_([item.path_id for item in items])
            rows = {row.path_id: row for row in held.claimed_where(connection, ours, wanted)}
            accepted = [item for item in items if _is_ours(item, rows.get(item.path_id))]
            updates = {
                item.version_id: {
                    "state": after(State.READY, Step.INTENDED),
                    "intent_fence": item.fence,
                    "intent_temp": item.temp,
                    "intent_final": item.final,
                    "intent_size": item.size,
                    "intent_sha256": item.sha256,
                    "intent_at": now,
                    "source_modified": item.modified,
                    "source_precision_s": item.precision_s,
                }
                for item in accepted
            }
            write_updates(connection, updates)
            return accepted

    def published(self, items: Sequence[Published]) -> None:
        """The files lie durable under their final names: PUBLISHED, announced in the outbox, claims ended.

        A version whose intent is no longer open (published by a successor, or given up and fetched anew) is
        left alone.
        """
        with self._database.write() as connection:
            now = self._database.now(connection)
            rows = self._intended(connection, items)
            open_ones = [item for item in items if _is_open(item, rows.get(item.intent.version_id))]
            updates = {
                item.intent.version_id: _NO_INTENT
                | {
                    "state": _published(item),
                    "bytes": item.bytes,
                    "sha256": item.sha256,
                    "local": item.local,
                    "published_at": now,
                    "finished_at": now if item.finished else None,
                    "alone": False,
                    "last_error": None,
                    "after_next_at": None if item.finished else now,
                }
                | DUE_AT_SOURCE
                for item in open_ones
            }
            write_updates(connection, updates)
            announced = [
                announcement(
                    rows[item.intent.version_id], item.local, item.bytes, item.sha256, now, item.then, now
                )
                for item in open_ones
                if item.then is not None
            ]
            if announced:
                connection.execute(insert(outbox), announced)
            # The rename took the only temp there was: whoever claims the path next has nothing to take over.
            owner = self._ownership.owner
            fulfilled = {item.intent.version_id for item in open_ones}
            ours = [
                row.path_id
                for row in rows.values()
                if row.claimed
                and row.owner == owner
                and (row.version_id in fulfilled or State(row.state) in PUBLISHED_STATES)
            ]
            held.free(connection, ours, temp_fence=None)
            crashpoint("row-written")

    def abandon(self, claim: Claim) -> None:
        """Take back an intent: nothing was renamed, nothing will be. READY again; the claim stays ours."""
        with self._database.write() as connection:
            for row in held.held(connection, self._ownership.owner, [claim]).values():
                if allows(State(row.state), Step.ABANDONED):
                    taken_back = _NO_INTENT | {"state": after(State(row.state), Step.ABANDONED)}
                    write_updates(connection, {row.version_id: taken_back})

    def finish(self, version_ids: Sequence[int]) -> None:
        """Nothing is left to be done for these published versions."""
        with self._database.write() as connection:
            now = self._database.now(connection)
            lock_versions(connection, version_ids)
            stored = select(versions.c.version_id, versions.c.state)
            found = connection.execute(stored.where(versions.c.version_id.in_(version_ids)))
            updates = {
                row.version_id: {"state": after(State(row.state), Step.FINISHED), "finished_at": now}
                for row in found
                if allows(State(row.state), Step.FINISHED)
            }
            write_updates(connection, updates)

    def _intended(self, connection: Connection, items: Sequence[Published]) -> dict[int, Row[Any]]:
        """The versions of these items by id; `owner` only where the path is claimed for this very version."""
        ids = [item.intent.version_id for item in items]
        lock_versions(connection, ids)
        joined = versions.join(paths, paths.c.path_id == versions.c.path_id)
        claimed = paths.c.claimed_version == versions.c.version_id
        statement = (
            select(
                versions.c.version_id,
                versions.c.state,
                versions.c.route,
                versions.c.intent_fence,
                paths.c.path_id,
                paths.c.remote,
                paths.c.owner,
                claimed.label("claimed"),
            )
            .select_from(joined)
            .where(versions.c.version_id.in_(ids))
        )
        return {row.version_id: row for row in connection.execute(statement)}


def _is_ours(item: Intent, row: Row[Any] | None) -> bool:
    return (
        row is not None
        and row.fence == item.fence
        and row.version_id == item.version_id
        and allows(State(row.state), Step.INTENDED)
    )


def _published(item: Published) -> State:
    state = after(State.PUBLISHING, Step.PUBLISHED)
    return after(state, Step.FINISHED) if item.finished else state


def _is_open(item: Published, row: Row[Any] | None) -> bool:
    return row is not None and row.state == State.PUBLISHING and row.intent_fence == item.intent.fence
