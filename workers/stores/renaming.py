"""A rename that never replaces: one step where the system knows it, two in their order where not."""

from __future__ import annotations

import ctypes
import errno
import os

from workers.crashpoints import crashpoint

_RENAME_NOREPLACE = 1
_NOT_KNOWN = {errno.ENOSYS, errno.EINVAL, errno.ENOTSUP}
"""NFS, and file systems that FUSE serves, know no flags of renameat2 (EINVAL)."""


def rename_unless_taken(folder: int, old: bytes, new: bytes, *, durable: bool) -> None:
    """Rename within an opened folder. Raises FileExistsError where the new name is taken, and any OSError.

    durable: were two steps needed, a power cut between them leaves one name at least.
    """
    try:
        _renameat2(folder, old, new)
    except OSError as failure:
        if failure.errno not in _NOT_KNOWN:
            if isinstance(failure, FileExistsError) and _one_file(folder, old, new):
                os.unlink(old, dir_fd=folder)
                return
            raise
        _link_then_unlink(folder, old, new, durable=durable)


def _renameat2(folder: int, old: bytes, new: bytes) -> None:
    """renameat2(2) with RENAME_NOREPLACE; Python has no name for it."""
    call = getattr(_libc, "renameat2", None)
    if call is None:
        raise OSError(errno.ENOSYS, os.strerror(errno.ENOSYS))
    if call(folder, old, folder, new, ctypes.c_uint(_RENAME_NOREPLACE)):
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code), new)


def _link_then_unlink(folder: int, old: bytes, new: bytes, *, durable: bool) -> None:
    """A crash between the two leaves both names for one file; then only the second step is due.

    The folder is synced between them: an unlink that outlives a power cut without its link loses the file.
    """
    try:
        os.link(old, new, src_dir_fd=folder, dst_dir_fd=folder, follow_symlinks=False)
    except FileExistsError:
        if not _one_file(folder, old, new):
            raise
    if durable:
        os.fsync(folder)
    crashpoint("linked")
    os.unlink(old, dir_fd=folder)


def _one_file(folder: int, one: bytes, other: bytes) -> bool:
    ours = os.stat(one, dir_fd=folder, follow_symlinks=False)
    there = os.stat(other, dir_fd=folder, follow_symlinks=False)
    return (ours.st_dev, ours.st_ino) == (there.st_dev, there.st_ino)


_libc = ctypes.CDLL(None, use_errno=True)
