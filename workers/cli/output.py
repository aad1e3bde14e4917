"""How the verbs speak: tables and sentences to people, one JSON document to programs, progress to stderr.

On a terminal rich draws; elsewhere columns are plain text of full width, since nothing may be cut off in a
file, and nothing moves. Names of files are never read as markup.
"""

from __future__ import annotations

import json
import shutil
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime

import click

json_option = click.option("--json", "as_json", is_flag=True, help="One JSON document instead of text.")


def print_json(document: object) -> None:
    """One JSON document on stdout. Names that aren't UTF-8 have to come in their printable form."""
    click.echo(json.dumps(document, ensure_ascii=False, indent=2 if sys.stdout.isatty() else None))


def iso(epoch: float | None) -> str | None:
    """Epoch seconds as ISO 8601 in UTC, `2026-04-22T17:04:05Z`; milliseconds only where there are some."""
    if epoch is None:
        return None
    moment = datetime.fromtimestamp(epoch, UTC)
    return moment.isoformat(timespec="milliseconds" if moment.microsecond else "seconds").replace(
        "+00:00", "Z"
    )


def local_time(epoch: float | None) -> str:
    """A time for people: to the second, in this machine's zone; a dash for none."""
    if epoch is None:
        return "–"
    return datetime.fromtimestamp(epoch).astimezone().strftime("%Y-%m-%d %H:%M:%S")


def time_in_table(epoch: float | None) -> str:
    """`local_time`; on a terminal, where width is dear, without what goes without saying."""
    told = local_time(epoch)
    if epoch is None or not sys.stdout.isatty():
        return told
    day, clock = told.split()
    return clock if day == local_time(time.time()).split()[0] else f"{day} {clock[:5]}"


def amount(size: int | None) -> str:
    """A size for people, three digits and a unit: `4.0 KiB`; a dash for an unknown one."""
    if size is None:
        return "–"
    if size < 1024:
        return f"{size} B"
    value, unit = float(size), "B"
    for larger in ("KiB", "MiB", "GiB", "TiB"):
        if value < 999.5:
            break
        value, unit = value / 1024, larger
    return f"{value:.1f} {unit}" if value < 99.95 else f"{value:.0f} {unit}"


def counted(count: int, one: str, many: str | None = None) -> str:
    """`1 file`, `2 files`, `0 files`."""
    return f"{count:,} {one if count == 1 else many or one + 's'}"


def print_table(
    columns: Sequence[str], rows: Sequence[Sequence[object]], *, right: Sequence[str] = ()
) -> None:
    """Rows under their columns, on stdout; the columns named in `right` are aligned to the right."""
    cells = [["–" if cell is None else str(cell) for cell in row] for row in rows]
    widths = [max(map(len, column)) for column in zip(columns, *cells, strict=True)]
    # A terminal too narrow for all columns but the last one wraps better by itself than rich would cut.
    if sys.stdout.isatty() and sum(widths[:-1]) + 2 * len(widths) + 16 <= shutil.get_terminal_size().columns:
        _drawn(columns, cells, right)
        return
    for row in [list(columns), *cells]:
        padded = [
            cell.rjust(width) if name in right else cell.ljust(width)
            for cell, width, name in zip(row, widths, columns, strict=True)
        ]
        click.echo("  ".join(padded).rstrip())


def _drawn(columns: Sequence[str], cells: Sequence[Sequence[str]], right: Sequence[str]) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False, header_style="bold")
    for name in columns:
        # Only the last one is text of any length; folding a time or a number would help nobody.
        table.add_column(
            name,
            justify="right" if name in right else "left",
            overflow="fold",
            no_wrap=name != columns[-1],
        )
    for row in cells:
        table.add_row(*map(Text, row))
    Console(highlight=False).print(table)


def say(text: str) -> None:
    """A line about what is going on, to stderr."""
    click.echo(text, err=True)


Draw = Callable[[int, int | None], None]
"""Told how many bytes are there, those of an earlier attempt included, and how many there will be."""


@contextmanager
def status(text: str) -> Iterator[Callable[[str], None]]:
    """A line on stderr about what is being waited for, which can be replaced.

    Without a terminal each is a line of its own.
    """
    if not sys.stderr.isatty():
        say(text)
        yield say
        return
    from rich.console import Console
    from rich.text import Text

    with Console(stderr=True).status(Text(text)) as drawn:
        yield lambda other: drawn.update(Text(other))
