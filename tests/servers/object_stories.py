"""What holds of every object store alike, told once: the store's own tests say where."""

from __future__ import annotations

import os
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path
from typing import Any, Protocol

from tests.servers.fetching import Fetching
from tests.servers.s3 import Object
from tests.servers.server import FtpServer


class Place(Protocol):
    """A bucket or a container, seen by its owner."""

    @property
    def url(self) -> str:
        """As a route's `local` names it."""

    def objects(self) -> Mapping[str, Object]:
        """All that is visible, by key."""

    def put(self, key: str, content: bytes) -> None:
        """As a stranger does."""


def put(server: FtpServer, name: str, size: int) -> bytes:
    """A new file at the partner; its bytes."""
    content = os.urandom(size)
    (server.root / name).write_bytes(content)
    return content


def fetching(server: FtpServer, folder: Path, place: Place, **keys: Any) -> Fetching:
    """A route from there below `in/`, unless `keys` tell another `local`."""
    return Fetching(server, folder, **{"local": f"{place.url}/in"} | keys)


def keeps_to_on_exists(server: FtpServer, folder: Path, place: Place, size: int) -> None:
    """A stranger's object is in the way. replace: the new bytes; keep: the stranger's; version: both."""
    body = put(server, "a.xml", size)
    for on_exists, left in [
        ("replace", {"a.xml": body}),
        ("keep", {"a.xml": b"theirs"}),
        ("version", {"a.xml": b"theirs", "a.2.xml": body}),
    ]:
        place.put(f"{on_exists}/a.xml", b"theirs")
        keys = {"local": f"{place.url}/{on_exists}", "on_exists": on_exists}
        with closing(fetching(server, folder / on_exists, place, **keys)) as one:
            assert one.poll() == 1
            outcome = one.fetch()
        assert (outcome.published, outcome.kept) == ((0, 1) if on_exists == "keep" else (1, 0))
        there = {key: found.content for key, found in place.objects().items() if key.startswith(on_exists)}
        assert there == {f"{on_exists}/{name}": content for name, content in left.items()}
