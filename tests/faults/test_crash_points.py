"""SIGKILL at every named place, on every kind of route and in both databases, under a witness.

Workers are forked for some ticks of the clock each, on one machine and with a lease of a second. One dies at
the place, the world moves on meanwhile, and the next ones have a lease and two ticks to bring all to its end.
"""

from __future__ import annotations

import base64
import json
import random
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy.engine import make_url

from tests.faults.fetching_process import Work
from tests.faults.nursery import Nursery
from tests.servers.certificates import Certificates
from tests.servers.kinds import KINDS
from tests.servers.postgres import Databases
from tests.servers.server import FtpServer
from tests.witness import books
from tests.witness.verdict import verdict
from tests.witness.watcher import Folders, Watcher
from tests.witness.writer import Journal, Writer
from workers.crashpoints import NAMES
from workers.ledger import Ledger
from workers.settings import Settings

ROUTE = "statements"
LEASE_S = 1.0
BODIES = {"a": 300_000, "b.xml": 2_000, "c": 40_000, "d": 500, "e": 1_000}
"""The files that are there at first, by the bytes of their bodies; the first comes in several blocks."""

KINDS_OF_ROUTE = {"keep": "keep", "delete": "delete", "move": "move:/{}/archive"}
"""What becomes of the source, by the kind's name; {}: the folder of the test on the server."""


@dataclass(frozen=True, slots=True)
class Reach:
    """What brings a worker to a place: deaths of others before it, keys of the route, what the world is like.

    passes: how often a worker may come by before it dies there; one of these is drawn.
    """

    after: tuple[str, ...] = ()
    route: Mapping[str, Any] = field(default_factory=dict)
    kinds: tuple[str, ...] = tuple(KINDS_OF_ROUTE)
    passes: int = 1
    lease_s: float = LEASE_S
    small_chunks: bool = False
    two_steps: bool = False


AT_SOURCE = ("delete", "move")

PLACES = {
    "permit-taken": Reach(),
    "polling": Reach(),
    "listed": Reach(),
    "applied-chunk": Reach(small_chunks=True),
    "leases-ended": Reach(after=("received",)),
    "settling": Reach(after=("intended",), passes=5),
    "settle-renamed": Reach(after=("renamed:2",), passes=5),
    "settled": Reach(after=("intended",), passes=5),
    "adopted": Reach(after=("received:4",), passes=3),
    "took-over": Reach(after=("receiving",)),
    "claimed": Reach(),
    # Renewed every third of it, the first time while the first file is under way.
    "lease-renewed": Reach(lease_s=0.01),
    "temp-made": Reach(passes=5),
    "receiving": Reach(passes=6),
    "received": Reach(passes=5),
    "asked-again": Reach(),
    "synced": Reach(),
    "names-synced": Reach(),
    "intended": Reach(),
    "linked": Reach(route={"on_exists": "version"}, two_steps=True, passes=5),
    "renamed": Reach(passes=5),
    "folder-synced": Reach(),
    "row-written": Reach(),
    "published": Reach(),
    "announcing": Reach(),
    "announced": Reach(),
    "announcement-recorded": Reach(),
    "sources-taken": Reach(kinds=AT_SOURCE),
    "source-asked": Reach(kinds=AT_SOURCE),
    "marker-removed": Reach(kinds=AT_SOURCE, route={"done_file": "{name}.done"}, passes=5),
    "source-removed": Reach(kinds=AT_SOURCE, passes=5),
    "source-recorded": Reach(kinds=AT_SOURCE),
}

TWICE = {
    "settling, and again": Reach(after=("renamed:3", "settling:2"), passes=2),
    "adopted, and again": Reach(after=("received:5", "adopted:2"), passes=2),
}
"""The claimant that clears up after a dead one dies of it as well, and so does the next."""

CASES = [
    (kind, name, name.partition(",")[0], reach)
    for name, reach in (PLACES | TWICE).items()
    for kind in reach.kinds
]
SAMPLE = "move"
"""The kind of route that has every place on its way; the others, and PostgreSQL, take their time."""


def test_every_place_of_a_pull_is_walked() -> None:
    """Both ends of a task need Celery's workers (tests/system), and a push has tests of its own."""
    assert NAMES - PLACES.keys() == {"task-begun", "task-ended", "sending", "sent"}
    assert len(PLACES) >= 25


