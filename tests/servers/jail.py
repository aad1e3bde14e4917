"""A small root folder of its own for a server that insists on files of the machine.

vsftpd asks PAM, which reads /etc/pam.d and /etc/passwd only; Pure-FTPd logs to /dev/log only. Inside a jail
these are ours: the program, the libraries it needs, and a handful of files. It takes root, as they do.
"""

from __future__ import annotations

import ctypes
import os
import secrets
import shutil
import stat
import struct
from pathlib import Path

from tests.servers import packages


class Jail:
    """A folder a program can be chrooted into."""

    def __init__(self, folder: Path, tree: Path) -> None:
        self.folder = folder
        self._tree = tree
        for below in ("dev", "etc/pam.d", "etc/ssl", "empty", "srv", "tmp"):
            (folder / below).mkdir(parents=True, exist_ok=True)

    def add_program(self, pattern: str) -> str:
        """Puts a file of the tree, and its libraries, where the loader looks; returns its path inside."""
        source = packages.program(self._tree, pattern)
        inside = source.relative_to(self._tree)
        _link(source, self.folder / inside)
        for soname, place in packages.libraries(self._tree, source).items():
            if place is None:
                raise packages.Unavailable(f"{source.name} needs {soname}")
            # Without ld.so.cache the loader looks into its default folders; its own path is an absolute one.
            below = soname.lstrip("/") if soname.startswith("/") else f"usr/lib/{soname}"
            _link(place, self.folder / below)
        return f"/{inside}"

    def write(self, below: str, text: str, mode: int = 0o644) -> str:
        """Writes a file; returns its path inside."""
        path = self.folder / below
        path.write_text(text)
        path.chmod(mode)
        return f"/{below}"

    def add_account(self, user: str, password: str, home: str, uid: int = 0) -> None:
        """The only account of the jail. With uid 0 it may do with the tests' files what they may."""
        nobody = "nobody:x:65534:65534::/empty:/bin/false"
        self.write("etc/passwd", f"{user}:x:{uid}:{uid}::{home}:/bin/sh\n{nobody}\n")
        self.write("etc/group", "root:x:0:\nnogroup:x:65534:\n")
        self.write("etc/shadow", f"{user}:{crypt(password)}:19000:0:99999:7:::\n", 0o600)

    def add_urandom(self) -> None:
        """Makes the device of random bytes (character device 1, 9)."""
        try:
            os.mknod(self.folder / "dev/urandom", 0o666 | stat.S_IFCHR, os.makedev(1, 9))
        except PermissionError as refused:
            raise packages.Unavailable("the jail's /dev/urandom can't be made without CAP_MKNOD") from refused

    def grant(self, below: str, uid: int) -> None:
        """Lets `uid` use a folder, and whatever is made in it later, as root may (POSIX access lists)."""
        everyone = 0xFFFFFFFF
        # (tag, permissions, id) of owner, user, group, mask and others, as in linux/posix_acl_xattr.h.
        entries = (
            (0x01, 7, everyone),
            (0x02, 7, uid),
            (0x04, 5, everyone),
            (0x10, 7, everyone),
            (0x20, 5, everyone),
        )
        access_list = struct.pack("<I", 2) + b"".join(struct.pack("<HHI", *entry) for entry in entries)
        for kind in ("access", "default"):
            os.setxattr(self.folder / below, f"system.posix_acl_{kind}", access_list)

    def limit_tls(self, version: str) -> str:
        """Writes an OpenSSL configuration, since these servers have no setting for TLS versions."""
        return self.write("etc/ssl/openssl.cnf", openssl_conf(version))


def crypt(password: str) -> str:
    """A hash as crypt(3) makes it (SHA-256, few rounds: the accounts are throw-away)."""
    library = ctypes.CDLL("libcrypt.so.1")
    library.crypt.restype = ctypes.c_char_p
    setting = f"$5$rounds=1000${secrets.token_hex(8)}$"
    hashed: bytes = library.crypt(password.encode(), setting.encode())
    return hashed.decode()


def openssl_conf(version: str) -> str:
    """An OpenSSL configuration that speaks TLS "1.2" or "1.3" and no other."""
    return (
        "openssl_conf = start\n[start]\nssl_conf = ssl\n[ssl]\nsystem_default = limits\n"
        f"[limits]\nMinProtocol = TLSv{version}\nMaxProtocol = TLSv{version}\n"
    )


def _link(source: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    if target.exists():
        return
    try:
        os.link(source.resolve(), target)
    except OSError:  # another file system
        shutil.copy(source.resolve(), target)
