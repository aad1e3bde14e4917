"""`towline up`: real broker, workers, beat and Flower as one tree."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest
import redis
from celery import Celery
from kombu.exceptions import OperationalError

from tests.servers.valkey import Valkey
from tests.system.processes import ends
from tests.system.services import Flower, broker_ran_at
from tests.waiting import wait_until
from workers.broker import answers

COMES_UP_WITHIN = 60.0  # seconds, for five Python processes on a busy machine
STOPS_WITHIN = 90.0
WORKERS = {"polls", "transfers"}


class Up:
    """One running `towline up`."""

    def __init__(self, folder: Path, *arguments: str, configuration: str = "") -> None:
        self.state = folder / "state"
        self._log = folder / f"up-{len(list(folder.glob('up-*')))}.log"
        config = folder / "towline.toml"
        config.write_text(f'[towline]\nstate_dir = "{self.state}"\nstop_grace = "5s"\n{configuration}')
        environment = {name: value for name, value in os.environ.items() if not name.startswith("TOWLINE_")}
        with self._log.open("wb") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "workers.cli", "up", "--config", config, *arguments],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=environment,
                start_new_session=True,
            )

    @property
    def said(self) -> str:
        return self._log.read_text()

    @property
    def broker_url(self) -> str:
        address = self.state / "broker.url"
        wait_until(
            lambda: address.exists() or self.process.poll() is not None, COMES_UP_WITHIN, what=self.said
        )
        return address.read_text()

    def workers(self, url: str | None = None) -> set[str]:
        """The worker nodes that answer a ping now, without their host."""
        app = Celery(broker=url or self.broker_url)
        try:
            with app.connection() as fresh:  # the pool's may be broken, where a test has killed the broker
                replies = app.control.ping(timeout=1.0, limit=len(WORKERS), connection=fresh)
        except (OperationalError, redis.RedisError, OSError):
            return set()
        return {name.partition("@")[0] for reply in replies for name in reply}

    def wait_for_workers(self, url: str | None = None) -> None:
        wait_until(lambda: self.workers(url) == WORKERS, COMES_UP_WITHIN, what="workers: " + self.said)

    def processes(self, *, deep: bool = True) -> dict[int, str]:
        """The command lines of all processes below it, or of its own children only."""
        found = {}
        for process in psutil.Process(self.process.pid).children(recursive=deep):
            with contextlib.suppress(psutil.NoSuchProcess):
                found[process.pid] = " ".join(process.cmdline())
        return found

    def pid_of(self, words: str) -> int:
        """The process that `up` has started, perhaps again, with these words in its command line."""

        def found() -> list[int]:
            return [pid for pid, command in self.processes(deep=False).items() if words in command]

        return wait_until(found, COMES_UP_WITHIN, what=words)[0]

    def flower(self, login: str | None) -> Flower:
        """Its Flower, as somebody with this login sees it."""
        return Flower(int(self.said.partition("http://127.0.0.1:")[2].split()[0]), login)

    def end(self) -> None:
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        self.process.wait(STOPS_WITHIN)


@pytest.fixture
def start_up(tmp_path: Path) -> Iterator[Callable[..., Up]]:
    """Starts `towline up` with arguments; ends it with the test."""
    with contextlib.ExitStack() as started:

        def start(*arguments: str, configuration: str = "") -> Up:
            up = Up(tmp_path, *arguments, configuration=configuration)
            started.callback(up.end)
            return up

        yield start


def test_everything_comes_up_and_goes_in_order(start_up: Callable[..., Up]) -> None:
    """Both workers answer, Flower wants its password, none is in sight; SIGTERM ends all of it with 0."""
    up = start_up("--flower-port", "0", "--processes", "1")
    up.wait_for_workers()
    url, login = up.broker_url, (up.state / "flower.auth").read_text().strip()

    wait_until(lambda: up.flower(login).nodes() == WORKERS, COMES_UP_WITHIN, what="Flower")
    assert up.flower(None).status("/api/workers") == 401

    running = up.processes()
    secrets = (login.partition(":")[2], url.split(":")[2].partition("@")[0])
    for secret in secrets:
        assert not any(secret in command for command in running.values())
    assert (up.state / "flower.auth").stat().st_mode & 0o777 == 0o600
    assert any("worker -n transfers@%h -Q towline.transfers -c 1" in command for command in running.values())

    up.process.send_signal(signal.SIGTERM)
    assert up.process.wait(STOPS_WITHIN) == 0, up.said
    order = [line.partition("stopping ")[2] for line in up.said.splitlines() if "│ stopping " in line]
    assert order == ["beat", "polls, transfers", "flower", "broker"]
    assert "killed" not in up.said
    assert all(ends(pid) for pid in running)
    assert not (up.state / "broker.url").exists()
    for secret in secrets:
        assert secret not in up.said


def test_second_up_in_the_same_state_dir_is_refused(start_up: Callable[..., Up]) -> None:
    """One `up` at a time: the second ends with 2, names the folder and the process, and harms nothing."""
    first = start_up("--no-flower", "--processes", "1")
    url = first.broker_url
    second = start_up("--no-flower")
    assert second.process.wait(COMES_UP_WITHIN) == 2
    assert (
        f"towline: {first.state}: another `towline up` works there (process {first.process.pid})"
        in second.said
    )
    wait_until(lambda: answers(url), what="the first one's broker")


def test_killed_worker_broker_and_beat_are_started_again(
    start_up: Callable[..., Up], tmp_path: Path, free_port: Callable[[], int]
) -> None:
    """What dies is started again, the broker at its old address, and the workers go on."""
    broker_ran_at(tmp_path / "state", free_port())
    up = start_up("--no-flower", "--processes", "1")
    up.wait_for_workers()
    url = up.broker_url
    for words, name in (
        ("-n transfers@", "transfers"),
        ("valkey-server", "broker"),
        ("workers.app beat", "beat"),
    ):
        before = up.pid_of(words)
        os.kill(before, signal.SIGKILL)
        wait_until(lambda name=name: f"{name} was killed by SIGKILL" in up.said, what=up.said)  # type: ignore[misc]
    wait_until(lambda: answers(url), COMES_UP_WITHIN, what=up.said)
    up.wait_for_workers()
    assert up.broker_url == url
    assert up.pid_of("workers.app beat")


def test_nothing_outlives_a_killed_up(start_up: Callable[..., Up]) -> None:
    """SIGKILL of `up` leaves no process behind: no broker, no worker, none of its pool's."""
    up = start_up("--flower-port", "0", "--processes", "2")
    up.wait_for_workers()
    running = up.processes()
    assert (
        len(running) >= 4 + 2 + 2
    )  # broker, two workers, Flower (and beat), and the processes of both pools
    up.process.kill()
    assert [command for pid, command in running.items() if not ends(pid)] == []


