"""`towline history`: what happened to which file."""

from __future__ import annotations

from typing import Any

import click

from workers.cli.foreground import foreground
from workers.cli.output import amount, iso, json_option, print_json, print_table, time_in_table
from workers.ledger import CLAIMED, FileRow, State
from workers.names import printable

STATES = [*State, CLAIMED]


@click.command()
@click.option("--route", help="Of this route only.")
@click.option("--state", type=click.Choice(STATES, case_sensitive=False), help="In this state only.")
@click.option(
    "--limit", type=click.IntRange(min=1), default=100, show_default=True, help="The newest so many."
)
@json_option
def history(route: str | None, state: str | None, limit: int, as_json: bool) -> None:
    """What happened to which file, the newest first. A file that was replaced has a line for each version."""
    with foreground() as process:
        if route is not None:
            process.settings.route(route)
        files = process.ledger.history.rows(route, state, limit)
    if as_json:
        print_json({"files": [file_as_json(file) for file in files]})
        return
    columns = ("when", "state", "route", "size", "path", "told")
    rows = [
        (
            time_in_table(last_event(file)),
            file.state,
            file.route,
            amount(file.size if file.bytes is None else file.bytes),
            printable(file.path),
            told(file),
        )
        for file in files
    ]
    print_table(columns, rows, right=("size",))


def last_event(file: FileRow) -> float:
    """When the version came into the state it is in, as far as that is kept."""
    match file.state:
        case State.PUBLISHED:
            at = file.published_at
        case State.FINISHED:
            at = file.finished_at
        case State.VANISHED:
            at = file.vanished_at
        case State.READY | "CLAIMED" | State.PUBLISHING:
            at = file.ready_at
        case _:
            at = file.last_seen_at
    return at if at is not None else file.last_seen_at


def told(file: FileRow) -> str:
    """Where it landed, or what went wrong."""
    if file.local is not None:
        return f"{file.local}; its source stays: {file.after_error}" if file.after_error else file.local
    failure = file.reason or file.last_error
    if failure is None:
        return ""
    return f"{file.attempts}× {failure}" if file.attempts else failure


def file_as_json(file: FileRow) -> dict[str, Any]:
    """One version of a file; times in ISO 8601 UTC."""
    return {
        "route": file.route,
        "path": printable(file.path),
        "version": file.number,
        "latest": file.latest,
        "state": str(file.state),
        "size": file.size,
        "modified": iso(file.modified),
        "precision_s": file.precision_s,
        "listed": file.listed,
        "first_seen_at": iso(file.first_seen_at),
        "last_seen_at": iso(file.last_seen_at),
        "ready_at": iso(file.ready_at),
        "attempts": file.attempts,
        "next_attempt_at": iso(file.next_attempt_at),
        "last_error": file.last_error,
        "reason": file.reason,
        "local": file.local,
        "bytes": file.bytes,
        "sha256": file.sha256,
        "published_at": iso(file.published_at),
        "finished_at": iso(file.finished_at),
        "vanished_at": iso(file.vanished_at),
        "after_step": file.after_step,
        "after_attempts": file.after_attempts,
        "after_next_at": iso(file.after_next_at),
        "after_error": file.after_error,
    }
