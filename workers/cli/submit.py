"""`towline submit`: put a task on the queue, and perhaps wait for its outcome; or take one back."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import click
from redis import RedisError

from workers import broker, cancelling, pairing
from workers.cli import configuration
from workers.cli.exits import INTERRUPTED, NOT_WHOLE, SOME_FAILED
from workers.cli.foreground import REMOTE_OF_ROUTE, Ended
from workers.cli.output import amount, counted, json_option, print_json, say, status
from workers.errors import ConfigurationError, TowlineError
from workers.names import printable

if TYPE_CHECKING:
    from celery import Celery
    from celery.result import AsyncResult

    from workers.settings import Settings

LOOK_EVERY = 0.2  # seconds between two looks at the result
LONELY_AFTER = 10.0  # seconds without a worker taking it, after which we say so
TELL_EVERY = 30.0  # seconds between two lines of progress where no terminal can replace the last one

wait_option = click.option("--wait", is_flag=True, help="Wait for the outcome, and end as it does.")


@click.group()
def submit() -> None:
    """Put a task on the queue."""


@submit.command()
@click.argument("route")
@wait_option
@json_option
def poll(route: str, wait: bool, as_json: bool) -> None:
    """List a route's folder, and fetch what is new there."""
    settings = configuration()
    settings.route(route)
    _send(settings, "towline.poll", {"route": route}, _polled, wait=wait, as_json=as_json)


@submit.command()
@click.argument("route")
@click.argument("paths", nargs=-1, type=REMOTE_OF_ROUTE, metavar="[PATH]...")
@wait_option
@json_option
def fetch(route: str, paths: Sequence[bytes], wait: bool, as_json: bool) -> None:
    """Fetch what is ready on a route; or these files, without settling and filters."""
    _move("pull", route, paths, wait=wait, as_json=as_json)


@submit.command()
@click.argument("route")
@click.argument("paths", nargs=-1, type=REMOTE_OF_ROUTE, metavar="[PATH]...")
@wait_option
@json_option
def push(route: str, paths: Sequence[bytes], wait: bool, as_json: bool) -> None:
    """Send what is ready on a push route; or these files of its folder, without settling and filters."""
    _move("push", route, paths, wait=wait, as_json=as_json)


@submit.command()
@click.argument("task_id")
def cancel(task_id: str) -> None:
    """Cancel a fetch or push, queued or under way.

    One under way stops between two blocks; what has come of its file in hand is kept. What the route still
    holds is moved by its next tick: to stop that as well, `towline pause ROUTE`.
    """
    from celery.states import PENDING, READY_STATES

    settings = configuration()
    app = running_app(settings)
    known = app.backend.get_task_meta(task_id)
    state, name = known["status"], known.get("name")
    if state in READY_STATES:
        click.echo(f"{task_id} has ended already: {state.lower()}")
        return
    if name is not None and name not in _CANCELLABLE:
        raise click.UsageError(f"{task_id} is a {name} under way, which ends by itself within its time limit")
    place = pairing.place(settings, broker.find(settings))
    if place is not None:
        try:
            with cancelling.connect(place) as redis:
                cancelling.cancel(redis, task_id)
        except RedisError as away:
            raise ConfigurationError(
                "[towline] results", f"the store does not answer: {away}", "start it, or correct its address"
            ) from away
    if state == PENDING or place is None:
        # Its worker drops it now, and whoever waits for it is told at once. One that runs will tell what
        # it has done.
        app.control.revoke(task_id)
    if place is None:
        raise ConfigurationError(
            "[towline] results",
            f"{task_id} is revoked if it is still queued; one that runs can't be told, since neither broker "
            "nor result store is a Redis",
            'keep the results in one: results = "redis://…"',
        )
    click.echo(f"{task_id} is cancelled: if it runs, within a second or at its next block")


def _move(direction: str, route: str, paths: Sequence[bytes], *, wait: bool, as_json: bool) -> None:
    settings = configuration()
    verbs = {"pull": "fetch", "push": "push"}
    the_route = settings.route(route)
    if the_route.direction != direction:
        right = verbs[the_route.direction]
        raise click.UsageError(f"{route} is a {the_route.direction} route: `towline submit {right} {route}`")
    arguments: dict[str, Any] = {"route": route}
    if paths:
        arguments["paths"] = [printable(path) for path in paths]
    _send(settings, f"towline.{verbs[direction]}", arguments, _moved, wait=wait, as_json=as_json)


def _send(
    settings: Settings,
    task: str,
    arguments: dict[str, Any],
    sentence: Callable[[dict[str, Any]], str],
    *,
    wait: bool,
    as_json: bool,
) -> None:
    """Send the task, and tell its id; or, having waited for it, its outcome.

    Raises BrokerNotRunning, ConfigurationError, and the task's own failure.
    """
    app = running_app(settings)
    sent = app.send_task(task, kwargs=arguments, ignore_result=not wait, retry=False)
    if not wait:
        if as_json:
            print_json({"task": task, "id": sent.id})
        else:
            click.echo(sent.id)
        return
    try:
        outcome = _awaited(sent, task)
    except KeyboardInterrupt:
        say(f"{task} is left to its worker; `towline submit cancel {sent.id}` ends it")
        raise
    finally:
        # After Ctrl-C it lives to the end of the interpreter, when its __del__ would find no threads to ask.
        sent.backend = None
    _tell(outcome, as_json, sentence)


