"""Durations and sizes as people write them: `"250ms"`, `"10m"`, `"64KiB"`; pure.

Inside Towline a duration is a float of seconds and a size is an int of bytes, always.
A bare number is refused in a configuration: nobody remembers whether 60 meant seconds or minutes.
"""

from __future__ import annotations

import re
from decimal import Decimal

from workers.settings.config_file import Wrong, shown

_SECONDS = {
    "ms": Decimal("0.001"),
    "s": Decimal(1),
    "m": Decimal(60),
    "h": Decimal(3600),
    "d": Decimal(86400),
}
_BYTES = {"B": 1, "KiB": 2**10, "MiB": 2**20, "GiB": 2**30, "TiB": 2**40}

_LONGEST_S = Decimal(100 * 366 * 86400)
"""A century. Beyond it lie only typing errors, and dates that datetime can't hold."""

_QUANTITY = re.compile(r"([0-9]{1,18}(?:\.[0-9]{1,9})?) ?([A-Za-z]+)")


def duration(text: str) -> float:
    """Seconds of a duration such as "250ms", "30s", "1.5h" or "90d". Raises Wrong."""
    match = _QUANTITY.fullmatch(text)
    if match is None or match[2] not in _SECONDS:
        raise Wrong(
            f"{shown(text)} is not a duration",
            'write a number and one of ms, s, m, h, d, such as "90s" or "10m"',
        )
    seconds = Decimal(match[1]) * _SECONDS[match[2]]
    if seconds > _LONGEST_S:
        raise Wrong(f"{shown(text)} is more than a hundred years", "write a shorter duration")
    return float(seconds)


def size(text: str) -> int:
    """Bytes of a size such as "512B", "64KiB" or "5MiB". Raises Wrong.

    Decimal units (kB, MB) are refused: half of the world reads them as 1024, the other half as 1000.
    """
    match = _QUANTITY.fullmatch(text)
    if match is None or match[2] not in _BYTES:
        raise Wrong(
            f"{shown(text)} is not a size",
            'write a number and one of B, KiB, MiB, GiB, TiB, such as "64KiB" or "5MiB"',
        )
    count = Decimal(match[1]) * _BYTES[match[2]]
    if count != int(count):
        raise Wrong(f"{shown(text)} is not a whole number of bytes", "write it in a smaller unit")
    return int(count)


def shown_duration(seconds: float) -> str:
    """A duration as `duration` reads it, in the largest unit that takes a whole number; rounded to 1 ms."""
    exact = Decimal(round(seconds * 1000)) / 1000
    for unit in ("d", "h", "m", "s"):
        if exact % _SECONDS[unit] == 0 and (exact or unit == "s"):
            return f"{exact / _SECONDS[unit]:f}{unit}"
    return f"{exact * 1000:f}".split(".")[0] + "ms"


def shown_size(count: int) -> str:
    """A size as `size` reads it, in the largest unit that takes a whole number."""
    for unit, factor in reversed(_BYTES.items()):
        if count and count % factor == 0:
            return f"{count // factor}{unit}"
    return "0B"
