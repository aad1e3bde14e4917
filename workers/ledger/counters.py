"""Numbers that only rise: what all processes of all hosts have done, kept where it outlives them.

A counter kept in a process dies with it, and a prefork worker has many. Here one transaction a task adds
what the task did, and whoever asks sees the fleet.
"""

from __future__ import annotations

import json
from collections.abc import Mapping

from sqlalchemy import and_, select, update

from workers.ledger.engine import Database, insert_missing
from workers.ledger.tables import counters

Key = tuple[str, tuple[tuple[str, str], ...]]
"""A metric's name, and its labels in their order: ("towline_files_total", (("route", "statements"), …))."""


class Counters:
    """`ledger.counters`."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def add(self, amounts: Mapping[Key, float]) -> None:
        """Add these amounts, none of them negative, in one transaction."""
        risen = {key: amount for key, amount in amounts.items() if amount}
        if not risen:
            return
        with self._database.write() as connection:
            # In one order for all: two processes that add to the same rows must not wait for each other.
            for (metric, labels), amount in sorted(risen.items()):
                key = {"metric": metric, "labels": json.dumps(labels)}
                insert_missing(connection, counters, key | {"value": 0.0})
                this = and_(counters.c.metric == metric, counters.c.labels == key["labels"])
                connection.execute(update(counters).where(this).values(value=counters.c.value + amount))

    def all(self) -> dict[Key, float]:
        """Every counter with its value now."""
        with self._database.read() as connection:
            rows = connection.execute(select(counters).order_by(counters.c.metric, counters.c.labels)).all()
        return {(row.metric, tuple(map(tuple, json.loads(row.labels)))): row.value for row in rows}
