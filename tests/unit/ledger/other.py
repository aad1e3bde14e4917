"""The other process of `scene.Other`: one line in, what is to be done; one line out, what came of it."""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from pathlib import Path
from typing import Any

from tests.unit.ledger.scene import ROUTE, TARGET, done, intent
from workers.ledger import Claim, Ledger, LineFacts


class Worker:
    """Holds its ledger and its claims, as a worker process does."""

    def __init__(self, url: str, state_dir: str, host: str | None = None) -> None:
        self.ledger = Ledger.open(url, state_dir=Path(state_dir))
        if host is not None:
            self.ledger._ownership.host = host
        self.claims: list[Claim] = []

    def ledger_id(self) -> str:
        return self.ledger.id

    def claim(self, files: int, lease_s: float = 60.0) -> list[str]:
        self.claims = self.ledger.claims.claim(ROUTE, TARGET, files=files, bytes=1 << 40, lease_s=lease_s)
        return [claim.path.decode() for claim in self.claims]

    def begin(self, number: int) -> None:
        self.ledger.claims.begin(self.claims[number])

    def intend(self) -> int:
        return len(self.ledger.publishing.intend([intent(self.ledger, claim) for claim in self.claims]))

    def published(self) -> None:
        self.ledger.publishing.published([done(intent(self.ledger, claim)) for claim in self.claims])

    def renew(self, lease_s: float = 60.0) -> list[int]:
        return sorted(self.ledger.claims.renew(lease_s))

    def take_announcements(self) -> list[str]:
        """Take from the outbox until it is empty, as several senders at once would; the paths taken here."""
        taken: list[str] = []
        while some := self.ledger.outbox.take(limit=5, hold_s=60):
            taken += [one.arguments["path"] for one in some]
        return taken

    def take_permit(self, most: int) -> bool:
        return self.ledger.permits.take("bank", most, lease_s=60, wait_s=6)

    def crowd(self, most: int, turns: int) -> int:
        """Take and leave permits so many times; how many held one at most while this one did."""
        at_most = 0
        facts = LineFacts(0.0, 0.0, None, {}, None)
        while turns:
            if not self.take_permit(most):
                time.sleep(0.001)
                continue
            self.ledger.permits.built("bank", facts, lease_s=60)
            at_most = max(at_most, len(self.ledger.permits.lines()))
            self.ledger.permits.leave("bank")
            turns -= 1
        return at_most

    def poll(self) -> int | None:
        begun = self.ledger.polls.begin(ROUTE, TARGET, until_s=600)
        return None if begun is None else begun.generation

    def may_login(self, digest: str) -> bool:
        return self.ledger.endpoints.may_login("bank", digest, since=self.ledger.now(), until_s=60)

    def work(self) -> list[list[Any]]:
        """Claim and publish in small batches until nothing is left; every (path, fence) that was claimed
        here."""
        seen: list[list[Any]] = []
        while self.claim(7):
            seen += [[claim.path.decode(), claim.fence] for claim in self.claims]
            half = self.claims[: len(self.claims) // 2 + 1]
            self.ledger.claims.give_back(self.claims[len(half) :])
            self.claims = half
            self.intend()
            self.published()
        return seen

    def fork_holding_lock(self) -> int:
        """Fork a child that does nothing for a while; its process id."""
        child = os.fork()
        if child == 0:
            signal.pause()
        return child


def main() -> None:
    worker = Worker(*sys.argv[1:])
    print(json.dumps(worker.ledger.owner), flush=True)
    for line in sys.stdin:
        verb, *arguments = json.loads(line)
        print(json.dumps(getattr(worker, verb)(*arguments)), flush=True)


if __name__ == "__main__":
    main()
