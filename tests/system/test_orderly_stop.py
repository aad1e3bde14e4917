"""SIGTERM of a worker in mid-transfer: it has `stop_grace`, and what it then leaves is gone on with."""

from __future__ import annotations

import os
import signal
import sqlite3
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

from tests.faults.proxy import CuttingProxy
from tests.servers.server import FtpServer
from tests.servers.valkey import Valkey
from tests.system.stack import Stack, digests, endpoint
from tests.system.watching import Watch
from tests.waiting import wait_until

BIG = 12_000_000
RATE = 400_000  # bytes a second: the big file would take half a minute
GRACE = 2.0
WITHIN = 60.0  # seconds, on a busy machine
QUICKER = 20_000_000


def test_a_worker_told_to_stop_hands_back_what_it_cannot_end(
    start_server: Callable[..., FtpServer], valkey: Valkey, tmp_path: Path
) -> None:
    """It ends with 0, within the grace and not after the file; nothing is charged or half published, its
    place among the lines is free; the next worker goes on at once where it stopped, long before the tick."""
    server = start_server("vsftpd")
    (server.root / "0-big").write_bytes(os.urandom(BIG))
    (server.root / "1-small").write_bytes(b"small")
    whole = digests(server.root)
    with (
        CuttingProxy.before(server) as proxy,
        Stack(
            tmp_path,
            valkey.url(),
            endpoints={"bank": endpoint(server, host=proxy.address, max_sessions=2)},
            routes={"in": {"endpoint": "bank", "remote": "/", "every": "1h"}},
            towline={"stop_grace": f"{GRACE:.0f}s"},
        ) as stack,
        Watch(stack.landing("in"), whole.values()) as watch,
    ):
        proxy.data.rate = RATE
        stack.start("polls", "transfers", "beat")
        wait_until(lambda: proxy.data.bytes_down > 5 * RATE, WITHIN, what="the big file is under way")
        held = set(stack.children("transfers"))
        assert places(stack) & held, "it holds a line"
        worker = stack.services.pop("transfers").process
        told_at = time.monotonic()
        worker.send_signal(signal.SIGTERM)
        assert worker.wait(GRACE + WITHIN) == 0
        assert time.monotonic() - told_at > GRACE * 0.9
        sent = proxy.data.bytes_down
        assert sent < 0.8 * BIG, "it did not wait for the end of the file"
        assert {(row.state, row.attempts) for row in stack.rows("in")} == {("READY", 0)}
        assert stack.landed("in") == set()
        assert not places(stack) & held, "its place is free before anybody's lease is over"
        [partial] = stack.landing("in").glob(".towline-*")
        assert partial.stat().st_size > 2 * RATE, "what came is kept"

        proxy.data.rate = QUICKER
        stack.start("transfers")
        wait_until(lambda: stack.landed("in") == set(whole), WITHIN, what="all files")
        assert digests(stack.landing("in")) == whole
        assert watch.halves == []
        assert {row.attempts for row in stack.rows("in")} == {0}
        # The proxy and two kernels held some of what was under way when the line was closed.
        assert proxy.data.bytes_down < BIG + 3_000_000


def test_an_idle_worker_told_to_stop_gives_up_its_place(
    start_server: Callable[..., FtpServer], valkey: Valkey, tmp_path: Path
) -> None:
    """A line that is only kept for later is closed, and its place given back, not left to a lease."""
    server = start_server("vsftpd")
    (server.root / "small").write_bytes(b"small")
    with Stack(
        tmp_path,
        valkey.url(),
        endpoints={"bank": endpoint(server, max_sessions=2)},
        routes={"in": {"endpoint": "bank", "remote": "/", "every": "1h"}},
        towline={"lease": "60s"},
    ) as stack:
        stack.start("transfers")
        stack.send("fetch", "transfers", route="in", paths=["/small"])
        wait_until(lambda: stack.landed("in") == {b"small"}, WITHIN, what="the file is here")
        held = set(stack.children("transfers"))
        wait_until(lambda: bool(places(stack) & held), WITHIN, what="the line is kept")
        worker = stack.services.pop("transfers").process
        worker.send_signal(signal.SIGTERM)
        assert worker.wait(WITHIN) == 0
        assert places(stack) == set()


def places(stack: Stack) -> set[int]:
    """The processes that have a place among `max_sessions`, by the ledger."""
    with closing(sqlite3.connect(stack.state_dir / "ledger.sqlite3")) as ledger:
        return {pid for (pid,) in ledger.execute("SELECT pid FROM permits")}
