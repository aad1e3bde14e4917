"""One thing that a look at an endpoint or a route has found."""

from __future__ import annotations

from dataclasses import dataclass

from workers.errors import TowlineError


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing found.

    remedy: what can be done; None when all is well. failure: what a worker would fail with, if it would.
    """

    about: str  # "bank" or "statements"
    what: str  # "TLS", "certificate", …
    told: str
    remedy: str | None = None
    failure: TowlineError | None = None
