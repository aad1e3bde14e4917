"""Markers, backlogs, deliveries that come again, folders that shrink: on real servers, in whole rounds."""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from tests.servers.fetching import Fetching
from tests.servers.kinds import NAMES
from tests.servers.server import FtpServer
from tests.servers.test_rounds import Begin, begin, fetched, polled, server

__all__ = ["begin", "server"]  # fixtures

StartServer = Callable[..., FtpServer]


def put(server: FtpServer, name: str, content: bytes = b"<a/>", modified: float = 1_600_000_000) -> Path:
    path = server.root / "out" / name
    path.write_bytes(content)
    os.utime(path, (modified, modified))
    return path


def out(server: FtpServer) -> list[str]:
    return sorted(file.name for file in (server.root / "out").iterdir())


def states(process: Any) -> dict[str, str]:
    """The states of each path's versions, the oldest first."""
    found: dict[str, str] = {}
    for row in reversed(process.ledger.history.rows()):
        name = row.path.decode().rpartition("/")[2]
        found[name] = f"{found.get(name, '')} {row.state}".strip()
    return found


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("after", ["keep", "delete", "move:/archive"])
def test_a_marker_vouches_for_its_file_and_goes_first(
    start_server: StartServer, tmp_path: Path, name: str, after: str
) -> None:
    """Fetched only when it is there; deleted with its file, never fetched; kept where the file is kept."""
    server = start_server(name)
    for folder in ("out", "archive"):
        (server.root / folder).mkdir()
    for file in ("a.xml", "a.xml.done", "b.xml", "c.xml.done"):
        put(server, file)
    with closing(
        Fetching(server, tmp_path / "towline", remote=b"/out", done_file="{name}.done", after=after)
    ) as one:
        assert one.poll() == 1
        one.fetch()
        one.clear()
        assert list(one.files()) == ["a.xml"]
        assert one.states() == {"/out/a.xml": "FINISHED", "/out/b.xml": "WAITING"}
    gone = set() if after == "keep" else {"a.xml", "a.xml.done"}
    assert set(out(server)) == {"a.xml", "a.xml.done", "b.xml", "c.xml.done"} - gone
    assert [file.name for file in (server.root / "archive").iterdir()] == (
        ["a.xml"] if after.startswith("move") else []
    )


def test_a_marker_that_cannot_be_removed_keeps_its_file(start_server: StartServer, tmp_path: Path) -> None:
    """Left behind, it would vouch for the next file of that name; here it is a folder, which DELE refuses."""
    server = start_server("pyftpdlib")
    (server.root / "out").mkdir()
    put(server, "a.xml")
    marker = put(server, "a.xml.done")
    with closing(
        Fetching(server, tmp_path / "towline", remote=b"/out", done_file="{name}.done", after="delete")
    ) as one:
        one.poll()
        one.fetch()
        marker.unlink()
        marker.mkdir()
        one.clear()
        assert out(server) == ["a.xml", "a.xml.done"]
        [row] = one.ledger.history.rows()
        assert (row.state, row.after_attempts) == ("PUBLISHED", 1)


def test_a_marker_that_is_gone_already_is_no_obstacle(start_server: StartServer, tmp_path: Path) -> None:
    """Removed by an earlier try, or by somebody else."""
    server = start_server("vsftpd")
    (server.root / "out").mkdir()
    put(server, "a.xml")
    marker = put(server, "a.xml.done")
    with closing(
        Fetching(server, tmp_path / "towline", remote=b"/out", done_file="{name}.done", after="delete")
    ) as one:
        one.poll()
        one.fetch()
        marker.unlink()
        one.clear()
        assert out(server) == []
        assert one.states() == {"/out/a.xml": "FINISHED"}


def test_a_file_of_which_all_attempts_failed_is_moved_away(server: FtpServer, begin: Begin) -> None:
    """Quarantined, and out of the partner's folder; it stays quarantined, and nothing was published."""
    (server.root / "failed").mkdir()
    process, route = begin(after="delete", after_failure="move:/failed", max_attempts=1)
    put(server, "a.xml")
    put(server, "b.xml")
    polled(process, route)
    (Path(route.local) / "a.xml").mkdir()  # nothing can be renamed onto it
    done = fetched(process, route).outcome
    assert (done.published, done.failed) == (1, 1)
    assert states(process) == {"a.xml": "QUARANTINED", "b.xml": "FINISHED"}
    assert out(server) == []
    assert [file.name for file in (server.root / "failed").iterdir()] == ["a.xml"]
    [row] = process.ledger.history.explain("statements", b"/out/a.xml").versions
    assert (row.after_step, row.after_next_at) == ("moved:/failed/a.xml", None)


