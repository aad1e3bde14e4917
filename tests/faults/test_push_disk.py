"""A partner's disk that is really full, behind real servers: each says it in a way of its own."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from tests.faults.small_disk import SmallDisk
from tests.servers.command import Site
from tests.servers.pushing import Pushing
from tests.servers.server import FtpServer
from workers.errors import StoreRefused
from workers.stores.naming import TEMP_PREFIX

SERVERS = ["vsftpd", "proftpd", "pure-ftpd"]

Partner = tuple[Pushing, SmallDisk]


@pytest.fixture
def partner(start_server: Callable[..., FtpServer], tmp_path: Path) -> Iterator[Callable[..., Partner]]:
    """partner("vsftpd", …) → a push route to it, and the disk of 8 MiB that its folder lies on."""
    with ExitStack() as opened:

        def start(name: str, **keys: Any) -> Partner:
            server = start_server(name)
            disk = opened.enter_context(SmallDisk(server.root / "in", "8m"))
            server.stop()
            server.start(disk.within)
            opened.callback(server.stop)  # before its disk is gone
            one = Pushing(server, tmp_path / "towline", max_attempts=1, **keys)
            opened.callback(one.close)
            one.landed = disk.path
            one.landed.chmod(0o777)
            return one, disk

        yield start


def put_one_by_one(one: Pushing, sent: dict[str, bytes]) -> None:
    """In the order in which they will be claimed."""
    for name, content in sent.items():
        one.put(name, content)
        one.poll()


def whole(one: Pushing, sent: dict[str, bytes]) -> bool:
    """Whether what has a final name there is what was sent under that name."""
    there = {name: content for name, content in one.files().items() if name in sent}
    return all(content == sent[name] for name, content in there.items())


def temps(one: Pushing) -> list[str]:
    return [name for name in one.files() if name.encode().startswith(TEMP_PREFIX)]


@pytest.mark.long
@pytest.mark.parametrize("leave", [0, 500_000], ids=["nothing is left", "a large file does not fit"])
@pytest.mark.parametrize("name", SERVERS)
def test_a_full_disk_holds_the_route_back_until_there_is_room(
    partner: Callable[..., Partner], name: str, leave: int
) -> None:
    """Nothing half has its name, no file is charged, what fits before it arrives, and the rest by itself."""
    one, disk = partner(name)
    sent = {"small": b"small enough", "next": os.urandom(30_000), "large": os.urandom(3_000_000)}
    taken = disk.fill(leave=leave)
    put_one_by_one(one, sent)
    for _ in range(3):
        with pytest.raises(StoreRefused, match=r"is not taken: STOR: 45\d .*; the server's owner") as told:
            one.push()
        assert told.value.args[:2] == ("orders", "bank:/in")
        assert str(one.source) in told.value.args[2], "which file it was"
        assert temps(one) == [], "what is left there keeps the partner's disk full"
        assert whole(one, sent)
        assert "large" not in one.files()
        assert {path.name: path.read_bytes() for path in one.source.iterdir()} == sent
    assert one.states()["large"] == "READY"
    assert {row.attempts for row in one.ledger.history.rows("orders", limit=9)} == {0}
    taken.unlink()
    one.push()
    assert one.files() == sent
    assert set(one.states().values()) == {"FINISHED"}


@pytest.mark.long
@pytest.mark.parametrize("name", SERVERS)
def test_an_upload_that_may_be_resumed_goes_on_once_there_is_room(
    partner: Callable[..., Partner], name: str
) -> None:
    """`resume_uploads`: what the disk took stays, under a temp's name, and need not be sent again."""
    one, disk = partner(name, resume_uploads=True)
    content = os.urandom(3_000_000)
    taken = disk.fill(leave=1_000_000)
    one.put("large", content)
    one.poll()
    for _ in range(2):
        with pytest.raises(StoreRefused):
            one.push()
        [temp] = temps(one)
        held = one.files()[temp]
        assert len(held) > 500_000
        assert content.startswith(held)
    taken.unlink()
    before = one.tally.bytes
    assert one.push().published == 1
    assert one.tally.bytes - before == len(content) - len(held)
    assert one.files() == {"large": content}


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=[pytest.mark.long] * (name != "vsftpd")) for name in SERVERS]
)
def test_one_file_that_does_not_fit_keeps_no_other_from_its_name(
    partner: Callable[..., Partner], name: str
) -> None:
    """It is told of and not charged, whether others come before it or behind."""
    one, disk = partner(name)
    sent = {"a": b"before", "b": os.urandom(3_000_000), "c": b"behind"}
    taken = disk.fill(leave=500_000)
    put_one_by_one(one, sent)
    outcome = one.push()
    assert (outcome.published, outcome.failed) == (2, 1)
    assert "b: STOR: 451" in (outcome.first_error or "")
    assert one.files().keys() - {taken.name} == {"a", "c"}
    assert one.states() == {"a": "FINISHED", "b": "READY", "c": "FINISHED"}
    taken.unlink()
    # It would let others come first for a minute.
    assert one.ledger.claims.retry("orders", one.folder_path(b"b"))
    assert one.push().published == 1
    assert one.files() == sent


@pytest.mark.long
@pytest.mark.parametrize("name", SERVERS)
def test_put_says_that_there_is_no_room_and_leaves_nothing(
    start_server: Callable[..., FtpServer], name: str, tmp_path: Path
) -> None:
    """In the foreground as well: the path, the server's words, exit code 1, and nothing is left there."""
    server = start_server(name)
    site = Site(tmp_path / "site", server)
    (tmp_path / "large").write_bytes(os.urandom(3_000_000))
    with SmallDisk(server.root / "in", "8m") as disk:
        server.stop()
        server.start(disk.within)
        disk.path.chmod(0o777)
        taken = disk.fill(leave=500_000)
        ended = site.towline("put", "bank", str(tmp_path / "large"), "/in/large")
        assert ended.returncode == 1, ended.stderr
        # It goes on by APPE from what the first STOR has left.
        assert re.search(r"bank refused /in/large: (STOR|APPE): 45[12] \w", ended.stderr)
        assert [path.name for path in disk.path.iterdir()] == [taken.name]
        taken.unlink()
        assert site.towline("put", "bank", str(tmp_path / "large"), "/in/large").returncode == 0
        assert (disk.path / "large").read_bytes() == (tmp_path / "large").read_bytes()
        server.stop()
