"""Towline as the contract's four commands run it: two workers, beat and Flower, each a process of its own.

with Stack(tmp_path, valkey.url(), endpoints={"bank": endpoint(server)}, routes={"in": {…}}) as stack:
    stack.start("polls", "transfers", "beat")   # returns once the workers answer
    stack.kill("transfers")                     # SIGKILL, and its pool with it
    stack.start("transfers")                    # as a supervisor would
    with stack.paused("beat"):                  # no tick meanwhile
        stack.wait_until_idle()                 # …and so nothing that is asserted here changes any more
"""

from __future__ import annotations

import hashlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any, Protocol, Self

import psutil
import redis
from celery import Celery
from celery.utils.nodenames import gethostname
from kombu.exceptions import OperationalError

from tests.servers.server import TlsMode
from tests.system.idleness import has_seen_all, nothing_left, outcomes
from tests.system.services import Flower, Service
from tests.waiting import wait_until
from workers.ledger import Ledger
from workers.ledger.history import FileRow
from workers.stores.naming import TEMP_PREFIX

REPOSITORY = Path(__file__).resolve().parents[2]
READY_WITHIN = 60.0  # seconds, for Python processes on a busy machine
LOGIN = "towline:seen-by-nobody"
SECRET = "STACK_PASSWORD"

# Lines that can't be built are given up within the second; tests have no time for the defaults.
ATTEMPTS = 3
QUICK = {"attempts": ATTEMPTS, "within": "20s", "first_wait": "10ms", "max_wait": "20ms"}

WORKERS = ("polls", "transfers")


class Reachable(Protocol):
    """What a server has to say of itself, whichever kind it is."""

    host: str
    port: int
    user: str
    tls: TlsMode

    @property
    def ca_file(self) -> Path: ...


def endpoint(server: Reachable, **more: Any) -> dict[str, Any]:
    """The keys of an endpoint for a server; its password comes from the environment."""
    return {
        "host": server.host,
        "port": server.port,
        "user": server.user,
        "password": {"env": SECRET},
        "tls": server.tls,
        "ca_file": str(server.ca_file),
        "reconnect": QUICK,
    } | more


