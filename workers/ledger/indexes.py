"""The ledger's indexes, for SQLite and PostgreSQL alike.

Apart from the tables, since only migrations and whoever compares them need these: an index with a condition
loads the dialects of both databases, and every start on SQLite would pay for PostgreSQL's.
"""

from __future__ import annotations

from typing import Any

from sqlalchemy import Column, ColumnElement, Index, TextClause, text

from workers.ledger.tables import metadata, outbox, paths, permits, versions

__all__ = ["metadata"]  # from here, the tables have their indexes


def _partial(name: str, *columns: Column[Any], where: ColumnElement[bool] | TextClause) -> None:
    """An index of those rows only that meet a condition."""
    Index(name, *columns, sqlite_where=where, postgresql_where=where)


# Temps that may lie there, unclaimed: small, since publishing leaves none.
_partial("ix_paths_temps", paths.c.route, where=paths.c.temp_fence.is_not(None))
# Only what is claimed now: as small as the work in hand, however many paths are known.
_partial("ix_paths_claimed", paths.c.owner, paths.c.lease_until, where=paths.c.owner.is_not(None))
# The claim reads this from its left end and stops at its limit; counting by state never touches the table.
Index(
    "ix_versions_claim",
    versions.c.route,
    versions.c.state,
    versions.c.next_attempt_at,
    versions.c.version_id,
)
# When a route last published, and what is old enough to be forgotten.
_partial(
    "ix_versions_published",
    versions.c.route,
    versions.c.published_at,
    where=versions.c.published_at.is_not(None),
)
# What may be forgotten one day: everything else is in the folder now, and stays.
_partial("ix_versions_past", versions.c.last_seen_at, where=text("NOT (latest AND listed)"))
Index("ix_versions_route", versions.c.route, versions.c.version_id)
# What a listing may lack: as many as are in the folder, however long the history.
_partial("ix_versions_listed", versions.c.route, where=text("latest AND listed"))
# What was gone before it could be fetched, by when that was noticed.
_partial("ix_versions_vanished", versions.c.route, versions.c.vanished_at, where=text("state = 'VANISHED'"))
# An open intent keeps newer versions of its path from being claimed; there are never more than are in hand.
_partial("ix_versions_publishing", versions.c.path_id, where=text("state = 'PUBLISHING'"))
# Sources that are still to be deleted or moved: few, unless the server refuses.
_partial(
    "ix_versions_after",
    versions.c.route,
    versions.c.after_next_at,
    where=versions.c.after_next_at.is_not(None),
)
Index("ix_permits_endpoint", permits.c.endpoint, permits.c.owner, unique=True)
_partial("ix_outbox_unsent", outbox.c.next_at, where=outbox.c.sent_at.is_(None))
