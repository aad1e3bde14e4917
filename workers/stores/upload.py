"""Upload: one object on its way into the store in parts, fed block by block.

obstore pulls what it uploads from an iterator, and a transfer pushes what it receives: a thread stands
between them, with a short queue. It is the iterator and not obstore's writer, because an iterator that raises
has obstore abort the multipart upload; a writer can only be completed, or left lying in the bucket.
"""

from __future__ import annotations

import contextlib
import queue
import threading
from collections.abc import Iterator

from workers.stores.bucket import Bucket

_BLOCK = 1 << 20
_WAITING = 4
"""Blocks that wait for the store while it is slower than the line."""


class _GivenUp(Exception):
    """Raised inside the iterator, so that the upload is aborted."""


class Upload:
    """Begins at once, and is ended by `complete` or `abort`."""

    def __init__(self, bucket: Bucket, key: str, mark: str) -> None:
        self.key = key
        self._bucket = bucket
        self._mark = mark
        self._gathered = bytearray()
        self._blocks: queue.Queue[bytes | None] = queue.Queue(_WAITING)
        self._given_up = False
        self._failure: BaseException | None = None
        # A daemon: a process that ends without having ended its uploads does not wait for them.
        self._thread = threading.Thread(target=self._send, name="towline-upload", daemon=True)
        self._thread.start()

    def write(self, block: memoryview | bytes) -> None:
        """Append; waits where the store is slower. Raises StoreRefused."""
        self._gathered += block
        if len(self._gathered) >= _BLOCK:
            self._pass_on()

    def complete(self) -> None:
        """Let the object appear. Raises StoreRefused: it may have appeared all the same."""
        if self._gathered:
            self._pass_on()
        self._blocks.put(None)
        self._thread.join()
        self._raise()

    def abort(self) -> None:
        """End without an object; what the store says about it changes nothing. Idempotent."""
        self._given_up = True
        if self._thread.is_alive():
            self._blocks.put(None)
            self._thread.join()

    def _pass_on(self) -> None:
        self._raise()
        self._blocks.put(bytes(self._gathered))
        self._gathered.clear()

    def _raise(self) -> None:
        if self._failure is not None:
            raise self._failure

    def _send(self) -> None:
        try:
            self._bucket.put_parts(self.key, self._iterator(), self._mark)
        except _GivenUp:
            pass
        except BaseException as failure:  # noqa: BLE001 - raised in the thread that writes
            self._failure = failure
        finally:
            # Whoever waits for room in the queue is let go on, and finds the failure at its next block.
            with contextlib.suppress(queue.Empty):
                while True:
                    self._blocks.get_nowait()

    def _iterator(self) -> Iterator[bytes]:
        while (block := self._blocks.get()) is not None:
            yield block
        if self._given_up:
            raise _GivenUp
