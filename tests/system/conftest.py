"""An installation of Towline as its users have one."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.system.dockerfile import run_build_stage


@pytest.fixture(scope="session")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The programs of a fresh virtual environment: locked dependencies and our wheel, as in the image.

    `parents[2] / "src" / "wheels"` of it holds the wheels it was made from.
    """
    return run_build_stage(tmp_path_factory.mktemp("image"))
