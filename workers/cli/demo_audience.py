"""Who watches the demo, tells what he sees, and judges it at the end.

He looks from outside, as any program could: Celery's events tell what the tasks report, the folder tells
what has arrived, and the bytes are compared with what the server made.
"""

from __future__ import annotations

import hashlib
import re
import threading
import time
from collections.abc import Callable
from contextlib import ExitStack
from types import TracebackType
from typing import Any, Self

from celery import Celery
from celery.events.state import State
from rich.console import Console
from rich.filesize import decimal
from rich.markup import escape
from rich.status import Status

from workers.cli.demo_scene import HUNG_UP_AFTER, POLL_EVERY, Maker, Scene
from workers.cli.demo_server import HUNG_UP, LINE_OPENED
from workers.cli.exits import DONE, INTERRUPTED, SOME_FAILED

LAST_FILE_BEFORE = 12.0  # seconds before the end: a poll, a transfer, and a slow machine
DRAIN = 60.0  # seconds after the end, for what has not arrived by then
AGAIN = 1.0  # seconds, when the broker is away

# Results and failures come as text: {'route': …, 'reconnects': 1, …}, ReconnectFailed(…, reconnects=1, …)
_RECONNECTS = re.compile(r"\breconnects'?[:=] ?(\d+)")


class Audience:
    """Counts and tells while the tree runs; a context manager around the run."""

    def __init__(self, scene: Scene, maker: Maker, seconds: int | None) -> None:
        self._scene = scene
        self._maker = maker
        self._seconds = seconds
        self._screen = Console(highlight=False)
        self._status: Status | None = None
        self._changed = threading.Condition()
        self._over = False
        self._ended_by_itself = False
        self._arrived: dict[str, bool] = {}  # name: whole?
        self._rebuilt = 0
        self._opened = 0
        self._hung_up = 0
        self._closing = ExitStack()

    def welcome(self, flower: str) -> None:
        """Say what there is to see."""
        every, idle = f"{POLL_EVERY:g}", f"{HUNG_UP_AFTER:g}"
        self._screen.print(
            f"A server of its own gets a file every few seconds; Towline polls it every {every} s.\n"
            f"It hangs up on clients that are idle for {idle} s, so every poll has to rebuild its line.\n"
            f"Files land in {self._scene.arrived}\n"
            f"Flower: {flower}\n",
            soft_wrap=True,
        )

    def __enter__(self) -> Self:
        if self._screen.is_terminal:
            self._status = self._closing.enter_context(self._screen.status("starting"))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with self._changed:
            self._over = True
            self._changed.notify_all()
        self._maker.stop()
        self._closing.close()

    def watch(self, broker_url: str, stop: Callable[[], None]) -> None:
        """The curtain rises: files are made from now on. `stop` is called when the time is over."""
        self._maker.start()
        threading.Thread(target=self._listen, args=(broker_url,), name="events", daemon=True).start()
        if self._seconds is not None:
            clock = threading.Thread(target=self._end_in_time, args=(self._seconds, stop), daemon=True)
            clock.start()

    def overhear(self, who: str, line: str) -> None:
        """Notice what a process of the tree says."""
        if who == "towline":
            self._tell(f"[yellow]{escape(line)}[/]")
        elif who == "server":
            with self._changed:
                self._opened += line == LINE_OPENED
                self._hung_up += line == HUNG_UP

    def verdict(self) -> int:
        """The summary, and the exit code."""
        self._look()
        made = self._maker.made
        whole = sum(self._arrived.values())
        damaged = [name for name, intact in self._arrived.items() if not intact]
        missing = [name for name in made if name not in self._arrived]
        bytes_ = sum(made[name].size for name, intact in self._arrived.items() if intact)
        self._screen.print(
            f"\n{len(made)} files made, {whole} arrived whole ({decimal(bytes_)}), "
            f"{len(missing)} not arrived{'' if self._ended_by_itself else ' yet'}, {len(damaged)} damaged.\n"
            f"{self._rebuilt} lines rebuilt; the server saw {self._opened} logins "
            f"and hung up {self._hung_up} times.",
            soft_wrap=True,
        )
        if damaged:
            self._screen.print(f"[red]Damaged: {', '.join(damaged)}[/]")
            return SOME_FAILED
        if self._seconds is None:
            return DONE
        if not self._ended_by_itself:
            return INTERRUPTED
        if missing:
            self._screen.print(f"[red]Not arrived: {', '.join(missing)}[/]")
        if self._rebuilt == 0:
            self._screen.print("[red]No line was rebuilt.[/]")
        return SOME_FAILED if missing or self._rebuilt == 0 else DONE

    def _end_in_time(self, seconds: int, stop: Callable[[], None]) -> None:
        until = time.monotonic() + seconds
        self._wait(lambda: False, until - LAST_FILE_BEFORE)
        self._maker.stop()
        self._wait(lambda: False, until)
        self._wait(self._all_seen, until + DRAIN)
        self._ended_by_itself = not self._over
        stop()

    def _wait(self, true: Callable[[], bool], until: float) -> None:
        with self._changed:
            self._changed.wait_for(lambda: self._over or true(), max(0.0, until - time.monotonic()))

    def _all_seen(self) -> bool:
        return self._rebuilt > 0 and self._arrived.keys() >= self._maker.made.keys()

    def _listen(self, broker_url: str) -> None:
        """Follow Celery's events until the end of the demo, also across a restart of the broker."""
        app = Celery("towline-demo", broker=broker_url)
        with app.connection() as connection:
            trouble = connection.recoverable_connection_errors + connection.recoverable_channel_errors
        state: State = app.events.State()

        def noticed(event: dict[str, Any]) -> None:
            state.event(event)
            task = state.tasks.get(event.get("uuid"))
            if task is not None and event["type"] in ("task-succeeded", "task-failed"):
                self._task_ended(task.name or "", str(event.get("result") or event.get("exception")))

        while not self._over:
            try:
                with app.connection() as connection:
                    receiver = app.events.Receiver(connection, handlers={"*": noticed})
                    receiver.capture(limit=None, timeout=None, wakeup=True)
            except trouble:
                self._wait(lambda: False, time.monotonic() + AGAIN)

    def _task_ended(self, name: str, outcome: str) -> None:
        found = _RECONNECTS.search(outcome)
        rebuilt = int(found[1]) if found else 0
        if rebuilt:
            with self._changed:
                self._rebuilt += rebuilt
                total = self._rebuilt
                self._changed.notify_all()
            self._tell(f"[cyan]{name} found its line dead and rebuilt it[/] ({total} rebuilt so far)")
        if "Failed(" in outcome or "Refused(" in outcome:
            self._tell(f"[red]{escape(name)}: {escape(outcome)}[/]")
        self._look()

    def _look(self) -> None:
        """Look for new files under their final names, and compare each with what was made."""
        for path in sorted(self._scene.arrived.iterdir()):
            if path.name.startswith(".") or path.name in self._arrived:
                continue
            made = self._maker.made.get(path.name)
            content = path.read_bytes()
            whole = made is not None and hashlib.sha256(content).hexdigest() == made.sha256
            with self._changed:
                self._arrived[path.name] = whole
                self._changed.notify_all()
            after = f", {time.monotonic() - made.at:.1f} s after it was made" if made else ""
            how = "[green]arrived whole[/]" if whole else "[red]arrived damaged[/]"
            self._tell(f"{path.name}  {decimal(len(content)):>8}  {how}{after}")

    def _tell(self, line: str) -> None:
        self._screen.print(f"[dim]{time.strftime('%H:%M:%S')}[/]  {line}", soft_wrap=True)
        if self._status is not None:
            whole = sum(self._arrived.values())
            self._status.update(
                f"{len(self._maker.made)} made · {whole} arrived whole · {self._rebuilt} lines rebuilt · "
                f"server hung up {self._hung_up} times · Ctrl-C ends it"
            )