def test_killed_up_can_be_followed_by_another(
    start_up: Callable[..., Up], tmp_path: Path, free_port: Callable[[], int]
) -> None:
    """Lock and address that a killed `up` left behind don't keep the next one from starting."""
    broker_ran_at(tmp_path / "state", free_port())
    first = start_up("--no-flower", "--processes", "1")
    url = first.broker_url
    running = first.processes()
    first.process.kill()
    first.process.wait()
    assert all(ends(pid) for pid in running)
    assert (first.state / "broker.url").exists()
    second = start_up("--no-flower", "--processes", "1")
    wait_until(lambda: answers(url), COMES_UP_WITHIN, what=second.said)
    assert second.process.poll() is None


def test_configured_broker_is_used(start_up: Callable[..., Up], valkey: Valkey) -> None:
    """With a broker in the configuration none is started, and the workers talk to that one."""
    url = valkey.url()
    up = start_up("--no-flower", "--processes", "1", configuration=f'broker = "{url}"\n')
    up.wait_for_workers(url)
    assert not (up.state / "broker.url").exists()
    assert not any("valkey-server" in command for command in up.processes().values())


@pytest.mark.parametrize(
    ("arguments", "configuration", "told"),
    [
        ((), "leese = '60s'\n", "lease"),
        ((), "visibility_timeout = '1m'\n", "visibility_timeout"),
        (("--processes", "0"), "", "--processes"),
    ],
    ids=["unknown key", "time budget", "no process"],
)
def test_wrong_configuration_starts_nothing(
    start_up: Callable[..., Up], arguments: tuple[str, ...], configuration: str, told: str
) -> None:
    """A wrong configuration or usage ends with 2 and names it, before any process is started."""
    up = start_up(*arguments, configuration=configuration)
    assert up.process.wait(COMES_UP_WITHIN) == 2
    assert told in up.said
    assert not (up.state / "broker").exists()


def test_a_state_dir_that_cannot_be_made_is_said(start_up: Callable[..., Up], tmp_path: Path) -> None:
    """A file in its place, a folder of somebody else's: 2, and the folder by its name."""
    (tmp_path / "state").write_text("a file")
    up = start_up("--no-flower")
    assert up.process.wait(COMES_UP_WITHIN) == 2
    assert f"towline: {up.state}: state_dir can't be made: File exists" in up.said
    assert "Traceback" not in up.said


def test_taken_flower_port_is_said(start_up: Callable[..., Up]) -> None:
    """A port for Flower that somebody else has is an error before anything starts, when it was asked for."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        up = start_up("--flower-port", str(taken.getsockname()[1]))
        assert up.process.wait(COMES_UP_WITHIN) == 2
        assert f"--flower-port {taken.getsockname()[1]}: Address already in use" in up.said
