"""`towline` with somebody looking on: where its threads are, every few milliseconds, as parts of its time.

    python -m tests.bench.clients.sampled PROFILE.json run work --sessions 1

The main thread and the lines count, each at the place of ours that is innermost on its stack, for waiting as
for working; the main thread does not count while it waits for the lines.
"""

from __future__ import annotations

import json
import sys
import threading
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from types import FrameType

EVERY_S = 0.005
MARK = "/workers/"
IMPORTING = "starting Python, importing modules"
THREADS = ("MainThread", "towline-line")
WAITS_FOR_LINES = "cli/lines.py: side_by_side"


class Sampler:
    """Counts places until it is told to end."""

    def __init__(self) -> None:
        self.seen: Counter[str] = Counter()
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._look, name="bench-sampler", daemon=True)
        self._thread.start()

    def end(self) -> None:
        """Look no more."""
        self._over.set()
        self._thread.join()

    def _look(self) -> None:
        while not self._over.wait(EVERY_S):
            frames = sys._current_frames()
            for thread in threading.enumerate():
                if thread.name.startswith(THREADS) and thread.ident in frames:
                    place = place_of(frames[thread.ident])
                    if place is not None:
                        self.seen[place] += 1


def place_of(frame: FrameType) -> str | None:
    """The innermost place of ours on a stack, as "session.py: run"; None where there is nothing to do."""
    ours = None
    for one in _outwards(frame):
        file = one.f_code.co_filename
        if "importlib._bootstrap" in file:
            return IMPORTING
        if ours is None and MARK in file:
            ours = f"{file.rpartition(MARK)[2]}: {one.f_code.co_name}"
    return None if ours == WAITS_FOR_LINES else ours


def _outwards(frame: FrameType | None) -> Iterator[FrameType]:
    while frame is not None:
        yield frame
        frame = frame.f_back


def main() -> None:
    """Sample the verb that the command line names."""
    told = Path(sys.argv[1])
    sys.argv[:2] = ["towline"]
    sampler = Sampler()
    try:
        from workers.cli import main as towline  # its import is part of what is looked at

        towline(prog_name="towline")
    finally:
        sampler.end()
        total = sampler.seen.total() or 1
        told.write_text(json.dumps({place: count / total for place, count in sampler.seen.most_common(20)}))


if __name__ == "__main__":
    main()
