"""`towline ls`, `get` and `check` against real servers."""

from __future__ import annotations

import contextlib
import hashlib
import os
import random
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.faults.proxy import CuttingProxy
from tests.faults.scripted import ScriptedServer
from tests.servers.certificates import Certificates
from tests.servers.command import LIMIT_S, SLOW, Site
from tests.servers.kinds import NAMES, OFFERS, resumes_data
from tests.servers.server import FtpServer, TlsMode, TlsVersion
from tests.waiting import wait_until

StartServer = Callable[..., FtpServer]


@pytest.mark.parametrize("name", NAMES)
def test_ls_shows_a_folder_in_the_contracts_shape(
    start_server: StartServer, name: str, tmp_path: Path
) -> None:
    """Each entry has path, type, size, time in UTC and the time's precision; nothing else is promised."""
    site = Site(tmp_path, start_server(name))
    site.put("a.xml", b"x" * 1000)
    os.utime(site.out / "a.xml", (1_700_000_000, 1_700_000_000))
    (site.out / "deeper").mkdir()
    shown = site.json("ls", "bank", "/out")
    assert list(shown) == ["complete", "reason", "entries"]
    assert (shown["complete"], shown["reason"]) == (True, None)
    by_path = {entry["path"]: entry for entry in shown["entries"]}
    assert set(by_path) == {"/out/a.xml", "/out/deeper"}
    file = by_path["/out/a.xml"]
    assert list(file) == ["path", "type", "size", "modified", "precision_s"]
    assert (file["type"], file["size"]) == ("file", 1000)
    assert by_path["/out/deeper"]["type"] == "dir"
    # A server without MLSD tells days of a file that old: vsftpd.
    precise = {1.0: "2023-11-14T22:13:20Z", 86_400.0: "2023-11-14T00:00:00Z"}
    assert file["modified"] == precise[file["precision_s"]]


def test_ls_is_text_for_people(start_server: StartServer, tmp_path: Path) -> None:
    """A table with the size and the name as they are, and nothing on stderr."""
    site = Site(tmp_path, start_server("pyftpdlib"))
    site.put("a b.xml", b"x" * 12_345)
    ended = site.towline("ls", "bank", "out")
    assert (ended.returncode, ended.stderr) == (0, "")
    header, line = ended.stdout.splitlines()
    assert header.split() == ["type", "size", "modified", "name"]
    assert line.startswith("file  12345  20")
    assert line.endswith("  a b.xml")


def test_a_name_that_is_not_utf8_is_shown_and_taken_back(start_server: StartServer, tmp_path: Path) -> None:
    r"""ls shows `\xff`, and get finds the file when that is typed."""
    site = Site(tmp_path, start_server("vsftpd"))
    site.put(b"odd\xff\\.bin", b"odd")
    [entry] = site.json("ls", "bank", "/out")["entries"]
    assert entry["path"] == "/out/odd\\xff\\\\.bin"
    ended = site.towline("get", "bank", entry["path"], str(tmp_path / "got"))
    assert ended.returncode == 0, ended.stderr
    assert (tmp_path / "got").read_bytes() == b"odd"


def test_an_incomplete_listing_ends_with_5(start_server: StartServer, tmp_path: Path) -> None:
    """Pure-FTPd stops at its limit and says so only in words (field note 27): both are shown."""
    site = Site(tmp_path, start_server("pure-ftpd", listing_limit=5))
    for number in range(9):
        site.put(f"{number}.xml")
    shown = site.json("ls", "bank", "/out", code=5)
    assert shown["complete"] is False
    assert "truncated" in shown["reason"]
    assert 0 < len(shown["entries"]) < 9
    checked = site.towline("check")
    assert checked.returncode == 5
    assert "have old files moved away" in checked.stdout


@pytest.mark.parametrize("name", NAMES)
def test_a_missing_file_is_named_and_leaves_nothing_behind(
    start_server: StartServer, name: str, tmp_path: Path
) -> None:
    """get ends with 1, in words that name endpoint and path; neither target nor temp is there."""
    site = Site(tmp_path / "site", start_server(name))
    target = tmp_path / "target"
    target.mkdir()
    ended = site.towline("get", "bank", "/out/none.xml", str(target / "none.xml"))
    assert ended.returncode == 1
    assert "bank has no /out/none.xml" in ended.stderr
    assert list(target.iterdir()) == []


@pytest.mark.parametrize("name", NAMES)
def test_get_fetches_one_file_whole(start_server: StartServer, name: str, tmp_path: Path) -> None:
    """Into a folder it keeps its name, its bytes and its time; the digest told is the file's."""
    site = Site(tmp_path, start_server(name))
    content = random.Random(7).randbytes(3_000_000)
    site.put("a.bin", content)
    os.utime(site.out / "a.bin", (1_700_000_000, 1_700_000_000))
    ended = site.towline("get", "bank", "/out/a.bin", str(tmp_path))
    assert ended.returncode == 0, ended.stderr
    assert (tmp_path / "a.bin").read_bytes() == content
    assert (tmp_path / "a.bin").stat().st_mtime == 1_700_000_000
    assert hashlib.sha256(content).hexdigest() in ended.stdout
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".")] == []


