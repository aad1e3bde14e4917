"""`towline get` of many files, patterns and folders; of one file: test_cli_looking.py."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path

import pytest
from click.testing import CliRunner

from tests.faults.proxy import CuttingProxy
from tests.servers.command import LIMIT_S, SLOW, Site
from tests.servers.kinds import NAMES
from tests.servers.server import FtpServer
from tests.servers.test_recursion import TREE, plant, under
from tests.waiting import wait_until
from workers.cli import main
from workers.stores.temp import Temp

StartServer = Callable[..., FtpServer]
SAMPLE = ["vsftpd", *(pytest.param(name, marks=pytest.mark.long) for name in NAMES if name != "vsftpd")]


# pyftpdlib lists a name that isn't UTF-8 with a question mark, and then has no such file.
@pytest.mark.parametrize("name", SAMPLE[:-1])
def test_a_pattern_is_matched_on_the_listing(start_server: StartServer, name: str, tmp_path: Path) -> None:
    """As a shell would: no leading dot, no slash; a name that is literally so is meant; no folders.

    One line a file on stdout, the digest in it, and nothing that moves.
    """
    site = Site(tmp_path / "site", start_server(name))
    target = tmp_path / "target"
    target.mkdir()
    for file in ("a.xml", "c.txt", ".hidden.xml", "d[1].xml", "d1.xml", b"odd\xff.xml"):
        site.put(file, os.fsencode(file))
    (site.out / "deeper.xml").mkdir()
    ended = site.towline("get", "bank", "/out/*.xml", str(target))
    assert ended.returncode == 0, ended.stderr
    assert "/out/deeper.xml is a folder: passed over without -r" in ended.stderr
    landed = {os.fsencode(path.name): path.read_bytes() for path in target.iterdir()}
    assert landed == {n: n for n in (b"a.xml", b"d[1].xml", b"d1.xml", b"odd\xff.xml")}
    lines = ended.stdout.splitlines()
    assert len(lines) == 4
    assert all("sha256" in line and "\x1b" not in line for line in lines)
    shown = site.json("get", "bank", "/ou?/d[1].xml", str(target), "--keep")
    assert [file["path"] for file in shown["files"]] == ["/out/d1.xml", "/out/d[1].xml"]
    assert {file["outcome"] for file in shown["files"]} == {"kept"}


@pytest.mark.parametrize("name", SAMPLE)
def test_a_tree_is_fetched_over_several_lines(start_server: StartServer, name: str, tmp_path: Path) -> None:
    """Nested as it lies, links passed over; into a folder that is there, or as one that is made."""
    server = start_server(name)
    site = Site(tmp_path / "site", server)
    plant(server)
    (site.out / "2026" / "loop").symlink_to("..")
    made = tmp_path / "made"
    shown = site.json("get", "bank", "-r", "/out", str(made), "--sessions", "3")
    assert under(made) == TREE
    moved = [file for file in shown["files"] if file["outcome"] == "fetched"]
    assert [file["path"] for file in moved] == sorted(f"/out/{path}" for path in TREE)
    assert [file["local"] for file in moved] == [f"{made}/{file['path'][5:]}" for file in moved]
    assert all(len(file["sha256"]) == 64 and file["bytes"] > 0 for file in moved)
    again = site.towline("get", "bank", "-r", "/out", str(made))
    assert again.returncode == 0, again.stderr
    assert under(made / "out") == TREE


def test_lines_work_side_by_side_as_far_as_allowed(start_server: StartServer, tmp_path: Path) -> None:
    """Three are asked for and `max_sessions` allows two: two are built.

    On the terminal is a bar for all of them; on stdout, which is none, a line for each.
    """
    server = start_server("pyftpdlib")
    target = tmp_path / "target"
    target.mkdir()
    screen, terminal = os.openpty()
    with ExitStack() as opened:
        # Slow ones, else the first has fetched all before a machine that is held up has built the second.
        proxy = opened.enter_context(CuttingProxy.before(server))
        proxy.data.rate = SLOW
        site = Site(tmp_path / "site", server, endpoint={"max_sessions": 2, "host": proxy.address})
        for name in "abcd":
            site.put(f"{name}.bin", bytes(2_000_000))
        getting = opened.enter_context(
            site.started("get", "bank", "/out/*.bin", str(target), "--sessions", "3", stderr=terminal)
        )
        reader = opened.enter_context(ThreadPoolExecutor(1))
        os.close(terminal)
        drawn = reader.submit(all_of, screen)
        told = getting.communicate(timeout=LIMIT_S)[0]
    assert getting.returncode == 0
    assert "of 4 files" in drawn.result()
    assert len(told.splitlines()) == 4
    assert "\x1b" not in told
    assert {path.name: path.stat().st_size for path in target.iterdir()} == {
        f"{name}.bin": 2_000_000 for name in "abcd"
    }
    wait_until(lambda: server.connections() == 2)


def all_of(screen: int) -> str:
    """What was drawn on a terminal, until nobody has its other end any more (EIO)."""
    drawn = b""
    with contextlib.suppress(OSError):
        while block := os.read(screen, 65536):
            drawn += block
    os.close(screen)
    return drawn.decode()


def test_a_file_that_changes_meanwhile_ends_with_5(
    start_server: StartServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Asked again, the server tells another time: nothing lands, nothing is kept, and the words say why."""
    site = Site(tmp_path / "site", start_server("pyftpdlib"))
    target = tmp_path / "target"
    target.mkdir()
    big = site.out / "big.bin"
    with big.open("wb") as file:
        file.truncate(3_000_000)
    os.utime(big, (1_600_000_000, 1_600_000_000))
    monkeypatch.setenv("BANK_PASSWORD", site.password)
    write = Temp.write

    def touched_meanwhile(temp: Temp, block: memoryview | bytes) -> None:
        os.utime(big, (1_700_000_000, 1_700_000_000))
        write(temp, block)

    monkeypatch.setattr(Temp, "write", touched_meanwhile)
    command = ["get", "bank", "/out/big.bin", str(target), "--config", str(site.config)]
    told = CliRunner().invoke(main, command, catch_exceptions=False)
    assert told.exit_code == 5, told.output
    assert "/out/big.bin changed while it was being fetched" in told.stderr
    assert list(target.iterdir()) == []


