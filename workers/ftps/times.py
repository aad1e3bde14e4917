"""Times as servers write them → epoch seconds UTC, and how coarse they are."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from zoneinfo import ZoneInfo

MINUTE, DAY = 60.0, 86400.0

# A server that adds 1900 in text instead of in numbers writes 2026 as "19126", to this day.
_TIME_VALUE = re.compile(rb"(?:(\d{4})|19(1\d\d))(\d{4})(\d\d)(\d\d)(\d\d)(?:\.(\d{0,9}))?\Z")


# Who looks at one entry's time looks at it several times.
@lru_cache(maxsize=64)
def parse_time_value(text: bytes) -> tuple[float | None, float]:
    """`YYYYMMDDHHMMSS[.sss]` in UTC (RFC 3659 §2.3) → epoch seconds, precision in seconds; else (None, 1)."""
    match = _TIME_VALUE.match(text)
    if match is None:
        return None, 1.0
    year, since_1900, monthday, hour, minute, second, fraction = match.groups()
    midnight = _midnight(year or b"%d" % (1900 + int(since_1900)), monthday)
    # 60 is a leap second (RFC 3659 §2.3).
    if midnight is None or int(hour) > 23 or int(minute) > 59 or int(second) > 60:
        return None, 1.0
    whole = midnight + int(hour) * 3600 + int(minute) * 60 + int(second)
    if not fraction:
        return whole, 1.0
    part, precision = part_of_second(fraction)
    return whole + part, precision


def part_of_second(digits: bytes) -> tuple[float, float]:
    """Seconds behind the point, and their precision.

    Ten digits before the point leave a float six behind it: to claim more would be untrue.
    """
    digits = digits[:6]
    return int(digits) / 10 ** len(digits), 10.0 ** -len(digits)


# A folder's files come from few days; datetime takes longer than all the rest.
@lru_cache(maxsize=1024)
def _midnight(year: bytes, monthday: bytes) -> float | None:
    try:
        return datetime(int(year), int(monthday[:2]), int(monthday[2:]), tzinfo=UTC).timestamp()
    except ValueError:
        return None


@dataclass(frozen=True, slots=True)
class Clock:
    """The server's clock, as far as LIST's times need it.

    zone: in which it writes times. horizon: the latest time there that a file can have, which is a day from
    now: clocks are wrong, and so are zones.
    """

    zone: ZoneInfo
    horizon: datetime

    @classmethod
    def of(cls, now: float, zone: str) -> Clock:
        """now: epoch seconds UTC. zone: IANA name."""
        there = ZoneInfo(zone)
        return cls(there, datetime.fromtimestamp(now, there) + timedelta(days=1))

    def instant(
        self, year: int, month: int, day: int, hour: int = 0, minute: int = 0, second: int = 0
    ) -> float | None:
        """Epoch seconds UTC of a time there; None where there is no such time."""
        try:
            return datetime(year, month, day, hour, minute, second, tzinfo=self.zone).timestamp()
        except (ValueError, OverflowError):
            return None

    def latest(self, month: int, day: int, hour: int, minute: int, second: int = 0) -> float | None:
        """The latest such time that isn't beyond the horizon: what `ls` means where it leaves the year out.

        29 February may be up to eight years back (1900 and 2100 have none).
        """
        for year in range(self.horizon.year, self.horizon.year - 9, -1):
            instant = self.instant(year, month, day, hour, minute, second)
            if instant is not None and instant <= self.horizon.timestamp():
                return instant
        return None

    def is_past(self, instant: float) -> bool:
        """Whether a file can have this time."""
        return instant <= self.horizon.timestamp()


def whole_year(year: int) -> int:
    """A year in full: 97 is 1997, 26 is 2026; the FTP servers that write two digits are younger than 1970."""
    if year > 99:
        return year
    return year + (1900 if year >= 70 else 2000)


def hour_of_day(hour: int, half: bytes | None) -> int:
    """The hour of a 24-hour clock; half: `AM`, `PM` (or `A`, `P`) of a 12-hour one, else None."""
    if not half:
        return hour
    if not 1 <= hour <= 12:
        return 24  # no such hour, and so no such time
    return hour % 12 + (12 if half[:1] in b"pP" else 0)


_ENGLISH = b"jan feb mar apr may jun jul aug sep oct nov dec"
MONTHS = {name: number for number, name in enumerate(_ENGLISH.split(), 1)}
