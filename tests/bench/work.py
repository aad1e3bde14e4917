"""What is to be done, and where: the values that flow through the benchmark."""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from tests.servers.server import TlsVersion

Direction = Literal["down", "up", "list", "poll"]


@dataclass(frozen=True, slots=True)
class Work:
    """A set of files in a remote folder, and what is done with it. sizes: bytes, one a file."""

    name: str
    title: str
    direction: Direction
    sizes: tuple[int, ...]

    @property
    def bytes(self) -> int:
        """Of all files together."""
        return sum(self.sizes)

    @property
    def names(self) -> tuple[str, ...]:
        """The files' names, which every client can say without quoting."""
        return tuple(f"file-{number:06d}.dat" for number in range(len(self.sizes)))


@dataclass(frozen=True, slots=True)
class Item:
    """A work against one server with so many lines; one row of the report.

    far_ms: the way there and back over the far link, in milliseconds; None: loopback. contestants: names from
    `turns.COMMANDS`. syscalls: whether a run of each under strace counts its system calls. profiled: whether
    a turn of `towline run` is sampled. left_out: who is not asked at all, and why. seconds: about how long
    it takes, by which a run of given minutes is shared out.
    """

    work: Work
    server: str
    tls: TlsVersion
    lines: int
    contestants: tuple[str, ...]
    far_ms: int | None = None
    syscalls: bool = False
    profiled: bool = False
    left_out: Mapping[str, str] = field(default_factory=dict)
    seconds: float = 60.0

    @property
    def id(self) -> str:
        """How `--only` and the results name it."""
        far = "" if self.far_ms is None else f"/far-{self.far_ms}ms"
        return f"{self.work.name}/{self.server}/tls{self.tls}/{self.lines}{far}"


@dataclass(frozen=True, slots=True)
class Place:
    """A server as a client sees it. root: the folder it shows as "/"; pid: of its first process."""

    host: str
    port: int
    user: str
    password: str
    ca_file: Path
    root: Path
    pid: int


@dataclass(frozen=True, slots=True)
class Job:
    """One turn of one contestant.

    local: where files land or come from. remote: the server's folder, absolute. scratch: for configuration,
    state and logs of this turn.
    """

    place: Place
    work: Work
    lines: int
    local: Path
    remote: str
    scratch: Path

    @property
    def remote_folder(self) -> Path:
        """The remote folder, as the machine sees it."""
        return self.place.root / self.remote.strip("/")


def same(count: int, size: int) -> tuple[int, ...]:
    """So many files of one size."""
    return (size,) * count


def mixed(count: int, largest: int, *, seed: int = 7) -> tuple[int, ...]:
    """Sizes as real folders have them: as many between 1 and 2 KiB as between 1 and 2 MiB; some are empty."""
    chance = random.Random(seed)
    return tuple(0 if number % 50 == 49 else int(largest ** chance.random()) for number in range(count))
