"""Routes that take the folders below theirs, on real servers."""

from __future__ import annotations

import json
import os
import stat
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from tests.servers.command import Site
from tests.servers.fetching import Fetching
from tests.servers.kinds import NAMES
from tests.servers.server import FtpServer
from tests.servers.test_rounds import Begin, begin, fetched, polled, server
from workers.stores.local import LocalFolder

__all__ = ["begin", "server"]  # fixtures

StartServer = Callable[..., FtpServer]
# One of them in the ordinary run, all in the long one.
SAMPLE = [NAMES[1], *(pytest.param(name, marks=pytest.mark.long) for name in NAMES if name != NAMES[1])]
TREE = {
    "a.xml": b"top",
    "2026/b.xml": b"<b/>",
    "2026/11/c.xml": b"<c/>",
    "2026/11/a.xml": b"another a",
    "with blank/d;e=f.xml": b"<d/>",
}


def plant(server: FtpServer, files: dict[str, bytes] = TREE, folder: str = "out") -> Path:
    root = server.root / folder
    for name, content in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
        os.utime(path, (1_600_000_000, 1_600_000_000))
    return root


def under(folder: Path) -> dict[str, bytes]:
    """All files below a folder, by their path."""
    found = (path for path in folder.rglob("*") if path.is_file() and not path.is_symlink())
    return {str(path.relative_to(folder)): path.read_bytes() for path in found}


@pytest.mark.parametrize("name", NAMES)
def test_a_tree_lands_as_it_lies(start_server: StartServer, tmp_path: Path, name: str) -> None:
    """Nested below `local`; links to files, to folders and to the tree itself bring nothing twice."""
    server = start_server(name)
    out = plant(server)
    (out / "empty").mkdir()
    (out / "2026" / "loop").symlink_to("..")
    (out / "itself").symlink_to(".")
    (out / "link.xml").symlink_to("a.xml")
    with closing(Fetching(server, tmp_path / "towline", remote=b"/out", recursive=True)) as one:
        one.poll()
        one.fetch()
        # Of pyftpdlib, which follows links, this one is a file like any other.
        assert {path: content for path, content in under(one.landed).items() if path != "link.xml"} == TREE
        assert one.poll() == 0
        assert one.fetch().published == 0


@pytest.mark.parametrize("name", SAMPLE)
@pytest.mark.parametrize("after", ["delete", "move:/archive"])
def test_a_source_in_a_folder_below_leaves_it(
    start_server: StartServer, tmp_path: Path, name: str, after: str
) -> None:
    """A move keeps the path below the route's folder, so that two files of one name don't meet."""
    server = start_server(name)
    out = plant(server)
    (server.root / "archive").mkdir()
    with closing(Fetching(server, tmp_path / "towline", remote=b"/out", recursive=True, after=after)) as one:
        one.poll()
        one.fetch()
        one.clear()
        assert under(out) == {}
        assert under(server.root / "archive") == ({} if after == "delete" else TREE)
        assert set(one.states().values()) == {"FINISHED"}
        assert (out / "2026" / "11").is_dir(), "folders are left as they are"


@pytest.mark.parametrize("name", ["proftpd", "pure-ftpd"])  # the others serve as root
def test_a_forbidden_folder_takes_nothing_away(start_server: StartServer, tmp_path: Path, name: str) -> None:
    """The look is incomplete and names it: what is new elsewhere is added, what is missing stays known."""
    server = start_server(name)
    out = plant(server)
    with closing(
        Fetching(server, tmp_path / "towline", remote=b"/out", recursive=True, settle=3600.0)
    ) as one:
        one.poll()
        (out / "a.xml").unlink()
        plant(server, {"new.xml": b"<n/>"})
        (out / "2026" / "11").chmod(0)
        try:
            one.poll()
            assert one.states() == {f"/out/{path}": "WAITING" for path in [*TREE, "new.xml"]}
            told = one.ledger.routes.get("statements")
            assert told.complete_at != told.listed_at
            assert (told.last_error or "").startswith("/out/2026/11: ")
        finally:
            (out / "2026" / "11").chmod(0o755)
        one.poll()
        assert one.states()["/out/a.xml"] == "VANISHED"


