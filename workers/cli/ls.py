"""`towline ls`: list a remote folder."""

from __future__ import annotations

import sys
from typing import Any

import click

from workers.cli.exits import NOT_WHOLE
from workers.cli.foreground import REMOTE, Ended, foreground, listed, verbose_option, wire_option
from workers.cli.output import counted, iso, json_option, print_json, print_table, say, time_in_table
from workers.ftps.listing import Entry
from workers.names import printable
from workers.session import Tally
from workers.stores.naming import joined


@click.command()
@click.argument("endpoint")
@click.argument("path", type=REMOTE)
@click.option("-R", "--recursive", is_flag=True, help="The folders below it, too; links are not followed.")
@click.option("--max-depth", type=click.IntRange(1), default=8, show_default=True, help="… so many levels.")
@json_option
@verbose_option
@wire_option
def ls(endpoint: str, path: bytes, recursive: bool, max_depth: int, as_json: bool) -> None:
    """List the folder PATH of an endpoint. An incomplete listing is shown, and ends with exit code 5."""
    with foreground() as process:
        folder = listed(process, endpoint, path, Tally(), depth=max_depth if recursive else 0)
    if as_json:
        entries = [_as_json(path, entry) for entry in folder.entries]
        print_json({"complete": folder.complete, "reason": folder.reason, "entries": entries})
    else:
        _print(folder.entries)
    if not folder.complete:
        raise Ended(f"{endpoint} did not list all of {printable(path)}: {folder.reason}", NOT_WHOLE)


def _as_json(folder: bytes, entry: Entry) -> dict[str, Any]:
    return {
        "path": printable(joined(folder, entry.name)),
        "type": entry.kind,
        "size": entry.size,
        "modified": iso(entry.modified),
        "precision_s": entry.precision_s,
    }


def _print(entries: list[Entry]) -> None:
    rows = [
        (entry.kind, entry.size, time_in_table(entry.modified), _name(entry))
        for entry in sorted(entries, key=lambda entry: entry.name)
    ]
    if rows:
        print_table(("type", "size", "modified", "name"), rows, right=("size",))
    if sys.stdout.isatty():
        say(counted(len(rows), "entry", "entries"))


def _name(entry: Entry) -> str:
    shown = printable(entry.name)
    return f"{shown} -> {printable(entry.target)}" if entry.target is not None else shown
