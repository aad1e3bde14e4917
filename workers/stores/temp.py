"""Temp: a file while it is being received, under a name that nobody takes for the finished one."""

from __future__ import annotations

import errno
import hashlib
import os
from collections.abc import Callable

from workers.stores.digest import file_digest

_READ = 1 << 20
WRITE_BACK = 16 << 20
"""Bytes after which the kernel is told to begin with writing them to the disk."""


class TooLarge(Exception):
    """The file system takes no file of this size (FAT: 4 GiB). The file's own fault: others have room."""

    def __str__(self) -> str:
        return "it is larger than a file may be on this file system"


class Temp:
    """An open temporary file, its size, and the SHA-256 of all it holds. `close` keeps, `discard` removes it.

    It owns two descriptors, its own and its folder's: what it removes is what it opened, whatever has
    become of the path meanwhile. Every OSError leaves as what `refused` makes of it.
    """

    def __init__(self, folder: int, file: int, name: bytes, refused: Callable[[OSError], Exception]) -> None:
        """Takes over both descriptors. Bytes already there (a resume) are read once, for the digest."""
        self.name = name
        self.size = 0
        self._begun = 0  # to be written to the disk
        self._folder = folder
        self._file = file
        self._refused = refused
        self._hash = hashlib.sha256()
        try:
            while block := os.pread(file, _READ, self.size):
                self._hash.update(block)
                self.size += len(block)
        except OSError as failure:
            self.close()
            raise refused(failure) from failure

    @property
    def sha256(self) -> str:
        """The digest of the bytes held, those of an earlier attempt included; hexadecimal."""
        return self._hash.hexdigest()

    def digest(self, algorithm: str) -> str:
        """The digest of the bytes held, by HASH's name of the algorithm ("SHA-512", "CRC32"); hexadecimal.

        SHA-256 is there; for any other the file is read once.
        """
        if algorithm == "SHA-256":
            return self.sha256
        try:
            return file_digest(self._file, algorithm)
        except OSError as failure:
            raise self._refused(failure) from failure

    def write(self, block: memoryview | bytes) -> None:
        """Append. What a full disk did take is counted, so that a later attempt can go on from there.

        Raises TooLarge, and what `refused` makes of an OSError.
        """
        rest = memoryview(block)
        try:
            while rest:
                taken = os.pwrite(self._file, rest, self.size)
                self._hash.update(rest[:taken])
                self.size += taken
                rest = rest[taken:]
            if self.size - self._begun >= WRITE_BACK:
                self._begin_to_write_back()
        except OSError as failure:
            if failure.errno == errno.EFBIG:
                raise TooLarge from failure
            raise self._refused(failure) from failure

    def _begin_to_write_back(self) -> None:
        """Without waiting for it: `sync` would have the whole file before it, and the line stand still.

        That is what the advice means to Linux, whose pages are dirty as yet (mm/fadvise.c). Whether they
        have come to the disk is for `sync` to say.
        """
        os.posix_fadvise(self._file, self._begun, self.size - self._begun, os.POSIX_FADV_DONTNEED)
        self._begun = self.size

    def tail(self, count: int) -> bytes:
        """The last `count` bytes held, or all."""
        try:
            return os.pread(self._file, count, max(0, self.size - count))
        except OSError as failure:
            raise self._refused(failure) from failure

    def restart(self) -> None:
        """Forget all bytes: what comes next begins at the beginning."""
        try:
            os.ftruncate(self._file, 0)
        except OSError as failure:
            raise self._refused(failure) from failure
        self.size = self._begun = 0
        self._hash = hashlib.sha256()

    def dress(self, mode: int, modified: float | None) -> None:
        """Permissions and modification time of the published file; `sync` makes them durable."""
        try:
            os.fchmod(self._file, mode)
            if modified is not None:
                os.utime(self._file, (modified, modified))
        except OSError as failure:
            raise self._refused(failure) from failure

    def sync(self) -> None:
        """Make the bytes durable. A failure voids the copy: the file is removed, and never synced again.

        After a failed fsync Linux marks the lost pages clean, so that a second one would report success
        (https://lwn.net/Articles/752063/).
        """
        try:
            os.fsync(self._file)
        except OSError as failure:
            self.discard()
            raise self._refused(failure) from failure

    def close(self) -> None:
        """Leave the file where it is. Idempotent."""
        if self._file >= 0:
            os.close(self._file)
            os.close(self._folder)
        self._file = self._folder = -1

    def discard(self) -> None:
        """Remove the file and close. Somebody else may have removed it already."""
        if self._file >= 0:
            try:
                os.unlink(self.name, dir_fd=self._folder)
            except FileNotFoundError:
                pass
            except OSError as failure:
                raise self._refused(failure) from failure
            finally:
                self.close()
