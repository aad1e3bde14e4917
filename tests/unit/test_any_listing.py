"""What holds for every listing, whatever is in it."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from tests.unit.entries import NOW, RULES, entry, known_from
from workers.detect import decide
from workers.ftps.listing import Entry
from workers.ledger.states import State
from workers.ledger.values import Appeared, Known, Vanished

names = st.sampled_from([b"a", b"b", b"c", b"../x", b"d\xff", b".towline-1"])
times = st.one_of(st.none(), st.floats(NOW - 200_000, NOW + 5000).map(round).map(float))
entries_ = st.builds(
    Entry,
    names,
    st.sampled_from(["file", "file", "file", "link", "dir"]),
    st.one_of(st.none(), st.integers(0, 5)),
    times,
    st.sampled_from([0.001, 1.0, 60.0, 86400.0]),
)
listings = st.lists(entries_, max_size=8)
knowns = st.lists(
    st.builds(known_from, entries_, state=st.sampled_from(State), since=times.map(lambda t: t or NOW)),
    max_size=6,
).map(lambda ks: {k.path: k for k in ks})


@given(listings, knowns, st.randoms())
def test_the_order_of_entries_does_not_matter(
    listing: list[Entry], known: dict[bytes, Known], random: object
) -> None:
    """Servers list in any order, and may list a name twice."""
    shuffled = list(listing)
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    one = decide(listing, known, RULES, NOW, complete=True)
    other = decide(shuffled, known, RULES, NOW, complete=True)
    assert sorted(map(repr, one.changes)) == sorted(map(repr, other.changes))
    assert replace(one, changes=[]) == replace(other, changes=[])


@given(listings, knowns)
def test_an_incomplete_listing_takes_nothing_away(listing: list[Entry], known: dict[bytes, Known]) -> None:
    """Absences in an incomplete listing mean nothing (Pure-FTPd ends at 10,000 entries with 226)."""
    decision = decide(listing, known, RULES, NOW, complete=False)
    assert not any(isinstance(change, Vanished) for change in decision.changes)


@given(listings, knowns)
def test_each_path_is_decided_once(listing: list[Entry], known: dict[bytes, Known]) -> None:
    """No path has two changes, and refused names are never ready."""
    paths = []
    for change in decide(listing, known, RULES, NOW, complete=True).changes:
        paths.append(change.path if isinstance(change, Appeared) else change.known.path)
        if isinstance(change, Appeared) and change.refused:
            assert not change.ready
    assert len(paths) == len(set(paths))


@given(entries_, st.floats(0.001, 9.9), st.floats(0.0, 0.1))
def test_two_polls_closer_than_settle_settle_nothing(one: Entry, apart: float, late: float) -> None:
    """Two polls 50 ms apart, say of two beats, are one look."""
    first = decide([one], {}, RULES, NOW, complete=True)
    known = {b"/out/" + one.name: known_from(one, since=NOW + late)}
    second = decide([one], known, RULES, NOW + apart, complete=True)
    assert first.ready == second.ready == 0


@given(st.lists(st.integers(1, 1000), min_size=2, max_size=6), st.floats(10.0, 1000.0))
def test_a_growing_file_is_never_ready(growth: list[int], apart: float) -> None:
    """Every look at a file that grew starts its looks anew, however far apart they are."""
    size, now = 0, NOW
    known: dict[bytes, Known] = {}
    for more in growth:
        size, now = size + more, now + apart
        grown = entry(size=size, modified=now - 1)
        assert decide([grown], known, RULES, now, complete=True).ready == 0
        known = {b"/out/a.xml": known_from(grown, since=now)}


@given(entries_, st.floats(0, 200_000))
def test_looking_again_when_told_finds_the_file_ready(one: Entry, min_age: float) -> None:
    """`next_look_in` is neither too early nor for ever: the look it asks for settles an unchanged file."""
    rules = replace(RULES, min_age=min_age)
    first = decide([one], {}, rules, NOW, complete=True)
    if first.next_look_in is None:
        return
    known = {b"/out/" + one.name: known_from(one, since=NOW)}
    later = NOW + first.next_look_in + 0.001
    assert decide([one], known, rules, later, complete=True).ready == 1
