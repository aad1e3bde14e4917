"""`max_sessions` is the fleet's: connections counted before the server, never in the ledger."""

from __future__ import annotations

import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.servers.command import Site
from tests.servers.fleet import Member
from tests.servers.server import FtpServer
from tests.servers.turnstile import Turnstile
from tests.waiting import wait_until
from workers import permit, settings
from workers.errors import EndpointBusy
from workers.ftps.connection import Connection
from workers.process import Process
from workers.session import Session, Tally

StartServer = Callable[..., FtpServer]
Scene = Callable[..., tuple[Site, Turnstile, FtpServer]]


@pytest.fixture(autouse=True)
def _password(monkeypatch: pytest.MonkeyPatch) -> None:
    """For the holders in this process."""
    monkeypatch.setenv("BANK_PASSWORD", "correct-horse-7")


@contextmanager
def holder(site: Site) -> Iterator[tuple[Process, Session]]:
    """A process's holder in this process: an owner of its own, with a janitor."""
    process = Process(settings.load(site.config))
    try:
        yield process, process.session("bank")
    finally:
        process.close()


def use(session: Session) -> None:
    """One operation."""
    session.run(Connection.noop, name="noop", tally=Tally())


def frozen_between_writes(member: Member, site: Site) -> bool:
    """Freeze it; where SQLite's lock would be frozen with it, let it go again."""
    member.freeze()
    with closing(sqlite3.connect(site.folder / "state" / "ledger.sqlite3", timeout=1.0)) as trial:
        try:
            trial.execute("BEGIN IMMEDIATE")
        except sqlite3.OperationalError:
            member.thaw()
            return False
    return True


@pytest.fixture
def scene(start_server: StartServer, tmp_path: Path) -> Iterator[Scene]:
    """Makes a site whose lines all pass a turnstile; keys are the endpoint's."""
    with ExitStack() as doors:

        def make(**endpoint: Any) -> tuple[Site, Turnstile, FtpServer]:
            towline = endpoint.pop("towline", {})
            server = start_server("vsftpd")
            door = doors.enter_context(Turnstile(server.host, server.port))
            site = Site(tmp_path, server, endpoint={"port": door.port} | endpoint, towline=towline)
            site.put("a.xml")
            return site, door, server

        yield make


@pytest.mark.parametrize("most", [1, 2])
def test_four_processes_never_have_more_lines_than_allowed_and_none_starves(scene: Scene, most: int) -> None:
    """All of them work without a pause, so every line changes hands all the time."""
    site, door, _ = scene(max_sessions=most)
    with ExitStack() as fleet:
        members = [fleet.enter_context(Member(site, patience_s=60.0)) for _ in range(4)]
        for member in members:
            member.begin()
        wait_until(
            lambda: all(member.said["done"] >= 3 for member in members) and door.came >= 8,
            120,
            what="all have their turns, and lines change hands",
        )
        for member in members:
            member.end()
        assert [(member.said["busy"], member.said["lost"]) for member in members] == [(0, 0)] * 4
    assert door.most == most


