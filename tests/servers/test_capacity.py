"""Servers with a limit of their own, and a fleet that knows nothing of it."""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.servers.command import Site
from tests.servers.fleet import Member
from tests.servers.server import FtpServer
from tests.servers.turnstile import Turnstile
from tests.waiting import wait_until


@pytest.mark.parametrize(
    "name",
    [
        "vsftpd",
        pytest.param("proftpd", marks=pytest.mark.long),
        pytest.param("pure-ftpd", marks=pytest.mark.long),
    ],
)
def test_a_fleet_finds_out_how_many_lines_a_server_takes(
    start_server: Callable[..., FtpServer], tmp_path: Path, name: str
) -> None:
    """No more than two, for three processes without `max_sessions`: all have their turns, no login counts as
    wrong, and the server is not asked again and again."""
    server = start_server(name, most_lines=2)
    with Turnstile(server.host, server.port) as door, ExitStack() as fleet:
        site = Site(tmp_path, server, endpoint={"port": door.port})
        members = [fleet.enter_context(Member(site, tick_s=0.3)) for _ in range(3)]
        for member in members:
            member.begin()
        wait_until(lambda: all(one.said["done"] >= 3 for one in members), 120, what="all have their turns")
        [full] = site.json("sessions")["full"]
        # One, where of the two that were inside one had left again, or was not told of yet, as the third was
        # refused; what is believed when is shown in unit/ledger/test_full_servers.py.
        assert full["endpoint"] == "bank"
        assert full["room"] in (1, 2)
        for member in members:
            member.end()
        # By the first that was one too many, or a few, before the limit was known.
        wait_until(lambda: door.came - server.logins() <= 8, what="the server's log says so")
        assert door.came - server.logins() >= 1
        checked = site.towline("check", "bank", "--json")
        assert checked.returncode == 0, checked.stdout
        [found] = json.loads(checked.stdout)["endpoints"]
        [lines] = [finding for finding in found["findings"] if finding["what"] == "lines"]
        assert lines["remedy"].startswith(("max_sessions = 1", "max_sessions = 2"))
