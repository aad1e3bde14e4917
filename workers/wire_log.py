"""The wire log: every command and reply of a line, in the log, each under its endpoint's name.

The log gives the time. The password is out of it already (`ftps.control`); what a server says is shown so
that no terminal acts on it.
"""

from __future__ import annotations

import logging
from collections.abc import Callable

log = logging.getLogger("towline.wire")
# Who asks for it wants to see it: a worker's usual level would hide it. Nobody else is ever told a line.
log.setLevel(logging.INFO)


def into_log(endpoint: str) -> Callable[[str], None]:
    """What `Connection.open` may tell its lines to: "> NOOP" becomes "bank > NOOP" in `towline.wire`."""

    def tell(line: str) -> None:
        log.info("%s %s", endpoint, _shown(line), extra={"action": "wire", "endpoint": endpoint})

    return tell


def _shown(line: str) -> str:
    if line.isprintable():
        return line
    return "".join(
        character if character.isprintable() else character.encode("unicode_escape").decode()
        for character in line
    )
