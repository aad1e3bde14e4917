"""SIGKILL in mid-transfer: of a process of the pool, and of a whole worker."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.faults.proxy import CuttingProxy
from tests.servers.server import FtpServer
from tests.servers.valkey import Valkey
from tests.system.stack import Stack, digests, endpoint
from tests.system.watching import Watch
from tests.waiting import wait_until

BIG = 5_000_000
RATE = 500_000  # bytes a second: four seconds are left for the kill, however late it is noticed
WITHIN = 45.0  # seconds, on a busy machine; upkeep and a lease would take sixty, the next tick an hour


def kill_child(stack: Stack) -> None:
    """SIGKILL of the process that has the file in hand; its worker starts another."""
    (child,) = stack.children("transfers")
    os.kill(child, signal.SIGKILL)


def kill_worker(stack: Stack) -> None:
    """SIGKILL of a worker with its pool; a supervisor starts it again."""
    stack.kill("transfers")
    stack.start("transfers")


@pytest.mark.parametrize(("kill", "name"), [(kill_child, "vsftpd"), (kill_worker, "proftpd")])
def test_the_file_in_hand_is_gone_on_with_within_seconds(
    start_server: Callable[..., FtpServer],
    valkey: Valkey,
    tmp_path: Path,
    ledger: str | None,
    kill: Callable[[Stack], None],
    name: str,
) -> None:
    """All files arrive without another tick, none of them ever half under its final name, none is charged;
    of the one in hand only the rest is sent again."""
    server = start_server(name)
    (server.root / "0-big").write_bytes(os.urandom(BIG))
    for number in range(1, 11):
        (server.root / f"{number}-small").write_bytes(os.urandom(5_000))
    whole = digests(server.root)
    with (
        CuttingProxy.before(server) as proxy,
        Stack(
            tmp_path,
            valkey.url(),
            endpoints={"bank": endpoint(server, host=proxy.address)},
            routes={"in": {"endpoint": "bank", "remote": "/", "every": "1h"}},
            ledger=ledger,
        ) as stack,
        Watch(stack.landing("in"), whole.values()) as watch,
    ):
        proxy.data.rate = RATE
        stack.start("polls", "transfers", "beat")
        wait_until(lambda: proxy.data.bytes_down > 0.6 * BIG, what="the big file is under way")
        made = proxy.data.made
        kill(stack)
        proxy.data.rate = 4 * RATE
        wait_until(lambda: proxy.data.made > made, WITHIN, what="somebody goes on")
        wait_until(lambda: stack.landed("in") == set(whole), WITHIN, what="all files")
        assert digests(stack.landing("in")) == whole
        assert watch.halves == []
        assert watch.looks > 100
        assert {row.attempts for row in stack.rows("in")} == {0}

        def small() -> list[str]:
            return [path for path in server.retrieved() if path != "/0-big"]

        wait_until(lambda: len(small()) >= 10, what="the server's log")
        assert sorted(small()) == sorted(f"/{number}-small" for number in range(1, 11))
        # What the server had sent may have lain in the proxy when the receiver died, so its log says nothing
        # of the big one: the bytes do.
        assert proxy.data.bytes_down < 1.5 * BIG
