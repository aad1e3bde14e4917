"""What a worker does about a message that it could not acknowledge: it makes a new line to its broker.

Kombu logs such a failure, unless it is EPIPE, and goes on. Over Redis the message then counts as in work for
as long as that line is used, so a worker whose messages all ended while its lines were half-open takes none
any more, and nobody hears of it before `visibility_timeout`. Let through, the failure makes Celery throw the
line away with all that was counted on it. What was not acknowledged is delivered again: a doubled hint
claims nothing.
"""

from __future__ import annotations

from typing import Any

from celery.worker.request import Request


class Delivery(Request):  # type: ignore[misc]  # Celery has no types
    """A message in work; what fails in acknowledging or rejecting it ends the line that it came by."""

    def __init__(self, message: Any, **told: Any) -> None:
        """told: what Celery's own takes; of the errors that it would have logged and forgotten, none."""
        super().__init__(message, **told | {"connection_errors": ()})
