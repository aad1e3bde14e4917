"""The `towline` command: a file a verb, or a family of verbs, imported when it is called.

A new verb is a new file here and a line in `VERBS`; its function carries the verb's name. It gets the
configuration from `configuration()`, prints what people read with rich or click, and lets failures of
`workers.errors` fly: they become a sentence and an exit code here (`exits.py`).
"""

from __future__ import annotations

import gc
import importlib
import sys
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

import click

from workers import __version__
from workers.cli.exits import INTERRUPTED, code_of, sentence
from workers.errors import TowlineError

if TYPE_CHECKING:
    from workers.settings import Settings

# Verb: the module of this package that holds it, and its line in --help. The text is here, and not in the
# modules alone, so that --help imports none of them.
VERBS: dict[str, tuple[str, str]] = {
    "demo": ("demo", "Watch the main job run, against a server of its own."),
    "up": ("up", "Run broker, workers, beat and Flower as one process tree."),
    "init": ("init", "Try a server, and write a configuration for it."),
    "config": ("config", "What is configured, and where each value comes from."),
    "check": ("check", "Try the configuration, then each endpoint and route for real."),
    "ls": ("ls", "List a remote folder."),
    "get": ("get", "Fetch files now."),
    "put": ("put", "Send files now."),
    "run": ("run", "One whole round of a route, in the foreground, without a broker."),
    "submit": ("submit", "Put a task on the queue."),
    "routes": ("routes", "A line a route: when it was last listed, what waits, what failed."),
    "history": ("history", "What happened to which file."),
    "explain": ("explain", "Why a file is, or is not, here yet."),
    "sessions": ("sessions", "The lines held now, over the whole fleet."),
    "retry": ("control", "Try a file again."),
    "announce": ("announce", "Send follow-on tasks once more."),
    "pause": ("control", "Stop work on a route or an endpoint."),
    "resume": ("control", "Go on with a route or an endpoint."),
    "adopt": ("adopt", "After a deliberate move: make this ledger the broker's."),
}

_CONFIG = "workers.cli.config"


class Verbs(click.Group):
    """A group whose commands are imported when they are called, and whose failures become exit codes."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002
        """All verbs, in the order of the table."""
        return list(VERBS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002
        """Import the verb's module; None for an unknown verb."""
        if cmd_name not in VERBS:
            return None
        module = _imported(f"workers.cli.{VERBS[cmd_name][0]}")
        command: click.Command = getattr(module, cmd_name)
        _take_config(command)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002
        """The verbs' lines of --help, without importing them."""
        with formatter.section("Verbs"):
            formatter.write_dl([(verb, line) for verb, (_, line) in VERBS.items()])

    def invoke(self, ctx: click.Context) -> Any:
        """Run the verb; a failure ends in one sentence on stderr and its exit code."""
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt:
            # click would say "Aborted!" and exit with 1.
            ctx.exit(INTERRUPTED)
        except TowlineError as failure:
            click.echo(f"towline: {sentence(failure)}", err=True)
            ctx.exit(code_of(failure))


def _imported(name: str) -> ModuleType:
    """The module of a verb, with all it imports.

    That makes a hundred thousand objects, all of which stay. To look through them for garbage, again and
    again while they become more, and once more at the exit, would be a quarter of what a short round costs.
    """
    if name in sys.modules:
        return sys.modules[name]
    gc.disable()
    try:
        return importlib.import_module(name)
    finally:
        gc.freeze()
        gc.enable()


def configuration() -> Settings:
    """The settings this call of the command works with. Raises ConfigurationError."""
    from workers import settings  # pydantic costs a tenth of a second, which --help need not pay

    return settings.load(click.get_current_context().find_root().meta.get(_CONFIG))


def _remember_config(ctx: click.Context, _: click.Parameter, value: Path | None) -> None:
    if value is not None:
        ctx.find_root().meta[_CONFIG] = value


def _config_option() -> click.Option:
    return click.Option(
        ["--config"],
        type=click.Path(path_type=Path),
        metavar="FILE",
        expose_value=False,
        is_eager=True,
        callback=_remember_config,
        help="The configuration; else $TOWLINE_CONFIG, ./towline.toml, /etc/towline/towline.toml.",
    )


def _take_config(command: click.Command) -> None:
    """Let a verb (and the verbs below it) take --config as well: it may stand before or after the verb."""
    if not any("--config" in parameter.opts for parameter in command.params):
        command.params.append(_config_option())
    if isinstance(command, click.Group):
        for below in command.commands.values():
            _take_config(below)


main = Verbs(
    name="towline",
    params=[_config_option()],
    help="Moves files over FTPS on a schedule, and does not lose the line.",
    context_settings={"help_option_names": ["-h", "--help"]},
)
click.version_option(__version__, prog_name="towline", message="%(prog)s %(version)s")(main)
