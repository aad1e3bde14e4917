"""Where short-lived workers come from: one process that has loaded everything, and forks."""

from __future__ import annotations

import pickle
import signal
import subprocess
import sys
from pathlib import Path
from typing import Self

from tests.faults.fetching_process import Work
from tests.servers.fetching import Fetching
from workers.settings import Settings

REPOSITORY = Path(__file__).resolve().parents[2]


class Nursery:
    """Runs pieces of work one after the other, each in a process of its own; `folder` holds what they say."""

    def __init__(self, folder: Path) -> None:
        self._log = folder / "log"
        self._messages = folder / "messages"
        self._messages.mkdir()
        with self._log.open("ab") as said:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "tests.faults.fetching_process"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=said,
                cwd=REPOSITORY,
            )

    def does(self, work: Work) -> None:
        """It comes to its end."""
        assert self._run(work) == 0, self._said()

    def dies_of(self, work: Work) -> None:
        """It is killed at the place that it is aimed at; a place that it does not reach is a failure."""
        ended = self._run(work)
        assert ended == -signal.SIGKILL, f"{work.aim} was not reached: {ended}\n{self._said()}"

    def dies_of_fetching(self, one: Fetching, at: str, *, lease_s: float = 60.0) -> None:
        """A second worker of the same route and ledger is killed at this place."""
        settings = Settings(
            path=one.folder / "towline.toml",
            state_dir=one.folder,
            lease=lease_s,
            endpoints={one.endpoint.name: one.endpoint},
            routes={one.route.name: one.route},
        )  # type: ignore[call-arg]  # the ledger is in state_dir
        self.dies_of(Work(settings, self._messages, aim=at))

    def _run(self, work: Work) -> int:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        pickle.dump(work, self._process.stdin)
        self._process.stdin.flush()
        return int(self._process.stdout.readline() or 255)

    def _said(self) -> str:
        return self._log.read_text(errors="replace")[-4000:]

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.communicate()  # the end of its orders
