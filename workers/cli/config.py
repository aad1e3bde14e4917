"""`towline config show`: the configuration as it is meant, each value with the place it came from."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import click
from pydantic import BaseModel
from pydantic.fields import FieldInfo

from workers.cli import configuration
from workers.cli.output import json_option, print_json
from workers.names import printable
from workers.settings import Settings, config_file, values
from workers.settings.config_file import SECRET, header
from workers.settings.password import Password
from workers.settings.quantities import shown_duration, shown_size

DEFAULT = "default"
_WIDTH = 60  # beyond which a long value pushes its own comment out, and not those of the others


@dataclass(frozen=True, slots=True)
class Value:
    """One key: its value as the file would write it, never a secret, and where it came from."""

    key: str
    shown: str
    source: str


@click.group()
def config() -> None:
    """What is configured."""


@config.command()
@json_option
def show(as_json: bool) -> None:
    """Print the merged configuration, without secrets, each value with where it came from."""
    settings = configuration()
    tables = dict(described(settings, os.environ))
    if as_json:
        print_json(
            {
                "configuration": str(settings.path),
                "tables": {
                    name: {one.key: {"value": one.shown, "from": one.source} for one in found}
                    for name, found in tables.items()
                },
            }
        )
        return
    click.echo(f"# {settings.path}")
    for name, found in tables.items():
        click.echo(f"\n{name}")
        width = min(_WIDTH, max(len(f"{one.key} = {one.shown}") for one in found))
        for one in found:
            click.echo(f"{f'{one.key} = {one.shown}':<{width}}  # {one.source}")


def described(settings: Settings, environ: Mapping[str, str]) -> Iterator[tuple[str, list[Value]]]:
    """Each table by its header, its keys in the order of the documentation; without a value: no line."""
    _, document = config_file.read(settings.path, environ)
    told = {f"TOWLINE_{key.upper()}" for key in config_file.keys(Settings)}
    from_environment = {name: name for name in told if environ.get(name)}
    yield "[towline]", _table(settings, document.get("towline", {}), from_environment)
    for kind, models in (("endpoints", settings.endpoints), ("routes", settings.routes)):
        for name, model in models.items():
            yield header(kind, name), _table(model, document[kind][name], {})


def _table(model: BaseModel, written: Mapping[str, Any], variables: Mapping[str, str]) -> list[Value]:
    known = config_file.keys(type(model))
    return [
        Value(key, _shown(key, field, value), _source(key, written, variables))
        for key, field in type(model).model_fields.items()
        if key in known and (value := getattr(model, key)) is not None
    ]


def _source(key: str, written: Mapping[str, Any], variables: Mapping[str, str]) -> str:
    variable = variables.get(f"TOWLINE_{key.upper()}")
    if variable is not None:
        return f"environment variable {variable}"
    return "file" if key in written else DEFAULT


def _shown(key: str, field: FieldInfo, value: Any) -> str:
    if isinstance(value, Password):
        return _password(value)
    if key in SECRET:
        return json.dumps(_without_password(value), ensure_ascii=False)
    if isinstance(value, BaseModel):
        parts = (
            f"{name} = {_shown(name, below, getattr(value, name))}"
            for name, below in type(value).model_fields.items()
        )
        return f"{{ {', '.join(parts)} }}"
    return _literal(value, _reader(field))


def _literal(value: Any, reader: Any) -> str:
    """A value as TOML writes it. reader: what has read it, which tells a duration from a number."""
    if reader is values.duration:
        return json.dumps(shown_duration(value))
    if reader is values.size:
        return json.dumps(shown_size(value))
    if reader is values.mode:
        return json.dumps(f"{value:04o}")
    if isinstance(value, bytes):
        return json.dumps(printable(value), ensure_ascii=False)
    if isinstance(value, Path):
        return json.dumps(str(value), ensure_ascii=False)
    if isinstance(value, tuple):
        return f"[{', '.join(_literal(one, None) for one in value)}]"
    return json.dumps(value, ensure_ascii=False)


def _reader(field: FieldInfo) -> Any:
    """The function that reads this field's text; optional fields keep it one level down."""
    validators = (getattr(one, "func", None) for one in _annotations(field))
    return next((one for one in validators if one in (values.duration, values.size, values.mode)), None)


def _annotations(field: FieldInfo) -> Iterable[Any]:
    yield from field.metadata
    for choice in getattr(field.annotation, "__args__", ()):
        yield from getattr(choice, "__metadata__", ())


def _password(password: Password) -> str:
    if password.env is not None:
        return f"{{ env = {json.dumps(password.env)} }}"
    if password.file is not None:
        return f"{{ file = {json.dumps(str(password.file))} }}"
    return '"…"'


def _without_password(url: str) -> str:
    address = urlsplit(url)
    if address.password is None:
        return url
    before, _, host = address.netloc.rpartition("@")
    user = before.partition(":")[0]
    return address._replace(netloc=f"{user}:…@{host}").geturl()
