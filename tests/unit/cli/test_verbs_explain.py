"""Why a file is, or is not, here yet: the sentences for each state."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from workers.cli.explain import _of_source, why
from workers.cli.history import last_event, told
from workers.detect import Rules
from workers.ledger import EndpointState, Explanation, FileRow, Holder, RouteState
from workers.settings import Route

NOW = 1_800_000_000.0
ROUTE = Route.model_validate(
    {"name": "r", "endpoint": "bank", "remote": b"/out", "local": Path("/data"), "include": ("*.xml",)}
)
LISTED = RouteState("r", listed_at=NOW - 60, complete_at=NOW - 60)
FILE = FileRow(
    route="r",
    path=b"/out/a.xml",
    target="/data",
    version_id=1,
    number=1,
    latest=True,
    state="READY",
    listed=True,
    size=100,
    modified=NOW - 500,
    precision_s=1.0,
    first_seen_at=NOW - 100,
    last_seen_at=NOW - 60,
    settled_since=NOW - 100,
    looks=2,
    ready_at=NOW - 60,
    attempts=0,
    next_attempt_at=None,
    alone=False,
    last_error=None,
    reason=None,
    bytes=None,
    sha256=None,
    local=None,
    published_at=None,
    finished_at=None,
    vanished_at=None,
)


def explained(
    *files: FileRow,
    route: RouteState = LISTED,
    endpoint: EndpointState | None = None,
    holder: Holder | None = None,
    path: bytes = b"/out/a.xml",
) -> str:
    known = Explanation(route, path, files, holder)
    state = endpoint or EndpointState("bank")
    return "\n".join(why(known, ROUTE, Rules.of(ROUTE), state, NOW))


@pytest.mark.parametrize(
    ("file", "first"),
    [
        (FILE, "ready: the next fetch takes it"),
        (replace(FILE, state="WAITING", looks=1), "not settled: 100 B, unchanged since"),
        (
            replace(FILE, attempts=2, next_attempt_at=NOW + 40, last_error="TransferBroken: 3 of 100"),
            "to be tried again",
        ),
        (replace(FILE, state="VANISHED", vanished_at=NOW), "gone from the server before it was fetched"),
        (
            replace(FILE, state="QUARANTINED", attempts=5, reason="no more"),
            "given up: 5 attempts failed: no more",
        ),
        (
            replace(FILE, state="QUARANTINED", reason="it is empty", ready_at=None),
            "given up: it is empty",
        ),
        (
            replace(FILE, state="PUBLISHED", published_at=NOW, local="/data/a.xml", bytes=100),
            "published 20",
        ),
        (replace(FILE, state="PUBLISHING"), "being published when its worker died"),
        (replace(FILE, state="BACKLOG"), "it was there before the first complete listing"),
    ],
    ids=lambda given: given.state if isinstance(given, FileRow) else "",
)
def test_the_first_sentence_decides(file: FileRow, first: str) -> None:
    """For every state a file can be in, what it means comes first."""
    assert explained(file).startswith(first)


def test_attempts_are_told_with_their_limit_and_last_error() -> None:
    """And a failure that wasn't the file's own is told as that."""
    spaced = replace(FILE, attempts=2, next_attempt_at=NOW + 40, last_error="550 no")
    assert "2 of 5 attempts used up, the last: 550 no" in explained(spaced)
    assert "not its own fault: disk full" in explained(replace(FILE, last_error="disk full"))


@pytest.mark.parametrize(
    ("source", "sentence"),
    [
        ({"after_step": "moved:/archive/a.xml"}, "its source was moved to /archive/a.xml"),
        ({"after_step": "deleted"}, "its source was deleted"),
        ({"after_step": "gone"}, "its source was gone already"),
        ({"after_step": "replaced"}, "its source was replaced by a newer version, and left alone"),
        ({"after_next_at": NOW}, "its source is to be deleted, by the next fetch or poll"),
        ({"after_next_at": NOW + 40}, "its source is to be deleted, 20"),
        (
            {"after_next_at": NOW + 40, "after_attempts": 2, "after_error": "DELE: 550 no"},
            "that was refused 2 times, the last: DELE: 550 no",
        ),
    ],
)
def test_what_became_of_the_source_is_told(source: dict[str, Any], sentence: str) -> None:
    """Done, or still to be done, and why not yet."""
    landed = replace(FILE, state="PUBLISHED", published_at=NOW, local="/data/a.xml", **source)
    assert sentence in "\n".join(_of_source(landed, "delete", NOW))


def test_a_marker_that_is_missing_is_what_a_settled_file_waits_for() -> None:
    """And before that it is one more thing to wait for."""
    route = ROUTE.model_copy(update={"done_file": "{name}.done", "settle": 10.0})

    def told(since: float) -> list[str]:
        file = replace(FILE, state="WAITING", settled_since=since)
        known = Explanation(LISTED, b"/out/a.xml", (file,), None)
        return list(why(known, route, Rules.of(route), EndpointState("bank"), NOW))

    assert told(NOW - 60)[0].startswith("waits for its marker: taken by the next poll that finds a.xml.done")
    assert told(NOW - 5)[0].startswith("not settled")
    assert told(NOW - 5)[1] == "a.xml.done has to be beside it, too"


def test_a_file_that_has_to_be_older_is_told_so() -> None:
    """Beside what `settle` asks for."""
    route = ROUTE.model_copy(update={"min_age": 3600.0})
    known = Explanation(LISTED, b"/out/a.xml", (replace(FILE, state="WAITING"),), None)
    told = list(why(known, route, Rules.of(route), EndpointState("bank"), NOW))
    assert told[1] == 'min_age = "1h": it has to be that old, too'


def test_a_marker_is_explained_as_one() -> None:
    """It is listed, and never here."""
    route = ROUTE.model_copy(update={"done_file": "{name}.done"})
    known = Explanation(LISTED, b"/out/a.xml.done", (), None)
    assert next(why(known, route, Rules.of(route), EndpointState("bank"), NOW)) == (
        "it is a marker (done_file), and is not fetched itself"
    )


def test_who_holds_it_is_named() -> None:
    """Host and process, and until when at least."""
    holder = Holder("owner", "worker-7/0123456789ab", 4711, NOW + 50, 3)
    sentence = explained(replace(FILE, state="CLAIMED"), holder=holder)
    assert sentence.startswith("being fetched by process 4711 on worker-7, until 20")


def test_only_what_can_be_retried_is_offered_for_retry() -> None:
    """A name that was refused at first sight never was ready, and retry would do nothing."""
    assert "towline retry" in explained(replace(FILE, state="QUARANTINED", attempts=5, reason="x"))
    assert "towline retry" not in explained(replace(FILE, state="QUARANTINED", reason="x", ready_at=None))


@pytest.mark.parametrize(
    ("route", "endpoint", "sentence"),
    [
        (replace(LISTED, paused_at=NOW), EndpointState("bank"), "`towline resume r`"),
        (LISTED, EndpointState("bank", paused_at=NOW), "`towline resume bank`"),
        (LISTED, EndpointState("bank", closed_at=NOW, closed_reason="530 no"), "closed since"),
        (LISTED, EndpointState("bank", consecutive_failures=7, last_error="refused"), "7 times in a row"),
        (
            replace(LISTED, last_error="gone", last_error_at=NOW),
            EndpointState("bank"),
            "the last poll failed",
        ),
    ],
)
def test_what_keeps_the_whole_route_is_told(
    route: RouteState, endpoint: EndpointState, sentence: str
) -> None:
    """A pause, a closed or unreachable endpoint, a failed poll: for files that are not here yet."""
    assert sentence in explained(FILE, route=route, endpoint=endpoint)
    assert sentence in explained(route=route, endpoint=endpoint)
    landed = replace(FILE, state="PUBLISHED", published_at=NOW, local="/data/a.xml")
    assert sentence not in explained(landed, route=route, endpoint=endpoint)


def test_an_incomplete_listing_is_not_taken_for_absence() -> None:
    """The listing's own reason is told instead."""
    partly = RouteState("r", listed_at=NOW, complete_at=NOW - 600, last_error="226 truncated")
    assert "was not complete: 226 truncated" in explained(route=partly)
    assert "did not have it" not in explained(route=partly)


def test_an_earlier_version_that_landed_is_told() -> None:
    """While a newer one is on its way."""
    older = replace(FILE, latest=False, state="PUBLISHED", published_at=NOW - 9000, local="/data/a.xml")
    newer = replace(FILE, version_id=2, number=2)
    assert explained(newer, older).splitlines()[-1].startswith("an earlier version was published 20")


def test_history_tells_when_and_what() -> None:
    """The time of the state it is in; where it landed, or what went wrong and how often."""
    landed = replace(FILE, state="PUBLISHED", published_at=NOW, local="/data/a.xml")
    assert (last_event(landed), told(landed)) == (NOW, "/data/a.xml")
    failing = replace(FILE, attempts=3, last_error="550 no")
    assert (last_event(failing), told(failing)) == (NOW - 60, "3× 550 no")
    assert told(FILE) == ""
