"""The follow-on task of a published file: sent to another program's worker, at least once."""

from __future__ import annotations

import hashlib
import json
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from tests.servers.server import FtpServer
from tests.servers.valkey import Valkey
from tests.system.services import Service
from tests.system.stack import REPOSITORY, Stack, endpoint
from tests.waiting import wait_until

StartServer = Callable[..., FtpServer]

WITHIN = 60.0  # seconds, on a busy machine
THEN = {"task": "billing.ingest", "queue": "billing"}


class Foreign:
    """A worker that is no worker of ours, on a queue of its own."""

    def __init__(self, folder: Path, broker: str) -> None:
        self.book = folder / "book"
        self.book.touch()
        self._folder, self._broker = folder, broker

    @contextmanager
    def running(self) -> Iterator[None]:
        """It works as long as the block lasts."""
        command = [sys.executable, "-m", "celery", "-A", "tests.system.foreign_worker", "worker"]
        environment = {
            "PYTHONPATH": str(REPOSITORY),
            "FOREIGN_BROKER": self._broker,
            "FOREIGN_BOOK": str(self.book),
        }
        with Service(
            "foreign",
            [*command, "-Q", "billing", "-P", "solo", "-n", "foreign@%h", "-l", "INFO"],
            environment=environment,
            folder=self._folder,
            logs=self._folder / "logs",
        ):
            yield

    def told(self) -> list[dict[str, Any]]:
        """The arguments of each call so far."""
        return [json.loads(line) for line in self.book.read_text().split("\n")[:-1]]

    def paths(self) -> Counter[str]:
        """How often it was told of each file."""
        return Counter(call["path"] for call in self.told())


def stack_of(
    tmp_path: Path, broker: str, server: FtpServer, *, after: str = "keep", lease: str = "60s"
) -> Stack:
    """One route that announces what it publishes."""
    return Stack(
        tmp_path,
        broker,
        endpoints={"bank": endpoint(server)},
        routes={"in": {"endpoint": "bank", "remote": "/", "every": "1h", "then": THEN, "after": after}},
        towline={"lease": lease},
    )


def test_a_worker_of_another_program_is_told_of_each_file(
    start_server: StartServer, valkey: Valkey, tmp_path: Path
) -> None:
    """Once each where nothing goes wrong, with the contract's arguments; and once more on `announce`."""
    server = start_server("vsftpd")
    content = {"one": b"first", "two": b"second"}
    for name, body in content.items():
        (server.root / name).write_bytes(body)
    with stack_of(tmp_path, valkey.url(), server) as stack:
        foreign = Foreign(tmp_path, valkey.url())
        with foreign.running():
            stack.start("polls", "transfers")
            stack.send("poll", "polls", route="in")
            wait_until(lambda: len(foreign.told()) >= 2, WITHIN, what="both files are told of")
            for call in foreign.told():
                name = call["path"].removeprefix("/")
                assert call == {
                    "route": "in",
                    "path": f"/{name}",
                    "version": call["version"],
                    "local": str(stack.landing("in") / name),
                    "bytes": len(content[name]),
                    "sha256": hashlib.sha256(content[name]).hexdigest(),
                    "published_at": call["published_at"],
                }
                assert datetime.fromisoformat(call["published_at"]).tzinfo is not None
            stack.wait_until_idle()
            assert stack.send("upkeep", "polls").get(timeout=WITHIN)["announced"] == 0
            assert foreign.paths() == {"/one": 1, "/two": 1}
            before = foreign.told()
            ended = stack.towline("announce", "in", "--since", "1h")
            assert (ended.returncode, ended.stderr) == (0, "")
            wait_until(lambda: len(foreign.told()) >= 4, WITHIN, what="both again")
            assert sorted(map(str, foreign.told())) == sorted(map(str, before * 2))
            ended = stack.towline("announce", "in", "--since", "2099-01-01")
            assert "0 files" in ended.stdout


@pytest.mark.long
def test_a_fetch_that_dies_around_the_sending_leaves_nothing_untold(
    start_server: StartServer, valkey: Valkey, tmp_path: Path
) -> None:
    """Killed after PUBLISHED and before it sent: told by upkeep. Killed after it sent: told once more."""
    server = start_server("vsftpd")
    with stack_of(tmp_path, valkey.url(), server, lease="2s") as stack:
        foreign = Foreign(tmp_path, valkey.url())
        stack.start("polls")
        for deaths, place in enumerate(("published", "announced"), start=1):
            (server.root / place).write_bytes(place.encode())
            stack.environment["TOWLINE_CRASH_AT"] = place
            stack.start("transfers")
            stack.send("poll", "polls", route="in")
            wait_until(lambda place=place: place.encode() in stack.landed("in"), WITHIN, what=place)  # type: ignore[misc]
            wait_until(
                lambda deaths=deaths: stack.said().count("signal 9 (SIGKILL)") >= deaths,  # type: ignore[misc]
                WITHIN,
                what=f"a process of the pool dies at {place}",
            )
            stack.kill("transfers")
        with foreign.running():

            def told_after_upkeep() -> bool:
                stack.send("upkeep", "polls").get(timeout=WITHIN)
                # The second had been sent when its sender died.
                return foreign.paths() == {"/published": 1, "/announced": 2}

            wait_until(told_after_upkeep, WITHIN, what="both are told of")


def test_a_broker_that_is_away_delays_the_telling(
    start_server: StartServer, valkey: Valkey, tmp_path: Path
) -> None:
    """The file is published without it, in the foreground; once there is a broker, upkeep sends."""
    server = start_server("vsftpd")
    (server.root / "one").write_bytes(b"first")
    with stack_of(tmp_path, valkey.url(), server) as stack:
        assert stack.towline("run", "in").returncode == 0
        assert stack.landed("in") == {b"one"}
        foreign = Foreign(tmp_path, valkey.url())
        with foreign.running():
            stack.start("polls")
            wait_until(lambda: foreign.paths() == {"/one": 1}, WITHIN, what="it is told of")
