"""An orderly stop, as every process of a worker sees it.

Celery's shutdown signal fires only in the parent, so its children learn of a stop through memory
that was shared before the fork: one double, the monotonic time at which the grace is over. Linux's
monotonic clock is one for all processes of a host.
"""

from __future__ import annotations

import math
import mmap
import struct
import time

_DOUBLE = struct.Struct("d")


class StopFlag:
    """Set once by the parent, read between blocks by whoever moves bytes."""

    def __init__(self, above: StopFlag | None = None) -> None:
        """above: a stop of which is one of ours as well."""
        self._above = above
        self._memory = mmap.mmap(-1, _DOUBLE.size)  # anonymous and shared: inherited by every fork

    def begin(self, grace: float) -> None:
        """No new file from now on; the file in hand has `grace` seconds to end."""
        _DOUBLE.pack_into(self._memory, 0, time.monotonic() + grace)

    def clear(self) -> None:
        """Forget a stop: a parent that starts anew, or a test."""
        _DOUBLE.pack_into(self._memory, 0, 0.0)

    @property
    def _over_at(self) -> float:
        at: float = _DOUBLE.unpack_from(self._memory, 0)[0]
        return min(at or math.inf, self._above._over_at if self._above is not None else math.inf)

    @property
    def begun(self) -> bool:
        """A stop was asked for: begin no other file."""
        return self._over_at != math.inf

    @property
    def grace_over(self) -> bool:
        """Stop now, between two blocks."""
        return time.monotonic() >= self._over_at


STOP = StopFlag()
