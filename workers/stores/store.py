"""What a place for received files can do: a folder of this machine, or a prefix in an object store.

The two differ in what a crash leaves. A folder keeps its temps, and a temp that is gone was published. An
object store shows nothing before it is whole, keeps no temp beyond its process, and tells by an object's mark
from which temp it was published.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from pathlib import Path
from typing import Literal, Protocol

GROUP_BYTES = 64 << 20
"""Of files that are published together, where they lie on a disk."""

OVERLAP = 64 << 10
"""Bytes that a resumed transfer asks for once more, to compare them with those that are there: of whatever is
held no more than in part, a store keeps so much of the end."""

OnExists = Literal["replace", "keep", "version"]


class TempGone(Exception):
    """The temp is another's: a later claimant has taken it over, or has published it."""


class Occupied(Exception):
    """The final name came to be used since it was chosen."""


class ReceivingTemp(Protocol):
    """A file while it is being received. Faults of the place are raised as StoreRefused."""

    size: int

    @property
    def sha256(self) -> str:
        """The digest of the bytes held; hexadecimal."""

    def digest(self, algorithm: str) -> str:
        """The digest by HASH's name of the algorithm ("SHA-512", "CRC32"); hexadecimal."""

    def write(self, block: memoryview | bytes) -> None:
        """Append. Raises TooLarge."""

    def tail(self, count: int) -> bytes:
        """The last `count` bytes held, or all."""

    def restart(self) -> None:
        """Forget all bytes."""

    def dress(self, mode: int, modified: float | None) -> None:
        """Permissions and modification time, where the place has such."""

    def sync(self) -> None:
        """Make the bytes durable."""

    def close(self) -> None:
        """Let go; what the place can keep for a later claim is kept. Idempotent."""

    def discard(self) -> None:
        """Let go, and leave nothing."""


class Store(Protocol):
    """Where one route's files land. `relative` is a path below it, `temp` the name that a claim gives."""

    @property
    def root(self) -> Path | str:
        """The folder, or the object store's URL."""

    @property
    def route(self) -> str:
        """Named in StoreRefused."""

    @property
    def durable(self) -> bool:
        """Whether what is published outlives a power cut."""

    @property
    def group_bytes(self) -> int:
        """Of files that wait to be published together; one more may be received meanwhile."""

    @property
    def side_by_side(self) -> int:
        """How many calls of `publish` may be under way at once, each in a thread of its own."""

    def open_temp(self, relative: bytes, temp: str, *, resume: bool) -> ReceivingTemp:
        """A temp for this file; with `resume` one that is there already is continued. Raises TempGone."""

    def temp_facts(self, relative: bytes, temp: str) -> tuple[int, str] | None:
        """Size and SHA-256 of a temp; None when there is none."""

    def bears(self, final: bytes, temp: str) -> bool | None:
        """Whether what lies there was published from this temp; None where files don't tell."""

    def adopt(self, relative: bytes, old: str, new: str) -> bool:
        """Bring what a lower fence left under the new fence's name; False when there is nothing.

        What is there then is out of the reach of a worker that still has the old one open.
        """

    def remove_temp(self, relative: bytes, temp: str) -> None:
        """Remove a temp, if it is there."""

    def sync(self, temps: Collection[ReceivingTemp], modified: Iterable[float | None]) -> None:
        """Make the temps durable."""

    def choose(self, relative: bytes, on_exists: OnExists) -> bytes | None:
        """The name to publish under; None where what is there is kept."""

    def publish(self, final: bytes, temp: str, *, replace: bool) -> None:
        """Give the temp its final name, in one step. Raises TempGone; Occupied when the name is taken."""

    def sync_folders(self, relatives: Iterable[bytes]) -> None:
        """Make these names durable."""

    def size_of(self, relative: bytes) -> int | None:
        """The size of what lies there; None when nothing does."""

    def folder_changed_at(self, relative: bytes) -> float | None:
        """When a name last came or went beside this one; None when nobody can tell."""

    def located(self, relative: bytes) -> bytes:
        """The whole path of a file."""

    def relative_of(self, located: bytes) -> bytes:
        """The way back from `located`."""

    def room_for(self, needed: int) -> int:
        """Bytes that files may take here. Raises StoreRefused where `needed` are more, or none can land."""

    def held(self, relative: bytes, temps: Iterable[str]) -> int:
        """Bytes that the largest of these temps of a file holds already."""

    def sweep(self, keep: Collection[str], *, ours: Callable[[bytes], bool] = ..., idle: float = ...) -> int:
        """Remove what nobody will go on with, untouched for `idle` seconds; how many were removed.

        keep: temps that are in use, where temps have names. ours: asked of a final name where they have none:
        whether it is one of the route's, and nobody has its file in hand. Raises StoreRefused.
        """
