"""A worker that freezes past its lease and thaws, while another has its files: nobody sees them twice."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from tests.servers.server import FtpServer
from tests.witness import books
from tests.witness.verdict import verdict
from tests.witness.watcher import Folders, Watcher
from tests.witness.writer import Journal, Writer
from workers import rounds
from workers.process import Process
from workers.session import Tally
from workers.settings import Settings
from workers.stores.local import LocalFolder
from workers.stores.temp import Temp

ROUTE = "statements"
LEASE_S = 20.0


class Later:
    """The clocks of this process, which a test puts forward.

    A lease is longer than a machine holds anybody up, and over when the test says so.
    """

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        self._ahead_s = 0.0
        for name in ("time", "monotonic"):
            patch.setattr(time, name, self._later(getattr(time, name)))

    def by(self, seconds: float) -> None:
        """So much time goes by."""
        self._ahead_s += seconds

    def _later(self, clock: Callable[[], float]) -> Callable[[], float]:
        return lambda: clock() + self._ahead_s


@pytest.fixture
def later(monkeypatch: pytest.MonkeyPatch) -> Later:
    return Later(monkeypatch)


class Scene:
    """A partner's folder, workers that fetch from it, and a witness of all that has a final name."""

    def __init__(self, server: FtpServer, folder: Path) -> None:
        self.server = server
        self._folder = folder
        self._opened = ExitStack()
        self.journal = Journal()
        self.folders = Folders(ROUTE, server.root / "out", folder / "in", server.root / "archive")
        self.writer = Writer(ROUTE, self.folders.source, self.journal)
        (folder / "desk").mkdir()
        self.watcher = self._opened.enter_context(Watcher(folder / "desk", self.folders))

    def worker(self) -> Process:
        """One more process, as far as the ledger can tell."""
        endpoint = {
            "name": "bank",
            "host": self.server.host,
            "port": self.server.port,
            "user": self.server.user,
            "password": self.server.password,
            "ca_file": self.server.ca_file,
        }
        route = {
            "name": ROUTE,
            "endpoint": "bank",
            "remote": b"/out",
            "local": self.folders.target,
            "every": 600.0,
            "settle": 0.0,
            "after": "move:/archive",
        }
        process = Process(
            Settings.model_validate(
                {
                    "path": self._folder / "towline.toml",
                    "state_dir": self._folder / "state",
                    "lease": LEASE_S,
                    "endpoints": {"bank": endpoint},
                    "routes": {ROUTE: route},
                }
            )
        )
        self._opened.callback(process.close)
        return process

    def fetch(self, process: Process) -> int:
        """How many files a fetch of this worker has published."""
        done = rounds.fetch(process, process.settings.route(ROUTE), Tally())
        assert isinstance(done, rounds.Fetched)
        return done.outcome.published

    def judged(self, process: Process) -> str:
        """What the witness says."""
        temps = books.orphans(process.ledger, ROUTE, self.folders.target)
        return str(verdict(self.journal, self.watcher, books.published(process.ledger, ROUTE), temps))

    def close(self) -> None:
        self._opened.close()


@pytest.fixture
def scene(start_server: Callable[..., FtpServer], tmp_path: Path) -> Iterator[Scene]:
    scene = Scene(start_server("pure-ftpd"), tmp_path)
    yield scene
    scene.close()


def test_a_worker_that_froze_while_it_claimed_knows_that_its_lease_is_over(
    scene: Scene, later: Later, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its claims are committed; it learns of them when they are another's, and begins with none."""
    slow, quick = scene.worker(), scene.worker()
    scene.writer.put("a.xml", 20_000)
    rounds.poll(slow, slow.settings.route(ROUTE), Tally())
    claim, open_temp = slow.ledger.claims.claim, LocalFolder.open_temp
    published: list[int] = []

    def frozen(*told: Any, **how: Any) -> Any:
        claims = claim(*told, **how)
        later.by(LEASE_S)
        return claims

    def overtaken(store: LocalFolder, *told: Any, **how: Any) -> Any:
        temp = open_temp(store, *told, **how)
        if not published:
            published.append(0)
            published.append(scene.fetch(quick))
        return temp

    monkeypatch.setattr(slow.ledger.claims, "claim", frozen)
    monkeypatch.setattr(LocalFolder, "open_temp", overtaken)
    assert scene.fetch(slow) == 0
    assert not published, "a temp was made under a claim whose lease was over"
    assert scene.fetch(quick) == 1
    assert scene.judged(quick) == "clean"


@pytest.mark.parametrize("doing", ["write", pytest.param("dress", marks=pytest.mark.long)])
def test_a_worker_that_thaws_does_nothing_to_what_another_has_published(
    scene: Scene, later: Later, monkeypatch: pytest.MonkeyPatch, doing: str
) -> None:
    """It froze a moment before it wrote; what was its temp has a final name by then, and stays as it is."""
    slow, quick = scene.worker(), scene.worker()
    scene.writer.put("a.xml", 20_000)
    rounds.poll(slow, slow.settings.route(ROUTE), Tally())
    slow.janitor.close()  # frozen like the rest of its process
    act = getattr(Temp, doing)
    facts: list[os.stat_result] = []

    def frozen(temp: Temp, *told: Any) -> None:
        monkeypatch.setattr(Temp, doing, act)
        later.by(LEASE_S)
        assert scene.fetch(quick) == 1
        facts.append((scene.folders.target / "a.xml").stat())
        act(temp, *told)

    monkeypatch.setattr(Temp, doing, frozen)
    assert scene.fetch(slow) == 0
    assert scene.judged(quick) == "clean"
    after = (scene.folders.target / "a.xml").stat()
    assert [(one.st_ino, one.st_ctime_ns) for one in facts] == [(after.st_ino, after.st_ctime_ns)]
