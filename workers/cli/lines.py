"""Lines side by side in the foreground: a thread each, and an orderly end at Ctrl-C."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import AbstractContextManager

import click

from workers.cli.exits import INTERRUPTED
from workers.cli.output import say
from workers.stopping import StopFlag

sessions_option = click.option(
    "--sessions",
    type=click.IntRange(1, 32),
    default=1,
    show_default=True,
    help="Lines that work side by side.",
)

SHOW_EVERY = 0.5
"""Seconds between two looks at what is shown."""

LEAVE_AFTER = 5.0
"""Seconds after Ctrl-C that a line may still hang in a read."""


def side_by_side(
    works: Sequence[Callable[[], None]],
    stop: StopFlag,
    *,
    what: str,
    showing: AbstractContextManager[Callable[[], None]],
    leave: Callable[[], None] = lambda: None,
) -> list[BaseException | None]:
    """Do these side by side to their end; how each failed, None for not at all.

    showing: entered while they work; what it gives is called now and then on a terminal. Ctrl-C: `stop` is
    begun, at which each has to end between two blocks; then it is raised again. leave: called before the
    process ends by force, since a line did not.
    """
    with ThreadPoolExecutor(len(works), thread_name_prefix="towline-line") as threads:
        lines: list[Future[None]] = []
        try:
            with showing as look:
                lines += [threads.submit(work) for work in works]
                while wait(lines, SHOW_EVERY if sys.stderr.isatty() else None).not_done:
                    look()
        except KeyboardInterrupt:
            stop.begin(0.0)
            say(f"{what}: stopping")
            if wait(lines, LEAVE_AFTER).not_done:
                # Its claims are free all the same: the kernel drops this process's lock files.
                say("towline: a line still waits for its server, and was left")
                leave()
                os._exit(INTERRUPTED)
            raise
    return [line.exception() for line in lines]
