"""Which files of a server are meant: by name, by a pattern, or all below a folder.

A pattern is matched as a shell would match it: step by step, against what the server lists, `*` taking
neither a slash nor a leading dot. A name that is literally what was written is meant, too: `a[1].xml` may be
both.
"""

from __future__ import annotations

import fnmatch
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from workers.cli.exits import NOT_WHOLE, SOME_FAILED, code_of, sentence
from workers.cli.foreground import Ended, listed
from workers.cli.output import counted
from workers.errors import PermissionRefused
from workers.ftps.errors import Forbidden, Missing, Refused
from workers.looking import Listed, look
from workers.names import printable
from workers.stores.naming import TEMP_PREFIX, NameRefused, joined, parts

if TYPE_CHECKING:
    from workers.ftps.entry import Entry
    from workers.process import Process
    from workers.session import Tally

_MAGIC = re.compile(rb"[*?[]")

DEPTH = 8
"""So many levels of folders are gone into, unless somebody says how many."""


def is_pattern(path: bytes) -> bool:
    """Whether it holds what a shell would expand."""
    return _MAGIC.search(path) is not None


@dataclass(frozen=True, slots=True)
class Chosen:
    """A file that is meant.

    path: absolute. top: the name of what was asked for, empty for the root. below: the file's path below
    that, empty for a file that was asked for itself.
    """

    path: bytes
    top: bytes
    below: bytes
    size: int | None

    @property
    def relative(self) -> bytes:
        """Its path below the folder of what was asked for."""
        return b"/".join(filter(None, (self.top, self.below)))


@dataclass(slots=True)
class Choice:
    """What a call means. refused: names that no file here may have, with the reason; links: passed over.

    wrong: what is said about the rest, with the exit code that it asks for (0: none).
    """

    files: list[Chosen] = field(default_factory=list)
    refused: list[tuple[bytes, str]] = field(default_factory=list)
    links: list[bytes] = field(default_factory=list)
    wrong: list[tuple[str, int]] = field(default_factory=list)


