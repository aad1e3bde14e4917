"""What is counted of a line: why it was built, how often in vain, and what one task did to it."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import StrEnum

from workers.ftps.errors import Loss


class Reason(StrEnum):
    """Why a line was built. All but the first are rebuilds."""

    FIRST_USE = "first_use"
    IDLE_LOSS = Loss.IDLE.value
    SERVER_CLOSED = Loss.CLOSED.value
    BLACK_HOLE = Loss.BLACK_HOLE.value
    PROTOCOL = Loss.PROTOCOL.value
    ROTATION = "rotation"
    FORK = "fork"


@dataclass(slots=True)
class Tally:
    """What one task did to the line and over it, summed over all its operations."""

    connects: int = 0  # connects tried, the first included
    reconnects: int = 0  # lines rebuilt with success
    files: int = 0  # moved whole; not yet published, perhaps
    bytes: int = 0  # of files, moved over the line
    total_files: int = 0  # claimed to be moved
    total_bytes: int | None = (
        0  # of those, parts included that are here already; None where a size is not known
    )
    heeds_breaker: bool = False
    """An endpoint known to be down fails the task at once; polls and people try all the same."""
    started: float = field(default_factory=time.monotonic)

    def expects(self, sizes: Sequence[int | None]) -> None:
        """So many files more are to be moved, of these sizes."""
        self.total_files += len(sizes)
        known = [size for size in sizes if size is not None]
        whole = self.total_bytes is not None and len(known) == len(sizes)
        self.total_bytes = (self.total_bytes or 0) + sum(known) if whole else None

    @property
    def elapsed_s(self) -> float:
        """Seconds since the task began, to the millisecond."""
        return round(time.monotonic() - self.started, 3)


@dataclass(slots=True)
class Counters:
    """What has happened to this session's line since the process began."""

    builds: Counter[Reason] = field(default_factory=Counter)
    failures: Counter[str] = field(default_factory=Counter)  # failed connects, by class of error
    data_sessions: Counter[str] = field(default_factory=Counter)  # data channels resumed: "true" or "false"
    last_error: str | None = None
    """What went wrong last, with its class."""

    @property
    def reconnects(self) -> int:
        """Lines rebuilt with success, whatever the reason."""
        return sum(count for reason, count in self.builds.items() if reason is not Reason.FIRST_USE)

    def since(self, earlier: Counters) -> Counters:
        """What has come since `earlier`."""
        return Counters(
            self.builds - earlier.builds,
            self.failures - earlier.failures,
            self.data_sessions - earlier.data_sessions,
        )


def shown(failure: BaseException) -> str:
    """A failure in one line: its class, and what it says."""
    return f"{type(failure).__name__}: {failure}"
