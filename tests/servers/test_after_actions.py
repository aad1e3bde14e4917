"""The source of a published file, on real servers: deleted or moved, and only if it still is that file."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from tests.servers.fetching import Fetching
from tests.servers.kinds import NAMES
from tests.servers.server import FtpServer
from tests.unit.ledger.scene import Clock

StartServer = Callable[..., FtpServer]
Open = Callable[..., Fetching]

LONG_AGO = 1_600_000_000
LATELY = float(int(time.time()) - 7200)
OUT: dict[str, Any] = {"remote": b"/out"}


@pytest.fixture
def fetching(tmp_path: Path) -> Iterator[Open]:
    """fetching(server, …) → a Fetching of the server's /out; all those of one test share a ledger."""
    with ExitStack() as opened:

        def open_one(server: FtpServer, **keys: Any) -> Fetching:
            one = Fetching(server, tmp_path / "towline", **OUT, **keys)
            opened.callback(one.close)
            return one

        yield open_one


@pytest.fixture
def server(start_server: StartServer) -> FtpServer:
    """For what no server does differently from the others."""
    return folders(start_server("pyftpdlib"))


def folders(server: FtpServer) -> FtpServer:
    for name in ("out", "archive"):
        (server.root / name).mkdir()
    return server


def put(server: FtpServer, name: str, content: bytes = b"<a/>", modified: float = LONG_AGO) -> Path:
    path = server.root / name
    path.write_bytes(content)
    os.utime(path, (modified, modified))
    return path


def there(server: FtpServer) -> dict[str, bytes]:
    """All files on the server."""
    found = (path for path in server.root.rglob("*") if path.is_file())
    return {str(path.relative_to(server.root)): path.read_bytes() for path in found}


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("after", ["delete", "move:/archive"])
def test_a_published_file_leaves_its_source(
    start_server: StartServer, fetching: Open, name: str, after: str
) -> None:
    """Deleted, or moved under the same name; names with blanks and semicolons too; then FINISHED."""
    server = folders(start_server(name))
    sent = {"a.xml": b"<a/>", " b; c=1 .xml": b"", "ü.xml": b"x" * 100_000}
    for file, content in sent.items():
        put(server, f"out/{file}", content)
    one = fetching(server, after=after)
    assert one.poll() == 3
    assert one.fetch().published == 3
    assert set(one.states().values()) == {"PUBLISHED"}
    one.clear()
    assert set(one.states().values()) == {"FINISHED"}
    assert there(server) == ({} if after == "delete" else {f"archive/{n}": c for n, c in sent.items()})
    assert one.files() == sent
    told = {"delete": "deleted", "move:/archive": "moved:/archive/a.xml"}
    assert one.became()["/out/a.xml"] == told[after]


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("after", ["delete", "move:/archive"])
def test_a_newer_version_is_not_removed(
    start_server: StartServer, fetching: Open, name: str, after: str
) -> None:
    """Replaced between publishing and the deletion: the new one stays until it is fetched itself."""
    server = folders(start_server(name))
    put(server, "out/a.xml", b"old", LATELY)
    one = fetching(server, after=after)
    one.poll()
    one.fetch()
    put(server, "out/a.xml", b"new", LATELY + 60)
    one.clear()
    assert there(server) == {"out/a.xml": b"new"}
    assert one.became() == {"/out/a.xml": "replaced"}
    one.poll()
    one.fetch()
    one.clear()
    assert one.files() == {"a.xml": b"new"}
    assert one.states() == {"/out/a.xml": "FINISHED FINISHED"}
    assert "out/a.xml" not in there(server)


@pytest.mark.parametrize("name", NAMES)
def test_a_newer_version_of_the_same_size_and_day_is_not_removed(
    start_server: StartServer, fetching: Open, name: str
) -> None:
    """vsftpd's listing tells only days of files older than half a year; MDTM told seconds at the fetch."""
    server = folders(start_server(name))
    put(server, "out/a.xml", b"old", LONG_AGO)
    one = fetching(server, after="delete")
    one.poll()
    one.fetch()
    put(server, "out/a.xml", b"new", LONG_AGO + 2)
    one.clear()
    assert there(server) == {"out/a.xml": b"new"}
    assert one.became() == {"/out/a.xml": "replaced"}


