"""`towline get`: files now, in the foreground; what came before a failure is not asked for again."""

from __future__ import annotations

import os
from collections.abc import Callable
from functools import partial
from pathlib import Path

import click

from workers.cli.choosing import DEPTH, Choice, Chooser, Chosen, is_pattern
from workers.cli.exits import SOME_FAILED, WRONG
from workers.cli.foreground import REMOTE, Ended, foreground, verbose_option, wire_option
from workers.cli.lines import sessions_option
from workers.cli.moving import GET, End, Item, Plan, carry_out
from workers.cli.output import json_option, say
from workers.names import printable
from workers.receiving import Receipt
from workers.session import Session, Tally
from workers.singly import Progress, download
from workers.stores.local import LocalFolder
from workers.stores.naming import refusal

keep_option = click.option("--keep", is_flag=True, help="Leave alone what is there already; else replace it.")
recursive_option = click.option(
    "-r", "--recursive", is_flag=True, help="Folders, with those below them; links are not followed."
)
depth_option = click.option(
    "--max-depth", type=click.IntRange(1), default=None, help=f"… so many levels; else {DEPTH}."
)


@click.command()
@click.argument("endpoint")
@click.argument("remote", type=REMOTE, nargs=-1, required=True)
@click.argument("local")
@recursive_option
@depth_option
@keep_option
@sessions_option
@json_option
@verbose_option
@wire_option
def get(
    endpoint: str,
    remote: tuple[bytes, ...],
    local: str,
    recursive: bool,
    max_depth: int | None,
    keep: bool,
    sessions: int,
    as_json: bool,
) -> None:
    """Fetch each file REMOTE of an endpoint to LOCAL, a file or, for several, a folder.

    A REMOTE may be a pattern: quote it, and it is matched on what the server lists. Called again after a
    failure, it goes on where it stopped.
    """
    target = _Target(local, remote, recursive=recursive)
    with foreground() as process:
        chooser = Chooser(process, endpoint, Tally(), recursive=recursive, depth=max_depth)
        plan = target.plan(chooser.choose(remote), keep=keep)
        code = carry_out(process, GET, endpoint, plan, sessions=sessions, as_json=as_json)
    click.get_current_context().exit(code)


class _Target:
    """Where files land: as with cp, in a folder that is there, else under the name given."""

    def __init__(self, local: str, remotes: tuple[bytes, ...], *, recursive: bool) -> None:
        """Raises `Ended` where that can't be, before anybody is asked for anything."""
        self._path = Path(local)
        self._is_folder = self._path.is_dir()
        several = len(remotes) > 1 or is_pattern(remotes[0])
        if not self._is_folder and (several or (local.endswith("/") and not recursive)):
            what = "several files need one" if several else "a name that ends with a slash is one"
            raise Ended(f"{local} is no folder: {what}\n  make it first", WRONG)
        if not self._path.parent.is_dir():
            raise Ended(f"{self._path.parent} is no folder\n  make it first", WRONG)
        for remote in remotes:
            name = remote.rstrip(b"/").rpartition(b"/")[2]
            if (why := refusal(name)) is not None and not (recursive and not name):
                raise Ended(f"{printable(remote)} can't be fetched under its name: {why}", WRONG)

    def plan(self, choice: Choice, *, keep: bool) -> Plan:
        """What is to be fetched, and where to; what is wrong with the rest is told."""
        for told, _ in choice.wrong:
            say(f"towline: {told}")
        plan = Plan(codes=[code for _, code in choice.wrong])
        plan.ends.extend(
            End(path, None, "failed", error=f"{printable(path)} can't be fetched: {why}", code=SOME_FAILED)
            for path, why in choice.refused
        )
        for link in choice.links:
            plan.ends.append(End(link, None, "link", error=f"{printable(link)} is a link: passed over"))
        folder = self._folder(choice)
        fetch = partial(_fetch, folder=folder, keep=keep)
        taken: set[bytes] = set()
        for one in choice.files:
            relative = self._place(one)
            local = folder.located(relative)
            if relative in taken:
                told = f"{printable(one.path)} would land on another file of this call, {printable(local)}"
                plan.ends.append(End(one.path, local, "failed", error=told, code=SOME_FAILED))
                continue
            taken.add(relative)
            plan.items.append(
                Item(one.path, local, one.size, partial(fetch, path=one.path, relative=relative))
            )
        return plan

    def _folder(self, choice: Choice) -> LocalFolder:
        """The folder where files land, made where it is to be a remote one's copy."""
        mode = _mode_of_new_files()
        if not self._is_folder and all(not one.below for one in choice.files):
            return LocalFolder(self._path.parent, route="get", mode=mode)
        try:
            self._path.mkdir(exist_ok=True)
        except OSError as failure:
            raise Ended(f"{self._path} can't be made a folder: {failure.strerror}", WRONG) from failure
        return LocalFolder(self._path, route="get", mode=mode, deep=True)

    def _place(self, one: Chosen) -> bytes:
        """Its path below the folder where files land; what is made is the remote thing under another name."""
        return one.relative if self._is_folder else one.below or os.fsencode(self._path.name)


def _fetch(
    session: Session,
    tally: Tally,
    go_on: Callable[[], None],
    progress: Progress,
    *,
    folder: LocalFolder,
    path: bytes,
    relative: bytes,
    keep: bool,
) -> Receipt | None:
    return download(session, path, folder, relative, keep=keep, tally=tally, go_on=go_on, progress=progress)


def _mode_of_new_files() -> int:
    """What the user's umask leaves of 0666; it can only be read by setting it."""
    umask = os.umask(0o077)
    os.umask(umask)
    return 0o666 & ~umask
