"""What a look at an endpoint and its routes finds, for `towline check` and the task `towline.probe`.

Everything is asked on a real line: one listing of each route's folder (of the root, where there is no route)
shows the data channel as well. Each finding that is not as it should be comes with what can be done about it.
"""

from __future__ import annotations

import os
import time
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from workers import probing
from workers.detect import Rules
from workers.errors import ListingFailed, PermissionRefused, StoreRefused, TowlineError
from workers.finding import Finding
from workers.ftps.errors import Forbidden, Missing, Refused
from workers.ftps.features import Features
from workers.ftps.tls import TlsFacts
from workers.looking import Listed, look
from workers.names import printable
from workers.process import Process
from workers.session import Session, Tally
from workers.settings import Endpoint, Route
from workers.settings.quantities import shown_duration
from workers.stores.opening import open_store

SOON_S = 30 * 86400.0
"""A certificate that ends within this time is worth a warning: partners take as long to exchange one."""
CLOCK_S = 5.0
"""A clock that is off by less is no finding: our own may be."""


@dataclass(frozen=True, slots=True)
class FolderCount:
    """How many files a route's folder held, and how many of them the route's filters let through."""

    route: str
    files: int
    match: int
    complete: bool


@dataclass(frozen=True, slots=True)
class Findings:
    """What an endpoint showed.

    tls: None where it is off. data_resumed: whether the control connection's TLS session was resumed on data;
    None where no data channel came to be. clock_difference_s: seconds by which the server's clock, or its
    zone, is ahead of ours, at least; None where that can't be learned: FTP has no command that asks for the
    time, so only a file from the future tells.
    """

    endpoint: str
    tls: TlsFacts | None
    data_resumed: bool | None
    features: Features
    clock_difference_s: float | None
    folders: tuple[FolderCount, ...]
    findings: tuple[Finding, ...]

    @property
    def failures(self) -> list[TowlineError]:
        """What does not work."""
        return [finding.failure for finding in self.findings if finding.failure is not None]

    def to_json(self) -> dict[str, Any]:
        """JSON-able; times in ISO 8601 UTC."""
        tls = self.tls
        return {
            "endpoint": self.endpoint,
            "tls": tls and {"version": tls.version, "cipher": tls.cipher, "fingerprint": tls.fingerprint},
            "certificate_end": _iso(tls.not_after) if tls else None,
            "data_session_resumed": self.data_resumed,
            "features": list(self.features.offered),
            "learned": list(self.features.learned),
            "clock_difference_s": self.clock_difference_s,
            "routes": [
                {"route": one.route, "files": one.files, "match": one.match, "complete": one.complete}
                for one in self.folders
            ],
            "findings": [
                {
                    "about": finding.about,
                    "what": finding.what,
                    "told": finding.told,
                    "remedy": finding.remedy,
                    "failure": repr(finding.failure) if finding.failure is not None else None,
                }
                for finding in self.findings
            ],
        }


def endpoint(process: Process, name: str, routes: Collection[str] | None = None) -> Findings:
    """Look at an endpoint and its routes for real; `routes`: at these only.

    Raises UnknownName, and what `Session.run` raises where no line comes to be. What goes wrong with a single
    route is a finding with its failure.
    """
    session, tally = process.session(name), Tally()
    config = session.endpoint
    mine = [
        route
        for route in process.settings.routes.values()
        if route.endpoint == name and (routes is None or route.name in routes)
    ]
    ways = [route for route in mine if route.direction == "pull"]
    tls, _ = session.run(lambda line: (line.tls, None), name="check", tally=tally)
    found = [*_of_tls(config, tls, time.time())]
    counts: list[FolderCount] = []
    resumed: list[bool] = []
    newest: tuple[float, float] | None = None
    of_routes: list[Finding] = []
    looks: list[tuple[Route | None, bytes]] = [(way, way.remote) for way in ways]
    for route, folder in looks or [(None, b"/")]:
        try:
            rules = Rules.of(route, encoding=config.encoding) if route is not None else None
            seen = _look(session, folder, rules, tally)
        except Refused as refusal:
            of_routes.append(_of_refusal(config, route, folder, refusal))
            continue
        resumed.append(seen.resumed)
        newest = max(newest or seen.newest, seen.newest) if seen.newest is not None else newest
        if route is not None and rules is not None:
            count = _count(route, rules, seen.listed)
            counts.append(count)
            of_routes += _of_route(route, count, seen.listed.reason)
    features = session.run(lambda line: line.features, name="check", tally=tally)
    data_resumed = all(resumed) if tls is not None and resumed else None
    ahead = _ahead(newest)
    for route in mine:
        if route.direction == "push":
            of_routes += probing.of_push(process, session, route, tally)
        if route.verify == "hash":
            of_routes.append(_of_verify(route, features))
    found += [*_of_data(config, data_resumed, tls), *_of_features(config, features), _of_clock(config, ahead)]
    found += _of_room(process, config)
    return Findings(name, tls, data_resumed, features, ahead, tuple(counts), (*found, *of_routes))


