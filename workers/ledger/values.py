"""What flows into and out of the ledger: frozen values, no behaviour beyond comparing.

Names are bytes, times are epoch seconds by the ledger's clock (UTC), sizes and counts are whole numbers.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from workers.ledger.states import State


@dataclass(frozen=True, slots=True)
class Known:
    """The latest version of one path, as the ledger remembers it; what a listing is compared with."""

    path_id: int
    version_id: int
    path: bytes
    size: int | None
    modified: float | None
    precision_s: float
    unique: bytes | None
    state: State
    settled_since: float
    """When size and time were first seen as they are now."""
    looks: int
    """How many polls have seen them so, the first included."""
    listed: bool = True
    """Whether the last listing that could tell had it. A published version that vanished is still known
    here."""
    claimed: bool = False
    """Whether a worker has this version in its hands."""
    source_modified: float | None = None
    """Its time as it was asked at the fetch, where that was."""
    source_precision_s: float | None = None


@dataclass(frozen=True, slots=True)
class Appeared:
    """A path that was not known. `refused` (a reason): it is recorded as QUARANTINED, never fetched."""

    path: bytes
    size: int | None
    modified: float | None
    precision_s: float
    unique: bytes | None
    refused: str | None = None
    ready: bool = False
    """Nothing to wait for (`settle = "0s"`): READY at once."""
    backlog: bool = False
    """It was there before the route began: BACKLOG, not to be fetched."""


@dataclass(frozen=True, slots=True)
class Changed:
    """Another size or time than the known version's: a new version, whose looks start anew."""

    known: Known
    size: int | None
    modified: float | None
    precision_s: float
    unique: bytes | None
    ready: bool = False
    backlog: bool = False


@dataclass(frozen=True, slots=True)
class Seen:
    """The known version was listed again. `ready`: it has settled. A VANISHED one waits anew.

    Not needed for a version that is published and listed; the ledger writes nothing for it.
    """

    known: Known
    ready: bool


@dataclass(frozen=True, slots=True)
class Vanished:
    """A complete listing lacks the known version."""

    known: Known


Change = Appeared | Changed | Seen | Vanished


@dataclass(frozen=True, slots=True)
class Poll:
    """The right to bring one listing of a route into the ledger, as long as no later poll has begun."""

    route: str
    target: str
    generation: int
    began_at: float
    last_version: int = 0
    """The newest version of the route when it began."""
    marked: bool = False
    """Whether an earlier listing left its mark: this one may be the same."""


@dataclass(frozen=True, slots=True)
class Work:
    """What there is to do on a route, in versions; ready, later, claimed: READY and PUBLISHING."""

    waiting: int = 0
    ready: int = 0
    """Could be claimed now."""
    ready_bytes: int = 0
    ready_alone: int = 0
    """Of the ready ones, how many need a batch of their own."""
    later: int = 0
    """Ready, but spaced by an earlier failure."""
    claimed: int = 0


@dataclass(frozen=True, slots=True)
class Counts(Work):
    """How many versions of a route are in which state, and what there is to do."""

    published: int = 0
    finished: int = 0
    superseded: int = 0
    vanished: int = 0
    quarantined: int = 0


@dataclass(frozen=True, slots=True)
class Intent:
    """What is about to be renamed: `temp` to `final` (both printable, as the store names them).

    fence: of the claim under which the intent was written; the temp's name holds it.
    """

    path_id: int
    version_id: int
    fence: int
    temp: str
    final: str
    size: int
    sha256: str
    modified: float | None = None
    """The remote file's time as it was asked last, often more exact than the listing's; for its source."""
    precision_s: float | None = None


@dataclass(frozen=True, slots=True)
class Claim:
    """The right to work on one path, until the lease ends or is renewed.

    fence: rises with every claim of the path. temp_fence: the lowest fence that may have left a temp, None if
    none has; whoever claims takes over what the fences in [temp_fence, fence) left, before anything else.
    older_versions: other versions of this path that may have left such a temp (its name holds the version).
    intent: open when an earlier worker stopped between PUBLISHING and PUBLISHED; it is settled first.
    """

    path_id: int
    version_id: int
    route: str
    path: bytes
    size: int | None
    modified: float | None
    precision_s: float
    unique: bytes | None
    fence: int
    temp_fence: int | None
    intent: Intent | None
    attempts: int
    alone: bool
    older_versions: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Orphan:
    """A path whose temps nobody will go on with. temps: the names that may lie there; fence: the highest."""

    path_id: int
    path: bytes
    fence: int
    temps: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class FollowOn:
    """The task to be sent for a published file, and its queue."""

    task: str
    queue: str
    pushed: bool = False
    """The file was sent: `path`, the remote one in either direction, is where it landed."""


