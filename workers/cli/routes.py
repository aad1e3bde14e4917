"""`towline routes`: a line a route."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import click

from workers.cli.foreground import foreground
from workers.cli.output import iso, json_option, local_time, print_json, print_table, time_in_table
from workers.ledger import Counts, RouteState
from workers.process import Process
from workers.settings import Route
from workers.settings.cron import Cron, cron
from workers.settings.quantities import shown_duration


@dataclass(frozen=True, slots=True)
class Line:
    """What is told of one route. Times are epoch seconds."""

    route: Route
    state: RouteState
    counts: Counts
    last_published_at: float | None
    oldest_waiting_at: float | None
    quiet_s: float
    next_due: float | None

    @property
    def overdue(self) -> bool:
        """Whether no file has come for longer than the route expects."""
        return self.route.expect is not None and self.quiet_s > self.route.expect

    @property
    def waiting(self) -> int:
        """Files known and not fetched: unsettled, ready, or spaced after a failure."""
        return self.counts.waiting + self.counts.ready + self.counts.later

    @property
    def published(self) -> int:
        """Files whose copy is durable."""
        return self.counts.published + self.counts.finished


@click.command()
@json_option
def routes(as_json: bool) -> None:
    """A line a route: when it was listed, what waits, what is in flight, what failed."""
    with foreground() as process:
        lines = _lines(process)
    if as_json:
        print_json({"routes": [_as_json(line) for line in lines]})
        return
    columns = ("route", "listed", "next", "waiting", "oldest", "in flight", "published", "quarantined")
    rows = [
        (
            line.route.name,
            time_in_table(line.state.complete_at),
            "paused" if line.state.paused_at is not None else time_in_table(line.next_due),
            line.waiting,
            time_in_table(line.oldest_waiting_at) if line.oldest_waiting_at is not None else "",
            line.counts.claimed,
            line.published,
            line.counts.quarantined,
        )
        for line in lines
    ]
    print_table(columns, rows, right=columns[3:])
    for line in lines:
        if line.overdue:
            click.echo(f"{line.route.name}: {quiet_for(line.route, line.quiet_s)}")
        # Below, since an error is a sentence, and no terminal is as wide as table and sentence together.
        if line.state.last_error is not None:
            when = local_time(line.state.last_error_at)
            click.echo(f"{line.route.name}: last error {when}: {line.state.last_error}")
        if line.state.refused_at is not None:
            click.echo(f"{line.route.name}: {not_landing(line.route, line.state)}")


def quiet_for(route: Route, quiet_s: float) -> str:
    """A route from which nothing has come for longer than it expects, as a sentence."""
    assert route.expect is not None
    told = shown_duration(round(quiet_s / 60) * 60 if quiet_s >= 120 else round(quiet_s))
    return f'no file has been published for {told}; expect = "{shown_duration(route.expect)}"'


def not_landing(route: Route, state: RouteState) -> str:
    """A place that takes no files, as a sentence; its end needs no `resume`."""
    what = "fetching" if route.direction == "pull" else "sending"
    return (
        f"no file lands in {route.target} since {local_time(state.refused_at)}: {state.refused_reason}; "
        f"{what} goes on by itself once that is over"
    )


def _lines(process: Process) -> list[Line]:
    ways = list(process.settings.routes.values())
    zone, now = ZoneInfo(process.settings.timezone), process.ledger.now()
    found = process.ledger.history.summary([route.name for route in ways])
    return [
        Line(
            route,
            one.state,
            one.counts,
            one.last_published_at,
            one.oldest_waiting_at,
            now - one.quiet_since,
            next_due(route, one.state, now, zone),
        )
        for route, one in zip(ways, found, strict=True)
    ]


def next_due(route: Route, state: RouteState, now: float, zone: ZoneInfo) -> float | None:
    """When beat asks for the next poll, epoch seconds, as far as the ledger can tell; None while paused.

    An interval counts from the last listing, since beat keeps its ticks to itself: a route that was never
    listed, or whose tick has passed without a listing, is due now.
    """
    if state.paused_at is not None:
        return None
    if route.cron is not None:
        return next_tick(cron(route.cron), datetime.fromtimestamp(now, zone)).timestamp()
    assert route.every is not None, "a route has either every or cron"
    return max(now, (state.listed_at or 0.0) + route.every)


def next_tick(schedule: Cron, now: datetime) -> datetime:
    """The first minute after `now`, by the clock of its zone, in which all five fields match."""
    day = now.replace(hour=0, minute=0, second=0, microsecond=0)
    # Eight years hold a 29 February, also around 2100; `cron` refuses days that never come.
    for _ in range(8 * 366):
        if _is_on(schedule, day):
            for hour in sorted(schedule.hours):
                for minute in sorted(schedule.minutes):
                    tick = day.replace(hour=hour, minute=minute)
                    if tick.astimezone(UTC) > now.astimezone(UTC):
                        return tick
        day += timedelta(days=1)
    raise ValueError("a schedule that never ticks")


def _is_on(schedule: Cron, day: datetime) -> bool:
    weekday = day.isoweekday() % 7
    return day.day in schedule.days and day.month in schedule.months and weekday in schedule.weekdays


def _as_json(line: Line) -> dict[str, Any]:
    counts, state = line.counts, line.state
    return {
        "route": line.route.name,
        "endpoint": line.route.endpoint,
        "paused_since": iso(state.paused_at),
        "listed_at": iso(state.listed_at),
        "last_complete_listing": iso(state.complete_at),
        "next_due": iso(line.next_due),
        "waiting": counts.waiting,
        "ready": counts.ready + counts.later,
        "in_flight": counts.claimed,
        "published": line.published,
        "last_published_at": iso(line.last_published_at),
        "oldest_waiting_since": iso(line.oldest_waiting_at),
        "overdue": line.overdue,
        "quarantined": counts.quarantined,
        "vanished": counts.vanished,
        "last_error": state.last_error,
        "last_error_at": iso(state.last_error_at),
        "refused_since": iso(state.refused_at),
        "refused_reason": state.refused_reason,
    }
