"""A disk that fills up, on a real small one: the route waits, says why, and goes on by itself."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from tests.faults.acts import answer
from tests.faults.scripted import ScriptedServer
from tests.faults.small_disk import SmallDisk
from tests.servers.certificates import Certificates
from workers import errors, rounds
from workers.cli import main
from workers.cli.routes import not_landing
from workers.process import Process
from workers.rounds import Fetched, Polled
from workers.session import Tally
from workers.settings import Route, Settings
from workers.stores.local import LocalFolder
from workers.upkeep import upkeep

MB = 1_000_000


@pytest.fixture
def scripted(certificates: Certificates) -> Iterator[ScriptedServer]:
    with ScriptedServer(certificates) as server:
        yield server


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[SmallDisk]:
    with SmallDisk(tmp_path / "disk", "8m") as disk:
        yield disk


@pytest.fixture
def begin(scripted: ScriptedServer, tmp_path: Path) -> Iterator[Callable[..., tuple[Process, Route]]]:
    """begin(local=…) → a process and its route "in"."""
    made: list[Process] = []

    def begin(**keys: Any) -> tuple[Process, Route]:
        endpoint = {
            "name": "bank",
            "host": scripted.host,
            "port": scripted.port,
            "user": scripted.user,
            "password": scripted.password,
            "tls": scripted.tls,
            "ca_file": scripted.ca_file,
        }
        told: dict[str, Any] = {
            "name": "in",
            "endpoint": "bank",
            "remote": b"/",
            "every": 600.0,
            "settle": 0.0,
        }
        settings = Settings.model_validate(
            {
                "path": tmp_path / "towline.toml",
                "state_dir": tmp_path / "state",
                "endpoints": {"bank": endpoint},
                "routes": {"in": told | keys},
            }
        )
        made.append(Process(settings))
        return made[-1], settings.route("in")

    yield begin
    for process in made:
        process.close()


Begin = Callable[..., tuple[Process, Route]]


def poll(process: Process, route: Route) -> Polled:
    found = rounds.poll(process, route, Tally())
    assert isinstance(found, Polled)
    return found


def fetch(process: Process, route: Route, **how: Any) -> Fetched:
    done = rounds.fetch(process, route, Tally(), **how)
    assert isinstance(done, Fetched)
    return done


def files(folder: Path) -> dict[str, bytes]:
    return {one.name: one.read_bytes() for one in folder.iterdir() if one.is_file()}


def attempts(process: Process) -> set[int]:
    return {row.attempts for row in process.ledger.history.rows(limit=99)}


def test_a_full_disk_is_seen_before_the_claim_and_over_by_itself(
    scripted: ScriptedServer, disk: SmallDisk, begin: Begin
) -> None:
    """No file is asked for, claimed or charged; the route says since when and why, until there is room."""
    scripted.files = {b"/a": os.urandom(2 * MB), b"/b": os.urandom(2 * MB)}
    process, route = begin(local=disk.path / "in")
    (disk.path / "in").mkdir()
    taken = disk.fill(leave=MB)
    assert poll(process, route).ready == 2
    before = len(scripted.commands)
    for _ in range(2):
        with pytest.raises(
            errors.StoreRefused, match=r"No space left on device; make room: .* needed"
        ) as told:
            fetch(process, route)
    assert told.value.args[:2] == ("in", str(route.local))
    assert len(scripted.commands) == before, "a line was used for it"
    state = process.ledger.routes.get("in")
    assert state.refused_at is not None
    assert "No space left" in (state.refused_reason or "")
    assert process.ledger.polls.counts("in").claimed == 0
    assert attempts(process) == {0}
    taken.unlink()
    assert fetch(process, route).outcome.published == 2
    assert files(disk.path / "in") == {"a": scripted.files[b"/a"], "b": scripted.files[b"/b"]}
    assert process.ledger.routes.get("in").refused_at is None


def test_a_claim_takes_what_fits(scripted: ScriptedServer, disk: SmallDisk, begin: Begin) -> None:
    """Of five files there is room for two: these arrive, and the third says that there is none."""
    scripted.files = {b"/%d" % number: os.urandom(MB) for number in range(5)}
    (disk.path / "in").mkdir()
    process, route = begin(local=disk.path / "in")
    taken = disk.fill(leave=int(2.5 * MB))
    poll(process, route)
    assert fetch(process, route).outcome.published == 2
    with pytest.raises(errors.StoreRefused, match="No space"):
        fetch(process, route)
    assert len(files(disk.path / "in")) == 2
    taken.unlink()
    assert fetch(process, route).outcome.published == 3


def test_a_disk_that_fills_up_in_mid_file_stops_the_batch_once(
    scripted: ScriptedServer, disk: SmallDisk, begin: Begin
) -> None:
    """Somebody else was quicker. Nothing half has a final name, no attempt counts, and what came is kept."""
    content = os.urandom(3 * MB)
    scripted.files = {b"/a": content, b"/b": b"small", b"/c": b"small"}
    (disk.path / "in").mkdir()
    process, route = begin(local=disk.path / "in")
    poll(process, route)
    taken: list[Path] = []
    write = process.janitor.holds

    def meanwhile(path_id: int) -> bool:
        if not taken and any(one.stat().st_size > MB for one in (disk.path / "in").iterdir()):
            taken.append(disk.fill(leave=500_000))
        return write(path_id)

    process.janitor.holds = meanwhile  # type: ignore[method-assign]
    with pytest.raises(errors.StoreRefused, match="No space left on device"):
        fetch(process, route)
    assert scripted.count("RETR") == 1, "file after file was tried on a full disk"
    [(partial, held)] = files(disk.path / "in").items()
    assert partial.startswith(".towline-")
    assert MB < len(held) < 3 * MB
    assert attempts(process) == {0}
    assert process.ledger.polls.counts("in").ready == 3
    taken[0].unlink()
    # Room for the rest of it, and not for all of it again: it comes by itself, and says that there is more.
    disk.fill(leave=3 * MB - len(held) // 2)
    done = fetch(process, route)
    assert (done.outcome.published, done.more) == (1, True)
    assert fetch(process, route).outcome.published == 2
    assert files(disk.path / "in")["a"] == content


def test_a_disk_mounted_read_only_is_told_as_that(
    scripted: ScriptedServer, disk: SmallDisk, begin: Begin
) -> None:
    """Before anything is claimed; mounted for writing again, the route goes on."""
    scripted.files = {b"/a": b"content"}
    (disk.path / "in").mkdir()
    process, route = begin(local=disk.path / "in")
    poll(process, route)
    disk.remount("ro")
    with pytest.raises(errors.StoreRefused, match="Read-only file system; mount it for writing"):
        fetch(process, route)
    assert scripted.count("RETR") == 0
    disk.remount("rw")
    assert fetch(process, route).outcome.published == 1


def test_what_is_asked_for_by_name_has_to_fit_too(
    scripted: ScriptedServer, disk: SmallDisk, begin: Begin
) -> None:
    """`submit fetch ROUTE PATH` looks at the room as well, and only for that file."""
    scripted.files = {b"/a": os.urandom(3 * MB), b"/b": b"small"}
    (disk.path / "in").mkdir()
    process, route = begin(local=disk.path / "in")
    disk.fill(leave=MB)
    poll(process, route)
    with pytest.raises(errors.StoreRefused, match="No space"):
        fetch(process, route, paths=["/a"])
    assert scripted.count("RETR") == 0
    assert fetch(process, route, paths=["/b"]).outcome.published == 1


def test_a_person_reads_why_nothing_arrives(
    scripted: ScriptedServer, disk: SmallDisk, begin: Begin, tmp_path: Path
) -> None:
    """`towline routes` and `towline explain` name the folder's trouble, and that it ends by itself."""
    scripted.files = {b"/a": os.urandom(3 * MB)}
    (disk.path / "in").mkdir()
    process, route = begin(local=disk.path / "in")
    taken = disk.fill(leave=MB)
    poll(process, route)
    with pytest.raises(errors.StoreRefused):
        fetch(process, route)
    (tmp_path / "towline.toml").write_text(
        f"""
        [towline]
        state_dir = "{tmp_path}/state"
        [endpoints.bank]
        host = "{scripted.host}"
        user = "acme"
        password = {{ env = "PASSWORD" }}
        [routes.in]
        endpoint = "bank"
        remote = "/"
        local = "{disk.path}/in"
        """
    )

    def towline(*words: str) -> str:
        command = ["--config", str(tmp_path / "towline.toml"), *words]
        return CliRunner().invoke(main, command, env={"PASSWORD": "secret"}, catch_exceptions=False).stdout

    assert f"in: no file lands in {route.local} since " in towline("routes")
    assert "No space left on device; make room" in towline("routes")
    [told] = json.loads(towline("routes", "--json"))["routes"]
    assert told["refused_since"] is not None
    assert "No space left" in told["refused_reason"]
    assert "No space left on device; make room" in towline("explain", "in", "/a")
    taken.unlink()
    fetch(process, route)
    assert "no file lands" not in towline("routes")


