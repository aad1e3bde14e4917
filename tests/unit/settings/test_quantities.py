"""Durations and sizes."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from workers.settings.config_file import Wrong
from workers.settings.quantities import duration, shown_duration, shown_size, size


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("250ms", 0.25),
        ("30s", 30),
        ("10m", 600),
        ("1h", 3600),
        ("26h", 93_600),
        ("90d", 7_776_000),
        ("0s", 0),
        ("1.5h", 5400),
        ("0.5ms", 0.0005),
        ("10 m", 600),
    ],
)
def test_a_duration_is_seconds(text: str, seconds: float) -> None:
    """Each unit of the contract, fractions, and a blank before the unit."""
    assert duration(text) == seconds


@pytest.mark.parametrize(
    ("text", "count"),
    [("512B", 512), ("64KiB", 65_536), ("5MiB", 5_242_880), ("1GiB", 2**30), ("1.5KiB", 1536)],
)
def test_a_size_is_bytes(text: str, count: int) -> None:
    """Binary units, and fractions of them that are whole bytes."""
    assert size(text) == count


@pytest.mark.parametrize(
    "text", ["", "10", "m", "10min", "-5s", "1h30m", "10M", "1e3s", "٣s", "10m\n", "5MiB", "9" * 40 + "s"]
)
def test_what_is_no_duration_is_told_with_an_example(text: str) -> None:
    """The message repeats what was written, and shows what to write."""
    with pytest.raises(Wrong) as caught:
        duration(text)
    assert "is not a duration" in caught.value.what
    assert '"10m"' in caught.value.remedy


def test_a_duration_beyond_all_calendars_is_refused() -> None:
    """datetime could not hold the dates that would come of it."""
    with pytest.raises(Wrong, match="hundred years"):
        duration("99999999d")


@pytest.mark.parametrize("text", ["", "64", "5MB", "5mb", "64kB", "-1B", "1 000B"])
def test_what_is_no_size_is_told_with_an_example(text: str) -> None:
    """Decimal units too: half of the world reads them as binary."""
    with pytest.raises(Wrong) as caught:
        size(text)
    assert "KiB" in caught.value.remedy


def test_half_a_byte_is_refused() -> None:
    """A fraction has to come out in whole bytes."""
    with pytest.raises(Wrong, match="whole number"):
        size("0.3KiB")


@given(st.integers(0, 100 * 365 * 86_400_000))
def test_every_duration_is_read_back_as_it_is_shown(milliseconds: int) -> None:
    """Messages and documents show durations that can be pasted into a configuration."""
    assert duration(shown_duration(milliseconds / 1000)) == milliseconds / 1000


@given(st.integers(0, 2**50))
def test_every_size_is_read_back_as_it_is_shown(count: int) -> None:
    """The same for sizes, to the byte."""
    assert size(shown_size(count)) == count


@given(st.text())
def test_any_text_is_a_duration_or_refused(text: str) -> None:
    """No other error, whatever is written."""
    with contextlib.suppress(Wrong):
        assert duration(text) >= 0


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "0s"), (0.25, "250ms"), (90, "90s"), (600, "10m"), (86_400, "1d"), (93_600, "26h")],
)
def test_a_duration_is_shown_in_its_largest_whole_unit(seconds: float, text: str) -> None:
    """600 seconds are "10m", and 90 are not "1.5m"."""
    assert shown_duration(seconds) == text
