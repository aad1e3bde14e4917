"""Hints: messages that say "there may be work on this route". Lost, doubled or late ones change nothing."""

from __future__ import annotations

import logging
import math
from typing import Any

from kombu.exceptions import OperationalError

from workers.app import app
from workers.celery_options import POLLS, TRANSFERS
from workers.process import Process
from workers.settings import Route

log = logging.getLogger("towline.hints")

SOON_S = 3.0
"""After which a route is looked at again that found no line free; its place is passed later (permit.py)."""
MOST = 32  # hints of one route at a time; a fetch that filled its batch hints for one more


def hint(process: Process, route: Route, *, already: int = 0) -> int:
    """Send as many hints as batches are ready, at most 32. Returns how many were sent.

    already: how many this poll has sent before it listed. They may be used up by now, so what is ready gets
    one more in any case; a hint too many costs milliseconds, one too few the time until the next tick.
    """
    counts = process.ledger.polls.work(route.name)
    batches = max(
        math.ceil(counts.ready / route.batch.files), math.ceil(counts.ready_bytes / route.batch.bytes)
    )
    # Where the place takes no files, one fetch asks whether it does again; more would fail of the same.
    most = MOST if process.ledger.routes.get(route.name).refused_at is None else 1
    due = min(batches, counts.ready, most)
    if already:
        due = max(due - already, min(due, 1))
    sent = 0
    while sent < due and once(route):
        sent += 1
    return sent


def once(route: Route) -> bool:
    """Send one hint; it expires when the next tick would send another. Returns whether it was sent."""
    task = "towline.fetch" if route.direction == "pull" else "towline.push"
    return _send(task, route, queue=TRANSFERS, expires=route.every or 600.0)


def look_again(route: Route, in_s: float, *, expires: float) -> bool:
    """Ask for one more poll of a route in `in_s` seconds. Returns whether that was sent."""
    return _send("towline.poll", route, queue=POLLS, countdown=in_s, expires=in_s + expires)


def when_free(process: Process, route: Route) -> bool:
    """The endpoint's lines are all in use: look again soon, once a route. Returns whether that was sent.

    The next tick may be an hour away, and meet a full house again.
    """
    if not process.ledger.routes.ask_look(route.name, SOON_S):
        return False
    return look_again(route, SOON_S, expires=process.settings.poll_hard_limit)


def _send(task: str, route: Route, **options: Any) -> bool:
    try:
        app.send_task(task, kwargs={"route": route.name}, ignore_result=True, **options)
    except OperationalError as away:
        # A batch that went well must not end as a failure because nobody takes its hint: the next tick hints.
        log.warning("%s: no hint sent: %s", route.name, away, extra={"action": "hint.lost"})
        return False
    return True
