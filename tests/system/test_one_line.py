"""A server that allows one line: polls and transfers, in processes of their own, share it."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.faults.proxy import CuttingProxy
from tests.servers.server import FtpServer
from tests.servers.valkey import Valkey
from tests.system.stack import Stack, digests, endpoint
from tests.waiting import wait_until

WITHIN = 60.0  # seconds, on a busy machine


# Long: each file of the backlog takes as long as anybody waits, and there are twelve.
@pytest.mark.long
def test_two_routes_come_through_one_line_while_every_process_wants_it(
    start_server: Callable[..., FtpServer], valkey: Valkey, tmp_path: Path
) -> None:
    """A slow backlog of one route starves neither polls nor the other route, whose ticks are an hour apart:
    whoever ended as busy looks again in seconds."""
    server = start_server("vsftpd")
    for name in ("slow", "other"):
        (server.root / name).mkdir()
    for number in range(12):
        (server.root / "slow" / f"{number}").write_bytes(os.urandom(1_000_000))
    (server.root / "other" / "one").write_bytes(b"one")
    route = {"endpoint": "bank", "every": "1h"}
    with (
        CuttingProxy.before(server) as proxy,
        Stack(
            tmp_path,
            valkey.url(),
            endpoints={"bank": endpoint(server, host=proxy.address, max_sessions=1)},
            routes={
                "slow": route | {"remote": "/slow", "batch": {"files": 1}},
                "other": route | {"remote": "/other"},
            },
            polls=1,
            transfers=2,
        ) as stack,
    ):
        proxy.data.rate = 200_000  # bytes a second: each file of the backlog takes as long as anybody waits
        stack.start("polls", "transfers")
        stack.send("poll", "polls", route="slow").get(timeout=WITHIN)
        wait_until(lambda: proxy.data.bytes_down > 200_000, WITHIN, what="the backlog is under way")
        stack.send("poll", "polls", route="other")
        wait_until(lambda: stack.landed("other") == {b"one"}, WITHIN, what="the other route's file")
        assert len(stack.landed("slow")) < 12, "it did not wait for the end of the backlog"
        wait_until(lambda: len(stack.landed("slow")) == 12, 2 * WITHIN, what="the backlog")
        assert digests(stack.landing("slow")) == digests(server.root / "slow")
        assert stack.failed("towline.fetch") == stack.failed("towline.poll") == []
