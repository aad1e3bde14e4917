"""`towline announce`: send the follow-on tasks of published files once more."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import click

from workers.cli.foreground import foreground
from workers.cli.output import counted
from workers.cli.submit import running_app
from workers.errors import ConfigurationError
from workers.ledger import FollowOn
from workers.settings.quantities import duration


class Since(click.ParamType[float]):
    """A moment: a duration before now (`2h`), or a date or time in ISO 8601, local where it has no zone."""

    name = "time"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """Epoch seconds."""
        if isinstance(value, float):
            return value
        told = str(value)
        try:
            return (datetime.now(UTC) - timedelta(seconds=duration(told))).timestamp()
        except (ValueError, OverflowError):
            pass
        try:
            return datetime.fromisoformat(told).timestamp()
        except ValueError:
            self.fail(f"{told!r} is neither a duration like 2h nor a time like 2026-04-22T17:00", param, ctx)


@click.command()
@click.argument("route")
@click.option(
    "--since", type=Since(), required=True, metavar="TIME", help="2h, 2026-04-22, 2026-04-22T17:00Z"
)
def announce(route: str, since: float) -> None:
    """Send the follow-on task of every file that a route has published since then, once more."""
    with foreground() as process:
        the_route = process.settings.route(route)
        then = the_route.then
        if then is None:
            raise ConfigurationError(
                f"[routes.{route}]", "no follow-on task", 'then = { task = "…", queue = "…" } names one'
            )
        app = running_app(process.settings)
        files = process.ledger.outbox.again(
            route, FollowOn(then.task, then.queue, pushed=the_route.direction == "push"), since=since
        )
        from tasks.announcing import announce as send

        sent = send(app, process, route)
    click.echo(f"{route}: {counted(files, 'file')} announced to {then.task}, queue {then.queue}")
    if sent < files:
        click.echo(f"{files - sent} of them still wait for the broker; upkeep sends them, once a minute")
