"""Final names: which one is chosen, and what becomes of one that is taken."""

from __future__ import annotations

import errno
import hashlib
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.unit.stores.folder import NEXT, TEMP, names, received
from workers.stores import renaming
from workers.stores.local import LocalFolder
from workers.stores.naming import NameRefused
from workers.stores.store import Occupied, TempGone


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


def test_a_number_that_no_longer_fits_is_that_names_fault(store: LocalFolder, root: Path) -> None:
    """255 bytes are all that a name may have: with `version`, a second file of such a name can't land."""
    (root / ("n" * 255)).touch()
    with pytest.raises(NameRefused, match="longer than"):
        store.choose(b"n" * 255, "version")
    assert store.choose(b"n" * 255, "replace") == b"n" * 255


def test_a_folder_under_the_final_name_is_that_files_fault(store: LocalFolder, root: Path) -> None:
    """It can be neither replaced nor kept as a copy; the others of the batch go on."""
    (root / "a").mkdir()
    for on_exists in ("replace", "keep", "version"):
        with pytest.raises(NameRefused, match="folder"):
            store.choose(b"a", on_exists)
    received(store, b"a")
    with pytest.raises(NameRefused, match="folder"):
        store.publish(b"a", TEMP, replace=True)
