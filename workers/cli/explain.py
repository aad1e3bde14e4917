"""`towline explain`: why a file is, or is not, here yet."""

from __future__ import annotations

from collections.abc import Iterator

import click

from workers.cli.foreground import REMOTE_OF_ROUTE, foreground
from workers.cli.history import file_as_json
from workers.cli.output import amount, counted, iso, json_option, local_time, print_json
from workers.cli.routes import not_landing
from workers.detect import Rules
from workers.ledger import CLAIMED, EndpointState, Explanation, FileRow, State
from workers.names import printable
from workers.settings import Route
from workers.settings.quantities import shown_duration
from workers.stores.naming import NameRefused, absolute, below


@click.command()
@click.argument("route")
@click.argument("path", type=REMOTE_OF_ROUTE)
@json_option
def explain(route: str, path: bytes, as_json: bool) -> None:
    """Why the file PATH of a route is, or is not, here yet.

    PATH is as on the server, or below the route's folder.
    """
    with foreground() as process:
        the_route = process.settings.route(route)
        rules = Rules.of(the_route, encoding=process.settings.endpoint(the_route.endpoint).encoding)
        known = process.ledger.history.explain(route, absolute(the_route.source, path))
        endpoint = process.ledger.endpoints.get(the_route.endpoint)
        now = process.ledger.now()
    state = str(known.versions[0].state) if known.versions else "UNKNOWN"
    reasons = list(why(known, the_route, rules, endpoint, now))
    if not as_json:
        click.echo(f"{printable(known.path)}: {state}")
        for reason in reasons:
            click.echo(f"  {reason}")
        return
    holder = known.holder
    print_json(
        {
            "route": route,
            "path": printable(known.path),
            "state": state,
            "why": reasons,
            "versions": [file_as_json(file) for file in known.versions],
            "holder": holder
            and {"host": holder.host, "pid": holder.pid, "lease_until": iso(holder.lease_until)},
        }
    )


def why(known: Explanation, route: Route, rules: Rules, endpoint: EndpointState, now: float) -> Iterator[str]:
    """Sentences, the one that decides first. now: the ledger's clock."""
    if not known.versions:
        yield from _never_seen(known, route, rules)
        yield from _obstacles(known, route, endpoint)
        return
    latest, *older = known.versions
    yield from _of_state(latest, known, route, rules, now)
    if latest.state not in (State.PUBLISHED, State.FINISHED):
        yield from _obstacles(known, route, endpoint)
        if not latest.listed:
            yield "the last complete listing did not have it"
    landed = [file for file in older if file.published_at is not None]
    if landed:
        yield f"an earlier version was published {local_time(landed[0].published_at)}: {landed[0].local}"


def _of_state(file: FileRow, known: Explanation, route: Route, rules: Rules, now: float) -> Iterator[str]:
    match file.state:
        case State.PUBLISHED | State.FINISHED:
            yield f"published {local_time(file.published_at)} as {file.local}, {amount(file.bytes)}"
            yield f"sha256 {file.sha256}"
            yield from _of_source(file, route.after, now)
        case State.WAITING:
            marker = rules.marker(file.path.rpartition(b"/")[2])
            if marker is not None and now - file.settled_since >= route.settle:
                yield f"waits for its marker: taken by the next poll that finds {printable(marker)} beside it"
                return
            yield (
                f"not settled: {amount(file.size)}, unchanged since {local_time(file.settled_since)} in "
                f'{counted(file.looks, "look")}; settle = "{shown_duration(route.settle)}" asks for '
                "two looks that far apart"
            )
            if route.min_age:
                yield f'min_age = "{shown_duration(route.min_age)}": it has to be that old, too'
            if marker is not None:
                yield f"{printable(marker)} has to be beside it, too"
        case State.READY:
            if file.next_attempt_at is not None and file.next_attempt_at > now:
                yield f"to be tried again {local_time(file.next_attempt_at)}; `towline retry` makes that now"
            else:
                yield "ready: the next fetch takes it"
            if file.attempts:
                yield f"{file.attempts} of {route.max_attempts} attempts used up, the last: {file.last_error}"
            elif file.last_error:
                yield f"the last attempt, which was not its own fault: {file.last_error}"
        case "CLAIMED" | State.PUBLISHING:
            yield from _in_hand(file, known)
        case State.VANISHED:
            why = file.reason or "gone from the server before it was fetched"
            yield f"{why}, since {local_time(file.vanished_at)}"
        case State.QUARANTINED:
            tried = f"{counted(file.attempts, 'attempt')} failed: " if file.attempts else ""
            yield f"given up: {tried}{file.reason or file.last_error}"
            if file.ready_at is not None:
                yield f"`towline retry {file.route} {printable(file.path)}` tries it again"
            yield from _of_source(file, route.after_failure, now)
        case State.BACKLOG:
            yield 'it was there before the first complete listing: backlog = "new" leaves it alone'
            yield f"`towline submit fetch {file.route} {printable(file.path)}` fetches it all the same"
        case State.SUPERSEDED:
            yield "replaced by a newer version before it was fetched"


