"""Five cron fields, against Celery's own reading of them."""

from __future__ import annotations

import itertools

import pytest
from celery.schedules import crontab
from hypothesis import given
from hypothesis import strategies as st

from workers.settings.config_file import Wrong
from workers.settings.cron import cron


def _fields(lowest: int, highest: int, words: tuple[str, ...] = ()) -> st.SearchStrategy[str]:
    number = st.integers(lowest, highest).map(str)
    point = st.one_of(number, st.sampled_from(words)) if words else number
    span = st.tuples(point, point).map("-".join)
    step = st.integers(1, 70).map(str)
    part = st.one_of(st.just("*"), point, span, step.map("*/{}".format), st.tuples(span, step).map("/".join))
    return st.lists(part, min_size=1, max_size=3).map(",".join)


_LINES = st.tuples(
    _fields(0, 59),
    _fields(0, 23),
    _fields(1, 31),
    _fields(1, 12, ("jan", "Feb", "december")),
    _fields(0, 6, ("sun", "Mon", "saturday")),
).map(" ".join)


@given(_LINES)
def test_what_is_accepted_means_what_celery_takes_it_for(line: str) -> None:
    """Same grammar, same sets; only days that never come are refused here and not there."""
    theirs = crontab.from_string(line)
    longest = {2: 29, 4: 30, 6: 30, 9: 30, 11: 30}
    if all(min(theirs.day_of_month) > longest.get(month, 31) for month in theirs.month_of_year):
        with pytest.raises(Wrong, match="never comes"):
            cron(line)
        return
    ours = cron(line)
    assert (ours.minutes, ours.hours, ours.days) == (theirs.minute, theirs.hour, theirs.day_of_month)
    assert (ours.months, ours.weekdays) == (theirs.month_of_year, theirs.day_of_week)


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ("* * * *", "4 fields"),
        ("@daily", "1 fields"),
        ("60 * * * *", '"60" is no minute'),
        ("* 24 * * *", '"24" is no hour'),
        ("* * 0 * *", '"0" is no day of month'),
        ("* * * 13 *", '"13" is no month'),
        ("* * * * 7", '"7" is no day of week'),
        ("mon * * * *", '"mon" is no minute'),
        ("* * * * mo", '"mo" is no day of week'),
        ("*/0 * * * *", "steps by 0"),
        ("5/10 * * * *", "steps from a single minute"),
        ("1,,2 * * * *", '"" is no minute'),
        ("1-5-7 * * * *", '"1-5-7" is no minute'),
        ("-1 * * * *", '"-1" is no minute'),
        ("* * 30 feb *", "never comes"),
        ("* * 31 4,6,9-9,11 *", "never comes"),
    ],
)
def test_what_is_wrong_is_told_with_its_field(line: str, told: str) -> None:
    """The part that is wrong, and which of the five it stands in."""
    with pytest.raises(Wrong) as caught:
        cron(line)
    assert told in caught.value.what
    assert caught.value.remedy


@pytest.mark.parametrize(
    ("line", "gap_s"),
    [
        ("* * * * *", 60),
        ("*/10 6-20 * * mon-fri", 600),
        ("0 3 * * *", 86_400),
        ("0 3 1 * *", 86_400),  # told as a day: shorter than it is, never longer
        ("0 0,1,22 * * *", 3600),
        ("5,50 * * * *", 15 * 60),
        ("0 23,1 * * *", 7200),
        ("*/40 * * * *", 20 * 60),
    ],
)
def test_the_shortest_gap_is_between_neighbouring_ticks(line: str, gap_s: float) -> None:
    """Over the hour and over midnight as well."""
    assert cron(line).shortest_gap() == gap_s


@given(_LINES)
def test_no_two_ticks_are_nearer_than_the_shortest_gap(line: str) -> None:
    """Held against the ticks of three days, listed minute by minute."""
    try:
        ours = cron(line)
    except Wrong:
        return
    ticks = [
        day * 1440 + minute
        for day in range(3)
        for minute in range(1440)
        if minute // 60 in ours.hours and minute % 60 in ours.minutes
    ]
    assert 60 * min(b - a for a, b in itertools.pairwise(ticks)) == ours.shortest_gap()
