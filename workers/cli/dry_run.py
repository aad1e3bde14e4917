"""`towline run --dry-run`: what a round would do. Nothing is written, here or there."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import click

from workers.cli.exits import NOT_WHOLE
from workers.cli.foreground import listed
from workers.cli.output import amount, counted, print_table, say
from workers.detect import Rules, decide
from workers.ledger import Appeared, Changed, Known, Seen, State
from workers.looking import Listed, scan
from workers.names import printable
from workers.process import Process
from workers.session import Tally
from workers.settings import Route


def dry_run_of(process: Process, route: Route) -> int:
    """List the route's folder and print the plan; the exit code."""
    rules = Rules.of(route, encoding=process.settings.endpoint(route.endpoint).encoding)
    if route.direction == "push":
        folder = scan(process, route, rules)
    else:
        folder = listed(
            process, route.endpoint, route.remote, Tally(), depth=rules.depth, enters=rules.enters
        )
    ledger = process.ledger
    known = ledger.polls.known(route.name, route.target)
    first = ledger.routes.get(route.name).first_complete_at is None
    rows = sorted(plan(folder, known, rules, ledger.now(), first=first), key=lambda row: row[2])
    if rows:
        print_table(("what", "size", "path"), [(what, amount(size), path) for what, size, path in rows])
    fetched = sum(not what.startswith(("refused", "backlog")) for what, _, _ in rows)
    click.echo(
        f"{route.name}: {counted(len(folder.entries), 'entry', 'entries')} listed, "
        f"{counted(fetched, 'file')} would be {'fetched' if route.direction == 'pull' else 'sent'}"
    )
    if folder.complete:
        return 0
    say(f"towline: {route.name}: the listing was not complete: {folder.reason}")
    return NOT_WHOLE


def plan(
    folder: Listed, known: Mapping[bytes, Known], rules: Rules, now: float, *, first: bool = False
) -> Iterator[tuple[str, int | None, str]]:
    """What a round would do with each file it would touch: (what, size, path)."""
    decision = decide(folder.entries, known, rules, now, complete=folder.complete, first=first)
    touched: set[bytes] = set()
    for change in decision.changes:
        path = change.path if isinstance(change, Appeared) else change.known.path
        touched.add(path)
        match change:
            case Appeared(refused=str(reason)):
                yield f"refused: {reason}", change.size, printable(path)
            case Appeared(backlog=True) | Changed(backlog=True):
                yield "backlog, left alone", change.size, printable(path)
            case Appeared():
                yield _then("new", change.ready), change.size, printable(path)
            case Changed():
                yield _then("changed", change.ready), change.size, printable(path)
            case Seen(known=before) if before.state in (State.WAITING, State.VANISHED):
                yield (
                    _then("settled" if change.ready else "waiting", change.ready),
                    before.size,
                    printable(path),
                )
    for path, one in known.items():
        if one.state in (State.READY, State.PUBLISHING) and path not in touched:
            yield "in flight" if one.claimed else "ready", one.size, printable(path)


def _then(what: str, ready: bool) -> str:
    return what if ready else f"{what}, settles first"
