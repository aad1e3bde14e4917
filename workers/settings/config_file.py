"""Finding and reading the configuration file, and saying plainly what is wrong in it.

What the tables mean is `workers.settings`' business; here is only how a file is found, how TOML becomes
tables, and how a refusal becomes a `ConfigurationError` naming the file, the table, the key and the way out.

No message built here holds a value that may be a secret: a misspelt `pasword = "…"` is named by its key
alone, and the keys of `SECRET` never show their value, whatever is wrong with it.
"""

from __future__ import annotations

import difflib
import json
import re
import tomllib
import typing
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from workers.errors import ConfigurationError

SYSTEM_WIDE = Path("/etc/towline/towline.toml")
"""Looked at last, when nothing nearer is there."""

SECRET = frozenset({"password", "broker", "results", "ledger"})
"""Keys whose value is, or may hold, a password (URLs do): never part of any message."""

_BARE_KEY = re.compile(r"[A-Za-z0-9_-]+")

M = TypeVar("M", bound=BaseModel)


class Wrong(ValueError):
    """A value that can't be meant: what is wrong with it, and what to write instead."""

    def __init__(self, what: str, remedy: str) -> None:
        super().__init__(what)
        self.what = what
        self.remedy = remedy


@dataclass(frozen=True, slots=True)
class Source:
    """The file that values are read from. Validators get it as pydantic's context.

    Its folder is what relative paths are relative to. `encoding` is that of the route's endpoint, in which
    its remote paths are turned into bytes.
    """

    path: Path
    encoding: str = "utf-8"

    @property
    def folder(self) -> Path:
        """Where relative paths of this file begin."""
        return self.path.parent


def read(explicit: Path | None, environ: Mapping[str, str]) -> tuple[Path, dict[str, Any]]:
    """The first configuration file that is there, as its absolute path and its tables.

    A file that was asked for by name (`explicit`, or TOWLINE_CONFIG) has to be there: another one in its
    place would be a surprise. Raises ConfigurationError.
    """
    named = environ.get("TOWLINE_CONFIG")
    if explicit is not None:
        places, remedy = [explicit], "give --config the path of a towline.toml"
    elif named:
        places, remedy = [Path(named)], "TOWLINE_CONFIG has to name a towline.toml, or be left out"
    else:
        places, remedy = [Path("towline.toml"), SYSTEM_WIDE], "give its path with --config or TOWLINE_CONFIG"
    try:
        # Absolute, but links stay: a mounted Kubernetes ConfigMap is one, and its neighbours are meant.
        places = [expanded(str(place), None).absolute() for place in places]
    except Wrong as wrong:
        raise ConfigurationError(str(places[0]), wrong.what, wrong.remedy) from None
    for place in places:
        try:
            text = place.read_bytes().decode("utf-8")
        except FileNotFoundError:
            continue
        except OSError as error:
            raise ConfigurationError(str(place), f"can't be read: {error.strerror}", remedy) from None
        except UnicodeDecodeError:
            raise ConfigurationError(str(place), "is not UTF-8", "save it as UTF-8") from None
        try:
            return place, tomllib.loads(text)
        except tomllib.TOMLDecodeError as error:
            complaint = ConfigurationError(str(place), f"is not TOML: {error}", "quote strings; see toml.io")
        # Raised here and not in the handler, where it would keep tomllib's error, and with it the whole text.
        raise complaint
    looked = " and ".join(str(place) for place in places)
    raise ConfigurationError(looked, "no configuration file there", remedy)


def tables(inside: Mapping[str, Any], known: tuple[str, ...] | None, where: str) -> dict[str, dict[str, Any]]:
    """The tables in `inside`, by name; of `known` ones all, the missing ones empty, and no others.

    Raises ConfigurationError for a name that is not known, or that is something else than a table.
    """
    found: dict[str, dict[str, Any]] = {name: {} for name in known or ()}
    for name, table in inside.items():
        if known is not None and name not in known:
            what, remedy = unknown(name, known)
            raise ConfigurationError(where, what, remedy)
        if not isinstance(table, dict):
            raise ConfigurationError(
                where, f"{name} is {kind(table)} instead of a table", "write it as [table]"
            )
        found[name] = table
    return found


def validated(
    model: type[M], table: Mapping[str, Any], source: Source, where: Mapping[str, str], **besides: Any
) -> M:
    """A table of the file as a `model`; `besides` are the fields that no table holds (`NOT_A_KEY`).

    `where` says of a key where its value came from; its "" stands for all others.
    Raises ConfigurationError for the first thing that is wrong.
    """
    known = keys(model)
    for key in table:
        if key not in known:
            what, remedy = unknown(key, known)
            raise ConfigurationError(where[""], what, remedy)
    try:
        return model.model_validate({**table, **besides}, context=source)
    except ValidationError as error:
        found = error.errors(include_url=False)
    # Raised out here: inside the handler it would hold pydantic's error, and with that the whole table.
    # A misspelt key explains the missing one, and not the other way round.
    first = min(found, key=lambda one: one["type"] != "extra_forbidden")
    key = str(first["loc"][0]) if first["loc"] else ""
    what, remedy = _explained(model, first)
    raise ConfigurationError(where.get(key, where[""]), what, remedy)


