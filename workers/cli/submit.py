"""`towline submit`: put a task on the queue, and perhaps wait for its outcome."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import click

from workers import broker
from workers.cli import configuration
from workers.cli.exits import NOT_WHOLE, SOME_FAILED
from workers.cli.foreground import REMOTE_OF_ROUTE, Ended
from workers.cli.output import amount, counted, json_option, print_json, status
from workers.errors import ConfigurationError, TowlineError
from workers.names import printable

if TYPE_CHECKING:
    from celery import Celery
    from celery.result import AsyncResult

    from workers.settings import Settings

LOOK_EVERY = 0.2  # seconds between two looks at the result
LONELY_AFTER = 10.0  # seconds without a worker taking it, after which we say so

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
    from celery.exceptions import TimeoutError as NotYet
    from celery.states import PENDING

    with status(f"{task} {sent.id} is queued") as now:
        told, looks = PENDING, 0
        while True:
            try:
                result = sent.get(timeout=LOOK_EVERY, propagate=False)
                break
            except NotYet:
                looks += 1
            state = sent.state
            if state != told:
                told = state
                now(f"{task} is {state.lower()}")
            elif state == PENDING and looks == int(LONELY_AFTER / LOOK_EVERY):
                now(f"{task}: no worker has taken it in {LONELY_AFTER:.0f} s; does one run? (`towline up`)")
    if isinstance(result, TowlineError):
        raise result
    if isinstance(result, BaseException):
        raise Ended(f"{task} failed: {result!r}", SOME_FAILED)
    return dict(result)


def _tell(outcome: dict[str, Any], as_json: bool, sentence: Callable[[dict[str, Any]], str]) -> None:
    if as_json:
        print_json(outcome)
    elif "skipped" in outcome:
        click.echo(f"{outcome['route']}: nothing done, {_SKIPPED[outcome['skipped']]}")
    else:
        click.echo(sentence(outcome))
    if outcome.get("complete") is False:
        raise Ended(f"{outcome['route']}: the listing was not complete: {outcome['reason']}", NOT_WHOLE)


_SKIPPED = {
    "busy": "as many lines as the endpoint allows are in use",
    "paused": "the route is paused (`towline resume` goes on with it)",
    "polling": "another poll of it is under way",
}


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