def _of_source(file: FileRow, action: str, now: float) -> Iterator[str]:
    """What became of the file on the server, or is still to be done with it."""
    match (file.after_step or "").partition(":"):
        case ("moved", _, place):
            yield f"its source was moved to {place}"
        case ("deleted", _, _):
            yield "its source was deleted"
        case ("gone", _, _):
            yield "its source was gone already"
        case ("replaced", _, _):
            yield "its source was replaced by a newer version, and left alone"
    if file.after_next_at is None or action == "keep":
        return
    doing = "deleted" if action == "delete" else f"moved to {action.removeprefix('move:')}"
    when = local_time(file.after_next_at) if file.after_next_at > now else "by the next fetch or poll"
    yield f"its source is to be {doing}, {when}"
    if file.after_error is not None:
        yield f"that was refused {counted(file.after_attempts, 'time')}, the last: {file.after_error}"
        if file.state == State.PUBLISHED:
            yield f"`towline retry {file.route} {printable(file.path)}` tries it again without waiting"


def _in_hand(file: FileRow, known: Explanation) -> Iterator[str]:
    doing = "being fetched" if file.state == CLAIMED else "being published"
    if known.holder is None:
        yield f"{doing} when its worker died; the next fetch goes on with it"
        return
    host = (known.holder.host or "another host").partition("/")[0]
    until = local_time(known.holder.lease_until)
    yield f"{doing} by process {known.holder.pid} on {host}, until {until} at least"


def _never_seen(known: Explanation, route: Route, rules: Rules) -> Iterator[str]:
    try:
        relative = below(route.source, known.path)
    except NameRefused as refused:
        yield str(refused)
        return
    folder, _, _ = relative.rpartition(b"/")
    levels = relative.count(b"/")
    if levels and not route.recursive:
        yield f"it lies in a folder below {printable(route.source)}, and the route is not recursive"
    elif levels > rules.depth:
        yield f"it lies {levels} folders below {printable(route.source)}, and max_depth is {route.max_depth}"
    if rules.is_marker(relative):
        yield "it is a marker (done_file), and is not fetched itself"
    elif not rules.wants(relative) or not all(map(rules.enters, _upwards(folder))):
        yield "the route's include, exclude or regex leave it out"
    elif known.route.listed_at is None:
        yield "the route has never been listed"
    elif known.route.complete_at == known.route.listed_at:
        yield f"the listing of {local_time(known.route.listed_at)} did not have it"
    else:
        yield f"the listing of {local_time(known.route.listed_at)} was not complete: {known.route.last_error}"


def _upwards(folder: bytes) -> Iterator[bytes]:
    """A folder below the route's, and those that it lies in."""
    while folder:
        yield folder
        folder, _, _ = folder.rpartition(b"/")


def _obstacles(known: Explanation, route: Route, endpoint: EndpointState) -> Iterator[str]:
    """What keeps any file of the route from moving."""
    name = route.endpoint
    if known.route.paused_at is not None:
        yield f"the route is paused since {local_time(known.route.paused_at)}: `towline resume {route.name}`"
    if known.route.refused_at is not None:
        yield not_landing(route, known.route)
    if endpoint.paused_at is not None:
        yield f"endpoint {name} is paused since {local_time(endpoint.paused_at)}: `towline resume {name}`"
    if endpoint.closed_at is not None:
        yield (
            f"endpoint {name} is closed since {local_time(endpoint.closed_at)}: {endpoint.closed_reason}; "
            f"correct it, then `towline resume {name}`"
        )
    elif endpoint.consecutive_failures:
        yield (
            f"endpoint {name} could not be reached {endpoint.consecutive_failures} times in a row, "
            f"the last: {endpoint.last_error}"
        )
    if known.route.last_error is not None and known.route.listed_at != known.route.complete_at:
        return
    if known.route.last_error is not None:
        yield f"the last poll failed {local_time(known.route.last_error_at)}: {known.route.last_error}"
