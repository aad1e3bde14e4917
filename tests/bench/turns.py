"""An item, run: each contestant in turn, and again, in the same order, until all have had their turns."""

from __future__ import annotations

import contextlib
import json
import sys
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from tests.bench import contestants, towline
from tests.bench.contestants import NotHere
from tests.bench.far import FarLink
from tests.bench.measure import REPOSITORY, Command, Sample, TurnFailed, count_syscalls, run
from tests.bench.pace import Pace
from tests.bench.scene import Turns, make_files, serving
from tests.bench.work import Item, Job
from tests.servers.certificates import Certificates

LIMIT_S = 3600.0
LEAST_ROUNDS = 2
FLEET = "towline, broker and workers"
MADE_SAFE = "curl, with SHA-256 and sync"
BARE = "bare client"

COMMANDS: dict[str, Callable[[Job], Command]] = {
    "towline run": towline.run,
    "towline run, no fsync": towline.run_without_fsync,
    "towline's protocol alone": contestants.towline_core,
    "curl": contestants.curl,
    "curl -Z": contestants.curl_z,
    "lftp": contestants.lftp,
    "rclone": contestants.rclone,
    "rclone (Debian)": contestants.rclone_debian,
    "pycurl": contestants.pycurl,
    "ftplib": contestants.ftplib,
    "ftplib, resuming": contestants.ftplib_resuming,
    MADE_SAFE: contestants.curl_made_safe,
    BARE: contestants.bare,
}
RUN = "towline run"
OTHERS = tuple(name for name in COMMANDS if not name.startswith("towline") and name not in (MADE_SAFE, BARE))


@dataclass(slots=True)
class Entrant:
    """What came of one contestant in one item.

    why: it took no part, or no further part, for this reason. profile: where the time of a sampled turn went,
    as parts of it by place.
    """

    command: str = ""
    samples: list[Sample] = field(default_factory=list)
    why: str | None = None
    syscalls: int | None = None
    profile: dict[str, float] | None = None

    def as_json(self) -> dict[str, Any]:
        """For the results."""
        return asdict(self)


def run_item(
    item: Item, folder: Path, certificates: Callable[..., Certificates], pace: Pace
) -> dict[str, Entrant]:
    """Start the server, make the data, let everybody have their turns. Raises packages.Unavailable."""
    source = folder / "source"
    make_files(item.work, source)
    with ExitStack() as opened:
        link = None
        if item.far_ms is not None:
            link = opened.enter_context(contextlib.closing(FarLink(item.far_ms / 2000)))
            host, namespace = link.far_address, link.far.entered()
            place = opened.enter_context(
                serving(item, folder / "server", certificates(host), host=host, namespace=namespace)
            )
        else:
            place = opened.enter_context(serving(item, folder / "server", certificates()))
        turns = Turns(item, place, folder / "turns", source)
        fleet = None
        if FLEET in item.contestants:
            with turns.next() as job:
                fleet = opened.enter_context(
                    contextlib.closing(towline.Fleet(job, folder / "fleet", pace.rounds + 1))
                )
        return _Rounds(turns, fleet, link, item, pace).run()


