"""`max_sessions` is the fleet's: connections counted at the server, never in the ledger."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Self

import pytest

from tests.servers.command import Site
from tests.servers.server import FtpServer
from tests.waiting import wait_until
from workers import settings
from workers.errors import EndpointBusy
from workers.ftps.connection import Connection
from workers.process import Process
from workers.session import Session, Tally

StartServer = Callable[..., FtpServer]
REPOSITORY = Path(__file__).parents[2]


class Census(threading.Thread):
    """Counts the established control connections of a server, as the kernel has them, all the while."""

    def __init__(self, server: FtpServer) -> None:
        super().__init__(daemon=True)
        self._port = f":{server.port:04X}"
        self._over = threading.Event()
        self.most = self.looks = 0

    def now(self) -> int:
        """How many there are now."""
        return len(self._lines())

    def run(self) -> None:
        before: set[str] = set()
        while not self._over.wait(0.002):
            lines = self._lines()
            # The kernel's table is no snapshot: a line that ends and one that begins while it is read may
            # both be in it. Those that are in two readings were there together.
            self.most = max(self.most, len(lines & before))
            before = lines
            self.looks += 1

    def _lines(self) -> set[str]:
        """The clients' ends of the server's lines that are ESTABLISHED (the format is in proc(5))."""
        with Path("/proc/net/tcp").open() as table:
            rows = map(str.split, table)
            return {row[2] for row in rows if row[1].endswith(self._port) and row[3] == "01"}

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self.join()


class Member:
    """A process of the fleet (permit_process.py)."""

    def __init__(self, site: Site, seconds: float) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-m", "tests.servers.permit_process", site.config, str(seconds)],
            cwd=REPOSITORY,
            env=os.environ | {"BANK_PASSWORD": site.password},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def ready(self) -> None:
        """Returns once it waits for `begin`."""
        assert self.process.stdout is not None
        assert self.process.stdout.readline() == "ready\n"

    def begin(self) -> None:
        """It works from now on."""
        assert self.process.stdin is not None
        self.process.stdin.write("go\n")
        self.process.stdin.flush()

    def result(self) -> list[int]:
        """How many tasks it did, how many ended as busy, how many lost their line half-way."""
        assert self.process.stdout is not None
        told: list[int] = json.loads(self.process.stdout.readline())
        return told

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.process.kill()
        self.process.wait()
        for pipe in (self.process.stdin, self.process.stdout):
            assert pipe is not None
            pipe.close()


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


@pytest.mark.parametrize("most", [1, 2])
def test_four_processes_never_have_more_lines_than_allowed_and_none_starves(
    start_server: StartServer, tmp_path: Path, most: int
) -> None:
    """All of them work without a pause, so every line changes hands all the time."""
    server = start_server("vsftpd")
    site = Site(tmp_path, server, endpoint={"max_sessions": most})
    site.put("a.xml")
    # A password that never worked is tried by one process at a time, which is another matter.
    assert site.towline("ls", "bank", "/out").returncode == 0
    with Census(server) as census, ExitStack() as fleet:
        members = [fleet.enter_context(Member(site, 10.0)) for _ in range(4)]
        for member in members:
            member.ready()
        for member in members:
            member.begin()
        results = [member.result() for member in members]
        assert census.most == most
        assert census.looks > 200
    assert min(done for done, _, _ in results) >= 3, results
    assert sum(busy for _, busy, _ in results) == 0, results
    assert sum(lost for _, _, lost in results) == 0, results
    assert server.logins() >= 8, "lines changed hands"


def test_an_idle_line_is_given_up_within_a_second_of_somebody_waiting(
    start_server: StartServer, tmp_path: Path
) -> None:
    """And built anew when its owner needs it again. Nobody waits: it is kept."""
    server = start_server("vsftpd")
    site = Site(tmp_path, server, endpoint={"max_sessions": 1})
    with Census(server) as census, holder(site) as (_, first), holder(site) as (_, second):
        use(first)
        use(first)
        time.sleep(1.2)
        assert census.now() == 1, "kept while nobody waits"
        began = time.monotonic()
        with second.reserved():
            assert time.monotonic() - began < 1.5
            use(second)
        use(first)
        assert (first.counters.reconnects, second.counters.reconnects) == (1, 0)
        assert census.most == 1
    wait_until(lambda: server.logins() == 3, what="three lines in all")


def test_a_line_is_closed_before_its_permit_is_free(
    start_server: StartServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whether it is given up for others or at the end: the other order would be one line too many."""
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
    start_server: StartServer, tmp_path: Path
) -> None:
    """The tasks say so in their result, the command with exit code 3; afterwards all goes on."""
    server = start_server("vsftpd")
    site = Site(tmp_path, server, endpoint={"max_sessions": 1})
    site.put("a.xml")
    with holder(site) as (_, first), holder(site) as (_, second):
        with first.reserved():
            use(first)
            with pytest.raises(EndpointBusy) as told, second.reserved():
                pass
            assert told.value.args[:2] == ("bank", 1)
            listed = site.towline("ls", "bank", "/out")
            assert (listed.returncode, listed.stdout) == (3, "")
            assert "max_sessions" in listed.stderr
            ran = site.towline("run", "statements")
            assert ran.returncode == 3, ran.stderr
            assert not site.landed.exists() or not list(site.landed.iterdir())
        wait_until(lambda: not first.permit.wanted, what="the queue is empty")
        ran = site.towline("run", "statements")
        assert ran.returncode == 0, ran.stderr
        assert [file.name for file in site.landed.iterdir()] == ["a.xml"]


# Long: the census looks now and then, and on a busy machine can miss a short line.
@pytest.mark.long
def test_a_killed_holders_permit_is_free_at_once_and_a_frozen_ones_with_its_lease(
    start_server: StartServer, tmp_path: Path
) -> None:
    """The frozen one, thawed, finds its permit gone: it closes its line before it asks for another."""
    server = start_server("vsftpd")
    site = Site(tmp_path, server, endpoint={"max_sessions": 1}, towline={"lease": "3s"})
    site.put("a.xml")
    with Census(server) as census, holder(site) as (process, session):
        with Member(site, 60.0) as member:
            member.ready()
            member.begin()
            wait_until(lambda: census.now() == 1, what="its line")
            member.process.kill()
            began = time.monotonic()
            use(session)
            assert time.monotonic() - began < 2.0, "a lease would have been three seconds"
            wait_until(lambda: census.now() == 1, what="its only line")
            assert census.most == 1
        session.close()
        with Member(site, 12.0) as member:
            member.ready()
            member.begin()
            # Not while it writes: SQLite's lock would be frozen with it.
            wait_until(process.ledger.permits.lines, what="its line")
            member.process.send_signal(signal.SIGSTOP)
            use(session)
            wait_until(lambda: census.most == 2, what="the frozen holder's line, which counts no more")
            member.process.send_signal(signal.SIGCONT)
            wait_until(lambda: census.now() == 1, what="the thawed one has closed its line")
            done, _, _ = member.result()
            assert done > 0
        assert census.most == 2
