"""One round of a route, without Celery: poll it, fetch a batch of it.

The tasks and the foreground verbs (`towline run`, say) are thin shells around these two functions.
"""

from __future__ import annotations

import logging
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

from workers import depositing, detect, errors, local_sources, metrics, room, sources
from workers.batch import Outcome, Work
from workers.comparing import compare, has_shrunk, nothing_new
from workers.crashpoints import crashpoint
from workers.ftps.errors import Refused
from workers.ftps.inquiry import Stat
from workers.ledger import Claim, StalePoll
from workers.looking import look_at_route, scan
from workers.names import parsed, printable
from workers.process import Process
from workers.sending import push_batch
from workers.session import Session, Tally
from workers.settings import Route
from workers.stopping import STOP, StopFlag
from workers.stores.naming import NameRefused, absolute, below
from workers.transfer import fetch_batch

log = logging.getLogger("towline.rounds")

KEPT = 20_000
"""Entries kept of a listing that may be the same as last time; a longer one that is not is listed again."""

CLEARING_S = 30.0
"""So long a poll goes on with what earlier fetches had to leave undone at the source."""


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
    listing: Counter[metrics.Key] = Counter()
    try:
        return _poll(process, route, tally, listing)
    finally:
        _count(process, route, listing)


def _poll(process: Process, route: Route, tally: Tally, counted: Counter[metrics.Key]) -> Polled | Skipped:
    ledger = process.ledger
    if ledger.routes.get(route.name).paused_at is not None:
        return Skipped(route.name, "paused")
    session = process.session(route.endpoint)
    if route.direction == "push":
        # A folder of this machine: no line is needed to look at it.
        return _list_and_compare(process, route, session, tally, counted)
    session.refuse_if_closed()
    try:
        with session.reserved():
            return _list_and_compare(process, route, session, tally, counted)
    except errors.EndpointBusy:
        return Skipped(route.name, "busy")


def _list_and_compare(
    process: Process, route: Route, session: Session, tally: Tally, counted: Counter[metrics.Key]
) -> Polled | Skipped:
    ledger, target = process.ledger, route.target
    before = ledger.routes.get(route.name)
    under_way = ledger.polls.begin(route.name, target, until_s=process.settings.poll_hard_limit)
    if under_way is None:
        return Skipped(route.name, "polling")
    crashpoint("polling")
    try:
        began = time.monotonic()
        rules = detect.Rules.of(route, encoding=session.endpoint.encoding)
        keep = None
        if under_way.marked:
            # Of what is too long once more no entries need be made.
            keep = KEPT if (before.listed_count or 0) <= KEPT else 0
        listed = (
            look_at_route(process, route, rules, tally, keep)
            if route.direction == "pull"
            else scan(process, route, rules)
        )
        counted.update(metrics.of_listing(route.name, time.monotonic() - began))
        crashpoint("listed")
        next_look_in = None
        count = nothing_new(ledger, under_way, listed, rules)
        if count is None:
            if listed.more:
                listed = look_at_route(process, route, rules, tally)
            # A second look before anything counts as gone.
            whole = listed.complete and not has_shrunk(before.listed_count, len(listed.entries))
            ask = partial(_stats, process, route, tally=tally) if route.direction == "pull" else None
            listed, next_look_in = compare(ledger, under_way, listed, rules, whole=whole, ask=ask)
            count = len(listed.entries)
    except StalePoll:
        # This poll froze, and another has listed the folder since: its listing counts, this one does not.
        return Skipped(route.name, "polling")
    except BaseException as failure:
        ledger.polls.failed(under_way, repr(failure))
        raise
    try:
        _clear_sources(process, route, session, tally, STOP, within_s=CLEARING_S)
    except (errors.TowlineError, Refused) as failure:
        # The listing was good and is in the ledger; what is due at the source stays due.
        log.warning("%s: sources not cleared: %s", route.name, failure, extra={"action": "sources.left"})
    counts = ledger.polls.work(route.name)
    if not (counts.ready or counts.later or counts.claimed):
        ledger.routes.taken_again(route.name)  # nothing waits for room any more
    return Polled(
        route.name,
        count,
        listed.complete,
        listed.reason,
        counts.ready,
        counts.waiting,
        next_look_in,
    )


