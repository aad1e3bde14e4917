"""Beat on its own, as `celery -A workers.app beat` starts it."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import redis

from tests.servers.server import FtpServer
from tests.servers.valkey import Valkey
from tests.system.stack import READY_WITHIN, Stack, digests, endpoint
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
        assert {message["headers"]["task"] for message in messages} == {"towline.poll"}


@pytest.mark.long
def test_two_beats_do_no_harm(start_server: Callable[..., FtpServer], valkey: Valkey, tmp_path: Path) -> None:
    """Each tick is sent twice, as from two hosts: every file is asked for once, and nobody's task fails."""
    server = start_server("vsftpd")
    with Stack(
        tmp_path,
        valkey.url(),
        endpoints={"bank": endpoint(server)},
        routes={"in": {"endpoint": "bank", "remote": "/", "every": "1s"}},
        polls=2,
        transfers=2,
    ) as stack:
        stack.commands["other-beat"] = ["beat", "-s", str(tmp_path / "other-schedule")]
        stack.start("polls", "transfers", "beat", "other-beat")
        for number in range(6):
            (server.root / f"{number}").write_bytes(f"statement {number}".encode())
            wait_until(lambda: len(stack.landed("in")) > number, READY_WITHIN, what="it arrives")  # noqa: B023
        for name in ("beat", "other-beat"):
            beat = stack.services[name]
            wait_until(lambda beat=beat: "Sending due task" in beat.said(), what=f"a tick of {name}")  # type: ignore[misc]
        with stack.paused("beat"), stack.paused("other-beat"):
            stack.wait_until_idle()
            assert digests(stack.landing("in")) == digests(server.root)
            wait_until(lambda: len(server.retrieved()) >= 6, what="the server's log")
            assert sorted(server.retrieved()) == [f"/{number}" for number in range(6)]
            assert stack.failed("towline.poll") == stack.failed("towline.fetch") == []
