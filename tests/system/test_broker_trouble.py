"""The broker restarts, forgets, breaks off, goes silent, is full, or delivers again, while bytes flow.

Running transfers go on, nothing is sent twice by the server, and the next tick works. How it is when the
broker stays away for a while is in test_broker_away.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import redis

from tests.faults.proxy import CuttingProxy
from tests.servers.server import FtpServer
from tests.servers.valkey import Valkey
from tests.system.stack import Stack, digests, endpoint
from tests.waiting import wait_until

SIZE = 4_000_000
SLOWLY = 200_000  # bytes a second and line: so long as it goes on, what happens happens in mid-transfer
RATE = 1_000_000  # … once all has happened
WITHIN = 60.0  # seconds, on a busy machine
SILENCE = 120.0  # seconds; a worker waits ten for each thing that it still wants to say on a silent line


@dataclass(frozen=True, slots=True)
class Scene:
    """Two files under way, each in a process of its own, and a broker behind a proxy."""

    server: FtpServer
    stack: Stack
    valkey: Valkey
    proxy: CuttingProxy
    """To the server."""
    line: CuttingProxy
    """To the broker."""

    @property
    def broker(self) -> redis.Redis:
        """The broker as it is, past the proxy."""
        return redis.Redis.from_url(self.valkey.url())

    def ends_well(self, within: float = WITHIN) -> None:
        """Both files arrive, then one that the next tick finds; each is asked for once, and no task fails."""
        stack = self.stack
        self.proxy.data.pace(RATE)
        wait_until(
            lambda: {b"a", b"b"} <= stack.supervised().landed("slow"), within, what="what was under way"
        )
        (self.server.root / "c").write_bytes(b"next")
        wait_until(lambda: b"c" in stack.supervised().landed("slow"), within, what="the next tick's file")
        assert digests(stack.landing("slow")) == digests(self.server.root)
        wait_until(lambda: len(self.server.retrieved()) >= 3, what="the server's log")
        assert sorted(self.server.retrieved()) == ["/a", "/b", "/c"]
        assert stack.failed("towline.fetch") == []
        assert stack.failed("towline.poll") == []
        assert {row.attempts for row in stack.rows("slow")} == {0}


@pytest.fixture
def scene(start_server: Callable[..., FtpServer], valkey: Valkey, tmp_path: Path) -> Iterator[Scene]:
    """Two transfers under way."""
    with under_way(start_server("vsftpd"), valkey, tmp_path) as made:
        yield made


@contextmanager
def under_way(server: FtpServer, valkey: Valkey, folder: Path, **towline: Any) -> Iterator[Scene]:
    for name in ("a", "b"):
        (server.root / name).write_bytes(os.urandom(SIZE))
    with (
        CuttingProxy.before(server) as proxy,
        CuttingProxy(valkey.port, (), address="127.0.0.3", target=valkey.host) as line,
        Stack(
            folder,
            valkey.url().replace(valkey.host, line.address),
            endpoints={"bank": endpoint(server, host=proxy.address)},
            routes={"slow": {"endpoint": "bank", "remote": "/", "every": "1s", "batch": {"files": 1}}},
            towline=towline,
            transfers=2,
        ) as stack,
    ):
        stack.start("polls", "transfers")
        proxy.data.rate = SLOWLY
        stack.start("beat")
        wait_until(lambda: proxy.data.carried(SIZE // 20) == 2, WITHIN, what="both under way")
        yield Scene(server, stack, valkey, proxy, line)
        for name in ("polls", "transfers"):
            assert stack.services[name].process.poll() is None


def test_a_broker_that_forgets_delivers_again_and_breaks_off(scene: Scene) -> None:
    """Emptied, then every message doubled six times, then each of its lines reset: one RETR a file."""
    scene.broker.flushall()
    for _ in range(6):
        scene.stack.send("fetch", "transfers", route="slow")
        scene.stack.send("poll", "polls", route="slow")
    assert scene.line.reset_control() > 0
    assert not scene.stack.landed("slow"), "all of that in mid-transfer"
    scene.ends_well()


@pytest.mark.long
def test_a_broker_that_restarts(scene: Scene) -> None:
    """With what it had written down: what was taken and not acknowledged is delivered once more."""
    scene.valkey.stop()
    scene.valkey.start()
    scene.ends_well()


@pytest.mark.long
def test_a_broker_that_restarts_empty(scene: Scene) -> None:
    """Without what it had written down: the ticks make new messages, and the files in hand were never its."""
    scene.broker.flushall()
    scene.valkey.stop()
    scene.valkey.start()
    scene.ends_well()


@pytest.mark.long
@pytest.mark.timeout(400)
def test_a_broker_whose_lines_are_half_open(scene: Scene) -> None:
    """A firewall has forgotten them: nobody says so, and each side's deadline has to find out."""
    assert scene.line.swallow_control() > 0
    scene.ends_well(SILENCE)


