"""What a round would do, out of a listing and of what is known."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from workers.cli.dry_run import plan
from workers.detect import Rules
from workers.ftps.listing import Entry
from workers.ledger import Known, State
from workers.looking import Listed
from workers.settings import Route

NOW = 1_800_000_000.0


def rules(settle: float) -> Rules:
    keys = {"name": "r", "endpoint": "bank", "remote": b"/out", "local": Path("/data"), "settle": settle}
    return Rules.of(Route.model_validate(keys))


def entry(name: bytes, size: int = 10) -> Entry:
    return Entry(name, "file", size, NOW - 500, 1.0)


def known(name: bytes, state: State, *, claimed: bool = False) -> Known:
    path = b"/out/" + name
    return Known(1, 1, path, 10, NOW - 500, 1.0, None, state, NOW - 400, 2, claimed=claimed)


def planned(entries: list[Entry], before: list[Known], settle: float = 0.0) -> list[tuple[str, str]]:
    found = plan(Listed(entries, True, None), {one.path: one for one in before}, rules(settle), NOW)
    return sorted((path, what) for what, _, path in found)


def test_each_file_is_told_by_what_would_become_of_it() -> None:
    """New, changed, ready, in somebody's hands, refused; one that is published already is not told."""
    entries = [
        entry(b"new"),
        entry(b"changed", 11),
        entry(b"ready"),
        entry(b"held"),
        entry(b"done"),
        entry(b"a\nb"),
    ]
    before = [
        known(b"changed", State.PUBLISHED),
        known(b"ready", State.READY),
        known(b"held", State.READY, claimed=True),
        known(b"done", State.PUBLISHED),
    ]
    assert planned(entries, before) == [
        ("/out/a\\x0ab", "refused: it holds NUL or a line end"),
        ("/out/changed", "changed"),
        ("/out/held", "in flight"),
        ("/out/new", "new"),
        ("/out/ready", "ready"),
    ]


def test_what_has_to_settle_first_is_told_so() -> None:
    """A file seen for the first time settles first; one that waited long enough is due."""
    fresh = replace(known(b"fresh", State.WAITING), settled_since=NOW - 3)
    entries = [entry(b"new"), entry(b"fresh"), entry(b"rested")]
    assert planned(entries, [fresh, known(b"rested", State.WAITING)], settle=60.0) == [
        ("/out/fresh", "waiting, settles first"),
        ("/out/new", "new, settles first"),
        ("/out/rested", "settled"),
    ]


def test_what_vanished_is_not_promised() -> None:
    """A ready file that the listing lacks would not be fetched."""
    assert planned([], [known(b"gone", State.READY)]) == []
