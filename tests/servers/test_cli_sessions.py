"""`towline sessions`: lines as other processes hold them."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable
from pathlib import Path

import pytest
from sqlalchemy import select

from tests.servers.command import Site
from tests.servers.server import FtpServer
from tests.waiting import wait_until
from workers import settings
from workers.ftps.connection import Connection
from workers.ledger.tables import permits
from workers.process import Process
from workers.session import Tally


def lease_until(process: Process) -> float:
    """Of the one line there is."""
    with process.ledger._database.read() as connection:
        return float(connection.execute(select(permits.c.lease_until)).scalar_one())


def test_a_line_is_shown_as_long_as_it_is_held(
    start_server: Callable[..., FtpServer], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whether or not the endpoint has a limit: where, how old, its TLS, what has been rebuilt and why."""
    server = start_server("vsftpd")
    site = Site(tmp_path, server, endpoint={"probe_after": "0s"}, towline={"lease": "9s"})
    assert site.json("sessions") == {"sessions": [], "full": []}
    monkeypatch.setenv("BANK_PASSWORD", site.password)
    process = Process(settings.load(site.config))
    try:
        session = process.session("bank")
        session.run(Connection.noop, name="noop", tally=Tally())
        (line,) = site.json("sessions")["sessions"]
        assert line == {
            "endpoint": "bank",
            "host": socket.gethostname(),
            "pid": os.getpid(),
            "age_s": line["age_s"],
            "idle_s": line["idle_s"],
            "tls": "TLSv1.3",
            "reconnects": {},
            "last_error": None,
        }
        assert 0 <= line["idle_s"] <= line["age_s"] < 60
        server.kill_lines()
        session.run(Connection.noop, name="noop", tally=Tally())
        (line,) = site.json("sessions")["sessions"]
        assert sum(line["reconnects"].values()) == 1
        assert line["last_error"]
        text = site.towline("sessions")
        assert text.stderr == ""
        heading, row, error = text.stdout.splitlines()
        assert heading.split() == ["endpoint", "host", "pid", "age", "idle", "TLS", "reconnects"]
        assert str(os.getpid()) in row
        assert error.endswith(f"last error: {line['last_error']}")
        # Renewed: a line that is held for many leases is still shown.
        before = lease_until(process)
        wait_until(lambda: lease_until(process) > before, what="a third of the lease")
        assert len(site.json("sessions")["sessions"]) == 1
        session.close()
        assert site.json("sessions") == {"sessions": [], "full": []}
    finally:
        process.close()
