"""Moving the files of one call in the foreground, over one line or several: what `get` and `put` share."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from contextlib import ExitStack, closing
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Literal

from workers.batch import Doubt, Stopped
from workers.cli.exits import DONE, NOT_WHOLE, SOME_FAILED, code_of, first_that_applies, sentence
from workers.cli.foreground import Ended, refusals
from workers.cli.lines import side_by_side
from workers.cli.output import amount, counted, print_json
from workers.cli.screen import Screen
from workers.confirming import HashDiffers
from workers.errors import OperationFailed, PermissionRefused, TowlineError
from workers.ftps.errors import Missing
from workers.names import printable
from workers.process import Process
from workers.receiving import Changed, Receipt
from workers.session import Session, Tally
from workers.singly import Progress, TempTaken
from workers.stopping import StopFlag
from workers.stores.naming import NameRefused
from workers.stores.temp import TooLarge
from workers.storing import SourceChanged

Move = Callable[[Session, Tally, Callable[[], None], Progress], Receipt | None]
"""Moves one file; told the session, the tally, what to call between blocks, and whom to tell of bytes. None:
what was there already was kept."""

Outcome = Literal["fetched", "sent", "kept", "changed", "failed", "link", "left"]


@dataclass(frozen=True, slots=True)
class Way:
    """How a verb speaks: of a file that was moved, of what the same command does again, of bytes kept.

    shows: the end by which a file is named.
    """

    done: Literal["fetched", "sent"]
    again: str
    kept: str
    shows: Literal["local", "remote"]


GET = Way("fetched", "fetches", "{} are kept; the same command goes on from there", "local")
PUT = Way(
    "sent", "sends", "{} went over; the same command goes on from what the server has of them", "remote"
)


@dataclass(frozen=True, slots=True)
class Item:
    """A file that is to be moved: its paths at both ends, its size where that is known, and how."""

    remote: bytes
    local: bytes
    size: int | None
    move: Move


@dataclass(frozen=True, slots=True)
class End:
    """What has become of a file.

    remote, local: None where it has no place there. error: in words. code: what it ends the command with.
    """

    remote: bytes | None
    local: bytes | None
    outcome: Outcome
    bytes: int | None = None
    sha256: str | None = None
    error: str | None = None
    code: int = DONE

    def as_json(self) -> dict[str, Any]:
        """As it stands in the document."""
        return {
            "path": None if self.remote is None else printable(self.remote),
            "local": None if self.local is None else printable(self.local),
            "bytes": self.bytes,
            "sha256": self.sha256,
            "outcome": self.outcome,
            "error": self.error,
        }


@dataclass(frozen=True, slots=True)
class Plan:
    """What a call is to move. ends: of files that are not to be; codes: of what is wrong beside them."""

    items: list[Item] = field(default_factory=list)
    ends: list[End] = field(default_factory=list)
    codes: list[int] = field(default_factory=list)

    @property
    def size(self) -> int | None:
        """Bytes of all; None where one has not told its size."""
        sizes = [item.size for item in self.items if item.size is not None]
        return sum(sizes) if len(sizes) == len(self.items) else None


def carry_out(process: Process, way: Way, endpoint: str, plan: Plan, *, sessions: int, as_json: bool) -> int:
    """Move all that is planned; the exit code. Raises KeyboardInterrupt, after what is kept was told."""
    most = process.settings.endpoint(endpoint).max_sessions or sessions
    screen = Screen(len(plan.items), plan.size, results=not as_json)
    errand = _Errand(way, endpoint, plan, screen)
    failures: list[BaseException | None] = []
    try:
        with ExitStack() as opened:
            # A line, a ledger's owner and a janitor each.
            count = max(1, min(sessions, most, len(plan.items)))
            others = [opened.enter_context(closing(Process(process.settings))) for _ in range(count - 1)]
            works = [partial(errand.work, one) for one in (process, *others)]
            failures = side_by_side(
                works, errand.stop, what=endpoint, showing=screen, leave=errand.tell_what_is_kept
            )
    finally:
        # Also what a call has done that was interrupted.
        if as_json:
            ends = sorted(errand.all_ends(), key=lambda end: end.remote or b"")
            print_json({"files": [end.as_json() for end in ends], "reconnects": errand.reconnects})
    return first_that_applies([*plan.codes, *(end.code for end in errand.ends), *errand.codes_of(failures)])


class _Errand:
    """The files of one call, and what has become of them. Its lines take from it side by side."""

    def __init__(self, way: Way, endpoint: str, plan: Plan, screen: Screen) -> None:
        self._way = way
        self._endpoint = endpoint
        self._screen = screen
        self._due = deque(plan.items)
        self._turn = threading.Lock()
        self._held: dict[str, int] = {}
        self.stop = StopFlag()
        self.ends: list[End] = []
        self.reconnects = 0
        for end in plan.ends:
            self._end(end)

    # -- a line

    def work(self, process: Process) -> None:
        """Move file after file until none is left. Raises what ends a line; its file is due again then."""
        if not self._due:
            return
        session = process.session(self._endpoint)
        doubt = Doubt()
        # Reserved to the end: in the foreground somebody waits for it.
        with session.reserved():
            while not self.stop.begun and (item := self._next()) is not None:
                try:
                    end = self._moved(session, item, doubt)
                except BaseException as failure:
                    self._due.appendleft(item)
                    if isinstance(failure, Stopped):
                        return
                    raise
                self._end(end)

    def _next(self) -> Item | None:
        with self._turn:
            return self._due.popleft() if self._due else None

    def _moved(self, session: Session, item: Item, doubt: Doubt) -> End:
        """What becomes of a file. Raises Stopped, and what is not this file's fault."""
        name, tally = self._name(item), Tally()
        with self._screen.file(printable(item.remote.rpartition(b"/")[2])) as draw:

            def moved(there: int, whole: int | None) -> None:
                self._held[name] = there
                draw(there, whole)

            try:
                with refusals(self._endpoint, item.remote):
                    receipt = item.move(session, tally, self._go_on, moved)
            except (Changed, SourceChanged):
                return self._failed(item, NOT_WHOLE, self._told_of_change(item), "changed")
            except (NameRefused, TooLarge, PermissionRefused, HashDiffers, TempTaken, OSError) as failure:
                return self._failed(item, *_told(name, failure))
            except (OperationFailed, Ended) as failure:
                if isinstance(failure, OperationFailed):
                    self._tell_kept(name)
                if not isinstance(failure.__cause__, Missing):
                    doubt.raised(failure)
                return self._failed(item, *_told(name, failure))
            except BaseException:
                self._tell_kept(name)
                raise
            finally:
                self._held.pop(name, None)
                with self._turn:
                    self.reconnects += tally.reconnects
        doubt.over()
        if receipt is None:
            self._screen.result(f"{name}: kept, it was there already")
            return End(item.remote, item.local, "kept")
        rebuilt = f", line rebuilt {tally.reconnects}×" if tally.reconnects else ""
        self._screen.result(
            f"{name}: {amount(receipt.bytes)} in {tally.elapsed_s:.1f} s{rebuilt}, sha256 {receipt.sha256}"
        )
        return End(item.remote, item.local, self._way.done, receipt.bytes, receipt.sha256)

    def _go_on(self) -> None:
        if self.stop.grace_over:
            raise Stopped

    # -- what is told

    def _name(self, item: Item) -> str:
        return printable(item.local if self._way.shows == "local" else item.remote)

    def _told_of_change(self, item: Item) -> str:
        source = printable(item.remote if self._way.shows == "local" else item.local)
        done, again = self._way.done, self._way.again
        return f"{source} changed while it was being {done}\n  the same command {again} it as it is now"

    def _failed(
        self, item: Item, code: int, error: str, outcome: Literal["failed", "changed"] = "failed"
    ) -> End:
        return End(item.remote, item.local, outcome, error=error, code=code)

    def _end(self, end: End) -> None:
        if end.error is not None:
            self._screen.say(f"towline: {end.error}")
        with self._turn:
            self.ends.append(end)

    def _tell_kept(self, name: str) -> None:
        if held := self._held.get(name):
            self._screen.say(f"{name}: {self._way.kept.format(amount(held))}")

    def tell_what_is_kept(self) -> None:
        """Of all files that are under way."""
        for name in list(self._held):
            self._tell_kept(name)

    # -- the end

    def all_ends(self) -> list[End]:
        """Also of the files that nobody came to."""
        return [*self.ends, *(End(item.remote, item.local, "left") for item in self._due)]

    def codes_of(self, failures: list[BaseException | None]) -> list[int]:
        """What the lines that failed make of it; nothing, where the others did it all."""
        codes, told = list[int](), set[str]()
        for failure in failures:
            if failure is None:
                continue
            if not isinstance(failure, TowlineError | Ended):
                raise failure
            code, words = _told("", failure)
            if self._due:
                codes.append(code)
                if words not in told:
                    told.add(words)
                    self._screen.say(f"towline: {words}")
        if self._due and len(self._due) + len(self.ends) > 1:
            self._screen.say(f"towline: {counted(len(self._due), 'file')} left; the same command goes on")
        return codes


def _told(name: str, failure: Exception) -> tuple[int, str]:
    """The exit code that a failure asks for, and its words."""
    match failure:
        case TowlineError():
            return code_of(failure), sentence(failure)
        case Ended():
            return failure.exit_code, failure.message
        case HashDiffers() | TempTaken():
            return NOT_WHOLE, f"{name}: {failure}"
        case FileNotFoundError():
            return SOME_FAILED, f"{name}: it is not there any more"
        case OSError():
            return SOME_FAILED, f"{name}: {failure.strerror or failure}"
        case _:
            return SOME_FAILED, str(failure)
