"""inotify(7), as much of it as the witness needs: what happened in some folders, in one order for all."""

from __future__ import annotations

import ctypes
import os
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

_libc = ctypes.CDLL(None, use_errno=True)

CLOSE_WRITE = 0x8
MOVED_FROM = 0x40
MOVED_TO = 0x80
CREATE = 0x100
DELETE = 0x200
OVERFLOW = 0x4000
_WATCHED = CLOSE_WRITE | MOVED_FROM | MOVED_TO | CREATE | DELETE
_ONLY_FOLDERS = 0x01000000
_HEAD = struct.Struct("iIII")


@dataclass(frozen=True, slots=True)
class Event:
    """What happened (one bit of the above) to a name; cookie: the same in both halves of a move."""

    folder: Path
    what: int
    cookie: int
    name: str


class Inotify:
    """Watches folders until it is closed; `read` waits for events."""

    def __init__(self) -> None:
        self._fd = _libc.inotify_init1(os.O_CLOEXEC)
        if self._fd < 0:
            raise OSError(ctypes.get_errno(), "inotify_init1")
        self._folders: dict[int, Path] = {}

    def watch(self, folder: Path) -> None:
        """From now on, this folder too."""
        watch = _libc.inotify_add_watch(self._fd, os.fsencode(folder), _WATCHED | _ONLY_FOLDERS)
        if watch < 0:
            raise OSError(ctypes.get_errno(), "inotify_add_watch", str(folder))
        self._folders[watch] = folder

    def read(self) -> Iterator[Event]:
        """The next events; waits until there are some."""
        told = os.read(self._fd, 1 << 18)
        at = 0
        while at < len(told):
            watch, mask, cookie, length = _HEAD.unpack_from(told, at)
            at += _HEAD.size
            name = os.fsdecode(told[at : at + length].rstrip(b"\0"))
            at += length
            for what in (CLOSE_WRITE, MOVED_FROM, MOVED_TO, CREATE, DELETE, OVERFLOW):
                if mask & what:
                    yield Event(self._folders.get(watch, Path()), what, cookie, name)

    def close(self) -> None:
        """Watch nothing any more."""
        os.close(self._fd)