def test_a_renamed_folder_is_files_that_vanished_and_others_that_appeared(
    server: FtpServer, begin: Begin
) -> None:
    """Nobody can tell it from that; what was fetched is fetched again under its new name."""
    process, route = begin(recursive=True)
    out = plant(server)
    polled(process, route)
    assert fetched(process, route).outcome.published == len(TREE)
    (out / "2026").rename(out / "2027")
    assert polled(process, route).ready == 3
    assert fetched(process, route).outcome.published == 3
    assert (Path(route.local) / "2027" / "11" / "c.xml").read_bytes() == b"<c/>"
    known = process.ledger.polls.known("statements", str(route.local))
    assert not known[b"/out/2026/11/c.xml"].listed


def test_a_route_goes_as_deep_as_max_depth(server: FtpServer, begin: Begin) -> None:
    """And `explain` says of what lies deeper that it does."""
    process, route = begin(recursive=True, max_depth=1)
    plant(server)
    assert polled(process, route).ready == 3
    fetched(process, route)
    assert "2026/11/c.xml" not in under(Path(route.local))


def test_a_folder_that_exclude_leaves_out_is_not_even_listed(server: FtpServer, begin: Begin) -> None:
    """So a folder that the account may not list can be left out, and the look is complete."""
    process, route = begin(recursive=True, include=("*.xml",), exclude=("2026/*", "*/d*"))
    plant(server)
    found = polled(process, route)
    assert (found.complete, found.ready, found.listed) == (True, 1, 4)


def test_filters_see_the_path_below_the_routes_folder(server: FtpServer, begin: Begin) -> None:
    """Globs and regex alike; `*` passes slashes."""
    process, route = begin(recursive=True, include=("2026/*c.xml", "2026/b*"), regex=r"^2026/\d\d/[^/]+$")
    plant(server)
    polled(process, route)
    fetched(process, route)
    assert set(under(Path(route.local))) == {"2026/11/c.xml"}, "a.xml is not included, b.xml no match"


def test_a_marker_lies_beside_its_file(server: FtpServer, begin: Begin) -> None:
    """One in another folder vouches for nothing."""
    process, route = begin(recursive=True, done_file="ok_{name}")
    plant(server, {"2026/b.xml": b"1", "2026/ok_b.xml": b"", "a.xml": b"2", "2026/ok_a.xml": b""})
    assert polled(process, route).ready == 1
    fetched(process, route)
    assert set(under(Path(route.local))) == {"2026/b.xml"}


def test_folders_that_are_made_are_as_readable_as_their_files(
    server: FtpServer, begin: Begin, monkeypatch: pytest.MonkeyPatch
) -> None:
    """0640 gives 0750; and each new folder's name is made durable before its files count as published."""
    process, route = begin(recursive=True, mode=0o640)
    plant(server)
    synced: list[str] = []
    fsync = os.fsync

    def noted(descriptor: int) -> None:
        synced.append(str(Path(f"/proc/self/fd/{descriptor}").readlink()))
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", noted)
    before = os.umask(0)
    try:
        polled(process, route)
        fetched(process, route)
    finally:
        os.umask(before)
    local = Path(route.local)
    folders = [local / "2026", local / "2026" / "11", local / "with blank"]
    assert {stat.S_IMODE(folder.stat().st_mode) for folder in folders} == {0o750}
    assert {str(folder) for folder in (local, *folders)} <= set(synced)
    assert LocalFolder.of(route).deep


@pytest.mark.parametrize("name", SAMPLE)
def test_the_command_knows_of_folders_below(start_server: StartServer, tmp_path: Path, name: str) -> None:
    """`ls -R`, `check`, `run --dry-run`, `run` and `explain` of one tree."""
    server = start_server(name)
    site = Site(tmp_path, server, route={"recursive": True, "max_depth": 2, "include": ["*.xml"]})
    plant(server)
    plant(server, {"2026/11/22/deep.xml": b"deep", "2026/read.me": b""})

    def said(*arguments: str) -> Any:
        done = site.towline(*arguments)
        assert done.returncode == 0, done.stderr
        return done.stdout

    listed = json.loads(said("ls", "bank", "/out", "--recursive", "--json"))["entries"]
    assert {entry["path"] for entry in listed} >= {f"/out/{path}" for path in TREE}
    assert not any("/" in row.split()[-1] for row in said("ls", "bank", "/out").splitlines())
    assert "6 files, 5 match" in said("check", "statements")
    assert "/out/2026/11/c.xml" in said("run", "statements", "--dry-run")
    assert "5 files published" in said("run", "statements")
    assert "max_depth is 2" in said("explain", "statements", "2026/11/22/deep.xml")
    assert "published" in said("explain", "statements", "2026/11/c.xml")
