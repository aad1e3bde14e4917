"""Beside a running batch: once a second its progress is told, and whether it was cancelled is asked.

In a thread of its own, so that a broker or a result store which is away keeps no byte waiting.
"""

from __future__ import annotations

import logging
import threading
from collections import deque
from contextlib import nullcontext
from functools import cache
from typing import Any, Self

from celery import Celery
from celery.app.task import Context
from celery.states import REVOKED
from redis import Redis, RedisError

from workers import cancelling, pairing
from workers.app import app
from workers.celery_options import options
from workers.session import Tally
from workers.stopping import STOP, StopFlag

log = logging.getLogger("towline.watching")

EVERY_S = 1.0
FIRST_LOOK_S = 0.5
"""So long a task waits, before it begins, for the answer whether it was cancelled while it was queued."""
RATE_OVER = 5  # looks; a rate over the last seconds tells whether bytes flow now
END_WITHIN_S = 5.0  # each question to Redis ends within a second


class Watch:
    """Watches one task for as long as the block lasts; nothing is told of it any more at the block's end.

    stop: begun when the task was cancelled, and when its worker stops.
    """

    def __init__(self, request: Context, route: str, tally: Tally) -> None:
        """request: Celery's, of the task; one that is called as a function is not watched."""
        self.stop = StopFlag(above=STOP)
        self.cancelled = False
        self._request = request
        self._route = route
        self._tally = tally
        self._looked, self._over = threading.Event(), threading.Event()
        self._told: dict[str, Any] | None = None
        self._moved = deque([(0.0, 0)], maxlen=RATE_OVER + 1)
        self._thread: threading.Thread | None = None

    def __enter__(self) -> Self:
        if not self._request.called_directly:
            self._thread = threading.Thread(target=self._work, name="towline-watch", daemon=True)
            self._thread.start()
            self._looked.wait(FIRST_LOOK_S)
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        if self._thread is not None:
            # Celery stores the outcome next, which must stay the last word.
            self._thread.join(END_WITHIN_S)

    def _work(self) -> None:
        kept = app.conf.result_backend.startswith(("redis://", "rediss://"))
        place = pairing.place(app.towline, app.conf.broker_url)
        away = False
        with cancelling.connect(place) if place is not None else nullcontext() as redis:
            while True:
                try:
                    if not self.cancelled and self._is_cancelled(redis, kept):
                        self.cancelled = True
                        self.stop.begin(0.0)
                        log.info("%s: cancelled", self._request.id, extra={"action": "task.cancelled"})
                    if kept and self._looked.is_set() and not self._request.ignore_result:
                        self._tell()
                    away = False
                except RedisError as why:
                    if not away:  # an outage may last for hours, and a transfer too
                        told = {"action": "watch.away"}
                        log.info("%s: not watched just now: %s", self._request.id, why, extra=told)
                    away = True
                self._looked.set()
                if self._over.wait(EVERY_S):
                    return

    def _is_cancelled(self, redis: Redis | None, kept: bool) -> bool:
        """By `towline submit cancel`; or by Celery's revoke, which marks also a task that runs."""
        if redis is not None and cancelling.is_cancelled(redis, self._request.id):
            return True
        return kept and _store().backend.get_state(self._request.id) == REVOKED

    def _tell(self) -> None:
        """Store the state PROGRESS, where there is any."""
        now, tally = self._tally.elapsed_s, self._tally
        before, had = self._moved[0]
        self._moved.append((now, tally.bytes))
        facts = {
            "route": self._route,
            "files": tally.files,
            "bytes": tally.bytes,
            "total_files": tally.total_files,
            "total_bytes": tally.total_bytes,
            "rate": round((tally.bytes - had) / max(now - before, 0.001)),
            "reconnects": tally.reconnects,
        }
        if facts != self._told:
            _store().backend.store_result(
                self._request.id, facts | {"seconds": now}, "PROGRESS", request=self._request
            )
            self._told = facts


@cache
def _store() -> Celery:
    """Celery's own way to the result store, but one that gives up at once: a late word is worth nothing."""
    impatient = Celery("towline-progress", set_as_current=False)
    impatient.conf.update(
        options(app.towline, app.conf.broker_url),
        result_backend_always_retry=False,
        result_backend_transport_options={"retry_policy": {"max_retries": 0}},
        redis_socket_timeout=cancelling.WITHIN_S,
        redis_socket_connect_timeout=cancelling.WITHIN_S,
        redis_retry_on_timeout=False,
    )
    return impatient
