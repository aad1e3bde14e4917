"""A ledger of its own for every test."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.unit.ledger.scene import Clock, Other, Scene
from workers.ledger import Ledger


@pytest.fixture
def url(tmp_path: Path) -> str:
    """The ledger's database."""
    return f"sqlite:///{tmp_path}/ledger.sqlite3"


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
