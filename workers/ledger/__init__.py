"""The durable memory: which files are known, who works on them, what was published (SQLAlchemy Core; SQLite).

`Ledger.open(url, state_dir=…)`, then one attribute a book: polls, claims, publishing, outbox, sources,
endpoints, permits, routes, history. It knows nothing of Celery and nothing of FTP; what goes in and comes
out are the frozen values of `values`.
"""

from workers.ledger.errors import IllegalStep, StalePoll
from workers.ledger.history import Explanation, FileRow, Holder, RouteSummary
from workers.ledger.ledger import Ledger
from workers.ledger.states import CLAIMED, State
from workers.ledger.values import (
    Announcement,
    Appeared,
    Change,
    Changed,
    Claim,
    Counts,
    EndpointState,
    FollowOn,
    FullServer,
    HeldLine,
    Intent,
    Known,
    LineFacts,
    Poll,
    Published,
    Ready,
    RouteState,
    Seen,
    Source,
    Vanished,
    same_version,
    temp_name,
)

__all__ = [
    "CLAIMED",
    "Announcement",
    "Appeared",
    "Change",
    "Changed",
    "Claim",
    "Counts",
    "EndpointState",
    "Explanation",
    "FileRow",
    "FollowOn",
    "FullServer",
    "HeldLine",
    "Holder",
    "IllegalStep",
    "Intent",
    "Known",
    "Ledger",
    "LineFacts",
    "Poll",
    "Published",
    "Ready",
    "RouteState",
    "RouteSummary",
    "Seen",
    "Source",
    "StalePoll",
    "State",
    "Vanished",
    "same_version",
    "temp_name",
]