def test_get_goes_on_where_it_was_interrupted(start_server: StartServer, tmp_path: Path) -> None:
    """Ctrl-C ends with 130 and keeps what came beside the target; the next call asks only for the rest.

    One byte of what was kept is falsified: that it still is in the end proves that it was not sent again.
    """
    server = start_server("pyftpdlib")
    target = tmp_path / "target"
    target.mkdir()
    size = 60_000_000
    with CuttingProxy.before(server) as proxy:
        site = Site(tmp_path / "site", server, endpoint={"host": proxy.address})
        with (site.out / "big.bin").open("wb") as file:
            file.truncate(size)

        def kept() -> list[Path]:
            return [path for path in target.glob(".towline-get-*") if path.stat().st_size > 300_000]

        command = ("get", "bank", "/out/big.bin", str(target / "big.bin"))
        proxy.data.rate = SLOW
        with site.started(*command) as getting:
            [partial] = wait_until(kept)
            getting.send_signal(signal.SIGINT)
            told = getting.communicate(timeout=LIMIT_S)[1]
            assert getting.returncode == 130, told
        assert "the same command goes on from there" in told
        assert not (target / "big.bin").exists()
        assert partial.stat().st_size < size
        with partial.open("r+b") as falsified:
            falsified.write(b"!")
        proxy.data.rate = None
        ended = site.towline(*command)
        assert ended.returncode == 0, ended.stderr
    with (target / "big.bin").open("rb") as got:
        assert got.read(2) == b"!\0"
        assert got.seek(0, os.SEEK_END) == size
    assert [path.name for path in target.iterdir()] == ["big.bin"]


@pytest.mark.parametrize(("name", "tls", "version"), OFFERS)
def test_check_finds_what_the_server_is(
    start_server: StartServer, name: str, tls: TlsMode, version: TlsVersion, tmp_path: Path
) -> None:
    """TLS version, certificate end, resumption on data, features and counts are the server's own."""
    site = Site(tmp_path, start_server(name, tls=tls, tls_version=version), route={"include": ["*.xml"]})
    for file in ("a.xml", "b.xml", "c.txt"):
        site.put(file)
    checked = site.json("check")
    [found] = checked["endpoints"]
    assert found["tls"]["version"] == f"TLSv{version}"
    assert found["tls"]["cipher"]
    assert found["certificate_end"].endswith("Z")
    assert found["data_session_resumed"] is resumes_data(name, version)
    assert found["routes"] == [{"route": "statements", "files": 3, "match": 2, "complete": True}]
    assert found["clock_difference_s"] is None
    assert [one["failure"] for one in found["findings"] if one["failure"] is not None] == []


def test_check_tells_people_what_to_do(start_server: StartServer, tmp_path: Path) -> None:
    """A file from the future shows the clock, idle filters are asked about; both still end with 0."""
    site = Site(tmp_path, start_server("pyftpdlib"), route={"include": ["*.csv"]})
    site.put("a.xml")
    ahead = time.time() + 7200
    os.utime(site.out / "a.xml", (ahead, ahead))
    ended = site.towline("check", "statements")
    assert ended.returncode == 0
    assert "/out: 1 file, 0 match" in ended.stdout
    assert "→ look at include, exclude and regex" in ended.stdout
    assert "ahead of ours by 2h or more" in ended.stdout


def test_check_ends_with_the_worst_of_what_it_found(start_server: StartServer, tmp_path: Path) -> None:
    """A target that can't be written is 1, a folder that can't be listed 5, and 5 goes before 1."""
    more = '[routes.lost]\nendpoint = "bank"\nremote = "/none"\nlocal = "lost"\n'
    site = Site(tmp_path, start_server("pyftpdlib"), route={"local": "no/such/place"}, more=more)
    only_target = site.towline("check", "statements")
    assert only_target.returncode == 1
    assert "no/such is no folder" in only_target.stdout
    both = site.towline("check")
    assert both.returncode == 5
    assert "/none" in both.stdout


def test_progress_moves_on_a_terminal_only(start_server: StartServer, tmp_path: Path) -> None:
    """With stderr on a terminal a bar is drawn there; stdout never holds control characters."""
    site = Site(tmp_path, start_server("pyftpdlib"))
    site.put("a.bin", b"x" * 3_000_000)
    screen, terminal = os.openpty()
    command = ("get", "bank", "/out/a.bin", str(tmp_path / "got.bin"))
    with site.started(*command, stderr=terminal) as getting:
        os.close(terminal)
        told = getting.communicate(timeout=LIMIT_S)[0]
    drawn = b""
    with contextlib.suppress(OSError):  # EIO: nobody has the other end any more
        while block := os.read(screen, 65536):
            drawn += block
    os.close(screen)
    assert getting.returncode == 0
    assert "a.bin" in drawn.decode()
    assert "\x1b[" in drawn.decode()
    plain = site.towline(*command)
    assert "\x1b" not in told + plain.stdout + plain.stderr
    assert plain.stderr == ""


def test_check_shows_what_was_learned_of_the_server(certificates: Certificates, tmp_path: Path) -> None:
    """A refused EPSV costs one command once, and is told; the next line does not ask again."""
    with ScriptedServer(certificates, {"EPSV": "500 What?"}, files={b"/out/a": b"a"}) as server:
        rooted: Any = server
        rooted.root = tmp_path  # of its files none lies on a disk
        site = Site(tmp_path, rooted)
        for _ in range(2):
            [found] = site.json("check")["endpoints"]
            assert found["learned"] == ["EPSV is refused: PASV is sent"]
        assert server.count("EPSV") == 1
        assert "EPSV is refused: PASV is sent" in site.towline("check").stdout
