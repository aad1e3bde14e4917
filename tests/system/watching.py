"""Somebody who looks at a folder all the time, as a program does that takes whatever has its final name."""

from __future__ import annotations

import hashlib
import os
import threading
from collections.abc import Collection
from pathlib import Path
from typing import Self

from workers.stores.naming import TEMP_PREFIX

EVERY = 0.002  # seconds


class Watch:
    """Reads each file of `folder` as soon as it has its final name, or another content under it.

    whole: the SHA-256 of everything that may lie there. halves: what was found besides, by name and size.
    """

    def __init__(self, folder: Path, whole: Collection[str]) -> None:
        self.halves: list[tuple[str, int]] = []
        self.looks = 0
        self._folder = folder
        self._whole = set(whole)
        self._known: set[tuple[str, int, int, int]] = set()
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._look, name=f"watch {folder}", daemon=True)

    def _look(self) -> None:
        while not self._over.wait(EVERY):
            self.looks += 1
            if self._folder.is_dir():
                for entry in os.scandir(self._folder):
                    self._check(entry)

    def _check(self, entry: os.DirEntry[str]) -> None:
        if os.fsencode(entry.name).startswith(TEMP_PREFIX):
            return
        try:
            about = entry.stat()
            seen = (entry.name, about.st_ino, about.st_size, about.st_mtime_ns)
            if seen in self._known:
                return
            content = Path(entry.path).read_bytes()
        except FileNotFoundError:
            return
        self._known.add(seen)
        if hashlib.sha256(content).hexdigest() not in self._whole:
            self.halves.append((entry.name, len(content)))

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()
