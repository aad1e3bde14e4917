"""When this machine began to run: what was written before, and not synced, may be anything now.

A process that dies takes no bytes with it: they are in the kernel. A power cut takes any of them. A file may
keep its length and its end, and have lost a block in the middle; no look at its size or at its tail tells.
"""

from __future__ import annotations

import os
import time

_AHEAD_S = 60.0
"""So far the clock of another machine's disk may be ahead of ours."""


def written_since_boot(facts: os.stat_result) -> bool:
    """Whether a file was changed last (ctime) while this machine has been up without a break.

    A time that is still to come says that the clock was set back, and nothing about when that was: a machine
    whose battery is empty begins in 1970 after each power cut.
    """
    return booted_at() <= facts.st_ctime <= time.time() + _AHEAD_S


def booted_at() -> float:
    """Epoch seconds, by the clock as it is set now."""
    return time.time() - time.clock_gettime(time.CLOCK_BOOTTIME)