class Stack:
    """A configuration in `folder`, and what was started with it. Routes land in `folder/in-ROUTE`.

    results: the result store's URL; left out: the broker.
    ledger: its database's URL, told by the environment; left out: SQLite.
    polls, transfers: processes of each worker's pool. Logs are in `folder/logs`, printed at the end.
    """

    def __init__(
        self,
        folder: Path,
        broker: str,
        *,
        endpoints: Mapping[str, Mapping[str, Any]],
        routes: Mapping[str, Mapping[str, Any]],
        towline: Mapping[str, Any] | None = None,
        results: str | None = None,
        ledger: str | None = None,
        polls: int = 1,
        transfers: int = 1,
        password: str = "correct-horse-7",
        flower_port: int | None = None,
    ) -> None:
        self.folder = folder
        self.broker = broker
        self.results = results or broker
        self.logs = folder / "logs"
        self.state_dir = folder / "state"
        self.config = folder / "towline.toml"
        self.services: dict[str, Service] = {}
        self.environment = {
            "TOWLINE_CONFIG": str(self.config),
            "PYTHONPATH": str(REPOSITORY),
            SECRET: password,
        }
        if ledger is not None:
            self.environment["TOWLINE_LEDGER"] = ledger
        self._ledger_url = ledger or f"sqlite:///{self.state_dir}/ledger.sqlite3"
        self.commands = {
            "polls": ["worker", "-n", "polls@%h", "-Q", "towline.polls", "-c", str(polls)],
            "transfers": ["worker", "-n", "transfers@%h", "-Q", "towline.transfers", "-c", str(transfers)],
            "beat": ["beat"],
        }
        if flower_port is not None:
            address = ["--address=127.0.0.1", f"--port={flower_port}"]
            self.commands["flower"] = ["flower", f"--basic-auth={LOGIN}", *address]
            self.flower = Flower(flower_port, LOGIN)
        self.app = Celery("somebody-else", broker=broker, backend=self.results, set_as_current=False)
        self._running = ExitStack()
        self._sent: list[Any] = []
        self.logs.mkdir(parents=True)
        tables = {"towline": {"broker": broker, "state_dir": str(self.state_dir)} | dict(towline or {})}
        if results is not None:
            tables["towline"]["results"] = results
        tables |= {f"endpoints.{name}": dict(keys) for name, keys in endpoints.items()}
        for name, keys in routes.items():
            tables[f"routes.{name}"] = {"local": str(self.landing(name)), "settle": "0s"} | dict(keys)
        self.config.write_text("\n".join(f"[{name}]\n{_lines(table)}" for name, table in tables.items()))

    # -- what runs

    def start(self, *names: str) -> None:
        """Start these of polls, transfers, beat and flower; returns once workers and Flower answer."""
        for name in names:
            self.launch(name)
        workers = {name for name in names if name in WORKERS}
        if workers:
            self._wait_until(lambda: workers <= self.answering(), f"{workers} answer")
        if "flower" in names:
            known = {name for name in WORKERS if name in self.services}
            self._wait_until(lambda: known <= self.flower.heard(), f"Flower hears {known}")

    def launch(self, name: str) -> None:
        """Start one of them, and wait for nothing."""
        command = [sys.executable, "-m", "celery", "-A", "workers.app", *self.commands[name]]
        if name != "flower":
            command += ["-l", "INFO"]
        self.services[name] = self._running.enter_context(
            Service(name, command, environment=self.environment, folder=self.folder, logs=self.logs)
        )

    def kill(self, name: str) -> None:
        """SIGKILL for a whole service, its pool included, at one moment, as when a container ends."""
        service = self.services.pop(name)
        os.killpg(service.process.pid, signal.SIGKILL)
        service.process.wait()

    @contextmanager
    def paused(self, name: str) -> Iterator[None]:
        """One of the services does nothing for as long as the block lasts."""
        process = psutil.Process(self.services[name].process.pid)
        process.suspend()
        try:
            self._wait_until(lambda: process.status() == psutil.STATUS_STOPPED, f"{name} stands still")
            yield
        finally:
            process.resume()

    def supervised(self) -> Self:
        """Start again what has ended by itself, as a supervisor would."""
        for name, service in list(self.services.items()):
            if service.process.poll() is not None:
                self.start(name)
        return self

    def children(self, name: str) -> list[int]:
        """The processes of a worker's pool."""
        return [child.pid for child in psutil.Process(self.services[name].process.pid).children()]

    def answering(self) -> set[str]:
        """The workers of ours that answer a ping now."""
        nodes = self._nodes()
        with suppress(OperationalError, redis.RedisError, OSError):
            with self.app.connection() as fresh:  # the pool's may be broken, where the broker was killed
                replies = self.app.control.ping(nodes, timeout=1.0, limit=len(nodes), connection=fresh)
            return {name.partition("@")[0] for reply in replies for name in reply}
        return set()

    def towline(
        self, *arguments: str, environment: Mapping[str, str] | None = None
    ) -> subprocess.CompletedProcess[str]:
        """Run the `towline` command to its end, with this configuration."""
        return subprocess.run(
            [sys.executable, "-m", "workers.cli", *arguments],
            cwd=self.folder,
            env={"PATH": os.defpath, "HOME": str(self.folder)} | self.environment | dict(environment or {}),
            capture_output=True,
            text=True,
            timeout=READY_WITHIN,
            check=False,
        )

    # -- what came of it

    def landing(self, route: str) -> Path:
        """Where a route's files land."""
        return self.folder / f"in-{route}"

    def landed(self, route: str) -> set[bytes]:
        """The final names in a route's folder."""
        try:
            names = os.listdir(os.fsencode(self.landing(route)))  # noqa: PTH208
        except FileNotFoundError:
            return set()
        return {name for name in names if not name.startswith(TEMP_PREFIX)}

    def tasks(self, name: str, state: str | None = None) -> list[dict[str, Any]]:
        """What Flower shows of a task, oldest first."""
        asked = f"/api/tasks?limit=5000&taskname={name}" + (f"&state={state}" if state else "")
        return sorted(self.flower.get(asked).values(), key=lambda task: task["received"] or 0.0)

    def wait_until_idle(self) -> None:
        """Returns once no task is left, and Flower, where it runs, shows how each of them has ended.

        The broker has to be a Redis, and beat has to stand still. A hint for later counts as a task.
        """
        nodes = self._nodes()
        queues = [f"towline.{name}" for name in WORKERS]
        self._wait_until(lambda: nothing_left(self.app, self.broker, queues, nodes), "no task is left")
        if "flower" in self.services:
            self._wait_until(lambda: has_seen_all(self.flower, self.results), "Flower has seen them end")

    def send(self, task: str, queue: str, **arguments: Any) -> Any:
        """Submit a task as any program would; returns its AsyncResult."""
        sent = self.app.send_task(f"towline.{task}", kwargs=arguments, queue=f"towline.{queue}")
        self._sent.append(sent)
        return sent

    def failed(self, name: str) -> list[Any]:
        """The failures of a task that the result backend has stored, as JSON has them."""
        failed = [one for one in outcomes(self.results) if one["status"] == "FAILURE"]
        return [one["result"] for one in failed if one.get("name") == name]

    def rows(self, route: str) -> list[FileRow]:
        """What the ledger says of a route's files."""
        with self._ledger() as ledger:
            return ledger.history.rows(route, limit=10_000)

    def consecutive_failures(self, name: str) -> int:
        """Failed connects in a row at an endpoint, as the ledger has them."""
        with self._ledger() as ledger:
            return ledger.endpoints.get(name).consecutive_failures

    def said(self) -> str:
        """Everything that any of the services has written."""
        return "".join(path.read_text(errors="replace") for path in sorted(self.logs.iterdir()))

    def _nodes(self) -> list[str]:
        """The node names of the workers that were started."""
        return [f"{name}@{gethostname()}" for name in self.services if name in WORKERS]

    def _wait_until(self, condition: Callable[[], bool], what: str) -> None:
        def came() -> bool:
            for service in self.services.values():
                assert service.process.poll() is None, f"{service.name} has ended: {service.output()}"
            return condition()

        wait_until(came, READY_WITHIN, what=what)

    @contextmanager
    def _ledger(self) -> Iterator[Ledger]:
        ledger = Ledger.open(self._ledger_url, state_dir=self.state_dir)
        try:
            yield ledger
        finally:
            ledger.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._running.close()
        for result in self._sent:
            # Else it, and the hints that its task has sent, unsubscribe when they are collected, from a
            # broker that is gone, in somebody else's test, for twenty seconds each.
            for one in (*((result._cache or {}).get("children") or ()), result):
                one.backend = None
        self.app.close()


def digests(folder: Path) -> dict[bytes, str]:
    """Each plain file of a folder by name, with its SHA-256; Towline's temps are left out."""
    found = {}
    for entry in os.scandir(os.fsencode(folder)):
        if entry.is_file() and not entry.name.startswith(TEMP_PREFIX):
            with open(entry.path, "rb") as file:  # noqa: PTH123
                found[entry.name] = hashlib.file_digest(file, "sha256").hexdigest()
    return found


def _lines(table: Mapping[str, Any]) -> str:
    return "".join(f"{key} = {_toml(value)}\n" for key, value in table.items())


def _toml(value: Any) -> str:
    if isinstance(value, Mapping):
        return "{ " + ", ".join(f"{key} = {_toml(one)}" for key, one in value.items()) + " }"
    return json.dumps(value)
