"""Lines that are rebuilt again and again in one process leave nothing behind (field note 12)."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Iterator

import pytest

from tests.servers.certificates import Certificates
from tests.servers.server import TlsMode

MOST_GROWTH = 5 * 1024 * 1024

StartServer = Callable[[TlsMode], int]


@pytest.fixture
def start_ending(certificates: Certificates) -> Iterator[StartServer]:
    """Starts a server that ends every line at its first NOOP, in a process of its own; returns its port."""
    running: list[subprocess.Popen[str]] = []

    def start(tls: TlsMode) -> int:
        files = map(str, (certificates.ca_file, certificates.chain, certificates.key))
        command = [sys.executable, "-m", "tests.faults.ending_process", *files, tls]
        running.append(subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True))
        assert running[-1].stdout is not None
        return int(running[-1].stdout.readline())

    yield start
    for process in running:
        process.communicate(timeout=60)


SOAKED = (pytest.mark.soak, pytest.mark.timeout(3600))


@pytest.mark.parametrize(
    ("tls", "rebuilds"),
    [
        ("explicit", 300),
        pytest.param("implicit", 300, marks=pytest.mark.long),
        pytest.param("explicit", 10_000, marks=SOAKED),
        pytest.param("implicit", 10_000, marks=SOAKED),
    ],
)
def test_rebuilds_leave_nothing_behind(
    certificates: Certificates, start_ending: StartServer, tls: TlsMode, rebuilds: int
) -> None:
    """Descriptors and threads are as many as after 100, memory within 5 MiB; each line moves data."""
    arguments = [str(start_ending(tls)), str(certificates.ca_file), tls, str(rebuilds)]
    command = [sys.executable, "-m", "tests.faults.rebuilding_process", *arguments]
    told = json.loads(subprocess.run(command, stdout=subprocess.PIPE, check=True, text=True).stdout)
    print(told)
    early, late = told["early"], told["late"]
    assert (late["descriptors"], late["threads"]) == (early["descriptors"], early["threads"])
    assert late["rss"] - early["rss"] < MOST_GROWTH
    assert told["builds"]["idle_loss"] + told["builds"]["server_closed"] == rebuilds
