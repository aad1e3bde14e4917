"""RabbitMQ as the broker, with the results in Valkey."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.faults.proxy import CuttingProxy
from tests.servers.packages import Unavailable
from tests.servers.rabbitmq import RabbitMq
from tests.servers.server import FtpServer
from tests.servers.valkey import Valkey
from tests.system.stack import Stack, digests, endpoint
from tests.waiting import wait_until

WITHIN = 90.0  # seconds, on a busy machine
SIZE = 6_000_000
RATE = 500_000  # bytes a second: the file takes twelve


@pytest.fixture
def rabbitmq(tmp_path_factory: pytest.TempPathFactory, free_port: Callable[[], int]) -> Iterator[RabbitMq]:
    """A RabbitMQ that ends with the test."""
    try:
        server = RabbitMq(tmp_path_factory.mktemp("rabbitmq"), free_port)
    except Unavailable as why:
        pytest.skip(str(why))
    with server:
        yield server


@pytest.mark.long
@pytest.mark.timeout(400)
def test_files_arrive_by_way_of_rabbitmq_and_while_it_is_away(
    start_server: Callable[..., FtpServer], valkey: Valkey, rabbitmq: RabbitMq, tmp_path: Path
) -> None:
    """Through beat and worker; one that is under way when the broker dies comes whole and once, and no task
    fails; with the broker back, the workers go on. `check` looks into the result store instead."""
    server = start_server("vsftpd")
    (server.root / "before").write_bytes(b"first")
    with (
        CuttingProxy.before(server) as proxy,
        Stack(
            tmp_path,
            rabbitmq.url,
            results=valkey.url(),
            endpoints={"bank": endpoint(server, host=proxy.address)},
            routes={"in": {"endpoint": "bank", "remote": "/", "every": "1s"}},
        ) as stack,
    ):
        stack.start("polls", "transfers", "beat")
        wait_until(lambda: stack.landed("in") == {b"before"}, WITHIN, what="a file, by beat and worker")
        checked = stack.towline("check", "in")
        assert checked.returncode == 0, checked.stderr
        assert "the broker's fleet works with it" in checked.stdout

        proxy.data.rate = RATE
        (server.root / "large").write_bytes(os.urandom(SIZE))
        wait_until(lambda: proxy.data.bytes_down > SIZE // 8, WITHIN, what="it is under way")
        rabbitmq.stop()
        wait_until(lambda: stack.landed("in") == {b"before", b"large"}, WITHIN, what="it, without a broker")
        proxy.data.rate = None
        rabbitmq.start()
        (server.root / "after").write_bytes(b"last")
        wait_until(lambda: b"after" in stack.supervised().landed("in"), WITHIN, what="the next tick's file")

        assert digests(stack.landing("in")) == digests(server.root)
        wait_until(lambda: len(server.retrieved()) >= 3, WITHIN, what="the server's log")
        assert sorted(server.retrieved()) == ["/after", "/before", "/large"]
        assert stack.failed("towline.fetch") == []
        # Were the results in no Redis either, nobody could be told.
        elsewhere = {"TOWLINE_RESULTS": f"db+sqlite:///{tmp_path}/results"}
        untold = stack.towline("submit", "cancel", "some-task", environment=elsewhere)
        assert untold.returncode == 2, untold.stderr
        assert "one that runs can't be told" in untold.stderr
        result = stack.send("fetch", "transfers", route="in", paths=["/before"]).get(timeout=WITHIN)
        assert result["already"] == 1


def test_check_says_what_it_cannot_look_at(tmp_path: Path, free_port: Callable[[], int]) -> None:
    """With neither broker nor result store in a Redis, nobody can compare the fleet's ledgers."""
    nobody = {"host": "127.0.0.1", "port": free_port(), "user": "acme", "password": {"env": "NONE"}}
    with Stack(
        tmp_path,
        f"amqp://127.0.0.1:{free_port()}//",
        results=f"db+sqlite:///{tmp_path}/results",
        endpoints={"bank": nobody},
        routes={},
    ) as stack:
        checked = stack.towline("check", "--json", environment={"NONE": "of-your-business"})
        ledger = json.loads(checked.stdout)["ledger"]
        assert "can't be looked at: the broker is no Redis" in ledger["told"]
        assert ledger["remedy"] == "make sure that all workers have the same one"
