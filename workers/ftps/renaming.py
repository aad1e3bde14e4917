"""Renames of many files in few flights, and what keeps a refusal from reaching the file behind it.

A server remembers what RNFR named until an RNTO has used it up (RFC 959 §4.1.3), and each forgets in its own
way. Pure-FTPd keeps it through an RNTO whose name it won't take, and through the next RNFR if that one is
refused: then the RNTO behind it gives the second file's name to the first file. vsftpd, ProFTPD and pyftpdlib
each have halves of the same.

So behind the two commands of each file flies a third: RNTO to a place below the file itself. No file system
has such a place. A server that still remembers a name tries, fails, and has used it up; one that does not
says 503. Whether a server does so is asked before the first flight; where it does not, each command waits for
the reply to the one before.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from workers.ftps.control import Reply, command, refusal
from workers.ftps.errors import ProtocolError, Refused
from workers.ftps.inquiry import flights
from workers.ftps.line import Line

_BAD_SEQUENCE = 503


def rename_all(line: Line, pairs: Sequence[tuple[bytes, bytes]]) -> list[Refused | None]:
    """Each old name becomes its new one; for each what refused it, or None. Inside an operation.

    Raises BadName with nothing done.
    """
    for old, new in pairs:
        command("RNFR", old)
        command("RNTO", new)
    if not line.features.rename_flights:
        return [_rename(line, old, new) for old, new in pairs]
    commands = [one for old, new in pairs for one in (("RNFR", old), ("RNTO", new), ("RNTO", _nowhere(old)))]
    replies = [reply for flight in flights(commands, together=3) for reply in line.ask_all(flight)]
    return [_refusal_of(*replies[at : at + 3]) for at in range(0, len(replies), 3)]


def learn(line: Line, path: bytes) -> None:
    """Find out, by a file that lies there, whether the server bears renames in flights. Inside an operation.

    What can't be done is asked for twice: refused for its own sake, and then since nothing is left to be
    renamed. A server that does it all the same keeps its files in no real folders, and it is undone. So
    nobody may take the name's absence for a rename that was done: ask while no intent is open.
    """
    if line.features.rename_flights is not None:
        return
    nowhere = _nowhere(path)
    # A server that is silent, or hangs up, where it expects no RNTO: the next line does not ask again.
    line.features = replace(line.features, rename_flights=False)
    named, first, second = line.ask_all([("RNFR", path), ("RNTO", nowhere), ("RNTO", nowhere)])
    if named.refuses:
        line.features = replace(line.features, rename_flights=None)
        return
    if not first.refuses:
        _rename(line, nowhere, path)
    forgets = first.refuses and first.code != _BAD_SEQUENCE and second.code == _BAD_SEQUENCE
    line.features = replace(line.features, rename_flights=forgets)


def _rename(line: Line, old: bytes, new: bytes) -> Refused | None:
    try:
        line.ask("RNFR", old)
        line.ask("RNTO", new)
    except Refused as refused:
        return refused
    return None


def _refusal_of(named: Reply, renamed: Reply, nowhere: Reply) -> Refused | None:
    if not nowhere.refuses or (named.refuses and not renamed.refuses):
        raise ProtocolError(f"a rename was done that can't be: {renamed}, {nowhere}")
    if named.refuses:
        return refusal("RNFR", named)
    return refusal("RNTO", renamed) if renamed.refuses else None


def _nowhere(path: bytes) -> bytes:
    """Below a file; by its own name, which the server is known to take."""
    return path + b"/" + path.rpartition(b"/")[2]
