"""Hints: messages that say "there may be work on this route". Lost, doubled or late ones change nothing."""

from __future__ import annotations

import math

from workers.app import TRANSFERS, app
from workers.process import Process
from workers.settings import Route

MOST = 32  # hints of one route at a time; a fetch that filled its batch hints for one more


def hint(process: Process, route: Route) -> int:
    """Send as many hints as batches are ready, at most 32. Returns how many were sent."""
    counts = process.ledger.polls.counts(route.name)
    batches = max(
        math.ceil(counts.ready / route.batch.files), math.ceil(counts.ready_bytes / route.batch.bytes)
    )
    batches = min(batches, counts.ready, MOST)
    for _ in range(batches):
        once(route)
    return batches


def once(route: Route) -> None:
    """Send one hint; it expires when the next tick would send another."""
    app.send_task(
        "towline.fetch",
        kwargs={"route": route.name},
        queue=TRANSFERS,
        expires=route.every or 600.0,
        ignore_result=True,
    )
