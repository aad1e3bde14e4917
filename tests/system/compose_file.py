"""Reads the compose file, as far as it says what runs with which environment."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from tests.system.unit_files import environment_file

DEPLOY = Path(__file__).resolve().parents[2] / "deploy"


class Service:
    """One service. `described` is what stands in the file, anchors and merges resolved."""

    def __init__(self, name: str, described: dict[str, Any]) -> None:
        self.name = name
        self.described = described

    @property
    def is_ours(self) -> bool:
        """Whether it runs our image."""
        return "build" in self.described

    def command(self) -> list[str]:
        """Its program and arguments; `$$` is compose's way of writing `$`."""
        command = self.described["command"]
        assert isinstance(command, list), f"{self.name}: a command in one string would be split again"
        return [_plain(word) for word in command]

    def health_check(self) -> list[str]:
        """The command that tells whether it is healthy."""
        how, *words = self.described["healthcheck"]["test"]
        words = [_plain(word) for word in words]
        return words if how == "CMD" else ["/bin/sh", "-c", *words]

    def environment(self) -> dict[str, str]:
        """`env_file` (the example beside it, which the user copies), and over it `environment`."""
        found: dict[str, str] = {}
        if file := self.described.get("env_file"):
            found.update(environment_file((DEPLOY / example_of(file)).read_text()))
        found.update(self.described.get("environment", {}))
        return found


def services() -> dict[str, Service]:
    """All services by name."""
    document = yaml.safe_load((DEPLOY / "compose.yaml").read_text())
    return {name: Service(name, described) for name, described in document["services"].items()}


def example_of(file: str) -> str:
    """What the user copies to make that file: `flower.env` → `flower.example.env`."""
    stem, ending = Path(file).name.rsplit(".", 1)
    return f"{stem}.example.{ending}"


def _plain(word: str) -> str:
    assert "$" not in word.replace("$$", ""), f"compose would expand {word!r}"
    return word.replace("$$", "$")
