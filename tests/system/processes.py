"""Questions about processes that are not our children."""

from __future__ import annotations

import psutil


def ends(pid: int, within: float = 5.0) -> bool:
    """Whether a process ends within seconds; a zombie that nobody reaps has ended."""
    try:
        psutil.Process(pid).wait(within)
    except psutil.NoSuchProcess:
        return True
    except psutil.TimeoutExpired:
        return bool(psutil.Process(pid).status() == psutil.STATUS_ZOMBIE)
    return True
