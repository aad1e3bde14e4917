"""A group is published while the line brings the next one: neither waits, and each end is told once."""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.servers.fetching import Fetching
from tests.servers.server import FtpServer
from tests.waiting import wait_until
from workers.errors import StoreRefused
from workers.ledger.values import Claim
from workers.stores.local import LocalFolder

BIG = 4_000_000
"""Several blocks: between two of them a transfer is asked whether it may go on."""


class Folder(LocalFolder):
    """Each file is a group of its own; `publishing` is called first, in the thread that publishes."""

    group_bytes = 1

    def __init__(self, one: Fetching, publishing: Callable[[bytes], None]) -> None:
        super().__init__(one.landed, route=one.route.name)
        self._publishing = publishing

    def publish(self, final: bytes, temp: str, *, replace: bool) -> None:
        """As a folder does."""
        self._publishing(final)
        super().publish(final, temp, replace=replace)


class Scene:
    """Files a, b and c, ready, to be fetched in this order; `at_b` is set once the line brings b."""

    def __init__(self, one: Fetching) -> None:
        self.one = one
        self.at_b = threading.Event()
        self.content = {name: os.urandom(BIG) for name in ("a", "b", "c")}
        for name, content in self.content.items():
            (one.folder.parent / "root" / name).write_bytes(content)
        assert one.poll() == 3
        self.claims = sorted(one.claim(), key=lambda claim: claim.path)

    def holds(self, then: Callable[[], None] = lambda: None) -> Callable[[int], bool]:
        """For `fetch`, which asks before each file and between blocks. then: done in the middle of b."""
        asked: list[int] = []

        def hold(path_id: int) -> bool:
            asked.append(path_id)
            if asked.count(self.claims[1].path_id) == 2:
                self.at_b.set()
                then()
            return True

        return hold

    def stop(self) -> None:
        """From now on no file goes on."""
        self.one.stop.begin(0.0)

    def all_came_once(self) -> None:
        """Whoever comes next fetches what is due, and each file is published once."""
        self.one.stop.clear()
        self.one.store = LocalFolder(self.one.landed, route=self.one.route.name)
        while self.one.fetch().published:
            pass
        assert self.one.files() == self.content
        assert self.one.states() == dict.fromkeys(("/a", "/b", "/c"), "FINISHED")
        assert {row.attempts for row in self.one.ledger.history.rows("statements", limit=9)} == {0}


@pytest.fixture
def scene(start_server: Callable[..., FtpServer], tmp_path: Path) -> Iterator[Scene]:
    server = start_server("pyftpdlib")
    (tmp_path / "root").symlink_to(server.root)
    one = Fetching(server, tmp_path / "towline")
    yield Scene(one)
    one.close()


def test_the_line_brings_the_next_file_while_one_is_published(scene: Scene) -> None:
    """a's publication does not end before b is being received: if the line waited for it, neither ended."""

    def until_b(final: bytes) -> None:
        if final == b"a":
            wait_until(scene.at_b.is_set, what="the line brings b")

    scene.one.store = Folder(scene.one, until_b)
    assert scene.one.fetch(scene.claims, scene.holds()).published == 3
    scene.all_came_once()


def test_what_is_half_published_at_a_stop_comes_to_its_end(scene: Scene) -> None:
    """The batch leaves in the middle of b; a counts, and its claim is not given back."""

    def until_b(_: bytes) -> None:
        wait_until(scene.at_b.is_set, what="the line brings b")

    scene.one.store = Folder(scene.one, until_b)
    done = scene.one.fetch(scene.claims, scene.holds(scene.stop))
    assert [receipt.path for receipt in done.files] == [b"/a"]
    assert [what for what, _ in done.took] == ["published"]
    assert _claimed(scene.one) == []
    scene.all_came_once()


def test_a_place_that_refuses_ends_the_batch_before_another_file_is_asked_for(scene: Scene) -> None:
    """The refusal is raised when b has come; c is not fetched, for it could not land either."""
    begun: list[Claim] = []

    def refuse(_: bytes) -> None:
        wait_until(scene.at_b.is_set, what="the line brings b")
        raise StoreRefused("statements", "in", "the disk is gone")

    def hold(path_id: int) -> bool:
        begun.extend(claim for claim in scene.claims if claim.path_id == path_id and claim not in begun)
        return asked(path_id)

    asked = scene.holds()
    scene.one.store = Folder(scene.one, refuse)
    with pytest.raises(StoreRefused, match="the disk is gone"):
        scene.one.fetch(scene.claims, hold)
    assert [claim.path for claim in begun] == [b"/a", b"/b"]
    assert _claimed(scene.one) == []
    scene.all_came_once()


def test_a_refusal_on_the_way_out_is_told_and_hides_nothing(
    scene: Scene, caplog: pytest.LogCaptureFixture
) -> None:
    """Stopped in the middle of b, and a refused: the stop is what counts; a is due, its intent still open."""

    def refuse(_: bytes) -> None:
        wait_until(scene.at_b.is_set, what="the line brings b")
        raise StoreRefused("statements", "in", "the disk is gone")

    scene.one.store = Folder(scene.one, refuse)
    with caplog.at_level(logging.WARNING, "towline.transfer"):
        assert scene.one.fetch(scene.claims, scene.holds(scene.stop)).files == []
    [told] = [one.getMessage() for one in caplog.records if "not published" in one.getMessage()]
    assert "the disk is gone" in told
    assert _claimed(scene.one) == []
    scene.all_came_once()


def _claimed(one: Fetching) -> list[str]:
    """Paths that somebody holds."""
    return [path for path, state in one.states().items() if "CLAIMED" in state]
