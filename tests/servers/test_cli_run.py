"""`towline run`: a round in the foreground, and what the reading verbs tell of it."""

from __future__ import annotations

import random
import signal
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from tests.faults.proxy import CuttingProxy
from tests.servers.command import LIMIT_S, SLOW, Site
from tests.servers.kinds import NAMES
from tests.servers.server import FtpServer
from tests.waiting import wait_until
from workers import rounds
from workers.cli import main
from workers.rounds import Fetched, Skipped
from workers.stores.local import LocalFolder
from workers.stores.temp import Temp

StartServer = Callable[..., FtpServer]


def landed(site: Site) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in site.landed.iterdir()} if site.landed.exists() else {}


@pytest.mark.parametrize(("name", "sessions"), [("pyftpdlib", "1"), *((name, "3") for name in NAMES)])
def test_a_round_publishes_everything_once(
    start_server: StartServer, name: str, sessions: str, tmp_path: Path
) -> None:
    """On one line or on three: every file whole, each asked for once; a second round finds nothing to do."""
    server = start_server(name)
    site = Site(tmp_path, server, route={"batch": {"files": 2, "bytes": "1GiB"}})
    generator = random.Random(3)
    files = {
        f"{number:02}.bin": generator.randbytes(generator.choice([0, 10, 70_000])) for number in range(30)
    }
    for file, content in files.items():
        site.put(file, content)
    first = site.towline("run", "statements", "--sessions", sessions)
    assert first.returncode == 0, first.stderr
    assert "30 files published" in first.stdout
    assert landed(site) == files
    second = site.towline("run", "statements", "--sessions", sessions)
    assert second.returncode == 0
    assert "0 files published" in second.stdout
    wait_until(lambda: len(server.retrieved()) == 30)
    assert sorted(server.retrieved()) == sorted(f"/out/{file}" for file in files)
    # A line more for the second round, which has nothing to fetch.
    assert server.logins() <= int(sessions) + 1


