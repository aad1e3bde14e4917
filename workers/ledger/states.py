"""The states of a file's version, and every step between them.

A version is what a listing shows under a path at one time: a size, a modification time. It is WAITING until
it has settled, then READY. A worker that wants it claims its *path*, not the version: two versions of one
file must never be under way together, and an older one must never land over a newer. So CLAIMED is no state;
it is the claim on the path, seen from the version, and the reading verbs show it as if it were one.

When the bytes are in and proven, PUBLISHING is committed before the first rename, with all that a successor
needs to find out how far a dead worker came. PUBLISHED means that file and folder are durable. What comes
after (delete or move at the source, the follow-on task) ends in FINISHED.

A version leaves this road in three ways. SUPERSEDED: a newer version of its path is known and this one was
not published. VANISHED: its listing lacks it, or the server said "no such file", before it was published; it
comes back to WAITING when it is listed again. QUARANTINED: its attempts are used up, or its name was refused
at first sight; only somebody's `retry`, or a newer version, ends that.

BACKLOG stands beside the road: it was there before the route began, and `backlog = "new"` leaves it alone.
Somebody's `fetch` by name takes it on; so does a newer version. Going away and coming back does not.

A claim is no lock on these rules: a listing may bring a newer version, or lack the file, while an older
version is in a worker's hands. It then stays READY until the claim ends, and takes its step when nobody holds
it.

PUBLISHING is left only by those who know what became of the rename: it is neither superseded nor vanished.
"""

from __future__ import annotations

from enum import StrEnum

from workers.ledger.errors import IllegalStep


class State(StrEnum):
    """What is stored. Values are written to the ledger: they are never renamed."""

    WAITING = "WAITING"
    READY = "READY"
    PUBLISHING = "PUBLISHING"
    PUBLISHED = "PUBLISHED"
    FINISHED = "FINISHED"
    SUPERSEDED = "SUPERSEDED"
    VANISHED = "VANISHED"
    QUARANTINED = "QUARANTINED"
    BACKLOG = "BACKLOG"


CLAIMED = "CLAIMED"
"""What the reading verbs show for a version whose path is claimed for it."""


class Step(StrEnum):
    """What happens to a version; the words complete "the version was …"."""

    SETTLED = "settled"
    ADMITTED = "admitted"  # asked for by name: no settling, no filters
    UNSETTLED = "unsettled"  # changed between listing and publishing: look again
    LISTED_AGAIN = "listed again"
    GONE = "gone"
    REPLACED = "replaced"
    INTENDED = "intended"
    ABANDONED = "abandoned"  # the intent is taken back, nothing was renamed
    PUBLISHED = "published"
    FINISHED = "finished"
    USED_UP = "used up"
    RETRIED = "retried"


STEPS: dict[State, dict[Step, State]] = {
    State.WAITING: {
        Step.SETTLED: State.READY,
        Step.ADMITTED: State.READY,
        Step.GONE: State.VANISHED,
        Step.REPLACED: State.SUPERSEDED,
    },
    State.READY: {
        Step.ADMITTED: State.READY,
        Step.RETRIED: State.READY,
        Step.UNSETTLED: State.WAITING,
        Step.GONE: State.VANISHED,
        Step.REPLACED: State.SUPERSEDED,
        Step.INTENDED: State.PUBLISHING,
        Step.USED_UP: State.QUARANTINED,
    },
    State.PUBLISHING: {
        Step.ADMITTED: State.PUBLISHING,
        Step.RETRIED: State.PUBLISHING,
        Step.ABANDONED: State.READY,
        Step.PUBLISHED: State.PUBLISHED,
    },
    State.PUBLISHED: {Step.FINISHED: State.FINISHED},
    State.FINISHED: {},
    State.SUPERSEDED: {},
    State.VANISHED: {Step.LISTED_AGAIN: State.WAITING, Step.ADMITTED: State.READY},
    State.QUARANTINED: {
        Step.RETRIED: State.READY,
        Step.ADMITTED: State.READY,
        Step.REPLACED: State.SUPERSEDED,
    },
    State.BACKLOG: {Step.ADMITTED: State.READY, Step.REPLACED: State.SUPERSEDED},
}

PUBLISHED_STATES = frozenset({State.PUBLISHED, State.FINISHED})
"""States of a version whose copy is durable."""


def allows(state: State, step: Step) -> bool:
    """Whether a version in `state` has this step at all."""
    return step in STEPS[state]


def after(state: State, step: Step) -> State:
    """The state this step leads to; `IllegalStep` where there is none."""
    try:
        return STEPS[state][step]
    except KeyError:
        raise IllegalStep(state, step) from None


def at_rest(state: State, *, latest: bool, listed: bool) -> State:
    """Where a version falls when its claim ends without a result: what listings said meanwhile counts now."""
    if state is not State.READY:
        return state
    if not latest:
        return after(state, Step.REPLACED)
    if not listed:
        return after(state, Step.GONE)
    return state
