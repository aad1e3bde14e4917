"""Five cron fields, checked and expanded; pure, and without Celery.

The grammar is that of Celery's crontab, which beat follows: `*`, numbers, names, `a-b` (which may wrap:
`sat-mon`), `/step`, and lists of these. A tick matches all five; classic cron takes either day field.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from workers.settings.config_file import Wrong, shown

_MONTHS = [
    "january",
    "february",
    "march",
    "april",
    "may",
    "june",
    "july",
    "august",
    "september",
    "october",
    "november",
    "december",
]
_WEEKDAYS = ["sunday", "monday", "tuesday", "wednesday", "thursday", "friday", "saturday"]
_LONGEST_MONTH = {2: 29, 4: 30, 6: 30, 9: 30, 11: 30}

_PART = re.compile(r"(?:(\*)|(\w+)(?:-(\w+))?)(?:/([0-9]{1,4}))?")


@dataclass(frozen=True, slots=True)
class _Field:
    name: str
    lowest: int
    highest: int
    words: tuple[str, ...] = ()


_FIELDS = (
    _Field("minute", 0, 59),
    _Field("hour", 0, 23),
    _Field("day of month", 1, 31),
    _Field("month", 1, 12, tuple(_MONTHS)),
    _Field("day of week", 0, 6, tuple(_WEEKDAYS)),
)


@dataclass(frozen=True, slots=True)
class Cron:
    """When a schedule ticks; weekday 0 is Sunday."""

    minutes: frozenset[int]
    hours: frozenset[int]
    days: frozenset[int]
    months: frozenset[int]
    weekdays: frozenset[int]

    def shortest_gap(self) -> float:
        """Seconds by the wall clock between the two ticks that are nearest to each other.

        Days are taken as following one another, so the gap of a monthly schedule is told as a day at most:
        for what it serves, the life of a message, shorter is safe and longer is not.
        """
        ticks = sorted(hour * 60 + minute for hour in self.hours for minute in self.minutes)
        following = [*ticks[1:], ticks[0] + 24 * 60]
        return 60.0 * min(after - before for before, after in zip(ticks, following, strict=True))


def cron(text: str) -> Cron:
    """The schedule that `text` describes: minute, hour, day of month, month, day of week. Raises Wrong."""
    fields = text.split()
    if len(fields) != len(_FIELDS):
        raise Wrong(
            f"{shown(text)} has {len(fields)} fields instead of five",
            'write minute, hour, day of month, month, day of week, such as "*/10 6-20 * * mon-fri"',
        )
    ticks = Cron(*(_expanded(spec, field) for spec, field in zip(fields, _FIELDS, strict=True)))
    # Celery's beat would look for 30 February until it dies of it (schedules.crontab, "unable to rollover").
    if all(min(ticks.days) > _LONGEST_MONTH.get(month, 31) for month in ticks.months):
        raise Wrong(f"{shown(text)} names a day that never comes", "check day of month and month")
    return ticks


def _expanded(spec: str, field: _Field) -> frozenset[int]:
    found: set[int] = set()
    for part in spec.split(","):
        match = _PART.fullmatch(part)
        if match is None:
            raise Wrong(f"{shown(part)} is no {field.name}", _remedy(field))
        star, first, last, step = match.groups()
        if step is not None and int(step) == 0:
            raise Wrong(f"{shown(part)} steps by 0", "write a step of 1 or more")
        if step is not None and star is None and last is None:
            raise Wrong(
                f"{shown(part)} steps from a single {field.name}",
                f'write a range: "{first}-{field.highest}/…"',
            )
        found.update(_run(star, first, last, field)[:: int(step or 1)])
    return frozenset(found)


def _run(star: str | None, first: str, last: str | None, field: _Field) -> list[int]:
    every = list(range(field.lowest, field.highest + 1))
    if star:
        return every
    start = _number(first, field)
    end = start if last is None else _number(last, field)
    if end < start:
        return list(range(start, field.highest + 1)) + list(range(field.lowest, end + 1))
    return list(range(start, end + 1))


def _number(word: str, field: _Field) -> int:
    if word.isascii() and word.isdigit() and len(word) <= 4:
        number = int(word)
    else:
        lowered = word.lower()
        matching = [i for i, name in enumerate(field.words) if lowered in (name, name[:3])]
        number = matching[0] + field.lowest if matching else -1
    if not field.lowest <= number <= field.highest:
        raise Wrong(f"{shown(word)} is no {field.name}", _remedy(field))
    return number


def _remedy(field: _Field) -> str:
    names = f" or {field.words[0][:3]}-{field.words[-1][:3]}" if field.words else ""
    return (
        f"a {field.name} is *, {field.lowest}-{field.highest}{names}, a list or a range of these, or */step"
    )
