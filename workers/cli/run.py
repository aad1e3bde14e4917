"""`towline run`: one whole round of a route in the foreground, without a broker."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, field
from functools import partial

import click

from workers import rounds
from workers.cli.dry_run import dry_run_of
from workers.cli.exits import (
    DONE,
    NOT_WHOLE,
    SOME_FAILED,
    UNREACHABLE,
    code_of,
    first_that_applies,
    sentence,
)
from workers.cli.foreground import foreground, verbose_option, wire_option
from workers.cli.lines import sessions_option, side_by_side
from workers.cli.output import amount, counted, say, status
from workers.errors import TowlineError
from workers.names import printable
from workers.process import Process
from workers.session import Tally
from workers.settings import Route
from workers.stopping import StopFlag

PATIENCE = 61.0  # seconds beyond `settle`: LIST tells minutes, and such a time has to grow older than that
_BUSY = "as many lines as its endpoint allows (max_sessions) are in use"


@click.command()
@click.argument("route")
@sessions_option
@click.option("--dry-run", is_flag=True, help="List and tell what would be fetched; change nothing.")
@verbose_option
@wire_option
def run(route: str, sessions: int, dry_run: bool) -> None:
    """List a route, look again after `settle`, fetch what is ready, publish it: one round, here and now."""
    with foreground() as process:
        the_route = process.settings.route(route)
        code = dry_run_of(process, the_route) if dry_run else _round(process, the_route, sessions)
    click.get_current_context().exit(code)


# -- the round


@dataclass(slots=True)
class _Share:
    """What one line of the round did."""

    process: Process
    tally: Tally = field(default_factory=Tally)
    published: int = 0
    bytes: int = 0
    failed: int = 0
    busy: bool = False  # it ended because no line was free
    others: Counter[str] = field(default_factory=Counter)
    first_error: str | None = None


def _round(process: Process, route: Route, sessions: int) -> int:
    tally = Tally()
    found = _looked(process, route, tally)
    if isinstance(found, rounds.Skipped):
        told = {
            "paused": f"it is paused; `towline resume {route.name}`",
            "polling": "it is being polled",
            "busy": _BUSY,
        }
        say(f"{route.name}: {told.get(found.why, found.why)}")
        return UNREACHABLE if found.why == "busy" else DONE
    with ExitStack() as opened:
        # A line, a ledger's owner and a janitor each: their claims must not be mixed up.
        others = [opened.enter_context(closing(Process(process.settings))) for _ in range(sessions - 1)]
        shares = [_Share(process, tally), *map(_Share, others)]
        stop = StopFlag()
        portions = _Portions(found.ready, sessions)
        works = [partial(_fetch_all, route, share, portions, stop) for share in shares]
        failures = side_by_side(works, stop, what=route.name, showing=_shown(process, route))
    waiting = process.ledger.polls.work(route.name).waiting
    click.echo(_summary(route, found, shares, waiting))
    codes = [SOME_FAILED] if any(share.failed for share in shares) else []
    if all(share.busy for share in shares):
        say(f"{route.name}: {_BUSY}")
        codes.append(UNREACHABLE)
    for failure in failures:
        if isinstance(failure, TowlineError):
            say(f"towline: {sentence(failure)}")
            codes.append(code_of(failure))
        elif failure is not None:
            raise failure
    if not found.complete:
        say(f"towline: {route.name}: the listing was not complete: {found.reason}")
        codes.append(NOT_WHOLE)
    return first_that_applies(codes)


def _looked(process: Process, route: Route, tally: Tally) -> rounds.Polled | rounds.Skipped:
    """List, and look again for as long as files settle; one that grows on is left to the next round."""
    with status(f"{route.name}: listing {printable(route.source)}") as now:
        found = rounds.poll(process, route, tally)
        while isinstance(found, rounds.Polled) and found.next_look_in is not None:
            if found.next_look_in > route.settle + PATIENCE:
                break
            now(f"{route.name}: {counted(found.waiting, 'file')} settling, {found.next_look_in:.0f} s")
            threading.Event().wait(found.next_look_in)  # nobody sets it: it ends by its time, or by Ctrl-C
            again = rounds.poll(process, route, tally)
            if isinstance(again, rounds.Skipped):
                break
            before, found = found, again
            if again.waiting >= before.waiting:
                break
    return found


@contextmanager
def _shown(process: Process, route: Route) -> Iterator[Callable[[], None]]:
    with status(f"{route.name}: fetching") as now:
        yield lambda: now(_progress(process, route))


class _Portions:
    """How many files a line takes next: its part of those that no line has, so that all end together.

    The portions become smaller towards the end. They are sizes only: what is claimed the ledger decides.
    """

    def __init__(self, ready: int, lines: int) -> None:
        self._left = ready
        self._lines = lines
        self._lock = threading.Lock()

    def next(self, most: int) -> int:
        """1 to `most` files; `most` once all that was ready at the beginning is given out."""
        with self._lock:
            if self._left <= 0:
                return most
            portion = min(most, -(-self._left // self._lines))
            self._left -= portion
            return portion


def _fetch_all(route: Route, share: _Share, portions: _Portions, stop: StopFlag) -> None:
    while not stop.begun and _fetched_something(route, share, portions.next(route.batch.files), stop):
        pass


def _fetched_something(route: Route, share: _Share, most: int, stop: StopFlag) -> bool:
    """Fetch one batch and add it up; False when there was nothing to fetch."""
    done = rounds.fetch(share.process, route, share.tally, most=most, stop=stop)
    if isinstance(done, rounds.Skipped):
        share.busy = done.why == "busy"
        return False
    outcome = done.outcome
    share.published += outcome.published
    share.bytes += outcome.bytes
    share.failed += outcome.failed
    share.first_error = share.first_error or outcome.first_error
    others = {"vanished": outcome.vanished, "changed": outcome.changed, "kept": outcome.kept}
    share.others.update(others)
    return bool(outcome.published or outcome.failed or any(others.values()))


def _progress(process: Process, route: Route) -> str:
    counts = process.ledger.polls.work(route.name)
    return f"{route.name}: {counts.claimed} in flight, {counts.ready} to come"


def _summary(route: Route, found: rounds.Polled, shares: Sequence[_Share], waiting: int) -> str:
    published, failed = sum(share.published for share in shares), sum(share.failed for share in shares)
    moved, tallies = sum(share.bytes for share in shares), [share.tally for share in shares]
    told = [
        f"{route.name}: {counted(found.listed, 'entry', 'entries')} listed",
        f"{counted(published, 'file')} published ({amount(moved)})",
    ]
    others = sum((share.others for share in shares), Counter[str]())
    told += [f"{count} {what}" for what, count in others.items() if count]
    if failed:
        told.append(f"{failed} failed (the first: {next(s.first_error for s in shares if s.first_error)})")
    if waiting:
        told.append(f"{waiting} still settling")
    if rebuilt := sum(tally.reconnects for tally in tallies):
        told.append(f"line rebuilt {rebuilt}×")
    return f"{', '.join(told)}; {tallies[0].elapsed_s:.1f} s"
