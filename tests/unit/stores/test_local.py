"""The local folder, on a real one."""

from __future__ import annotations

import errno
import hashlib
import os
import resource
import signal
import stat
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from workers.errors import StoreRefused
from workers.stores import boot, renaming
from workers.stores.local import LocalFolder, Occupied, TempGone
from workers.stores.naming import NameRefused
from workers.stores.temp import Temp

TEMP, NEXT = ".towline-1", ".towline-2"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    root = tmp_path / "in"
    root.mkdir()
    return root


@pytest.fixture
def store(root: Path) -> LocalFolder:
    return LocalFolder(root, route="statements")


def received(store: LocalFolder, relative: bytes, data: bytes = b"data", temp: str = TEMP) -> None:
    """A whole temp, closed."""
    opened = store.open_temp(relative, temp, resume=False)
    opened.write(data)
    store.sync([opened], [1_600_000_000.0])
    opened.close()


def names(folder: Path) -> set[bytes]:
    return {os.fsencode(one.name) for one in folder.iterdir()}


@pytest.fixture
def descriptors() -> Iterator[None]:
    """As many descriptors after a test as before it."""
    before = len(list(Path("/proc/self/fd").iterdir()))
    yield
    assert len(list(Path("/proc/self/fd").iterdir())) == before


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


def test_odd_names_land_under_their_own_bytes(store: LocalFolder, root: Path) -> None:
    """A name of 250 bytes, one that isn't UTF-8, one with blanks: each is the name on disk."""
    odd = {b"n" * 250, b"\xff\xfe\x80", b" a ", "é".encode(), b"x\x1b[1m"}
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


@pytest.mark.parametrize("relative", [b"../x", b"/etc/x", b"a/../../x", b"a\0", b"", b"a/"])
def test_nothing_is_opened_for_a_name_that_leads_elsewhere(
    store: LocalFolder, root: Path, relative: bytes
) -> None:
    """Every verb refuses it, and nothing appears inside the folder or beside it."""
    for verb in (
        lambda: store.open_temp(relative, TEMP, resume=False),
        lambda: store.publish(relative, TEMP, replace=True),
        lambda: store.choose(relative, "replace"),
        lambda: store.adopt(relative, TEMP, NEXT),
        lambda: store.remove_temp(relative, TEMP),
    ):
        with pytest.raises(NameRefused):
            verb()
    assert names(root) == set()
    assert names(root.parent) == {b"in"}


@pytest.mark.usefixtures("descriptors")
def test_a_planted_link_is_never_followed(store: LocalFolder, root: Path) -> None:
    """A link as a folder is refused; one under the temp's or the final name is replaced."""
    outside = root.parent / "outside"
    outside.mkdir()
    victim = outside / "victim"
    victim.write_bytes(b"precious")
    (root / "sub").symlink_to(outside)
    with pytest.raises(NameRefused, match="link"):
        store.open_temp(b"sub/victim", TEMP, resume=True)
    with pytest.raises(NameRefused, match="link"):
        store.publish(b"sub/victim", TEMP, replace=True)
    (root / TEMP).symlink_to(victim)
    (root / "a").symlink_to(victim)
    for resume in (True, False):
        temp = store.open_temp(b"a", TEMP, resume=resume)
        temp.write(b"hostile")
        temp.close()
    store.publish(b"a", TEMP, replace=True)
    assert victim.read_bytes() == b"precious"
    assert (root / "a").read_bytes() == b"hostile"
    assert not (root / "a").is_symlink()
    assert names(outside) == {b"victim"}


def test_a_planted_hard_link_is_not_written_to(store: LocalFolder, root: Path) -> None:
    """A temp that has a second name is not ours to continue."""
    victim = root.parent / "victim"
    victim.write_bytes(b"precious")
    (root / TEMP).hardlink_to(victim)
    temp = store.open_temp(b"a", TEMP, resume=True)
    temp.write(b"hostile")
    temp.close()
    assert victim.read_bytes() == b"precious"


def test_the_routes_own_folder_may_be_a_link(store: LocalFolder, root: Path) -> None:
    """It is the administrator's choice where /data/in leads."""
    (root.parent / "link").symlink_to(root)
    received(LocalFolder(root.parent / "link"), b"a")
    assert names(root) == {TEMP.encode()}


def test_a_folder_under_the_final_name_is_that_files_fault(store: LocalFolder, root: Path) -> None:
    """It can be neither replaced nor kept as a copy; the others of the batch go on."""
    (root / "a").mkdir()
    for on_exists in ("replace", "keep", "version"):
        with pytest.raises(NameRefused, match="folder"):
            store.choose(b"a", on_exists)
    received(store, b"a")
    with pytest.raises(NameRefused, match="folder"):
        store.publish(b"a", TEMP, replace=True)


