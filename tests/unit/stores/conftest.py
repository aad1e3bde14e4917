"""A real folder, and a store on it."""

from __future__ import annotations

import contextlib
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
def descriptors(tmp_path: Path) -> Iterator[None]:
    """After the test nothing is open of its folder; what else this process has open may come and go."""
    yield
    assert [name for name in _open_files() if name.startswith(f"{tmp_path}/")] == []


def _open_files() -> Iterator[str]:
    for entry in Path("/proc/self/fd").iterdir():
        with contextlib.suppress(FileNotFoundError):  # closed meanwhile
            yield str(entry.readlink())
