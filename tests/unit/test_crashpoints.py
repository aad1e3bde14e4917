"""Crash points: nothing in production, SIGKILL where a test aims."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from workers.crashpoints import NAMES

REPOSITORY = Path(__file__).parents[2]


def run(aim: str, script: str) -> subprocess.CompletedProcess[str]:
    """A process that is aimed at."""
    return subprocess.run(
        [sys.executable, "-c", f"from workers.crashpoints import crashpoint\n{script}"],
        cwd=REPOSITORY,
        env=os.environ | {"TOWLINE_CRASH_AT": aim},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.parametrize(("aim", "printed"), [("received", ""), ("received:1", ""), ("received:3", "1\n2\n")])
def test_the_process_dies_at_the_named_place(aim: str, printed: str) -> None:
    """By SIGKILL, at the pass that was asked for."""
    script = "for n in 1, 2, 3, 4: crashpoint('received'); print(n, flush=True)"
    ended = run(aim, script)
    assert (ended.returncode, ended.stdout) == (-signal.SIGKILL, printed)


def test_other_places_are_passed(tmp_path: Path) -> None:
    """Only the place aimed at is deadly."""
    ended = run("received", "crashpoint('synced'); print('alive')")
    assert (ended.returncode, ended.stdout) == (0, "alive\n")


def test_a_place_that_does_not_exist_cannot_be_aimed_at() -> None:
    """A test with a misspelt name would otherwise pass without a crash."""
    ended = run("recieved", "print('alive')")
    assert ended.returncode == 1
    assert "recieved" in ended.stderr


def test_the_list_is_that_of_the_places_in_the_code() -> None:
    """So that a test that walks the list misses none, and waits for none that is gone."""
    used: set[str] = set()
    for folder in ("workers", "tasks"):
        for file in (REPOSITORY / folder).rglob("*.py"):
            if file.name != "crashpoints.py":
                used.update(re.findall(r"crashpoint\(\s*\"([^\"]+)\"", file.read_text()))
    assert used == NAMES
