"""Questions about processes that are not our children."""

from __future__ import annotations

import time

import psutil


def ends(pid: int, within: float = 60.0) -> bool:
    """Whether a process ends within seconds; a zombie that nobody reaps has ended."""
    deadline = time.monotonic() + within
    while psutil.pid_exists(pid):
        try:
            if psutil.Process(pid).status() == psutil.STATUS_ZOMBIE:
                return True
        except psutil.NoSuchProcess:
            return True
        if time.monotonic() > deadline:
            return False
        time.sleep(0.01)
    return True
