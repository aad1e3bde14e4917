"""The local folder, on a real one."""

from __future__ import annotations

import errno
import hashlib
import os
import resource
import signal
import stat
import time
from pathlib import Path

import pytest

from tests.unit.stores.folder import NEXT, TEMP, names, received
from workers.errors import StoreRefused
from workers.ledger import temp_name
from workers.stores import boot
from workers.stores.local import LocalFolder
from workers.stores.temp import WRITE_BACK, Temp, TooLarge


@pytest.mark.usefixtures("descriptors")
def test_a_file_is_published_whole_with_its_mode_and_time(store: LocalFolder, root: Path) -> None:
    """Nothing is under the final name before the rename, and all of it afterwards."""
    temp = store.open_temp(b"a.xml", TEMP, resume=False)
    temp.write(memoryview(b"hello "))
    temp.write(b"world")
    assert names(root) == {TEMP.encode()}
    assert stat.S_IMODE((root / TEMP).stat().st_mode) == 0o600
    store.sync([temp], [1_600_000_000.5])
    temp.close()
    store.publish(b"a.xml", TEMP, replace=True)
    store.sync_folders([b"a.xml"])
    facts = (root / "a.xml").stat()
    assert (root / "a.xml").read_bytes() == b"hello world"
    assert temp.sha256 == hashlib.sha256(b"hello world").hexdigest()
    assert (stat.S_IMODE(facts.st_mode), facts.st_mtime) == (0o640, 1_600_000_000.5)
    assert names(root) == {b"a.xml"}


def test_a_large_file_is_on_its_way_to_the_disk_while_it_comes(
    store: LocalFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Piece by piece, none left out but the last: the sync at the end finds little left to do."""
    begun: list[tuple[int, int]] = []
    advise = os.posix_fadvise

    def noted(file: int, offset: int, length: int, advice: int) -> None:
        assert advice == os.POSIX_FADV_DONTNEED, "the one by which Linux begins to write"
        begun.append((offset, offset + length))
        advise(file, offset, length, advice)

    monkeypatch.setattr(os, "posix_fadvise", noted)
    block, content = bytes(range(256)) * 4096, hashlib.sha256()
    temp = store.open_temp(b"a", TEMP, resume=False)
    for _ in range(3 * WRITE_BACK // len(block) - 1):
        temp.write(block)
        content.update(block)
    assert begun == [(0, WRITE_BACK), (WRITE_BACK, 2 * WRITE_BACK)]
    assert temp.sha256 == content.hexdigest()
    assert temp.tail(len(block)) == block
    temp.restart()
    temp.write(block)
    assert len(begun) == 2
    temp.discard()


def test_a_resumed_temp_knows_its_size_and_digest(store: LocalFolder) -> None:
    """Bytes of an earlier attempt count into the digest; without resume they are gone."""
    first = store.open_temp(b"a", TEMP, resume=True)
    first.write(b"x" * 3_000_000)
    first.close()
    again = store.open_temp(b"a", TEMP, resume=True)
    assert again.size == 3_000_000
    again.write(b"y")
    assert again.tail(2) == b"xy"
    assert again.sha256 == hashlib.sha256(b"x" * 3_000_000 + b"y").hexdigest()
    again.restart()
    again.write(b"z")
    assert (again.size, again.sha256) == (1, hashlib.sha256(b"z").hexdigest())
    again.close()
    fresh = store.open_temp(b"a", TEMP, resume=False)
    assert fresh.size == 0
    fresh.discard()


def test_what_was_left_before_the_last_start_is_not_gone_on_with(
    store: LocalFolder, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A power cut may have made holes in a temp whose size and end are as they were: all is received anew."""
    left = store.open_temp(b"a", TEMP, resume=True)
    left.write(b"x" * 10_000)
    left.close()
    monkeypatch.setattr(boot, "booted_at", lambda: time.time() + 1)
    again = store.open_temp(b"a", TEMP, resume=True)
    assert again.size == 0
    again.close()
    assert not store.adopt(b"a", TEMP, NEXT)
    assert names(root) == set()
    monkeypatch.undo()
    assert boot.booted_at() < time.time()


def test_what_was_left_by_a_clock_that_was_ahead_is_not_gone_on_with(
    store: LocalFolder, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The machine came up in 1970 after a power cut: all that was left before seems to be from after it."""
    left = store.open_temp(b"a", TEMP, resume=True)
    left.write(b"x" * 10_000)
    left.close()
    up_for = time.clock_gettime(time.CLOCK_BOOTTIME)
    monkeypatch.setattr(time, "time", lambda: up_for)
    assert boot.booted_at() == pytest.approx(0.0, abs=60.0)
    assert not store.adopt(b"a", TEMP, NEXT)
    assert names(root) == set()


def test_odd_names_land_under_their_own_bytes(store: LocalFolder, root: Path) -> None:
    """A name of 255 bytes, one that isn't UTF-8, one with blanks: each is the name on disk."""
    odd = {b"n" * 255, b"\xff\xfe\x80", b" a ", "é".encode(), b"x\x1b[1m"}
    for number, name in enumerate(odd):
        received(store, name, temp=f".towline-{number}")
        store.publish(name, f".towline-{number}", replace=True)
        assert store.located(name) == os.fsencode(root / os.fsdecode(name))
        assert store.relative_of(store.located(name)) == name
    assert names(root) == odd


def test_folders_on_the_way_are_made(store: LocalFolder, root: Path) -> None:
    """A file of a sub-folder lands in one; who may read it may pass the folder."""
    received(store, b"2026/11/a")
    store.publish(b"2026/11/a", TEMP, replace=True)
    store.sync_folders([b"2026/11/a"])
    assert (root / "2026/11/a").read_bytes() == b"data"
    assert stat.S_IMODE((root / "2026").stat().st_mode) & 0o700 == 0o700


def test_a_temp_lies_beside_its_file_under_a_short_hidden_name_of_its_fence(
    store: LocalFolder, root: Path
) -> None:
    """In the folder where the file will be, so that a rename is enough, whatever the file is called."""
    one, other = (temp_name("ledger", 1, 2, fence) for fence in (3, 4))
    assert one != other
    assert (
        len({temp_name("ledger", 1, 2, 3), temp_name("another", 1, 2, 3), temp_name("ledger", 1, 3, 3)}) == 3
    )
    store.open_temp(b"sub/" + b"n" * 255, one, resume=True).close()
    assert names(root / "sub") == {one.encode()}
    assert one.startswith(".towline-")
    assert len(one) < 40


@pytest.mark.usefixtures("descriptors")
def test_a_failed_fsync_voids_the_copy(
    store: LocalFolder, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After EIO the kernel calls the lost pages clean: the temp goes, and no second fsync is tried."""
    calls: list[int] = []

    def failing(descriptor: int) -> None:
        calls.append(descriptor)
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    monkeypatch.setattr(os, "fsync", failing)
    temps: list[Temp] = [store.open_temp(b"a", name, resume=False) for name in (TEMP, NEXT)]
    with pytest.raises(StoreRefused) as caught:
        store.sync(temps, [None, None])
    assert caught.value.args[:2] == ("statements", str(root))
    assert "Input/output error; the disk" in caught.value.args[2]
    assert (len(calls), names(root)) == (2, set())


def test_the_folder_that_is_made_is_durable_itself(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its name lies in the folder above, which is synced too: else a power cut takes it and all its files."""
    synced: list[int] = []
    real = os.fsync

    def recorded(descriptor: int) -> None:
        synced.append(os.fstat(descriptor).st_ino)
        real(descriptor)

    monkeypatch.setattr(os, "fsync", recorded)
    store = LocalFolder(tmp_path / "made", route="r")
    store.open_temp(b"a", TEMP, resume=False).close()
    assert synced == [tmp_path.stat().st_ino]
    store.open_temp(b"a", NEXT, resume=False).close()
    assert len(synced) == 1


def test_without_durability_nothing_is_synced(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`durability = "rename"` means: no fsync."""
    monkeypatch.setattr(os, "fsync", lambda _: pytest.fail("fsync"))
    store = LocalFolder(root, durable=False, mode=0o600, keep_mtime=False)
    received(store, b"a")
    store.publish(b"a", TEMP, replace=True)
    store.sync_folders([b"a"])
    facts = (root / "a").stat()
    assert stat.S_IMODE(facts.st_mode) == 0o600
    assert facts.st_mtime > 1_700_000_000


def test_a_file_larger_than_files_may_be_is_its_own_fault(store: LocalFolder, root: Path) -> None:
    """FAT ends at 4 GiB: TooLarge, and not the route's fault, which all its other files would wait for."""
    temp = store.open_temp(b"a", TEMP, resume=False)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)

    before = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, limits[1]))
    try:
        with pytest.raises(TooLarge, match="larger than a file may be"):
            temp.write(b"x" * 150_000)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, before)
    assert temp.size == 100_000 == (root / TEMP).stat().st_size
    temp.close()
    assert store.open_temp(b"a", TEMP, resume=True).sha256 == hashlib.sha256(b"x" * 100_000).hexdigest()


