"""What a disk may hold after a power cut, by POSIX: replayed from the changes that the store made.

What counts as kept is what was synced: a file's bytes by its own fsync, a name by its folder's. Of everything
else any part may be there and any part not, later without earlier: a name made, moved or removed since its
folder's last fsync; bytes written since their file's. A rename is there or not; it is never half there.
"""

from __future__ import annotations

import itertools
import random
from collections.abc import Iterator
from dataclasses import dataclass, field, replace

from tests.faults.disk import Change


class Content(bytes):
    """The bytes of a file. Two names of one file have the very same object; equal ones may be two files."""


Image = dict[bytes, Content | None]
"""Paths below the folder that was watched → their bytes; None for a folder."""


@dataclass(slots=True)
class _File:
    data: bytearray = field(default_factory=bytearray)
    synced: bytes = b""
    dirty: bool = False

    def kept(self) -> list[bytes]:
        """What may be there of it: all, nothing more than was synced, or a part; also holes of zeros."""
        if not self.dirty:
            return [self.synced]
        now = bytes(self.data)
        half = len(now) // 2
        holes = now[: half // 2] + bytes(half - half // 2) + now[half:]
        return list(dict.fromkeys([now, self.synced, b"", now[:half], bytes(len(now)), holes]))


@dataclass(slots=True)
class _Folder:
    durable: dict[bytes, int] = field(default_factory=dict)
    pending: list[Change] = field(default_factory=list)

    def kept(self, which: tuple[bool, ...]) -> dict[bytes, int]:
        """The names, where of the pending changes these were kept."""
        names = dict(self.durable)
        for change, there in zip(self.pending, which, strict=True):
            if not there:
                continue
            if change.call == "unlink":
                if names.get(change.name) == change.inode:
                    del names[change.name]
                continue
            if change.call == "rename" and names.get(change.name) == change.inode:
                del names[change.name]
            names[change.new or change.name] = change.inode
        return names


class PowerCut:
    """Follows the changes of one folder, `top` (an inode), and tells what a cut would leave of it now."""

    def __init__(self, top: int) -> None:
        self._top = top
        # Inodes are used again; files are not.
        self._now: dict[int, int] = {}
        self._files: dict[int, _File] = {}
        self._folders: dict[int, _Folder] = {top: _Folder()}

    def follow(self, change: Change) -> None:
        """A change that was made."""
        if change.call == "create":
            self._now[change.inode] = -len(self._files) - 1
        change = replace(change, inode=self._now.get(change.inode, change.inode))
        match change.call:
            case "create":
                self._files[change.inode] = _File(dirty=True)
                self._folders[change.folder].pending.append(change)
            case "mkdir":
                self._folders[change.inode] = _Folder()
                self._folders[change.folder].pending.append(change)
            case "rename" | "link" | "unlink":
                self._folders[change.folder].pending.append(change)
            case "write":
                file = self._files[change.inode]
                file.data[change.at : change.at + len(change.data)] = change.data
                file.dirty = True
            case "truncate":
                file = self._files[change.inode]
                del file.data[change.at :]
                file.dirty = True
            case "sync":
                file = self._files[change.inode]
                file.synced, file.dirty = bytes(file.data), False
            case "sync-folder":
                folder = self._folders.get(change.inode)
                if folder is not None:
                    folder.durable = folder.kept((True,) * len(folder.pending))
                    folder.pending.clear()

    def images(self, draw: random.Random, most: int) -> Iterator[Image]:
        """What may be there: all of it where that is at most `most`, or so many of it, drawn.

        The two ends are always among them: nothing kept that wasn't synced, and everything.
        """
        pending = [len(folder.pending) for folder in self._folders.values()]
        files = {inode: file.kept() for inode, file in self._files.items()}
        count = 2 ** sum(pending)
        for kept in files.values():
            count *= len(kept)
        if count <= most:
            chosen: Iterator[tuple[tuple[bool, ...], tuple[bytes, ...]]] = itertools.product(
                itertools.product((False, True), repeat=sum(pending)), itertools.product(*files.values())
            )
        else:
            chosen = self._drawn(draw, most, sum(pending), list(files.values()))
        seen: set[frozenset[tuple[bytes, Content | None]]] = set()
        for which, contents in chosen:
            image = dict(self._image(which, dict(zip(files, map(Content, contents), strict=True))))
            if (known := frozenset(image.items())) not in seen:
                seen.add(known)
                yield image

    @staticmethod
    def _drawn(
        draw: random.Random, most: int, pending: int, files: list[list[bytes]]
    ) -> Iterator[tuple[tuple[bool, ...], tuple[bytes, ...]]]:
        yield (False,) * pending, tuple(kept[min(1, len(kept) - 1)] for kept in files)
        yield (True,) * pending, tuple(kept[0] for kept in files)
        # The worst that is likely: names in the journal, bytes not yet written.
        yield (True,) * pending, tuple(kept[-1] for kept in files)
        for _ in range(most - 3):
            yield (
                tuple(draw.random() < 0.5 for _ in range(pending)),
                tuple(draw.choice(kept) for kept in files),
            )

    def _image(
        self, which: tuple[bool, ...], contents: dict[int, Content]
    ) -> Iterator[tuple[bytes, Content | None]]:
        left = list(which)
        names: dict[int, dict[bytes, int]] = {}
        for inode, folder in self._folders.items():
            count = len(folder.pending)
            names[inode] = folder.kept(tuple(left[:count]))
            del left[:count]
        todo = [(b"", self._top)]
        while todo:
            above, folder_inode = todo.pop()
            for name, inode in names[folder_inode].items():
                path = above + name
                if inode in self._folders:
                    yield path, None
                    todo.append((path + b"/", inode))
                else:
                    yield path, contents[inode]