def test_who_gives_up_waiting_is_next_when_it_comes_back(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The holder asks again at once, and gets nothing before who waited in vain has had its turn."""
    site, door, _ = scene(max_sessions=1)
    monkeypatch.setattr(permit, "KEPT_S", 60.0)
    monkeypatch.setattr(permit, "PLACE_S", 120.0)
    with holder(site) as (_, greedy), holder(site) as (_, patient):
        with greedy.reserved(), monkeypatch.context() as quick:
            use(greedy)
            quick.setattr(permit, "PATIENCE_S", 0.2)
            with pytest.raises(EndpointBusy):
                use(patient)
        monkeypatch.setattr(permit, "PATIENCE_S", 60.0)
        again = threading.Thread(target=use, args=(greedy,))
        again.start()
        with patient.reserved():
            use(patient)
            assert greedy.counters.builds.total() == 1, "it stands behind"
        again.join(60)
        assert greedy.counters.builds.total() == 2
        assert patient.counters.builds.total() == 1
    assert door.most == 1


def test_who_does_not_come_back_holds_nobody_up_for_long(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A free line is kept for it for a moment; one whose task is done by others leaves at once."""
    site, _, _ = scene(max_sessions=1)
    monkeypatch.setattr(permit, "PATIENCE_S", 0.2)
    monkeypatch.setattr(permit, "KEPT_S", 0.5)
    with holder(site) as (_, first), holder(site) as (_, gone):
        with first.reserved():
            use(first)
            with pytest.raises(EndpointBusy):
                use(gone)
        began = time.monotonic()
        use(first)
        assert time.monotonic() - began > 0.5, "kept for who waited"
        with first.reserved():
            use(first)
            with pytest.raises(EndpointBusy):
                use(gone)
            gone.permit.forgo()
            assert not first.permit.wanted
        builds = first.counters.builds.total()
        use(first)
        assert first.counters.builds.total() == builds, "the line was kept, since nobody waits"


def test_an_idle_line_is_given_up_soon_where_somebody_waits(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And built anew when its owner needs it again. Nobody waits: it is kept."""
    monkeypatch.setattr(permit, "PATIENCE_S", 60.0)
    site, door, server = scene(max_sessions=1)
    with holder(site) as (_, first), holder(site) as (_, second):
        use(first)
        use(first)
        time.sleep(1.2)
        assert door.now() == 1, "kept while nobody waits"
        with second.reserved():
            use(second)
        use(first)
        assert (first.counters.reconnects, second.counters.reconnects) == (1, 0)
        assert door.most == 1
    wait_until(lambda: server.logins() == 3, what="three lines in all")


def test_a_line_is_closed_before_its_permit_is_free(
    start_server: StartServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whether it is given up for others or at the end: the other order would be one line too many."""
    monkeypatch.setattr(permit, "PATIENCE_S", 60.0)
    server = start_server("vsftpd")
    site = Site(tmp_path, server, endpoint={"max_sessions": 1})
    with holder(site) as (process, first), holder(site) as (_, second):
        known: list[int] = []
        close = Connection.close

        def watched(line: Connection) -> None:
            close(line)
            known.append(len(process.ledger.permits.lines()))

        monkeypatch.setattr(Connection, "close", watched)
        use(first)
        with second.reserved():
            assert known == [1]
            assert process.ledger.permits.lines() == []
            use(second)
        second.close()
        assert known == [1, 1]
        assert process.ledger.permits.lines() == []


def test_who_finds_no_line_in_time_ends_as_busy_and_holds_nothing(
    start_server: StartServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The tasks say so in their result, the command with exit code 3; afterwards all goes on."""
    server = start_server("vsftpd")
    site = Site(tmp_path, server, endpoint={"max_sessions": 1})
    site.put("a.xml")
    with holder(site) as (_, first), holder(site) as (_, second):
        with first.reserved():
            use(first)
            with monkeypatch.context() as quick:
                quick.setattr(permit, "PATIENCE_S", 0.2)
                with pytest.raises(EndpointBusy) as told:
                    use(second)
            assert told.value.args[:2] == ("bank", 1)
            listed = site.towline("ls", "bank", "/out")
            assert (listed.returncode, listed.stdout) == (3, "")
            assert "max_sessions" in listed.stderr
            ran = site.towline("run", "statements")
            assert ran.returncode == 3, ran.stderr
            assert not site.landed.exists() or not list(site.landed.iterdir())
        second.permit.forgo()
        # The idle line is given up within a second; held up for longer than the command waits, a try later.
        wait_until(lambda: site.towline("run", "statements").returncode == 0, what="a round goes well")
        assert [file.name for file in site.landed.iterdir()] == ["a.xml"]


def test_a_killed_holders_permit_is_free_at_once_and_a_frozen_ones_with_its_lease(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The frozen one, thawed, finds its permit gone: it closes its line before it asks for another."""
    monkeypatch.setattr(permit, "PATIENCE_S", 60.0)
    site, door, _ = scene(max_sessions=1, towline={"lease": "10m"})
    with holder(site) as (process, session), ExitStack() as members:
        killed = members.enter_context(Member(site))
        killed.begin()
        wait_until(lambda: killed.said["done"] > 0 and door.now() == 1, what="its line")
        killed.process.kill()
        killed.process.wait()  # the kernel closes its files in turn: its lock is free before its line ends
        use(session)
        assert door.most == 1
        session.close()

        site.config.write_text(site.config.read_text().replace('"10m"', '"3s"'))
        frozen = members.enter_context(Member(site))
        frozen.begin()
        wait_until(process.ledger.permits.lines, 60, what="its line")
        wait_until(lambda: frozen_between_writes(frozen, site), what="it stands still, and not as it writes")
        use(session)
        assert door.most == 2, "the frozen holder's line is there, and counts no more"
        done = frozen.said["done"]
        frozen.thaw()
        wait_until(lambda: frozen.said["done"] > done + 1, 60, what="it works again")
        frozen.end()
        assert door.most == 2, "the thawed one has closed its line before it asked for another"
