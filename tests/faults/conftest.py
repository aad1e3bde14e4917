"""What tests of faults share."""

from __future__ import annotations

import math
from collections.abc import Iterator

import pytest

from tests.faults.nursery import Nursery
from workers import batch


@pytest.fixture(autouse=True)
def _groups_are_full(monkeypatch: pytest.MonkeyPatch) -> None:
    """How many files are a group is not the machine's matter: none ends because its files took a while."""
    monkeypatch.setattr(batch, "GROUP_SECONDS", math.inf)


@pytest.fixture(scope="session")
def nursery(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Nursery]:
    """Forks workers that may be killed."""
    with Nursery(tmp_path_factory.mktemp("nursery")) as one:
        yield one
