"""The verbs on a push route, as users type them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.servers.command import Site
from tests.servers.kinds import NAMES
from tests.servers.server import FtpServer

StartServer = Callable[..., FtpServer]


def sending(server: FtpServer, folder: Path, **route: Any) -> Site:
    """A Site whose route sends out/ to the server's /in."""
    (server.root / "in").mkdir(mode=0o777)
    (folder / "site" / "out").mkdir(parents=True)
    pushed = {"direction": "push", "local": "out", "remote": "/in"}
    made = Site(folder / "site", server, route=pushed | route)
    made.landed = server.root / "in"
    return made


@pytest.fixture
def site(start_server: StartServer, tmp_path: Path) -> Callable[..., Site]:
    """site(**keys of the route) → such a Site for vsftpd."""
    return lambda **route: sending(start_server("vsftpd"), tmp_path, **route)


def test_run_sends_what_is_there(site: Callable[..., Site]) -> None:
    """One round in the foreground; explain and history then know the file, and retry finds nothing to do."""
    here = site()
    for name in ("a.csv", "b.csv"):
        (here.folder / "out" / name).write_text(name)
    ended = here.towline("run", "statements", "--dry-run")
    assert ended.returncode == 0, ended.stderr
    assert "2 files would be sent" in ended.stdout
    assert not list(here.landed.iterdir())
    ended = here.towline("run", "statements")
    assert (ended.returncode, "2 files published" in ended.stdout) == (0, True), ended
    assert {one.name: one.read_text() for one in here.landed.iterdir()} == {
        "a.csv": "a.csv",
        "b.csv": "b.csv",
    }
    told = here.json("explain", "statements", "a.csv")
    assert (told["state"], told["path"]) == ("FINISHED", str(here.folder / "out" / "a.csv"))
    assert any("/in/a.csv" in reason for reason in told["why"])
    ended = here.towline("run", "statements")
    assert (ended.returncode, "0 files published" in ended.stdout) == (0, True), ended


def test_a_folder_that_is_not_there_is_told(site: Callable[..., Site]) -> None:
    """Which one, and the exit code of a listing that came to nothing."""
    here = site(local="nowhere")
    ended = here.towline("run", "statements")
    assert ended.returncode == 5
    assert str(here.folder / "nowhere") in ended.stderr


def test_submit_knows_which_way_a_route_goes(site: Callable[..., Site]) -> None:
    """`submit fetch` of a push route is a wrong usage, with the right one named."""
    here = site()
    ended = here.towline("submit", "fetch", "statements")
    assert ended.returncode == 2
    assert "towline submit push statements" in ended.stderr


@pytest.mark.parametrize("name", NAMES)
def test_check_tries_the_way_of_a_file(start_server: StartServer, tmp_path: Path, name: str) -> None:
    """A probe is written, renamed onto another and deleted; nothing of it stays, and nothing is sent."""
    here = sending(start_server(name), tmp_path)
    (here.folder / "out" / "a.csv").write_text("a")
    found = here.json("check")["endpoints"][0]["findings"]
    told = {one["what"]: one for one in found if one["about"] == "statements"}
    assert told["source"]["told"].endswith("1 file, 1 match")
    assert (told["write"]["remedy"], told["rename"]["remedy"]) == (None, None)
    assert "also onto a file" in told["rename"]["told"]
    assert not list(here.landed.iterdir())


def test_check_says_that_nothing_can_be_written(start_server: StartServer, tmp_path: Path) -> None:
    """The exit code of a refused permission, and what to do."""
    here = sending(start_server("proftpd"), tmp_path, remote="/in/nowhere")
    ended = here.towline("check")
    assert ended.returncode == 4
    assert "let this account write there" in ended.stdout
