"""A disk that fails at any call on a file's way: nothing half is published, nothing lost, nobody charged."""

from __future__ import annotations

import errno
import os
import random
import shutil
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.faults.disk import Change, Disk
from tests.faults.scripted import ScriptedServer
from tests.servers.certificates import Certificates
from tests.servers.fetching import Fetching
from workers.errors import StoreRefused
from workers.stores.naming import NameRefused

SIZE = 40_000
ERRORS = (errno.ENOSPC, errno.EIO, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.ESTALE)
ORDINARILY = 24
"""So many of the places and errors are tried in the ordinary run, drawn with a seed."""


@pytest.fixture
def scripted(certificates: Certificates) -> Iterator[ScriptedServer]:
    with ScriptedServer(certificates) as server:
        yield server


class Way:
    """A route on which files come one pair after the other, and a disk that can be told to fail."""

    def __init__(self, server: Any, folder: Path, patch: pytest.MonkeyPatch, **keys: Any) -> None:
        self.server = server
        self.one = Fetching(server, folder, **keys)
        self.disk = Disk()
        self.disk.install(patch)
        self.sent: dict[str, bytes] = {}

    def put(self) -> list[str]:
        """Two more files at the server, polled; their names."""
        number = len(self.sent)
        names = [f"{number}", f"{number + 1}"]
        for name in names:
            self.sent[name] = os.urandom(SIZE)
            self.server.files[f"/{name}".encode()] = self.sent[name]
        assert self.one.poll() == 2
        return names

    def places(self) -> list[tuple[str, int]]:
        """What the disk is asked on the way of two files: each call, and the how-many-eth of its kind."""
        made: Counter[str] = Counter()
        self.put()
        self.disk.watch = lambda change: made.update([change.call])
        assert self.one.fetch().published == 2
        self.disk.watch = lambda _: None
        # How many writes there are depends on what a read brings.
        made["write"] = min(made["write"], 2)
        return [(call, number) for call in sorted(made) for number in range(made[call])]

    def fail_at(self, place: tuple[str, int], code: int) -> None:
        """Two files come, and one change fails, once: told as the route's fault, in the system's words."""
        self.put()
        call, left = place

        def watch(change: Change) -> None:
            nonlocal left
            if change.call == call:
                left -= 1
                if left == -1:
                    raise OSError(code, os.strerror(code))

        self.disk.watch = watch
        with pytest.raises(StoreRefused) as refused:
            self.one.fetch()
        self.disk.watch = lambda _: None
        assert refused.value.args[:2] == ("statements", str(self.one.landed))
        assert os.strerror(code) in refused.value.args[2]

    def judge(self) -> None:
        """No half file has a final name, no attempt is counted; the next round brings the rest, once."""
        there = {name: data for name, data in self.one.files().items() if not name.startswith(".towline-")}
        assert all(self.sent[name] == data for name, data in there.items()), "a torn file"
        assert {row.attempts for row in self.one.ledger.history.rows(limit=1000)} == {0}
        self.one.fetch()
        assert self.one.files() == self.sent
        assert set(self.one.states().values()) == {"FINISHED"}


