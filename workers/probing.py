"""Trying out a push route for real, for `towline check`: a probe file is written, renamed and deleted.

Its name is one that no route sends and no route fetches, so a partner's own programs pass it over.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from typing import TYPE_CHECKING

from workers.detect import Rules
from workers.errors import ListingFailed, PermissionRefused
from workers.finding import Finding
from workers.ftps.errors import Refused
from workers.looking import scan
from workers.names import printable
from workers.stores.naming import TEMP_PREFIX, joined

if TYPE_CHECKING:
    from workers.ftps.connection import Connection
    from workers.process import Process
    from workers.session import Session, Tally
    from workers.settings import Route

CONTENT = b"A probe file of `towline check`; it may be deleted.\n"


def of_push(process: Process, session: Session, route: Route, tally: Tally) -> Iterator[Finding]:
    """What a push route meets, at both its ends. Raises what `Session.run` raises where a line is lost."""
    yield _of_folder(process, route, session.endpoint.encoding)
    names = [joined(route.remote, TEMP_PREFIX + b"check-" + secrets.token_hex(6).encode()) for _ in "ab"]
    try:
        told = session.run(lambda line: list(_tried(line, names)), name="probe", tally=tally)
    finally:
        left = session.run(lambda line: _left(line, names), name="probe", tally=tally)
    for what, outcome, remedy, refusal in told:
        failure = None
        if refusal is not None:
            failure = PermissionRefused(route.endpoint, printable(route.remote), str(refusal))
        yield Finding(route.name, what, outcome, remedy, failure)
    if left:
        shown = ", ".join(map(printable, left))
        yield Finding(route.name, "delete", f"{shown} could not be deleted", "delete it by hand")


def _of_folder(process: Process, route: Route, encoding: str) -> Finding:
    rules = Rules.of(route, encoding=encoding)
    try:
        found = scan(process, route, rules)
    except ListingFailed as failure:
        return Finding(route.name, "source", failure.args[1], f"make {route.local}, or mount it", failure)
    files = [entry.name for entry in found.entries if entry.kind == "file"]
    match = sum(map(rules.wants, files))
    told = f"{route.local}: {len(files):,} file{'' if len(files) == 1 else 's'}, {match:,} match"
    if found.reason is not None:
        return Finding(
            route.name, "source", f"{told}; not all of it: {found.reason}", "let this user read it"
        )
    return Finding(route.name, "source", told)


def _tried(line: Connection, names: list[bytes]) -> Iterator[tuple[str, str, str | None, Refused | None]]:
    """Each step: what it was, how it went, what can be done about it, and the refusal."""
    old, new = names
    try:
        for name in names:
            line.store(name, [CONTENT], size=len(CONTENT))
    except Refused as refusal:
        remedy = "let this account write there; it sends to a temporary name first, then renames"
        yield "write", f"refused: {refusal}", remedy, refusal
        return
    [there] = line.stat([old])
    if there is not None and there.size is not None:
        yield "write", f"taken, and its size is told ({there.size} bytes)", None, None
    else:
        remedy = "have SIZE switched on: without it only the server's word proves a file whole"
        yield "write", "taken, but its size is not told", remedy, None
    try:
        line.rename(old, new)
        yield "rename", "done, also onto a file that is there: the newer takes its place at once", None, None
    except Refused:
        try:
            line.delete(new)
            line.rename(old, new)
        except Refused as refusal:
            remedy = "let this account rename: a file is given its name once it is whole"
            yield "rename", f"refused: {refusal}", remedy, refusal
            return
        remedy = 'on_exists = "version" leaves what is there alone'
        told = "done, but not onto a file that is there: that is deleted first, for a moment there is none"
        yield "rename", told, remedy, None


def _left(line: Connection, names: list[bytes]) -> list[bytes]:
    """Clear up; what could not be."""
    left = []
    for name, there in zip(names, line.stat(names), strict=True):
        if there is not None:
            try:
                line.delete(name)
            except Refused:
                left.append(name)
    return left
