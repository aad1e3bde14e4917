"""Sessions with a scripted server of one file: how they are made, and what is asked of them."""

from __future__ import annotations

from collections.abc import Callable

from workers.ftps.connection import Connection
from workers.session import Session

Make = Callable[..., Session]
"""Of a session with that server; its arguments change the endpoint."""


def names(line: Connection) -> set[bytes]:
    """What is listed: an operation that needs a data channel."""
    with line.listing(b"/") as listing:
        return {entry.name for entry in listing}
