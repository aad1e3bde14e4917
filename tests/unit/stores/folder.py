"""What the tests of a local folder share: temps in it, and a look at its names."""

from __future__ import annotations

import os
from pathlib import Path

from workers.stores.local import LocalFolder

TEMP, NEXT = ".towline-1", ".towline-2"


def received(store: LocalFolder, relative: bytes, data: bytes = b"data", temp: str = TEMP) -> None:
    """A whole temp, closed."""
    opened = store.open_temp(relative, temp, resume=False)
    opened.write(data)
    store.sync([opened], [1_600_000_000.0])
    opened.close()


def names(folder: Path) -> set[bytes]:
    return {os.fsencode(one.name) for one in folder.iterdir()}
