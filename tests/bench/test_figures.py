"""Ratios and how sure they are."""

from __future__ import annotations

import random

from tests.bench.figures import ratio, spread
from tests.bench.report import largest


def test_a_ratio_compares_neighbours() -> None:
    """What slows both of a round alike leaves the ratio alone, however much the machine's speed wanders."""
    weather = [1.0, 5.0, 2.0, 9.0, 3.0]
    found = ratio([2 * slow for slow in weather], weather)
    assert (found.median, found.low, found.high) == (2.0, 2.0, 2.0)


def test_the_interval_holds_the_true_ratio_and_narrows_with_more_turns() -> None:
    """Twice as slow within noise: the interval holds 2, and more turns make it narrower."""
    chance = random.Random(5)

    def turns(count: int, middle: float) -> list[float]:
        return [middle * chance.uniform(0.8, 1.25) for _ in range(count)]

    few, many = ratio(turns(5, 2.0), turns(5, 1.0)), ratio(turns(80, 2.0), turns(80, 1.0))
    assert few.low < 2.0 < few.high
    assert many.high - many.low < few.high - few.low


def test_unequal_numbers_of_turns_are_compared_by_their_medians() -> None:
    """Who was too slow to be asked again is compared by the one turn he had."""
    assert ratio([30.0], [3.0, 2.0, 4.0]).median == 10.0


def test_the_spread_is_the_quartiles_distance_over_the_median() -> None:
    """Equal turns have none, nor has a single one."""
    assert spread([4.0]) == 0.0
    assert spread([2.0, 2.0, 2.0]) == 0.0
    assert spread([1.0, 2.0, 3.0]) == 0.5


def test_a_profile_begins_with_what_took_longest() -> None:
    """In whatever order it was kept; what took next to nothing is not shown."""
    profile = {f"place {number}": number / 100 for number in range(20)}
    shown = largest(profile)
    assert shown[0] == ("place 19", 0.19)
    assert [part for _, part in shown] == sorted(profile.values(), reverse=True)[: len(shown)]
    assert len(shown) < len(profile)
