"""The witness is held to account: a fault of each kind is planted, and seen in its set and no other."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.witness import verdict as verdicts
from tests.witness.document import composed, judged
from tests.witness.verdict import Row, Verdict, verdict
from tests.witness.watcher import Folders, Watcher
from tests.witness.writer import Journal, Writer
from workers.stores.naming import TEMP_PREFIX

ROUTE = "in"
TEMP = os.fsdecode(TEMP_PREFIX)


class Scene:
    """A route whose Towline is played by the test: `land` and `clear` do what it would."""

    def __init__(self, folder: Path) -> None:
        self.folders = Folders(ROUTE, folder / "out", folder / "in", folder / "archive")
        self.journal = Journal()
        self.writer = Writer(ROUTE, self.folders.source, self.journal)
        (folder / "desk").mkdir()
        self.watcher = Watcher(folder / "desk", self.folders)
        self.rows: list[Row] = []

    def read(self, name: str) -> bytes:
        """What is in the server's folder."""
        return (self.folders.source / name).read_bytes()

    def land(self, name: str, content: bytes) -> None:
        """Publish as Towline does, by a rename of a temp; and tell the ledger."""
        temp = self.folders.target / f"{TEMP}{name}"
        with temp.open("wb") as file:
            file.write(content)
            file.flush()
            self.watcher.catch_up()  # Towline's own live for some milliseconds at least
            temp.rename(self.folders.target / name)
        document = judged(content)
        self.rows.append(Row(ROUTE, name, document.sha256 if document is not None else ""))

    def fetch(self, name: str) -> None:
        """Bring in what is there now."""
        self.land(name, self.read(name))

    def clear(self, name: str) -> None:
        """Delete it at the server."""
        (self.folders.source / name).unlink()

    def verdict(self, temps: tuple[str, ...] = ()) -> Verdict:
        return verdict(self.journal, self.watcher, self.rows, temps)


@pytest.fixture
def scene(tmp_path: Path) -> Iterator[Scene]:
    made = Scene(tmp_path)
    with made.watcher:
        yield made


def found(scene: Scene, **sets: int) -> bool:
    """Whether exactly these sets are not empty."""
    return {name: count for name, count in scene.verdict().counts().items() if count} == sets


def test_a_life_without_faults_is_clean(scene: Scene) -> None:
    """Put, replaced, grown, renamed, removed, fetched, deleted, moved: nothing of it is a fault."""
    for name in ("a", "b", "c", "d.xml", "e"):
        scene.writer.put(name)
        scene.fetch(name)
    scene.writer.put("a")
    scene.fetch("a")
    scene.writer.grow("b")
    scene.fetch("b")
    scene.writer.rename("c", "c.new")
    scene.fetch("c.new")
    scene.clear("a")
    (scene.folders.source / "b").rename(scene.folders.source.parent / "archive" / "b")
    scene.writer.remove("e")
    scene.writer.put("a")
    scene.fetch("a")
    scene.land("d.2.xml", composed(ROUTE, "d.xml", scene.writer.put("d.xml"), 5000))
    assert scene.verdict().clean, str(scene.verdict())
    assert len(scene.watcher.removals) == 2
    assert len(scene.watcher.appearances) == 10


def test_versions_that_follow_each_other_at_once_are_told_apart(scene: Scene) -> None:
    """The kernel merges equal events; which version a deletion meets is known all the same."""
    for _ in range(100):
        scene.writer.put("a")
    scene.fetch("a")
    scene.clear("a")
    assert scene.verdict().clean
    assert len(scene.watcher.comings) == 100


def test_what_was_replaced_or_taken_away_before_it_was_fetched_was_never_owed(scene: Scene) -> None:
    """SUPERSEDED and VANISHED are outcomes; only the version that stands in the end is owed."""
    scene.writer.put("a")
    scene.writer.put("b")
    scene.writer.put("a")
    scene.writer.remove("b")
    scene.fetch("a")
    assert scene.verdict().clean


def test_a_file_that_stands_there_and_never_came_is_lost(scene: Scene) -> None:
    """Also a newer version of one that did come."""
    for name in ("never", "newer"):
        scene.writer.put(name)
    scene.fetch("newer")
    scene.writer.grow("newer")
    assert found(scene, lost=2)


def test_a_version_that_came_twice_is_doubled(scene: Scene) -> None:
    """Under the same name, and under a numbered one."""
    for name in ("a.xml", "b.xml"):
        scene.writer.put(name)
        scene.fetch(name)
    scene.fetch("a.xml")
    scene.land("b.2.xml", scene.read("b.xml"))
    assert found(scene, doubled=2)