# -- looking


@dataclass(frozen=True, slots=True)
class _Look:
    """A folder as it was found. newest: how far its newest file is ahead of our clock; its precision."""

    listed: Listed
    resumed: bool
    newest: tuple[float, float] | None


def _look(session: Session, folder: bytes, rules: Rules | None, tally: Tally) -> _Look:
    def fresh() -> int:
        return session.run(lambda line: line.data_fresh, name="check", tally=tally)

    before = fresh()
    if rules is None:
        listed = look(session, folder, tally=tally)
    else:
        listed = look(session, folder, tally=tally, depth=rules.depth, enters=rules.enters)
    now = time.time()
    ages = [
        (entry.modified - now, entry.precision_s) for entry in listed.entries if entry.modified is not None
    ]
    return _Look(listed, fresh() <= before, max(ages, default=None))


def _count(route: Route, rules: Rules, listed: Listed) -> FolderCount:
    files = [entry.name for entry in listed.entries if entry.kind == "file"]
    return FolderCount(route.name, len(files), sum(map(rules.wants, files)), listed.complete)


def _ahead(newest: tuple[float, float] | None) -> float | None:
    """Seconds the server's clock is ahead of ours, at least; None when no file says so."""
    if newest is None or newest[0] < max(CLOCK_S, newest[1]):
        return None
    return round(newest[0], 3)


# -- telling


def _of_tls(config: Endpoint, tls: TlsFacts | None, now: float) -> Iterator[Finding]:
    if tls is None:
        yield Finding(
            config.name,
            "TLS",
            "off: password and files travel in clear text",
            'tls = "explicit", or "implicit"',
        )
        return
    yield Finding(config.name, "TLS", f"{tls.version}, {tls.cipher}")
    if not config.verify:
        yield Finding(
            config.name,
            "trust",
            "any certificate is believed (verify = false)",
            f'fingerprint = ["{tls.fingerprint}"]',
        )
    if tls.not_after is None:
        yield Finding(config.name, "certificate", "when it ends could not be read")
        return
    left = tls.not_after - now
    told = f"ends {_iso(tls.not_after)}" if left > 0 else f"has ended {_iso(tls.not_after)}"
    pinned = " and pin the new one beside it" if config.fingerprint else ""
    remedy = f"ask the server's owner for a new one{pinned}" if left < SOON_S else None
    yield Finding(
        config.name, "certificate", f"{told}, in {left / 86400:.0f} days" if left > 0 else told, remedy
    )


def _of_data(config: Endpoint, resumed: bool | None, tls: TlsFacts | None) -> Iterator[Finding]:
    if resumed:
        yield Finding(config.name, "data channel", "resumes the control connection's TLS session")
    elif resumed is not None:
        # Pure-FTPd 1.0.50 resumes under TLS 1.2 and not under 1.3 (field note 21c).
        newer = tls is not None and tls.version == "TLSv1.3"
        remedy = 'try tls_max = "1.2": small files may go twice as fast' if newer else None
        yield Finding(config.name, "data channel", "makes a TLS session of its own for each file", remedy)


def _of_room(process: Process, config: Endpoint) -> Iterator[Finding]:
    for full in process.ledger.permits.full():
        if full.endpoint == config.name:
            told = f"the server was full: {full.room} at most for {full.for_s:.0f} s more"
            yield Finding(
                config.name, "lines", told, f"max_sessions = {full.room}, or ask its owner for more"
            )


def _of_features(config: Endpoint, features: Features) -> Iterator[Finding]:
    flags = (("MLSD", features.mlsd), ("SIZE", features.size), ("MDTM", features.mdtm))
    has = [
        word for word, can in (*flags, ("REST STREAM", features.rest_stream), ("UTF8", features.utf8)) if can
    ]
    told = " ".join([*has, *features.hashes]) or "none"
    lacks = list(features.learned)
    if not features.mlsd:
        lacks.append(
            f'times come from LIST, coarse and in the zone "{config.timezone}": see that it is the server\'s'
        )
    if not features.size:
        lacks.append("sizes come from the listing only")
    if not features.rest_stream:
        lacks.append("a broken transfer begins anew")
    yield Finding(config.name, "features", told, "; ".join(lacks) or None)


