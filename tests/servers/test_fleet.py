"""Eight processes of two hosts share a server: lines counted at its door, never in our ledger.

The hosts have names and state folders of their own, so neither can look at the other's lock files, and the
ledger is in PostgreSQL, as theirs has to be.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from tests.servers.command import Site
from tests.servers.fleet import Member
from tests.servers.postgres import Databases
from tests.servers.server import FtpServer
from tests.servers.turnstile import Turnstile
from tests.waiting import wait_until

TIMES = {"tick_s": 0.3, "patience_s": 0.3, "kept_s": 1.0}


@contextmanager
def at_work(
    processes: int, server: FtpServer, folder: Path, most: int, towline: dict[str, str]
) -> Iterator[tuple[Turnstile, list[Member]]]:
    """So many at work, on two hosts in turn, who may have `most` lines; and the door all lines go through."""
    with Turnstile(server.host, server.port) as door, ExitStack() as running:
        endpoint = {"port": door.port, "max_sessions": most}
        site = Site(folder, server, endpoint=endpoint, towline=towline)
        members = []
        for number in range(processes):
            host = f"host-{number % 2}"
            state = {"TOWLINE_STATE_DIR": str(folder / host)}
            members.append(running.enter_context(Member(site, environment=state, host=host, **TIMES)))
        for member in members:
            member.begin()
        yield door, members


@pytest.mark.parametrize(
    ("most", "processes", "turns"),
    [
        (1, 4, 2),
        pytest.param(1, 8, 10, marks=pytest.mark.long),
        pytest.param(3, 8, 10, marks=pytest.mark.long),
    ],
)
def test_lines_never_exceed_the_limit_and_none_starves(
    start_server: Callable[..., FtpServer],
    databases: Databases,
    tmp_path: Path,
    most: int,
    processes: int,
    turns: int,
) -> None:
    """All have their turns, though each gives up after a moment and asks again only once a tick."""
    towline = {"ledger": databases.make()}
    with at_work(processes, start_server("vsftpd"), tmp_path, most, towline) as (door, members):
        wait_until(
            lambda: all(one.said["done"] >= turns for one in members), 170, what="all have their turns"
        )
        for member in members:
            member.end()
        assert door.most == most
        assert sum(one.said["lost"] + one.said["down"] for one in members) == 0


@pytest.mark.long
@pytest.mark.timeout(600)
@pytest.mark.parametrize("most", [1, 3])
def test_a_frozen_process_is_the_only_one_whose_line_is_too_many(
    start_server: Callable[..., FtpServer], databases: Databases, tmp_path: Path, most: int
) -> None:
    """The others go on once its lease is over, as only the clock tells; so does it, once it is thawed."""
    towline = {"ledger": databases.make(), "lease": "10s"}
    with at_work(8, start_server("vsftpd"), tmp_path, most, towline) as (door, members):
        wait_until(lambda: all(one.said["done"] > 1 for one in members), 240, what="all are at work")
        frozen = members[0]
        # In the very moment after a turn its line is still there; it is frozen with it, or just without.
        frozen.freeze()
        done = [one.said["done"] for one in members[1:]]
        wait_until(
            lambda: all(one.said["done"] > was for one, was in zip(members[1:], done, strict=True)),
            120,
            what="the others go on once its lease is over",
        )
        assert door.most <= most + 1
        frozen.thaw()
        was = frozen.said["done"]
        wait_until(lambda: frozen.said["done"] > was + 1, 120, what="it works again")
        for member in members:
            member.end()
        assert door.most <= most + 1