@pytest.mark.parametrize(
    "break_it",
    [
        lambda content: content[:-1],
        lambda content: content[: len(content) // 2] + bytes(len(content) - len(content) // 2),
        lambda content: content[:600] + composed(ROUTE, "a", 99, 1000)[600:],
        lambda _: b"",
        lambda _: composed(ROUTE, "b", 1, 1000),
    ],
    ids=["cut", "filled with zeros", "glued of two", "empty", "another file's"],
)
def test_bytes_that_are_no_version_of_the_file_are_torn(
    scene: Scene, break_it: Callable[[bytes], bytes]
) -> None:
    """Even where the whole file takes its place at once."""
    scene.writer.put("b")
    scene.fetch("b")
    scene.writer.put("a")
    scene.land("a", break_it(scene.read("a")))
    scene.rows.pop()
    scene.fetch("a")
    assert found(scene, torn=1)


def test_a_file_that_is_written_under_its_final_name_is_torn(scene: Scene) -> None:
    """Somebody who takes whatever is there would have taken nothing, or half of it."""
    scene.writer.put("a")
    (scene.folders.target / "a").write_bytes(scene.read("a"))
    assert len(scene.verdict().torn) == 1


def test_a_published_file_that_is_written_to_is_torn(scene: Scene) -> None:
    """Whoever frozen thaws and goes on writing writes into what was published meanwhile."""
    scene.writer.put("a")
    scene.fetch("a")
    scene.watcher.catch_up()  # whoever is frozen for less than a glance writes before it was seen whole
    with (scene.folders.target / "a").open("ab") as file:
        file.write(b"late")
    assert found(scene, torn=1)


def test_an_older_version_over_a_newer_one_is_stale(scene: Scene) -> None:
    """Each of them whole, and each published once."""
    scene.writer.put("a")
    older = scene.read("a")
    scene.writer.put("a")
    scene.fetch("a")
    scene.land("a", older)
    assert found(scene, stale=1)


def test_a_temp_that_nobody_goes_on_with_is_orphaned(scene: Scene) -> None:
    """Told by whoever asked the ledger; the verdict carries it."""
    assert scene.verdict(temps=(f"{TEMP}0",)).counts()["orphaned"] == 1


@pytest.mark.parametrize("fetched", [False, True])
def test_a_source_removed_before_it_was_published_is_early(scene: Scene, fetched: bool) -> None:
    """Though it is published a moment later: a crash in between would have lost it."""
    scene.writer.put("a")
    content = scene.read("a")
    scene.clear("a")
    if fetched:
        scene.land("a", content)
    assert found(scene, early=1, **({} if fetched else {"lost": 1}))


@pytest.mark.parametrize("grown", [False, True])
def test_a_newer_version_removed_in_place_of_the_published_one_is_early(
    scene: Scene, monkeypatch: pytest.MonkeyPatch, grown: bool
) -> None:
    """Unless it came in the moment between question and deletion, which is not promised."""
    scene.writer.put("a")
    scene.fetch("a")
    scene.writer.grow("a") if grown else scene.writer.put("a")
    scene.clear("a")
    monkeypatch.setattr(verdicts, "MOMENT_S", math.inf)
    assert scene.verdict().clean
    monkeypatch.setattr(verdicts, "MOMENT_S", 0.0)
    assert found(scene, early=1, lost=1)


def test_a_row_without_bytes_is_a_ghost(scene: Scene) -> None:
    """Published, says the ledger; but nobody has ever seen it."""
    scene.writer.put("a")
    scene.fetch("a")
    scene.rows.append(Row(ROUTE, "b", "0" * 64))
    scene.rows.append(Row(ROUTE, "a", "0" * 64))
    assert found(scene, ghosts=2)


def test_a_file_that_is_replaced_at_once_is_seen_all_the_same(scene: Scene) -> None:
    """A torn file that lives for some microseconds is seen: the witness has it open before it is renamed."""
    scene.writer.put("a")
    temps = [scene.folders.target / f"{TEMP}{number}" for number in range(50)]
    for temp in temps:
        temp.write_bytes(b"half")
    scene.watcher.catch_up()
    for temp in temps:
        temp.rename(scene.folders.target / "a")
    scene.fetch("a")
    assert found(scene, torn=50)


def test_what_the_watcher_could_not_read_is_said(scene: Scene) -> None:
    """Files that come without a temp of Towline's, and are replaced at once: each was read, or is missed."""
    drafts = [scene.folders.target.parent / "archive" / f"{number}" for number in range(200)]
    for draft in drafts:
        draft.write_bytes(b"half")
    for draft in drafts:
        draft.rename(scene.folders.target / "a")
    counts = scene.verdict().counts()
    assert counts["torn"] + counts["missed"] == 200
    assert not scene.verdict().clean
