"""The disk as the store sees it: what stands for `os` in workers.stores, to be watched and to be failed.

Every call that changes the disk is told to `watch` before it is made, as a Change; whoever watches may raise
an OSError instead. All other calls go to the real `os`.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest

from workers.stores import local, place, renaming, sole, temp


@dataclass(frozen=True, slots=True)
class Change:
    """A call that changes the disk.

    call: "create", "write", "truncate", "dress", "sync", "sync-folder", "rename", "link", "unlink", "mkdir".
    inode: of the file; of the folder, for "sync-folder" and "mkdir"; 0 before it is there. folder: the inode
    of the folder that has the name. name, new: the names. at, data: what is written, and where.
    """

    call: str
    inode: int = 0
    folder: int = 0
    name: bytes = b""
    new: bytes = b""
    at: int = 0
    data: bytes = b""


class Disk:
    """Stands for the module `os`. `watch` is called before each change, `done` after it."""

    def __init__(
        self,
        watch: Callable[[Change], None] = lambda _: None,
        done: Callable[[Change], None] = lambda _: None,
    ) -> None:
        self.watch = watch
        self.done = done
        self._one_at_a_time = threading.RLock()

    def install(self, patch: pytest.MonkeyPatch) -> None:
        """Have the stores use it until the test ends."""
        for module in (local, place, renaming, sole, temp):
            patch.setattr(module, "os", self)
        step = renaming._renameat2

        def renameat2(folder: int, old: bytes, new: bytes) -> None:
            change = Change("rename", _of(old, folder), _ino(folder), old, new)
            self._make(change, lambda: step(folder, old, new))

        patch.setattr(renaming, "_renameat2", renameat2)

    def __getattr__(self, name: str) -> Any:
        return getattr(os, name)

    def open(self, path: Any, flags: int, mode: int = 0o777, *, dir_fd: int | None = None) -> int:
        if not flags & os.O_CREAT:
            return os.open(path, flags, mode, dir_fd=dir_fd)
        assert dir_fd is not None
        with self._one_at_a_time:
            change = Change("create", 0, _ino(dir_fd), os.fsencode(path))
            self.watch(change)
            opened = os.open(path, flags, mode, dir_fd=dir_fd)
            self.done(Change("create", _ino(opened), change.folder, change.name))
            return opened

    def pwrite(self, file: int, data: Any, at: int) -> int:
        with self._one_at_a_time:
            self.watch(Change("write", _ino(file), at=at, data=bytes(data)))
            count = os.pwrite(file, data, at)
            self.done(Change("write", _ino(file), at=at, data=bytes(data[:count])))
            return count

    def ftruncate(self, file: int, size: int) -> None:
        self._make(Change("truncate", _ino(file), at=size), lambda: os.ftruncate(file, size))

    def fchmod(self, file: int, mode: int) -> None:
        self._make(Change("dress", _ino(file)), lambda: os.fchmod(file, mode))

    def fsync(self, file: int) -> None:
        call = "sync-folder" if os.path.isdir(f"/proc/self/fd/{file}") else "sync"  # noqa: PTH112
        self._make(Change(call, _ino(file)), lambda: os.fsync(file))

    def mkdir(self, name: Any, mode: int, *, dir_fd: int) -> None:
        with self._one_at_a_time:
            change = Change("mkdir", 0, _ino(dir_fd), os.fsencode(name))
            self.watch(change)
            os.mkdir(name, mode, dir_fd=dir_fd)
            self.done(Change("mkdir", _of(name, dir_fd), change.folder, change.name))

    def unlink(self, name: Any, *, dir_fd: int) -> None:
        change = Change("unlink", _of(name, dir_fd), _ino(dir_fd), os.fsencode(name))
        self._make(change, lambda: os.unlink(name, dir_fd=dir_fd))

    def rename(self, old: Any, new: Any, *, src_dir_fd: int, dst_dir_fd: int) -> None:
        change = Change("rename", _of(old, src_dir_fd), _ino(src_dir_fd), os.fsencode(old), os.fsencode(new))
        self._make(change, lambda: os.rename(old, new, src_dir_fd=src_dir_fd, dst_dir_fd=dst_dir_fd))

    def link(self, old: Any, new: Any, *, src_dir_fd: int, dst_dir_fd: int, follow_symlinks: bool) -> None:
        change = Change("link", _of(old, src_dir_fd), _ino(src_dir_fd), os.fsencode(old), os.fsencode(new))
        self._make(
            change,
            lambda: os.link(
                old, new, src_dir_fd=src_dir_fd, dst_dir_fd=dst_dir_fd, follow_symlinks=follow_symlinks
            ),
        )

    def _make(self, change: Change, make: Callable[[], Any]) -> None:
        with self._one_at_a_time:
            self.watch(change)
            make()
            self.done(change)


def _ino(file: int) -> int:
    return os.fstat(file).st_ino


def _of(name: Any, folder: int) -> int:
    """The inode under a name; 0 where there is none."""
    try:
        return os.stat(name, dir_fd=folder, follow_symlinks=False).st_ino
    except FileNotFoundError:
        return 0
