"""`towline get`: one file now, in the foreground; what came before a failure is not asked for again."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

import click

from workers.cli.exits import NOT_WHOLE, WRONG, sentence
from workers.cli.foreground import REMOTE, Ended, foreground, on_line, verbose_option
from workers.cli.output import Moved, amount, bar, say
from workers.errors import OperationFailed
from workers.ftps.connection import Connection
from workers.ftps.errors import TransferBroken
from workers.ftps.inquiry import Stat
from workers.names import printable
from workers.process import Process
from workers.session import Tally
from workers.stores.local import LocalFolder
from workers.stores.naming import NameRefused
from workers.stores.temp import Temp


@click.command()
@click.argument("endpoint")
@click.argument("remote", type=REMOTE)
@click.argument("local", type=click.Path(path_type=Path))
@verbose_option
def get(endpoint: str, remote: bytes, local: Path) -> None:
    """Fetch the file REMOTE of an endpoint to LOCAL, a file or a folder.

    Called again after a failure, it goes on where it stopped.
    """
    target = _target(remote, local)
    tally = Tally()
    with foreground() as process:
        found = _ask(process, endpoint, remote, tally)
        folder = LocalFolder(target.parent, route="get", mode=_usual_mode())
        name = os.fsencode(target.name)
        try:
            temp = folder.open_temp(name, _temp_name(endpoint, remote, found), resume=_is_one_version(found))
            try:
                _receive(process, endpoint, remote, found, temp, tally)
                if _ask(process, endpoint, remote, tally) != found:
                    temp.discard()
                    raise Ended(f"{printable(remote)} changed while it was fetched: try again", NOT_WHOLE)
                folder.sync([temp], [found.modified])
                folder.publish(name, os.fsdecode(temp.name), replace=True)
                folder.sync_folders([name])
            finally:
                temp.close()
        except NameRefused as wrong:
            raise Ended(str(wrong), WRONG) from wrong
    rebuilt = f", line rebuilt {tally.reconnects}×" if tally.reconnects else ""
    click.echo(f"{target}: {amount(temp.size)} in {tally.elapsed_s:.1f} s{rebuilt}, sha256 {temp.sha256}")


def _target(remote: bytes, local: Path) -> Path:
    target = local / os.fsdecode(remote.rpartition(b"/")[2]) if local.is_dir() else local
    if not target.parent.is_dir():
        raise Ended(f"{target.parent} is no folder\n  make it first", WRONG)
    return target


def _ask(process: Process, endpoint: str, remote: bytes, tally: Tally) -> Stat:
    found = on_line(
        process, endpoint, lambda line: line.stat([remote])[0], name="stat", path=remote, tally=tally
    )
    if found is None:
        raise Ended(f"{endpoint} has no file {printable(remote)}\n  look with `towline ls {endpoint} …`")
    return found


def _receive(process: Process, endpoint: str, remote: bytes, found: Stat, temp: Temp, tally: Tally) -> None:
    session = process.session(endpoint)
    if temp.size:
        say(f"{amount(temp.size)} are here already")

    def from_where_it_stopped(line: Connection, moved: Moved) -> None:
        def keep(block: memoryview) -> None:
            temp.write(block)
            session.progress()
            moved(temp.size)

        if temp.size and not (_is_one_version(found) and line.features.rest_stream):
            temp.restart()
        line.retrieve(remote, keep, offset=temp.size, size=found.size)

    with bar(printable(remote.rpartition(b"/")[2]), found.size) as moved:
        try:
            on_line(
                process,
                endpoint,
                lambda line: from_where_it_stopped(line, moved),
                name="get",
                path=remote,
                tally=tally,
            )
        except BaseException as failure:
            if not temp.size:
                temp.discard()
            else:
                say(f"{amount(temp.size)} are kept: the same command goes on from there")
            if isinstance(failure, OperationFailed) and failure.args[-1].startswith(TransferBroken.__name__):
                # The server can be reached; what fails, on every line, is the proof that the file is whole.
                raise Ended(sentence(failure), NOT_WHOLE) from failure
            raise


def _is_one_version(found: Stat) -> bool:
    """Whether the server tells enough of the file to know its bytes from those of another version."""
    return found.size is not None and found.modified is not None


def _temp_name(endpoint: str, remote: bytes, found: Stat) -> str:
    """Named after the version: a resume must not glue two versions together (field note 35)."""
    told = f"{endpoint}/{found.size}/{found.modified}/".encode() + remote
    return f".towline-get-{hashlib.sha256(told).hexdigest()[:20]}"


def _usual_mode() -> int:
    """What a new file of this user's gets; there is no other way of asking for the umask than to set it."""
    mask = os.umask(0o077)
    os.umask(mask)
    return 0o666 & ~mask
