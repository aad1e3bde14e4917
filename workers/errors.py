"""What users and tasks see when something fails: one class a failure, one screen.

Arguments are positional and JSON-able, so that a failure crosses Celery's JSON result backend and
pickling unchanged; `repr` shows them with names, since that is what Flower shows.
The protocol's own failures are in `workers.ftps.errors`.
"""

from __future__ import annotations

from typing import Any, ClassVar


class TowlineError(Exception):
    """A failure with named, positional, JSON-able arguments.

    Every subclass names its arguments once, in `names`; each is an attribute as well.
    """

    names: ClassVar[tuple[str, ...]] = ()

    def __init__(self, *args: Any) -> None:
        if len(args) != len(self.names):
            raise TypeError(f"{type(self).__name__} takes {', '.join(self.names)}; got {len(args)} arguments")
        super().__init__(*args)
        for name, value in zip(self.names, args, strict=True):
            setattr(self, name, value)

    def __repr__(self) -> str:
        told = ", ".join(f"{name}={value!r}" for name, value in zip(self.names, self.args, strict=True))
        return f"{type(self).__name__}({told})"

    __str__ = __repr__


class ReconnectFailed(TowlineError):
    """The line could not be rebuilt: every connect of the budget failed (exit code 3).

    attempts: connects tried in this task, the first included (0: the breaker was open).
    consecutive_failures: failed connects in a row at this endpoint, all processes together.
    reconnects: lines rebuilt with success in this task.
    """

    names = ("endpoint", "attempts", "consecutive_failures", "reconnects", "elapsed_s", "last_error")


class OperationFailed(TowlineError):
    """Lines are built, and the operation dies on each of them."""

    names = ("endpoint", "operation", "attempts", "reconnects", "elapsed_s", "last_error")


class LoginRefused(TowlineError):
    """The server refused user or password; the endpoint is closed until that changes (exit code 4)."""

    names = ("endpoint", "reply")


class CertificateRefused(TowlineError):
    """The server's certificate, or its TLS, is not what the configuration trusts (exit code 4)."""

    names = ("endpoint", "reason")


class PermissionRefused(TowlineError):
    """The server lets this account do something, but not this (exit code 4)."""

    names = ("endpoint", "path", "reply")


class EndpointClosed(TowlineError):
    """No line is built: a login was refused before, or the endpoint is paused. `towline resume` opens it."""

    names = ("endpoint", "since", "reason")


class EndpointBusy(TowlineError):
    """As many lines as `max_sessions` allows are in use, over the whole fleet (exit code 3)."""

    names = ("endpoint", "max_sessions", "waited_s")


class FilesFailed(TowlineError):
    """Some files of a batch failed; the others were published (exit code 1)."""

    names = ("route", "failed", "published", "reconnects", "first_error")


class ListingFailed(TowlineError):
    """Nothing usable came of a listing (exit code 5)."""

    names = ("route", "reason")


class UnknownName(TowlineError):
    """No such route, endpoint or key; `nearest` is the known name that looks most like it, or None."""

    names = ("kind", "name", "nearest")


class ConfigurationError(TowlineError):
    """The configuration is wrong: where, what, and what to do (exit code 2)."""

    names = ("where", "what", "remedy")


class BrokerNotRunning(TowlineError):
    """No broker is configured and no embedded one runs in `state_dir`."""

    names = ("state_dir", "remedy")


class StoreRefused(TowlineError):
    """The place where files land, here or at the partner, can't take them: full, read-only, missing."""

    names = ("route", "target", "reason")


class LedgerRefused(TowlineError):
    """The ledger can't be used: written by a newer Towline, another than the broker's, on a network disk."""

    names = ("ledger", "reason")


class LedgerUnavailable(TowlineError):
    """The ledger's database does not answer, or can't write, just now. No file's fault (exit code 3)."""

    names = ("ledger", "reason")
