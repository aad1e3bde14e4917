"""Whether anything is left to be done: facts about broker, workers and Flower that can't be early.

What another process has done is told late, and in any order: a test that counts it waits for this first.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Sequence
from typing import Any

import redis
from celery import Celery

from tests.system.services import Flower

ENDED = {"SUCCESS", "FAILURE", "REVOKED"}  # a task in another state will still change
ANSWER_WITHIN = 5.0  # seconds, for a worker; who does not is asked again


def nothing_left(app: Celery, broker: str, queues: Sequence[str], workers: Collection[str]) -> bool:
    """Whether no message is in these queues of a Redis, or with these workers (by their node names).

    One that is to be begun later is with a worker.
    """
    # A message on its way from its queue to a worker is nowhere to be seen. The worker has put it among the
    # unacked by its second answer from then at the latest, and no task has come and gone meanwhile where
    # none was begun.
    begun = _begun(app, workers)
    return begun is not None and all(
        not _messages(broker, queues) and _begun(app, workers) == begun for _ in range(3)
    )


def outcomes(results: str) -> list[dict[str, Any]]:
    """What a result store in a Redis holds; of a task whose result nobody wants, only a failure."""
    with redis.Redis.from_url(results) as store:
        kept = [store.get(key) for key in store.keys("celery-task-meta-*")]
    return [json.loads(one) for one in kept if isinstance(one, bytes)]


def has_seen_all(flower: Flower, results: str) -> bool:
    """Whether Flower was told of the end of each task that it knows of, or that the result store holds."""
    shown = {task_id: task["state"] for task_id, task in flower.get("/api/tasks?limit=5000").items()}
    ended = {one["task_id"]: one["status"] for one in outcomes(results)}
    return set(shown.values()) <= ENDED and ended.items() <= shown.items()


def _begun(app: Celery, workers: Collection[str]) -> dict[str, dict[str, int]] | None:
    """How many tasks of each name each worker has begun; None unless every one of them answers."""
    asked = app.control.inspect(destination=list(workers), timeout=ANSWER_WITHIN, limit=len(workers))
    told = asked.stats() or {}
    return {node: one["total"] for node, one in told.items()} if told.keys() == set(workers) else None


def _messages(broker: str, queues: Sequence[str]) -> int:
    """Those that are queued, or taken and not acknowledged."""
    with redis.Redis.from_url(broker) as asked, asked.pipeline() as question:
        for queue in queues:
            question.llen(queue)
        return sum(question.hlen("unacked").execute())