def test_on_exists_chooses_the_final_name(store: LocalFolder, root: Path) -> None:
    """replace: the name itself; keep: none when it is taken; version: the first free number."""
    assert store.choose(b"a.xml", "replace") == b"a.xml"
    assert store.choose(b"a.xml", "keep") == b"a.xml"
    assert store.choose(b"a.xml", "version") == b"a.xml"
    (root / "a.xml").touch()
    (root / "a.2.xml").symlink_to("nowhere")
    assert store.choose(b"a.xml", "replace") == b"a.xml"
    assert store.choose(b"a.xml", "keep") is None
    assert store.choose(b"a.xml", "version") == b"a.3.xml"


def test_a_name_that_came_to_be_used_is_not_replaced(store: LocalFolder, root: Path) -> None:
    """Between choosing and renaming somebody else may write; with keep and version theirs stays."""
    received(store, b"a")
    (root / "a").write_bytes(b"theirs")
    with pytest.raises(Occupied):
        store.publish(b"a", TEMP, replace=False)
    assert (root / "a").read_bytes() == b"theirs"
    store.publish(b"a.2", TEMP, replace=False)
    assert names(root) == {b"a", b"a.2"}


def test_a_publish_that_died_between_its_two_steps_can_be_finished(store: LocalFolder, root: Path) -> None:
    """link done, unlink not: both names are one file, and finishing removes the temp."""
    received(store, b"a")
    os.link(root / TEMP, root / "a")
    store.publish(b"a", TEMP, replace=False)
    assert names(root) == {b"a"}


def test_a_thawed_worker_finds_nothing_to_rename(store: LocalFolder, root: Path) -> None:
    """Its temp was taken over under the new fence's name."""
    received(store, b"a")
    assert store.adopt(b"a", TEMP, NEXT)
    assert not store.adopt(b"a", TEMP, NEXT)
    for replace in (True, False):
        with pytest.raises(TempGone):
            store.publish(b"a", TEMP, replace=replace)
    assert names(root) == {NEXT.encode()}
    assert store.temp_facts(b"a", NEXT) == (4, hashlib.sha256(b"data").hexdigest())
    store.remove_temp(b"a", NEXT)
    store.remove_temp(b"a", NEXT)
    assert store.temp_facts(b"a", NEXT) is None


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


def without_renameat2(folder: int, old: bytes, new: bytes) -> None:
    """A file system that knows no RENAME_NOREPLACE, as NFS."""
    raise OSError(errno.EINVAL, os.strerror(errno.EINVAL))


@pytest.fixture(params=["in one step", "in two steps"])
def rename(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the system knows RENAME_NOREPLACE, and where it doesn't."""
    if request.param == "in two steps":
        monkeypatch.setattr(renaming, "_renameat2", without_renameat2)


@pytest.mark.usefixtures("rename", "descriptors")
def test_a_name_that_is_taken_is_never_replaced(store: LocalFolder, root: Path) -> None:
    """A file, a folder or a link of that name stays, and the temp with it; a free name is taken."""
    (root / "file").write_bytes(b"theirs")
    (root / "folder").mkdir()
    (root / "link").symlink_to("nowhere")
    received(store, b"a")
    for taken in (b"file", b"folder", b"link"):
        with pytest.raises(Occupied):
            store.publish(taken, TEMP, replace=False)
    assert (root / "file").read_bytes() == b"theirs"
    assert (root / "link").is_symlink()
    store.publish(b"a", TEMP, replace=False)
    assert names(root) == {b"a", b"file", b"folder", b"link"}
    with pytest.raises(TempGone):
        store.publish(b"b", TEMP, replace=False)


def test_the_second_of_two_steps_waits_for_the_first_to_be_durable(
    store: LocalFolder, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An unlink that outlives a power cut without its link would lose the file."""
    received(store, b"a")
    monkeypatch.setattr(renaming, "_renameat2", without_renameat2)
    steps: list[str] = []

    def recorded(step: str) -> Callable[..., None]:
        real = getattr(os, step)

        def call(*what: Any, **how: Any) -> None:
            steps.append(step)
            real(*what, **how)

        return call

    for step in ("link", "fsync", "unlink"):
        monkeypatch.setattr(os, step, recorded(step))
    store.publish(b"a", TEMP, replace=False)
    assert steps == ["link", "fsync", "unlink"]


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


def test_a_place_that_takes_no_more_is_the_routes_fault(store: LocalFolder, root: Path) -> None:
    """No room: StoreRefused, what did fit is counted, and goes on from there later."""
    temp = store.open_temp(b"a", TEMP, resume=False)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)

    before = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, limits[1]))
    try:
        with pytest.raises(StoreRefused, match="File too large"):
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
