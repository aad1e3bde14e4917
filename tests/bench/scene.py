"""A server with the data of an item on it, and a fresh folder for each turn."""

from __future__ import annotations

import contextlib
import filecmp
import os
import random
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tests.bench.measure import TurnFailed
from tests.bench.work import Item, Job, Place, Work
from tests.servers.certificates import Certificates
from tests.servers.kinds import KINDS
from tests.servers.server import FtpServer

PIECE = 2**20
KEPT = 2**26
HUGE = 2**33  # no client of these compresses, and the disk need not hold it twice
# Whole minutes: LIST tells no more, and a poll that sees a younger file waits for its time to settle.
MODIFIED = 1_700_000_040
NEVER_LEFT_IDLE_S = 3600
LONGEST_LISTING = 200_000  # Pure-FTPd ends at 10,000 unless told otherwise


@contextlib.contextmanager
def serving(
    item: Item,
    folder: Path,
    certificates: Certificates,
    *,
    host: str = "127.0.0.1",
    namespace: contextlib.AbstractContextManager[object] | None = None,
) -> Iterator[Place]:
    """The item's server, started. namespace: where it runs. Raises packages.Unavailable."""
    more: dict[str, Any] = {"listing_limit": LONGEST_LISTING} if item.server == "pure-ftpd" else {}
    kind = KINDS[item.server]
    server: FtpServer = kind(folder, certificates, tls_version=item.tls, host=host, **more)
    try:
        with namespace or contextlib.nullcontext():
            server.start()
        assert server.process is not None
        yield Place(
            server.host,
            server.port,
            server.user,
            server.password,
            server.ca_file,
            server.root,
            server.process.pid,
        )
    finally:
        server.close()
        _clear(server.root, item.work)


def _clear(folder: Path, work: Work) -> None:
    """Remove what would fill the disk; many small files stay until the whole run ends.

    ext4 without a journal passes by inodes that were deleted in the last minutes, one by one, whenever a file
    is made: the next contestant would pay a quarter of its time for the files of the one before.
    """
    if sum(work.sizes) > KEPT:
        shutil.rmtree(folder, ignore_errors=True)


def make_files(work: Work, folder: Path) -> None:
    """The work's files, of bytes that do not compress, the same in every run; a huge one is a hole."""
    folder.mkdir(parents=True, exist_ok=True)
    folder.chmod(0o777)
    chance = random.Random(work.name)
    for name, size in zip(work.names, work.sizes, strict=True):
        with (folder / name).open("wb") as file:
            if size >= HUGE:
                file.truncate(size)
                size = 0
            for begin in range(0, size, PIECE):
                file.write(chance.randbytes(min(PIECE, size - begin)))
        os.utime(folder / name, (MODIFIED, MODIFIED))


class Turns:
    """Gives out jobs with a target folder that is empty, and looks at what came of them."""

    def __init__(self, item: Item, place: Place, folder: Path, source: Path) -> None:
        """source: a folder that holds the item's files, on the same file system as the server's."""
        self._item = item
        self._place = place
        self._folder = folder
        self._source = source
        self._number = 0
        remote = place.root / "work"
        remote.mkdir(mode=0o777)
        remote.chmod(0o777)
        if item.work.direction != "up":
            for name in item.work.names:
                # vsftpd and Pure-FTPd are shut into a folder: a hard link gets in, a symbolic one does not.
                os.link(source / name, remote / name)

    @contextlib.contextmanager
    def next(self) -> Iterator[Job]:
        """A job with a folder of its own."""
        self._number += 1
        scratch = self._folder / f"turn{self._number}"
        scratch.mkdir(parents=True)
        work = self._item.work
        if work.direction == "up":
            local, remote = self._source, f"/turn{self._number}"
            target = self._place.root / remote[1:]
        else:
            local, remote = scratch / "in", "/work"
            target = local
        target.mkdir()
        target.chmod(0o777)
        if work.direction == "poll":
            for name in work.names:  # what a contestant without a memory compares with
                os.link(self._source / name, local / name)
        try:
            yield Job(self._place, work, self._item.lines, local, remote, scratch)
        finally:
            _clear(target, work)
            _clear(scratch, work)

    def check(self, job: Job) -> None:
        """Raises TurnFailed unless every file has arrived whole."""
        if job.work.direction == "list":
            listed = (job.scratch / "output").read_bytes().count(b"\n")
            if listed < len(job.work.sizes):
                raise TurnFailed(f"{listed} of {len(job.work.sizes)} entries were listed")
            return
        came = job.local if job.work.direction != "up" else job.remote_folder
        _, differ, missing = filecmp.cmpfiles(self._source, came, job.work.names, shallow=False)
        if differ or missing:
            raise TurnFailed(f"{len(missing)} files have not arrived, {len(differ)} are not whole")
