"""A push of one file by the product's own batch, `workers.sending`, over a session that stands already."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from tests.faults.scripted import ScriptedServer
from tests.servers.pushing import LONG_AGO
from workers.batch import Work
from workers.detect import Rules, decide
from workers.ledger import Ledger
from workers.ledger.values import Claim, temp_name
from workers.session import Session, Tally
from workers.settings import Route
from workers.stopping import StopFlag
from workers.stores.naming import TEMP_PREFIX
from workers.stores.source import SourceFolder

# Before a process's first renames to a server it is asked how it does them: by one RNFR, and two RNTO.
ASKED_RNFR, ASKED_RNTO = 1, 2


@dataclass(frozen=True, slots=True)
class Scene:
    """What an operation through a session has at hand. folder: an empty one of its own."""

    session: Session
    ledger: Ledger
    tally: Tally
    server: ScriptedServer
    folder: Path


class Push:
    """The route /out → / with one file, `up`, of which the ledger knows that it is to be sent."""

    def __init__(self, scene: Scene, content: bytes) -> None:
        root = scene.folder / "out"
        root.mkdir()
        (root / "up").write_bytes(content)
        os.utime(root / "up", (LONG_AGO, LONG_AGO))
        endpoint = scene.session.endpoint.name
        self.route = Route(
            name=f"push-{endpoint}",
            endpoint=endpoint,
            direction="push",
            remote=b"/",
            local=root,
            settle=0.0,
        )
        self.folder = SourceFolder(root, route=self.route.name)
        self._scene = scene
        ledger = scene.ledger
        self.work = Work(self.route, scene.session, ledger, scene.tally, StopFlag(), lambda _: True)
        poll = ledger.polls.begin(self.route.name, self.route.target, until_s=60)
        assert poll is not None
        entries, _ = self.folder.entries()
        decision = decide(entries, {}, Rules.of(self.route), poll.began_at, complete=True)
        ledger.polls.apply(poll, decision.changes, complete=True, reason=None, listed=len(entries))

    def claim(self, lease_s: float = 60.0) -> list[Claim]:
        """The file, claimed."""
        claims = self._scene.ledger.claims.claim(
            self.route.name, self.route.target, files=1, bytes=1 << 40, lease_s=lease_s
        )
        assert len(claims) == 1
        return claims

    def begun(self, part: bytes) -> list[Claim]:
        """The file, claimed anew after a worker that was killed when the server had so much of it."""
        ledger = self._scene.ledger
        [first] = self.claim(lease_s=0.0)
        ledger.claims.took_over([first])
        temp = temp_name(ledger.id, first.path_id, first.version_id, first.fence)
        self._scene.server.files[b"/" + temp.encode()] = part
        return self.claim()

    def error(self) -> str:
        """What the ledger says of the file's last failure."""
        [row] = self._scene.ledger.history.rows(route=self.route.name, limit=2)
        return row.last_error or ""


def temps(server: ScriptedServer) -> list[bytes]:
    """What lies at the partner under a name that is not final."""
    return [path for path in server.files if path.rpartition(b"/")[2].startswith(TEMP_PREFIX)]
