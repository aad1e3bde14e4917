"""Small files into an object store, beside the same into a folder, and beside what the store alone takes."""

from __future__ import annotations

import contextlib
import os
import resource
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path

import obstore
import pytest
from obstore.store import S3Store

from tests.bench.items import BEST, KIB, Scale
from tests.bench.measure import TurnFailed, cpu_of_tree
from tests.bench.scene import make_files
from tests.bench.work import Work, same
from tests.servers.certificates import Certificates
from tests.servers.command import Site
from tests.servers.kinds import KINDS
from tests.servers.ports import FreePorts
from tests.servers.s3 import KEY, S3, SECRET, point_at
from tests.servers.server import FtpServer
from workers.stores.bucket import DIGEST, MARK
from workers.stores.objects import ObjectFolder

SIZE = 10 * KIB
LINES = (1, 4)
ROUNDS = 5
LIMIT_S = 600.0
STORES: dict[str, Callable[[Path, int], S3]] = {"moto": S3, "rclone serve s3": S3.of_rclone}
ALONE, FOLDER, INTO_IT = "the store alone", "into a folder", "into it"
_TOLD = {MARK: f".towline-{'0' * 24}", DIGEST: "0" * 64}


@dataclass(frozen=True, slots=True)
class Turn:
    """Files a second, and the seconds of a processor that the turn took of each side."""

    rate: float
    client_cpu_s: float
    ftps_cpu_s: float
    store_cpu_s: float


def objects(folder: Path, certificates: Certificates, scale: Scale) -> dict[str, dict[str, list[object]]]:
    """Turns by store and lines: {"moto, 1 line": {"the store alone": [Turn as a dictionary, …], …}}.

    In each round who begins is another, and every turn writes below a prefix of its own. Raises Unavailable.
    """
    name, tls = BEST[0]
    count = scale.small
    found: dict[str, dict[str, list[object]]] = {}
    with contextlib.ExitStack() as opened:
        ports = FreePorts()
        opened.callback(ports.close)
        server = opened.enter_context(KINDS[name](folder / "server", certificates, tls_version=tls))
        make_files(Work("objects", "", "down", same(count, SIZE)), server.root / "out")
        for kind, start in STORES.items():
            for lines in LINES:
                place = folder / f"{kind.replace(' ', '-')}-{lines}"
                place.mkdir(parents=True)
                told = found[f"{kind}, {lines} line{'s' * (lines > 1)}"] = {}
                # A server of its own: moto keeps in memory, and walks through, whatever it was ever given.
                with start(place, ports.next()) as store, pytest.MonkeyPatch.context() as patch:
                    point_at(store.url, patch)
                    store.bucket("bench", versions=False)
                    for number in range(ROUNDS):
                        contest = _Round(place / str(number), server, store, lines, count)
                        for who in _in_turn(number):
                            told.setdefault(who, []).append(asdict(contest.turn(who)))
    return found


def _in_turn(number: int) -> Iterator[str]:
    """Everybody, another of them first in each round."""
    names = (ALONE, INTO_IT, FOLDER)
    for place in range(len(names)):
        yield names[(number + place) % len(names)]


class _Round:
    """One turn each, with a ledger of its own and a prefix of its own."""

    def __init__(self, folder: Path, server: FtpServer, store: S3, lines: int, count: int) -> None:
        self._folder = folder
        self._server = server
        self._store = store
        self._lines = lines
        self._count = count

    def turn(self, who: str) -> Turn:
        """Raises TurnFailed."""
        if who == ALONE:
            return self._timed(self._alone)
        local = f"s3://bench/{self._folder.name}" if who == INTO_IT else "in"
        site = Site(self._folder / local.partition(":")[0], self._server, route={"local": local})
        site.towline("routes")  # makes the ledger, which users have already
        return self._timed(lambda: self._run(site))

    def _timed(self, work: Callable[[], None]) -> Turn:
        assert self._server.process is not None
        processes = (self._server.process.pid, self._store.pid)
        before, own = [cpu_of_tree(pid) for pid in processes], _own_cpu()
        began = time.perf_counter()
        work()
        took, client = time.perf_counter() - began, _own_cpu() - own
        ftps, store = (cpu_of_tree(pid) - was for pid, was in zip(processes, before, strict=True))
        return Turn(self._count / took, client, ftps, store)

    def _run(self, site: Site) -> None:
        """`towline run` from its start to its end."""
        ran = site.towline("run", "statements", "--sessions", str(self._lines), limit_s=LIMIT_S)
        if ran.returncode or f"{self._count:,} files published" not in ran.stdout:
            raise TurnFailed(ran.stderr or ran.stdout)

    def _alone(self) -> None:
        """Puts of as many bytes, with as much metadata, by a program that does nothing else."""
        bare = S3Store(
            "bench",
            endpoint=self._store.url,
            access_key_id=KEY,
            secret_access_key=SECRET,
            region="us-east-1",
            client_options={"allow_http": True},
        )
        content = os.urandom(SIZE)
        keys = (f"alone/{self._folder.name}/{number}" for number in range(self._count))

        def put(key: str) -> None:
            obstore.put(bare, key, content, attributes=_TOLD, mode="create", use_multipart=False)

        with ThreadPoolExecutor(self._lines * ObjectFolder.side_by_side) as pool:
            for _ in pool.map(put, keys):
                pass


def _own_cpu() -> float:
    """CPU seconds of this process, and of those that it has waited for."""
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(one.ru_utime + one.ru_stime for one in used)
