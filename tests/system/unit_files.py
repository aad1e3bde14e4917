"""Reads our units as systemd.syntax(7), systemd.unit(5) and systemd.exec(5) say, as far as they use it."""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

UNITS = Path(__file__).resolve().parents[2] / "deploy" / "systemd"

Settings = dict[tuple[str, str], list[str]]
"""(section, key) → the values given, in order."""


@dataclass(frozen=True, slots=True)
class Unit:
    """A unit with its drop-ins, as systemd would load it."""

    name: str
    settings: Settings

    def all(self, section: str, key: str) -> list[str]:
        """Every value of a key that may be given more than once."""
        return self.settings.get((section, key), [])

    def one(self, section: str, key: str) -> str:
        """The last value of a key. KeyError where it isn't given."""
        return self.settings[section, key][-1]

    def command(self) -> list[str]:
        """The words of ExecStart=, with `%%` read as `%`."""
        return [_specifiers(word) for word in shlex.split(self.one("Service", "ExecStart"))]

    def environment(self, read: Callable[[str], str]) -> dict[str, str]:
        """Environment=, and over it the EnvironmentFile= ones, whose text `read` gives."""
        found: dict[str, str] = {}
        for value in self.all("Service", "Environment"):
            found.update(_pair(_specifiers(word)) for word in shlex.split(value))
        for path in self.all("Service", "EnvironmentFile"):
            found.update(environment_file(read(path.removeprefix("-"))))
        return found


def load(name: str) -> Unit:
    """The unit of that name with the drop-ins that go by the prefix of its name, and those of its own."""
    settings: Settings = {}
    stem, kind = name.rsplit(".", 1)
    words = stem.split("-")
    prefixes = ["-".join(words[:count]) + "-" for count in range(1, len(words))]
    folders = [UNITS / f"{prefix}.{kind}.d" for prefix in [*prefixes, stem]]
    for file in [UNITS / name, *(drop_in for folder in folders for drop_in in sorted(folder.glob("*.conf")))]:
        _read(file, settings)
    return Unit(name, settings)


def environment_file(text: str) -> dict[str, str]:
    """Lines of KEY=value; quotes around a value are taken off."""
    lines = (line.strip() for line in text.splitlines())
    pairs = (_pair(line) for line in lines if line and line[0] not in "#;")
    return {key: "".join(shlex.split(value)) for key, value in pairs}


def _read(file: Path, settings: Settings) -> None:
    section = ""
    text = "".join(
        line for line in file.read_text().splitlines(keepends=True) if line.strip() and line[0] not in "#;"
    )
    for line in text.replace("\\\n", " ").splitlines():
        if header := re.fullmatch(r"\[(\w+)\]", line):
            section = header[1]
            continue
        key, value = _pair(line)
        values = settings.setdefault((section, key.strip()), [])
        if value.strip():
            values.append(value.strip())
        else:
            values.clear()  # an empty value takes back what was said before


def _pair(text: str) -> tuple[str, str]:
    key, equals, value = text.partition("=")
    assert equals, f"{text!r} is no assignment"
    return key, value


def _specifiers(word: str) -> str:
    """systemd's `%h` is a home folder, not the host that Celery means: only `%%` is wanted in our units."""
    for sign in re.findall(r"%(.)", word):
        assert sign == "%", f"%{sign} in {word!r} is one of systemd's specifiers; write %%{sign}"
    assert "$" not in word, f"{word!r} would be expanded by systemd"
    return word.replace("%%", "%")
