"""A job by Towline's protocol alone: `workers.ftps`, each transfer proven, and nothing around it."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

from tests.bench.clients.job import Job, on_all_lines
from workers.ftps.connection import Connection
from workers.ftps.peer import Peer
from workers.ftps.tls import Trust

BLOCK = 256 * 1024


def one_line(job: Job, number: int) -> None:
    """Connect, and move this line's share."""
    trust = Trust(ca_file=job.ca_file)
    line = Connection.open(Peer(job.host, job.port, job.user, job.password, tls="explicit", trust=trust))
    if job.direction == "list":
        with line.listing(job.remote.encode()) as listing:
            for entry in listing:
                sys.stdout.buffer.write(entry.name + b"\n")
        line.close()
        return
    share = job.share(number)
    sizes = {}
    if job.direction == "down":
        with line.listing(job.remote.encode()) as listing:
            sizes = {entry.name: entry.size for entry in listing}
    for at, name in enumerate(share, 1):
        local, remote, followed = job.local / name, job.path(name).encode(), at < len(share)
        if job.direction == "down":
            with local.open("wb") as file:
                line.retrieve(remote, file.write, size=sizes[name.encode()], followed=followed)
        else:
            line.store(remote, blocks(local), size=local.stat().st_size, followed=followed)
    line.close()


def blocks(path: Path) -> Iterator[bytes]:
    """A file's content."""
    with path.open("rb") as file:
        while block := file.read(BLOCK):
            yield block


if __name__ == "__main__":
    on_all_lines(Job.given(), one_line)
