"""Waiting for something another process does, where no event can be awaited."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Self, TypeVar

T = TypeVar("T")

TICK_S = 0.01


def wait_until(condition: Callable[[], T], timeout_s: float = 60.0, *, what: str = "") -> T:
    """The first true value of `condition()`, asked every 10 ms. Raises AssertionError after `timeout_s`.

    That is no bound for what is waited for, only for how long a test hangs: a busy machine may take seconds.
    """
    deadline = time.monotonic() + timeout_s
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {timeout_s:g} s: {what or condition}; last value {value!r}")
        time.sleep(TICK_S)


class Stalls:
    """How long this process stood still in all, while the block lasted: what a test's deadline lost to it.

    A thread of its own asks for a hundredth of a second again and again, and looks how much longer it took.
    """

    def __init__(self) -> None:
        self._lost_s = 0.0
        self._looked_at = time.monotonic()
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._look, name="stalls", daemon=True)

    @property
    def lost_s(self) -> float:
        """Seconds, those of a stall under way included."""
        return self._lost_s + max(0.0, time.monotonic() - self._looked_at - TICK_S)

    def _look(self) -> None:
        while not self._over.wait(TICK_S):
            self._lost_s, self._looked_at = self.lost_s, time.monotonic()

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()
