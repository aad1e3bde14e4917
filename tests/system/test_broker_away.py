"""The broker goes away while bytes flow, under a worker with two processes."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.faults.proxy import CuttingProxy
from tests.servers.server import FtpServer
from tests.servers.valkey import Valkey
from tests.system.stack import Stack, digests, endpoint
from tests.waiting import wait_until

SIZE = 3_000_000
SLOWLY = 200_000  # bytes a second and line, until both files are under way and the broker is gone
RATE = 1_000_000  # … and from then on: what is left of each takes less than three seconds


def kill(broker: Valkey) -> None:
    """SIGKILL."""
    broker.stop()


def freeze(broker: Valkey) -> None:
    """SIGSTOP: connections stay open, and nobody answers."""
    assert broker.process is not None
    broker.process.send_signal(signal.SIGSTOP)


def bring_back(broker: Valkey) -> None:
    """What ends `kill` and `freeze`."""
    if broker.process is None:
        broker.start()
    else:
        broker.process.send_signal(signal.SIGCONT)


@pytest.mark.parametrize("take_away", [kill, freeze])
def test_transfers_end_well_while_the_broker_is_away(
    start_server: Callable[..., FtpServer],
    valkey: Valkey,
    tmp_path: Path,
    ledger: str | None,
    take_away: Callable[[Valkey], None],
) -> None:
    """Both files in work arrive before it is back, each sent once; no task fails; the next tick works."""
    server = start_server("vsftpd")
    for name in ("a", "b"):
        (server.root / name).write_bytes(os.urandom(SIZE))
    with (
        CuttingProxy.before(server) as proxy,
        Stack(
            tmp_path,
            valkey.url(),
            endpoints={"bank": endpoint(server, host=proxy.address)},
            routes={"slow": {"endpoint": "bank", "remote": "/", "every": "1s", "batch": {"files": 1}}},
            ledger=ledger,
            transfers=2,
        ) as stack,
    ):
        stack.start("polls", "transfers")
        proxy.data.rate = SLOWLY
        stack.start("beat")
        wait_until(lambda: proxy.data.carried(SIZE // 20) == 2, what="both are under way")

        take_away(valkey)
        assert not stack.landed("slow")
        proxy.data.pace(RATE)
        wait_until(lambda: stack.landed("slow") == {b"a", b"b"}, what="the files, without a broker")
        # Long enough for the tasks to want something of it: their results, and a hint for the next batch.
        time.sleep(3)
        bring_back(valkey)

        assert digests(stack.landing("slow")) == digests(server.root)
        (server.root / "c").write_bytes(b"next")
        wait_until(lambda: b"c" in stack.supervised().landed("slow"), what="the next tick's file")
        assert stack.failed("towline.fetch") == []
        wait_until(lambda: len(server.retrieved()) >= 3, what="the server's log")
        assert sorted(server.retrieved()) == ["/a", "/b", "/c"]
        assert server.logins() <= 4, "the lines were held all the while"
