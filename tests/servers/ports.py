"""Ports for tests: blocks below the range from which the kernel takes a client's own ports.

A port found with bind(0) may be somebody's source port a moment later; then a server that is stopped and
started again can't have it back. A block is ours as long as we hold its lock file, so that runs at the same
time keep apart.
"""

from __future__ import annotations

import fcntl
import random
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from tests.servers.packages import cache_folder

FIRST, LAST = 20_000, 32_000  # Linux's ip_local_port_range begins at 32,768
SIZE = 64


class PortBlock:
    """Consecutive ports that nobody listens on, held until close()."""

    def __init__(self, first: int, lock: IO[bytes]) -> None:
        self.first = first
        self.last = first + SIZE - 1
        self._lock = lock

    @classmethod
    def take(cls) -> PortBlock:
        """A block that no other run holds and in which nobody listens. Raises RuntimeError without one."""
        folder = cache_folder().parent / "ports"
        folder.mkdir(exist_ok=True)
        blocks = list(range(FIRST, LAST - SIZE, SIZE))
        random.shuffle(blocks)
        for first in blocks:
            lock = _lock(folder / str(first))
            if lock is None:
                continue
            if all(_is_free(port) for port in range(first, first + SIZE)):
                return cls(first, lock)
            lock.close()
        raise RuntimeError(f"no block of {SIZE} free ports between {FIRST} and {LAST}")

    def __iter__(self) -> Iterator[int]:
        return iter(range(self.first, self.last + 1))

    def close(self) -> None:
        """Gives the block back."""
        self._lock.close()


class FreePorts:
    """Single ports, each handed out once."""

    def __init__(self) -> None:
        self._blocks: list[PortBlock] = []
        self._left: list[int] = []

    def next(self) -> int:
        """A port that nobody listens on."""
        if not self._left:
            self._blocks.append(PortBlock.take())
            self._left = list(self._blocks[-1])
        return self._left.pop()

    def close(self) -> None:
        """Gives all of them back."""
        for block in self._blocks:
            block.close()
        self._blocks, self._left = [], []


def _lock(path: Path) -> IO[bytes] | None:
    lock = path.open("wb")
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        lock.close()
        return None
    return lock


def _is_free(port: int) -> bool:
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as trial:
        trial.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # lines that just ended are no obstacle
        try:
            trial.bind(("0.0.0.0", port))
        except OSError:
            return False
    return True
