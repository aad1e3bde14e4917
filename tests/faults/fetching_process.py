"""A worker without Celery, in a process that is forked for one piece of work and may be killed in it.

`python -m tests.faults.fetching_process` has everything loaded and waits: for each Work that is pickled on
its stdin it forks a child, and prints the child's exit code (see `nursery.Nursery`). A kill costs a fork that
way, and not a second of imports.
"""

from __future__ import annotations

import errno
import math
import os
import pickle
import sys
import threading
import traceback
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from celery import Celery

from tasks.announcing import announce
from workers import batch, crashpoints, rounds
from workers.janitor import Janitor
from workers.ledger import polls
from workers.ledger.engine import Database
from workers.process import Process
from workers.session import Tally
from workers.settings import Settings
from workers.stores import renaming
from workers.upkeep import upkeep

_RENEWED_WITHIN_S = 60.0


@dataclass(frozen=True, slots=True)
class Work:
    """Some ticks of beat's clock, as one process after the other answers them.

    aim: the crash point at which it dies. messages: the folder into which follow-on tasks are sent. later_s:
    so much later than now it is, as far as the ledger can tell. small_chunks: a listing goes into the ledger
    two changes at a time. two_steps: the file system has no rename that refuses a name in use.
    """

    settings: Settings
    messages: Path
    ticks: int = 1
    aim: str = ""
    later_s: float = 0.0
    small_chunks: bool = False
    two_steps: bool = False

    def run(self) -> None:
        """Do it, in this process."""
        batch.GROUP_SECONDS = math.inf  # how many files are a group is not the machine's matter
        if self.later_s:
            _put_forward(self.later_s)
        if self.aim == "lease-renewed":
            Janitor.holds = _renewed_first  # type: ignore[method-assign, assignment]
        if self.small_chunks:
            polls._FIRST_CHUNK = 2
        if self.two_steps:
            renaming._renameat2 = _not_known
        crashpoints.aim(self.aim)
        app = Celery("fetching-process", set_as_current=False)
        app.conf.broker_url = "filesystem://"
        folders = {"data_folder_in": str(self.messages), "data_folder_out": str(self.messages)}
        app.conf.broker_transport_options = folders | {"control_folder": str(self.messages / "control")}
        with closing(Process(self.settings)) as process:
            for _ in range(self.ticks):
                _tick(app, process)


def _tick(app: Celery, process: Process) -> None:
    """What one tick brings: upkeep, and of each route a poll and as many fetches as hints for one another."""
    upkeep(process)
    announce(app, process)
    for route in process.settings.routes.values():
        rounds.poll(process, route, Tally())
        while True:
            done = rounds.fetch(process, route, Tally())
            announce(app, process, route.name)
            if isinstance(done, rounds.Skipped) or not done.more:
                break


def _put_forward(seconds: float) -> None:
    now = Database.now
    Database.now = lambda *told: now(*told) + seconds  # type: ignore[method-assign]


def _renewed_first(janitor: Janitor, _: int) -> bool:
    """Asked of a file under way: it waits for the renewal, of which the process dies."""
    janitor._due_at = 0.0
    janitor.wake()
    threading.Event().wait(_RENEWED_WITHIN_S)
    return True


def _not_known(folder: int, old: bytes, new: bytes) -> None:
    raise OSError(errno.ENOSYS, os.strerror(errno.ENOSYS))


def _orders(source: IO[bytes]) -> Iterator[Work]:
    while True:
        try:
            yield pickle.load(source)
        except EOFError:
            return


def main() -> None:
    """Serve until stdin ends."""
    for work in _orders(sys.stdin.buffer):
        child = os.fork()
        if child == 0:
            try:
                work.run()
            except BaseException:  # noqa: BLE001 - told, and the exit code says so
                traceback.print_exc()
                os._exit(1)
            os._exit(0)
        _, status = os.waitpid(child, 0)
        print(os.waitstatus_to_exitcode(status), flush=True)


if __name__ == "__main__":
    main()
