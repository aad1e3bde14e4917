"""What tests of faults share."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.faults.nursery import Nursery


@pytest.fixture(scope="session")
def nursery(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Nursery]:
    """Forks workers that may be killed."""
    with Nursery(tmp_path_factory.mktemp("nursery")) as one:
        yield one
