"""What `towline check` says of what it has found: each thing that is not as it should be has its remedy."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest

from workers import findings
from workers.errors import ListingFailed, PermissionRefused, StoreRefused
from workers.finding import Finding
from workers.findings import FolderCount
from workers.ftps.errors import Forbidden, Missing, Refused
from workers.ftps.features import Features
from workers.ftps.tls import TlsFacts
from workers.settings import Endpoint, Route

NOW = 1_790_000_000.0
DAY_S = 86400.0
GOOD = TlsFacts("TLSv1.3", "AES", NOW + 400 * DAY_S, "sha256:ab")


def offered(*lines: bytes) -> Features:
    """As a reply to FEAT tells them."""
    return Features.from_feat([b"Features:", *(b" " + line for line in lines), b"End"])


def bank(**keys: Any) -> Endpoint:
    facts = {"name": "bank", "host": "h", "user": "u", "password": "p"}
    return Endpoint.model_validate(facts | keys)


def route(local: Path = Path("/")) -> Route:
    return Route(name="in", endpoint="bank", remote=b"/out", local=local)


def ending(days: float) -> TlsFacts:
    return TlsFacts("TLSv1.3", "AES", NOW + days * DAY_S, "sha256:ab")


def of_tls(shown: TlsFacts | None, **keys: Any) -> list[Finding]:
    return list(findings._of_tls(bank(**keys), shown, NOW))


def counted(files: int, match: int, *, complete: bool = True) -> list[Finding]:
    count = FolderCount("in", files, match, complete)
    return list(findings._of_route(route(), count, None if complete else "cut short"))


def features(*lines: bytes) -> list[Finding]:
    return list(findings._of_features(bank(timezone="Europe/Berlin"), offered(*lines)))


def refused(refusal: Refused) -> list[Finding]:
    return [findings._of_refusal(bank(), route(), b"/out", refusal)]


FOUND: list[tuple[Iterable[Finding], str, str, str, type[Exception] | None]] = [
    (of_tls(None, tls="off", allow_plaintext=True), "TLS", "clear text", 'tls = "explicit"', None),
    (of_tls(GOOD, verify=False), "trust", "any certificate", 'fingerprint = ["sha256:ab"]', None),
    (of_tls(ending(29)), "certificate", "in 29 days", "ask the server's owner for a new one", None),
    (of_tls(ending(-1)), "certificate", "has ended", "ask the server's owner for a new one", None),
    (of_tls(ending(1), fingerprint=["sha256:" + "a" * 64]), "certificate", "ends", "pin the new one", None),
    (findings._of_data(bank(), False, GOOD), "data channel", "of its own", 'tls_max = "1.2"', None),
    (features(b"SIZE", b"REST STREAM"), "features", "SIZE", '"Europe/Berlin": see that it', None),
    (features(b"MLST type*;", b"REST STREAM"), "features", "MLSD", "sizes come from the listing only", None),
    (features(b"MLST type*;", b"SIZE"), "features", "SIZE", "a broken transfer begins anew", None),
    ([findings._of_clock(bank(), 7200.0)], "clock", "ahead of ours by 2h", "`timezone`", None),
    (refused(Forbidden("MLSD", 550, "no")), "listing", "550", "have the account allowed", PermissionRefused),
    (refused(Missing("MLSD", 550, "no")), "listing", "550", "have it made, or correct", ListingFailed),
    (refused(Refused("MLSD", 553, "no")), "listing", "553", "correct `remote`", ListingFailed),
    (
        refused(Refused("MLSD", 522, "session reuse required")),
        "data channel",
        "the server refuses data connections that don't resume the TLS session: ",
        "require_ssl_reuse=NO",
        ListingFailed,
    ),
    (counted(3, 3, complete=False), "listing", "not all of it: cut short", "limit raised", ListingFailed),
    (counted(3, 0), "listing", "3 files, 0 match", "look at include, exclude and regex", None),
]


@pytest.mark.parametrize(
    ("found", "what", "told", "remedy", "failure"), FOUND, ids=[f"{row[1]}: {row[3]}" for row in FOUND]
)
def test_what_is_wrong_is_told_with_its_remedy(
    found: Iterable[Finding], what: str, told: str, remedy: str, failure: type[Exception] | None
) -> None:
    """And with the failure that a worker would meet, where it would meet one."""
    [wrong] = [finding for finding in found if finding.remedy is not None]
    assert wrong.what == what
    assert told in wrong.told
    assert remedy in (wrong.remedy or "")
    assert type(wrong.failure) is (failure or type(None))


def test_what_is_right_needs_no_remedy(tmp_path: Path) -> None:
    """A good server has none."""
    found = [
        *of_tls(GOOD),
        *findings._of_data(bank(), True, GOOD),
        *findings._of_features(bank(), offered(b"MLST type*;", b"SIZE", b"REST STREAM")),
        findings._of_clock(bank(), None),
        *counted(3, 3),
        findings._of_target(route(tmp_path), tmp_path),
    ]
    assert [finding.remedy for finding in found] == [None] * len(found)


def test_a_target_that_is_not_there_is_told_with_its_remedy(tmp_path: Path) -> None:
    """The folder above it has to be, and to be one."""
    (tmp_path / "file").touch()
    for place in (tmp_path / "no" / "in", tmp_path / "file"):
        found = findings._of_target(route(place), place)
        assert "is no folder" in found.told
        assert f"make {place.parent}, or mount it" == found.remedy
        assert isinstance(found.failure, StoreRefused)


def test_a_target_that_cannot_be_written_is_told_with_its_remedy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Root may write anywhere, so the answer of the system is put in its place."""
    monkeypatch.setattr(os, "access", lambda *_: False)
    found = findings._of_target(route(tmp_path), tmp_path)
    assert found.remedy == "let this user write there"
    assert isinstance(found.failure, StoreRefused)
