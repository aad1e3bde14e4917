"""`towline check`: the configuration, then each endpoint and route for real."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

import click
from redis import RedisError

from workers import broker, findings, pairing
from workers.cli import configuration
from workers.cli.exits import code_of, first_that_applies, sentence
from workers.cli.foreground import foreground, verbose_option, wire_option
from workers.cli.output import json_option, print_json, status
from workers.errors import BrokerNotRunning, TowlineError, UnknownName
from workers.finding import Finding
from workers.process import Process
from workers.settings import Settings, check_time_budget
from workers.settings.config_file import nearest


@click.command()
@click.argument("names", nargs=-1, metavar="[NAME]...")
@json_option
@verbose_option
@wire_option
def check(names: Sequence[str], as_json: bool) -> None:
    """Try the configuration, then the endpoints and routes called NAME, or all of them, for real."""
    settings = configuration()
    check_time_budget(settings)
    told: list[dict[str, Any]] = []
    codes: list[int] = []
    if not as_json:
        click.echo(f"{settings.path}: ok")
    with foreground() as process:
        ledger = _ledger(process)
        if ledger.failure is not None:
            codes.append(code_of(ledger.failure))
        if not as_json:
            _print([ledger])
        for endpoint, routes in _wanted(settings, names).items():
            try:
                with status(f"looking at {endpoint}"):
                    found = findings.endpoint(process, endpoint, routes)
            except TowlineError as failure:
                codes.append(code_of(failure))
                told.append({"endpoint": endpoint, "failure": repr(failure), "told": sentence(failure)})
                if not as_json:
                    click.echo(f"{endpoint}\n  FAILS  {sentence(failure)}")
            else:
                codes += map(code_of, found.failures)
                told.append(found.to_json())
                if not as_json:
                    _print(found.findings)
    code = first_that_applies(codes)
    if as_json:
        seen = {"told": ledger.told, "remedy": ledger.remedy, "same": ledger.failure is None}
        print_json({"configuration": str(settings.path), "ledger": seen, "endpoints": told})
    click.get_current_context().exit(code)


def _ledger(process: Process) -> Finding:
    """Whether the broker's fleet works with this ledger, as far as that can be looked at."""
    ours = pairing.Mark.of(process.ledger, process.settings)
    unseen = "make sure that all workers have the same one"
    try:
        place = pairing.place(process.settings, broker.find(process.settings))
        theirs = None if place is None else pairing.read(place)
    except (BrokerNotRunning, RedisError) as away:
        why = f"{ours}; whether other workers have the same can't be looked at: {away}"
        return Finding("ledger", "fleet", why, unseen)
    if place is None:
        why = f"{ours}; whether other workers have the same can't be looked at: the broker is no Redis"
        return Finding("ledger", "fleet", why, unseen)
    if theirs is None:
        return Finding("ledger", "fleet", f"{ours}; no worker has used this broker yet")
    if theirs.id != ours.id:
        another = pairing.another(ours, theirs)
        told = f"{ours}, and the broker's fleet works with {theirs}"
        return Finding("ledger", "fleet", told, pairing.REMEDY, another)
    return Finding("ledger", "fleet", f"{ours}; the broker's fleet works with it")


def _wanted(settings: Settings, names: Sequence[str]) -> dict[str, Collection[str] | None]:
    """The endpoints to look at, each with its routes to look at; None: all of them. Raises UnknownName."""
    if not names:
        return dict.fromkeys(settings.endpoints)
    whole = [name for name in names if name in settings.endpoints]
    wanted: dict[str, Collection[str] | None] = dict.fromkeys(whole)
    routes: dict[str, list[str]] = {}
    for name in names:
        if name in settings.routes:
            routes.setdefault(settings.routes[name].endpoint, []).append(name)
        elif name not in settings.endpoints:
            raise UnknownName(
                "route or endpoint", name, nearest(name, [*settings.routes, *settings.endpoints])
            )
    return {**routes, **wanted}


def _print(found: Sequence[Finding]) -> None:
    width = max(len(finding.what) for finding in found)
    about = None
    for finding in found:
        if finding.about != about:
            about = finding.about
            click.echo(about)
        mark = "FAILS" if finding.failure is not None else "ok" if finding.remedy is None else "look"
        click.echo(f"  {mark:<5}  {finding.what:<{width}}  {finding.told}")
        if finding.remedy is not None:
            click.echo(f"         {'':<{width}}  → {finding.remedy}")