@pytest.mark.parametrize("name", NAMES)
def test_a_source_that_is_gone_is_done(start_server: StartServer, fetching: Open, name: str) -> None:
    """Somebody else has removed it: nothing is left to do, and nothing has failed."""
    server = folders(start_server(name))
    put(server, "out/a.xml")
    one = fetching(server, after="delete")
    one.poll()
    one.fetch()
    (server.root / "out" / "a.xml").unlink()
    one.clear()
    assert one.states() == {"/out/a.xml": "FINISHED"}
    assert one.became() == {"/out/a.xml": "gone"}


@pytest.mark.parametrize("name", NAMES)
def test_a_move_never_replaces_what_lies_in_its_folder(
    start_server: StartServer, fetching: Open, name: str
) -> None:
    """The same name every day: each day's file is kept, with a number."""
    server = folders(start_server(name))
    one = fetching(server, after="move:/archive")
    for day in (1, 2, 3):
        put(server, "out/a.xml", b"day %d" % day, LONG_AGO + day * 86400)
        one.poll()
        one.fetch()
        one.clear()
    assert there(server) == {
        "archive/a.xml": b"day 1",
        "archive/a.2.xml": b"day 2",
        "archive/a.3.xml": b"day 3",
    }


def test_a_refused_move_is_no_failure_of_the_file(server: FtpServer, fetching: Open) -> None:
    """PUBLISHED, with the reply; tried again after a while, not at once, and then it is done."""
    (server.root / "archive").rmdir()
    put(server, "out/a.xml")
    clock = Clock()
    one = fetching(server, after="move:/archive", clock=clock)
    one.poll()
    assert one.fetch().failed == 0
    one.clear()
    [row] = one.ledger.history.rows()
    assert (row.state, row.attempts, row.after_attempts) == ("PUBLISHED", 0, 1)
    assert "RNTO: 550" in (row.after_error or "")
    (server.root / "archive").mkdir()
    one.clear()
    assert one.states() == {"/out/a.xml": "PUBLISHED"}, "spaced"
    assert row.after_next_at == clock.now + 10
    clock.pass_(10)
    one.clear()
    assert one.states() == {"/out/a.xml": "FINISHED"}


def test_who_changes_his_mind_keeps_what_is_still_there(
    server: FtpServer, fetching: Open, tmp_path: Path
) -> None:
    """`after = "keep"` from now on: what was published under "delete" is not deleted any more."""
    put(server, "out/a.xml")
    one = fetching(server, after="delete")
    one.poll()
    one.fetch()
    other = fetching(server, after="keep")
    other.clear()
    assert other.became() == {"/out/a.xml": "kept"}
    assert other.states() == {"/out/a.xml": "FINISHED"}
    assert there(server) == {"out/a.xml": b"<a/>"}


def test_what_was_kept_for_another_file_never_loses_its_source(server: FtpServer, fetching: Open) -> None:
    """`on_exists = "keep"`: nothing was published of it, so nothing is deleted."""
    put(server, "out/a.xml", b"theirs")
    one = fetching(server, after="delete", on_exists="keep")
    one.landed.mkdir(parents=True, exist_ok=True)
    (one.landed / "a.xml").write_bytes(b"ours")
    one.poll()
    assert one.fetch().kept == 1
    one.clear()
    assert there(server) == {"out/a.xml": b"theirs"}


def test_many_sources_are_done_over_one_line(server: FtpServer, fetching: Open) -> None:
    """More than a group of them."""
    for number in range(100):
        put(server, f"out/{number}")
    one = fetching(server, after="delete")
    assert one.poll() == 100
    one.fetch()
    one.clear()
    assert there(server) == {}
    assert set(one.states().values()) == {"FINISHED"}
    assert server.connections() == 1
