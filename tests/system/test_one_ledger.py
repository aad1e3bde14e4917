"""One broker, one ledger: a worker or beat with another one than its fleet's refuses to start."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest
import redis

from tests.servers.valkey import Valkey
from tests.system.stack import QUICK, Stack
from tests.waiting import wait_until
from workers.pairing import KEY

WITHIN = 60.0  # seconds, on a busy machine
NOBODY = {
    "host": "127.0.0.1",
    "port": 1,
    "user": "acme",
    "password": {"env": "STACK_PASSWORD"},
    "reconnect": QUICK,
}


def mark(valkey: Valkey) -> dict[str, str] | None:
    """What stands in the broker."""
    with redis.Redis.from_url(valkey.url()) as broker:
        found = broker.get(KEY)
    return None if found is None else dict(json.loads(found))


def refused(stack: Stack, *names: str) -> list[str]:
    """What each of these services says, which have to end with exit code 2."""
    for name in names:
        stack.launch(name)
    ended = [stack.services.pop(name) for name in names]
    for service in ended:
        try:
            assert service.process.wait(WITHIN) == 2, service.output()
        except subprocess.TimeoutExpired:
            raise AssertionError(f"{service.name} works with another ledger: {service.output()}") from None
    return [service.output() for service in ended]


def test_who_has_another_ledger_than_the_fleet_refuses_to_start(valkey: Valkey, tmp_path: Path) -> None:
    """Before it fetches everything once more; both ledgers are named, and the remedy, which works."""
    with (
        Stack(tmp_path / "first", valkey.url(), endpoints={"bank": NOBODY}, routes={}) as first,
        Stack(tmp_path / "second", valkey.url(), endpoints={"bank": NOBODY}, routes={}) as second,
    ):
        first.start("polls")
        there = mark(valkey)
        assert there is not None
        assert there["ledger"] == f"sqlite:///{first.state_dir}/ledger.sqlite3"
        for said in refused(second, "transfers", "beat"):
            assert f"sqlite:///{first.state_dir}" in said
            assert f"sqlite:///{second.state_dir}" in said
            assert there["id"] in said
            assert "towline adopt" in said
            assert "Traceback" not in said
        looked = second.towline("check", "--json")
        assert looked.returncode == 2, looked.stderr
        told = json.loads(looked.stdout)["ledger"]
        assert not told["same"]
        assert there["id"] in told["told"]

        first.kill("polls")
        adopted = second.towline("adopt")
        assert adopted.returncode == 0, adopted.stderr
        assert there["id"] in adopted.stdout
        second.start("polls")
        assert json.loads(second.towline("check", "--json").stdout)["ledger"]["same"]
        assert "LedgerRefused" in refused(first, "polls")[0]


@pytest.mark.long
def test_a_broker_that_was_emptied_is_told_again(valkey: Valkey, tmp_path: Path) -> None:
    """By the next upkeep; and upkeep fails, for all to see, where the broker has another's ledger by then."""
    with Stack(tmp_path, valkey.url(), endpoints={"bank": NOBODY}, routes={}) as stack:
        stack.start("polls")
        before = mark(valkey)
        assert before is not None
        with redis.Redis.from_url(valkey.url()) as broker:
            broker.flushall()
            stack.send("upkeep", "polls").get(timeout=WITHIN)
            assert mark(valkey) == before
            broker.set(KEY, json.dumps(before | {"id": "another"}))
        stack.send("upkeep", "polls").get(timeout=WITHIN, propagate=False)
        [failure] = stack.failed("towline.upkeep")
        assert failure["exc_type"] == "LedgerRefused"


@pytest.mark.long
def test_a_worker_that_starts_before_its_broker_is_asked_once_that_is_there(
    valkey: Valkey, tmp_path: Path
) -> None:
    """Its pool is up by then, and it ends all the same, before it takes a message."""
    with Stack(tmp_path, valkey.url(), endpoints={"bank": NOBODY}, routes={}) as stack:
        with redis.Redis.from_url(valkey.url()) as broker:
            broker.set(KEY, json.dumps({"id": "another", "ledger": "sqlite:////elsewhere", "host": "far"}))
        valkey.stop()
        stack.launch("transfers")
        transfers = stack.services["transfers"]
        wait_until(lambda: "not compared" in transfers.output(), WITHIN, what="it waits for its broker")
        assert transfers.process.poll() is None
        valkey.start()
        assert transfers.process.wait(WITHIN) == 2
        assert "sqlite:////elsewhere on far" in transfers.output()
        del stack.services["transfers"]
