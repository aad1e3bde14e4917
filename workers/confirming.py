"""`verify = "hash"`: what was received is held against the digest that the server tells of its file."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from workers.ftps.errors import Missing
from workers.names import printable
from workers.receiving import Changed, Wanted, asked_again, is_still

if TYPE_CHECKING:
    from workers.session import Session, Tally
    from workers.stores.store import ReceivingTemp

log = logging.getLogger("towline.transfer")


class HashDiffers(Exception):
    """The bytes here are not the server's; the message tells both digests."""


def confirm(session: Session, wanted: Wanted, temp: ReceivingTemp, *, tally: Tally) -> None:
    """Ask for the file's digest and compare it with that of the bytes in `temp`, all of which are there.

    A server that can't tell one, and an empty file, leave it at the proof by size. Raises HashDiffers,
    Changed and Missing where the server's file is another one by now, Refused, and what `Session.run` raises.
    """
    if not temp.size:
        return
    shown = printable(wanted.path)
    told = session.run(
        lambda line: line.digest(wanted.path, size=temp.size), name=f"hash {shown}", tally=tally
    )
    if told is None:
        log.info("%s: the server tells no hash: proven by size", shown, extra={"action": "file.unhashed"})
        return
    ours = temp.digest(told.algorithm)
    if told.hex == ours:
        return
    # Replaced while it was being fetched, it is a new version, and no fault.
    [now] = session.run(lambda line: asked_again(line, [wanted]), name="stat", tally=tally)
    if now is None:
        raise Missing("HASH", 550, "no such file any more")
    if not is_still(wanted, now):
        raise Changed
    raise HashDiffers(f"{told.algorithm} of the server: {told.hex}, of what came: {ours}")