def test_what_fails_is_told_and_the_rest_arrives(start_server: StartServer, tmp_path: Path) -> None:
    """Exit code 1: one is missing, one would land on another, one pattern matches nothing."""
    server = start_server("pyftpdlib")
    site = Site(tmp_path / "site", server)
    plant(server, {"a.xml": b"a", "b/a.xml": b"another"})
    target = tmp_path / "target"
    target.mkdir()
    wanted = ("/out/none.xml", "/out/a.xml", "/out/b/a.xml", "/out/*.csv")
    shown = site.json("get", "bank", *wanted, str(target), code=1)
    assert {file["path"]: file["outcome"] for file in shown["files"]} == {
        "/out/a.xml": "fetched",
        "/out/b/a.xml": "failed",
        "/out/none.xml": "failed",
    }
    assert under(target) == {"a.xml": b"a"}
    told = site.towline("get", "bank", *wanted, str(target)).stderr
    assert "bank has no /out/none.xml" in told
    assert "/out/b/a.xml would land on another file of this call" in told
    assert "nothing that matches /out/*.csv" in told


@pytest.mark.long
def test_a_folder_too_deep_is_no_quiet_loss(start_server: StartServer, tmp_path: Path) -> None:
    """Left out by the default depth it is said, with 5; where somebody has said how deep, with 0."""
    server = start_server("pyftpdlib")
    site = Site(tmp_path / "site", server)
    plant(server, {"1/2/3/4/5/6/7/8/9/a.xml": b"deep", "b.xml": b"b"})
    ended = site.towline("get", "bank", "-r", "/out", str(tmp_path / "made"))
    assert ended.returncode == 5
    assert "1 folder below --max-depth left out" in ended.stderr
    wanted = site.towline("get", "bank", "-r", "--max-depth", "1", "/out", str(tmp_path / "other"))
    assert wanted.returncode == 0, wanted.stderr
    assert under(tmp_path / "other") == {"b.xml": b"b"}


@pytest.mark.long
def test_a_server_that_is_away_leaves_all(start_server: StartServer, tmp_path: Path) -> None:
    """3, with the sentence once however many lines there were, and how many files are left."""
    server = start_server("pyftpdlib")
    site = Site(tmp_path, server, endpoint={"max_sessions": 2})
    server.stop()
    ended = site.towline("get", "bank", "/out/a", "/out/b", "/out/c", str(tmp_path), "--sessions", "2")
    assert ended.returncode == 3
    assert "bank could not be reached" in ended.stderr
    assert "3 files left; the same command goes on" in ended.stderr


WRONG = [
    (("/out/a", "/out/b", "none"), "none is no folder: several files need one"),
    (("/out/*.xml", "none"), "none is no folder: several files need one"),
    (("/out/a", "none/"), "none/ is no folder: a name that ends with a slash is one"),
    (("/out/..", "."), "/out/.. can't be fetched under its name: it names a folder"),
]


@pytest.mark.parametrize(("arguments", "told"), WRONG)
def test_wrong_usage_asks_nobody(
    arguments: tuple[str, ...], told: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """2, in a sentence, before even the configuration is looked for."""
    monkeypatch.chdir(tmp_path)
    ended = CliRunner().invoke(main, ["get", "bank", *arguments])
    assert ended.exit_code == 2
    assert told in ended.stderr
