"""What a listing means, decided without network, disk or clock."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest

from tests.unit.entries import NOW, RULES, entry, known_from
from workers.detect import Decision, Rules, decide
from workers.ftps.listing import Entry, Kind
from workers.ledger.states import State
from workers.ledger.values import Appeared, Changed, Known, Seen, Vanished


def look(
    *entries: Entry,
    known: Known | None = None,
    rules: Rules = RULES,
    now: float = NOW,
    complete: bool = True,
    first: bool = False,
) -> Decision:
    ledger: Mapping[bytes, Known] = {} if known is None else {known.path: known}
    return decide(entries, ledger, rules, now, complete=complete, first=first)


def test_a_new_file_waits_for_its_second_look() -> None:
    """The first look makes a file known, never ready, and asks for another look after `settle`."""
    decision = look(entry())
    assert decision.changes == [Appeared(b"/out/a.xml", 10, NOW - 1000, 1.0, None, None, ready=False)]
    assert (decision.ready, decision.waiting, decision.next_look_in) == (0, 1, 10.0)


def test_the_same_size_and_time_after_settle_are_ready() -> None:
    """Two looks `settle` apart that show the same make a file ready."""
    known = known_from(entry(), since=NOW - 10)
    decision = look(entry(), known=known)
    assert decision.changes == [Seen(known, ready=True)]
    assert (decision.ready, decision.waiting, decision.next_look_in) == (1, 0, None)


def test_a_file_young_by_the_servers_clock_waits_out_its_precision() -> None:
    """A time that is not older than its own tick may hide a later write."""
    fresh = entry(modified=NOW - 20, precision=60.0)
    decision = look(fresh, known=known_from(fresh, since=NOW - 15))
    assert (decision.ready, decision.next_look_in) == (0, 40.0)


def test_a_server_whose_clock_is_ahead_does_not_hold_its_files_back() -> None:
    """With a time in the future, two looks further apart than the precision are proof enough."""
    future = entry(modified=NOW + 7200, precision=1.0)
    assert look(future, known=known_from(future, since=NOW - 10)).ready == 1


def test_settle_zero_takes_a_file_at_once() -> None:
    """`settle = "0s"` makes a file ready at its first look."""
    decision = look(entry(modified=NOW), rules=replace(RULES, settle=0.0))
    assert decision.changes == [Appeared(b"/out/a.xml", 10, NOW, 1.0, None, None, ready=True)]


def test_min_age_holds_a_settled_file_back() -> None:
    """A settled file younger than `min_age` waits for exactly the rest of it."""
    young = entry(modified=NOW - 100)
    decision = look(young, known=known_from(young, since=NOW - 50), rules=replace(RULES, min_age=300.0))
    assert (decision.ready, decision.next_look_in) == (0, 200.0)


def test_a_file_without_a_time_is_as_old_as_it_has_been_seen_so() -> None:
    """Some servers tell none: then `min_age` counts from the first look that showed it as it is."""
    timeless, rules = entry(modified=None), replace(RULES, min_age=300.0)
    assert look(timeless, known=known_from(timeless, since=NOW - 100), rules=rules).next_look_in == 200.0
    assert look(timeless, known=known_from(timeless, since=NOW - 300), rules=rules).ready == 1


def test_another_size_or_time_is_another_version() -> None:
    """A replaced file is a new version, and its looks start anew."""
    known = known_from(entry(), state=State.PUBLISHED, since=NOW - 500)
    for other in (entry(size=11), entry(modified=NOW - 999)):
        decision = look(other, known=known)
        assert decision.changes == [Changed(known, other.size, other.modified, 1.0, None, ready=False)]


def test_what_is_published_and_still_listed_is_not_mentioned() -> None:
    """A listing that shows nothing new writes nothing."""
    assert look(entry(), known=known_from(entry(), state=State.PUBLISHED)).changes == []


def test_a_coarser_listing_format_fetches_nothing_again() -> None:
    """`ls` shows "Apr 22 17:04" for six months and "Apr 22 2026" afterwards; both are the same version."""
    exact = entry(modified=NOW - 1000)
    midnight = NOW - 1000 - (NOW - 1000) % 86400
    for shown in (entry(modified=NOW - 1030, precision=60.0), entry(modified=midnight, precision=86400.0)):
        assert look(shown, known=known_from(exact, state=State.PUBLISHED)).changes == []
        assert look(exact, known=known_from(shown, state=State.PUBLISHED)).changes == []


def test_a_vanished_file_that_comes_back_waits_anew() -> None:
    """However long ago it was first seen, nobody has looked at it while it was away."""
    known = known_from(entry(), state=State.VANISHED, since=NOW - 5000, listed=False)
    decision = look(entry(), known=known)
    assert decision.changes == [Seen(known, ready=False)]
    assert decision.next_look_in == 10.0


def test_links_and_folders_are_passed_over() -> None:
    """Only plain files are fetched."""
    kinds: tuple[Kind, ...] = ("dir", "link", "other")
    assert look(*(entry(kind=kind) for kind in kinds)).changes == []


def test_refused_names_are_recorded_once() -> None:
    """A name that may not be written is recorded with its reason, at its first sight only."""
    for name in (b"../x", b"a/b", b"/etc/passwd", b"a\0b", b"a\rb", b"a\nb", b"..", b"", b"n" * 256):
        decision = look(entry(name))
        [change] = decision.changes
        assert isinstance(change, Appeared)
        assert change.refused
        assert not change.ready
        assert (decision.refused, decision.next_look_in) == (1, None)
        known = known_from(entry(name), state=State.QUARANTINED)
        assert look(entry(name, size=99), known=known).changes == []


def test_odd_names_that_linux_takes_are_not_refused() -> None:
    """Blanks, other encodings, control characters and 255 bytes are names like any other."""
    for name in (b" a ", b"a;b=c", b"\xff\xfe", b"n" * 255, b"...", b"\x1b[31m", b"a\\..\\b"):
        assert look(entry(name)).refused == 0


def test_towlines_own_temporary_files_are_passed_over() -> None:
    """Another Towline that pushes into this folder has unfinished files there."""
    assert look(entry(b".towline-0123456789ab")).changes == []


def test_a_path_through_folders_is_fine_only_where_the_route_has_them() -> None:
    """Each of its steps has to be a name that may be used; a flat route takes no step at all."""
    deep = replace(RULES, depth=8)
    odd = [b"a/../b", b"/a", b"a//b", b"a/.towline-x/b", b"a/b\nc"]
    assert [deep.refusal(name) is not None for name in [b"a/b.xml", *odd]] == [False] + [True] * len(odd)
    assert RULES.refusal(b"a/b.xml") == "it leads into another folder"
    assert look(entry(b"sub/.towline-0123456789ab"), rules=deep).changes == []


def test_only_a_folder_all_of_which_is_left_out_is_passed_by() -> None:
    """`exclude` has to end in a star for that: else a file below may pass it."""
    rules = replace(RULES, left_out=re.compile("(?s:old/.*)\\Z|(?s:.*/tmp.*)\\Z"))
    folders = (b"old", b"older", b"a/tmp", b"a", b"a/old")
    assert [rules.enters(folder) for folder in folders] == [False, True, False, True, True]


def test_filters_hold_on_the_path_below_remote() -> None:
    """include, exclude and regex all have to let a file through; patterns are text, names bytes."""

    class Like:
        source, direction, settle, min_age = b"/out", "pull", 0.0, 0.0
        recursive, max_depth = False, 8
        include: tuple[str, ...] = ("*.xml", "é*")
        exclude: tuple[str, ...] = ("old*",)
        regex: str | None = None
        done_file, backlog, redeliver = None, "all", False

    rules = Rules.of(Like())  # type: ignore[arg-type]
    assert [rules.wants(n) for n in (b"a.xml", b"a.XML", b"old.xml", b"\xff.xml", "éa".encode())] == [
        True,
        False,
        False,
        True,
        True,
    ]
    assert Rules.of(Like(), encoding="latin-1").wants("éa".encode("latin-1"))  # type: ignore[arg-type]
    Like.regex = r"^\d{3}\."
    rules = Rules.of(Like())  # type: ignore[arg-type]
    assert [rules.wants(n) for n in (b"123.xml", b"a123.xml", b"123.txt")] == [True, False, False]
    Like.regex = r"\d\."
    assert Rules.of(Like()).wants(b"a123.xml"), "searched for, wherever it is"  # type: ignore[arg-type]


MARKED = replace(RULES, done_file="{name}.done", settle=0.0)


def test_a_file_waits_for_its_marker_and_asks_for_no_look() -> None:
    """Nobody knows when the marker will come: the next tick will see it."""
    decision = look(entry(), rules=MARKED)
    assert decision.changes == [Appeared(b"/out/a.xml", 10, NOW - 1000, 1.0, None, ready=False)]
    assert (decision.ready, decision.waiting, decision.next_look_in) == (0, 1, None)
    again = look(entry(), rules=MARKED, known=known_from(entry()))
    assert (again.ready, again.waiting, again.next_look_in) == (0, 1, None)
    replaced = look(entry(size=11), rules=MARKED, known=known_from(entry(), state=State.PUBLISHED))
    assert (replaced.ready, replaced.waiting, replaced.next_look_in) == (0, 1, None)
    assert [type(change) for change in replaced.changes] == [Changed]
    assert not any(isinstance(change, Changed) and change.ready for change in replaced.changes)


def test_a_marked_file_is_ready_and_its_marker_is_no_file() -> None:
    """The marker comes and is never recorded itself; nor is one whose file is not there."""
    decision = look(entry(), entry(b"a.xml.done"), entry(b"b.xml.done"), rules=MARKED)
    assert decision.changes == [Appeared(b"/out/a.xml", 10, NOW - 1000, 1.0, None, ready=True)]
    late = look(entry(), entry(b"a.xml.done"), rules=MARKED, known=known_from(entry()))
    assert (late.ready, [type(change) for change in late.changes]) == (1, [Seen])


def test_a_marked_file_settles_all_the_same() -> None:
    """What `settle` asks for is asked for beside the marker."""
    rules = replace(MARKED, settle=10.0)
    decision = look(entry(), entry(b"a.xml.done"), rules=rules)
    assert (decision.ready, decision.waiting, decision.next_look_in) == (0, 1, 10.0)


def test_a_marker_may_stand_before_the_name() -> None:
    """And need not be let through by the filters, which are about files."""
    rules = replace(MARKED, done_file="ok.{name}", include=re.compile(".*xml"))
    assert rules.marker(b"\xff.xml") == b"ok.\xff.xml"
    assert not rules.wants(b"ok.a.xml")
    assert look(entry(), entry(b"ok.a.xml"), rules=rules).ready == 1
    rules = replace(MARKED, include=re.compile(r".*\.xml\Z"))
    assert look(entry(), entry(b"a.xml.done"), rules=rules).ready == 1


BACKLOG = replace(RULES, backlog="new", settle=0.0)


def test_the_backlog_is_all_that_is_listed_up_to_the_first_complete_listing() -> None:
    """An incomplete one before it counts as well: what it shows will be in the complete one."""
    for complete in (True, False):
        [change] = look(entry(), rules=BACKLOG, first=True, complete=complete).changes
        assert isinstance(change, Appeared)
        assert (change.backlog, change.ready) == (True, False)
    [change] = look(entry(), rules=BACKLOG).changes
    assert isinstance(change, Appeared)
    assert (change.backlog, change.ready) == (False, True)
    [change] = look(entry(), rules=replace(BACKLOG, backlog="all"), first=True).changes
    assert isinstance(change, Appeared)
    assert change.ready


def test_the_backlog_stays_until_a_newer_version_comes() -> None:
    """Seen again, or gone and back again: nothing. Changed: a version like any other."""
    for listed in (True, False):
        left = known_from(entry(), state=State.BACKLOG, listed=listed)
        decision = look(entry(), rules=BACKLOG, known=left)
        assert (decision.ready, decision.waiting) == (0, 0)
        assert decision.changes == ([] if listed else [Seen(left, ready=False)])
    [change] = look(entry(size=11), rules=BACKLOG, known=known_from(entry(), state=State.BACKLOG)).changes
    assert isinstance(change, Changed)
    assert change.ready


def test_what_vanished_and_comes_back_is_delivered_again_only_if_that_is_wanted() -> None:
    """Identical in size and time. What was there all the time is no delivery."""
    rules = replace(RULES, redeliver=True, settle=0.0)
    for state in (State.PUBLISHED, State.FINISHED):
        back = known_from(entry(), state=state, listed=False)
        [change] = look(entry(), rules=rules, known=back).changes
        assert isinstance(change, Changed)
        assert change.ready
        assert look(entry(), known=back).changes == [Seen(back, ready=False)]
        assert look(entry(), rules=rules, known=known_from(entry(), state=state)).changes == []


def test_a_file_that_the_filters_no_longer_want_is_given_up_before_it_is_begun() -> None:
    """Somebody excluded it: it is not fetched any more; what is published stays as it is."""
    rules = replace(RULES, exclude=re.compile("a.*"))
    ready = known_from(entry(), state=State.READY)
    assert look(entry(), known=ready, rules=rules).changes == [Vanished(ready)]
    assert look(entry(), known=ready, rules=rules, complete=False).changes == []
    assert look(entry(), known=known_from(entry(), state=State.PUBLISHED), rules=rules).changes == []


def test_what_a_complete_listing_lacks_has_vanished_once() -> None:
    """Absence is told once; an incomplete listing can't tell it."""
    known = known_from(entry(), state=State.READY)
    assert look(known=known).changes == [Vanished(known)]
    assert look(known=known, complete=False).changes == []
    assert look(known=replace(known, state=State.VANISHED, listed=False)).changes == []


@pytest.mark.parametrize(
    "told", [{"size": 0}, {"modified": 0.0}, {"unique": b""}], ids=lambda told: next(iter(told))
)
def test_of_a_name_listed_twice_the_entry_that_tells_more_counts(told: dict[str, Any]) -> None:
    """Whichever comes first, and though what it tells is a nought."""
    untold: dict[str, Any] = {"size": None, "modified": None, "unique": None}
    less, more = (Entry(b"a.xml", "file", precision_s=1.0, **facts) for facts in (untold, untold | told))
    for listing in ([less, more], [more, less]):
        [change] = decide(listing, {}, RULES, NOW, complete=True).changes
        assert isinstance(change, Appeared)
        assert (change.size, change.modified, change.unique) == (more.size, more.modified, more.unique)
