"""Planted bugs: patches against `workers/`, each of which breaks a promise that a test must notice.

A patch is a unified diff under a header of three kinds of lines: `Plants:` says what is wrong, `Breaks:`
which promise, `Caught by:` (one line for each) which test fails of it. `git apply --unidiff-zero` takes such
a file as it is. Here it is applied by its text alone, wherever that stands in the file, and holds no more
lines around it than tell the place; so it outlives what changes beside it.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

FOLDER = Path(__file__).parent

_LINE = re.compile(r"(Plants|Breaks|Caught by): (\S.*)")


class DoesNotApply(Exception):
    """The code that a patch changes is not there any more, or there twice."""


@dataclass(frozen=True, slots=True)
class Hunk:
    """In `file`, relative to the repository, the text `old` becomes `new`."""

    file: str
    old: str
    new: str


@dataclass(frozen=True, slots=True)
class Mutant:
    """One planted bug. tests: pytest's ids of the tests that have to fail, without the parameters' values or
    with them."""

    name: str
    plants: str
    breaks: str
    tests: tuple[str, ...]
    hunks: tuple[Hunk, ...]

    @classmethod
    def read(cls, patch: Path) -> Mutant:
        """Raises ValueError for a patch without its header, or one that changes nothing."""
        header, diff, body = patch.read_text().partition("--- a/")
        told = [match.groups() for line in header.splitlines() if (match := _LINE.fullmatch(line))]
        [plants] = [text for key, text in told if key == "Plants"]
        [breaks] = [text for key, text in told if key == "Breaks"]
        tests = tuple(text for key, text in told if key == "Caught by")
        hunks = tuple(_hunks(diff + body))
        if not tests or not hunks:
            raise ValueError(f"{patch.name} names no test, or changes nothing")
        return cls(patch.stem, plants, breaks, tests, hunks)

    def apply(self, root: Path) -> dict[Path, str]:
        """What the files below `root` become; nothing is written. Raises DoesNotApply."""
        changed: dict[Path, str] = {}
        for hunk in self.hunks:
            file = root / hunk.file
            text = changed[file] if file in changed else file.read_text()
            if text.count(hunk.old) != 1:
                raise DoesNotApply(
                    f"{self.name}: in {hunk.file} this stands {text.count(hunk.old)} times:\n{hunk.old}"
                )
            changed[file] = text.replace(hunk.old, hunk.new)
        return changed


def mutants() -> list[Mutant]:
    """All of them, by name."""
    return [Mutant.read(patch) for patch in sorted(FOLDER.glob("*.patch"))]


def _hunks(diff: str) -> list[Hunk]:
    hunks: list[Hunk] = []
    for of_file in re.split(r"(?m)^--- a/", diff)[1:]:
        names, *bodies = re.split(r"(?m)^@@ .*\n", of_file)
        for body in bodies:
            lines = body.splitlines(keepends=True)
            old = "".join(line[1:] for line in lines if line[0] in " -")
            new = "".join(line[1:] for line in lines if line[0] in " +")
            hunks.append(Hunk(names.splitlines()[0], old, new))
    return hunks
