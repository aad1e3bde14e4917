"""Folders in which nothing is new: polls that compare nothing, and what none of them may miss."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.servers.server import FtpServer
from tests.servers.test_detection import put, states
from tests.servers.test_rounds import Begin, begin, fetched, polled
from tests.waiting import wait_until
from workers import looking, rounds
from workers.ftps.entry import Entry
from workers.ledger.polls import Polls
from workers.process import Process

__all__ = ["begin"]  # a fixture


@pytest.fixture
def server(start_server: Callable[..., FtpServer]) -> FtpServer:
    """One that tells times by the second."""
    server = start_server("pyftpdlib")
    (server.root / "out").mkdir()
    return server


@pytest.fixture
def compared(monkeypatch: pytest.MonkeyPatch) -> Callable[[], int]:
    """How many polls have compared their listing since it was asked last."""
    count = 0
    known = Polls.known

    def noted(self: Polls, *arguments: object, **named: object) -> object:
        nonlocal count
        count += 1
        return known(self, *arguments, **named)  # type: ignore[arg-type]

    def since() -> int:
        nonlocal count
        found, count = count, 0
        return found

    monkeypatch.setattr(Polls, "known", noted)
    return since


def test_a_folder_that_stays_as_it_is_is_compared_no_more(
    server: FtpServer, begin: Begin, compared: Callable[[], int]
) -> None:
    """The first poll writes, the second finds nothing to write; a new file, or one less, is seen at once."""
    process, route = begin()
    put(server, "a.xml")
    put(server, "b.xml")
    for looks in (1, 1, 0, 0):
        found = polled(process, route)
        assert (compared(), found.listed, found.complete, found.ready) == (looks, 2, True, 2)
    put(server, "c.xml")
    assert polled(process, route).ready == 3
    (server.root / "out" / "a.xml").unlink()
    assert polled(process, route).ready == 2


def test_a_file_that_settles_is_ready_though_the_listing_is_the_same(server: FtpServer, begin: Begin) -> None:
    """Two looks of the same, `settle` apart."""
    process, route = begin(settle=0.5)
    put(server, "a.xml")
    assert polled(process, route).waiting == 1
    wait_until(lambda: polled(process, route).ready == 1, 60)


def test_a_file_grows_old_enough_though_the_listing_is_the_same(
    server: FtpServer, begin: Begin, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`min_age` passes by itself."""
    process, route = begin(min_age=600.0)
    file = put(server, "a.xml")
    os.utime(file)
    assert polled(process, route).waiting == 1
    clock = time.time
    monkeypatch.setattr(time, "time", lambda: clock() + 600.0)
    assert polled(process, route).ready == 1


def test_other_rules_are_a_comparison(server: FtpServer, begin: Begin, tmp_path: Path) -> None:
    """The same listing, and filters that let more of it through."""
    process, route = begin(include=("*.xml",))
    put(server, "a.xml")
    put(server, "b.txt")
    for _ in range(3):
        assert polled(process, route).ready == 1
    process.close()
    process, route = begin(include=("*",))
    assert polled(process, route).ready == 2
    process.close()
    process, route = begin(include=("*",), local=tmp_path / "other")
    assert polled(process, route).ready == 2, "of another target nothing is known yet"


def test_another_time_zone_is_a_comparison(
    server: FtpServer, begin: Begin, compared: Callable[[], int]
) -> None:
    """The same bytes, and other times that they may stand for."""
    process, route = begin()
    put(server, "a.xml")
    for _ in range(3):
        polled(process, route)
    bank = process.settings.endpoints["bank"].model_copy(update={"timezone": "Europe/Berlin"})
    moved = Process(process.settings.model_copy(update={"endpoints": {"bank": bank}}))
    try:
        compared()
        assert polled(moved, route).ready == 1
        assert compared() == 1
    finally:
        moved.close()


def test_a_folder_that_shrinks_and_a_delivery_that_comes_again_are_seen(
    server: FtpServer, begin: Begin
) -> None:
    """The look that lost most of its entries leaves no mark: the second one has to compare."""
    process, route = begin(redeliver=True)
    for name in ("a", "b", "c"):
        put(server, name)
    for _ in range(3):
        polled(process, route)
    fetched(process, route)
    for name in ("a", "b"):
        (server.root / "out" / name).unlink()
    known = process.ledger.polls.known
    polled(process, route)
    assert known("statements", str(route.local))[b"/out/a"].listed, "one look is no proof"
    for _ in range(3):
        polled(process, route)
    assert not known("statements", str(route.local))[b"/out/a"].listed
    put(server, "a")
    assert polled(process, route).ready == 1
    assert states(process)["a"] == "FINISHED READY"


def test_a_source_that_could_not_be_deleted_is_tried_again_by_quiet_polls(
    server: FtpServer, begin: Begin
) -> None:
    """What is due at the source does not depend on what is new in the folder."""
    process, route = begin(after="move:/archive")
    put(server, "a.xml")
    polled(process, route)
    fetched(process, route)
    for _ in range(3):
        polled(process, route)
    (server.root / "archive").mkdir()
    assert process.ledger.claims.retry("statements", b"/out/a.xml")
    polled(process, route)
    assert (server.root / "archive" / "a.xml").exists()


def test_a_large_folder_is_listed_once_more_where_something_is_new(
    server: FtpServer, begin: Begin, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of so many entries only the digest was kept; all of them are needed for a comparison."""
    monkeypatch.setattr(rounds, "KEPT", 3)
    process, route = begin()
    for number in range(5):
        put(server, f"{number}.xml")
    for _ in range(3):
        assert polled(process, route).ready == 5
    put(server, "5.xml")
    found = polled(process, route)
    assert (found.listed, found.ready) == (6, 6)


def test_of_a_large_folder_that_is_quiet_no_entries_are_made(
    server: FtpServer, begin: Begin, monkeypatch: pytest.MonkeyPatch
) -> None:
    """But those that come with the first thousand; and what changes behind those is seen all the same."""
    made = 0
    add = looking._Content.add

    def counted(self: looking._Content, chunk: list[Entry]) -> None:
        nonlocal made
        made += len(chunk)
        add(self, chunk)

    monkeypatch.setattr(looking._Content, "add", counted)
    monkeypatch.setattr(rounds, "KEPT", 100)
    process, route = begin(backlog="new")
    for number in range(5000):
        put(server, f"{number:04}.xml")
    for most in (5000, 5000, 2500, 2500):
        made = 0
        found = polled(process, route)
        assert (found.listed, found.complete, found.ready) == (5000, True, 0)
        assert made <= most
    put(server, "4999.xml", b"another version of it")
    put(server, "5000.xml")
    found = polled(process, route)
    assert (found.listed, found.ready) == (5001, 2)
