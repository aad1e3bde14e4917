"""Files arrive with a ledger in PostgreSQL, and the database is restarted under them."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

from tests.faults.proxy import CuttingProxy
from tests.servers.postgres import Postgres
from tests.servers.server import FtpServer
from tests.servers.valkey import Valkey
from tests.system.stack import Stack, digests, endpoint
from tests.waiting import wait_until

SIZE = 3_000_000
RATE = 1_000_000  # bytes a second and line


def test_files_arrive_though_the_database_is_restarted_in_mid_transfer(
    start_server: Callable[..., FtpServer], valkey: Valkey, postgres: Postgres, tmp_path: Path
) -> None:
    """Bytes flow on meanwhile; tasks fail with the reason, no file is charged, no process ends; the next tick
    brings what is left. The database's password is nowhere in what was said."""
    server = start_server("vsftpd")
    for name in ("a", "b", "c"):
        (server.root / name).write_bytes(os.urandom(SIZE))
    with (
        CuttingProxy.before(server) as proxy,
        Stack(
            tmp_path,
            valkey.url(),
            endpoints={"bank": endpoint(server, host=proxy.address)},
            routes={"in": {"endpoint": "bank", "remote": "/", "every": "1s", "batch": {"files": 1}}},
            ledger=postgres.url(),
        ) as stack,
    ):
        stack.start("polls", "transfers")
        proxy.data.rate = RATE
        stack.start("beat")
        wait_until(lambda: proxy.data.bytes_down > SIZE // 3, 60, what="the first is under way")

        postgres.stop()
        wait_until(lambda: "LedgerUnavailable" in stack.said(), 60, what="a task that says why it failed")
        wait_until(lambda: proxy.data.bytes_down >= SIZE, 60, what="the rest of its bytes")
        postgres.start()

        wait_until(lambda: stack.landed("in") == {b"a", b"b", b"c"}, 60, what="all files")
        assert digests(stack.landing("in")) == digests(server.root)
        assert {row.attempts for row in stack.rows("in")} == {0}
        assert proxy.data.bytes_down < 3.5 * SIZE, "what was received before is gone on with"
        for name in ("polls", "transfers", "beat"):
            assert stack.services[name].process.poll() is None
        history = stack.towline("history", "--json")
        assert history.returncode == 0, history.stderr
        said = stack.said() + history.stdout + history.stderr + repr(stack.failed("towline.fetch"))
        assert postgres.password not in said
