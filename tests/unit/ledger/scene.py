"""A route's ledger as tests see it: a clock that stands still, short ways to list, claim and publish,
other processes."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any

import pytest

from workers.ledger import (
    Appeared,
    Change,
    Changed,
    Claim,
    Intent,
    Known,
    Ledger,
    Published,
    Seen,
    Vanished,
    temp_name,
)

ROUTE, TARGET = "statements", "/data/statements"
ONLY_SQLITE = pytest.mark.parametrize("kind", ["sqlite"])
SLOW_ON_POSTGRESQL = pytest.mark.parametrize(
    "kind", ["sqlite", pytest.param("postgresql", marks=pytest.mark.long)]
)
"""Processes and crowds: on both databases as well, on the second with the long tests."""
"""For tests of what only SQLite has."""
REPOSITORY = Path(__file__).parents[3]


@dataclass
class Clock:
    """Epoch seconds that pass only when a test says so."""

    now: float = 1_800_000_000.0

    def __call__(self) -> float:
        return self.now

    def pass_(self, seconds: float) -> None:
        """Let time go by."""
        self.now += seconds


@dataclass
class Scene:
    """One route in one ledger."""

    ledger: Ledger
    clock: Clock
    facts: dict[bytes, tuple[int, float]] = field(default_factory=dict)

    def apply(self, changes: Iterable[Change], *, complete: bool = True) -> None:
        """A poll that brings these changes."""
        poll = self.ledger.polls.begin(ROUTE, TARGET, until_s=60)
        assert poll is not None
        self.ledger.polls.apply(poll, list(changes), complete=complete, reason=None, listed=0)

    def known(self) -> dict[bytes, Known]:
        """What the next listing will be compared with."""
        return self.ledger.polls.known(ROUTE, TARGET)

    def appear(self, *paths: bytes, size: int = 10, modified: float = 1.0, ready: bool = True) -> None:
        """A listing with files never seen, by default settled at once."""
        self.apply(Appeared(path, size, modified, 1.0, None, ready=ready) for path in paths)

    def change(self, path: bytes, *, size: int = 20, modified: float = 2.0, ready: bool = True) -> None:
        """A listing with another version of a known path."""
        self.apply([Changed(self.known()[path], size, modified, 1.0, None, ready=ready)])

    def see(self, path: bytes, *, ready: bool) -> None:
        """A listing with the known version of a path."""
        self.apply([Seen(self.known()[path], ready)])

    def vanish(self, path: bytes) -> None:
        """A complete listing without the path."""
        self.apply([Vanished(self.known()[path])])

    def claim(self, files: int = 64, *, bytes: int = 1 << 40, lease_s: float = 60) -> list[Claim]:
        """Claim what is due."""
        return self.ledger.claims.claim(ROUTE, TARGET, files=files, bytes=bytes, lease_s=lease_s)

    def claim_one(self) -> Claim:
        """Claim exactly one file."""
        (claim,) = self.claim(1)
        return claim

    def intend(self, *claims: Claim) -> list[Intent]:
        """Commit the intents of these claims; those that were accepted."""
        return self.ledger.publishing.intend([intent(self.ledger, claim) for claim in claims])

    def publish(self, *claims: Claim) -> None:
        """All the way to PUBLISHED."""
        self.ledger.publishing.published([done(one) for one in self.intend(*claims)])

    def state(self, path: bytes, number: int | None = None) -> str:
        """The state of a path's newest version, or of the one with this number; CLAIMED while in hand."""
        files = self.ledger.history.explain(ROUTE, path).versions
        return next(str(file.state) for file in files if number in (None, file.number))

    def attempts(self, path: bytes) -> int:
        """How many attempts a path's newest version has used."""
        return self.ledger.history.explain(ROUTE, path).versions[0].attempts


def intent(ledger: Ledger, claim: Claim) -> Intent:
    """What a worker with this claim would be about to rename."""
    temp = temp_name(ledger.id, claim.path_id, claim.version_id, claim.fence)
    return Intent(claim.path_id, claim.version_id, claim.fence, temp, "/final", claim.size or 0, "ab" * 32)


def done(intended: Intent) -> Published:
    """The rename has happened."""
    return Published(intended, intended.size, intended.sha256, intended.final)


def names(claims: Iterable[Claim]) -> list[bytes]:
    """The paths of claims, in their order."""
    return [claim.path for claim in claims]


class Other:
    """Another process with the same ledger (other.py), told by lines what to do."""

    def __init__(self, url: str, state_dir: Path, *, host: str | None = None) -> None:
        """host: on another machine than this one, as far as it can tell."""
        command = [
            sys.executable,
            "-m",
            "tests.unit.ledger.other",
            url,
            str(state_dir),
            *filter(None, [host]),
        ]
        self._process = subprocess.Popen(
            command, cwd=REPOSITORY, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        self.owner: str = self._answer()

    def ask(self, verb: str, *arguments: Any) -> Any:
        """Have it done there; the answer as JSON."""
        self.tell(verb, *arguments)
        return self._answer()

    def tell(self, verb: str, *arguments: Any) -> None:
        """Have it begun there, without waiting for the answer."""
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps([verb, *arguments]) + "\n")
        self._process.stdin.flush()

    def answer(self) -> Any:
        """The answer to what was told."""
        return self._answer()

    def kill(self) -> None:
        """SIGKILL: no handler runs, only the kernel cleans up."""
        self._process.kill()
        self._process.wait()

    def freeze(self) -> None:
        """SIGSTOP."""
        os.kill(self._process.pid, signal.SIGSTOP)

    def thaw(self) -> None:
        """SIGCONT."""
        os.kill(self._process.pid, signal.SIGCONT)

    def __enter__(self) -> Other:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.kill()
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                pipe.close()

    def _answer(self) -> Any:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        assert line, f"the other process ended with {self._process.poll()}"
        return json.loads(line)