def fetch(
    process: Process,
    route: Route,
    tally: Tally,
    *,
    paths: Sequence[str] | None = None,
    most: int | None = None,
    stop: StopFlag = STOP,
) -> Fetched | Skipped:
    """Move one batch of what is ready, or of `paths`: fetch and publish it, or for a push route send it.

    most: so many files at most of what is ready, where the route's batch would be larger.
    The permit comes first, then the line, then the claims: what is claimed is worked on at once.
    Raises what `Session.run` raises; files that fail on their own account are in the outcome.
    """
    outcome = Outcome()
    try:
        done = _fetch(process, route, tally, outcome, paths, most, stop)
        if outcome.published:
            process.ledger.routes.taken_again(route.name)
        return done
    except Refused as refusal:
        # Not of one file: the account may not do this at all.
        raise errors.PermissionRefused(route.endpoint, printable(route.remote), str(refusal)) from refusal
    except errors.StoreRefused as refusal:
        process.ledger.routes.refused(route.name, refusal.args[2])
        raise
    finally:
        # Also what was published before something was raised.
        _count(
            process,
            route,
            metrics.of_batch(route.name, outcome, direction="in" if route.direction == "pull" else "out"),
        )


def _count(process: Process, route: Route, added: Counter[metrics.Key]) -> None:
    """Bring what a round did into the fleet's counters."""
    try:
        process.ledger.counters.add(added + metrics.of_line(process.session(route.endpoint)))
    except errors.LedgerUnavailable as failure:
        # Figures are not worth a batch that went well, nor hiding what one failed of.
        log.warning("%s: not counted: %s", route.name, failure, extra={"action": "metrics.lost"})


def _fetch(
    process: Process,
    route: Route,
    tally: Tally,
    outcome: Outcome,
    paths: Sequence[str] | None,
    most: int | None,
    stop: StopFlag,
) -> Fetched | Skipped:
    ledger = process.ledger
    if ledger.routes.get(route.name).paused_at is not None:
        return Skipped(route.name, "paused")
    ledger.claims.end_leases(attempts(process))
    session = process.session(route.endpoint)
    nothing_ready = paths is None and not ledger.polls.any_ready(route.name, route.target)
    if nothing_ready and not (ledger.sources.any_due(route.name) or litter(process, route)):
        return Fetched(outcome, more=False)
    if paths is None and not nothing_ready and route.direction == "pull":
        room.for_next(route, ledger, process.store(route))  # a full disk is told without a line
    session.refuse_if_closed()
    try:
        with session.reserved():
            if litter(process, route):
                depositing.sweep(route, session, ledger, tally)
            if nothing_ready:
                _clear_sources(process, route, session, tally, stop)
                return Fetched(outcome, more=False)
            return _fetch_batch(process, route, session, tally, outcome, paths, most, stop)
    except errors.EndpointBusy:
        return Skipped(route.name, "busy")


def litter(process: Process, route: Route) -> bool:
    """Whether temps of a push route lie at the partner that nobody will go on with."""
    return route.direction == "push" and bool(process.ledger.claims.orphans(route.name, route.target, most=1))