@dataclass(frozen=True, slots=True)
class Announcement:
    """A follow-on task that is to be sent, with its keyword arguments."""

    id: int
    task: str
    queue: str
    arguments: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Published:
    """A file under its final name, durable. `local` is where it landed, printable; `bytes` its size."""

    intent: Intent
    bytes: int
    sha256: str
    local: str
    then: FollowOn | None = None
    finished: bool = False
    """Nothing is to be done at the source: FINISHED at once."""


@dataclass(frozen=True, slots=True)
class Source:
    """A remote file that is done with, and is to be deleted or moved away if it still is this version.

    size: bytes; modified: epoch seconds, as coarse as precision_s; None for what no listing could tell.
    """

    version_id: int
    path: bytes
    size: int | None
    modified: float | None
    precision_s: float
    given_up: bool
    """QUARANTINED; otherwise it is published."""
    latest: bool
    """No newer version of its path is known."""
    attempts: int
    """How often the server has refused."""
    held_until: float
    """By the ledger's clock: until then nobody else takes it."""


@dataclass(frozen=True, slots=True)
class LineFacts:
    """How a line is, told by the process that holds it. Seconds; reconnects: by reason."""

    age_s: float
    idle_s: float
    tls: str | None
    """Such as "TLSv1.3"; None: clear text."""
    reconnects: Mapping[str, int]
    last_error: str | None


@dataclass(frozen=True, slots=True)
class HeldLine:
    """A line that a process of the fleet holds now; idle_s is as old as its last renewal at most."""

    endpoint: str
    host: str
    pid: int
    age_s: float
    idle_s: float
    tls: str | None
    reconnects: Mapping[str, int]
    last_error: str | None


@dataclass(frozen=True, slots=True)
class FullServer:
    """A server that had room for so many lines and no more; believed for `for_s` more seconds."""

    endpoint: str
    room: int
    for_s: float


@dataclass(frozen=True, slots=True)
class EndpointState:
    """What the processes of all hosts know together about one endpoint."""

    endpoint: str
    features_json: str | None = None
    certificate_not_after: float | None = None
    consecutive_failures: int = 0
    last_error: str | None = None
    last_error_at: float | None = None
    closed_at: float | None = None
    closed_reason: str | None = None
    paused_at: float | None = None
    """By somebody's `pause`; no line is built, as with `closed_at`."""


@dataclass(frozen=True, slots=True)
class RouteState:
    """What is remembered of a route beside its files."""

    route: str
    paused_at: float | None = None
    pause_reason: str | None = None
    generation: int = 0
    polling_until: float | None = None
    """While a poll is under way: when it is given up."""
    listed_at: float | None = None
    complete_at: float | None = None
    first_complete_at: float | None = None
    listed_count: int | None = None
    last_error: str | None = None
    last_error_at: float | None = None
    refused_at: float | None = None
    """Since when the place where its files land takes none; a fetch that publishes ends that."""
    refused_reason: str | None = None


@dataclass(frozen=True, slots=True)
class Ready:
    """A file that could be claimed now and fetched.

    fence: of its last claim. temp_fence: the lowest fence that may have left a temp; None: none has.
    """

    path_id: int
    version_id: int
    path: bytes
    size: int | None
    fence: int
    temp_fence: int | None


def same_version(
    a_size: int | None,
    a_modified: float | None,
    a_precision_s: float,
    b_size: int | None,
    b_modified: float | None,
    b_precision_s: float,
) -> bool:
    """Sizes equal, times equal within the coarser precision; what one side doesn't know does not differ."""
    if a_size is not None and b_size is not None and a_size != b_size:
        return False
    if a_modified is None or b_modified is None:
        return True
    apart = abs(a_modified - b_modified)
    return apart == 0 or apart < max(a_precision_s, b_precision_s)


def temp_name(ledger_id: str, path_id: int, version_id: int, fence: int) -> str:
    """The name a file has while it is being received: whoever knows the claim knows the name.

    It is short whatever the file is called (a name of 250 bytes leaves no room for a suffix), and differs
    between ledgers that share a folder.
    """
    told = f"{ledger_id}/{path_id}/{version_id}/{fence}".encode()
    return f".towline-{hashlib.sha256(told).hexdigest()[:24]}"
