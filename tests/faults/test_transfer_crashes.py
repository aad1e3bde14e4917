"""What the next claim makes of what a killed worker has left, where the world has changed meanwhile.

That every place is survived is shown in test_crash_points.py.
"""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.faults.nursery import Nursery
from tests.servers.fetching import Fetching
from tests.servers.server import FtpServer
from tests.waiting import wait_until
from workers.errors import StoreRefused
from workers.stores.store import OVERLAP

StartServer = Callable[..., FtpServer]

BIG = 2_000_000


class Scene:
    """A server with three files, all ready; `crash` has a worker fetch them until it is killed."""

    def __init__(self, server: FtpServer, folder: Path, nursery: Nursery, **keys: Any) -> None:
        self.server = server
        self.folder = folder
        self.nursery = nursery
        self.sent = {"a": os.urandom(BIG), "b": b"", "c": os.urandom(BIG)}
        for name, content in self.sent.items():
            (server.root / name).write_bytes(content)
            os.utime(server.root / name, (1_600_000_000, 1_600_000_000))
        self.one = Fetching(server, folder, **keys)
        assert self.one.poll() == 3

    def crash(self, at: str) -> None:
        """A worker in a process of its own, killed at this point."""
        self.nursery.dies_of_fetching(self.one, at)

    def recover(self) -> int:
        """Fetch until nothing is due (the file in a dead worker's hands comes alone); how many arrived."""
        published = 0
        while count := self.one.fetch().published:
            published += count
        return published

    def sends(self, count: int) -> list[str]:
        """Paths of the files with bytes that were sent whole, once there are so many."""

        def sent() -> list[str]:
            return sorted(path for path in self.server.retrieved() if path != "/b")

        wait_until(lambda: len(sent()) >= count)
        return sent()


@pytest.fixture
def scene(start_server: StartServer, tmp_path: Path, nursery: Nursery) -> Iterator[Callable[..., Scene]]:
    scenes: list[Scene] = []

    def make(**keys: Any) -> Scene:
        scenes.append(Scene(start_server("pyftpdlib"), tmp_path / "towline", nursery, **keys))
        return scenes[-1]

    yield make
    for one in scenes:
        one.one.close()


@pytest.mark.parametrize(
    "at", ["received:3", "asked-again", "synced", "intended", "renamed:2", "folder-synced"]
)
def test_what_is_in_the_temps_is_not_sent_again(scene: Callable[..., Scene], at: str) -> None:
    """Once all bytes of a file have come, a death costs none of them; and no file is charged for it."""
    here = scene()
    here.crash(at)
    assert here.recover() == 3
    assert here.one.files() == here.sent
    assert here.sends(2) == ["/a", "/c"]
    assert {row.attempts for row in here.one.ledger.history.rows(limit=10)} == {0}


@pytest.mark.parametrize("on_exists", ["replace", "version"])
def test_an_open_intent_whose_temp_is_there_is_finished(scene: Callable[..., Scene], on_exists: str) -> None:
    """Killed between intent and rename: the rename is done, and not a byte fetched."""
    here = scene(on_exists=on_exists)
    here.crash("intended")
    assert here.recover() == 3
    assert here.one.files() == here.sent
    assert here.sends(2) == ["/a", "/c"]


def test_an_open_intent_is_finished_though_the_consumer_was_quick(scene: Callable[..., Scene]) -> None:
    """Renamed, moved on by its consumer, and then the kill: it was published, and isn't fetched again."""
    here = scene()
    here.crash("folder-synced")
    shutil.move(here.one.landed / "a", here.folder / "consumed")
    assert here.recover() == 3
    assert here.one.files() == {"b": here.sent["b"], "c": here.sent["c"]}
    assert here.one.states()["/a"] == "FINISHED"
    assert here.sends(2) == ["/a", "/c"]


def test_an_open_intent_is_not_believed_where_the_disk_is_missing(scene: Callable[..., Scene]) -> None:
    """The target's disk isn't mounted after a crash: an old folder proves nothing, and nothing is lost."""
    here = scene()
    os.utime(here.server.root / "a")
    here.one.poll()
    here.crash("intended")
    shutil.move(here.one.landed, here.folder / "disk")
    here.one.landed.mkdir()
    os.utime(here.one.landed, (1_500_000_000, 1_500_000_000))
    with pytest.raises(StoreRefused, match="mounted"):
        here.one.fetch()
    assert here.one.files() == {}
    here.one.landed.rmdir()
    with pytest.raises(StoreRefused, match="No such file"):
        here.one.fetch()
    shutil.move(here.folder / "disk", here.one.landed)
    here.recover()
    assert here.one.files() == here.sent


def test_an_open_intent_of_which_nothing_is_left_is_taken_back(scene: Callable[..., Scene]) -> None:
    """Without fsyncs a power cut takes temp and file: what is nowhere is fetched again, and only that."""
    here = scene(durability="rename")
    here.crash("folder-synced")
    (here.one.landed / "a").unlink()
    assert here.recover() == 3
    assert here.one.files() == here.sent
    assert here.sends(3) == ["/a", "/a", "/c"]


def test_a_temp_that_is_not_what_its_intent_says_is_not_published(scene: Callable[..., Scene]) -> None:
    """A disk that lost the end of a temp: size and digest are held against the intent before the rename."""
    here = scene(durability="rename")
    here.crash("intended")
    for temp in here.one.landed.glob(".towline-*"):
        os.truncate(temp, temp.stat().st_size // 2)
    assert here.recover() == 3
    assert here.one.files() == here.sent


def test_a_name_that_came_to_be_used_meanwhile_is_not_replaced(scene: Callable[..., Scene]) -> None:
    """Between intent and rename somebody else wrote: with `version` theirs stays, ours gets a number."""
    here = scene(on_exists="version")
    here.crash("intended")
    (here.one.landed / "a").write_bytes(b"theirs")
    here.recover()
    assert here.one.files() == {**here.sent, "a": b"theirs", "a.2": here.sent["a"]}
    assert here.sends(2) == ["/a", "/c"]


def test_a_kill_in_mid_file_is_resumed(scene: Callable[..., Scene]) -> None:
    """The bytes that lie in the dead worker's temp are taken over under the new fence."""
    here = scene()
    here.crash("receiving:5")
    # How much a worker holds at its fifth block is the machine's affair; half a file is more than is
    # compared.
    [temp] = [temp for temp in here.one.landed.glob(".towline-*") if 0 < temp.stat().st_size < BIG]
    [whole] = [content for content in here.sent.values() if content and content.startswith(temp.read_bytes())]
    temp.write_bytes(whole[: BIG // 2])
    assert here.recover() == 3
    assert here.one.files() == here.sent

    def sizes() -> set[int]:
        told = (here.server.folder / "output").read_text()
        return set(map(int, re.findall(r"RETR .* completed=1 bytes=(\d+)", told)))

    # A little of what is there is asked for once more, and compared.
    wait_until(lambda: BIG // 2 + OVERLAP in sizes(), what="the rest was sent")
