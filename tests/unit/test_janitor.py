"""The janitor keeps leases alive, and knows when they are lost."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from tests.waiting import wait_until
from workers.errors import LedgerUnavailable
from workers.janitor import Janitor
from workers.ledger import Appeared, Ledger
from workers.session import Session
from workers.settings import Endpoint

ROUTE, TARGET, LEASE_S = "statements", "/data/statements", 0.9


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    with closing(Ledger.open(f"sqlite:///{tmp_path}/ledger.sqlite3", state_dir=tmp_path)) as ledger:
        poll = ledger.polls.begin(ROUTE, TARGET, until_s=60)
        assert poll is not None
        found = [Appeared(b"/out/a", 10, 1.0, 1.0, None, ready=True)]
        ledger.polls.apply(poll, found, complete=True, reason=None, listed=1)
        yield ledger


def lease_until(ledger: Ledger) -> float:
    holder = ledger.history.explain(ROUTE, b"/out/a").holder
    assert holder is not None
    return holder.lease_until


def test_a_lease_is_renewed_for_as_long_as_it_is_held(ledger: Ledger) -> None:
    """A transfer of three leases' length keeps its claim; nobody else can take the path."""
    with closing(Janitor(ledger, LEASE_S, lambda: [])) as janitor:
        asked_at = time.monotonic()
        [claim] = ledger.claims.claim(ROUTE, TARGET, files=1, bytes=1 << 30, lease_s=LEASE_S)
        janitor.hold([claim.path_id], asked_at=asked_at)
        first = lease_until(ledger)
        wait_until(lambda: lease_until(ledger) >= first + 2 * LEASE_S, what="renewed for two leases' time")
        assert janitor.holds(claim.path_id)
        assert ledger.claims.claim(ROUTE, TARGET, files=1, bytes=1 << 30, lease_s=LEASE_S) == []


def test_a_lease_that_somebody_else_has_taken_is_known_to_be_lost(ledger: Ledger, tmp_path: Path) -> None:
    """The holder stops at its next block instead of writing into another's temp."""
    with closing(Janitor(ledger, LEASE_S, lambda: [])) as janitor:
        asked_at = time.monotonic()
        [claim] = ledger.claims.claim(ROUTE, TARGET, files=1, bytes=1 << 30, lease_s=LEASE_S)
        janitor.hold([claim.path_id], asked_at=asked_at)
        ledger.claims.give_back([claim])
        other = Ledger.open(f"sqlite:///{tmp_path}/ledger.sqlite3", state_dir=tmp_path)
        with closing(other):
            [taken] = other.claims.claim(ROUTE, TARGET, files=1, bytes=1 << 30, lease_s=60)
            assert taken.fence > claim.fence
            wait_until(lambda: not janitor.holds(claim.path_id), what="the loss noticed")


def test_a_holder_that_cannot_renew_stops_before_its_lease_ends(ledger: Ledger) -> None:
    """With its thread gone (a stand-in for a ledger out of reach), `holds` says no in time."""
    lease_s = 600.0
    janitor = Janitor(ledger, lease_s, lambda: [])
    janitor.close()
    janitor.hold([7], asked_at=time.monotonic() - lease_s / 2)
    assert janitor.holds(7)
    janitor.hold([7], asked_at=time.monotonic() - lease_s * 0.9)
    assert not janitor.holds(7), "before the lease ends, not after"


def test_a_ledger_that_was_away_ends_no_janitor(ledger: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever a renewal or a keep-alive met with, the next lease is renewed again."""
    met: list[str] = []

    def away(what: str) -> None:
        met.append(what)
        raise LedgerUnavailable("sqlite:////ledger.sqlite3", "database is locked")

    bank = Endpoint(name="bank", host="localhost", user="acme", password="x", keepalive=0.01)  # type: ignore[arg-type]
    session = Session(bank, ledger)
    monkeypatch.setattr(session, "keep_alive", lambda _: away("keep-alive"))
    with closing(Janitor(ledger, LEASE_S, lambda: [session])) as janitor:
        with monkeypatch.context() as meanwhile:
            meanwhile.setattr(ledger.claims, "renew", lambda _: away("renewal"))
            janitor.hold([7], asked_at=time.monotonic())
            wait_until(lambda: set(met) == {"keep-alive", "renewal"}, what="both failed")
            janitor.release()
        asked_at = time.monotonic()
        [claim] = ledger.claims.claim(ROUTE, TARGET, files=1, bytes=1 << 30, lease_s=LEASE_S)
        janitor.hold([claim.path_id], asked_at=asked_at)
        first = lease_until(ledger)
        wait_until(lambda: lease_until(ledger) > first, what="renewed")


def test_what_is_released_is_not_held(ledger: Ledger) -> None:
    """After a batch, nothing is renewed that has ended."""
    with closing(Janitor(ledger, LEASE_S, lambda: [])) as janitor:
        janitor.hold([7], asked_at=time.monotonic())
        assert janitor.holds(7)
        janitor.release()
        assert not janitor.holds(7)
