"""SIGKILL at every named place, on every kind of route and in both databases, under a witness.

Workers are forked for some ticks of the clock each, on one machine. One dies at the place, the world moves on
meanwhile, and the next ones have a lease, by the ledger's clock, and two ticks to bring all to its end.
"""

from __future__ import annotations

import random
import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy.engine import make_url

from tests.faults.crash_scene import BODIES, PUSHES, Reach, Scene
from tests.faults.nursery import Nursery
from tests.servers.certificates import Certificates
from tests.servers.kinds import KINDS
from tests.servers.postgres import Databases
from tests.servers.server import FtpServer
from workers.crashpoints import NAMES
from workers.ledger import Ledger

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
    "lease-renewed": Reach(),
    "temp-made": Reach(passes=5),
    "receiving": Reach(passes=4),
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

PUSH_AT_SOURCE = ("push-delete", "push-move")

OF_A_PUSH = {
    "permit-taken": Reach(kinds=PUSHES),
    "listed": Reach(kinds=PUSHES),
    "took-over": Reach(kinds=PUSHES, after=("sent:2",)),
    "claimed": Reach(kinds=PUSHES),
    "sending": Reach(kinds=PUSHES, passes=4),
    "sent": Reach(kinds=PUSHES, passes=5),
    "intended": Reach(kinds=PUSHES),
    "renamed": Reach(kinds=PUSHES, passes=5),
    "claimed, and again": Reach(kinds=PUSHES, after=("renamed:2",)),
    "row-written": Reach(kinds=PUSHES),
    "published": Reach(kinds=PUSHES),
    "announced": Reach(kinds=PUSHES),
    "source-asked": Reach(kinds=PUSH_AT_SOURCE),
    "source-removed": Reach(kinds=PUSH_AT_SOURCE, passes=5),
    "source-recorded": Reach(kinds=PUSH_AT_SOURCE),
}
"""What a push shares with a pull is walked once more where the line has a part in it."""

CASES = [
    (kind, name, name.partition(",")[0], reach)
    for name, reach in [*PLACES.items(), *TWICE.items(), *OF_A_PUSH.items()]
    for kind in reach.kinds
]
SAMPLE = "move"
"""The kind of route that has every place on its way; the others, and PostgreSQL, take their time."""


def test_every_place_is_walked() -> None:
    """But for both ends of a task, which need Celery's workers (tests/system/test_task_crashes.py)."""
    assert NAMES - PLACES.keys() - OF_A_PUSH.keys() == {"task-begun", "task-ended"}
    assert len(PLACES) >= 25


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
        scene.dies(f"{place}:{drawn}" if reach.passes > 1 else place)
        scene.moves_on()
        scene.recovers()
        scene.judge()
