"""Files of all sizes, from every server in every way it offers TLS, through beat, broker and workers."""

from __future__ import annotations

import os
import random
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.servers.kinds import KINDS, OFFERS
from tests.servers.server import FtpServer, TlsMode, TlsVersion
from tests.servers.valkey import Valkey
from tests.system.stack import Stack, digests, endpoint
from tests.waiting import wait_until

StartServer = Callable[..., FtpServer]

KIB, MIB = 1024, 1024 * 1024

# Sizes around the edges: nothing, one byte, a TLS record (16 KiB) and its neighbours, a socket's buffer.
EDGES = (0, 1, 4095, 4096, 4097, 16 * KIB - 1, 16 * KIB, 16 * KIB + 1, 64 * KIB, 200_000, MIB, 3 * MIB + 7)
ARRIVE_WITHIN = 120.0  # seconds, on a busy machine


def fill(folder: Path, count: int, *largest: int) -> None:
    """Put `count` files into a server's folder: the edges, `largest`, and small ones of all sizes."""
    dice = random.Random(count)
    sizes = [*EDGES, *largest]
    sizes += [int(2 ** dice.uniform(0, 17)) for _ in range(count - len(sizes))]
    for number, size in enumerate(sizes):
        (folder / f"file-{number:03}-{size}.bin").write_bytes(dice.randbytes(size))
        os.utime(folder / f"file-{number:03}-{size}.bin", (1_600_000_000 + number,) * 2)


def arrive(stack: Stack, servers: dict[str, FtpServer]) -> None:
    """Wait until every route has all its server's files, and compare them."""
    sent = {route: digests(server.root) for route, server in servers.items()}

    def missing() -> dict[str, int]:
        return {
            route: len(left) for route, files in sent.items() if (left := files.keys() - stack.landed(route))
        }

    wait_until(lambda: not missing(), ARRIVE_WITHIN, what="all files")
    assert {route: digests(stack.landing(route)) for route in sent} == sent


def logged(server: FtpServer, count: int) -> None:
    """Wait until the server's log has `count` transfers: it may come after the reply."""
    wait_until(lambda: server.transfers() >= count, ARRIVE_WITHIN, what=f"{count} transfers in the log")


@pytest.mark.parametrize("name", list(KINDS))
def test_sixty_mixed_files_arrive_however_tls_begins(
    start_server: StartServer, valkey: Valkey, tmp_path: Path, name: str
) -> None:
    """Sixty files from the server in each of its ways, explicit and implicit, TLS 1.2 and 1.3."""
    servers = {
        f"{tls}-{version[-1]}": start_server(name, tls=tls, tls_version=version)
        for tls in KINDS[name].modes
        for version in ("1.2", "1.3")
    }
    for server in servers.values():
        fill(server.root, 60)
    with Stack(
        tmp_path,
        valkey.url(),
        endpoints={way: endpoint(server) for way, server in servers.items()},
        routes={way: {"endpoint": way, "remote": "/", "every": "5s"} for way in servers},
        polls=2,
        transfers=2,
    ) as stack:
        stack.start("polls", "transfers", "beat")
        arrive(stack, servers)
        for way, server in servers.items():
            logged(server, 60)
            assert server.transfers() == 60, way


@pytest.mark.parametrize(
    ("name", "tls", "version"),
    [
        pytest.param(*offer, marks=() if offer == ("vsftpd", "explicit", "1.3") else pytest.mark.long)
        for offer in OFFERS
    ],
)
def test_five_hundred_files_up_to_64_mib_arrive(
    start_server: StartServer, valkey: Valkey, tmp_path: Path, name: str, tls: TlsMode, version: TlsVersion
) -> None:
    """In several batches, fetched by two processes at a time; each file is sent once."""
    server = start_server(name, tls=tls, tls_version=version)
    fill(server.root, 500, 8 * MIB, 64 * MIB)
    with Stack(
        tmp_path,
        valkey.url(),
        endpoints={"bank": endpoint(server)},
        routes={"big": {"endpoint": "bank", "remote": "/", "every": "5s", "batch": {"files": 128}}},
        transfers=2,
    ) as stack:
        stack.start("polls", "transfers", "beat")
        arrive(stack, {"big": server})
        logged(server, 500)
        assert sorted(server.retrieved()) == sorted(f"/{path.name}" for path in server.root.iterdir())
        first = stack.said().count("bank: line built: first_use")
        assert first in (2, 3), "one for each process of the two pools that had something to do"
        # A server that meets its last port in use refuses EPSV, and is asked anew.
        wait_until(
            lambda: server.logins() == stack.said().count("bank: line built: "), what="a login for each line"
        )


def test_a_server_that_crashes_again_and_again_delivers_everything(
    start_server: StartServer, valkey: Valkey, tmp_path: Path
) -> None:
    """ProFTPD with its shared TLS cache dies under TLS 1.3 now and then, and takes the line with it.

    Now and then may be once in a thousand transfers, so three crashes are added.
    """
    server = start_server("proftpd", shmcache=True, tls_version="1.3")
    fill(server.root, 400)
    with Stack(
        tmp_path,
        valkey.url(),
        endpoints={"bank": endpoint(server)},
        routes={"weather": {"endpoint": "bank", "remote": "/", "every": "2s"}},
    ) as stack:
        stack.start("polls", "transfers", "beat")
        killed = 0
        for count in (30, 100, 200):
            logged(server, count)
            killed += wait_until(server.kill_lines, what="a line to kill: one may just be being rebuilt")
        arrive(stack, {"weather": server})
        wait_until(lambda: server.logins() >= 5, what="the lines that were killed are rebuilt")
        # Its cache, once broken, ends lines in more ways than by a crash: with an alert, say. One that was
        # killed between its login and its first use was never a line to be given up.
        logins = server.logins()
        assert logins <= 2 + killed + stack.said().count("line given up: ")
        assert {row.attempts for row in stack.rows("weather")} == {0}
