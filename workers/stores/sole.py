"""One process writes to a temp: whoever has it open holds its lock, which the kernel drops with the process.

A name can be taken from a worker that froze, and its open file cannot. Were its temp only renamed, it would
thaw and write into a file that its successor has published by then: truncate it, or change its time. So a
temp that somebody still has open is copied under the new name. Beside the names of temps, which nobody else
uses, this is the second half of the fence.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import stat

from workers.stores.boot import written_since_boot

_NEW_FILE = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_OLD_FILE = os.O_RDWR | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_NO_LOCKS = {errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP, errno.EINVAL}
"""What file systems answer that know no flock(2), as some network ones."""
_BLOCK = 1 << 20


def made(folder: int, name: bytes) -> int:
    """A new, empty temp in an opened folder; whatever bears its name is removed, never written to."""
    with contextlib.suppress(FileNotFoundError):
        os.unlink(name, dir_fd=folder)
    # 0600 until it is whole: nobody reads a half file by accident.
    return os.open(name, _NEW_FILE, 0o600, dir_fd=folder)


def continued(folder: int, name: bytes) -> int | None:
    """The temp that is there, opened; None when there is none, or none that can be gone on with."""
    try:
        file = os.open(name, _OLD_FILE, dir_fd=folder)
    except OSError as failure:
        if failure.errno in (errno.ENOENT, errno.ELOOP, errno.EISDIR, errno.ENXIO):
            return None
        raise
    # A second name (a hard link) would have our bytes land under it as well.
    facts = os.fstat(file)
    if stat.S_ISREG(facts.st_mode) and facts.st_nlink == 1 and written_since_boot(facts):
        return file
    os.close(file)
    return None


def hold(folder: int, name: bytes, file: int) -> bool:
    """Take the lock of a temp just opened; False where it is another's, or has been taken over since.

    Between the opening and the lock a successor may have come, and gone.
    """
    if _locked(file) is False:
        return False
    ours = os.fstat(file)
    try:
        there = os.stat(name, dir_fd=folder, follow_symlinks=False)
    except FileNotFoundError:
        return False
    return (there.st_dev, there.st_ino) == (ours.st_dev, ours.st_ino)


def take_over(folder: int, old: bytes, new: bytes) -> bool:
    """Bring a temp under a new name, where nobody else writes to it; False when there is none to go on with.

    Raises FileNotFoundError when it is gone, and any OSError.
    """
    file = continued(folder, old)
    if file is None:
        os.unlink(old, dir_fd=folder)
        return False
    try:
        if _locked(file):
            os.rename(old, new, src_dir_fd=folder, dst_dir_fd=folder)
            return True
        copied = _copied(folder, file, new)
        os.unlink(old, dir_fd=folder)
        return copied
    finally:
        os.close(file)


def _locked(file: int) -> bool | None:
    """Whether the lock is ours now; None where nobody can tell, since the file system knows no locks."""
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError as failure:
        if failure.errno in _NO_LOCKS:
            return None
        raise
    return True


def _copied(folder: int, file: int, new: bytes) -> bool:
    """Copy a temp; False, and no copy, where it was written to meanwhile: it may be a mixture."""
    before = os.fstat(file)
    fresh = made(folder, new)
    try:
        at = 0
        while block := os.pread(file, _BLOCK, at):
            at += os.pwrite(fresh, block, at)
        after = os.fstat(file)
        whole = (at, after.st_size, after.st_ctime_ns) == (before.st_size, before.st_size, before.st_ctime_ns)
    except OSError:
        os.unlink(new, dir_fd=folder)
        raise
    finally:
        os.close(fresh)
    if not whole:
        os.unlink(new, dir_fd=folder)
    return whole
