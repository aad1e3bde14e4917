"""A route, its partner and its witness; workers that are killed at a place, and others that recover.

The same for both directions: what is fetched comes from the server's folder, what is sent goes into it.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.faults.fetching_process import Work
from tests.faults.nursery import Nursery
from tests.servers.server import FtpServer
from tests.witness import books
from tests.witness.verdict import verdict
from tests.witness.watcher import Folders, Watcher
from tests.witness.writer import Journal, Writer
from workers.ledger import Ledger
from workers.settings import Settings

ROUTE = "statements"
LEASE_S = 9.0
"""Longer than a busy machine holds anybody up, and over before a file that was charged is due again."""
BODIES = {"a": 2_200_000, "b.xml": 2_000, "c": 40_000, "d": 500, "e": 1_000}
"""The files that are there at first, by the bytes of their bodies; the first is four blocks and a rest."""

PULLS = ("keep", "delete", "move")
PUSHES = ("push-keep", "push-delete", "push-move")
"""Kinds of routes, by what becomes of the source."""


@dataclass(frozen=True, slots=True)
class Reach:
    """What brings a worker to a place: deaths of others before it, keys of the route, what the world is like.

    passes: how often a worker may come by before it dies there; one of these is drawn.
    """

    after: tuple[str, ...] = ()
    route: Mapping[str, Any] = field(default_factory=dict)
    kinds: tuple[str, ...] = PULLS
    passes: int = 1
    small_chunks: bool = False
    two_steps: bool = False


class Scene:
    """A folder with its files, a route that takes them to another, and the witness."""

    def __init__(
        self, folder: Path, server: FtpServer, nursery: Nursery, ledger_url: str, kind: str, reach: Reach
    ) -> None:
        name = folder.name
        there = server.root / name
        there.mkdir()
        direction, _, after = kind.rpartition("-")
        is_push = direction == "push"
        here, partner = (there, folder) if is_push else (folder, there)
        self.folders = Folders(ROUTE, partner / "out", here / "in", partner / "archive")
        self.journal = Journal()
        self.writer = Writer(ROUTE, self.folders.source, self.journal)
        (folder / "desk").mkdir()
        (folder / "messages").mkdir()
        self.watcher = Watcher(folder / "desk", self.folders)
        self._marked = "done_file" in reach.route
        self._nursery = nursery
        self._reach = reach
        self._messages = folder / "messages"
        self.state_dir = folder / "state"
        route = {
            "name": ROUTE,
            "endpoint": "bank",
            "direction": "push" if is_push else "pull",
            "remote": f"/{name}/{'in' if is_push else 'out'}".encode(),
            "local": self.folders.source if is_push else self.folders.target,
            "settle": 0.0,
            "after": after if after != "move" else f"move:{folder if is_push else '/' + name}/archive",
            "then": {"task": "billing.ingest", "queue": "billing"},
        }
        endpoint = {
            "name": "bank",
            "host": server.host,
            "port": server.port,
            "user": server.user,
            "password": server.password,
            "tls": server.tls,
            "ca_file": server.ca_file,
            "max_sessions": 1,  # so that the dead hold up the living, unless their permits are freed
        }
        self._settings: dict[str, Any] = {
            "path": folder / "towline.toml",
            "state_dir": self.state_dir,
            "ledger": ledger_url,
            "routes": {ROUTE: route | dict(reach.route)},
            "endpoints": {"bank": endpoint},
        }

    # -- what happens

    def put(self, name: str, body: int) -> None:
        """The partner delivers."""
        self.writer.put(name, body)
        self._mark(name)

    def dies(self, aim: str) -> None:
        """A worker comes, and is killed at this place."""
        self._nursery.dies_of(self._work(aim=aim))

    def moves_on(self) -> None:
        """The partner goes on: a file is replaced, one has grown, one is gone, one has a new name."""
        there = self.writer.names()
        self.put("b.xml", 3_000)
        if "c" in there:
            self.writer.grow("c", 5_000)
            self._mark("c")
        self.writer.remove("d")
        if self.writer.rename("e", "f"):
            self._mark("f")
        self.put("g", 700)

    def _mark(self, name: str) -> None:
        if self._marked:
            (self.folders.source / f"{name}.done").touch()

    def recovers(self) -> None:
        """A lease and two ticks bring everything to its end; often the ticks alone are enough."""
        self._nursery.does(self._work())
        if self.unfinished():
            self._nursery.does(self._work(later_s=LEASE_S))

    def _work(self, *, aim: str = "", later_s: float = 0.0) -> Work:
        return Work(
            Settings.model_validate(self._settings | {"lease": LEASE_S}),
            self._messages,
            ticks=2,
            aim=aim,
            later_s=later_s,
            small_chunks=self._reach.small_chunks,
            two_steps=self._reach.two_steps,
        )

    # -- what came of it

    def unfinished(self) -> list[str]:
        """What is not at its end: files, and announcements of files."""
        told = self.told()
        with closing(self.ledger()) as ledger:
            rows = ledger.history.rows(ROUTE, limit=100)
            untold = [
                f"{row.path!r} not announced" for row in rows if row.sha256 and row.version_id not in told
            ]
            return books.unfinished(ledger, ROUTE) + untold

    def ledger(self) -> Ledger:
        """The ledger, opened once more."""
        return Ledger.open(self._settings["ledger"], state_dir=self.state_dir)

    def told(self) -> set[int]:
        """The versions of which a follow-on task was sent."""
        sent = [json.loads(file.read_text()) for file in self._messages.glob("*.msg")]
        bodies = [json.loads(base64.b64decode(message["body"])) for message in sent]
        return {kwargs["version"] for _, kwargs, _ in bodies}

    def judge(self) -> None:
        """Everything is finished, and the seven sets are empty."""
        assert self.unfinished() == []
        with closing(self.ledger()) as ledger:
            temps = books.orphans(ledger, ROUTE, self.folders.target)
            found = verdict(self.journal, self.watcher, books.published(ledger, ROUTE), temps)
        assert found.clean, str(found)
        there = {name for name in self.writer.names() if not name.endswith(".done")}
        if self._settings["routes"][ROUTE]["after"] != "keep":
            assert there == set()
