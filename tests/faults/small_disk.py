"""A file system of a few megabytes, for tests that fill it: a tmpfs in a mount namespace of its own.

    with SmallDisk(folder, "4m") as disk:
        disk.path            # where it is seen from here
        disk.remount("ro")

No root is needed where the kernel lets users make namespaces; where it doesn't the test skips and says so.
A server that is to see it is started in the namespace: `server.start(within=disk.within)`. That takes root.
"""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
from pathlib import Path
from types import TracebackType
from typing import Self

import pytest


class SmallDisk:
    """Mounted over `folder` in the namespace of one shell, which ends with it."""

    def __init__(self, folder: Path, size: str) -> None:
        folder.mkdir()
        self._folder = folder
        self._size = size

    def __enter__(self) -> Self:
        if shutil.which("unshare") is None:
            pytest.skip("no small file system: unshare is not here")
        # Of root's own first: one of a user namespace takes no files of other accounts.
        ways = [["--mount"]] if os.geteuid() == 0 else []
        for way in (*ways, ["--user", "--map-root-user", "--mount"]):
            self._shell = subprocess.Popen(
                ["unshare", *way, "sh"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
            )
            told = self._say(f"mount -t tmpfs -o size={self._size} tmpfs {shlex.quote(str(self._folder))}")
            if told == "0":
                break
            self.close()
        else:
            pytest.skip(f"no small file system: {told}")
        self.within = ("nsenter", f"--mount=/proc/{self._shell.pid}/ns/mnt")
        # The way into the namespace that every process of the same user has.
        self.path = Path(f"/proc/{self._shell.pid}/root{self._folder}")
        return self

    def remount(self, how: str) -> None:
        """As `mount -o remount,HOW`: "ro", "rw", "size=8m"."""
        told = self._say(f"mount -o remount,{how} {shlex.quote(str(self._folder))}")
        assert told == "0", told

    def fill(self, *, leave: int = 0) -> Path:
        """A file that takes all but `leave` bytes."""
        facts = os.statvfs(self.path)
        taken = self.path / "somebody-else's"
        with taken.open("wb") as file:
            os.posix_fallocate(file.fileno(), 0, max(1, facts.f_bavail * facts.f_frsize - leave))
        return taken

    def close(self) -> None:
        """End the shell, and with it the file system."""
        self._shell.communicate()

    def _say(self, command: str) -> str:
        """Run a command in the namespace; "0", or what it had to say."""
        assert self._shell.stdin is not None
        assert self._shell.stdout is not None
        try:
            self._shell.stdin.write(f"why=$({command} 2>&1); code=$?; echo $code $why\n")
            self._shell.stdin.flush()
        except BrokenPipeError:
            pass
        code, _, why = self._shell.stdout.readline().strip().partition(" ")
        return code if code == "0" else why or code or "no namespace"

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
