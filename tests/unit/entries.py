"""Entries of a listing, and what the ledger keeps of them."""

from __future__ import annotations

import re

from workers.detect import Rules
from workers.ftps.listing import Entry, Kind
from workers.ledger.states import State
from workers.ledger.values import Known

NOW = 1_700_000_000.0
RULES = Rules(
    remote=b"/out",
    include=re.compile("(?s:.*)"),
    exclude=None,
    regex=None,
    settle=10.0,
    min_age=0.0,
    encoding="utf-8",
)


def entry(
    name: bytes = b"a.xml",
    size: int | None = 10,
    modified: float | None = NOW - 1000,
    precision: float = 1.0,
    kind: Kind = "file",
) -> Entry:
    return Entry(name, kind, size, modified, precision)


def known_from(one: Entry, *, state: State = State.WAITING, since: float = NOW, listed: bool = True) -> Known:
    """What the ledger keeps once a poll has applied `one`."""
    return Known(
        path_id=1,
        version_id=1,
        path=b"/out/" + one.name,
        size=one.size,
        modified=one.modified,
        precision_s=one.precision_s,
        unique=one.unique,
        state=state,
        settled_since=since,
        looks=1,
        listed=listed,
    )
