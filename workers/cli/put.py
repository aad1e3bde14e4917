"""`towline put`: files sent now, in the foreground; what went over before a failure is not sent again."""

from __future__ import annotations

import glob
import os
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import click

from workers.cli.choosing import DEPTH, is_remote_folder
from workers.cli.exits import NOT_WHOLE, SOME_FAILED, WRONG
from workers.cli.foreground import REMOTE, Ended, foreground, verbose_option, wire_option
from workers.cli.get import depth_option, keep_option, recursive_option
from workers.cli.lines import sessions_option
from workers.cli.moving import PUT, End, Item, Plan, carry_out
from workers.cli.output import counted, json_option
from workers.names import printable
from workers.receiving import Receipt
from workers.session import Session, Tally
from workers.singly import Progress, upload
from workers.stores.naming import TEMP_PREFIX, NameRefused, joined, parts
from workers.stores.source import SourceFolder


@click.command()
@click.argument("endpoint")
@click.argument("local", nargs=-1, required=True)
@click.argument("remote", type=REMOTE)
@recursive_option
@depth_option
@keep_option
@sessions_option
@json_option
@verbose_option
@wire_option
def put(
    endpoint: str,
    local: tuple[str, ...],
    remote: bytes,
    recursive: bool,
    max_depth: int | None,
    keep: bool,
    sessions: int,
    as_json: bool,
) -> None:
    """Send each file LOCAL to REMOTE of an endpoint, a file or, for several, a folder.

    Each goes to a temporary name first, and gets its own once it is whole there. Called again after a
    failure, it goes on where it stopped.
    """
    sources = _Sources(recursive=recursive, depth=max_depth)
    for one in local:
        sources.add(one)
    with foreground() as process:
        into = is_remote_folder(process, endpoint, remote, Tally())
        if not into and (len(local) > 1 or sources.several or remote.endswith(b"/")):
            what = "several files need one" if len(local) > 1 or sources.several else "a slash asks for one"
            raise Ended(f"{endpoint} has no folder {printable(remote)}: {what}\n  make it first", WRONG)
        plan = sources.plan(remote.rstrip(b"/"), into=into, keep=keep)
        code = carry_out(process, PUT, endpoint, plan, sessions=sessions, as_json=as_json)
    click.get_current_context().exit(code)


@dataclass(frozen=True, slots=True)
class _Source:
    """A file that is to be sent: its place here, the name of what was asked for, and its path below that."""

    folder: SourceFolder
    relative: bytes
    top: bytes
    below: bytes
    size: int | None


class _Sources:
    """What is to be sent: files, and with `-r` what lies in folders."""

    def __init__(self, *, recursive: bool, depth: int | None) -> None:
        self._recursive = recursive
        self._depth = depth
        self._files: list[_Source] = []
        self._ends: list[End] = []
        self._codes: list[int] = []
        self.several = False
        """Whether a pattern was given, whatever it matches now."""

    def add(self, written: str) -> None:
        """A file, a folder, or a pattern that no shell has expanded."""
        path = Path(written)
        if path.exists():
            self._take(path)
        elif path.is_symlink() or not glob.has_magic(written):
            self._lack(path, f"{printable(os.fsencode(path))}: there is no such file")
        else:
            self.several = True
            found = sorted(glob.glob(written))  # noqa: PTH207  # a Path has none that may be absolute
            if not found:
                self._lack(None, f"nothing here matches {written}")
            for one in found:
                self._take(Path(one), asked_for=False)

    def plan(self, remote: bytes, *, into: bool, keep: bool) -> Plan:
        """What is to be sent, and where to: below `remote` under its own name, or under that name itself."""
        plan = Plan(ends=list(self._ends), codes=list(self._codes))
        top, _, name = remote.rpartition(b"/")
        made: set[bytes] = set()
        taken: set[bytes] = set()
        folder = remote if into else top
        for one in self._files:
            below = b"/".join(filter(None, (one.top if into else name, one.below)))
            path, local = joined(folder, below), one.folder.located(one.relative)
            why = _refusal(below) or ("another file of this call goes there" if path in taken else None)
            if why is not None:
                told = f"{printable(local)} can't be sent to {printable(path)}: {why}"
                plan.ends.append(End(path, local, "failed", error=told, code=SOME_FAILED))
                continue
            taken.add(path)
            send = partial(_send, source=one, top=folder, below=below, made=made, keep=keep)
            plan.items.append(Item(path, local, one.size, send))
        return plan

    # -- one of them

    def _take(self, path: Path, *, asked_for: bool = True) -> None:
        if not path.is_dir():
            # What was named is meant, also where it is a link; what lies in a folder never is.
            real = path.resolve()
            source, name = SourceFolder(real.parent, route="put"), os.fsencode(real.name)
            size = real.stat().st_size if real.is_file() else None
            self._files.append(_Source(source, name, os.fsencode(path.name), b"", size))
        elif self._recursive:
            self._take_folder(path)
        else:
            told = f"{printable(os.fsencode(path))} is a folder: passed over without -r"
            self._lack(path, told, code=SOME_FAILED if asked_for else 0)

    def _take_folder(self, path: Path) -> None:
        depth = DEPTH if self._depth is None else self._depth
        source = SourceFolder(path, route="put")
        entries, unread = source.entries(depth=depth)
        own, deeper = os.fsencode(path.resolve().name), 0
        for entry in sorted(entries, key=lambda entry: entry.name):
            local = source.located(entry.name)
            if entry.kind == "link":
                self._ends.append(
                    End(None, local, "link", error=f"{printable(local)} is a link: passed over")
                )
            elif entry.kind == "dir":
                deeper += entry.name.count(b"/") >= depth
            elif entry.kind == "file" and not entry.name.rpartition(b"/")[2].startswith(TEMP_PREFIX):
                self._files.append(_Source(source, entry.name, own, entry.name, entry.size))
        if deeper:
            told = f"{path}: {counted(deeper, 'folder')} below --max-depth left out"
            self._lack(path, told, code=NOT_WHOLE if self._depth is None else 0)
        if unread is not None:
            self._lack(path, f"{path}: not all of it: {unread}", code=NOT_WHOLE)

    def _lack(self, path: Path | None, told: str, *, code: int = SOME_FAILED) -> None:
        local = None if path is None else os.fsencode(path)
        self._ends.append(End(None, local, "failed" if code else "left", error=told, code=code))


def _refusal(relative: bytes) -> str | None:
    try:
        parts(relative)
    except NameRefused as refusal:
        return refusal.reason
    return None


def _send(
    session: Session,
    tally: Tally,
    go_on: Callable[[], None],
    progress: Progress,
    *,
    source: _Source,
    top: bytes,
    below: bytes,
    made: set[bytes],
    keep: bool,
) -> Receipt | None:
    return upload(
        session,
        source.folder,
        source.relative,
        top,
        below,
        made=made,
        keep=keep,
        tally=tally,
        go_on=go_on,
        progress=progress,
    )