def _fetch_batch(
    process: Process,
    route: Route,
    session: Session,
    tally: Tally,
    outcome: Outcome,
    paths: Sequence[str] | None,
    most: int | None,
    stop: StopFlag,
) -> Fetched:
    ledger = process.ledger
    files = min(route.batch.files, most or route.batch.files)
    if paths is None:
        session.run(lambda _line: None, name="open", tally=tally)
        largest = route.batch.bytes
        if route.direction == "pull":
            largest = min(largest, room.for_next(route, ledger, process.store(route)))
        asked_at = time.monotonic()
        claims = ledger.claims.claim(
            route.name,
            route.target,
            files=files,
            bytes=largest,
            lease_s=process.settings.lease,
            max_attempts=route.max_attempts,
        )
    else:
        wanted = _admit(process, route, paths, outcome, tally)
        if route.direction == "pull":
            room.for_these(route, ledger, process.store(route), wanted)
        asked_at = time.monotonic()
        claims = ledger.claims.claim_versions(wanted, lease_s=process.settings.lease)
    if not claims:
        return Fetched(outcome, more=False)
    janitor = process.janitor
    janitor.hold((claim.path_id for claim in claims), asked_at=asked_at)
    tally.expects([claim.size for claim in claims])
    try:
        work = Work(route, session, ledger, tally, stop, janitor.holds)
        if route.direction == "pull":
            fetch_batch(work, process.store(route), claims, outcome)
        else:
            push_batch(work, process.source(route), claims, outcome)
    finally:
        janitor.release()
    _clear_sources(process, route, session, tally, stop)
    return Fetched(outcome, more=paths is None and _filled(claims, files, largest))


def _clear_sources(
    process: Process,
    route: Route,
    session: Session,
    tally: Tally,
    stop: StopFlag,
    within_s: float = float("inf"),
) -> None:
    hold_s = process.settings.lease
    if route.direction == "push":
        local_sources.clear(route, process.source(route), process.ledger, stop=stop, hold_s=hold_s)
        return
    sources.clear(route, session, process.ledger, tally=tally, stop=stop, hold_s=hold_s, within_s=within_s)


def _admit(process: Process, route: Route, paths: Sequence[str], outcome: Outcome, tally: Tally) -> list[int]:
    """Look at each of `paths` where it lies; the versions that are to be moved. The others are counted."""
    names: list[bytes] = []
    for shown in paths:
        try:
            names.append(_named(route, shown))
        except ValueError as odd:
            outcome.failed += 1
            outcome.first_error = outcome.first_error or f"{shown!r}: {odd}"
    versions: list[int] = []
    for name, stat in zip(names, _stats(process, route, names, tally), strict=True):
        if stat is None:
            outcome.vanished += 1
            continue
        facts = (stat.size, stat.modified, stat.precision_s, None)
        version = process.ledger.claims.admit(route.name, route.target, name, *facts)
        if version is None:
            outcome.already += 1
        else:
            versions.append(version)
    return versions


def _stats(process: Process, route: Route, names: Sequence[bytes], tally: Tally) -> list[Stat | None]:
    """What lies under each name now; None where nothing does."""
    if route.direction == "pull":
        session = process.session(route.endpoint)
        return session.run(lambda line: line.stat(names), name="stat", tally=tally)
    folder = process.source(route)
    return [folder.look(below(route.source, name)) for name in names]


def _filled(claims: Sequence[Claim], files: int, largest: int) -> bool:
    """Whether there may be more where these came from; a file that had to come alone says nothing."""
    return (
        len(claims) >= files
        or sum(claim.size or 0 for claim in claims) >= largest
        or any(claim.alone for claim in claims)
    )


def attempts(process: Process) -> dict[str, int]:
    """How often a file may fail, by route."""
    return {route.name: route.max_attempts for route in process.settings.routes.values()}


def _named(route: Route, shown: str) -> bytes:
    """The absolute path somebody asks for. Raises ValueError where no command can carry it."""
    name = parsed(shown)
    if any(odd in name for odd in (b"\r", b"\n", b"\0")):
        raise ValueError("no command can carry a line end or NUL")
    path = absolute(route.source, name)
    if route.direction == "push":
        try:
            below(route.source, path)
        except NameRefused as refused:
            raise ValueError(str(refused)) from refused
    return path
