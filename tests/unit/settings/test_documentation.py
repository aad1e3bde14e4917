"""docs/configuration.md against the program, in both directions."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel

from tests.unit.settings.conftest import Load
from workers.settings import Endpoint, Route, Settings, check_time_budget, config_file, load

REPOSITORY = Path(__file__).parents[3]
LISTING = re.search(
    r"^```toml\n(.*?)^```$", (REPOSITORY / "docs" / "configuration.md").read_text(), re.M | re.S
)
EXAMPLE = re.compile(r"# e\.g\. (\w+ = .*)")
MODELS: dict[str, type[BaseModel]] = {
    "towline": Settings,
    "endpoints.bank": Endpoint,
    "routes.statements": Route,
}
# Examples that stand for something only together with other lines.
TOGETHER = {
    "active_ports": {"data_mode": "active"},
    "client_cert": {"client_key": "acme.key"},
    "client_key": {"client_cert": "acme.pem"},
}


def _listed() -> dict[str, tuple[dict[str, Any], dict[str, Any]]]:
    """Of each table: the keys given with their defaults, and the keys given with examples."""
    assert LISTING is not None
    tables: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {}
    for part in re.split(r"^\[(?=[a-z])", LISTING[1], flags=re.M)[1:]:
        name, _, body = part.partition("]\n")
        examples = "\n".join(EXAMPLE.findall(body))
        tables[name] = (tomllib.loads(body), tomllib.loads(examples))
    return tables


LISTED = _listed()
DEFAULTS = [(table, key, value) for table, (defaults, _) in LISTED.items() for key, value in defaults.items()]
EXAMPLES = [(table, key, value) for table, (_, examples) in LISTED.items() for key, value in examples.items()]


def _toml(value: Any) -> str:
    if isinstance(value, dict):
        return "{ " + ", ".join(f"{key} = {_toml(inner)}" for key, inner in value.items()) + " }"
    if isinstance(value, list):
        return "[" + ", ".join(map(_toml, value)) + "]"
    return str(value).lower() if isinstance(value, bool) else repr(value)


def _with(loaded: Load, table: str, lines: dict[str, Any]) -> BaseModel:
    """The model of a table that holds its required keys and these lines, and the other tables bare."""
    text = ""
    for name, model in MODELS.items():
        required = {key for key, field in model.model_fields.items() if field.is_required()}
        keys = {
            key: value for key, value in LISTED[name][1].items() if key in required - {"ledger", "state_dir"}
        }
        keys |= lines if name == table else {}
        text += f"[{name}]\n" + "".join(f"{key} = {_toml(value)}\n" for key, value in keys.items())
    settings = loaded(text=text, XDG_STATE_HOME="/state")
    towline: dict[str, BaseModel] = {"towline": settings}
    return (
        towline
        | {"endpoints.bank": settings.endpoints["bank"], "routes.statements": settings.routes["statements"]}
    )[table]


@pytest.fixture(autouse=True)
def _certificates(tmp_path: Path) -> None:
    for name in ("bank-ca.pem", "acme.pem", "acme.key"):
        (tmp_path / name).touch()


@pytest.mark.parametrize("table", MODELS)
def test_every_key_is_listed_and_every_listed_key_exists(table: str) -> None:
    """No key is secret, and none is made up; inner tables too."""
    defaults, examples = LISTED[table]
    assert defaults.keys() | examples.keys() == config_file.keys(MODELS[table])
    assert not defaults.keys() & examples.keys()
    for key, value in (defaults | examples).items():
        if isinstance(value, dict) and key != "password":
            assert value.keys() == config_file.keys(MODELS[table], key)


@pytest.mark.parametrize(("table", "key", "value"), DEFAULTS)
def test_a_default_is_what_leaving_it_out_means(loaded: Load, table: str, key: str, value: Any) -> None:
    """Writing a listed default out changes nothing."""
    assert _with(loaded, table, {key: value}) == _with(loaded, table, {})


@pytest.mark.parametrize(("table", "key", "value"), EXAMPLES)
def test_an_example_can_be_used_and_is_no_default(loaded: Load, table: str, key: str, value: Any) -> None:
    """Each example line is accepted; without it the key is required, or empty, or follows from state_dir."""
    written = getattr(_with(loaded, table, {key: value, **TOGETHER.get(key, {})}), key)
    field = MODELS[table].model_fields[key]
    assert written is not None
    assert field.is_required() or field.default in (None, ())
    if not field.is_required() or key in ("ledger", "state_dir"):
        assert getattr(_with(loaded, table, {}), key) != written


@pytest.mark.parametrize("path", ["docs/configuration.md"])
def test_the_contracts_words_are_in_the_page(path: str) -> None:
    """Where the file is found, and how it is overridden."""
    page = (REPOSITORY / path).read_text()
    for word in ("--config", "TOWLINE_CONFIG", "./towline.toml", "/etc/towline/towline.toml"):
        assert word in page


def test_the_example_to_start_from_is_a_configuration_that_starts() -> None:
    """deploy/towline.example.toml loads, and its time budget holds."""
    settings = load(REPOSITORY / "deploy" / "towline.example.toml", {})
    check_time_budget(settings)
    assert settings.endpoint("bank").port == 990
    assert set(settings.routes) == {"statements", "advices"}
