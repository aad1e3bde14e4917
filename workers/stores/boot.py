"""When this machine began to run: what was written before, and not synced, may be anything now.

A process that dies takes no bytes with it: they are in the kernel. A power cut takes any of them. A file may
keep its length and its end, and have lost a block in the middle; no look at its size or at its tail tells.
"""

from __future__ import annotations

import os
import time


def written_since_boot(facts: os.stat_result) -> bool:
    """Whether a file was changed last (ctime) while this machine has been up without a break."""
    return facts.st_ctime >= booted_at()


def booted_at() -> float:
    """Epoch seconds, by the clock as it is set now."""
    return time.time() - time.clock_gettime(time.CLOCK_BOOTTIME)
