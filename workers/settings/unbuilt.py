"""What the configuration may say and this version cannot do yet. It refuses to start rather than ignore it.

A route that should delete and doesn't, a budget of lines that nobody keeps: quietly left out, each would be
a promise broken. A line leaves this table with the commit that builds what it names.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from workers.errors import ConfigurationError
from workers.settings import Route, Settings

_ROUTES: dict[str, Callable[[Route], bool]] = {
    "local": lambda route: not isinstance(route.local, Path),
}


def check_built(settings: Settings) -> None:
    """Raises ConfigurationError for the first key that asks for something this version cannot do."""
    for name, route in settings.routes.items():
        _refuse(f"[routes.{name}]", [key for key, asks in _ROUTES.items() if asks(route)])


def _refuse(table: str, keys: list[str]) -> None:
    if keys:
        what = f"{', '.join(keys)}: this version cannot do that yet"
        raise ConfigurationError(
            table, what, "leave it out, or at its default; CHANGELOG.md says what is built"
        )
