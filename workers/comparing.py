"""A listing held against the ledger: is it the one of last time, and if not, what is new about it."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

from workers import __version__, detect, shifting

if TYPE_CHECKING:
    from workers.ledger import Known, Ledger, Poll
    from workers.looking import Listed


def nothing_new(ledger: Ledger, poll: Poll, listed: Listed, rules: detect.Rules) -> int | None:
    """How many entries there are, where this is the listing of last time, and nothing waits.

    The poll is ended then. None: something may be new.
    """
    mark = _mark(poll, listed, rules)
    return ledger.polls.confirm(poll, mark) if mark is not None and poll.marked else None


def _mark(poll: Poll, listed: Listed, rules: detect.Rules) -> str | None:
    """What a complete listing is known by, together with all that decides what it means."""
    if listed.digest is None or not listed.complete:
        return None
    told = repr((__version__, listed.digest, rules.told(), poll.target))
    return hashlib.sha256(told.encode()).hexdigest()


def compare(
    ledger: Ledger,
    poll: Poll,
    listed: Listed,
    rules: detect.Rules,
    *,
    whole: bool,
    ask: shifting.Ask | None = None,
) -> tuple[Listed, float | None]:
    """Write down what is new about a listing, and end the poll; the listing as it was believed, and seconds
    until the next look at it.

    whole: what it lacks is gone. ask: what tells whether times have moved or files; None: times never do.
    """
    known: Mapping[bytes, Known] = ledger.polls.known(poll.route, poll.target, named=_named_in(listed, rules))
    if ask is not None:
        known = shifting.believed(listed.entries, known, rules, ask)
    decision = detect.decide(
        listed.entries,
        known,
        rules,
        poll.began_at,
        complete=whole,
        first=ledger.routes.get(poll.route).first_complete_at is None,
    )
    if (doubt := decision.doubt(len(listed.entries))) is not None:
        decision, whole = decision.without_losses(), False
        listed = replace(listed, complete=False, reason=doubt)
    ledger.polls.apply(
        poll,
        decision.changes,
        complete=listed.complete,
        reason=listed.reason,
        listed=len(listed.entries),
        mark=_mark(poll, listed, rules) if whole else None,
    )
    return listed, decision.next_look_in


def _named_in(listed: Listed, rules: detect.Rules) -> set[bytes]:
    return {rules.path(entry.name) for entry in listed.entries if entry.kind == "file"}


def has_shrunk(before: int | None, now: int) -> bool:
    """Whether a folder has lost more than half of its entries since the last look.

    An unmounted disk, a missing folder and an empty one look alike on some servers (field note 28), and so
    does a mount with only some of its folders. What the next look lacks as well is gone.
    """
    return now * 2 < (before or 0)
