"""A real folder, and a store on it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from workers.stores.local import LocalFolder


@pytest.fixture
def root(tmp_path: Path) -> Path:
    root = tmp_path / "in"
    root.mkdir()
    return root


@pytest.fixture
def store(root: Path) -> LocalFolder:
    return LocalFolder(root, route="statements")


@pytest.fixture
def descriptors() -> Iterator[None]:
    """As many descriptors after a test as before it."""
    before = len(list(Path("/proc/self/fd").iterdir()))
    yield
    assert len(list(Path("/proc/self/fd").iterdir())) == before