def test_every_line_of_a_round_has_its_share(
    start_server: StartServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nine files, one batch for the route's settings, are two or three for each of three lines.

    Each waits with its first file until the others have theirs, so that no line finds nothing left.
    """
    server = start_server("pyftpdlib")
    site = Site(tmp_path, server)
    for name in "abcdefghi":
        site.put(name)
    monkeypatch.setenv("BANK_PASSWORD", site.password)
    together, fetch, open_temp = threading.Barrier(3), rounds.fetch, LocalFolder.open_temp
    asked: list[int] = []
    begun: set[int] = set()

    def begin_together(store: LocalFolder, *arguments: Any, **named: Any) -> Temp:
        if threading.get_ident() not in begun:
            begun.add(threading.get_ident())
            together.wait(60)
        return open_temp(store, *arguments, **named)

    def fetch_together(*arguments: Any, most: int, **named: Any) -> Fetched | Skipped:
        asked.append(most)
        if len(asked) <= 3:
            together.wait(60)
        return fetch(*arguments, most=most, **named)

    monkeypatch.setattr(rounds, "fetch", fetch_together)
    monkeypatch.setattr(LocalFolder, "open_temp", begin_together)
    command = ["run", "statements", "--sessions", "3", "--config", str(site.config)]
    told = CliRunner().invoke(main, command, catch_exceptions=False)
    assert "9 files published" in told.stdout
    assert sorted(asked[:3]) == [2, 2, 3]
    assert server.logins() == 3


def test_a_round_looks_again_after_settle(
    start_server: StartServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A file that rests is fetched by the second look of the same round; one that still grows is not."""
    site = Site(tmp_path, start_server("pyftpdlib"), route={"settle": "2s"})
    site.put("rests.xml", b"whole")
    monkeypatch.setenv("BANK_PASSWORD", site.password)
    poll = rounds.poll

    def poll_what_grows(*arguments: Any, **named: Any) -> Any:
        with (site.out / "grows.xml").open("ab") as growing:
            growing.write(b"more\n")
        return poll(*arguments, **named)

    monkeypatch.setattr(rounds, "poll", poll_what_grows)
    command = ["run", "statements", "--config", str(site.config)]
    told = CliRunner().invoke(main, command, catch_exceptions=False)
    assert told.exit_code == 0, told.output
    assert landed(site) == {"rests.xml": b"whole"}
    assert "1 file published" in told.stdout
    assert "1 still settling" in told.stdout
    explained = site.json("explain", "statements", "grows.xml")
    assert explained["state"] == "WAITING"
    assert "not settled" in explained["why"][0]


def test_ctrl_c_hands_back_what_was_claimed(start_server: StartServer, tmp_path: Path) -> None:
    """Interrupted in mid-file it ends with 130 in order; nothing is claimed, no attempt is charged, and the
    next round brings everything, the file in hand from where it was."""
    server = start_server("pyftpdlib")
    size = 60_000_000
    with CuttingProxy.before(server) as proxy:
        site = Site(tmp_path, server, endpoint={"host": proxy.address})
        with (site.out / "big.bin").open("wb") as file:
            file.truncate(size)
        site.put("small.xml")

        def receiving() -> bool:
            return any(path.stat().st_size > 300_000 for path in site.landed.glob(".towline-*"))

        proxy.data.rate = SLOW
        with site.started("run", "statements") as running:
            wait_until(receiving)
            running.send_signal(signal.SIGINT)
            told = running.communicate(timeout=LIMIT_S)
            assert running.returncode == 130, told
        assert "stopping" in told[1]
        assert "was left" not in told[1], "it had to be ended by force"
        assert not (site.landed / "big.bin").exists()
        [route] = site.json("routes")["routes"]
        assert route["in_flight"] == 0
        [version] = site.json("explain", "statements", "big.bin")["versions"]
        assert (version["state"], version["attempts"]) == ("READY", 0)
        proxy.data.rate = None
        assert site.towline("run", "statements").returncode == 0
    assert (site.landed / "big.bin").stat().st_size == size
    assert sorted(path.name for path in site.landed.iterdir()) == ["big.bin", "small.xml"]


def test_dry_run_changes_nothing(start_server: StartServer, tmp_path: Path) -> None:
    """It names what would be fetched and what would be refused; no file lands, the ledger learns of none."""
    server = start_server("pyftpdlib")
    site = Site(tmp_path, server, route={"include": ["*.xml"], "settle": "10s"})
    for name in ("a.xml", "b.txt", "c.xml"):
        site.put(name)
    ended = site.towline("run", "statements", "--dry-run")
    assert ended.returncode == 0, ended.stderr
    assert [line.split()[-1] for line in ended.stdout.splitlines()[1:-1]] == ["/out/a.xml", "/out/c.xml"]
    assert "new, settles first" in ended.stdout
    assert ended.stdout.endswith("3 entries listed, 2 files would be fetched\n")
    assert landed(site) == {}
    assert site.json("history")["files"] == []
    assert server.retrieved() == []


def test_a_file_that_fails_ends_with_1_and_can_be_retried(start_server: StartServer, tmp_path: Path) -> None:
    """The others are published; it is quarantined with its reason, and `towline retry` makes it due again."""
    site = Site(tmp_path, start_server("pyftpdlib"), route={"max_attempts": 1})
    site.put("good.xml", b"good")
    site.put("taken.xml", b"taken")
    (site.landed / "taken.xml").mkdir(parents=True)
    ended = site.towline("run", "statements")
    assert ended.returncode == 1, ended.stderr
    assert "1 failed" in ended.stdout
    assert (site.landed / "good.xml").read_bytes() == b"good"
    explained = site.towline("explain", "statements", "taken.xml").stdout
    assert explained.startswith("/out/taken.xml: QUARANTINED\n")
    assert "a folder is called so" in explained
    assert "towline retry statements /out/taken.xml" in explained
    [quarantined] = site.json("history", "--state", "quarantined")["files"]
    assert quarantined["path"] == "/out/taken.xml"
    assert site.towline("run", "statements").returncode == 0, "nothing is due: nothing to do"
    (site.landed / "taken.xml").rmdir()
    assert site.towline("retry", "statements", "taken.xml").returncode == 0
    assert site.towline("run", "statements").returncode == 0
    assert (site.landed / "taken.xml").read_bytes() == b"taken"
    again = site.towline("retry", "statements", "taken.xml")
    assert again.returncode == 1
    assert "nothing to try again" in again.stderr


def test_a_paused_route_is_left_alone(start_server: StartServer, tmp_path: Path) -> None:
    """`run` says so and ends with 0; `routes` and `explain` say so too; `resume` lets it go on."""
    server = start_server("pyftpdlib")
    site = Site(tmp_path, server)
    site.put("a.xml")
    assert site.towline("pause", "statements").returncode == 0
    ended = site.towline("run", "statements")
    assert ended.returncode == 0
    assert "towline resume statements" in ended.stderr
    [route] = site.json("routes")["routes"]
    assert route["paused_since"].endswith("Z")
    assert route["next_due"] is None
    assert "the route is paused since" in site.towline("explain", "statements", "a.xml").stdout
    assert server.connections() == 0
    assert site.towline("resume", "statements").returncode == 0
    assert site.towline("run", "statements").returncode == 0
    assert landed(site) == {"a.xml": b"hello\n"}


def test_reading_verbs_tell_what_landed(start_server: StartServer, tmp_path: Path) -> None:
    """After a round: the route's counts and times, the file's digest and place, each in text and in JSON."""
    site = Site(tmp_path, start_server("pyftpdlib"), route={"every": "10m"})
    site.put("a.xml", b"hello\n")
    assert site.towline("run", "statements").returncode == 0
    [route] = site.json("routes")["routes"]
    assert (route["published"], route["waiting"], route["in_flight"], route["quarantined"]) == (1, 0, 0, 0)
    assert route["last_error"] is None
    assert route["last_complete_listing"] < route["next_due"]
    [file] = site.json("history")["files"]
    assert (file["path"], file["state"], file["version"]) == ("/out/a.xml", "FINISHED", 1)
    assert file["sha256"] == "5891b5b522d5df086d0ff0b110fbd9d21bb4fc7163af34d08286a2e846f6be03"
    assert file["local"] == str(site.landed / "a.xml")
    assert file["published_at"].endswith("Z")
    table = site.towline("history").stdout.splitlines()
    assert table[0].split() == ["when", "state", "route", "size", "path", "told"]
    assert "/out/a.xml" in table[1]
    assert site.towline("routes").stdout.splitlines()[1].startswith("statements  20")
    assert str(site.landed / "a.xml") in site.towline("explain", "statements", "/out/a.xml").stdout


def test_explain_knows_why_a_file_was_never_seen(start_server: StartServer, tmp_path: Path) -> None:
    """Never listed; left out by the filters; below a folder the route doesn't enter; not on the server."""
    site = Site(tmp_path, start_server("pyftpdlib"), route={"include": ["*.xml"]})
    site.put("b.txt")

    def why(path: str) -> str:
        explained = site.json("explain", "statements", path)
        assert (explained["state"], explained["versions"]) == ("UNKNOWN", [])
        return "; ".join(explained["why"])

    assert "never been listed" in why("a.xml")
    assert site.towline("run", "statements").returncode == 0
    assert "leave it out" in why("b.txt")
    assert "not recursive" in why("deep/a.xml")
    assert "did not have it" in why("a.xml")
    assert "not below /out" in why("/elsewhere/a.xml")


def test_a_name_that_is_route_and_endpoint_asks_which(start_server: StartServer, tmp_path: Path) -> None:
    """pause and resume end with 2 and name both; with the kind in front they know."""
    more = '[routes.bank]\nendpoint = "bank"\nremote = "/other"\nlocal = "other"\n'
    site = Site(tmp_path, start_server("pyftpdlib"), more=more)
    ended = site.towline("pause", "bank")
    assert ended.returncode == 2
    assert "route:bank or endpoint:bank" in ended.stderr
    assert site.towline("pause", "route:bank").returncode == 0
    paused = {route["route"]: route["paused_since"] for route in site.json("routes")["routes"]}
    assert paused["statements"] is None
    assert paused["bank"] is not None
    assert site.towline("ls", "bank", "/out").returncode == 0, "the endpoint is not paused"
    assert site.towline("pause", "endpoint:bank").returncode == 0
    assert site.towline("ls", "bank", "/out").returncode == 4
