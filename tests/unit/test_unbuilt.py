"""What this version cannot do yet is refused, not ignored."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from workers.errors import ConfigurationError
from workers.settings import Settings
from workers.settings.unbuilt import check_built

ENDPOINT: dict[str, Any] = {"host": "ftps.bank.example", "user": "acme", "password": "x"}


def settings(
    tmp_path: Path, *, route: dict[str, Any] | None = None, endpoint: dict[str, Any] | None = None
) -> Settings:
    of_route = {"endpoint": "bank", "remote": "/outgoing", "local": tmp_path / "in", "every": 600.0} | (
        route or {}
    )
    return Settings.model_validate(
        {
            "path": tmp_path / "towline.toml",
            "state_dir": tmp_path,
            "endpoints": {"bank": {"name": "bank"} | ENDPOINT | (endpoint or {})},
            "routes": {"statements": {"name": "statements"} | of_route},
        }
    )


def test_what_is_built_is_taken(tmp_path: Path) -> None:
    """The defaults ask for nothing that is missing."""
    check_built(settings(tmp_path))


@pytest.mark.parametrize(
    ("route", "endpoint", "key"),
    [
        ({"local": "s3://bucket/prefix"}, {}, "local"),
    ],
)
def test_what_is_not_built_is_refused_by_its_name(
    tmp_path: Path, route: dict[str, Any], endpoint: dict[str, Any], key: str
) -> None:
    """A key that were quietly ignored would be a promise broken."""
    with pytest.raises(ConfigurationError, match=f"{key}: this version cannot do that yet"):
        check_built(settings(tmp_path, route=route, endpoint=endpoint))
