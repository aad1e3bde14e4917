"""Place: one route's folder, walked step by step without following links; its faults told as what they are.

Every path is walked from the route's folder with `openat`, and no step may be a symbolic link: a server that
knows of a link in the target (or a user who plants one) can't make us write elsewhere, and nothing can be
exchanged between a check and its use. The route's folder itself is the configuration's choice, and may be a
link.

Faults of the place (full, read-only, missing) are StoreRefused, the route's. Faults of one name (too long, a
folder or a link where a file has to be) are NameRefused, the file's.
"""

from __future__ import annotations

import contextlib
import errno
import os
from collections.abc import Iterator
from pathlib import Path

from workers.errors import StoreRefused
from workers.stores.naming import NameRefused, parts

_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC

NAME_FAULTS = {
    errno.ENAMETOOLONG: "it is longer than the file system takes",
    errno.ELOOP: "a symbolic link stands in its way",
    errno.ENOTDIR: "a link or a file stands where its folder would be",
    errno.EISDIR: "a folder is called so",
    errno.EILSEQ: "the file system takes no such bytes",
}

_REMEDIES = {
    errno.ENOSPC: "make room",
    errno.EDQUOT: "make room, or have the quota raised",
    errno.EROFS: "mount it for writing; a file system that turned read-only by itself wants a check",
    errno.EIO: "the disk, or what it hangs on, fails: the system's log tells more",
    errno.ENOENT: "make the folder, or mount its disk",
    errno.ENOTDIR: "it has to be a folder",
    errno.EACCES: "let the user that Towline runs as write there",
    errno.EPERM: "let the user that Towline runs as write there",
    errno.ESTALE: "mount it anew",
}

_RESERVE_SHARE, _RESERVE_MOST = 100, 64 * 2**20
"""What is left free beside the files: a hundredth of the file system, at most 64 MiB. A disk filled to the
last block breaks its neighbours, and often that is the ledger."""


class Place:
    """The folder `root` of a route. Holds nothing open between calls."""

    def __init__(self, root: Path, route: str, *, folder_mode: int = 0o750, durable: bool = True) -> None:
        """folder_mode: of folders that are made. durable: a folder that was made stays after a power cut."""
        self.root = root
        self.route = route
        self._folder_mode = folder_mode
        self._durable = durable

    @contextlib.contextmanager
    def opened(self, relative: bytes = b"", *, make: bool = False) -> Iterator[int]:
        """The route's folder, opened. `make`: its last step, and no more, is made when it is missing.

        A whole missing tree is more likely a disk that isn't mounted than a folder that nobody made.
        What fails inside is told as the fault of `relative` or of the place; only FileNotFoundError and
        FileExistsError are answers, and pass.
        """
        try:
            if make and not self.is_there():
                self._make_root()
            root = os.open(self.root, _FOLDER)
        except OSError as failure:
            raise self.refused(failure) from failure
        try:
            yield root
        except (FileNotFoundError, FileExistsError):
            raise
        except OSError as failure:
            if failure.errno in NAME_FAULTS:
                raise NameRefused(relative, NAME_FAULTS[failure.errno]) from failure
            raise self.refused(failure) from failure
        finally:
            os.close(root)

    @contextlib.contextmanager
    def folder(self, relative: bytes, *, make: bool = False) -> Iterator[tuple[int, bytes]]:
        """The folder in which `relative` lies, opened without following any link, and the name in it."""
        *folders, name = parts(relative)
        with self.opened(relative, make=make) as at, contextlib.ExitStack() as opened:
            for folder in folders:
                if make:
                    with contextlib.suppress(FileExistsError):
                        os.mkdir(folder, self._folder_mode, dir_fd=at)
                at = os.open(folder, _FOLDER | os.O_NOFOLLOW, dir_fd=at)
                opened.callback(os.close, at)
            yield at, name

    def look(self, relative: bytes) -> os.stat_result | None:
        """What stands under this name: a link itself, not its target."""
        with contextlib.suppress(FileNotFoundError), self.folder(relative) as (folder, name):
            return os.stat(name, dir_fd=folder, follow_symlinks=False)
        return None

    def refused(self, failure: OSError) -> StoreRefused:
        """A fault of the place: what the system says, and what can be done about it."""
        told = failure.strerror or type(failure).__name__
        remedy = _REMEDIES.get(failure.errno or 0)
        return StoreRefused(self.route, str(self.root), f"{told}; {remedy}" if remedy else told)

    def room_for(self, needed: int) -> int:
        """Bytes that files may take here, beside a reserve. Raises StoreRefused where `needed` are more.

        Also where nothing can be written at all: it is read-only, missing, or has no inode left. The blocks
        kept for root don't count. What a file system does not tell (btrfs has no number of inodes) is not
        held against it.
        """
        there = self.root if self.is_there() else self.root.parent
        try:
            facts = os.statvfs(there)
        except OSError as failure:
            raise self.refused(failure) from failure
        if facts.f_flag & os.ST_RDONLY:
            raise self.refused(OSError(errno.EROFS, os.strerror(errno.EROFS)))
        free = facts.f_bavail * facts.f_frsize
        reserve = min(facts.f_blocks * facts.f_frsize // _RESERVE_SHARE, _RESERVE_MOST)
        room = max(0, free - reserve)
        no_inode = facts.f_files > 0 and facts.f_favail == 0
        if needed and (needed > room or no_inode):
            full = self.refused(OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)))
            lacking = "no inode is free" if no_inode else f"{needed:,} bytes are needed, {room:,} may be used"
            raise StoreRefused(self.route, str(self.root), f"{full.args[2]}: {lacking}")
        return room

    def is_there(self) -> bool:
        """Whether the route's folder exists. Raises StoreRefused where that can't be seen."""
        try:
            self.root.stat()
        except FileNotFoundError:
            return False
        except OSError as failure:
            raise self.refused(failure) from failure
        return True

    def _make_root(self) -> None:
        above = os.open(self.root.parent, _FOLDER)
        try:
            with contextlib.suppress(FileExistsError):
                os.mkdir(self.root.name, self._folder_mode, dir_fd=above)
            if self._durable:
                # Files that are durable in a folder that isn't would go with it.
                os.fsync(above)
        finally:
            os.close(above)
