"""Cancelling a task that runs: a mark in the fleet's Redis, at which the task's process looks once a second.

Celery's own revocation is known to a worker's main process only, and forgotten with it. The mark reaches the
process that moves the bytes, and a task that nobody has taken yet.
"""

from __future__ import annotations

from redis import Redis

WITHIN_S = 1.0  # for each answer of Redis; the task looks again anyway
KEPT_S = 86_400  # as long as results: a task that is queued for longer has expired


def connect(url: str) -> Redis:
    """A client of the Redis at `url` (see `pairing.place`), with short time limits; connects at first use."""
    return Redis.from_url(url, socket_timeout=WITHIN_S, socket_connect_timeout=WITHIN_S)


def cancel(redis: Redis, task_id: str) -> None:
    """Leave the mark for a task. Raises redis.RedisError."""
    redis.set(_key(task_id), b"1", ex=KEPT_S)


def is_cancelled(redis: Redis, task_id: str) -> bool:
    """Whether somebody has left it. Raises redis.RedisError."""
    return bool(redis.exists(_key(task_id)))


def _key(task_id: str) -> str:
    return f"towline:cancelled:{task_id}"