def _of_verify(route: Route, features: Features) -> Finding:
    if features.hashes:
        return Finding(route.name, "verify", f"{features.hashes[0]}, as the server tells it of each file")
    told = "the server offers no hash: files are published when their size is right"
    return Finding(
        route.name, "verify", told, 'have its HASH or XSHA256 switched on, or leave verify at "size"'
    )


def _of_clock(config: Endpoint, ahead: float | None) -> Finding:
    if ahead is None:
        return Finding(config.name, "clock", "no file is from the future; more can't be learned")
    remedy = (
        f'set the server\'s clock, or `timezone` (now "{config.timezone}") where its listings have no zone'
    )
    # Minutes are enough for a person; a wrong zone then shows as the hours that it is.
    about = round(ahead / 60) * 60 if ahead >= 120 else round(ahead)
    return Finding(config.name, "clock", f"ahead of ours by {shown_duration(about)} or more", remedy)


def _of_refusal(config: Endpoint, route: Route | None, folder: bytes, refusal: Refused) -> Finding:
    told = f"{printable(folder)}: {refusal}"
    if refusal.code == 522:  # as vsftpd says it; RFC 4217 has no code of its own
        why = f"the server refuses data connections that don't resume the TLS session: {refusal}"
        remedy = 'try tls_max = "1.2", or ask its owner not to demand it (vsftpd: require_ssl_reuse=NO)'
        name = route.name if route is not None else config.name
        return Finding(config.name, "data channel", why, remedy, ListingFailed(name, told))
    if route is None:
        return Finding(config.name, "listing", told)
    if isinstance(refusal, Forbidden):
        failure: TowlineError = PermissionRefused(config.name, printable(folder), str(refusal))
        return Finding(route.name, "listing", told, "have the account allowed to list it", failure)
    remedy = "have it made, or correct `remote`" if isinstance(refusal, Missing) else "correct `remote`"
    return Finding(route.name, "listing", told, remedy, ListingFailed(route.name, told))


def _of_route(route: Route, count: FolderCount, reason: str | None) -> Iterator[Finding]:
    files = f"{count.files:,} file{'' if count.files == 1 else 's'}, {count.match:,} match"
    told = f"{printable(route.remote)}: {files}"
    if not count.complete:
        failure = ListingFailed(route.name, f"incomplete: {reason}")
        remedy = "have old files moved away, or the server's limit raised"
        yield Finding(route.name, "listing", f"{told}; not all of it: {reason}", remedy, failure)
    elif count.files and not count.match:
        yield Finding(route.name, "listing", told, "look at include, exclude and regex")
    else:
        yield Finding(route.name, "listing", told)
    if isinstance(route.local, Path):
        yield _of_target(route, route.local)
    else:
        yield from _of_store(route, route.local)


def _of_store(route: Route, url: str) -> Iterator[Finding]:
    try:
        open_store(route).room_for(0)
    except StoreRefused as refusal:
        told, _, remedy = str(refusal.args[2]).partition("; ")
        yield Finding(route.name, "target", f"{url}: {told}", remedy or None, refusal)
        return
    yield Finding(route.name, "target", f"{url} answers; mode and keep_mtime mean nothing there")
    told = {
        "s3": "what a killed worker leaves of one is aborted after a day",
        "gs": "what a killed worker leaves of one, a lifecycle rule of the bucket has to remove",
        "az": "what a killed worker leaves of one, Azure drops after a week",
    }[url.partition(":")[0]]
    yield Finding(route.name, "uploads", told)


def _of_target(route: Route, local: Path) -> Finding:
    # The folder itself is made at the first fetch, the one above it is not.
    place = local if local.exists() else local.parent
    if not place.is_dir():
        return _no_target(route, f"{place} is no folder", f"make {local.parent}, or mount it")
    if not os.access(place, os.W_OK | os.X_OK):
        return _no_target(route, f"{place} can't be written to", "let this user write there")
    facts = os.statvfs(place)
    free = facts.f_bavail * facts.f_frsize / 2**30
    return Finding(route.name, "target", f"{route.local}, {free:,.1f} GiB free")


def _no_target(route: Route, told: str, remedy: str) -> Finding:
    return Finding(route.name, "target", told, remedy, StoreRefused(route.name, str(route.local), told))


def _iso(epoch: float | None) -> str | None:
    if epoch is None:
        return None
    return datetime.fromtimestamp(epoch, UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
