"""What the ledger says of a route, as the verdict needs it."""

from __future__ import annotations

import json
import os
from pathlib import Path

from sqlalchemy import NullPool, create_engine, select
from sqlalchemy.exc import OperationalError

from tests.witness.verdict import Row
from workers.ledger import Ledger
from workers.ledger.states import State
from workers.ledger.tables import metadata, owners, paths, versions
from workers.ledger.values import temp_name
from workers.names import parsed
from workers.stores.local import LocalFolder
from workers.stores.naming import TEMP_PREFIX

_OVER = {State.FINISHED, State.SUPERSEDED, State.VANISHED}
_ALL = 1_000_000


def published(ledger: Ledger, route: str) -> list[Row]:
    """What it has published, by final name; what was kept in favour of another has no bytes."""
    return [
        Row(route, os.fsdecode(parsed(row.local).rpartition(b"/")[2]), row.sha256)
        for row in ledger.history.rows(route, limit=_ALL)
        if row.local and row.sha256
    ]


def unfinished(ledger: Ledger, route: str) -> list[str]:
    """The versions with which something is still to be done, a line each."""
    return [
        f"{row.path!r} {row.state} {row.last_error or row.after_error or ''}".strip()
        for row in ledger.history.rows(route, limit=_ALL)
        if row.state not in _OVER
    ]


def orphans(ledger: Ledger, route: str, target: Path) -> list[str]:
    """Temps that nobody will go on with, once all is finished.

    Whoever claims a path next takes over what the dead have left for it. Where nobody will, since the file is
    gone, that is upkeep's, after a while; here it is done at once.
    """
    left = temps(target) - _of_the_gone(ledger, route)
    LocalFolder(target).sweep(ledger.claims.temps(route, str(target)), idle=0.0)
    return sorted(left | temps(target))


def temps(target: Path) -> set[str]:
    """The temps that lie in a folder now."""
    return {file.name for file in target.glob(f"{os.fsdecode(TEMP_PREFIX)}*")}


def holders(url: str) -> set[int]:
    """The process ids of those who have files claimed now; none where the database is away."""
    engine = create_engine(url, poolclass=NullPool)
    claiming = select(owners.c.pid).join(paths, paths.c.owner == owners.c.owner).distinct()
    try:
        with engine.connect() as connection:
            return set(connection.scalars(claiming))
    except OperationalError:
        return set()
    finally:
        engine.dispose()


def keep(url: str, folder: Path) -> None:
    """Write every table of a ledger to `folder`, as `ledger.<table>.jsonl`: a row a line, bytes as text."""
    engine = create_engine(url)
    try:
        with engine.connect() as connection:
            for table in metadata.sorted_tables:
                rows = connection.execute(select(table)).mappings()
                lines = [json.dumps(dict(row), default=os.fsdecode, sort_keys=True) + "\n" for row in rows]
                (folder / f"ledger.{table.name}.jsonl").write_text("".join(lines))
    finally:
        engine.dispose()


def _of_the_gone(ledger: Ledger, route: str) -> set[str]:
    """The names of temps of paths whose last version is gone."""
    latest = versions.alias("latest")
    asked = (
        select(paths.c.path_id, paths.c.fence, versions.c.version_id)
        .join(versions, versions.c.path_id == paths.c.path_id)
        .join(latest, latest.c.path_id == paths.c.path_id)
        .where(paths.c.route == route, latest.c.latest, latest.c.state == State.VANISHED)
    )
    with ledger._database.read() as connection:
        rows = connection.execute(asked).all()
    return {
        temp_name(ledger.id, row.path_id, row.version_id, fence)
        for row in rows
        for fence in range(1, row.fence + 1)
    }
