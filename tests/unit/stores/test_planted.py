"""Names that lead elsewhere, and what somebody plants in the folder: nothing is written through it."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path
from typing import Any

import pytest

from tests.unit.stores.folder import NEXT, TEMP, names, received
from workers.errors import StoreRefused
from workers.stores.local import LocalFolder
from workers.stores.naming import NameRefused


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


def test_a_temp_is_made_by_us_or_not_at_all(
    store: LocalFolder, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What somebody puts under the temp's name at the last moment is not opened (O_EXCL)."""
    victim = root.parent / "victim"
    victim.write_bytes(b"precious")
    unlink = os.unlink

    def planted(name: Any, **how: Any) -> None:
        with contextlib.suppress(FileNotFoundError):
            unlink(name, **how)
        (root / TEMP).hardlink_to(victim)

    monkeypatch.setattr(os, "unlink", planted)
    with pytest.raises(StoreRefused, match="File exists"):
        store.open_temp(b"a", TEMP, resume=False)
    assert victim.read_bytes() == b"precious"
