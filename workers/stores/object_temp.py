"""ObjectTemp: a file while it is being received for an object store: in memory, or already on its way.

Nothing of it is visible before it is published, and nothing of it survives its process.
"""

from __future__ import annotations

import hashlib
import zlib
from collections.abc import Callable

from workers.stores.bucket import MOST_BYTES, PART, Bucket, Conflict, Found
from workers.stores.store import OVERLAP
from workers.stores.temp import TooLarge
from workers.stores.upload import Upload

IN_MEMORY = PART
"""A file up to this size is held, and put in one request."""
_OTHERS = ("SHA-512", "SHA-1", "MD5", "CRC32")


class ObjectTemp:
    """The bytes that came, their number and their SHA-256. `close` and `discard` are the same here."""

    def __init__(
        self,
        bucket: Bucket,
        name: str,
        *,
        key_of: Callable[[], str],
        hashing: bool,
        forget: Callable[[], None],
    ) -> None:
        """key_of: asked for the key once the file has outgrown memory. hashing: other digests than SHA-256
        will be asked for. forget: called when it is closed."""
        self.name = name
        self.size = 0
        self._bucket = bucket
        self._key_of = key_of
        self._hashing = hashing
        self._forget = forget
        self._upload: Upload | None = None
        self._begin()

    def _begin(self) -> None:
        self.size = 0
        self._held = bytearray()
        self._hash = hashlib.sha256()
        self._others = {name: _digest(name) for name in _OTHERS} if self._hashing else {}

    @property
    def sha256(self) -> str:
        """The digest of the bytes that came; hexadecimal."""
        return self._hash.hexdigest()

    def digest(self, algorithm: str) -> str:
        """The digest by HASH's name of the algorithm; hexadecimal. Sent bytes can't be read again."""
        return self.sha256 if algorithm == "SHA-256" else self._others[algorithm].hexdigest()

    def write(self, block: memoryview | bytes) -> None:
        """Append; what outgrows memory goes on its way. Raises TooLarge, StoreRefused."""
        if self.size + len(block) > MOST_BYTES:
            raise TooLarge
        self.size += len(block)
        self._hash.update(block)
        for other in self._others.values():
            other.update(block)
        self._held += block
        if self._upload is not None:
            self._upload.write(block)
            del self._held[:-OVERLAP]
        elif self.size > IN_MEMORY:
            self._upload = Upload(self._bucket, self._key_of(), self.name)
            self._upload.write(bytes(self._held))
            del self._held[:-OVERLAP]

    def tail(self, count: int) -> bytes:
        """The last `count` bytes; of a large file no more than OVERLAP."""
        return bytes(self._held[-count:])

    def restart(self) -> None:
        """Forget all bytes."""
        self._abort()
        self._begin()

    def dress(self, mode: int, modified: float | None) -> None:
        """Nothing: no object has a mode, or a time that can be set."""

    def sync(self) -> None:
        """Nothing: what a store has confirmed is durable."""

    def publish(self, key: str, expected: Found | None) -> None:
        """Let the object appear, if `expected` is what lies there.

        One request says so itself; before parts are completed it is asked. Raises Conflict, StoreRefused, and
        KeyError where the parts went to another key.
        """
        if self._upload is None:
            self._bucket.put(key, self._held, expected, self.name, self.sha256)
            return
        if self._upload.key != key:
            raise KeyError(key)
        if self._bucket.head(key) != expected:
            raise Conflict
        upload, self._upload = self._upload, None
        upload.complete()

    def close(self) -> None:
        """Forget all, and abort what is on its way. Idempotent."""
        self._abort()
        self._held = bytearray()
        self._forget()

    discard = close

    def _abort(self) -> None:
        if self._upload is not None:
            upload, self._upload = self._upload, None
            upload.abort()


class _Crc32:
    def __init__(self) -> None:
        self._value = 0

    def update(self, block: memoryview | bytes) -> None:
        self._value = zlib.crc32(block, self._value)

    def hexdigest(self) -> str:
        return f"{self._value:08x}"


def _digest(algorithm: str) -> hashlib._Hash | _Crc32:
    if algorithm == "CRC32":
        return _Crc32()
    return hashlib.new(algorithm.replace("-", ""), usedforsecurity=False)