@pytest.mark.long
@pytest.mark.timeout(400)
def test_a_worker_that_cannot_acknowledge_its_only_message_takes_the_next(
    start_server: Callable[..., FtpServer], valkey: Valkey, tmp_path: Path
) -> None:
    """Its acknowledgement is the first thing it says on lines that have become half-open meanwhile."""
    server = start_server("vsftpd")
    for name in ("a", "b"):
        (server.root / name).write_bytes(os.urandom(2 * RATE))
    with (
        CuttingProxy.before(server) as proxy,
        CuttingProxy(valkey.port, (), address="127.0.0.3", target=valkey.host) as line,
        Stack(
            tmp_path,
            valkey.url().replace(valkey.host, line.address),
            results=valkey.url(),  # on which nothing has to be waited for
            endpoints={"bank": endpoint(server, host=proxy.address)},
            routes={"slow": {"endpoint": "bank", "remote": "/", "every": "1h"}},
        ) as stack,
    ):
        # A heartbeat, every two seconds, would find the lines dead before it.
        stack.commands["transfers"].append("--without-heartbeat")
        stack.start("transfers")
        proxy.data.rate = RATE
        for name in ("a", "b"):
            stack.send("fetch", "transfers", route="slow", paths=[f"/{name}"])
        wait_until(lambda: proxy.data.bytes_down > RATE, WITHIN, what="the first is under way")
        assert line.swallow_control() > 0
        wait_until(lambda: stack.landed("slow") == {b"a"}, WITHIN, what="the first file")
        wait_until(lambda: stack.landed("slow") == {b"a", b"b"}, SILENCE, what="the second file")
        assert digests(stack.landing("slow")) == digests(server.root)


@pytest.mark.long
def test_a_broker_that_is_full(scene: Scene) -> None:
    """It refuses to write (maxmemory, noeviction): no results, no hints, no events, until there is room."""
    scene.broker.config_set("maxmemory", "1")
    scene.proxy.data.pace(RATE)
    wait_until(lambda: {b"a", b"b"} <= scene.stack.landed("slow"), WITHIN, what="what was under way")
    wait_until(
        lambda: "when used memory > 'maxmemory'" in scene.stack.said(), WITHIN, what="somebody notices"
    )
    scene.broker.config_set("maxmemory", "0")
    scene.ends_well()


@pytest.mark.long
def test_a_message_whose_visibility_timeout_passes_in_mid_transfer(scene: Scene) -> None:
    """It is delivered to another process while the first works on: that one claims nothing, and ends."""
    taken = scene.broker.zrange("unacked_index", 0, -1)
    assert taken, "messages are acknowledged late"
    # As old as the epoch: kombu gives them out again when it looks next, within ten seconds.
    scene.broker.zadd("unacked_index", {tag.decode(): 0.0 for tag in taken if isinstance(tag, bytes)})
    wait_until(
        lambda: not set(taken) & set(scene.broker.zrange("unacked_index", 0, -1)), WITHIN, what="redelivered"
    )
    scene.ends_well()
