"""The times of LIST: whatever server, zone and day of the year."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from workers.ftps.listing import parse_list_line
from workers.ftps.months import month_number
from workers.ftps.times import hour_of_day, whole_year

_ZONES = st.sampled_from(["UTC", "Europe/Vienna", "America/New_York", "Pacific/Auckland", "Asia/Kathmandu"])
_NOWS = st.datetimes(datetime(1972, 1, 3), datetime(2099, 12, 31))
_MONTHS = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"]


def without_year(there: datetime) -> bytes:
    """As `ls` writes it."""
    return f"{_MONTHS[there.month - 1]} {there.day:2} {there:%H:%M}".encode()


@given(now=_NOWS, zone=_ZONES, age=st.timedeltas(timedelta(0), timedelta(days=180)))
def test_a_young_files_year_is_guessed_right(now: datetime, zone: str, age: timedelta) -> None:
    """`ls` leaves the year out for half a year, over New Year and 29 February as well."""
    instant = now.replace(tzinfo=UTC, second=0, microsecond=0) - age
    there = instant.astimezone(ZoneInfo(zone)).replace(second=0, microsecond=0)
    entry = parse_list_line(
        b"-rw-r--r-- 1 a b 1 " + without_year(there) + b" n",
        now=now.replace(tzinfo=UTC).timestamp(),
        zone=zone,
    )
    assert entry is not None
    assert entry.modified is not None
    # An hour that comes twice, when summer time ends, is one of the two.
    assert there.timestamp() - entry.modified in (0, 3600, -3600)


@given(now=_NOWS, zone=_ZONES, day=st.dates(), clock=st.times())
def test_no_guessed_time_is_more_than_a_day_ahead(
    now: datetime, zone: str, day: datetime, clock: datetime
) -> None:
    """Whatever day and hour is told."""
    told = f"{_MONTHS[day.month - 1]} {day.day} {clock:%H:%M}".encode()
    at = now.replace(tzinfo=UTC).timestamp()
    entry = parse_list_line(b"-rw-r--r-- 1 a b 1 " + told + b" n", now=at, zone=zone)
    assert entry is not None
    assert entry.modified is not None
    # A day there may have an hour more.
    assert entry.modified <= at + 86400 + 3600


@pytest.mark.parametrize(
    ("short", "full"), [(69, 2069), (70, 1970), (99, 1999), (0, 2000), (26, 2026), (1997, 1997)]
)
def test_years_of_two_digits(short: int, full: int) -> None:
    """Around the year that Unix began."""
    assert whole_year(short) == full


def test_twelve_hour_clocks() -> None:
    """Midnight is 12 AM, noon 12 PM; 0 and 13 are no hours of theirs."""
    assert [hour_of_day(hour, b"AM") for hour in (12, 1, 11)] == [0, 1, 11]
    assert [hour_of_day(hour, b"pm") for hour in (12, 1, 11)] == [12, 13, 23]
    assert [hour_of_day(hour, b"PM") for hour in (0, 13)] == [24, 24]
    assert hour_of_day(17, None) == 17


@pytest.mark.parametrize(
    ("name", "number"),
    [
        (b"Jan", 1),
        (b"DEC", 12),
        (b"sept.", 9),
        (b"Mai", 5),
        ("févr.".encode(), 2),
        (b"xxx", None),
        (b"", None),
    ],
)
def test_names_of_months(name: bytes, number: int | None) -> None:
    """In the languages we know; a word of another is no month, and no error."""
    assert month_number(name) == number
