"""What tests of every tier share: real servers, certificates, ports, a broker.

And the count of tests that passed on each real server, so that none is silently left out.
"""

from __future__ import annotations

import os
import shutil
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any, NoReturn

import hypothesis
import pytest

from tests.servers.certificates import Certificates
from tests.servers.kinds import KINDS, NAMES
from tests.servers.packages import Unavailable
from tests.servers.ports import FreePorts
from tests.servers.postgres import Databases, Postgres
from tests.servers.s3 import S3
from tests.servers.server import FtpServer
from tests.servers.valkey import Valkey

RAN_ON = "ran_on_server"

# CI tries the same examples each time: what random ones find elsewhere becomes a test there. How long one
# takes is the machine's matter.
hypothesis.settings.register_profile(
    "towline",
    derandomize=os.environ.get("CI") == "true" or os.environ.get("TOWLINE_REQUIRE_SERVERS") == "1",
    deadline=None,
    suppress_health_check=[hypothesis.HealthCheck.too_slow],
)
hypothesis.settings.load_profile("towline")


@pytest.fixture(scope="session")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    """An authority, and a certificate for localhost, 127.0.0.1 and 127.0.0.2."""
    return Certificates.make(tmp_path_factory.mktemp("certificates"))


@pytest.fixture(scope="session")
def _free_ports() -> Iterator[FreePorts]:
    ports = FreePorts()
    yield ports
    ports.close()


@pytest.fixture
def free_port(_free_ports: FreePorts) -> Callable[[], int]:
    """Gives a port that nobody listens on, another one at each call."""
    return _free_ports.next


@pytest.fixture
def start_server(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, certificates: Certificates
) -> Iterator[Callable[..., FtpServer]]:
    """Starts a real FTP server that ends with the test: start_server("vsftpd", tls="implicit")."""
    with ExitStack() as servers:

        def start(name: str, **options: Any) -> FtpServer:
            folder = tmp_path_factory.mktemp(name)
            options.setdefault("certificates", certificates)
            try:
                server = KINDS[name](folder, **options)
            except Unavailable as why:
                _not_here(str(why))
            request.node.user_properties.append((RAN_ON, name))
            servers.callback(_clear_away, server)
            return servers.enter_context(server)

        yield start


@pytest.fixture
def valkey(tmp_path_factory: pytest.TempPathFactory, free_port: Callable[[], int]) -> Iterator[Valkey]:
    """A real Valkey server; valkey.url(database) is its address."""
    with Valkey(tmp_path_factory.mktemp("valkey"), free_port()) as server:
        yield server


@pytest.fixture(scope="session")
def s3(tmp_path_factory: pytest.TempPathFactory, _free_ports: FreePorts) -> Iterator[S3]:
    """An S3 server that many tests share, each with a bucket of its own."""
    with S3(tmp_path_factory.mktemp("s3"), _free_ports.next()) as server:
        yield server


@pytest.fixture(scope="session")
def databases(_free_ports: FreePorts) -> Iterator[Databases]:
    """A PostgreSQL that many tests share: the one that TOWLINE_TEST_POSTGRES names, or an embedded one."""
    if named := os.environ.get("TOWLINE_TEST_POSTGRES"):
        shared = Databases(named)
        yield shared
        shared.drop()
        return
    with _embedded(_free_ports) as server:
        yield server


@pytest.fixture
def postgres(_free_ports: FreePorts) -> Iterator[Postgres]:
    """A PostgreSQL of this test's own, which it may stop and start."""
    with _embedded(_free_ports) as server:
        yield server


def _embedded(ports: FreePorts) -> Postgres:
    try:
        return Postgres(ports.next())
    except Unavailable as why:
        _not_here(str(why))


def _clear_away(server: FtpServer) -> None:
    """Shows what the server logged (pytest prints it when the test failed), and drops its files."""
    for log in server.logs:
        if log.exists():
            print(f"--- {log}\n{log.read_text(errors='replace')[-4000:]}")
    shutil.rmtree(server.root, ignore_errors=True)


def _not_here(why: str) -> NoReturn:
    """A missing server skips a test at home and fails it in CI."""
    if os.environ.get("CI") == "true":
        pytest.fail(why, pytrace=False)
    pytest.skip(why)


class ServerCount:
    """Counts the tests that passed on each real server, from their reports: right under xdist too."""

    def __init__(self) -> None:
        self.passed: Counter[str] = Counter()
        self.required = os.environ.get("TOWLINE_REQUIRE_SERVERS") == "1"

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.when == "call" and report.passed:
            self.passed.update({str(name) for key, name in report.user_properties if key == RAN_ON})

    @property
    def without(self) -> list[str]:
        """The servers on which no test passed."""
        return [name for name in NAMES if not self.passed[name]]

    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        # Workers of xdist see only their share; the controller sees it all.
        if self.required and self.without and not hasattr(session.config, "workerinput"):
            session.exitstatus = max(int(session.exitstatus), int(pytest.ExitCode.TESTS_FAILED))

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        if not self.passed and not self.required:
            return
        counts = ", ".join(f"{name} {self.passed[name]}" for name in NAMES)
        terminalreporter.write_line(f"tests passed per real server: {counts}")
        if self.required and self.without:
            terminalreporter.write_line(f"FAILED: no test passed on {', '.join(self.without)}", red=True)


# The longest first: two processes then end together, instead of one waiting for the other's last file.
TIERS = ("system", "servers", "faults", "unit")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Whole deployments before real servers before pure code."""
    tests = Path(__file__).parent
    tier = {tests / name: number for number, name in enumerate(TIERS)}
    items.sort(key=lambda item: min((tier[place] for place in item.path.parents if place in tier), default=9))


def pytest_configure(config: pytest.Config) -> None:
    config.pluginmanager.register(ServerCount(), "towline-server-count")


def pytest_runtest_setup(item: pytest.Item) -> None:
    """A test marked server(name) that brings the server up by itself is counted as well."""
    for marker in item.iter_markers("server"):
        item.user_properties.append((RAN_ON, marker.args[0]))
