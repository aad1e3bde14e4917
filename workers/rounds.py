"""One round of a route, without Celery: poll it, fetch a batch of it.

The tasks and the foreground verbs (`towline run`, say) are thin shells around these two functions.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from workers import detect, errors
from workers.ftps.connection import Connection
from workers.ftps.errors import Refused
from workers.ftps.listing import Entry
from workers.names import parsed, printable
from workers.process import Process
from workers.session import Tally
from workers.settings import Route
from workers.stopping import STOP, StopFlag
from workers.transfer import Outcome, fetch_batch


@dataclass(frozen=True, slots=True)
class Skipped:
    """Nothing was done, and why: "busy", "paused" or "polling"."""

    route: str
    why: str


@dataclass(frozen=True, slots=True)
class Polled:
    """What a poll found. Counts are of files; `next_look_in` is seconds, None when nothing is unsettled."""

    route: str
    listed: int
    complete: bool
    reason: str | None
    ready: int
    waiting: int
    next_look_in: float | None


@dataclass(frozen=True, slots=True)
class Fetched:
    """What a fetch did. `more`: the batch was filled, so there may be another."""

    outcome: Outcome
    more: bool


def poll(process: Process, route: Route, tally: Tally) -> Polled | Skipped:
    """List the route's folder, compare with the ledger, write down what is new.

    Raises ListingFailed when nothing usable came, and what `Session.run` raises.
    """
    ledger = process.ledger
    if ledger.routes.get(route.name).paused_at is not None:
        return Skipped(route.name, "paused")
    session = process.session(route.endpoint)
    session.refuse_if_closed()
    target = str(route.local)
    under_way = ledger.polls.begin(route.name, target, until_s=process.settings.poll_hard_limit)
    if under_way is None:
        return Skipped(route.name, "polling")
    try:
        listed = session.run(lambda line: _list(line, route.remote), name="list", tally=tally)
    except Refused as refusal:
        failure = errors.ListingFailed(route.name, f"{printable(route.remote)}: {refusal}")
        ledger.polls.failed(under_way, str(failure))
        raise failure from refusal
    except BaseException as failure:
        ledger.polls.failed(under_way, repr(failure))
        raise
    known = ledger.polls.known(route.name, target)
    decision = detect.decide(
        listed.entries,
        known,
        detect.Rules.of(route, encoding=session.endpoint.encoding),
        under_way.began_at,
        complete=listed.complete,
    )
    ledger.polls.apply(
        under_way,
        decision.changes,
        complete=listed.complete,
        reason=listed.reason,
        listed=len(listed.entries),
    )
    counts = ledger.polls.counts(route.name)
    return Polled(
        route.name,
        len(listed.entries),
        listed.complete,
        listed.reason,
        counts.ready,
        counts.waiting,
        decision.next_look_in,
    )


@dataclass(frozen=True, slots=True)
class _Listed:
    entries: list[Entry]
    complete: bool
    reason: str | None


def _list(line: Connection, folder: bytes) -> _Listed:
    with line.listing(folder) as listing:
        entries = list(listing)
    return _Listed(entries, listing.complete, listing.reason)


def fetch(
    process: Process,
    route: Route,
    tally: Tally,
    *,
    paths: Sequence[str] | None = None,
    stop: StopFlag = STOP,
) -> Fetched | Skipped:
    """Fetch one batch of what is ready, or of `paths`, and publish it.

    The line comes first and the claims after it: what is claimed is worked on at once.
    Raises what `Session.run` raises; files that fail on their own account are in the outcome.
    """
    ledger = process.ledger
    if ledger.routes.get(route.name).paused_at is not None:
        return Skipped(route.name, "paused")
    ledger.claims.end_leases({route.name: route.max_attempts})
    if paths is None and not ledger.polls.counts(route.name).ready:
        return Fetched(Outcome(), more=False)
    session = process.session(route.endpoint)
    session.refuse_if_closed()
    target, lease = str(route.local), process.settings.lease
    asked = Outcome()
    if paths is None:
        session.run(lambda _line: None, name="open", tally=tally)
        claims = ledger.claims.claim(
            route.name,
            target,
            files=route.batch.files,
            bytes=route.batch.bytes,
            lease_s=lease,
            max_attempts=route.max_attempts,
        )
    else:
        names = [_absolute(route, shown) for shown in paths]
        stats = session.run(lambda line: line.stat(names), name="stat", tally=tally)
        versions: list[int] = []
        for name, stat in zip(names, stats, strict=True):
            if stat is None:
                asked.vanished += 1
                continue
            version = ledger.claims.admit(
                route.name, target, name, stat.size, stat.modified, stat.precision_s, None
            )
            if version is None:
                asked.already += 1
            else:
                versions.append(version)
        claims = ledger.claims.claim_versions(versions, lease_s=lease)
    if not claims:
        return Fetched(asked, more=False)
    janitor = process.janitor
    janitor.hold(claim.path_id for claim in claims)
    try:
        outcome = fetch_batch(
            route, session, ledger, process.store(route), claims, tally=tally, stop=stop, holds=janitor.holds
        )
    finally:
        janitor.release()
    outcome.vanished += asked.vanished
    outcome.already += asked.already
    filled = len(claims) >= route.batch.files or sum(claim.size or 0 for claim in claims) >= route.batch.bytes
    return Fetched(outcome, more=paths is None and filled)


@dataclass(frozen=True, slots=True)
class Kept:
    """What an upkeep did: leases ended (and on which routes), temps removed, rows forgotten."""

    leases_ended: int
    routes_freed: tuple[str, ...]
    temps_removed: int
    pruned: int


def upkeep(process: Process) -> Kept:
    """End the leases of the dead, remove temps nobody will go on with, forget what is long finished."""
    ledger, routes = process.ledger, process.settings.routes
    ended = ledger.claims.end_leases({route.name: route.max_attempts for route in routes.values()})
    removed = 0
    for route in routes.values():
        if route.direction == "pull" and isinstance(route.local, Path) and route.local.is_dir():
            keep = ledger.claims.temps(route.name, str(route.local))
            removed += process.store(route).sweep(keep)
    pruned = ledger.forget(process.settings.history)
    return Kept(sum(ended.values()), tuple(ended), removed, pruned)


def _absolute(route: Route, shown: str) -> bytes:
    name = parsed(shown)
    return name if name.startswith(b"/") else route.remote.rstrip(b"/") + b"/" + name
