"""The example of docs/queue.md: another program has files fetched, and minds a server that is down."""

from __future__ import annotations

import hashlib
import os
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

from tests.servers.server import FtpServer
from tests.servers.valkey import Valkey
from tests.system.services import Service
from tests.system.stack import ATTEMPTS, REPOSITORY, Stack, endpoint
from tests.waiting import wait_until

EXAMPLE = REPOSITORY / "docs" / "examples" / "billing"
WITHIN = 60.0  # seconds, on a busy machine


def test_the_example_submits_is_called_back_and_minds_a_server_that_is_down(
    start_server: Callable[..., FtpServer], valkey: Valkey, tmp_path: Path
) -> None:
    """Each version is booked once, however often it is announced; `ReconnectFailed` is told with its counts,
    by a program that has nothing of Towline."""
    server = start_server("pyftpdlib")
    content = b"one\ntwo\n"
    (server.root / "july.csv").write_bytes(content)
    environment = {
        "BILLING_BROKER": valkey.url(),
        "BILLING_RESULTS": valkey.url(),
        "BILLING_BOOK": str(tmp_path / "book.sqlite3"),
        "PYTHONPATH": str(EXAMPLE),
    }

    def get_statements(*paths: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, EXAMPLE / "get_statements.py", "statements", *paths],
            cwd=tmp_path,
            env={"PATH": os.defpath} | environment,
            capture_output=True,
            text=True,
            timeout=WITHIN,
            check=False,
        )

    def booked() -> list[tuple[str, str, int]]:
        if not (tmp_path / "book.sqlite3").exists():
            return []
        with closing(sqlite3.connect(tmp_path / "book.sqlite3")) as book:
            return book.execute("SELECT path, sha256, lines FROM statements").fetchall()

    route = {"endpoint": "bank", "remote": "/", "then": {"task": "billing.ingest", "queue": "billing"}}
    command = [sys.executable, "-m", "celery", "-A", "billing", "worker", "-Q", "billing", "-P", "solo"]
    with (
        Stack(
            tmp_path, valkey.url(), endpoints={"bank": endpoint(server)}, routes={"statements": route}
        ) as stack,
        Service(
            "billing",
            [*command, "-n", "billing@%h", "-l", "INFO"],
            environment=environment,
            folder=tmp_path,
            logs=stack.logs,
        ) as billing,
    ):
        stack.start("transfers")
        fetched = get_statements("/july.csv")
        assert fetched.returncode == 0, fetched.stderr
        digest = hashlib.sha256(content).hexdigest()
        assert fetched.stdout.split() == [str(stack.landing("statements") / "july.csv"), "8", digest]
        wait_until(lambda: "july.csv: booked" in billing.log.read_text(), WITHIN, what="it is called back")
        assert stack.towline("announce", "statements", "--since", "1h").returncode == 0
        wait_until(lambda: "july.csv: was booked before" in billing.log.read_text(), WITHIN, what="again")
        assert booked() == [("/july.csv", digest, 2)]

        server.stop()
        failed = get_statements("/august.csv")
        assert failed.returncode == 3, failed.stderr
        assert "bank can't be reached: " in failed.stderr
        assert f"{ATTEMPTS} attempts" in failed.stderr or f"{ATTEMPTS - 1} attempts" in failed.stderr