class Scene:
    """A folder on the server with its files, a route that fetches them, and the witness."""

    def __init__(
        self, folder: Path, server: FtpServer, nursery: Nursery, ledger_url: str, kind: str, reach: Reach
    ) -> None:
        name = folder.name
        there = server.root / name
        there.mkdir()
        self.folders = Folders(ROUTE, there / "out", folder / "in", there / "archive")
        self.journal = Journal()
        self.writer = Writer(ROUTE, self.folders.source, self.journal)
        (folder / "desk").mkdir()
        (folder / "messages").mkdir()
        self.watcher = Watcher(folder / "desk", self.folders)
        self._marked = "done_file" in reach.route
        self._nursery = nursery
        self._reach = reach
        self._died_at = 0.0
        self._messages = folder / "messages"
        self.state_dir = folder / "state"
        route = {
            "name": ROUTE,
            "endpoint": "bank",
            "remote": f"/{name}/out".encode(),
            "local": self.folders.target,
            "settle": 0.0,
            "after": KINDS_OF_ROUTE[kind].format(name),
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

    def dies(self, aim: str, lease_s: float = LEASE_S) -> None:
        """A worker comes, and is killed at this place."""
        self._nursery.dies_of(self._work(lease_s, ticks=2, aim=aim))
        self._died_at = time.monotonic()

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
        self._nursery.does(self._work(LEASE_S, ticks=2))
        if self.unfinished():
            time.sleep(max(0.0, self._died_at + LEASE_S - time.monotonic()))
            self._nursery.does(self._work(LEASE_S, ticks=2))

    def _work(self, lease_s: float, *, ticks: int, aim: str = "") -> Work:
        return Work(
            Settings.model_validate(self._settings | {"lease": lease_s}),
            self._messages,
            ticks=ticks,
            aim=aim,
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


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory, certificates: Certificates) -> Iterator[FtpServer]:
    with KINDS["pyftpdlib"](tmp_path_factory.mktemp("server"), certificates) as one:
        yield one


@pytest.fixture(scope="module")
def empty_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A ledger to be copied: making one takes longer than a test."""
    file = tmp_path_factory.mktemp("ledger") / "ledger.sqlite3"
    Ledger.open(f"sqlite:///{file}", state_dir=file.parent).close()
    return file


@pytest.fixture(scope="module")
def empty_database(databases: Databases, tmp_path_factory: pytest.TempPathFactory) -> str:
    """The same in PostgreSQL, by its name."""
    url = databases.make()
    Ledger.open(url, state_dir=tmp_path_factory.mktemp("ledger")).close()
    return make_url(url).database or ""


@pytest.fixture
def home(tmp_path: Path) -> Iterator[Path]:
    """A folder in memory, where there is such a thing: what is synced here only has to outlive a process."""
    memory = Path("/dev/shm")
    with tempfile.TemporaryDirectory(
        prefix="towline-", dir=memory if memory.is_dir() else tmp_path, ignore_cleanup_errors=True
    ) as folder:
        yield Path(folder)


@pytest.fixture
def ledger_url(request: pytest.FixtureRequest, home: Path) -> Callable[[str], str]:
    """ledger_url("sqlite") → an empty ledger in a file, ledger_url("postgresql") → in a database."""

    def make(kind: str) -> str:
        if kind == "postgresql":
            databases: Databases = request.getfixturevalue("databases")
            return databases.make(request.getfixturevalue("empty_database"))
        (home / "state").mkdir()
        shutil.copy(request.getfixturevalue("empty_file"), home / "state")
        return f"sqlite:///{home}/state/ledger.sqlite3"

    return make


def _cases() -> Iterator[Any]:
    for database in ("sqlite", "postgresql"):
        for kind, name, place, reach in CASES:
            marks = () if (database, kind) == ("sqlite", SAMPLE) else (pytest.mark.long,)
            shown = f"{database}-{kind}-{name.replace(' ', '-')}"
            yield pytest.param(database, kind, place, reach, id=shown, marks=marks)


@pytest.mark.parametrize(("database", "kind", "place", "reach"), list(_cases()))
def test_a_worker_killed_anywhere_breaks_no_promise(
    server: FtpServer,
    nursery: Nursery,
    ledger_url: Callable[[str], str],
    home: Path,
    database: str,
    kind: str,
    place: str,
    reach: Reach,
) -> None:
    """Nothing lost, doubled, torn, stale, orphaned, removed too early or told without bytes; and all of it is
    over within a lease and two ticks."""
    scene = Scene(home, server, nursery, ledger_url(database), kind, reach)
    with scene.watcher:
        for name, body in BODIES.items():
            scene.put(name, body)
        for aim in reach.after:
            scene.dies(aim)
        drawn = random.Random(f"{kind} {place}").randint(1, reach.passes)
        scene.dies(f"{place}:{drawn}", reach.lease_s)
        scene.moves_on()
        scene.recovers()
        scene.judge()
