"""A ledger of its own for every test."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import sqlalchemy

from tests.servers.postgres import Databases
from tests.unit.ledger.scene import Clock, Other, Scene
from workers.ledger import Ledger
from workers.ledger.migrate import HEAD
from workers.ledger.tables import metadata


@pytest.fixture(params=["sqlite", "postgresql"])
def kind(request: pytest.FixtureRequest) -> str:
    """The database below: every test of the ledger runs on both (`scene.ONLY_SQLITE` keeps it from that).

    `scene.SLOW_ON_POSTGRESQL` puts the second among the long tests.
    """
    return str(request.param)


@pytest.fixture
def home() -> Iterator[Path]:
    """A state_dir in memory, where there is such a thing: the tests commit thousands of times, with an
    fsync each."""
    memory = Path("/dev/shm")
    with tempfile.TemporaryDirectory(
        prefix="towline-", dir=memory if memory.is_dir() else None, ignore_cleanup_errors=True
    ) as folder:
        yield Path(folder)


@pytest.fixture(scope="session")
def made_ledger(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An empty ledger, to be copied: making one takes longer than most tests."""
    file = tmp_path_factory.mktemp("ledger") / "ledger.sqlite3"
    Ledger.open(f"sqlite:///{file}", state_dir=file.parent).close()
    return file


@pytest.fixture(scope="session")
def made_database(
    databases: Databases, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[str, Callable[[], None]]]:
    """The URL of a database with a ledger, and what empties it again, tables and sequences.

    One for all tests: to copy a database takes a hundred times as long as to empty this one.
    """
    url = databases.make()
    Ledger.open(url, state_dir=tmp_path_factory.mktemp("ledger")).close()
    tables = [table.name for table in metadata.sorted_tables if table.name != "meta"]
    emptying = [f"DELETE FROM {name}" for name in reversed(tables)]
    emptying.append(f"UPDATE alembic_version SET version_num = '{HEAD}'")
    emptying.append("SELECT setval(oid, 1, false) FROM pg_class WHERE relkind = 'S'")
    engine = sqlalchemy.create_engine(url, isolation_level="AUTOCOMMIT")

    def empty() -> None:
        with engine.connect() as connection:
            connection.exec_driver_sql("; ".join(emptying))

    yield url, empty
    engine.dispose()


@pytest.fixture
def url(kind: str, home: Path, request: pytest.FixtureRequest) -> str:
    """A fresh ledger's database: a SQLite file, or a database of the PostgreSQL that tests share."""
    # Asked for here, so that a run of SQLite's tests alone starts no server.
    if kind == "postgresql":
        url, empty = request.getfixturevalue("made_database")
        empty()
        return str(url)
    shutil.copy(request.getfixturevalue("made_ledger"), home)
    return f"sqlite:///{home}/ledger.sqlite3"


@pytest.fixture
def bare_url(kind: str, home: Path, request: pytest.FixtureRequest) -> str:
    """A database that holds no ledger yet."""
    if kind == "postgresql":
        databases: Databases = request.getfixturevalue("databases")
        return databases.make()
    return f"sqlite:///{home}/new/ledger.sqlite3"


@pytest.fixture
def clock() -> Clock:
    """The ledger's clock, in the test's hands."""
    return Clock()


@pytest.fixture
def scene(url: str, home: Path, clock: Clock) -> Iterator[Scene]:
    """One route in a fresh ledger whose clock stands still."""
    ledger = Ledger.open(url, state_dir=home, clock=clock)
    yield Scene(ledger, clock)
    ledger.close()


@pytest.fixture
def second(url: str, home: Path, clock: Clock) -> Iterator[Scene]:
    """The same ledger, opened once more: another owner, by the same clock."""
    ledger = Ledger.open(url, state_dir=home, clock=clock)
    yield Scene(ledger, clock)
    ledger.close()


@pytest.fixture
def live(url: str, home: Path) -> Iterator[Scene]:
    """The ledger by its own clock, for tests with other processes."""
    ledger = Ledger.open(url, state_dir=home)
    yield Scene(ledger, Clock())
    ledger.close()


@pytest.fixture
def other(url: str, home: Path) -> Iterator[Callable[[], Other]]:
    """Starts real processes with the same ledger; they end with the test."""
    started: list[Other] = []

    def start() -> Other:
        started.append(Other(url, home))
        return started[-1]

    yield start
    for process in started:
        process.__exit__(None, None, None)