def test_a_missing_tree_is_the_routes_fault_and_is_not_made(tmp_path: Path) -> None:
    """A disk that isn't mounted must not be filled under its mount point; the last folder alone is made."""
    with pytest.raises(StoreRefused, match="No such file"):
        received(LocalFolder(tmp_path / "a" / "b", route="r"), b"x")
    received(LocalFolder(tmp_path / "made", route="r"), b"x")
    assert names(tmp_path) == {b"made"}
    gone = LocalFolder(tmp_path / "gone", route="r")
    with pytest.raises(StoreRefused):
        gone.temp_facts(b"x", TEMP)
    with pytest.raises(StoreRefused):
        gone.size_of(b"x")
    assert names(tmp_path) == {b"made"}


def test_a_sweep_takes_idle_temps_that_nobody_keeps(root: Path) -> None:
    """Kept ones, young ones and files that aren't Towline's stay; sub-folders count where files lie there."""
    store = LocalFolder(root, deep=True)
    for relative, temp in ((b"a", ".towline-old"), (b"a", ".towline-kept"), (b"sub/a", ".towline-deep")):
        received(store, relative, temp=temp)
    (root / "sub" / ".towline-link").symlink_to("nowhere")
    (root / "towline-mine").touch()
    # `received` has given the temps an old modification time, as a publish does just before its rename.
    assert store.sweep(set()) == 0
    assert LocalFolder(root).sweep({".towline-kept"}, idle=-1) == 1
    assert names(root) == {b".towline-kept", b"towline-mine", b"sub"}
    assert store.sweep({".towline-kept"}, idle=-1) == 2
    assert names(root / "sub") == set()
