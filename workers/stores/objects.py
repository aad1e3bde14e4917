"""ObjectFolder: published files as objects below a prefix of an object store (docs/decisions/0016).

What is being received is visible nowhere: small files wait in memory and are put in one request, larger ones
go in parts to their key, where they appear when the upload is completed. Each object carries the name of the
temp it was published from, which is this ledger's, path's, version's and fence's own. So whoever finds an
open intent asks for that mark: it is there, and the file was published, or it is not, and the file is fetched
anew. No temp survives its process: there is nothing to take over and nothing to resume. The parts of a large
file may, and are swept where the store is S3.
"""

from __future__ import annotations

import contextlib
import math
import sys
import time
from collections.abc import Callable, Collection, Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from workers.errors import StoreRefused
from workers.stores.bucket import Bucket, Conflict, Found
from workers.stores.naming import NameRefused, numbered, parts
from workers.stores.object_temp import IN_MEMORY, ObjectTemp
from workers.stores.store import Occupied, OnExists, ReceivingTemp, TempGone

if TYPE_CHECKING:
    from workers.settings import Route

_LEFT_S = 86_400.0
"""An upload in parts that was begun longer ago may be a dead one."""
_SWEEP_EVERY_S = 3_600.0
_KEY_BYTES = 1024
"""The longest key that S3 takes, in bytes of UTF-8."""


