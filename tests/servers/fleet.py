"""Processes of a fleet, as tests start, freeze and end them (permit_process.py is what each runs)."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Self

import psutil

from tests.servers.command import Site
from tests.waiting import wait_until

REPOSITORY = Path(__file__).parents[2]
END_LIMIT_S = 120.0  # seconds, on a busy machine


class Member:
    """A process that uses the endpoint `bank` again and again.

    said: how often it has said each of its words. environment: of the process, over ours. options, words: as
    in permit_process.py.
    """

    def __init__(
        self, site: Site, *, environment: Mapping[str, str] | None = None, **options: object
    ) -> None:
        self.said: Counter[str] = Counter()
        self.process = subprocess.Popen(
            [sys.executable, "-m", "tests.servers.permit_process", site.config, json.dumps(options)],
            cwd=REPOSITORY,
            env=os.environ | {"BANK_PASSWORD": site.password} | dict(environment or {}),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self._ready = threading.Event()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def begin(self) -> None:
        """It works from now on; returns at once where it has been `ready`."""
        self.ready()
        self._tell("go")

    def ready(self) -> None:
        """Returns once it waits for `begin`."""
        assert self._ready.wait(END_LIMIT_S), "it did not start"

    def freeze(self) -> None:
        """SIGSTOP; returns once it stands still."""
        self.process.send_signal(signal.SIGSTOP)
        stopped = psutil.Process(self.process.pid)
        wait_until(lambda: stopped.status() == psutil.STATUS_STOPPED, what="it stands still")

    def thaw(self) -> None:
        """SIGCONT."""
        self.process.send_signal(signal.SIGCONT)

    def end(self) -> None:
        """Let it finish what it is at; returns once it has given everything back."""
        self._tell("enough")
        assert self.process.wait(END_LIMIT_S) == 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.process.kill()
        self.process.wait()
        self._reader.join()
        for pipe in (self.process.stdin, self.process.stdout):
            assert pipe is not None
            pipe.close()

    def _tell(self, word: str) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(f"{word}\n")
        self.process.stdin.flush()

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            if line == "ready\n":
                self._ready.set()
            else:
                self.said[line.strip()] += 1
