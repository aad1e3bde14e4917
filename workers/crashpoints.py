"""Named places where a test may kill this process; in production they do nothing.

A crash that a handler can see is not the crash that loses files: `os._exit` and SIGKILL run nothing
(field note 37). So a test names a place, `TOWLINE_CRASH_AT=renamed`, and the process kills itself there
with SIGKILL, without a last word. `TOWLINE_CRASH_AT=received:3` lets two pass and kills at the third.

`NAMES` is the whole list: a misspelt name fails loudly, and a test walks the list to be sure that every
place is survived.
"""

from __future__ import annotations

import os
import signal

NAMES: frozenset[str] = frozenset(
    {
        "claimed",  # the batch is ours, no byte has been asked for
        "took-over",  # what lower fences left has been renamed or removed
        "receiving",  # some bytes of a file lie in its temp, not all
        "received",  # all bytes lie in the temp, nothing is proven or synced
        "sending",  # some bytes of a file lie in its temp at the partner, not all
        "sent",  # all bytes lie there, their number is not proven
        "synced",  # the temp is durable, no intent is written
        "intended",  # PUBLISHING is committed, no rename has happened
        "renamed",  # a file has its final name, its folder is not synced
        "folder-synced",  # the names are durable, the ledger does not know
        "published",  # PUBLISHED is committed, the task has not ended
        "announced",  # the broker has the follow-on tasks, the ledger does not know
        "source-asked",  # a source is known to be what was published, nothing is done to it
        "marker-removed",  # its marker is gone, the source is still there
        "source-removed",  # it is deleted or moved, the ledger does not know
        "source-recorded",  # and now it does
        "listed",  # a listing has been read, nothing of it is in the ledger
        "applied-chunk",  # one chunk of a listing is in the ledger, the rest is not
    }
)

VARIABLE = "TOWLINE_CRASH_AT"


def _aim(value: str) -> tuple[str, int]:
    """`name[:count]` → (name, passes left); ("", 0) when nothing is aimed at."""
    if not value:
        return "", 0
    name, _, count = value.partition(":")
    if name not in NAMES:
        raise ValueError(
            f"{VARIABLE}={value}: no crash point of that name; there are {', '.join(sorted(NAMES))}"
        )
    return name, int(count or 1)


# Read once: a crash point stands in loops that run for every file, and os.environ is not free.
_name, _left = _aim(os.environ.get(VARIABLE, ""))


def crashpoint(name: str) -> None:
    """Kill this process here if a test asked for it; otherwise nothing."""
    global _left
    if name != _name:
        return
    _left -= 1
    if _left == 0:
        os.kill(os.getpid(), signal.SIGKILL)
