"""The job a client process is given, read from the file named on its command line."""

from __future__ import annotations

import json
import multiprocessing
import os
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Job:
    """The fields of `work.Job` that a client needs, in plain types."""

    host: str
    port: int
    user: str
    password: str
    ca_file: str
    direction: str
    local: Path
    remote: str
    names: tuple[str, ...]
    lines: int

    @classmethod
    def given(cls) -> Job:
        """From sys.argv[1]."""
        told = json.loads(Path(sys.argv[1]).read_bytes())
        return cls(**told | {"local": Path(told["local"]), "names": tuple(told["names"])})

    def share(self, number: int) -> tuple[str, ...]:
        """The files of one of the lines."""
        return self.names[number :: self.lines]

    def path(self, name: str) -> str:
        """A file's absolute remote path."""
        return f"{self.remote}/{name}"


def on_all_lines(job: Job, one_line: Callable[[Job, int], None]) -> None:
    """Run `one_line(job, number)` for each line, in a process each where there are several."""
    if job.lines == 1:
        one_line(job, 0)
        return
    processes = [
        multiprocessing.get_context("fork").Process(target=one_line, args=(job, number))
        for number in range(job.lines)
    ]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    if any(process.exitcode for process in processes):
        os._exit(1)
