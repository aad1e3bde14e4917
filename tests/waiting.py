"""Waiting for something another process does, where no event can be awaited."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")


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
        time.sleep(0.01)