def running_app(settings: Settings) -> Celery:
    """Celery's app for these settings, once its broker has answered."""
    from kombu.exceptions import OperationalError

    broker.find(settings)
    # The app loads its configuration itself when it is imported, as for `celery -A`: it has to be this one.
    os.environ["TOWLINE_CONFIG"] = str(settings.path.resolve())
    from workers.app import app

    with app.connection_for_write() as line:
        try:
            line.ensure_connection(max_retries=1, interval_start=0, interval_step=0)
        except OperationalError as failure:
            raise ConfigurationError(
                "[towline] broker",
                f"{line.as_uri()} does not answer: {failure}",
                "start it, or correct its address",
            ) from failure
    return app


def _awaited(sent: AsyncResult, task: str) -> dict[str, Any]:
    """The result, when it has come. A failure is raised as what it is (`workers.errors`), or as `Ended`."""
    from celery.exceptions import TaskRevokedError
    from celery.exceptions import TimeoutError as NotYet
    from celery.states import PENDING

    with status(f"{task} {sent.id} is queued") as now:
        told, looks, told_at = PENDING, 0, 0.0
        while True:
            try:
                result = sent.get(timeout=LOOK_EVERY, propagate=False)
                break
            except NotYet:
                looks += 1
            state, facts = sent.state, sent.info
            if state == _PROGRESS and isinstance(facts, dict):
                told = state
                if sys.stderr.isatty() or time.monotonic() - told_at >= TELL_EVERY:
                    told_at = time.monotonic()
                    now(_so_far(task, facts))
            elif state != told:
                told = state
                now(f"{task} is {state.lower()}")
            elif state == PENDING and looks == int(LONELY_AFTER / LOOK_EVERY):
                now(f"{task}: no worker has taken it in {LONELY_AFTER:.0f} s; does one run? (`towline up`)")
    if isinstance(result, TowlineError):
        raise result
    if isinstance(result, TaskRevokedError):
        raise Ended(f"{task} was cancelled before it began", INTERRUPTED)
    if isinstance(result, BaseException):
        raise Ended(f"{task} failed: {result!r}", SOME_FAILED)
    return dict(result)


def _tell(outcome: dict[str, Any], as_json: bool, sentence: Callable[[dict[str, Any]], str]) -> None:
    if as_json:
        print_json(outcome)
    elif outcome.get("skipped") == "cancelled":
        click.echo(f"{sentence(outcome)}; then it was cancelled")
    elif "skipped" in outcome:
        click.echo(f"{outcome['route']}: nothing done, {_SKIPPED[outcome['skipped']]}")
    else:
        click.echo(sentence(outcome))
    if outcome.get("skipped") == "cancelled":
        raise Ended(f"{outcome['route']}: cancelled", INTERRUPTED)
    if outcome.get("complete") is False:
        raise Ended(f"{outcome['route']}: the listing was not complete: {outcome['reason']}", NOT_WHOLE)


_SKIPPED = {
    "busy": "as many lines as the endpoint allows are in use",
    "paused": "the route is paused (`towline resume` goes on with it)",
    "polling": "another poll of it is under way",
}


_CANCELLABLE = ("towline.fetch", "towline.push")
_PROGRESS = "PROGRESS"
"""The state of a task that runs and tells how far it is (`tasks.watching`)."""


def _so_far(task: str, facts: dict[str, Any]) -> str:
    rebuilt = f", line rebuilt {facts['reconnects']}×" if facts["reconnects"] else ""
    files = f"{facts['files']} of {counted(facts['total_files'], 'file')}"
    of = f" of {amount(facts['total_bytes'])}" if facts["total_bytes"] is not None else ""
    return f"{task}: {files}, {amount(facts['bytes'])}{of}, {amount(facts['rate'])}/s{rebuilt}"


def _polled(outcome: dict[str, Any]) -> str:
    return (
        f"{outcome['route']}: {counted(outcome['listed'], 'entry', 'entries')} listed, "
        f"{outcome['ready']} ready, {outcome['waiting']} still settling; {outcome['seconds']:.1f} s"
    )


def _moved(outcome: dict[str, Any]) -> str:
    lines = [
        f"{outcome['route']}: {counted(outcome['published'], 'file')} published, {amount(outcome['bytes'])}"
    ]
    lines += [
        f"{outcome[what]} {what}" for what in ("already", "vanished", "changed", "kept") if outcome[what]
    ]
    return f"{', '.join(lines)}; {outcome['seconds']:.1f} s"
