"""`towline put` against real servers."""

from __future__ import annotations

import hashlib
import os
import random
import signal
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.faults.proxy import CuttingProxy
from tests.servers.command import LIMIT_S, SLOW, Site
from tests.servers.kinds import NAMES
from tests.servers.server import FtpServer
from tests.servers.test_recursion import TREE, under
from tests.waiting import wait_until

StartServer = Callable[..., FtpServer]
LONG_AGO = 1_600_000_000


def begin(server: FtpServer, folder: Path, **endpoint: str) -> Site:
    """A site whose folder /out the account may write to; keys are the endpoint's."""
    site = Site(folder, server, endpoint=endpoint)
    site.out.chmod(0o777)
    return site


@pytest.mark.parametrize("name", NAMES)
def test_put_sends_one_file_whole(start_server: StartServer, name: str, tmp_path: Path) -> None:
    """Into a folder under its own name, with its bytes and its time; the digest told is the file's."""
    site = begin(start_server(name), tmp_path / "site")
    content = random.Random(7).randbytes(3_000_000)
    (tmp_path / "a.bin").write_bytes(content)
    os.utime(tmp_path / "a.bin", (LONG_AGO, LONG_AGO))
    ended = site.towline("put", "bank", str(tmp_path / "a.bin"), "/out")
    assert (ended.returncode, ended.stderr) == (0, "")
    [path] = site.out.iterdir()
    assert (path.name, path.read_bytes()) == ("a.bin", content)
    assert path.stat().st_mtime == LONG_AGO
    assert ended.stdout.startswith("/out/a.bin: 2.9 MiB in ")
    assert hashlib.sha256(content).hexdigest() in ended.stdout


def test_put_goes_on_where_it_was_interrupted(start_server: StartServer, tmp_path: Path) -> None:
    """Ctrl-C ends with 130 and leaves a temporary name there; the next call sends only the rest.

    One byte of what lies there is falsified: that it still is in the end proves that it was not sent again.
    """
    server = start_server("pyftpdlib")
    size = 60_000_000
    with (tmp_path / "big.bin").open("wb") as file:
        file.truncate(size)
    with CuttingProxy.before(server) as proxy:
        site = begin(server, tmp_path / "site", host=proxy.address)

        def begun() -> list[Path]:
            return [path for path in site.out.glob(".towline-put-*") if path.stat().st_size > 300_000]

        command = ("put", "bank", str(tmp_path / "big.bin"), "/out/other.bin")
        proxy.data.rate = SLOW
        with site.started(*command) as putting:
            [partial] = wait_until(begun)
            putting.send_signal(signal.SIGINT)
            told = putting.communicate(timeout=LIMIT_S)[1]
            assert putting.returncode == 130, told
        wait_until(lambda: not proxy.data.open, what="the server has, or has lost, what was on its way")
        assert "the same command goes on from what the server has" in told
        assert [path.name for path in site.out.iterdir()] == [partial.name]
        assert partial.stat().st_size < size
        with partial.open("r+b") as falsified:
            falsified.write(b"!")
        proxy.data.rate = None
        ended = site.towline(*command)
        assert ended.returncode == 0, ended.stderr
    [path] = site.out.iterdir()
    assert path.name == "other.bin"
    with path.open("rb") as sent:
        assert sent.read(2) == b"!\0"
        assert sent.seek(0, os.SEEK_END) == size


@pytest.mark.parametrize("name", ["proftpd", pytest.param("vsftpd", marks=pytest.mark.long)])
def test_a_tree_is_sent_over_several_lines(start_server: StartServer, name: str, tmp_path: Path) -> None:
    """Folders are made there, links passed over, names are bytes; into a folder, or as a new one."""
    site = begin(start_server(name), tmp_path / "site")
    tree = tmp_path / "tree"
    for path, content in TREE.items():
        (tree / path).parent.mkdir(parents=True, exist_ok=True)
        (tree / path).write_bytes(content)
    (tree / "link.xml").symlink_to("a.xml")
    (tree / os.fsdecode(b"odd\xff.xml")).write_bytes(b"odd")
    expected = TREE | {os.fsdecode(b"odd\xff.xml"): b"odd"}
    shown = site.json("put", "bank", "-r", str(tree), "/out/made", "--sessions", "3")
    assert under(site.out) == {f"made/{path}": content for path, content in expected.items()}
    outcomes = {file["local"]: file["outcome"] for file in shown["files"]}
    assert outcomes.pop(f"{tree}/link.xml") == "link"
    assert set(outcomes.values()) == {"sent"}
    assert "/out/made/odd\\xff.xml" in [file["path"] for file in shown["files"]]
    assert site.towline("put", "bank", "-r", str(tree), "/out/made").returncode == 0
    assert under(site.out / "made" / "tree") == expected


