"""SourceFolder: a folder of this machine that files are sent from.

As on the way in, every path is walked step by step with `openat`, and no step may be a symbolic link: what is
sent to a partner is what lies in the folder, never what somebody has linked into it.

A file is known by its size and its modification time. The kernel stamps times with the tick of its clock, and
some file systems keep whole seconds (FAT even ones): a time without a fraction counts as that coarse.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import stat
from collections import deque
from collections.abc import Callable, Iterator
from pathlib import Path

from workers.errors import StoreRefused
from workers.ftps.entry import Kind
from workers.ftps.inquiry import Stat
from workers.ftps.listing import Entry
from workers.names import printable
from workers.stores.digest import file_digest
from workers.stores.naming import NameRefused, numbered
from workers.stores.place import Place

_FILE = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_BLOCK = 1 << 18
TICK_S = 0.01
"""Two writes closer together than this may leave the same time: the kernel's clock ticks 100 to 1000 times a
second."""
_KINDS: dict[int, Kind] = {stat.S_IFREG: "file", stat.S_IFDIR: "dir", stat.S_IFLNK: "link"}
_MOST_NAMES = 1000
"""Names with a number that are tried in the folder of a move before it counts as refused."""


class SourceFile:
    """An open file that is being sent. It owns its descriptor; `close` lets it go."""

    def __init__(self, file: int, facts: os.stat_result) -> None:
        """Takes over the descriptor."""
        self._file = file
        self._inode = (facts.st_dev, facts.st_ino)
        self.stat = _stat(facts)
        self.sha256 = ""
        """The digest of all that was read by the last `blocks` that came to the end; hexadecimal."""

    @property
    def size(self) -> int:
        """Bytes, when it was opened."""
        assert self.stat.size is not None
        return self.stat.size

    def blocks(self, offset: int = 0) -> Iterator[memoryview]:
        """The bytes from `offset` to the size that the file had when it was opened.

        What has been added since is another version's. The digest is of the whole, so the bytes before
        `offset` are read as well. Raises OSError.
        """
        digest = hashlib.sha256()
        buffer = bytearray(_BLOCK)
        at = 0
        while at < self.size:
            limit = offset if at < offset else self.size
            view = memoryview(buffer)[: min(_BLOCK, limit - at)]
            count = os.preadv(self._file, [view], at)
            if not count:
                return  # it was cut off meanwhile: the size that went over will tell
            digest.update(view[:count])
            if at >= offset:
                yield view[:count]
            at += count
        self.sha256 = digest.hexdigest()

    def digest(self, algorithm: str) -> str:
        """The digest by HASH's name of the algorithm ("SHA-512", "CRC32"); hexadecimal. Raises OSError."""
        if algorithm == "SHA-256" and self.sha256:
            return self.sha256
        return file_digest(self._file, algorithm)

    def is_unchanged(self) -> bool:
        """Whether nobody has written to the open file since."""
        return _stat(os.fstat(self._file)) == self.stat

    def reserve(self) -> bool:
        """Whether nobody else has reserved this file; then it is ours until it is closed.

        False also where the file system has no locks. Nobody who does not ask is kept from anything (flock).
        """
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            return False
        return True

    def close(self) -> None:
        """Idempotent."""
        if self._file >= 0:
            os.close(self._file)
            self._file = -1


