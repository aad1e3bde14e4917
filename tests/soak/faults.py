"""What strikes the fleet: one function a fault, which returns what ends it, and after how many seconds."""

from __future__ import annotations

import contextlib
import os
import random
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import psutil

from tests.soak.fleet import LEASE_S, WORKERS, Fleet


@dataclass(frozen=True, slots=True)
class Struck:
    """A fault that lasts: it is over, by `repair`, after so many seconds."""

    lasts_s: float
    repair: Callable[[], object]


CLAIM_WITHIN_S = 1.0
"""So long a process is looked for that has claimed something."""

Fault = Callable[[Fleet, random.Random], Struck | None]


def child(fleet: Fleet, draw: random.Random) -> None:
    """SIGKILL of one process of a pool."""
    with contextlib.suppress(psutil.NoSuchProcess, ProcessLookupError):
        pool = fleet.stack.children(_one_of(fleet, draw, "polls"))
        if pool:  # else it is starting up
            os.kill(draw.choice(pool), signal.SIGKILL)


def worker(fleet: Fleet, draw: random.Random) -> None:
    """SIGKILL of a worker with its pool; its supervisor starts it again."""
    fleet.stack.kill(_one_of(fleet, draw, "polls"))


def beat(fleet: Fleet, _: random.Random) -> None:
    """SIGKILL of beat; its supervisor starts it again."""
    if "beat" in fleet.stack.services:
        fleet.stack.kill("beat")


def broker(fleet: Fleet, draw: random.Random) -> Struck | None:
    """The broker is killed, and stays away for a moment."""
    if fleet.valkey.process is None:
        return None
    fleet.valkey.stop()
    return Struck(draw.uniform(0.2, 1.5), fleet.valkey.start)


def database(fleet: Fleet, draw: random.Random) -> Struck:
    """PostgreSQL is killed with all its connections, and stays away for a moment."""
    fleet.postgres.stop()
    return Struck(draw.uniform(0.2, 1.5), fleet.postgres.start)


def server(fleet: Fleet, draw: random.Random) -> Struck | None:
    """A server is killed with all its lines, and stays away for a moment."""
    one = draw.choice(list(fleet.servers.values()))
    if one.process is None:
        return None
    one.stop()
    return Struck(draw.uniform(0.2, 1.5), one.start)


def line(fleet: Fleet, draw: random.Random) -> None:
    """Lines that are open end: by FIN, by RST or in a black hole."""
    proxy = draw.choice(list(fleet.proxies.values()))
    lane = draw.choice([proxy.control, proxy.data])
    draw.choice([lane.cut, lane.reset, lane.swallow])()


def cut_in_mid_file(fleet: Fleet, draw: random.Random) -> None:
    """The next file that is long enough breaks off."""
    proxy = draw.choice(list(fleet.proxies.values()))
    proxy.data.fault_next(
        draw.choice(["cut", "reset"]),
        after=draw.randrange(1, 200_000),
        counting="up" if fleet.direction == "push" else "down",
    )


def freeze(fleet: Fleet, draw: random.Random) -> Struck | None:
    """A worker is stopped past its lease, and thaws: others have its files by then."""
    name = _one_of(fleet, draw)
    if fleet.frozen:
        return None
    fleet.frozen.add(name)
    stopped = fleet.stack.services[name]
    fleet.signal(name, signal.SIGSTOP)

    def thaw() -> None:
        fleet.frozen.discard(name)
        if fleet.stack.services.get(name) is stopped and stopped.process.poll() is None:
            fleet.signal(name, signal.SIGCONT)

    return Struck(LEASE_S * draw.uniform(1.2, 2.0), thaw)


def freeze_child(fleet: Fleet, draw: random.Random) -> Struck | None:
    """One process of a pool is stopped with files claimed, past its lease, and thaws; its worker lives on."""
    if fleet.frozen:
        return None
    until = time.monotonic() + CLAIM_WITHIN_S
    while time.monotonic() < until:
        with contextlib.suppress(psutil.NoSuchProcess):
            name = _one_of(fleet, draw)
            for one in map(psutil.Process, fleet.stack.children(name)):
                one.suspend()
                if one.pid in fleet.holders():
                    fleet.frozen.add(name)
                    return Struck(LEASE_S * draw.uniform(1.2, 2.0), partial(_thaw, fleet, name, one))
                one.resume()  # it had nothing in hand
    return None


def _thaw(fleet: Fleet, name: str, one: psutil.Process) -> None:
    fleet.frozen.discard(name)
    with contextlib.suppress(psutil.NoSuchProcess):  # killed meanwhile
        one.resume()


FAULTS: dict[str, Fault] = {
    "child": child,
    "worker": worker,
    "beat": beat,
    "broker": broker,
    "database": database,
    "server": server,
    "line": line,
    "mid-file": cut_in_mid_file,
    "freeze": freeze,
    "freeze-child": freeze_child,
}


def _one_of(fleet: Fleet, draw: random.Random, *more: str) -> str:
    return draw.choice([name for name in (*WORKERS, *more) if name in fleet.stack.services])