@pytest.mark.long
def test_files_are_sent_side_by_side_over_as_many_lines_as_asked_for(
    start_server: StartServer, tmp_path: Path
) -> None:
    """Two of them, each with files enough to send until the other is there."""
    server = start_server("pyftpdlib")
    site = begin(server, tmp_path / "site")
    for name in "abcd":
        with (tmp_path / f"{name}.bin").open("wb") as file:
            file.truncate(60_000_000)
    ended = site.towline("put", "bank", str(tmp_path / "*.bin"), "/out", "--sessions", "2")
    assert ended.returncode == 0, ended.stderr
    assert {path.name: path.stat().st_size for path in site.out.iterdir()} == {
        f"{name}.bin": 60_000_000 for name in "abcd"
    }
    wait_until(lambda: server.connections() == 2)


def test_several_files_and_a_pattern_of_no_shell(start_server: StartServer, tmp_path: Path) -> None:
    """A quoted pattern is matched here; what is missing is told, the rest is sent: 1. --keep keeps."""
    site = begin(start_server("pyftpdlib"), tmp_path / "site")
    for name in ("a.xml", "b.xml", "c.txt"):
        (tmp_path / name).write_bytes(name.encode())
    site.put("b.xml", b"theirs")
    command = ("put", "bank", str(tmp_path / "*.xml"), str(tmp_path / "none.txt"), "/out")
    shown = site.json(*command, "--keep", code=1)
    assert sorted((file["path"] or "", file["outcome"]) for file in shown["files"]) == [
        ("", "failed"),
        ("/out/a.xml", "sent"),
        ("/out/b.xml", "kept"),
    ]
    assert under(site.out) == {"a.xml": b"a.xml", "b.xml": b"theirs"}
    ended = site.towline(*command)
    assert ended.returncode == 1
    assert f"{tmp_path}/none.txt: there is no such file" in ended.stderr
    assert len(ended.stdout.splitlines()) == 2
    assert under(site.out) == {"a.xml": b"a.xml", "b.xml": b"b.xml"}


@pytest.mark.long
def test_a_name_that_the_server_refuses_is_told_and_the_rest_is_sent(
    start_server: StartServer, tmp_path: Path
) -> None:
    """Pure-FTPd takes no backslash: 1, in its own words; no temporary name is left there."""
    site = begin(start_server("pure-ftpd"), tmp_path / "site")
    odd, good = tmp_path / r"a\b.csv", tmp_path / "c.csv"
    for one in (odd, good):
        one.write_bytes(b"ours")
    ended = site.towline("put", "bank", str(tmp_path / "*.csv"), "/out")
    assert ended.returncode == 1, ended.stderr
    assert "Prohibited file name" in ended.stderr
    assert under(site.out) == {"c.csv": b"ours"}
    assert odd.read_bytes() == b"ours"


@pytest.mark.long
def test_put_of_several_wants_a_folder(start_server: StartServer, tmp_path: Path) -> None:
    """2 where the server has none; nothing is sent. A folder without -r is passed over with 1."""
    site = begin(start_server("pyftpdlib"), tmp_path / "site")
    (tmp_path / "a").write_bytes(b"a")
    (tmp_path / "folder").mkdir()
    for arguments in ((str(tmp_path / "a"), str(tmp_path / "a"), "/none"), (str(tmp_path / "a"), "/none/")):
        ended = site.towline("put", "bank", *arguments)
        assert ended.returncode == 2
        assert "bank has no folder /none" in ended.stderr
    ended = site.towline("put", "bank", str(tmp_path / "folder"), "/out")
    assert ended.returncode == 1
    assert "folder is a folder: passed over without -r" in ended.stderr
    assert under(site.out) == {}


@pytest.mark.long
def test_a_folder_that_may_not_be_written_ends_with_4(start_server: StartServer, tmp_path: Path) -> None:
    """In the server's own words, and with the path."""
    site = Site(tmp_path / "site", start_server("proftpd"))
    site.out.chmod(0o555)
    (tmp_path / "a").write_bytes(b"a")
    ended = site.towline("put", "bank", str(tmp_path / "a"), "/out/b")
    assert ended.returncode == 4, ended.stderr
    assert "/out/b" in ended.stderr
    assert list(site.out.iterdir()) == []