class SourceFolder:
    """Where one route's files are sent from. Holds nothing open between calls, so it needs no closing."""

    def __init__(self, root: Path, *, route: str = "") -> None:
        """route: named in StoreRefused."""
        self._place = Place(root, route)

    def entries(
        self, *, depth: int = 0, enters: Callable[[bytes], bool] = lambda _: True
    ) -> tuple[list[Entry], str | None]:
        """The folder's entries and those of the folders below it, down to `depth` levels: names below it.

        enters: whether a folder is to be looked into. The second value tells why not everything was seen,
        and is None when it was. Raises StoreRefused where the folder itself can't be read.
        """
        found: list[Entry] = []
        unread: list[bytes] = []
        due = deque([(b"", depth)])
        while due:
            above, deeper = due.popleft()
            try:
                with self._place.folder(_below(above, b"x")) as (folder, _):
                    here = list(_scanned(folder, above))
            except (NameRefused, FileNotFoundError):
                # Gone since it was seen, or a link by now: the next look sees it as it is.
                unread.append(above)
                continue
            except StoreRefused:
                if not above:
                    raise
                unread.append(above)
                continue
            found += here
            if deeper:
                due += [
                    (entry.name, deeper - 1) for entry in here if entry.kind == "dir" and enters(entry.name)
                ]
        reason = ", ".join(f"{printable(folder)}: it can't be read" for folder in unread)
        return found, reason or None

    def open(self, relative: bytes) -> SourceFile | None:
        """The plain file of this name; None where there is none. Raises NameRefused, StoreRefused."""
        try:
            with self._place.folder(relative) as (folder, name):
                try:
                    file = os.open(name, _FILE, dir_fd=folder)
                except PermissionError as failure:
                    # Of one file: the others can be read.
                    raise NameRefused(relative, "this user may not read it") from failure
        except FileNotFoundError:
            return None
        facts = os.fstat(file)
        if not stat.S_ISREG(facts.st_mode):
            os.close(file)
            raise NameRefused(relative, "it is no plain file")
        return SourceFile(file, facts)

    def look(self, relative: bytes) -> Stat | None:
        """What lies under this name now; None where no plain file does."""
        facts = self._place.look(relative)
        return _stat(facts) if facts is not None and stat.S_ISREG(facts.st_mode) else None

    def located(self, relative: bytes) -> bytes:
        """The whole path of a file."""
        return os.fsencode(self._place.root) + b"/" + relative

    def remove(self, relative: bytes) -> None:
        """Delete a file; the deletion is durable when this returns. Raises NameRefused, StoreRefused."""
        with self._place.folder(relative) as (folder, name):
            with contextlib.suppress(FileNotFoundError):
                os.unlink(name, dir_fd=folder)
            os.fsync(folder)

    def move(self, relative: bytes, place: Path) -> bytes:
        """Move a file into another folder of the same file system, where it never replaces one.

        Returns the path it has there. Raises NameRefused, StoreRefused.
        """
        name = relative.rpartition(b"/")[2]
        with (
            self._place.folder(relative) as (folder, here),
            Place(place, self._place.route).opened() as there,
        ):
            for number in range(1, _MOST_NAMES):
                new = name if number == 1 else numbered(name, number)
                with contextlib.suppress(FileExistsError):
                    os.link(here, new, src_dir_fd=folder, dst_dir_fd=there, follow_symlinks=False)
                    break
            else:
                told = f"{_MOST_NAMES} files of that name are in it already"
                raise StoreRefused(self._place.route, str(place), told)
            os.fsync(there)
            os.unlink(here, dir_fd=folder)
            os.fsync(folder)
        return os.fsencode(place) + b"/" + new


def _scanned(folder: int, above: bytes) -> Iterator[Entry]:
    with os.scandir(folder) as scan:
        for one in scan:
            # Gone between the name and the look at it: it was not there.
            with contextlib.suppress(FileNotFoundError):
                facts = os.stat(one.name, dir_fd=folder, follow_symlinks=False)
                yield _entry(_below(above, os.fsencode(one.name)), facts)


def _below(folder: bytes, name: bytes) -> bytes:
    return folder + b"/" + name if folder else name


def _stat(facts: os.stat_result) -> Stat:
    whole = not facts.st_mtime_ns % 10**9
    return Stat(facts.st_size, facts.st_mtime_ns / 1e9, 2.0 if whole else TICK_S)


def _entry(name: bytes, facts: os.stat_result) -> Entry:
    now = _stat(facts)
    kind = _KINDS.get(stat.S_IFMT(facts.st_mode), "other")
    return Entry(name, kind, now.size, now.modified, now.precision_s, b"%x" % facts.st_ino)