def test_a_file_somebody_wants_tried_again_is_not_moved_away(server: FtpServer, begin: Begin) -> None:
    """`retry` before the move was done: it is READY, and its source is left alone."""
    process, route = begin(after_failure="move:/failed", max_attempts=1)
    put(server, "a.xml")
    polled(process, route)
    (Path(route.local) / "a.xml").mkdir()
    assert fetched(process, route).outcome.failed == 1
    (server.root / "failed").mkdir()
    process.ledger.claims.retry("statements", b"/out/a.xml")
    assert not process.ledger.sources.any_due("statements")
    (Path(route.local) / "a.xml").rmdir()
    assert fetched(process, route).outcome.published == 1
    assert out(server) == ["a.xml"]


def test_what_was_there_before_the_route_is_left_alone(server: FtpServer, begin: Begin) -> None:
    """`backlog = "new"`: only what comes later is fetched, and what is asked for by name."""
    process, route = begin(backlog="new", after="delete")
    for name in ("a.xml", "b.xml", "c.xml"):
        put(server, name)
    assert polled(process, route).ready == 0
    put(server, "d.xml")
    put(server, "b.xml", b"another one", 1_600_086_400)
    assert polled(process, route).ready == 2
    assert fetched(process, route).outcome.published == 2
    assert fetched(process, route, paths=["c.xml"]).outcome.published == 1
    assert out(server) == ["a.xml"]
    assert states(process) == {
        "a.xml": "BACKLOG",
        "b.xml": "SUPERSEDED FINISHED",
        "c.xml": "FINISHED",
        "d.xml": "FINISHED",
    }


def test_a_backlog_of_nothing_is_a_backlog(server: FtpServer, begin: Begin) -> None:
    """The first complete listing was empty: all that comes is new."""
    process, route = begin(backlog="new")
    assert polled(process, route).listed == 0
    put(server, "a.xml")
    assert polled(process, route).ready == 1


@pytest.mark.parametrize("redeliver", [False, True])
def test_a_delivery_that_comes_again(server: FtpServer, begin: Begin, redeliver: bool) -> None:
    """Gone for a whole listing, then back with the same size and time."""
    process, route = begin(redeliver=redeliver, after="delete")
    put(server, "other")
    for _ in range(2):
        put(server, "a.xml")
        polled(process, route)
        fetched(process, route)
        polled(process, route)
        polled(process, route)
    assert states(process)["a.xml"] == ("FINISHED FINISHED" if redeliver else "FINISHED")
    assert ("a.xml" in out(server)) is not redeliver


def test_a_folder_that_lost_most_of_its_files_is_looked_at_twice(server: FtpServer, begin: Begin) -> None:
    """Half a mount looks like that; what the second look lacks as well is gone."""
    process, route = begin(settle=3600.0)
    files = [put(server, f"{number}.xml") for number in range(5)]
    assert polled(process, route).waiting == 5
    for file in files[:3]:
        file.unlink()
    assert polled(process, route).waiting == 5
    assert polled(process, route).waiting == 2
    files[3].unlink()
    assert polled(process, route).waiting == 1, "half is not most"


def test_a_listing_that_stops_at_a_round_number_takes_nothing_away(server: FtpServer, begin: Begin) -> None:
    """Of 1,002 files exactly 1,000 are listed, and 226: as of a server that stops there without a word. With
    another number it counts, and a round number that lacks nothing is a whole listing."""
    process, route = begin(settle=3600.0)
    files = [put(server, f"{number}.xml") for number in range(1_002)]
    assert polled(process, route).waiting == 1_002
    for file in files[:2]:
        file.unlink()
    for _ in range(2):
        told = polled(process, route)
        assert (told.complete, told.waiting) == (False, 1_002)
        assert told.reason is not None
        assert "exactly 1,000 entries" in told.reason
    files[2].unlink()
    told = polled(process, route)
    assert (told.complete, told.waiting) == (True, 999)
    put(server, "last.xml")
    told = polled(process, route)
    assert (told.complete, told.waiting) == (True, 1_000)


def test_what_is_still_due_for_an_earlier_delivery_does_not_touch_the_next(
    start_server: StartServer, tmp_path: Path
) -> None:
    """Delivered, fetched, taken away by the partner, delivered again: nothing tells the second from the first
    but the ledger, and it has not been fetched."""
    server = start_server("pyftpdlib")
    (server.root / "out").mkdir()
    put(server, "a.xml")
    keys: dict[str, Any] = {"remote": b"/out", "after": "delete", "redeliver": True}
    with closing(Fetching(server, tmp_path / "towline", **keys)) as one:
        one.poll()
        one.fetch()
        (server.root / "out" / "a.xml").unlink()
        one.poll()
        put(server, "a.xml")
        assert one.poll() == 1
        one.clear()
        assert out(server) == ["a.xml"]
        assert one.states() == {"/out/a.xml": "FINISHED READY"}
        assert one.fetch().published == 1
        one.clear()
        assert out(server) == []
