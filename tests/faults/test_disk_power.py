"""Power cuts: at each point of a file's way, whatever a disk may have kept, nothing is torn or lost."""

from __future__ import annotations

import copy
import errno
import os
import random
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Connection

from tests.faults.disk import Change, Disk
from tests.faults.power import Image, PowerCut
from tests.faults.scripted import ScriptedServer
from tests.servers.certificates import Certificates
from tests.servers.fetching import Fetching
from tests.waiting import wait_until
from workers.ledger import State
from workers.ledger.engine import Database
from workers.stores import boot, renaming

SEED = 8
IMAGES = 400
"""At most so many images a point; all of them, where there are no more."""
RECOVERED = 40
"""So many of all images are recovered from in the ordinary run, drawn."""
MANY = 250
"""… and so many of each way in the long one."""

Contents = dict[bytes, list[bytes]]
"""Names → the contents of their versions, oldest first."""


@dataclass(frozen=True, slots=True)
class Point:
    """A moment of the way: what the disk is sure of, the ledger with its lock files, the server's files.

    published: the newest published content by name. intended: the contents with an open intent, by name.
    """

    label: str
    cut: PowerCut
    ledger: dict[str, bytes]
    server: dict[bytes, bytes]
    published: dict[bytes, bytes]
    intended: dict[bytes, bytes]


class Recording:
    """Two rounds of a route, with a point before and after each change of the disk and after each commit."""

    def __init__(self, server: Any, folder: Path, patch: pytest.MonkeyPatch, **keys: Any) -> None:
        if keys.pop("steps", None):
            patch.setattr(renaming, "_renameat2", _not_known)
        self.server = server
        self.folder = folder
        self.keys = keys
        self.points: list[Point] = []
        self.sent: Contents = {}
        folder.mkdir()
        self._cut = PowerCut(folder.stat().st_ino)
        with patch.context() as during:
            disk = Disk(done=self._made)
            disk.install(during)
            self._mark_commits(during)
            self.one = Fetching(server, folder, **keys)
            self._round({b"a": os.urandom(40_000), b"b": os.urandom(300), b"c": b""})
            self._round({b"a": os.urandom(30_000), b"d": os.urandom(20_000)})
            self.one.close()

    def _round(self, files: dict[bytes, bytes]) -> None:
        for name, content in files.items():
            self.sent.setdefault(name, []).append(content)
            self.server.files[b"/" + name] = content
        self.one.poll()
        assert self.one.fetch().published == len(files)
        _clear(self.one)

    def _mark_commits(self, patch: pytest.MonkeyPatch) -> None:
        write = Database.write

        @contextmanager
        def marked(database: Database) -> Iterator[Connection]:
            with write(database) as connection:
                yield connection
            self._mark("committed")

        patch.setattr(Database, "write", marked)

    def _made(self, change: Change) -> None:
        self._cut.follow(change)
        self._mark(f"{change.call} {change.name.decode()} {change.new.decode()}".strip())

    def _mark(self, label: str) -> None:
        if not hasattr(self, "one"):
            return
        published: dict[bytes, bytes] = {}
        intended: dict[bytes, bytes] = {}
        for row in sorted(self.one.ledger.history.rows(limit=99), key=lambda row: row.version_id):
            name = row.path.removeprefix(b"/")
            [content] = [one for one in self.sent[name] if len(one) == row.size]
            if row.state in (State.PUBLISHED, State.FINISHED):
                published[name] = content
            elif row.state == State.PUBLISHING:
                intended[name] = content
        ledger = {
            str(one.relative_to(self.folder)): one.read_bytes()
            for one in self.folder.rglob("*")
            if one.is_file() and self.one.landed not in one.parents and not one.name.endswith("-shm")
        }
        cut = copy.deepcopy(self._cut)
        server = dict(self.server.files)
        label = f"{len(self.points)}: {label}"
        self.points.append(Point(label, cut, ledger, server, published, intended))

    def recover(self, point: Point, image: Image, patch: pytest.MonkeyPatch) -> dict[str, bytes]:
        """Put this image and the point's ledger in place, start anew, and work until nothing is due."""
        shutil.rmtree(self.folder)
        self.folder.mkdir()
        names: dict[int, Path] = {}
        for path, content in sorted(image.items()):
            there = self.folder / os.fsdecode(path)
            if content is None:
                there.mkdir()
            elif id(content) in names:
                there.hardlink_to(names[id(content)])
            else:
                there.write_bytes(content)
                names[id(content)] = there
        for name, kept in point.ledger.items():
            there = self.folder / name
            there.parent.mkdir(exist_ok=True)
            there.write_bytes(kept)
        self.server.files = dict(point.server)
        started = time.time()
        patch.setattr(boot, "booted_at", lambda: started)
        one = Fetching(self.server, self.folder, **self.keys)
        try:
            one.ledger.claims.end_leases()
            while one.poll():
                assert one.fetch().published
            _clear(one)
            one.store.sweep(one.ledger.claims.temps("statements", str(one.route.local)), idle=-1)
            return one.files()
        finally:
            one.close()

    def known(self, point: Point) -> Contents:
        """The contents of the names that had been sent by then, oldest first."""
        number = self.points.index(point)
        names = {name.removeprefix(b"/") for one in self.points[: number + 1] for name in one.server}
        return {name: contents for name, contents in self.sent.items() if name in names}

    def images(self, point: Point, draw: random.Random) -> Iterator[Image]:
        return point.cut.images(draw, IMAGES)


