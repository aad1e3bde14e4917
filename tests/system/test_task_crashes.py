"""SIGKILL of a worker's process at both ends of a task, and in the middle of one, under the witness."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from tests.servers.server import FtpServer
from tests.servers.valkey import Valkey
from tests.system.stack import Stack, endpoint
from tests.waiting import wait_until
from tests.witness import books
from tests.witness.verdict import verdict
from tests.witness.watcher import Folders, Watcher
from tests.witness.writer import Journal, Writer
from workers.crashpoints import VARIABLE
from workers.ledger import Ledger

ROUTE = "in"
WITHIN = 60.0  # seconds, on a busy machine


@pytest.mark.long
@pytest.mark.parametrize("at", ["task-ended", "task-begun", "published", "source-removed"])
def test_a_process_of_the_pool_killed_at_a_tasks_end_breaks_no_promise(
    start_server: Callable[..., FtpServer], valkey: Valkey, tmp_path: Path, at: str
) -> None:
    """Its message comes again; what it had done is not done twice, and what it had not is done."""
    server = start_server("vsftpd")
    (server.root / "out").mkdir()
    journal = Journal()
    with (
        Stack(
            tmp_path / "stack",
            valkey.url(),
            endpoints={"bank": endpoint(server)},
            routes={ROUTE: {"endpoint": "bank", "remote": "/out", "every": "2s", "after": "delete"}},
            towline={"lease": "1s"},
        ) as stack,
        Watcher(tmp_path / "desk", Folders(ROUTE, server.root / "out", stack.landing(ROUTE))) as watcher,
    ):
        writer = Writer(ROUTE, server.root / "out", journal)
        for number in range(5):
            writer.put(f"{number}.xml", 1_000 * number)
        stack.environment[VARIABLE] = at
        stack.start("transfers")
        del stack.environment[VARIABLE]
        stack.start("polls", "beat")
        died = stack.services["transfers"].log
        wait_until(lambda: "SIGKILL" in died.read_text(errors="replace"), WITHIN, what=f"{at} is reached")
        stack.kill("transfers")
        writer.put("0.xml", 7_000)
        writer.put("5.xml", 1_500)
        stack.start("transfers")
        ledger = Ledger.open(f"sqlite:///{stack.state_dir}/ledger.sqlite3", state_dir=stack.state_dir)
        with closing(ledger):
            wait_until(
                lambda: not writer.names() and not books.unfinished(ledger, ROUTE), WITHIN, what="all is over"
            )
            temps = books.orphans(ledger, ROUTE, stack.landing(ROUTE))
            found = verdict(journal, watcher, books.published(ledger, ROUTE), temps)
        assert found.clean, str(found)
