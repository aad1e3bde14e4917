"""What is seen of files while they move: bars on a terminal, a line for each that is done elsewhere."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import click

from workers.cli.output import Draw, counted

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID


class Screen:
    """A bar for each file under way and one for all, on stderr; without a terminal nothing moves.

    Used by several threads. Lines may be told before it is entered and after it is left, too.
    """

    def __init__(self, files: int, size: int | None, *, results: bool = True) -> None:
        """files, size: of all together; None: not known. results: whether `result` is to be seen."""
        self._files = files
        self._size = size
        self._results = results
        self._done = 0
        self._drawn: Progress | None = None
        self._all: TaskID | None = None
        self._turn = threading.Lock()

    def __enter__(self) -> Callable[[], None]:
        if sys.stderr.isatty():
            self._drawn = _bars()
            self._drawn.start()
            if self._files > 1:
                self._all = self._drawn.add_task(self._told(), total=self._size)
        return lambda: None

    def __exit__(self, *_: object) -> None:
        drawn, self._drawn = self._drawn, None
        if drawn is not None:
            drawn.stop()

    @contextmanager
    def file(self, name: str) -> Iterator[Draw]:
        """A bar for one file, for as long as the block lasts."""
        drawn = self._drawn
        if drawn is None:
            yield lambda *_: None
            return
        from rich.markup import escape

        task: TaskID | None = None
        before = 0

        def draw(there: int, whole: int | None) -> None:
            nonlocal task, before
            if task is None:
                # What is there from an earlier call has no part in the rate.
                task = drawn.add_task(escape(name), total=whole, completed=there)
            drawn.update(task, completed=there, total=whole)
            if self._all is not None:
                drawn.advance(self._all, there - before)
            before = there

        try:
            yield draw
        finally:
            self._done += 1
            # A call's only file keeps its bar to the end: it may be done before it was ever drawn.
            if self._all is not None:
                if task is not None:
                    drawn.remove_task(task)
                drawn.update(self._all, description=self._told())

    def result(self, text: str) -> None:
        """A line about a file that is done: on stdout."""
        if self._results:
            self._line(text, err=False)

    def say(self, text: str) -> None:
        """A line about what is going on: on stderr."""
        self._line(text, err=True)

    def _line(self, text: str, *, err: bool) -> None:
        with self._turn:
            drawn = self._drawn
            if drawn is not None and (err or sys.stdout.isatty()):
                from rich.text import Text

                drawn.console.print(Text(text), soft_wrap=True)  # above the bars
            else:
                click.echo(text, err=err)

    def _told(self) -> str:
        return f"{self._done} of {counted(self._files, 'file')}"


def _bars() -> Progress:
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        DownloadColumn,
        Progress,
        TextColumn,
        TimeRemainingColumn,
        TransferSpeedColumn,
    )

    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        DownloadColumn(),
        TransferSpeedColumn(),
        TimeRemainingColumn(),
        console=Console(stderr=True),
        transient=True,
        # Results have a stdout of their own, which may be a pipe.
        redirect_stdout=False,
    )
