"""A configuration, written to a folder of its own and loaded with nothing but the given environment."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from workers.errors import ConfigurationError
from workers.settings import Settings, load

Load = Callable[..., Settings]
Refusal = Callable[..., ConfigurationError]

ENDPOINT = """
[endpoints.bank]
host = "ftps.bank.example"
user = "acme"
password = { env = "BANK_PASSWORD" }
"""

ROUTE = """
[routes.statements]
endpoint = "bank"
remote = "/outgoing"
local = "files"
"""


@pytest.fixture
def place(tmp_path: Path) -> Path:
    return tmp_path / "towline.toml"


@pytest.fixture
def loaded(place: Path) -> Load:
    """Loads what the three tables hold besides their required keys; `text` comes in place of all that."""

    def load_it(
        *, towline: str = "", endpoint: str = "", route: str = "", text: str | None = None, **environ: str
    ) -> Settings:
        place.write_text(
            text if text is not None else f"[towline]\n{towline}\n{ENDPOINT}\n{endpoint}\n{ROUTE}\n{route}\n"
        )
        return load(place, environ)

    return load_it


@pytest.fixture
def refused(loaded: Load) -> Refusal:
    """Loads what must be refused, and gives the refusal."""

    def refuse(**tables: str) -> ConfigurationError:
        with pytest.raises(ConfigurationError) as caught:
            loaded(**tables)
        return caught.value

    return refuse
