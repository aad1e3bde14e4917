"""Who owns a claim, and whether that process still lives.

Every process that claims is an owner: a uuid, a row, and a lock file in `state_dir/owners` whose flock it
holds as long as it lives; the kernel drops the lock with the process, however that ends. On the same host a
free lock therefore means "gone", and what it had claimed is free at once. From elsewhere only the lease
tells.

Two rules keep hosts apart. An owner's row names its host (a digest of machine id and host name; two
containers differ in one of them), and only owners of this host are judged by their lock. And only a lock file
that is *there* and free means death: one that is missing (another state_dir, another mount) says nothing.

The lock file also holds which file is in the owner's hands. That is written for every file, so it must cost
next to nothing: one pwrite of 16 bytes into the page cache, which outlives SIGKILL. It does not outlive
a power cut, and another host can't read it; then nobody is blamed, which errs on the right side.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import socket
import struct
import threading
import uuid
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import Connection, delete, select

from workers.ledger.engine import insert_missing
from workers.ledger.tables import owners, paths, permits, routes
from workers.ledger.values import Claim

_HAND = struct.Struct("<qq")
_NOTHING = (0, 0)

FORGET_AFTER_S = 86400.0
"""An owner of another host that holds nothing is forgotten after so long; one that still lives registers
again."""


@dataclass(frozen=True, slots=True)
class Owner:
    """A row of `owners`, as far as judging needs it."""

    owner: str
    host: str
    lock_file: Path
    started_at: float


def this_host() -> str:
    """This host's name and a digest of its machine id (machine-id(5) asks not to show the id itself)."""
    name = socket.gethostname()
    try:
        machine = Path("/etc/machine-id").read_text(encoding="ascii").strip()
    except OSError:
        machine = ""
    return f"{name}/{hashlib.sha256(f'towline:{machine}'.encode()).hexdigest()[:12]}"


class Ownership:
    """This process's identity: made at first use, given up by `close`, never passed on by a fork."""

    def __init__(self, state_dir: Path) -> None:
        self.folder = state_dir / "owners"
        self.host = this_host()
        self._owner: str | None = None
        self._fd: int | None = None
        self._registered = False
        # The janitor's thread may ask for the owner while the task's thread is making it.
        self._making = threading.Lock()

    @property
    def owner(self) -> str:
        """The owner id; the first call makes the lock file and takes its lock."""
        with self._making:
            if self._owner is None:
                self._owner, self._fd = self._lock_new()
            return self._owner

    @property
    def lock_file(self) -> Path:
        """Where the lock is held."""
        return self.folder / f"{self.owner}.lock"

    def register(self, connection: Connection, now: float) -> str:
        """Make sure that the owner's row is there, in the caller's writing transaction; returns the owner id.

        Asked every time: upkeep may have forgotten an owner that held nothing for a day.
        """
        row = {
            "owner": self.owner,
            "host": self.host,
            "pid": self.pid,
            "lock_file": str(self.lock_file),
            "started_at": now,
        }
        insert_missing(connection, owners, row)
        self._registered = True
        return self.owner

    @property
    def pid(self) -> int:
        """This process's number."""
        return os.getpid()

    def hold(self, path_id: int, fence: int) -> None:
        """Say which file is in hand; (0, 0): none. One system call, no transaction."""
        _ = self.owner
        assert self._fd is not None
        os.pwrite(self._fd, _HAND.pack(path_id, fence), 0)

    def put_down(self, claims: Iterable[Claim]) -> None:
        """None of these is in hand any more; another one may be."""
        if self._fd is None:
            return
        held = os.pread(self._fd, _HAND.size, 0)
        if held in {_HAND.pack(claim.path_id, claim.fence) for claim in claims}:
            os.pwrite(self._fd, _HAND.pack(*_NOTHING), 0)

    @property
    def registered(self) -> bool:
        """Whether the ledger knows this owner: only then is there anything to give back."""
        return self._registered

    def forked(self) -> None:
        """In a forked child: let go of the parent's lock, which our copy of the descriptor keeps alive."""
        if self._fd is not None:
            os.close(self._fd)
        self._owner, self._fd, self._registered = None, None, False
        self._making = threading.Lock()

    def close(self, *, forgotten: bool) -> None:
        """Drop the lock. forgotten: the ledger no longer knows this owner, so the file may go as well."""
        if self._owner is None or self._fd is None:
            return
        if forgotten:
            self.lock_file.unlink(missing_ok=True)
        os.close(self._fd)
        self._owner, self._fd, self._registered = None, None, False

    def _lock_new(self) -> tuple[str, int]:
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        owner = uuid.uuid4().hex
        # Locked under another name first: under its own it would be seen, for a moment, as free.
        draft = self.folder / f"{owner}.new"
        fd = os.open(draft, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        draft.rename(self.folder / f"{owner}.lock")
        return owner, fd

    def is_gone(self, other: Owner) -> bool:
        """Whether that process has certainly ended: it was on this host, and its lock is there and free."""
        if other.host != self.host or other.owner == self._owner:
            return False
        try:
            fd = os.open(other.lock_file, os.O_RDONLY | os.O_CLOEXEC)
        except OSError:
            return False
        try:
            # Shared: two processes that look at the same time both see the truth.
            fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        finally:
            os.close(fd)
        return True

    def in_hand(self, other: Owner) -> tuple[int, int] | None:
        """(path_id, fence) of the file in that process's hands; (0, 0): none; None: it can't be known."""
        if other.host != self.host:
            return None
        try:
            held = other.lock_file.read_bytes()
        except OSError:
            return None
        return _HAND.unpack(held) if len(held) == _HAND.size else _NOTHING


def known_owners(connection: Connection) -> dict[str, Owner]:
    """Every registered owner by its id."""
    found = connection.execute(select(owners.c.owner, owners.c.host, owners.c.lock_file, owners.c.started_at))
    return {row.owner: Owner(row.owner, row.host, Path(row.lock_file), row.started_at) for row in found}


def forget(connection: Connection, owner: str) -> None:
    """Delete an owner's row, in the caller's writing transaction."""
    connection.execute(delete(owners).where(owners.c.owner == owner))


def forgettable(connection: Connection, ownership: Ownership, now: float) -> list[Owner]:
    """Owners that hold no claim, poll or line, and are gone, or of another host and older than a day."""
    busy = set(
        connection.execute(select(paths.c.owner).where(paths.c.owner.is_not(None)).distinct()).scalars()
    )
    polling = connection.execute(select(routes.c.poll_owner).where(routes.c.poll_owner.is_not(None)))
    busy.update(polling.scalars())
    busy.update(connection.execute(select(permits.c.owner).distinct()).scalars())
    return [
        other
        for other in known_owners(connection).values()
        if other.owner not in busy
        and other.owner != ownership.owner
        and (
            ownership.is_gone(other)
            or (other.host != ownership.host and other.started_at < now - FORGET_AFTER_S)
        )
    ]
