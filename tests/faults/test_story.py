"""The story Towline grew from: an implicit-FTPS server drops the idle line, and drops it again.

The client it was first told of survived the first loss and raised at the second. Here the fiftieth must be
like the first, however the line was lost, and the counters must say what happened.
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from tests.faults.proxy import CuttingProxy
from tests.servers.pyftpd import Pyftpd
from tests.servers.server import FtpServer
from tests.waiting import wait_until
from workers.ftps.connection import Connection
from workers.ledger import Ledger
from workers.session import Reason, Session, Tally
from workers.settings import Endpoint

LOSSES = 50
PATIENT_S, IMPATIENT_S = 60.0, 0.3
"""How long an answer is waited for: where one comes, and where none can."""


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    ledger = Ledger.open(f"sqlite:///{tmp_path}/ledger.sqlite3", state_dir=tmp_path)
    yield ledger
    ledger.close()


def names(line: Connection) -> set[bytes]:
    with line.listing(b"/") as listing:
        return {entry.name for entry in listing if entry.kind == "file"}


def test_the_fiftieth_loss_of_an_idle_line_is_like_the_first(
    start_server: Callable[..., FtpServer], ledger: Ledger
) -> None:
    """FIN, 421, RST and a black hole in turn: every listing succeeds, each rebuild is counted by reason."""
    server = start_server("pyftpdlib", tls="implicit")
    assert isinstance(server, Pyftpd)
    (server.root / "statement.xml").write_bytes(b"<a/>")
    with CuttingProxy.before(server) as proxy:
        endpoint = Endpoint.model_validate(
            {
                "name": "bank",
                "host": proxy.address,
                "port": server.port,
                "user": server.user,
                "password": server.password,
                "tls": "implicit",
                "ca_file": server.ca_file,
                "probe_after": 0.0,
                "probe_timeout": PATIENT_S,
            }
        )
        losses: list[tuple[Callable[[], int], Reason]] = [
            (proxy.cut_control, Reason.IDLE_LOSS),
            (server.dismiss_lines, Reason.SERVER_CLOSED),
            (proxy.reset_control, Reason.IDLE_LOSS),
            (proxy.swallow_control, Reason.BLACK_HOLE),
        ]
        session, tally, process = Session(endpoint, ledger), Tally(), psutil.Process()
        assert session.run(names, name="list", tally=tally) == {b"statement.xml"}
        happened: Counter[Reason] = Counter({Reason.FIRST_USE: 1})
        descriptors = threads = 0
        for number in range(LOSSES):
            lose, reason = losses[number % len(losses)]
            assert lose() >= 1, f"loss {number}: there was a line to lose"
            happened[reason] += 1
            waits_s = IMPATIENT_S if reason is Reason.BLACK_HOLE else PATIENT_S
            session.endpoint = endpoint.model_copy(update={"probe_timeout": waits_s})
            assert session.run(names, name="list", tally=tally) == {b"statement.xml"}, f"loss {number}"
            if number == 0:
                descriptors, threads = process.num_fds(), threading.active_count()
        # A swallowed line stays open at the proxy's own ends until the next cut; the last loss is a 421.
        wait_until(
            lambda: process.num_fds() <= descriptors, what="as many descriptors as after the first loss"
        )
        assert threading.active_count() <= threads
        assert session.counters.builds == happened
        assert not session.counters.failures
        assert (tally.connects, tally.reconnects) == (LOSSES + 1, LOSSES)
        assert proxy.control.made == LOSSES + 1, "the proxy counted as many connections"
        wait_until(lambda: server.logins() == LOSSES + 1, what="the server counted as many logins")
        session.close()
