"""Taking turns at SQLite's only write lock.

SQLite has no queue: who finds the lock taken sleeps, up to a tenth of a second, and looks again. A poll that
writes a million entries in chunks takes the lock again within microseconds, and the others sleep through
every gap (measured: seven seconds). So whoever wants to write first takes its turn in the kernel's queue
(flock), and passes it on as soon as it has the write lock: the writer of chunks then waits behind all who
came before its next chunk.
"""

from __future__ import annotations

import fcntl
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


class Turns:
    """The queue of all who want to write, on this host. One that dies leaves it at once."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self._fd: int | None = None
        # Threads share the descriptor, and the kernel would let all of them pass.
        self._among_threads = threading.Lock()

    @contextmanager
    def take(self) -> Iterator[None]:
        """Wait until it is our turn; the next one's begins at the end of the block."""
        with self._among_threads:
            if self._fd is None:
                self._fd = os.open(self._file, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            fcntl.flock(self._fd, fcntl.LOCK_EX)
            try:
                yield
            finally:
                fcntl.flock(self._fd, fcntl.LOCK_UN)

    def close(self) -> None:
        """Close the file; the next turn opens it again. A forked child must not share its parent's."""
        if self._fd is not None:
            os.close(self._fd)
            self._fd = None