class ObjectFolder:
    """Where one route's files land; one a process, since it keeps what is being received."""

    durable = True
    """What a store has confirmed stays."""
    group_bytes = IN_MEMORY
    """They wait in memory while another group is put; a larger file has two or three parts there."""
    side_by_side = 16
    """Each is a request, and little but waiting: more did not bring more (tests/bench/objects.py)."""

    def __init__(
        self, url: str, *, route: str = "", on_exists: OnExists = "replace", hashing: bool = False
    ) -> None:
        """url: "s3://bucket/prefix". hashing: servers' digests will be compared. Raises StoreRefused."""
        self.root = url
        self.route = route
        self._on_exists = on_exists
        self._hashing = hashing
        self._bucket = Bucket(url, route)
        self._prefix_bytes = len(url.partition("://")[2].partition("/")[2].encode()) + 1
        self._temps: dict[str, ObjectTemp] = {}
        self._seen: dict[str, Found] = {}
        self._next_sweep = -math.inf

    @classmethod
    def of(cls, route: Route) -> ObjectFolder:
        """The prefix of a route."""
        assert not isinstance(route.local, Path)
        return cls(route.local, route=route.name, on_exists=route.on_exists, hashing=route.verify == "hash")

    # -- temporary files

    def open_temp(self, relative: bytes, temp: str, *, resume: bool) -> ObjectTemp:  # noqa: ARG002
        """A temp, always empty: none survives its process. Raises NameRefused."""
        self._key(relative)
        one = ObjectTemp(
            self._bucket,
            temp,
            key_of=lambda: self._key(self.choose(relative, self._on_exists) or relative),
            hashing=self._hashing,
            forget=lambda: self._forget(temp),
        )
        self._temps[temp] = one
        return one

    def temp_facts(self, relative: bytes, temp: str) -> None:
        """None: an earlier process's temp is gone with it."""

    def bears(self, final: bytes, temp: str) -> bool:
        """Whether the object under the final name was published from this temp. Raises StoreRefused."""
        found = self._bucket.head(self._key(final))
        return found is not None and found.mark == temp

    def adopt(self, relative: bytes, old: str, new: str) -> bool:  # noqa: ARG002
        """False: there is nothing to go on with."""
        return False

    def remove_temp(self, relative: bytes, temp: str) -> None:
        """Nothing is left by earlier processes that could be removed."""

    def sync(self, temps: Collection[ReceivingTemp], modified: Iterable[float | None]) -> None:
        """Nothing: a mode and a time of its own no object has, and a store confirms what is durable."""

    # -- final names

    def choose(self, relative: bytes, on_exists: OnExists) -> bytes | None:
        """The name to publish under: `relative`, a numbered one, or None where what is there is kept.

        To replace, nothing is asked: the request that publishes finds out what it replaces.
        """
        if on_exists == "replace" or self._bucket.head(self._key(relative)) is None:
            return relative
        if on_exists == "keep":
            return None
        number = 2
        while self._bucket.head(self._key(numbered(relative, number))) is not None:
            number += 1
        return numbered(relative, number)

    def publish(self, final: bytes, temp: str, *, replace: bool) -> None:
        """Let the object appear, unless something lies there that was not there when it was last looked.

        Raises TempGone; Occupied, after which a new intent is due, and with it another look at the fence;
        StoreRefused.
        """
        one = self._temps.get(temp)
        if one is None:
            raise TempGone
        key = self._key(final)
        try:
            one.publish(key, self._seen.pop(key, None))
        except KeyError:
            # Its parts went to a name that is in use by now: it is fetched anew, under another.
            raise TempGone from None
        except Conflict:
            found = self._bucket.head(key)
            if found is not None and found.mark == temp:
                return  # obstore has asked twice: the first answer was lost
            if replace and found is not None:
                self._seen[key] = found
            raise Occupied from None
        except StoreRefused:
            # The answer may have been lost, and the object be there.
            with contextlib.suppress(StoreRefused):
                if self.bears(final, temp):
                    return
            raise

    def sync_folders(self, relatives: Iterable[bytes]) -> None:
        """Nothing: a store has no folders."""

    def size_of(self, relative: bytes) -> int | None:
        """The size of the object of this name; None when there is none. Raises StoreRefused."""
        found = self._bucket.head(self._key(relative))
        return None if found is None else found.size

    def folder_changed_at(self, relative: bytes) -> None:
        """None: no store tells."""

    def located(self, relative: bytes) -> bytes:
        """The object's URL."""
        return self.root.encode() + b"/" + relative

    def relative_of(self, located: bytes) -> bytes:
        """The way back from `located`."""
        return located.removeprefix(self.root.encode() + b"/")

    # -- the place

    def room_for(self, needed: int) -> int:  # noqa: ARG002
        """As much as there may be: a store is not full. Raises StoreRefused where it can't be reached."""
        self._bucket.look()
        return sys.maxsize

    def held(self, relative: bytes, temps: Iterable[str]) -> int:  # noqa: ARG002
        """0: no earlier process has left bytes."""
        return 0

    def sweep(
        self,
        keep: Collection[str],  # noqa: ARG002
        *,
        ours: Callable[[bytes], bool] = lambda _: False,
        idle: float = _LEFT_S,
    ) -> int:
        """Abort uploads that killed workers have left; how many were. Once an hour: requests are paid for.

        Listed first, and asked about then: who begins one later is not among them, who holds one is known to
        `ours` by its claim. Whoever else uses this prefix (another ledger, which may know the same files) has
        `idle` seconds for an upload. Raises StoreRefused.
        """
        if time.monotonic() < self._next_sweep:
            return 0
        self._next_sweep = time.monotonic() + _SWEEP_EVERY_S
        uploads = self._bucket.left_uploads()
        if uploads is None:
            return 0
        with uploads:
            dead = [upload for upload in uploads.begun_before(idle) if ours(upload.relative)]
            for upload in dead:
                uploads.abort(upload)
        return len(dead)

    def _key(self, relative: bytes) -> str:
        """The key below the prefix. Raises NameRefused where the store takes no such key."""
        parts(relative)
        try:
            key = relative.decode()
        except UnicodeDecodeError:
            raise NameRefused(relative, "an object's key is UTF-8") from None
        if any(character < " " or character == "\x7f" for character in key):
            raise NameRefused(relative, "an object's key takes no control characters")
        if self._prefix_bytes + len(relative) > _KEY_BYTES:
            raise NameRefused(relative, f"an object's key has {_KEY_BYTES} bytes at most")
        return key

    def _forget(self, temp: str) -> None:
        self._temps.pop(temp, None)