class Chooser:
    """Finds out over a line what is meant. Asks nothing about a plain name: the transfer does."""

    def __init__(
        self, process: Process, endpoint: str, tally: Tally, *, recursive: bool, depth: int | None
    ) -> None:
        """depth: levels of folders; None: `DEPTH`, and it is wrong when there are more."""
        self._process = process
        self._endpoint = endpoint
        self._tally = tally
        self._recursive = recursive
        self._depth = depth
        self._encoding = process.settings.endpoint(endpoint).encoding
        self._choice = Choice()

    def choose(self, remotes: tuple[bytes, ...]) -> Choice:
        """What these names and patterns mean.

        Raises PermissionRefused, `Ended`, and what `Session.run` raises.
        """
        for remote in remotes:
            path = b"/" + remote.strip(b"/")
            if is_pattern(path):
                self._expand(path)
            elif self._recursive and self._is_folder(path):
                self._take_folder(path)
            else:
                self._take(path, path.rpartition(b"/")[2], b"", None)
        return self._choice

    # -- one name

    def _is_folder(self, path: bytes) -> bool:
        """Whether there is no file of this name that tells its size; the listing has the last word."""
        if path == b"/":
            return True
        session = self._process.session(self._endpoint)
        [stat] = session.run(lambda line: line.stat([path]), name="stat", tally=self._tally)
        return stat is None or stat.size is None

    def _take(self, path: bytes, top: bytes, below: bytes, size: int | None) -> None:
        chosen = Chosen(path, top, below, size)
        try:
            parts(chosen.relative)
        except NameRefused as refusal:
            self._choice.refused.append((path, refusal.reason))
        else:
            self._choice.files.append(chosen)

    # -- a folder

    def _take_folder(self, path: bytes) -> None:
        depth = DEPTH if self._depth is None else self._depth
        found = self._listed(path, depth)
        name = path.rpartition(b"/")[2]
        deeper = 0
        for entry in found.entries:
            if entry.kind == "dir":
                deeper += entry.name.count(b"/") >= depth
                self._refuse_folder(path, entry)
            else:
                self._take_entry(joined(path, entry.name), name, entry.name, entry)
        if deeper:
            told = f"{printable(path)}: {counted(deeper, 'folder')} below --max-depth left out"
            self._choice.wrong.append((told, NOT_WHOLE if self._depth is None else 0))

    def _refuse_folder(self, path: bytes, entry: Entry) -> None:
        """A walk goes into no folder with such a name; what it holds is missing, and is not to be missed."""
        try:
            parts(entry.name)
        except NameRefused as refusal:
            if entry.name.rpartition(b"/")[2] not in (b".", b".."):
                self._choice.refused.append((joined(path, entry.name), refusal.reason))

    def _take_entry(self, path: bytes, top: bytes, below: bytes, entry: Entry) -> None:
        if entry.kind == "link":
            self._choice.links.append(path)
        elif entry.kind == "file" and not path.rpartition(b"/")[2].startswith(TEMP_PREFIX):
            self._take(path, top, below, entry.size)

    def _listed(self, folder: bytes, depth: int = 0) -> Listed:
        found = listed(self._process, self._endpoint, folder, self._tally, depth=depth)
        if not found.complete:
            told = f"{self._endpoint} did not list all of {printable(folder)}: {found.reason}"
            self._choice.wrong.append((told, NOT_WHOLE))
        return found

    # -- a pattern

    def _expand(self, pattern: bytes) -> None:
        *above, last = pattern[1:].split(b"/")
        folders, asked = [b"/"], False
        for step in above:
            if asked or is_pattern(step):
                found = [self._matching(folder, step, sure=not asked) for folder in folders]
                folders = [path for one in found for path, entry in one if entry.kind == "dir"]
                asked = True
            else:
                folders = [joined(folder, step) for folder in folders]
        matched = [one for folder in folders for one in self._matching(folder, last, sure=not asked)]
        if not matched:
            told = f"{self._endpoint} has nothing that matches {printable(pattern)}"
            self._choice.wrong.append((told, SOME_FAILED))
        for path, entry in matched:
            if entry.kind != "dir":
                self._take_entry(path, path.rpartition(b"/")[2], b"", entry)
            elif self._recursive:
                self._take_folder(path)
            else:
                self._choice.wrong.append((f"{printable(path)} is a folder: passed over without -r", 0))

    def _matching(self, folder: bytes, step: bytes, *, sure: bool) -> list[tuple[bytes, Entry]]:
        """What a step of a pattern matches in a folder. sure: the folder was named, and has to be there."""
        try:
            found = self._listed(folder)
        except (PermissionRefused, Ended) as failure:
            if sure:
                raise
            told = sentence(failure) if isinstance(failure, PermissionRefused) else failure.message
            code = code_of(failure) if isinstance(failure, PermissionRefused) else failure.exit_code
            self._choice.wrong.append((told, code))
            return []
        return [
            (joined(folder, entry.name), entry) for entry in found.entries if self._means(step, entry.name)
        ]

    def _means(self, step: bytes, name: bytes) -> bool:
        if name in (b".", b".."):
            return False
        if name == step:
            return True
        if name.startswith(b".") and not step.startswith(b"."):
            return False
        pattern, text = (one.decode(self._encoding, "surrogateescape") for one in (step, name))
        return fnmatch.fnmatchcase(text, pattern)


def is_remote_folder(process: Process, endpoint: str, path: bytes, tally: Tally) -> bool:
    """Whether a folder lies there; what can't be listed is one, too. Raises what `Session.run` raises."""
    if not path.strip(b"/"):
        return True
    session = process.session(endpoint)
    [stat] = session.run(lambda line: line.stat([path]), name="stat", tally=tally)
    if stat is not None and stat.size is not None:
        return False
    try:
        look(session, path, tally=tally, keep=0)
    except Forbidden:
        return True
    except (Missing, Refused):
        return False
    return True
