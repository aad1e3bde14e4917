"""What only its owner may read: state_dir, and files with a password or a login in them."""

from __future__ import annotations

import os
from pathlib import Path

from workers.errors import ConfigurationError


def make_state_dir(folder: Path) -> None:
    """Make `state_dir` where it is missing, of mode 0700. Raises ConfigurationError."""
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as refused:
        raise ConfigurationError(
            str(folder),
            f"state_dir can't be made: {refused.strerror}",
            "make it, writable for this user, or name another under [towline]",
        ) from refused


def write_private(path: Path, text: str) -> None:
    """Write `text` to a file of mode 0600 that is at no moment half written or readable by others."""
    new = path.with_name(path.name + ".new")
    new.unlink(missing_ok=True)
    handle = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(handle, "w") as file:
        file.write(text)
    new.replace(path)