def _clear(one: Fetching) -> None:
    """Work at the sources until all is finished: what was held when the power went is due in a moment."""

    def finished() -> bool:
        one.clear(hold_s=2)
        return {row.state for row in one.ledger.history.rows(limit=99) if row.latest} <= {State.FINISHED}

    wait_until(finished, 60, what="all are finished")


def _not_known(folder: int, old: bytes, new: bytes) -> None:
    raise OSError(errno.EINVAL, os.strerror(errno.EINVAL))


@pytest.fixture
def scripted(certificates: Certificates) -> Iterator[ScriptedServer]:
    with ScriptedServer(certificates) as server:
        yield server


def landed(image: Image) -> dict[bytes, bytes]:
    """What lies under final names."""
    return {
        path.removeprefix(b"in/"): content
        for path, content in image.items()
        if content is not None and not path.startswith(b"in/.towline-")
    }


WAYS = [
    {"after": "keep"},
    {"after": "delete"},
    {"after": "keep", "on_exists": "version"},
    {"after": "keep", "on_exists": "version", "steps": "in two steps"},
]
"""Keys of the route; steps: where the file system knows no rename that never replaces."""


@pytest.mark.parametrize("keys", WAYS, ids=lambda keys: " ".join(keys.values()))
def test_what_has_a_final_name_or_is_published_is_whole_after_a_power_cut(
    scripted: ScriptedServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, keys: dict[str, Any]
) -> None:
    """At every point, in every image: no torn file; what the ledger calls published is there, or a newer one
    of its name; a source that was deleted has a copy."""
    recording = Recording(scripted, tmp_path / "towline", monkeypatch, **keys)
    draw = random.Random(SEED)
    looked_at = 0
    for point in recording.points:
        for image in recording.images(point, draw):
            looked_at += 1
            there = landed(image)
            whole = [content for contents in recording.sent.values() for content in contents]
            for name, content in there.items():
                assert content in whole, f"torn: {name!r} at {point.label}"
            for name, content in point.published.items():
                known = recording.sent[name]
                newer = known[known.index(content) :] if keys.get("on_exists") != "version" else [content]
                assert set(newer) & set(there.values()), f"published and lost: {name!r} at {point.label}"
            for name, content in point.intended.items():
                # By this an open intent is settled: no temp of that name means that it was renamed.
                assert content in image.values(), f"neither temp nor file: {name!r} at {point.label}"
            for name in recording.known(point):
                copies = set(recording.sent[name]) & set(there.values())
                assert copies or b"/" + name in point.server, f"deleted early: {name!r} at {point.label}"
    assert len(recording.points) > 40
    assert looked_at > 300


def _recovered(
    server: ScriptedServer, folder: Path, patch: pytest.MonkeyPatch, keys: dict[str, Any], most: int
) -> int:
    """Recover from so many images, drawn over all points; returns how many there were."""
    recording = Recording(server, folder, patch, **keys)
    draw = random.Random(SEED)
    cases = [(point, image) for point in recording.points for image in recording.images(point, draw)]
    chosen = draw.sample(cases, min(most, len(cases)))
    for point, image in chosen:
        found = recording.recover(point, image, patch)
        for name, contents in recording.known(point).items():
            due = point.server[b"/" + name] if b"/" + name in point.server else point.published[name]
            if keys.get("on_exists") == "version":
                assert due in found.values(), f"lost: {name!r} at {point.label}"
            else:
                assert found.get(name.decode()) == due, f"lost or torn: {name!r} at {point.label}"
            assert due in contents
        everything = [content for contents in recording.sent.values() for content in contents]
        assert all(found[name] in everything for name in found), f"torn or left over, at {point.label}"
        assert len(found) == len(set(found.values())), f"doubled, at {point.label}"
    return len(chosen)


@pytest.mark.parametrize("keys", WAYS, ids=lambda keys: " ".join(keys.values()))
def test_the_next_rounds_bring_everything_after_a_power_cut(
    scripted: ScriptedServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, keys: dict[str, Any]
) -> None:
    """A seeded sample: all is there, once and whole, nothing is left over."""
    assert _recovered(scripted, tmp_path / "towline", monkeypatch, keys, RECOVERED // len(WAYS))


@pytest.mark.long
@pytest.mark.timeout(1200)
@pytest.mark.parametrize("keys", WAYS, ids=lambda keys: " ".join(keys.values()))
def test_the_next_rounds_bring_everything_after_many_power_cuts(
    scripted: ScriptedServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, keys: dict[str, Any]
) -> None:
    """The same, from a good third of all images."""
    assert _recovered(scripted, tmp_path / "towline", monkeypatch, keys, MANY) == MANY


def test_without_fsync_no_more_is_lost_than_is_said(
    scripted: ScriptedServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`durability = "rename"`: what was on its way to its name, or published and not yet written back by the
    kernel, may be missing or torn. Its source is there, and all other files arrive whole."""
    keys = {"durability": "rename"}
    recording = Recording(scripted, tmp_path / "towline", monkeypatch, **keys)
    draw = random.Random(SEED)
    cases = [(point, image) for point in recording.points for image in recording.images(point, draw)]
    harmed = 0
    for point, image in draw.sample(cases, RECOVERED // 2):
        found = recording.recover(point, image, monkeypatch)
        may_be_lost = set(point.published) | set(point.intended)
        for name, contents in recording.known(point).items():
            assert point.server[b"/" + name] in contents, "the source stays"
            whole = found.get(name.decode()) == point.server[b"/" + name]
            assert whole or name in may_be_lost, f"{name!r} at {point.label}"
            harmed += not whole
    assert harmed, "the images hold no harm: they prove nothing for the other tests"
