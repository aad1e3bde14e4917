"""Exit codes, and the sentence a person reads when a command fails.

The contract's order, the first that applies: 130 interrupted, 2 wrong usage or configuration, 4 refused for
good, 3 endpoint could not be reached, 5 not whole, 1 some files failed, 0 done.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime

from workers.errors import (
    BrokerNotRunning,
    CertificateRefused,
    ConfigurationError,
    EndpointBusy,
    EndpointClosed,
    FilesFailed,
    LedgerRefused,
    LedgerUnavailable,
    ListingFailed,
    LoginRefused,
    OperationFailed,
    PermissionRefused,
    ReconnectFailed,
    StoreRefused,
    TowlineError,
    UnknownName,
)

DONE = 0
SOME_FAILED = 1
WRONG = 2
UNREACHABLE = 3
REFUSED = 4
NOT_WHOLE = 5
INTERRUPTED = 130

_ORDER = (INTERRUPTED, WRONG, REFUSED, UNREACHABLE, NOT_WHOLE, SOME_FAILED, DONE)


def first_that_applies(codes: Iterable[int]) -> int:
    """The exit code of a command in which several things ended differently; 0 for none."""
    return min(codes, key=_ORDER.index, default=DONE)


def code_of(failure: TowlineError) -> int:
    """The exit code a failure ends a command with."""
    match failure:
        case ConfigurationError() | UnknownName() | BrokerNotRunning() | LedgerRefused():
            return WRONG
        case LoginRefused() | CertificateRefused() | PermissionRefused() | EndpointClosed():
            return REFUSED
        case ReconnectFailed() | EndpointBusy() | LedgerUnavailable():
            return UNREACHABLE
        case ListingFailed() | OperationFailed():
            # Lines were built, and what was asked over them did not come whole.
            return NOT_WHOLE
        case _:
            return SOME_FAILED


def sentence(failure: TowlineError) -> str:
    """What happened, to what, and what to do, in words."""
    match failure.args, failure:
        case (where, what, remedy), ConfigurationError():
            return f"{where}: {what}\n  {remedy}"
        case (kind, name, nearest), UnknownName():
            return f"no {kind} is called {name!r}" + (f"; did you mean {nearest!r}?" if nearest else "")
        case (state_dir, remedy), BrokerNotRunning():
            return f"no broker runs in {state_dir}\n  {remedy}"
        case (ledger, reason), LedgerRefused():
            return f"the ledger {ledger} can't be used: {reason}"
        case (ledger, reason), LedgerUnavailable():
            return f"the ledger {ledger} is not to be had just now: {reason}"
        case (endpoint, reply), LoginRefused():
            return f"{endpoint} refused the login: {reply}\n  correct it, then `towline resume {endpoint}`"
        case (endpoint, reason), CertificateRefused():
            return f"{endpoint}'s certificate is not trusted: {reason}"
        case (endpoint, path, reply), PermissionRefused():
            return f"{endpoint} does not permit it on {path}: {reply}"
        case (endpoint, since, reason), EndpointClosed():
            opens = f"`towline resume {endpoint}` opens it"
            return f"{endpoint} is closed since {_moment(since)}: {reason}\n  {opens}"
        case (endpoint, most, waited_s), EndpointBusy():
            lines = "the one line" if most == 1 else f"all {most} lines"
            return (
                f"{lines} that {endpoint} allows stayed in use for {waited_s:.0f} s\n"
                "  wait, or raise max_sessions where the server has room for more (see `towline sessions`)"
            )
        case (endpoint, attempts, in_a_row, rebuilt, elapsed_s, last), ReconnectFailed():
            return (
                f"{endpoint} could not be reached: {_tried(attempts, elapsed_s)}, {last}\n"
                f"  {_in_a_row(in_a_row)}{_rebuilt_before(rebuilt)}; "
                "look at host, port and firewall, or wait for it"
            )
        case (endpoint, operation, attempts, _, elapsed_s, last), OperationFailed():
            times = "once" if attempts == 1 else f"{attempts} times"
            return (
                f"{operation} failed on {endpoint}, {times} in {elapsed_s:.1f} s, "
                f"each on a line of its own: {last}"
            )
        case (route, failed, published, _, first), FilesFailed():
            return f"{route}: {failed} files failed, {published} were published; the first: {first}"
        case (route, reason), ListingFailed():
            return f"{route} could not be listed: {reason}"
        case (route, target, reason), StoreRefused():
            return f"{route}: files can't land in {target}: {reason}"
    return str(failure)


def _moment(since: object) -> str:
    """An epoch as a person reads it."""
    if not isinstance(since, float | int):
        return str(since)
    return datetime.fromtimestamp(since).astimezone().strftime("%Y-%m-%d %H:%M:%S")


def _tried(attempts: int, elapsed_s: float) -> str:
    if not attempts:
        return "not tried again so soon after the last failure"
    return f"{'one attempt' if attempts == 1 else f'{attempts} attempts'} in {elapsed_s:.1f} s"


def _in_a_row(failures: int) -> str:
    times = "one failure" if failures == 1 else f"{failures} failures in a row"
    return f"{times}, all processes together"


def _rebuilt_before(reconnects: int) -> str:
    if not reconnects:
        return ""
    return f", after the line was rebuilt {'once' if reconnects == 1 else f'{reconnects} times'}"
