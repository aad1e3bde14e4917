"""`towline up`: broker, workers, beat and Flower as one process tree.

It starts the plain celery commands that anybody may start himself, finds them their broker, and starts again
what dies.
"""

from __future__ import annotations

import fcntl
import importlib.util
import os
import secrets
import socket
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import click

from workers.broker import EmbeddedBroker
from workers.child import Child, Wait
from workers.cli import configuration
from workers.cli.exits import INTERRUPTED
from workers.cli.tree import Member, ProcessTree
from workers.errors import ConfigurationError
from workers.private import make_state_dir, write_private

if TYPE_CHECKING:
    from workers.settings import Settings

POLL_PROCESSES = 2
FLOWER_PORT = 5555  # Flower's own default
FLOWER_USER = "towline"
STOP_QUICKLY = 5.0  # seconds that beat, Flower and the broker have: none of them has work in hand
WORKER_MARGIN = 5.0  # seconds after stop_grace, for a worker to hand back what it holds

Tell = Callable[[str, str], None]  # who, line


@click.command()
@click.option(
    "--processes", type=click.IntRange(min=1), help="Processes for transfers. [default: 2 a core, 4 at most]"
)
@click.option("--no-flower", is_flag=True, help="Without Flower.")
@click.option(
    "--flower-port",
    type=click.IntRange(0, 65535),
    help=f"Flower's port on loopback; 0 for any. [default: {FLOWER_PORT}, or any where that is taken]",
)
def up(processes: int | None, no_flower: bool, flower_port: int | None) -> None:
    """Run broker, workers, beat and Flower as one process tree; Ctrl-C or SIGTERM stops it in order."""
    from workers.settings import check_time_budget
    from workers.settings.unbuilt import check_built

    settings = configuration()
    check_time_budget(settings)
    check_built(settings)
    tell = lines_to_stderr()
    with locked(settings.state_dir):
        port = None if no_flower else choose_flower_port(flower_port)
        if port is not None and importlib.util.find_spec("flower") is None:
            tell("towline", "no Flower: it is not installed (pip install 'towline[flower]')")
            port = None
        if port is not None:
            where = settings.state_dir / "flower.auth"
            tell("towline", f"Flower: http://127.0.0.1:{port} (user and password are in {where})")
        with broker_if_needed(settings, tell) as broker:
            stages = celery_stages(settings, tell, processes=processes, flower_port=port, broker=broker)
            orderly = ProcessTree(stages, tell=lambda line: tell("towline", line)).run()
    tell("towline", "stopped")
    if not orderly:
        click.get_current_context().exit(INTERRUPTED)


@contextmanager
def broker_if_needed(settings: Settings, tell: Tell) -> Iterator[EmbeddedBroker | None]:
    """The embedded broker, not started yet, where none is configured; its address is withdrawn at the end."""
    if settings.broker is not None:
        yield None
        return
    broker = EmbeddedBroker(settings.state_dir, log=lambda line: tell("broker", line))
    try:
        yield broker
    finally:
        broker.stop()


def celery_stages(
    settings: Settings,
    tell: Tell,
    *,
    processes: int | None = None,
    flower_port: int | None = None,
    broker: EmbeddedBroker | None = None,
    environment: Mapping[str, str] = os.environ,
) -> list[list[Member]]:
    """The stages of the tree, in the order in which they start.

    The commands are those of the contract, to the letter. `flower_port` None leaves Flower out; `broker`
    None means that one is configured.
    """
    base = {**environment, "TOWLINE_CONFIG": str(settings.path.resolve())}

    def celery(name: str, *arguments: str, stop_within: float, **extra: str) -> Member:
        # Not the `celery` script: it may belong to another environment than ours.
        command = [sys.executable, "-m", "celery", "-A", "workers.app", *arguments]
        return Member(
            name,
            lambda _: Child(command, line=lambda text: tell(name, text), environment={**base, **extra}),
            stop_within,
        )

    def worker(name: str, count: int) -> Member:
        arguments = ("worker", "-n", f"{name}@%h", "-Q", f"towline.{name}", "-c", str(count))
        return celery(name, *arguments, stop_within=settings.stop_grace + WORKER_MARGIN)

    stages = [
        [
            worker("polls", POLL_PROCESSES),
            worker("transfers", processes or min(4, 2 * (os.cpu_count() or 1))),
        ],
        [celery("beat", "beat", stop_within=STOP_QUICKLY)],
    ]
    if flower_port is not None:
        # Its options by environment: arguments can be read by everybody, in `ps`.
        flower = celery(
            "flower",
            "flower",
            stop_within=STOP_QUICKLY,
            FLOWER_ADDRESS="127.0.0.1",
            FLOWER_PORT=str(flower_port),
            FLOWER_BASIC_AUTH=flower_login(settings.state_dir),
        )
        stages.insert(0, [flower])
    if broker is not None:
        stages.insert(0, [Member("broker", lambda wait: started(broker, wait), STOP_QUICKLY)])
    return stages


def started(broker: EmbeddedBroker, wait: Wait) -> Child:
    """Start the broker (again), and return its process."""
    broker.start(wait)
    assert broker.child is not None
    return broker.child


@contextmanager
def locked(state_dir: Path) -> Iterator[None]:
    """Hold `state_dir` for one `up`. Raises ConfigurationError where another one holds it.

    A lock of the kernel, so it ends with its holder however he ends.
    """
    make_state_dir(state_dir)
    with (state_dir / "up.lock").open("a+") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as held:
            file.seek(0)
            raise ConfigurationError(
                str(state_dir),
                f"another `towline up` works there (process {file.read().strip() or 'unknown'})",
                "stop that one first, or give this one a state_dir of its own",
            ) from held
        file.truncate(0)
        file.write(f"{os.getpid()}\n")
        file.flush()
        yield


def choose_flower_port(wanted: int | None) -> int:
    """The port wanted, or the usual one, or any free one. Raises ConfigurationError: the wanted is taken."""
    for port in (wanted,) if wanted is not None else (FLOWER_PORT, 0):
        try:
            with socket.create_server(("127.0.0.1", port)) as listener:
                chosen: int = listener.getsockname()[1]
                return chosen
        except OSError as taken:
            reason = taken
    raise ConfigurationError(
        f"--flower-port {wanted}", reason.strerror or str(reason), "choose another one, or 0 for any"
    )


def flower_login(state_dir: Path) -> str:
    """Flower's `user:password`, made once and kept in state_dir/flower.auth (0600)."""
    kept = state_dir / "flower.auth"
    if not kept.exists():
        write_private(kept, f"{FLOWER_USER}:{secrets.token_urlsafe(18)}\n")
    return kept.read_text().strip()


def lines_to_stderr() -> Tell:
    """Lines of many processes, each under its name, one at a time."""
    one_at_a_time = threading.Lock()
    colours = dict(
        zip(("towline", "broker", "flower", "polls", "transfers", "beat"), range(1, 7), strict=True)
    )

    def tell(who: str, line: str) -> None:
        try:
            with one_at_a_time:
                click.echo(click.style(f"{who:>9} │ ", fg=colours.get(who)) + line, err=True)
        except BrokenPipeError:
            pass  # whoever read us has gone (`up 2>&1 | head`); the children must not stand still for it

    return tell
