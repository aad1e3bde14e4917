"""`towline retry`, `pause` and `resume`: what a person decides, written into the ledger for all processes."""

from __future__ import annotations

from typing import Literal

import click

from workers.cli import configuration
from workers.cli.exits import WRONG
from workers.cli.foreground import REMOTE_OF_ROUTE, Ended, foreground
from workers.errors import UnknownName
from workers.names import printable
from workers.settings import Settings
from workers.settings.config_file import nearest
from workers.stores.naming import absolute

Kind = Literal["route", "endpoint"]


@click.command()
@click.argument("route")
@click.argument("path", type=REMOTE_OF_ROUTE)
def retry(route: str, path: bytes) -> None:
    """Try a file again: quarantined, or waiting after a failure. It is due at once, with all its attempts.

    So is the deletion or move of its source, where the server has refused that.
    """
    with foreground() as process:
        the_route = process.settings.route(route)
        whole = absolute(the_route.source, path)
        if not process.ledger.claims.retry(route, whole):
            raise Ended(
                f"{printable(whole)}: nothing to try again\n"
                f"  `towline explain {route} {printable(path)}` says why"
            )
    click.echo(f"{printable(whole)} is due now, at the next fetch of {route}")


@click.command()
@click.argument("name")
def pause(name: str) -> None:
    """Stop work on a route, or on an endpoint and with it on all its routes. What is under way ends."""
    kind, name = _meant(configuration(), name)
    with foreground() as process:
        if kind == "route":
            process.ledger.routes.pause(name, "towline pause")
        else:
            process.ledger.endpoints.pause(name)
    click.echo(f"{kind} {name} is paused; `towline resume {name}` goes on with it")


@click.command()
@click.argument("name")
def resume(name: str) -> None:
    """Go on with a route or an endpoint; also opens an endpoint that a refused login has closed."""
    kind, name = _meant(configuration(), name)
    with foreground() as process:
        if kind == "route":
            process.ledger.routes.resume(name)
        else:
            process.ledger.endpoints.resume(name)
            process.ledger.endpoints.open_again(name)
    click.echo(f"{kind} {name} goes on" if kind == "route" else f"endpoint {name} is open")


def _meant(settings: Settings, name: str) -> tuple[Kind, str]:
    """What a name stands for; `route:NAME` and `endpoint:NAME` always say.

    Raises UnknownName, and `Ended` for a name that is both.
    """
    prefix, _, rest = name.partition(":")
    if prefix == "route" and rest:
        return "route", settings.route(rest).name
    if prefix == "endpoint" and rest:
        return "endpoint", settings.endpoint(rest).name
    if name in settings.routes and name in settings.endpoints:
        raise Ended(
            f"{name} is a route and an endpoint\n  say which one: route:{name} or endpoint:{name}", WRONG
        )
    if name in settings.routes:
        return "route", name
    if name in settings.endpoints:
        return "endpoint", name
    raise UnknownName("route or endpoint", name, nearest(name, [*settings.routes, *settings.endpoints]))
