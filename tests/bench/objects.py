"""Small files into an object store, beside the same into a folder, and beside what the store alone takes."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import obstore
import pytest
from obstore.store import S3Store

from tests.bench.items import BEST, KIB, Scale
from tests.bench.measure import TurnFailed
from tests.bench.scene import make_files
from tests.bench.work import Work, same
from tests.servers.certificates import Certificates
from tests.servers.command import Site
from tests.servers.kinds import KINDS
from tests.servers.ports import FreePorts
from tests.servers.s3 import KEY, S3, SECRET, point_at
from tests.servers.server import FtpServer
from workers.stores.bucket import DIGEST, MARK

SIZE = 10 * KIB
THREADS = (4, 8, 16, 32)
"""Puts side by side; the quickest number counts as what the store takes."""
LINES = (1, 4)
LIMIT_S = 600.0
STORES: dict[str, Callable[[Path, int], S3]] = {"moto": S3, "rclone serve s3": S3.of_rclone}
_TOLD = {MARK: f".towline-{'0' * 24}", DIGEST: "0" * 64}
ALONE, FOLDER = "the store alone", "into a folder"


def objects(folder: Path, certificates: Certificates, scale: Scale) -> dict[str, dict[str, list[float]]]:
    """Files a second of each turn, by store and lines: {"moto, 1 line": {"the store alone": […], …}}.

    Raises Unavailable.
    """
    name, tls = BEST[0]
    count = scale.small
    found: dict[str, dict[str, list[float]]] = {}
    with contextlib.ExitStack() as opened:
        ports = FreePorts()
        opened.callback(ports.close)
        server = opened.enter_context(KINDS[name](folder / "server", certificates, tls_version=tls))
        make_files(Work("objects", "", "down", same(count, SIZE)), server.root / "out")
        for kind, start in STORES.items():
            place = folder / kind.replace(" ", "-")
            place.mkdir(parents=True)
            with start(place, ports.next()) as store, pytest.MonkeyPatch.context() as patch:
                point_at(store.url, patch)
                store.bucket("bench", versions=False)
                for turn in range(scale.repeat):
                    for lines in LINES:
                        work = _Turn(place / f"{turn}-{lines}", server, lines, count)
                        told = found.setdefault(f"{kind}, {lines} line{'s' * (lines > 1)}", {})
                        told.setdefault(ALONE, []).append(_alone(store, work.name, count))
                        told.setdefault("into it", []).append(work.run(f"s3://bench/{work.name}"))
                        told.setdefault(FOLDER, []).append(work.run("in"))
    return found


class _Turn:
    """One number of lines, with a ledger of its own for each target."""

    def __init__(self, folder: Path, server: FtpServer, lines: int, count: int) -> None:
        self.name = folder.name
        self._folder = folder
        self._server = server
        self._lines = lines
        self._count = count

    def run(self, local: str) -> float:
        """`towline run` into `local`, from its start to its end; files a second. Raises TurnFailed."""
        site = Site(self._folder / local.partition(":")[0], self._server, route={"local": local})
        site.towline("routes")  # makes the ledger, which users have already
        began = time.perf_counter()
        ran = site.towline("run", "statements", "--sessions", str(self._lines), limit_s=LIMIT_S)
        took = time.perf_counter() - began
        if ran.returncode or f"{self._count:,} files published" not in ran.stdout:
            raise TurnFailed(ran.stderr or ran.stdout)
        return self._count / took


def _alone(store: S3, name: str, count: int) -> float:
    """Puts a second of the same sizes and with as much metadata, by a program that does nothing else."""
    bare = S3Store(
        "bench",
        endpoint=store.url,
        access_key_id=KEY,
        secret_access_key=SECRET,
        region="us-east-1",
        client_options={"allow_http": True},
    )
    content = os.urandom(SIZE)

    def rate(threads: int) -> float:
        began = time.perf_counter()
        with ThreadPoolExecutor(threads) as pool:
            for _ in pool.map(lambda number: _put(bare, f"{name}/{threads}/{number}", content), range(count)):
                pass
        return count / (time.perf_counter() - began)

    return max(map(rate, THREADS))


def _put(store: S3Store, key: str, content: bytes) -> None:
    obstore.put(store, key, content, attributes=_TOLD, mode="create", use_multipart=False)
