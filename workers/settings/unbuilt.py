"""What the configuration asks for and is not installed: it refuses to start rather than ignore it."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

from workers.errors import ConfigurationError
from workers.settings import Settings


def check_built(settings: Settings) -> None:
    """Raises ConfigurationError for a route into an object store where obstore is missing."""
    for name, route in settings.routes.items():
        if not isinstance(route.local, Path) and find_spec("obstore") is None:
            what = f"local: {route.local} is an object store, and obstore is not installed"
            raise ConfigurationError(f"[routes.{name}]", what, "pip install 'towline[object]'")
