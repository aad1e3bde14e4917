"""Which names of a server may become names of ours; pure.

A server decides what its files are called, and may be hostile or broken: `../../etc/cron.d/x`, an absolute
name, a name with NUL or a line end (basic-ftp CVE-2026-27699, rclone GHSA-8c48-q9wj-3w37). Such a name is
refused with its reason, before anything is opened. All others, whatever their encoding, are bytes on disk as
they were bytes on the wire: Linux knows no other forbidden byte than NUL and the slash.
"""

from __future__ import annotations

from workers.names import printable

TEMP_PREFIX = b".towline-"
"""How every temporary file of Towline's begins. No published file may: a sweep would take it."""

NAME_BYTES = 255
"""The longest name that Linux file systems take, in bytes (NAME_MAX)."""


class NameRefused(Exception):
    """A file can't be kept under this name. The file's own fault: the others of its batch go on."""

    def __init__(self, name: bytes, reason: str) -> None:
        super().__init__(name, reason)
        self.name = name
        self.reason = reason

    def __str__(self) -> str:
        return f"the name {printable(self.name)} is refused: {self.reason}"


def refusal(name: bytes) -> str | None:
    """Why a single name, as a listing gave it, may not be used; None when it may."""
    if name in (b"", b".", b".."):
        return "it names a folder" if name else "it is empty"
    if b"/" in name:
        return "it leads into another folder"
    if b"\0" in name or b"\r" in name or b"\n" in name:
        return "it holds NUL or a line end"
    if name.startswith(TEMP_PREFIX):
        return "Towline's own temporary files are called so"
    if len(name) > NAME_BYTES:
        return f"it is longer than {NAME_BYTES} bytes"
    return None


def parts(relative: bytes) -> list[bytes]:
    """The steps of a path below a folder, each a name that may be used. Raises NameRefused."""
    steps = relative.split(b"/")
    for step in steps:
        if (reason := refusal(step)) is not None:
            raise NameRefused(relative, "it is absolute" if relative.startswith(b"/") else reason)
    return steps


def joined(folder: bytes, name: bytes) -> bytes:
    """The path of what is called `name` in a remote folder."""
    return folder.rstrip(b"/") + b"/" + name


def absolute(remote: bytes, path: bytes) -> bytes:
    """A remote path as somebody gives it: as it is, or below the folder `remote`."""
    return path if path.startswith(b"/") else joined(remote, path)


def below(remote: bytes, path: bytes) -> bytes:
    """The part of the absolute remote `path` that lies below the folder `remote`. Raises NameRefused."""
    folder = remote.rstrip(b"/") + b"/"
    if not path.startswith(folder):
        raise NameRefused(path, f"it is not below {printable(remote)}")
    relative = path[len(folder) :]
    parts(relative)
    return relative


def numbered(relative: bytes, number: int) -> bytes:
    """`a/name.xml`, 2 → `a/name.2.xml`; without a suffix (`.profile` has none) the number goes to the end."""
    folder, slash, name = relative.rpartition(b"/")
    stem, dot, suffix = name.rpartition(b".")
    if not stem:
        stem, dot, suffix = name, b"", b""
    return b"%b%b%b.%d%b%b" % (folder, slash, stem, number, dot, suffix)
