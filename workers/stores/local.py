"""LocalFolder: published files in a folder of this machine, received under temporary names beside them."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import stat
import time
from collections.abc import Callable, Collection, Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

from workers.stores import sole
from workers.stores.naming import TEMP_PREFIX, NameRefused, numbered, parts
from workers.stores.place import NAME_FAULTS, Place
from workers.stores.renaming import rename_unless_taken
from workers.stores.store import GROUP_BYTES, Occupied, OnExists, ReceivingTemp, TempGone
from workers.stores.temp import Temp

if TYPE_CHECKING:
    from workers.settings import Route

_READ_FILE = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_SYNC_THREADS = 8
"""fsyncs of one group that run side by side; the journal then commits several in one go."""
_BLOCK = 512
"""What st_blocks counts, on every file system (stat(2))."""
_SWEEP_IDLE = 600.0
"""Seconds without a write before a temp is swept: the claim of one just made may be missing in `keep`."""


class LocalFolder:
    """Where one route's files land. Holds nothing open between calls, so it needs no closing."""

    group_bytes = GROUP_BYTES
    side_by_side = 1
    """A rename is over before a thread would have begun."""

    def __init__(
        self,
        root: Path,
        *,
        route: str = "",
        mode: int = 0o640,
        keep_mtime: bool = True,
        durable: bool = True,
        deep: bool = False,
    ) -> None:
        """A folder and how files lie in it.

        route: named in StoreRefused. mode: of published files. durable: with fsync. deep: with sub-folders.
        """
        self.root = root
        self.route = route
        self.mode = mode
        self.keep_mtime = keep_mtime
        self.durable = durable
        self.deep = deep
        self._place = Place(root, route, folder_mode=_folder_mode(mode), durable=durable)

    @classmethod
    def of(cls, route: Route) -> LocalFolder:
        """The folder of a route whose target is one of this machine."""
        assert isinstance(route.local, Path)
        return cls(
            route.local,
            route=route.name,
            mode=route.mode,
            keep_mtime=route.keep_mtime,
            durable=route.durability == "full",
            deep=route.recursive,
        )

    # -- temporary files

    def open_temp(self, relative: bytes, temp: str, *, resume: bool) -> Temp:
        """A temp beside the final name `relative`; with `resume` one that is there already is continued.

        What stands under the temp's name and isn't a plain file of one name (a planted link, say) is removed,
        never written to. Folders on the way are made. Raises NameRefused, StoreRefused; TempGone where it is
        open already, or taken over.
        """
        name = temp.encode()
        try:
            with self._place.folder(relative, make=True) as (folder, _), contextlib.ExitStack() as undo:
                file = sole.continued(folder, name) if resume else None
                if file is None:
                    file = sole.made(folder, name)
                undo.callback(os.close, file)
                if not sole.hold(folder, name, file):
                    raise TempGone
                temp_file = Temp(os.dup(folder), file, name, self._place.refused)
                undo.pop_all()
                return temp_file
        except (FileNotFoundError, FileExistsError) as meddled:
            raise self._place.refused(meddled) from meddled

    def temp_facts(self, relative: bytes, temp: str) -> tuple[int, str] | None:
        """Size and SHA-256 (hexadecimal) of a temp that is read whole; None when it is gone.

        A route's folder that is missing is an error, not an answer.
        """
        with (
            contextlib.suppress(FileNotFoundError),
            self._place.folder(relative) as (folder, _),
            os.fdopen(os.open(temp, _READ_FILE, dir_fd=folder), "rb") as file,
        ):
            return os.fstat(file.fileno()).st_size, hashlib.file_digest(file, "sha256").hexdigest()
        return None

    def bears(self, final: bytes, temp: str) -> None:
        """None: a file does not tell from which temp it was renamed."""

    def adopt(self, relative: bytes, old: str, new: str) -> bool:
        """Rename what a lower fence left to the new fence's name; False when there is nothing to go on with.

        Where a worker still has it open, it is copied. What was left before this machine's last start is
        removed: a power cut may have made holes in it.
        """
        if not self._place.is_there():
            return False  # it died before it made the folder
        try:
            with contextlib.suppress(FileNotFoundError), self._place.folder(relative) as (folder, _):
                return sole.take_over(folder, old.encode(), new.encode())
        except FileExistsError as meddled:
            raise self._place.refused(meddled) from meddled
        return False

    def remove_temp(self, relative: bytes, temp: str) -> None:
        """Remove a temp, if it is there."""
        if not self._place.is_there():
            return
        with contextlib.suppress(FileNotFoundError), self._place.folder(relative) as (folder, _):
            os.unlink(temp, dir_fd=folder)

    def sync(self, temps: Collection[ReceivingTemp], modified: Iterable[float | None]) -> None:
        """Dress the temps and make them and their names durable, side by side.

        Raises StoreRefused when any of them failed; those are removed by then.
        """
        for temp, time_ in zip(temps, modified, strict=True):
            temp.dress(self.mode, time_ if self.keep_mtime else None)
        if not self.durable:
            return
        if len(temps) == 1:
            next(iter(temps)).sync()
            return
        with ThreadPoolExecutor(_SYNC_THREADS, thread_name_prefix="towline-fsync") as threads:
            synced = [threads.submit(temp.sync) for temp in temps]
        for one in synced:
            one.result()

    # -- final names

    def choose(self, relative: bytes, on_exists: OnExists) -> bytes | None:
        """The name to publish under: `relative`, a numbered one, or None where what is there is kept."""
        found = self._place.look(relative)
        if found is not None and stat.S_ISDIR(found.st_mode):
            raise NameRefused(relative, NAME_FAULTS[errno.EISDIR])
        if on_exists == "replace" or found is None:
            return relative
        if on_exists == "keep":
            return None
        number = 2
        while self._place.look(numbered(relative, number)) is not None:
            number += 1
        return numbered(relative, number)

    def publish(self, final: bytes, temp: str, *, replace: bool) -> None:
        """Give the temp its final name, in one step; a link that has this name is replaced, not followed.

        Raises TempGone; Occupied when not `replace` and the name is taken.
        """
        try:
            with self._place.folder(final) as (folder, name):
                if replace:
                    os.rename(temp, name, src_dir_fd=folder, dst_dir_fd=folder)
                else:
                    rename_unless_taken(folder, temp.encode(), name, durable=self.durable)
        except FileNotFoundError:
            raise TempGone from None
        except FileExistsError:
            raise Occupied from None

    def sync_folders(self, relatives: Iterable[bytes]) -> None:
        """Make the names in these files' folders durable, and the folders' own, up to the route's folder."""
        if not self.durable:
            return
        folders = {b"/".join(steps[:depth]) for steps in map(parts, relatives) for depth in range(len(steps))}
        for folder in sorted(folders, key=len, reverse=True):
            try:
                with self._place.folder(folder + b"/x" if folder else b"x") as (opened, _):
                    os.fsync(opened)
            except FileNotFoundError as meddled:
                raise self._place.refused(meddled) from meddled

    def size_of(self, relative: bytes) -> int | None:
        """The size of the plain file of this name; None when there is none."""
        found = self._place.look(relative)
        return found.st_size if found is not None and stat.S_ISREG(found.st_mode) else None

    def folder_changed_at(self, relative: bytes) -> float | None:
        """When a name last came or went in the folder of `relative`; None when there is no such folder."""
        with contextlib.suppress(FileNotFoundError), self._place.folder(relative) as (folder, _):
            return os.fstat(folder).st_mtime
        return None

    def located(self, relative: bytes) -> bytes:
        """The whole path of a file."""
        return os.fsencode(self.root) + b"/" + relative

    def relative_of(self, located: bytes) -> bytes:
        """The way back from `located`."""
        return located.removeprefix(os.fsencode(self.root) + b"/")

    # -- the place

    def room_for(self, needed: int) -> int:
        """Bytes that files may take here, beside a reserve. Raises StoreRefused where `needed` are more."""
        return self._place.room_for(needed)

    def held(self, relative: bytes, temps: Iterable[str]) -> int:
        """Bytes that the disk keeps in whichever of these temps of a file is the largest."""
        if not self._place.is_there():
            return 0
        largest = 0
        with contextlib.suppress(FileNotFoundError, NameRefused), self._place.folder(relative) as (folder, _):
            for temp in temps:
                with contextlib.suppress(FileNotFoundError):
                    largest = max(
                        largest, os.stat(temp, dir_fd=folder, follow_symlinks=False).st_blocks * _BLOCK
                    )
        return largest

    def sweep(
        self,
        keep: Collection[str],
        *,
        ours: Callable[[bytes], bool] | None = None,  # noqa: ARG002
        idle: float = _SWEEP_IDLE,
    ) -> int:
        """Remove temps that are not in `keep` and were not touched for `idle` seconds; how many were.

        `keep` has to hold the temps of all claims and of all open intents. Raises StoreRefused.
        """
        if not self._place.is_there():
            return 0
        kept = {name.encode() for name in keep}
        touched_before = time.time() - idle
        removed = 0
        with self._place.opened() as root:
            for _, folders, names, folder in os.fwalk(b".", dir_fd=root, follow_symlinks=False):
                for name in names:
                    if not name.startswith(TEMP_PREFIX) or name in kept:
                        continue
                    with contextlib.suppress(FileNotFoundError):
                        # Not st_mtime: a temp about to be renamed already wears its remote file's time.
                        if os.stat(name, dir_fd=folder, follow_symlinks=False).st_ctime <= touched_before:
                            os.unlink(name, dir_fd=folder)
                            removed += 1
                if not self.deep:
                    folders.clear()
        return removed


def _folder_mode(mode: int) -> int:
    """Who may read a file may pass its folder: 0640 → 0750. The owner always may."""
    return 0o700 | mode | (mode & 0o444) >> 2
