"""Exit codes and sentences, against the contract's list."""

from __future__ import annotations

import inspect

import pytest

from workers import errors
from workers.cli.exits import code_of, first_that_applies, sentence
from workers.errors import TowlineError

FAILURES = [
    (errors.ConfigurationError("t.toml: [routes.a]", "unknown key 'evry'", "did you mean 'every'?"), 2),
    (errors.UnknownName("route", "statments", "statements"), 2),
    (errors.BrokerNotRunning("/var/lib/towline", "start `towline up`"), 2),
    (errors.LedgerRefused("/var/lib/towline/ledger.db", "written by Towline 9"), 2),
    (errors.LedgerUnavailable("postgresql://db/towline", "the connection was refused"), 3),
    (errors.LoginRefused("bank", "530 no"), 4),
    (errors.CertificateRefused("bank", "self-signed certificate"), 4),
    (errors.PermissionRefused("bank", "/outgoing", "550 no"), 4),
    (errors.EndpointClosed("bank", "2026-01-02T03:04:05Z", "530 no"), 4),
    (errors.ReconnectFailed("bank", 5, 12, 1, 20.5, "ConnectionRefusedError"), 3),
    (errors.EndpointBusy("bank", 2, 5.1), 3),
    (errors.OperationFailed("bank", "retrieve", 5, 4, 20.5, "EOF"), 5),
    (errors.ListingFailed("statements", "226 came without data"), 5),
    (errors.FilesFailed("statements", 2, 3, 0, "a.xml: size 3, not 5"), 1),
    (errors.StoreRefused("statements", "/data", "No space left on device"), 1),
]


def test_every_failure_is_listed_here() -> None:
    """A new class of failure has to be given its code and its words."""
    classes = {
        thing
        for _, thing in inspect.getmembers(errors, inspect.isclass)
        if issubclass(thing, TowlineError) and thing is not TowlineError
    }
    assert {type(failure) for failure, _ in FAILURES} == classes


@pytest.mark.parametrize(("failure", "code"), FAILURES, ids=lambda given: type(given).__name__)
def test_failure_has_its_code_and_words(failure: TowlineError, code: int) -> None:
    """Each failure ends a command with the contract's code, in words that name what it is about."""
    assert code_of(failure) == code
    told = sentence(failure)
    assert type(failure).__name__ not in told
    assert str(failure.args[0]) in told or failure.args[0] == "route"


@pytest.mark.parametrize(
    ("codes", "code"),
    [([], 0), ([0, 1, 5], 5), ([1, 5, 3], 3), ([3, 4], 4), ([4, 2], 2), ([2, 130], 130), ([0], 0)],
)
def test_first_code_that_applies_wins(codes: list[int], code: int) -> None:
    """130 before 2 before 4 before 3 before 5 before 1 before 0."""
    assert first_that_applies(codes) == code
