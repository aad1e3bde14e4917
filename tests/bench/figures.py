"""Medians, spreads, and how sure a ratio of medians is. Pure."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median, quantiles

RESAMPLES = 2000


@dataclass(frozen=True, slots=True)
class Ratio:
    """A median with the 95 % confidence interval around it."""

    median: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.median:.2f} [{self.low:.2f}–{self.high:.2f}]"


def spread(values: Sequence[float]) -> float:
    """The distance between the quartiles, as a part of the median; 0 for a single value."""
    if len(values) < 2 or not median(values):
        return 0.0
    low, _, high = quantiles(values, n=4, method="inclusive")
    return (high - low) / median(values)


def ratio(over: Sequence[float], under: Sequence[float], *, seed: int = 1) -> Ratio:
    """`over` divided by `under`, turn by turn where both had the same turns, with a bootstrap interval.

    Turns of one round stand next to each other in time, so what slows the machine slows both: the quotient
    of a round is steadier than that of the medians. With unequal numbers of turns each side is resampled.
    """
    chance = random.Random(seed)
    if len(over) == len(under):
        rounds = [one / other for one, other in zip(over, under, strict=True)]
        found = sorted(median(chance.choices(rounds, k=len(rounds))) for _ in range(RESAMPLES))
        middle = median(rounds)
    else:
        found = sorted(
            median(chance.choices(over, k=len(over))) / median(chance.choices(under, k=len(under)))
            for _ in range(RESAMPLES)
        )
        middle = median(over) / median(under)
    return Ratio(middle, found[int(RESAMPLES * 0.025)], found[int(RESAMPLES * 0.975) - 1])
