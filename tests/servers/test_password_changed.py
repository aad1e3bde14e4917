"""A password is changed at the server while a whole fleet uses the old one."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.servers.command import Site
from tests.servers.fleet import Member
from tests.servers.proftpd import Proftpd
from tests.waiting import wait_until

PROCESSES = 8


@pytest.fixture
def fleet(start_server: Callable[..., Proftpd], tmp_path: Path) -> Iterator[tuple[Proftpd, list[Member]]]:
    """Eight processes that have used their lines, and do so again and again, with pauses."""
    server = start_server("proftpd")
    site = Site(tmp_path, server)
    with ExitStack() as running:
        members = [running.enter_context(Member(site, tick_s=0.2)) for _ in range(PROCESSES)]
        for member in members:
            member.begin()
        wait_until(lambda: all(one.said["done"] > 1 for one in members), what="all have a line")
        wait_until(lambda: server.logins() >= PROCESSES, what="the server's log says so")
        yield server, members


def test_the_old_password_is_refused_once(fleet: tuple[Proftpd, list[Member]]) -> None:
    """All lose their lines and rebuild at the same moment; the account is in no danger."""
    server, members = fleet
    logins = server.logins()
    server.change_password("a-new-one")
    server.kill_lines()
    wait_until(lambda: all(one.said["closed"] for one in members), what="all have heard of it")
    wait_until(server.refused_logins, what="the server's log says so")
    assert server.refused_logins() == 1
    assert server.logins() == logins


@pytest.mark.long
def test_a_fleet_that_rebuilds_its_lines_does_so_side_by_side(fleet: tuple[Proftpd, list[Member]]) -> None:
    """With the right password, all are back after one has got in."""
    server, members = fleet
    logins, done = server.logins(), [one.said["done"] for one in members]
    began = time.monotonic()
    server.kill_lines()
    wait_until(lambda: server.logins() == logins + PROCESSES, 60, what="all have got in")
    print(f"{PROCESSES} lines rebuilt in {time.monotonic() - began:.2f} s")
    wait_until(lambda: all(one.said["done"] > was for one, was in zip(members, done, strict=True)), 60)
    assert server.refused_logins() == 0
    assert [one.said["down"] for one in members] == [0] * PROCESSES
