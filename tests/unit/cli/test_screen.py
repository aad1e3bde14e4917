"""What a terminal shows while files move."""

from __future__ import annotations

import io
import itertools
import re
import sys

import pytest

from tests.waiting import wait_until
from workers.cli.screen import Screen


class Terminal(io.StringIO):
    """Says that it is one."""

    def isatty(self) -> bool:
        return True


def test_a_bar_tells_the_rate_and_the_time_left(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of the file, with how much of it is there."""
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "120")
    whole = 10**9
    there = itertools.count(0, 100_000)
    with (screen := Screen(1, whole)), screen.file("a.bin") as draw:

        def told() -> bool:
            draw(min(next(there), whole), whole)
            plain = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", terminal.getvalue())
            return bool(re.search(r"a\.bin .*/1\.0 GB +[\d.]+ \wB/s +\d+:\d\d:\d\d", plain))

        wait_until(told, 60, what="rate and time left")
