"""What this installation cannot do is refused, not ignored."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from workers.errors import ConfigurationError
from workers.settings import Settings, unbuilt
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


def test_what_is_installed_is_taken(tmp_path: Path) -> None:
    """The defaults ask for nothing that is missing, nor does an object store where obstore is installed."""
    check_built(settings(tmp_path))
    check_built(settings(tmp_path, route={"local": "s3://bucket/prefix"}))


def test_an_object_store_without_obstore_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """At the start, and with what to install; not at the first file."""
    monkeypatch.setattr(unbuilt, "find_spec", lambda _name: None)
    with pytest.raises(ConfigurationError, match=r"s3://bucket/prefix .*towline\[object\]"):
        check_built(settings(tmp_path, route={"local": "s3://bucket/prefix"}))
