"""Three hundred transfers over one line of each real server, and from one that crashes again and again."""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from tests.servers.fetching import Fetching
from tests.servers.kinds import NAMES, resumes_data
from tests.servers.server import FtpServer, TlsVersion
from tests.servers.test_connection import peer_of
from tests.waiting import wait_until
from workers.ftps.connection import Connection

StartServer = Callable[..., FtpServer]

TRANSFERS = 300
EVERY = 60  # of its blocks a line is killed
ROUNDS = 10
"""Of fetching what has not arrived yet: a server that crashes may take all attempts of a file."""


@pytest.mark.parametrize("version", ["1.2", "1.3"])
@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("transfers", [10, pytest.param(TRANSFERS, marks=pytest.mark.long)])
def test_one_line_bears_them_all(
    start_server: StartServer, name: str, version: TlsVersion, transfers: int
) -> None:
    """Up and down in turn; each data connection resumes the line's TLS session, or is counted as a miss."""
    server = start_server(name, tls_version=version)
    line = Connection.open(peer_of(server))
    for number in range(0, transfers, 2):
        content = os.urandom(1_000 + number)
        path = b"/%d" % number
        assert line.store(path, [content], size=len(content)) == len(content)
        got = bytearray()
        assert line.retrieve(path, got.extend, size=len(content)) == len(content)
        assert bytes(got) == content
    assert (line.data_resumed, line.data_fresh) == (
        (transfers, 0) if resumes_data(name, version) else (0, transfers)
    )
    line.noop()
    line.close()
    wait_until(server.connections, what="the server's log says so")
    assert server.connections() == 1


@pytest.mark.long
@pytest.mark.timeout(600)
def test_three_hundred_files_arrive_from_a_server_that_crashes_again_and_again(
    start_server: StartServer, tmp_path: Path
) -> None:
    """ProFTPD with mod_tls_shmcache under TLS 1.3 (field note 21b): each file whole, each crash counted.

    Now and then may be once in a thousand transfers, so some crashes are added.
    """
    server = start_server("proftpd", tls_version="1.3", shmcache=True)
    files = {f"{number:03}": os.urandom(2_000) for number in range(TRANSFERS)}
    for name, content in files.items():
        (server.root / name).write_bytes(content)
    with closing(Fetching(server, tmp_path / "towline")) as one:
        one.poll()
        published = asked = added = 0

        def strike(_: int) -> bool:
            nonlocal asked, added
            asked += 1
            if asked % EVERY == 0:
                added += bool(server.kill_lines())
            return True

        for _ in range(ROUNDS):
            published += one.fetch(holds=strike).published
            if published == TRANSFERS:
                break
            one.poll()
        assert one.files() == files
        assert published == TRANSFERS
        crashes = (server.folder / "system.log").read_text().count("signal 11")
        print(f"crashes of its own: {crashes}, added: {added}, lines rebuilt: {one.tally.reconnects}")
        assert 0 < added <= one.tally.reconnects