def test_each_change_of_the_disk_may_fail_once(
    scripted: ScriptedServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Creating, writing, syncing, renaming: the route's fault, and the next round heals; a seeded sample."""
    way = Way(scripted, tmp_path / "towline", monkeypatch)
    way.places()
    places = way.places()
    assert {call for call, _ in places} >= {"create", "write", "dress", "sync", "rename", "sync-folder"}
    draw = random.Random(4)
    for place in places + draw.choices(places, k=ORDINARILY - len(places)):
        way.fail_at(place, draw.choice(ERRORS))
        way.judge()
    way.one.close()


@pytest.mark.long
@pytest.mark.parametrize("keys", [{}, {"on_exists": "version"}, {"durability": "rename"}], ids=str)
def test_each_change_of_the_disk_may_fail_with_each_error(
    scripted: ScriptedServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, keys: dict[str, Any]
) -> None:
    """Every place and every error, with and without fsync, replacing and numbering."""
    way = Way(scripted, tmp_path / "towline", monkeypatch, **keys)
    way.places()
    for place in way.places():
        for code in ERRORS:
            way.fail_at(place, code)
            way.judge()
    way.one.close()


def test_a_copy_whose_fsync_failed_is_received_again(
    scripted: ScriptedServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The temp is gone at once, and never synced a second time, which would report success (lwn 752063)."""
    way = Way(scripted, tmp_path / "towline", monkeypatch)
    way.put()
    synced: list[int] = []

    def watch(change: Change) -> None:
        if change.call == "sync":
            synced.append(change.inode)
            if len(synced) == 1:
                raise OSError(errno.EIO, os.strerror(errno.EIO))

    way.disk.watch = watch
    with pytest.raises(StoreRefused, match="Input/output error; the disk"):
        way.one.fetch()
    left = list(way.one.landed.iterdir())
    assert [one.stat().st_ino for one in left] == synced[1:], "the other one's fsync went well"
    way.judge()
    assert scripted.count("RETR") == 3
    way.one.close()


def test_a_file_that_is_too_large_for_the_disk_holds_nothing_up(
    scripted: ScriptedServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is charged like any file that can't be had, leaves no temp, and the others arrive."""
    way = Way(scripted, tmp_path / "towline", monkeypatch)
    first, second = way.put()
    made: list[int] = []

    def watch(change: Change) -> None:
        made.extend([change.folder] if change.call == "create" else [])
        if change.call == "write" and len(made) == 1:
            raise OSError(errno.EFBIG, os.strerror(errno.EFBIG))

    way.disk.watch = watch
    outcome = way.one.fetch()
    assert (outcome.failed, outcome.published) == (1, 1)
    assert outcome.first_error == f"/{first}: it is larger than a file may be on this file system"
    assert way.one.files() == {second: way.sent[second]}
    rows = way.one.ledger.history.rows()
    assert {row.path.decode(): row.attempts for row in rows} == {f"/{first}": 1, f"/{second}": 0}
    way.one.close()


def test_a_folder_that_disappears_in_mid_file(
    scripted: ScriptedServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Removed with all that is in it, as by an unmount: the route's fault, and fetched anew."""
    way = Way(scripted, tmp_path / "towline", monkeypatch)
    way.put()

    def watch(change: Change) -> None:
        if change.call == "dress":
            shutil.rmtree(way.one.landed)
            way.disk.watch = lambda _: None

    way.disk.watch = watch
    with pytest.raises(StoreRefused, match="No such file or directory; make the folder, or mount its disk"):
        way.one.fetch()
    way.judge()
    way.one.close()


@pytest.mark.parametrize("call", ["write", "dress", "sync-folder", "rename"])
def test_a_folder_that_becomes_a_link_in_mid_file(
    scripted: ScriptedServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str
) -> None:
    """A folder below the route's is exchanged for a link in mid-transfer: nothing is written through it."""
    way = Way(scripted, tmp_path / "towline", monkeypatch, recursive=True, remote=b"/")
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "a").write_bytes(b"precious")
    folder = way.one.landed / "sub"
    relative = b"sub/a"
    temp = way.one.store.open_temp(relative, ".towline-1", resume=True)

    def exchange(change: Change) -> None:
        if change.call == call:
            way.disk.watch = lambda _: None
            folder.rename(way.one.landed / "moved")
            folder.symlink_to(outside)

    way.disk.watch = exchange
    store = way.one.store

    def publish() -> None:
        temp.write(b"hostile")
        store.sync([temp], [None])
        store.sync_folders([relative])
        store.publish(relative, ".towline-1", replace=True)
        # The rename itself was made in the folder that was opened, whatever its name leads to by then.
        store.sync_folders([relative])

    with pytest.raises(NameRefused, match="link"):
        publish()
    temp.close()
    assert {one.name: one.read_bytes() for one in outside.iterdir()} == {"a": b"precious"}
    way.one.close()


def test_a_folder_nobody_may_write_to_is_told_with_what_to_do(
    scripted: ScriptedServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No permission: for root there is always one, so the seam refuses."""
    way = Way(scripted, tmp_path / "towline", monkeypatch)
    way.put()

    def watch(change: Change) -> None:
        raise OSError(errno.EACCES, os.strerror(errno.EACCES))

    way.disk.watch = watch
    with pytest.raises(
        StoreRefused, match="Permission denied; let the user that Towline runs as write there"
    ):
        way.one.fetch()
    way.one.close()
