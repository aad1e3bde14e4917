"""Beat on its own, as `celery -A workers.app beat` starts it."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import redis

from tests.servers.valkey import Valkey
from tests.system.stack import READY_WITHIN, Stack
from tests.waiting import wait_until


def test_beat_may_be_the_first_to_start(valkey: Valkey, tmp_path: Path, free_port: Callable[[], int]) -> None:
    """On a fresh machine there is no state_dir yet; each route's first poll is sent at once all the same."""
    bank = {"host": "127.0.0.1", "port": free_port(), "user": "acme", "password": {"env": "STACK_PASSWORD"}}
    with (
        Stack(
            tmp_path,
            valkey.url(),
            endpoints={"bank": bank},
            routes={"statements": {"endpoint": "bank", "remote": "/"}},
        ) as stack,
        redis.Redis.from_url(valkey.url()) as queues,
    ):
        stack.start("beat")
        wait_until(lambda: queues.llen("towline.polls"), READY_WITHIN, what="a message from beat")
        messages = [json.loads(message) for message in queues.lrange("towline.polls", 0, -1)]
        assert [message["headers"]["task"] for message in messages] == ["towline.poll"]