def nearest(name: str, known: Iterable[str]) -> str | None:
    """The known name that looks most like `name`, upper and lower case being alike; None where none does."""
    folded = {candidate.casefold(): candidate for candidate in known}
    close = difflib.get_close_matches(name.casefold(), folded, n=1)
    return folded[close[0]] if close else None


def unknown(name: str, known: Iterable[str]) -> tuple[str, str]:
    """What to say about a key that nobody knows, and the remedy."""
    choices = sorted(known)
    close = nearest(name, choices)
    remedy = f"did you mean {close}?" if close else f"known here: {', '.join(choices)}"
    return f"unknown key {name}", remedy


def header(*parts: str) -> str:
    """A table's header as TOML writes it: `[routes.statements]`, or `[routes."two words"]`."""
    return "[" + ".".join(p if _BARE_KEY.fullmatch(p) else json.dumps(p) for p in parts) + "]"


def kind(value: object) -> str:
    """What sort of TOML value this is, in words."""
    for types, word in _KINDS:
        if isinstance(value, types):
            return word
    return "a date or time"


_KINDS: tuple[tuple[type | tuple[type, ...], str], ...] = (
    (bool, "a boolean"),
    (int, "a whole number"),
    (float, "a number"),
    (str, "a string"),
    (dict, "a table"),
    ((list, tuple), "a list"),
)

_WANTED = {
    "string_type": "a string in quotes",
    "int_type": "a whole number, without quotes",
    "bool_type": "true or false, without quotes",
    "tuple_type": 'a list, such as ["…"]',
    "model_type": "a table, such as { key = … }",
    "model_attributes_type": "a table, such as { key = … }",
}


def shown(value: object) -> str:
    """A string or a number as the user wrote it, cut short."""
    text = json.dumps(value, ensure_ascii=False, default=kind)
    return text if len(text) <= 80 else text[:77] + "…"


def told(value: object) -> str:
    """What a value is and of which kind: `5 is a whole number`. Of lists and tables nothing is repeated."""
    return (
        f"{shown(value)} is {kind(value)}" if isinstance(value, str | int | float) else f"it is {kind(value)}"
    )


def _explained(model: type[BaseModel], error: Any) -> tuple[str, str]:
    """What is wrong and what to do, from one of pydantic's errors."""
    loc = [str(part) for part in error["loc"]]
    key = ".".join(loc)
    fault: str = error["type"]
    if fault == "extra_forbidden":
        what, remedy = unknown(loc[-1], keys(model, *loc[:-1]))
        return (f"{what} in {'.'.join(loc[:-1])}" if loc[:-1] else what), remedy
    if fault == "missing":
        return f"{key} is missing", f"add {key} = …"
    context = error.get("ctx", {})
    wrong = context.get("error")
    if isinstance(wrong, Wrong):
        return (f"{key}: {wrong.what}" if key else wrong.what), wrong.remedy
    value = error["input"]
    secret = bool(SECRET.intersection(loc))
    if fault in _WANTED:
        return f"{key}: {f'it is {kind(value)}' if secret else told(value)}", f"{key} takes {_WANTED[fault]}"
    # What is left are choices and bounds, and so strings and numbers.
    what = f"{key}: it is {kind(value)}" if secret else f"{key} = {shown(value)}"
    if fault == "literal_error":
        return f"{what} is not known", "write " + str(context["expected"]).replace("'", '"')
    return what, f"{key} {str(error['msg']).replace('Input should be', 'has to be')}"


def keys(model: type[BaseModel], *inside: str) -> set[str]:
    """The keys that a model's table knows, or the table `inside` it."""
    for part in inside:
        annotation = model.model_fields[part].annotation
        choices = (annotation, *typing.get_args(annotation))
        model = next(c for c in choices if isinstance(c, type) and issubclass(c, BaseModel))
    return {name for name, field in model.model_fields.items() if field.json_schema_extra != NOT_A_KEY}


NOT_A_KEY: dict[str, Any] = {"key": False}
"""Marks a model's field that no table holds: an endpoint's name is the table's own."""


def expanded(text: str, folder: Path | None) -> Path:
    """A path as the configuration means it: `~` is a home, and a relative one begins at `folder`.

    Raises Wrong when it is empty, holds NUL, or its home can't be told.
    """
    if not text or "\0" in text:
        raise Wrong("an empty path" if not text else "a path with NUL in it", "write a path")
    try:
        path = Path(text).expanduser()
    except RuntimeError:
        raise Wrong(f"no home folder is known for {shown(text)}", "write the whole path") from None
    path = folder / path if folder else path
    # The ledger knows targets by their path, so one place has one spelling. `..` behind a link means the
    # parent of what the link leads to, which only resolving tells; other links stay as they are written.
    return path.resolve() if ".." in path.parts else path
