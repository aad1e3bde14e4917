"""A folder all of whose times have moved: by the listing's own doing, or because its files are others."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from tests.servers.server import FtpServer
from tests.servers.test_detection import put
from tests.servers.test_rounds import Begin, begin, fetched, polled
from workers.process import Process

__all__ = ["begin"]  # a fixture

NAMES = ("a.xml", "b.xml", "c.xml")
HOUR = 3600.0
LATELY = float(int(time.time()) - 3 * 86400)
"""Young enough for a listing that tells minutes, old enough for each zone."""


@pytest.fixture
def server(start_server: Callable[..., FtpServer]) -> FtpServer:
    """One that has LIST only, whose times are in a zone that it doesn't tell; its MDTM is in UTC."""
    server = start_server("vsftpd")
    (server.root / "out").mkdir()
    for number, name in enumerate(NAMES):
        put(server, name, modified=LATELY + number)
    return server


@contextmanager
def in_zone(process: Process, zone: str) -> Iterator[Process]:
    """Another process of ours that takes the server's listings for those of another zone."""
    bank = process.settings.endpoints["bank"].model_copy(update={"timezone": zone})
    moved = Process(process.settings.model_copy(update={"endpoints": {"bank": bank}}))
    try:
        yield moved
    finally:
        moved.close()


def test_nothing_is_fetched_again_because_the_zone_changed(server: FtpServer, begin: Begin) -> None:
    """Every file is told five hours later, MDTM says otherwise; what did change meanwhile is noticed."""
    process, route = begin()
    assert polled(process, route).ready == 3
    fetched(process, route)
    with in_zone(process, "Etc/GMT+5") as moved:
        for _ in range(3):
            found = polled(moved, route)
            assert (found.ready, found.waiting, found.complete) == (0, 0, True)
        put(server, "b.xml", modified=LATELY + 7 * 60)
        put(server, "d.xml", modified=LATELY)
        assert polled(moved, route).ready == 2
        fetched(moved, route)
        assert polled(moved, route).ready == 0


def test_files_written_anew_an_hour_later_are_fetched(server: FtpServer, begin: Begin) -> None:
    """An export of every hour, its files all of one size: MDTM agrees with the listing."""
    process, route = begin()
    polled(process, route)
    fetched(process, route)
    for name in NAMES:
        os.utime(server.root / "out" / name, (LATELY + HOUR, LATELY + HOUR))
    assert polled(process, route).ready == 3


@pytest.mark.long
def test_a_file_written_anew_while_the_zone_changed_is_fetched(server: FtpServer, begin: Begin) -> None:
    """Its time has moved by two hours, and not by the one that all others have."""
    process, route = begin()
    polled(process, route)
    fetched(process, route)
    os.utime(server.root / "out" / "a.xml", (LATELY + HOUR, LATELY + HOUR))
    with in_zone(process, "Etc/GMT+1") as moved:
        assert polled(moved, route).ready == 1
        fetched(moved, route)
        assert polled(moved, route).ready == 0
