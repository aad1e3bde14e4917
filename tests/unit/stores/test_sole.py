"""A temp has one writer: a worker that thaws writes into no file that another goes on with."""

from __future__ import annotations

import errno
import fcntl
import os
from pathlib import Path

import pytest

from tests.unit.stores.folder import NEXT, TEMP, names, received
from workers.errors import StoreRefused
from workers.stores.local import LocalFolder
from workers.stores.store import TempGone


@pytest.fixture(params=["with locks", "without locks"])
def locks(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> bool:
    """Whether the file system knows locks: some network ones don't."""

    def without(file: int, how: int) -> None:
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    known: bool = request.param == "with locks"
    if not known:
        monkeypatch.setattr(fcntl, "flock", without)
    return known


@pytest.mark.usefixtures("descriptors", "locks")
def test_what_a_frozen_worker_has_open_is_not_what_its_successor_publishes(
    store: LocalFolder, root: Path
) -> None:
    """It thaws and truncates, writes and dresses its temp: the published file keeps bytes and times."""
    frozen = store.open_temp(b"a", TEMP, resume=True)
    frozen.write(b"the begin")
    assert store.adopt(b"a", TEMP, NEXT)
    assert names(root) == {NEXT.encode()}
    again = store.open_temp(b"a", NEXT, resume=True)
    again.write(b"ning and the end")
    store.sync([again], [1_600_000_000.0])
    again.close()
    store.publish(b"a", NEXT, replace=True)
    before = (root / "a").stat()

    frozen.restart()
    frozen.write(b"something else")
    frozen.dress(0o600, 1.0)
    frozen.sync()
    frozen.discard()
    after = (root / "a").stat()
    assert (root / "a").read_bytes() == b"the beginning and the end"
    assert (before.st_ctime_ns, before.st_mode) == (after.st_ctime_ns, after.st_mode)
    assert names(root) == {b"a"}


@pytest.mark.usefixtures("descriptors")
def test_what_nobody_has_open_is_renamed(store: LocalFolder, root: Path, locks: bool) -> None:
    """A large part of a file is not copied after each crash; only where nobody can tell who has it open."""
    received(store, b"a")
    left = (root / TEMP).stat()
    assert store.adopt(b"a", TEMP, NEXT)
    assert ((root / NEXT).stat().st_ino == left.st_ino) is locks
    assert (root / NEXT).read_bytes() == b"data"


@pytest.mark.usefixtures("descriptors")
def test_what_is_written_to_while_it_is_copied_is_begun_anew(
    store: LocalFolder, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The worker thaws in that moment: the copy may be of two minds, so there is none."""
    frozen = store.open_temp(b"a", TEMP, resume=True)
    frozen.write(b"the begin")
    pread = os.pread

    def thaws(file: int, count: int, at: int) -> bytes:
        monkeypatch.undo()
        block = pread(file, count, at)
        frozen.restart()
        return block

    monkeypatch.setattr(os, "pread", thaws)
    assert not store.adopt(b"a", TEMP, NEXT)
    assert names(root) == set()
    frozen.close()


@pytest.mark.usefixtures("descriptors")
def test_what_another_has_open_is_not_opened(store: LocalFolder) -> None:
    """Two calls that bring the same file to the same place: the second one says so, and spoils nothing."""
    first = store.open_temp(b"a", TEMP, resume=True)
    with pytest.raises(TempGone):
        store.open_temp(b"a", TEMP, resume=True)
    first.write(b"data")
    first.close()
    store.publish(b"a", TEMP, replace=True)


@pytest.mark.usefixtures("descriptors")
def test_a_worker_that_froze_before_it_had_the_lock_has_no_temp(
    store: LocalFolder, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It was taken over between the opening and the lock, which is free again by then."""
    flock = fcntl.flock

    def late(file: int, how: int) -> None:
        monkeypatch.undo()
        assert store.adopt(b"a", TEMP, NEXT)
        flock(file, how)

    monkeypatch.setattr(fcntl, "flock", late)
    with pytest.raises(TempGone):
        store.open_temp(b"a", TEMP, resume=True)
    assert names(root) == {NEXT.encode()}


@pytest.mark.usefixtures("descriptors")
def test_a_disk_that_fails_at_the_lock_is_told_of_and_keeps_no_file_open(
    store: LocalFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A worker lives for weeks, and meets it again. No such disk can be had here, so the call is ours."""

    def broken(file: int, how: int) -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    monkeypatch.setattr(fcntl, "flock", broken)
    with pytest.raises(StoreRefused, match=os.strerror(errno.EIO)):
        store.open_temp(b"a", TEMP, resume=False)
