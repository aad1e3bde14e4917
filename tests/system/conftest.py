"""An installation of Towline as its users have one."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.servers.postgres import Databases
from tests.system.dockerfile import run_build_stage


@pytest.fixture(scope="session")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The programs of a fresh virtual environment: locked dependencies and our wheel, as in the image.

    `parents[2] / "src" / "wheels"` of it holds the wheels it was made from.
    """
    return run_build_stage(tmp_path_factory.mktemp("image"))


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.long)])
def ledger(request: pytest.FixtureRequest) -> str | None:
    """A stack's ledger: in its own SQLite file (None), and in `make test-all` in PostgreSQL as well."""
    if request.param == "sqlite":
        return None
    databases: Databases = request.getfixturevalue("databases")
    return databases.make()
