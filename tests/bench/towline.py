"""Towline as a contestant: `towline run`, and the whole of it through broker, beat and workers."""

from __future__ import annotations

import contextlib
import io
import json
import re
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tests.bench.contestants import NotHere
from tests.bench.measure import (
    REPOSITORY,
    Command,
    Sample,
    TurnFailed,
    cpu_of_tree,
    peak_of_tree,
    surroundings,
)
from tests.bench.work import Job
from tests.servers.ports import FreePorts
from tests.servers.valkey import Valkey
from tests.system.stack import READY_WITHIN, Stack
from tests.waiting import wait_until

ROUTE = "work"
SECRET = "BENCH_PASSWORD"


def run(job: Job) -> Command:
    """`towline run`, as it is by default: digest, fsyncs, intent, everything asked again."""
    return _run(job, {})


def run_without_fsync(job: Job) -> Command:
    """The same with `durability = "rename"`, which is what the other contestants give."""
    return _run(job, {"durability": "rename"})


def _run(job: Job, more: Mapping[str, Any]) -> Command:
    if job.work.direction == "list":
        command = _command(job, more, "ls", "server", job.remote)
    else:
        command = _command(job, more, "run", ROUTE, "--sessions", str(job.lines))
    _once(_command(job, more, "routes"), job.scratch)  # makes the ledger, which users have already
    if job.work.direction == "poll":
        # `backlog = "new"`: what the first complete listing holds is known from then on, and not fetched. The
        # second look is the last that compares each entry (decisions/0013): the polls behind it are alike.
        for _ in range(2):
            _once(command, job.scratch)
    return command


def _command(job: Job, more: Mapping[str, Any], *arguments: str) -> Command:
    config = job.scratch / "towline.toml"
    tables = {
        "towline": {"state_dir": str(job.scratch / "state")},
        "endpoints.server": _endpoint(job) | {"password": {"env": SECRET}},
        f"routes.{ROUTE}": _route(job) | dict(more),
    }
    config.write_text("\n".join(f"[{name}]\n{_lines(table)}" for name, table in tables.items()))
    environment = {"PYTHONPATH": str(REPOSITORY), "TOWLINE_CONFIG": str(config), SECRET: job.place.password}
    return Command((sys.executable, "-m", "workers.cli", *arguments), environment)


def _once(command: Command, scratch: Path) -> None:
    done = subprocess.run(
        command.argv,
        env=surroundings(scratch) | dict(command.environment),
        cwd=scratch,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode == 2:
        raise NotHere(done.stderr.strip().splitlines()[0])
    if done.returncode:
        raise TurnFailed(done.stderr.strip())


def _endpoint(job: Job) -> dict[str, Any]:
    place = job.place
    return {
        "host": place.host,
        "port": place.port,
        "user": place.user,
        "tls": "explicit",
        "ca_file": str(place.ca_file),
    }


def _route(job: Job) -> dict[str, Any]:
    keys: dict[str, Any] = {"endpoint": "server", "remote": job.remote, "local": str(job.local)}
    keys |= {"settle": "0s", "every": "10m"}
    if job.work.direction == "up":
        keys["direction"] = "push"
    if job.work.direction == "poll":
        keys["backlog"] = "new"
    return keys


class Fleet:
    """Broker, beat and workers that stay between turns, as they do in life; each turn is a route of its own.

    A turn lasts from the poll's submission until the ledger has every file published. The routes are made
    for `turns` turns in advance, since a worker reads its configuration once.
    """

    def __init__(self, job: Job, folder: Path, turns: int) -> None:
        self._ports = FreePorts()
        self._valkey = Valkey(folder / "valkey", self._ports.next())
        self._valkey.start()
        self._turn = 0
        self._pids: list[int] = []
        routes = {f"turn{number}": self._route(job) for number in range(turns)}
        self.stack = Stack(
            folder / "stack",
            self._valkey.url(),
            endpoints={"server": _endpoint(job) | {"password": {"env": "STACK_PASSWORD"}}},
            routes=routes,
            password=job.place.password,
            transfers=job.lines,
        )
        for route in routes:
            # Else beat's first poll of each route, sent when it starts, would begin all turns at once.
            self._verb("pause", route)
        try:
            self.stack.start("polls", "transfers", "beat")
        except AssertionError as late:
            self.close()
            raise TurnFailed(f"the services did not start: {late}") from late
        self._pids = [service.process.pid for service in self.stack.services.values()]

    def _verb(self, verb: str, route: str) -> None:
        done = self.stack.towline(verb, route)
        if done.returncode:
            raise TurnFailed(f"towline {verb} {route}: {done.stderr}")

    def _route(self, job: Job) -> dict[str, Any]:
        keys = _route(job)
        del keys["local"]  # the stack gives each route a folder
        return keys | {"every": "1d"}  # beat runs, and the turn is begun by hand

    def turn(self, job: Job, limit_s: float) -> Sample:
        """One turn; its files are left in `job.local`. Raises TurnFailed."""
        route, self._turn = f"turn{self._turn}", self._turn + 1
        log = self.stack.logs / "transfers.log"
        said = log.stat().st_size
        self._verb("resume", route)
        cpu, server_cpu = self._cpu(), cpu_of_tree(job.place.pid)
        began = time.monotonic()
        self.stack.send("poll", "polls", route=route)
        landing, count = self.stack.landing(route), len(job.work.sizes)
        try:
            wait_until(lambda: len(self.stack.landed(route)) >= count, limit_s, what=f"{count} files")
        except AssertionError as late:
            raise TurnFailed(str(late)) from late
        wall_s = time.monotonic() - began
        sample = Sample(
            wall_s,
            self._cpu() - cpu,
            cpu_of_tree(job.place.pid) - server_cpu,
            sum(map(peak_of_tree, self._pids)) + peak_of_tree(self._valkey_pid),
            own_s=_seconds_of_tasks(log, said, READY_WITHIN, count),
        )
        job.local.rmdir()
        landing.rename(job.local)
        return sample

    @property
    def _valkey_pid(self) -> int:
        assert self._valkey.process is not None
        return self._valkey.process.pid

    def _cpu(self) -> float:
        return sum(map(cpu_of_tree, [*self._pids, self._valkey_pid]))

    def close(self) -> None:
        """End everything."""
        with contextlib.redirect_stdout(io.StringIO()):  # it shows its logs, for tests that fail
            self.stack.__exit__()
        self._valkey.stop()
        self._ports.close()


def _seconds_of_tasks(log: Path, since: int, within_s: float, published: int) -> float:
    """The seconds that fetches have counted as their own, once they have told of all files."""

    def told() -> list[tuple[int, float]]:
        with log.open("rb") as file:
            file.seek(since)
            said = file.read().decode("utf-8", "replace")
        return [
            (int(found[1]), float(found[2]))
            for found in re.finditer(r"towline\.fetch\[.*?'published': (\d+).*?'seconds': ([\d.]+)", said)
        ]

    try:
        wait_until(lambda: sum(count for count, _ in told()) >= published, within_s, what="fetches' results")
    except AssertionError as late:
        raise TurnFailed(str(late)) from late
    return sum(seconds for _, seconds in told())


def _lines(table: Mapping[str, Any]) -> str:
    return "".join(f"{key} = {_toml(value)}\n" for key, value in table.items())


def _toml(value: Any) -> str:
    if isinstance(value, dict):
        return "{ " + ", ".join(f"{key} = {_toml(inner)}" for key, inner in value.items()) + " }"
    return json.dumps(value)