class _Rounds:
    """The entrants of an item, and what their turns need."""

    def __init__(
        self, turns: Turns, fleet: towline.Fleet | None, link: FarLink | None, item: Item, pace: Pace
    ) -> None:
        self._pace = pace
        self._turns = turns
        self._fleet = fleet
        self._link = link
        self._item = item
        self._entrants = {name: Entrant() for name in item.contestants}
        self._entrants |= {name: Entrant(why=why) for name, why in item.left_out.items()}

    def run(self) -> dict[str, Entrant]:
        took, share = 0.0, self._pace.until - time.monotonic()
        for number in range(self._pace.rounds):
            began = time.monotonic()
            least = LEAST_ROUNDS if took < share else 1
            if number >= least and began + took > self._pace.until:
                break
            for name, entrant in self._entrants.items():
                if number:
                    self._let_go(name, entrant)
                if entrant.why is None:
                    self._turn(name, entrant)
            took = time.monotonic() - began
        if self._item.profiled and self._entrants[RUN].samples:
            self._entrants[RUN].profile = self._profile()
        if self._item.syscalls:
            for name, entrant in self._entrants.items():
                if entrant.samples and name != FLEET:
                    entrant.syscalls = self._count_syscalls(name)
        return self._entrants

    def _best_s(self) -> float:
        """The fastest turn so far."""
        return min((turn.wall_s for one in self._entrants.values() for turn in one.samples), default=LIMIT_S)

    def _let_go(self, name: str, entrant: Entrant) -> None:
        """Say why another turn of this one is not worth its time, if it isn't."""
        if entrant.why is not None or name == BARE:
            return
        if name in self._pace.once:
            entrant.why = "one turn"
        elif name in OTHERS:
            best_s = min(one.samples[0].wall_s for other in OTHERS if (one := self._taking_part(other)))
            if (times := entrant.samples[0].wall_s / best_s) > self._pace.slow:
                entrant.why = f"one turn: {times:.1f} times as long as the fastest of the others"

    def _taking_part(self, name: str) -> Entrant | None:
        entrant = self._entrants.get(name)
        return entrant if entrant is not None and entrant.samples else None

    def _turn(self, name: str, entrant: Entrant) -> None:
        began = time.monotonic()
        try:
            with self._turns.next() as job:
                sample = self._timed(name, entrant, job)
                if name != BARE or job.work.direction != "down":  # it throws away what comes
                    self._turns.check(job)
        except (NotHere, TurnFailed) as why:
            entrant.why = _without(str(why), hidden(job))
            told = f"- {entrant.why}"
        else:
            entrant.samples.append(sample)
            told = f"{sample.wall_s:.2f} s"
        print(f"  {name:30} {told}  ({time.monotonic() - began:.1f} s in all)", file=sys.stderr, flush=True)

    def _timed(self, name: str, entrant: Entrant, job: Job) -> Sample:
        if name == FLEET:
            assert self._fleet is not None
            entrant.command = "celery worker, worker and beat, running; towline.poll sent"
            return self._fleet.turn(job, LIMIT_S)
        command = COMMANDS[name](job)
        entrant.command = command.shown(hidden(job))
        limit_s = LIMIT_S
        if name in (*OTHERS, BARE):
            limit_s = min(LIMIT_S, max(self._pace.least_limit_s, self._pace.hopeless * self._best_s()))
        namespace = None
        if self._link is not None:
            self._link.forget()
            namespace = self._link.near.entered()
        sample = run(
            command,
            scratch=job.scratch,
            server_pid=job.place.pid,
            limit_s=limit_s,
            namespace=namespace,
        )
        if self._link is None:
            return sample
        return Sample(**asdict(sample) | {"round_trips": self._link.round_trips})

    def _profile(self) -> dict[str, float]:
        """Another turn of `towline run`, its time by place."""
        with self._turns.next() as job, contextlib.ExitStack() as entered:
            sampled = job.scratch / "profile.json"
            plain = COMMANDS[RUN](job)
            python, _, _, *arguments = plain.argv
            program = (python, "-m", "tests.bench.clients.sampled", sampled, *arguments)
            command = Command(program, plain.environment)
            if self._link is not None:
                entered.enter_context(self._link.near.entered())
            run(command, scratch=job.scratch, server_pid=job.place.pid, limit_s=LIMIT_S)
            told: dict[str, float] = json.loads(sampled.read_bytes())
        return told

    def _count_syscalls(self, name: str) -> int | None:
        with self._turns.next() as job:
            counted = count_syscalls(COMMANDS[name](job), scratch=job.scratch, limit_s=LIMIT_S)
        return counted.total if counted else None


def hidden(job: Job) -> dict[str, str]:
    """What is left out of a command line in the report: secrets, and where things lie on this machine."""
    return {
        f"{job.place.ca_file}": "ca.pem",
        f"{job.local}": "LOCAL",
        f"{job.scratch}/": "",
        f"{sys.executable}": "python",
        f"{Path(sys.executable).parent}/": "",
        f"{REPOSITORY}": ".",
        job.place.password: "PASSWORD",
        f":{job.place.port}": ":PORT",
        f" {job.place.port}": " PORT",
    }


def _without(text: str, hidden: dict[str, str]) -> str:
    for secret, name in hidden.items():
        text = text.replace(secret, name)
    return text