def test_a_route_that_has_nothing_left_to_fetch_waits_for_no_room(
    scripted: ScriptedServer, disk: SmallDisk, begin: Begin
) -> None:
    """The partner took the large file away: what is over is told no longer."""
    scripted.files = {b"/a": os.urandom(3 * MB)}
    (disk.path / "in").mkdir()
    process, route = begin(local=disk.path / "in")
    disk.fill(leave=MB)
    poll(process, route)
    with pytest.raises(errors.StoreRefused):
        fetch(process, route)
    scripted.files.clear()
    poll(process, route)
    poll(process, route)
    assert process.ledger.routes.get("in").refused_at is None


def test_a_disk_that_cannot_be_swept_stops_nothing_else(
    disk: SmallDisk, begin: Begin, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Upkeep ends leases, announces and forgets for all routes, whatever the disk of one of them says."""
    (disk.path / "in").mkdir()
    (disk.path / "in" / ".towline-left").write_bytes(b"half")
    process, _ = begin(local=disk.path / "in")
    sweep = LocalFolder.sweep
    monkeypatch.setattr(LocalFolder, "sweep", lambda self, keep, ours: sweep(self, keep, ours=ours, idle=-1))
    disk.remount("ro")
    assert upkeep(process).temps_removed == 0
    disk.remount("rw")
    assert upkeep(process).temps_removed == 1


_HINTS = """
from tasks import hints
from workers.app import app
from workers.process import here

hints.once = lambda route: True
process = here(app.towline)
print(hints.hint(process, process.settings.route("in")))
process.close()
"""


def test_while_a_place_refuses_one_fetch_a_tick_asks_again(
    scripted: ScriptedServer, begin: Begin, tmp_path: Path
) -> None:
    """Eight batches are ready and one hint is sent, not eight that fail of the same."""
    scripted.files = {b"/%d" % number: b"x" for number in range(8)}
    process, route = begin(local=tmp_path / "in")
    poll(process, route)
    (tmp_path / "towline.toml").write_text(
        f"""
        [towline]
        broker = "redis://127.0.0.1:1"
        state_dir = "{tmp_path}/state"
        [endpoints.bank]
        host = "{scripted.host}"
        user = "acme"
        password = {{ env = "PASSWORD" }}
        [routes.in]
        endpoint = "bank"
        remote = "/"
        local = "{tmp_path}/in"
        batch = {{ files = 1 }}
        """
    )

    def hinted() -> str:
        told = os.environ | {"TOWLINE_CONFIG": str(tmp_path / "towline.toml"), "PASSWORD": "x"}
        command = [sys.executable, "-c", _HINTS]
        return subprocess.run(command, env=told, capture_output=True, text=True, check=True).stdout.strip()

    assert hinted() == "8"
    process.ledger.routes.refused("in", "full")
    assert hinted() == "1"


def test_a_partner_without_room_is_told_of_until_it_has_some(
    scripted: ScriptedServer, begin: Begin, tmp_path: Path
) -> None:
    """The other way round: the route says since when and in whose words, and goes on by itself."""
    out = tmp_path / "out"
    out.mkdir()
    (out / "a").write_bytes(b"not large")
    process, route = begin(direction="push", local=out, remote=b"/in")
    scripted.when("STOR", answer("452 No space left."))
    assert poll(process, route).ready == 1
    for _ in range(2):
        with pytest.raises(errors.StoreRefused) as told:
            fetch(process, route)
        assert told.value.args[1] == "bank:/in"
    state = process.ledger.routes.get("in")
    assert state.refused_at is not None
    assert not_landing(route, state).startswith("no file lands in bank:/in since ")
    assert f"{out}/a is not taken: STOR: 452 No space left.; the server's owner has to make room; " in (
        not_landing(route, state)
    )
    assert not_landing(route, state).endswith("sending goes on by itself once that is over")
    assert attempts(process) == {0}
    scripted.forget("STOR")
    assert fetch(process, route).outcome.published == 1
    assert process.ledger.routes.get("in").refused_at is None
