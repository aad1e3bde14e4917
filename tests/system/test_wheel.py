"""Towline as others meet it: an installed wheel, plain celery commands, callers that have nothing of ours."""

from __future__ import annotations

import hashlib
import json
import subprocess
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.servers.server import FtpServer
from tests.servers.valkey import Valkey
from tests.system.services import Flower, Service
from tests.waiting import wait_until

pytestmark = pytest.mark.timeout(400)

LOGIN = "towline:seen-by-nobody"
FIRST, SECOND = b"a" * 70_000, b"b" * 90_000
READY_WITHIN = 120.0  # seconds; four programs that start at once on two busy cores
ANSWERS_WITHIN = 60.0

# The caller's whole program: its own app, a name, a queue.
CALLER = """
import json, sys
from celery import Celery
{imports}
address, route, paths = sys.argv[1], sys.argv[2], json.loads(sys.argv[3])
app = Celery("somebody-else", broker=address, backend=address)
sent = app.send_task("towline.fetch", kwargs={{"route": route, "paths": paths}}, queue="towline.transfers")
try:
    said = {{"result": sent.get(timeout={within})}}
except Exception as failure:
    kind = type(failure)
    said = {{"failure": [kind.__module__, kind.__name__, list(failure.args)], "same": {same}}}
print(json.dumps(said))
"""


@dataclass(frozen=True, slots=True)
class Deployment:
    """What runs, and how a caller reaches it."""

    broker: str
    server: FtpServer
    local: Path
    flower: Flower

    def call(
        self, python: Path, route: str, paths: list[str], *, imports: str = "", same: str = "None"
    ) -> Any:
        """What a caller's own program gets for a `towline.fetch`; run by `python` in a folder of its own."""
        program = CALLER.format(imports=imports, same=same, within=ANSWERS_WITHIN)
        done = subprocess.run(
            [python, "-c", program, self.broker, route, json.dumps(paths)],
            cwd=python.parent,
            env={"PATH": "/usr/bin:/bin"},
            capture_output=True,
            text=True,
            timeout=2 * ANSWERS_WITHIN,
        )
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)


@pytest.fixture(scope="module")
def elsewhere(installed: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The Python of somebody else's environment: Celery and redis, and nothing of ours."""
    folder = tmp_path_factory.mktemp("elsewhere") / "environment"
    wheels = installed.parents[2] / "src" / "wheels"
    subprocess.run([installed / "python", "-m", "venv", folder], check=True)
    subprocess.run(
        [folder / "bin" / "pip", "install", "-q", "--no-index", "--find-links", wheels, "celery[redis]"],
        check=True,
        capture_output=True,
    )
    return folder / "bin" / "python"


@pytest.fixture
def deployment(
    installed: Path,
    tmp_path: Path,
    valkey: Valkey,
    start_server: Callable[..., FtpServer],
    free_port: Callable[[], int],
) -> Iterator[Deployment]:
    """The four commands of the contract, in an empty folder, with nothing but TOWLINE_CONFIG."""
    server = start_server("pyftpdlib", tls="implicit")
    (server.root / "outgoing").mkdir()
    (server.root / "outgoing" / "first.dat").write_bytes(FIRST)
    empty, logs, local = (tmp_path / name for name in ("empty", "logs", "files"))
    empty.mkdir()
    logs.mkdir()
    configuration = tmp_path / "towline.toml"
    configuration.write_text(
        f"""
        [towline]
        broker = "{valkey.url()}"
        state_dir = "{tmp_path}/state"

        [endpoints.bank]
        host = "localhost"
        port = {server.port}
        user = "{server.user}"
        password = "{server.password}"
        tls = "implicit"
        ca_file = "{server.ca_file}"

        [routes.statements]
        endpoint = "bank"
        remote = "/outgoing"
        local = "{local}"
        every = "1h"
        settle = "0s"
        """
    )
    port = free_port()
    commands = {
        "polls": ["worker", "-n", "polls@%h", "-Q", "towline.polls", "-c", "2"],
        "transfers": ["worker", "-n", "transfers@%h", "-Q", "towline.transfers", "-c", "4"],
        "beat": ["beat"],
        "flower": ["flower", f"--basic-auth={LOGIN}", f"--port={port}", "--address=127.0.0.1"],
    }
    with ExitStack() as running:
        for name, arguments in commands.items():
            command: list[str | Path] = [installed / "celery", "-A", "workers.app", *arguments]
            environment = {"TOWLINE_CONFIG": str(configuration)}
            running.enter_context(Service(name, command, environment=environment, folder=empty, logs=logs))
        yield Deployment(valkey.url(), server, local, Flower(port, LOGIN))
        assert list(empty.iterdir()) == []


def test_the_wheel_brings_its_own_code(installed: Path, tmp_path: Path) -> None:
    """What `import workers` finds in an empty folder is the wheel's, and the command says its version."""
    said = subprocess.run(
        [installed / "python", "-c", "import beat_schedule, tasks, workers; print(workers.__file__)"],
        cwd=tmp_path,
        env={},
        capture_output=True,
        text=True,
    )
    assert Path(said.stdout.strip()).is_relative_to(installed.parent / "lib"), said.stderr
    wheels = installed.parents[2] / "src" / "wheels"
    (wheel,) = wheels.glob("towline-*.whl")
    version = subprocess.run([installed / "towline", "--version"], capture_output=True, text=True)
    assert wheel.name.split("-")[1] in version.stdout


def test_a_foreign_app_gets_files_results_and_failures(
    deployment: Deployment, installed: Path, elsewhere: Path
) -> None:
    """Beat brings one file, a foreign app another, with its result; a failure keeps its name and arguments.

    Whoever has imported `workers.errors` gets it as that class.
    """
    wait_until((deployment.local / "first.dat").exists, READY_WITHIN, what="beat's first poll brought a file")
    assert (deployment.local / "first.dat").read_bytes() == FIRST
    wait_until(lambda: deployment.flower.nodes() == {"polls", "transfers"}, READY_WITHIN, what="Flower")

    (deployment.server.root / "outgoing" / "second.dat").write_bytes(SECOND)
    result = deployment.call(elsewhere, "statements", ["/outgoing/first.dat", "/outgoing/second.dat"])[
        "result"
    ]
    assert (result["route"], result["published"], result["already"], result["bytes"]) == (
        "statements",
        1,
        1,
        len(SECOND),
    )
    (file,) = result["files"]
    assert (deployment.local / "second.dat").read_bytes() == SECOND
    assert file == {
        "path": "/outgoing/second.dat",
        "bytes": len(SECOND),
        "sha256": hashlib.sha256(SECOND).hexdigest(),
        "local": str(deployment.local / "second.dat"),
    }

    unknown = deployment.call(elsewhere, "statments", [])
    module, name, arguments = unknown["failure"]
    assert (name, arguments) == ("UnknownName", ["route", "statments", "statements"])
    assert module != "workers.errors"  # it has no such module

    known = deployment.call(
        installed / "python",
        "statments",
        [],
        imports="from workers.errors import UnknownName",
        same="kind is UnknownName and failure.nearest",
    )
    assert known["failure"] == ["workers.errors", "UnknownName", ["route", "statments", "statements"]]
    assert known["same"] == "statements"
