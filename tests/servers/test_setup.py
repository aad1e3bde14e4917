"""The set-up is honest: a missing server is never passed over in silence, and two runs keep apart."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from tests.servers.ports import SIZE, PortBlock
from tests.servers.valkey import Valkey

REPOSITORY = Path(__file__).resolve().parents[2]
HERE = "tests/servers/test_real_servers.py"


def run_pytest(which: str, *options: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """A pytest of its own on the real servers' tests that `which` selects."""
    inherited = {
        key: value for key, value in os.environ.items() if not key.startswith(("PYTEST", "TOWLINE", "CI"))
    }
    return subprocess.run(
        [sys.executable, "-m", "pytest", HERE, "-k", which, "-p", "no:cacheprovider", *options],
        cwd=REPOSITORY,
        env={**inherited, **environment},
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )


def test_missing_server_skips_at_home_and_fails_in_ci(tmp_path: Path) -> None:
    """Without apt-get and without a cache the reason is in the summary; CI=true makes it a failure."""
    nothing = {"TOWLINE_TEST_CACHE": str(tmp_path), "PATH": str(tmp_path)}
    at_home = run_pytest("wrong_password and vsftpd", **nothing)
    assert at_home.returncode == 0, at_home.stdout
    assert "1 skipped" in at_home.stdout
    assert "vsftpd: this machine has no apt-get" in at_home.stdout
    in_ci = run_pytest("wrong_password and vsftpd", **nothing, CI="true")
    assert in_ci.returncode == 1
    assert "vsftpd: this machine has no apt-get" in in_ci.stdout


@pytest.mark.parametrize("workers", [pytest.param("0", marks=pytest.mark.long), "2"])
def test_server_without_a_passed_test_fails_the_run(workers: str) -> None:
    """The counts are right with and without xdist, and one of zero fails a run that has to have them all."""
    options = ("-n", workers)
    free = run_pytest("wrong_password and pyftpdlib", *options)
    assert free.returncode == 0, free.stdout
    assert "tests passed per real server: vsftpd 0, proftpd 0, pure-ftpd 0, pyftpdlib 1" in free.stdout
    strict = run_pytest("wrong_password and pyftpdlib", *options, TOWLINE_REQUIRE_SERVERS="1")
    assert strict.returncode == 1
    assert "no test passed on vsftpd, proftpd, pure-ftpd" in strict.stdout


def test_blocks_of_ports_dont_overlap() -> None:
    """A block that is held isn't given twice, nor one in which somebody listens."""
    blocks = [PortBlock.take() for _ in range(5)]
    try:
        assert len({port for block in blocks for port in block}) == 5 * SIZE
        with socket.create_server(("127.0.0.1", blocks[0].first + 3)):
            blocks[0].close()
            others = {PortBlock.take().first for _ in range(3)}
            assert blocks[0].first not in others
    finally:
        for block in blocks:
            block.close()


def test_valkey_keeps_its_data_when_it_is_started_again(valkey: Valkey) -> None:
    """The broker of the tests may be taken away and come back, with its password and its data."""

    def ask(*words: str) -> bytes:
        with socket.create_connection((valkey.host, valkey.port), 60) as line:
            line.sendall(f"AUTH {valkey.password}\r\n{' '.join(words)}\r\nQUIT\r\n".encode())
            return b"".join(iter(lambda: line.recv(4096), b""))

    assert b"+OK" in ask("SET", "a", "1")
    valkey.stop()
    with pytest.raises(ConnectionRefusedError):
        ask("PING")
    valkey.start()
    assert b"$1\r\n1\r\n" in ask("GET", "a")
