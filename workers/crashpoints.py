"""Named places where a test may kill this process; in production they do nothing.

A crash that a handler can see is not the crash that loses files: `os._exit` and SIGKILL run nothing
(field note 37). So a test names a place, `TOWLINE_CRASH_AT=renamed`, and the process kills itself there
with SIGKILL, without a last word. `TOWLINE_CRASH_AT=received:3` lets two pass and kills at the third.

`NAMES` is the whole list: a misspelt name fails loudly, and a test walks the list to be sure that every
place is reached and survived, on every kind of route.
"""

from __future__ import annotations

import os
import signal

NAMES: frozenset[str] = frozenset(
    {
        # The task, and what it needs before it may begin.
        "task-begun",  # the message is taken, nothing is done
        "permit-taken",  # one of `max_sessions` is ours, no line is built
        "task-ended",  # the result is stored, the message is not acknowledged
        # A poll.
        "polling",  # the right to poll is ours, nothing is listed
        "listed",  # a listing has been read, nothing of it is in the ledger
        "applied-chunk",  # one chunk of a listing is in the ledger, the rest is not
        # What the dead have left.
        "leases-ended",  # the claims of the dead are free, their lock files are still there
        "settling",  # an open intent has been looked into, nothing is done about it
        "settle-renamed",  # the rename that it announced is done, the ledger does not know
        "settled",  # and now it does
        "adopted",  # a temp has the new fence's name, the ledger does not know
        "took-over",  # what lower fences left has been renamed or removed, and the ledger knows
        # A batch.
        "claimed",  # the batch is ours, no byte has been asked for
        "lease-renewed",  # the janitor has lengthened the leases, in the middle of it
        "temp-made",  # an empty temp lies there
        "receiving",  # some bytes of a file lie in its temp, not all
        "received",  # all bytes lie in the temp, nothing is proven or synced
        "asked-again",  # the files are still what was wanted, nothing is synced
        "synced",  # the temps are durable, their names are not
        "names-synced",  # they are as well, no intent is written
        "intended",  # PUBLISHING is committed, no rename has happened
        "linked",  # where no one step can refuse a name in use: a file has its final name and its temp's
        "renamed",  # a file has its final name, its folder is not synced
        "folder-synced",  # the names are durable, the ledger does not know
        "row-written",  # PUBLISHED is written, and not committed
        "published",  # PUBLISHED is committed, the task has not ended
        # A push.
        "sending",  # some bytes of a file lie in its temp at the partner, not all
        "sent",  # all bytes lie there, their number is not proven
        # The outbox.
        "announcing",  # the follow-on tasks are taken for sending, none is sent
        "announced",  # the broker has them, the ledger does not know
        "announcement-recorded",  # and now it does
        # The source.
        "sources-taken",  # they are ours for a while, nothing is asked
        "source-asked",  # a source is known to be what was published, nothing is done to it
        "marker-removed",  # its marker is gone, the source is still there
        "source-removed",  # it is deleted or moved, the ledger does not know
        "source-recorded",  # and now it does
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


def aim(value: str) -> None:
    """Aim at `name[:count]` from now on: for tests whose processes are forked with all of it loaded."""
    global _name, _left
    _name, _left = _aim(value)


def crashpoint(name: str) -> None:
    """Kill this process here if a test asked for it; otherwise nothing."""
    global _left
    if name != _name:
        return
    _left -= 1
    if _left == 0:
        os.kill(os.getpid(), signal.SIGKILL)
