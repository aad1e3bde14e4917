"""What the verbs that work without a broker share: a process of their own, names, refusals in words."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import IO, Any

import click

from workers import wire_log as wire
from workers.cli import configuration
from workers.cli.exits import SOME_FAILED, WRONG
from workers.errors import ConfigurationError, PermissionRefused, TowlineError
from workers.ftps.errors import BadName, Forbidden, Missing, Refused
from workers.looking import Listed, look
from workers.names import parsed, printable
from workers.process import Process
from workers.session import Tally
from workers.settings import Settings

_WIRE = "workers.cli.wire"


class Ended(click.ClickException):
    """A verb that ends with a sentence and an exit code of its own."""

    exit_code: int  # type: ignore[misc]  # click has it as a constant of the class

    def __init__(self, message: str, code: int = SOME_FAILED) -> None:
        super().__init__(message)
        self.exit_code = code

    def show(self, file: IO[Any] | None = None) -> None:
        """The sentence, like those of all other failures."""
        click.echo(f"towline: {self.format_message()}", err=True, file=file)


class RemoteName(click.ParamType[bytes]):
    r"""A remote path as people type it: `\xNN` for a byte that isn't UTF-8, `\\` for a backslash."""

    name = "path"

    def __init__(self, *, from_root: bool) -> None:
        """from_root: a path without a slash in front begins at the root, else wherever the verb says."""
        self._from_root = from_root

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> bytes:
        """The path as bytes."""
        if isinstance(value, bytes):
            return value
        try:
            path = parsed(value)
        except ValueError as wrong:
            self.fail(str(wrong), param, ctx)
        if not path:
            self.fail("the path is empty", param, ctx)
        # Towline never changes the folder of a line (design R11), so nothing is relative to one.
        return b"/" + path if self._from_root and not path.startswith(b"/") else path


REMOTE = RemoteName(from_root=True)
REMOTE_OF_ROUTE = RemoteName(from_root=False)


def _speak(ctx: click.Context, param: click.Parameter, count: int) -> None:  # noqa: ARG001
    if count:
        form = "%(asctime)s %(name)s: %(message)s"
        logging.basicConfig(level=logging.INFO if count == 1 else logging.DEBUG, format=form)


verbose_option = click.option(
    "-v",
    "--verbose",
    count=True,
    expose_value=False,
    callback=_speak,
    help="Tell on stderr what happens to the line.",
)


def _show_wire(ctx: click.Context, param: click.Parameter, wanted: bool) -> None:  # noqa: ARG001
    if wanted:
        shown = logging.StreamHandler()
        shown.setFormatter(logging.Formatter("%(asctime)s.%(msecs)03d %(message)s", "%H:%M:%S"))
        # With --verbose the same lines would come twice.
        wire.log.propagate = False
        wire.log.addHandler(shown)

        def stop() -> None:
            wire.log.removeHandler(shown)
            wire.log.propagate = True

        ctx.call_on_close(stop)
        ctx.meta[_WIRE] = True


wire_option = click.option(
    "--wire",
    is_flag=True,
    expose_value=False,
    callback=_show_wire,
    help="Show every command and reply on stderr; never the password.",
)


@contextmanager
def foreground() -> Iterator[Process]:
    """What this command holds while it works; closed at its end, however it ends."""
    settings = configuration()
    if click.get_current_context().meta.get(_WIRE):
        settings = _with_wire_log(settings)
    process = Process(settings)
    try:
        _open_ledger(process)
        yield process
    finally:
        process.close()


def _with_wire_log(settings: Settings) -> Settings:
    told = {name: one.model_copy(update={"wire_log": True}) for name, one in settings.endpoints.items()}
    return settings.model_copy(update={"endpoints": told})


def _open_ledger(process: Process) -> None:
    """Open it now: a state_dir that can't be written is told as what it is."""
    try:
        _ = process.ledger
    except OSError as failure:
        raise ConfigurationError(
            "[towline] state_dir",
            f"{failure.filename or process.settings.state_dir}: {failure.strerror}",
            "name a folder that this user may write to",
        ) from failure


@contextmanager
def refusals(endpoint: str, path: bytes) -> Iterator[None]:
    """Around what asks a server about `path`: its refusals become PermissionRefused or `Ended`."""
    try:
        yield
    except Refused as refusal:
        raise refused(endpoint, path, refusal) from refusal
    except BadName as wrong:
        raise Ended(f"{printable(path)}: no command can carry this name: {wrong}", WRONG) from wrong


def listed(
    process: Process,
    endpoint: str,
    folder: bytes,
    tally: Tally,
    *,
    depth: int = 0,
    enters: Callable[[bytes], bool] = lambda _: True,
) -> Listed:
    """`looking.look`, with its refusals told: raises PermissionRefused and `Ended` instead."""
    with refusals(endpoint, folder):
        return look(process.session(endpoint), folder, tally=tally, depth=depth, enters=enters)


def refused(endpoint: str, path: bytes, refusal: Refused) -> TowlineError | Ended:
    """What a refusal means for a person: forbidden, missing, or just the server's words."""
    shown = printable(path)
    if isinstance(refusal, Forbidden):
        return PermissionRefused(endpoint, shown, str(refusal))
    if isinstance(refusal, Missing):
        return Ended(f"{endpoint} has no {shown} ({refusal})\n  look with `towline ls {endpoint} …`")
    return Ended(f"{endpoint} refused {shown}: {refusal}")
