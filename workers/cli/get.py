"""`towline get`: one file now, in the foreground; what came before a failure is not asked for again."""

from __future__ import annotations

import os
from pathlib import Path

import click

from workers.cli.exits import NOT_WHOLE, WRONG
from workers.cli.foreground import REMOTE, Ended, foreground, refusals, verbose_option, wire_option
from workers.cli.output import amount, bar, say
from workers.ftps.errors import TransferBroken
from workers.names import printable
from workers.process import Process
from workers.session import Tally
from workers.stores.naming import NameRefused
from workers.stores.temp import TooLarge
from workers.transfer import Receipt, download


@click.command()
@click.argument("endpoint")
@click.argument("remote", type=REMOTE)
@click.argument("local", type=click.Path(path_type=Path))
@verbose_option
@wire_option
def get(endpoint: str, remote: bytes, local: Path) -> None:
    """Fetch the file REMOTE of an endpoint to LOCAL, a file or a folder.

    Called again after a failure, it goes on where it stopped.
    """
    target = local / os.fsdecode(remote.rpartition(b"/")[2]) if local.is_dir() else local
    if not target.parent.is_dir():
        raise Ended(f"{target.parent} is no folder\n  make it first", WRONG)
    tally = Tally()
    with foreground() as process:
        receipt = _fetched(process, endpoint, remote, target, tally)
    rebuilt = f", line rebuilt {tally.reconnects}×" if tally.reconnects else ""
    click.echo(
        f"{printable(os.fsencode(target))}: {amount(receipt.bytes)} in {tally.elapsed_s:.1f} s{rebuilt}, "
        f"sha256 {receipt.sha256}"
    )


def _fetched(process: Process, endpoint: str, remote: bytes, target: Path, tally: Tally) -> Receipt:
    """Download with a bar. A proof that fails, on one line or on all of them, ends with 5 and not with 3."""
    session = process.session(endpoint)
    there = 0
    with bar(printable(remote.rpartition(b"/")[2])) as draw, refusals(endpoint, remote):

        def moved(held: int, whole: int | None) -> None:
            nonlocal there
            there = held
            draw(held, whole)

        try:
            return download(session, remote, target, tally=tally, progress=moved)
        except (NameRefused, TooLarge) as wrong:
            raise Ended(str(wrong), WRONG) from wrong
        except TransferBroken as changed:
            raise Ended(f"{changed}\n  the same command fetches it as it is now", NOT_WHOLE) from changed
        except BaseException:
            _tell_what_is_kept(there)
            raise


def _tell_what_is_kept(size: int) -> None:
    if size:
        say(f"{amount(size)} are kept; the same command goes on from there")
