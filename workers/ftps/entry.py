"""What a listing holds: entries, and lines that are none."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal, Self, cast

from workers.ftps.times import parse_time_value

Kind = Literal["file", "dir", "link", "other"]
# A time as MLSD wrote it (None: it didn't), or one that is known, with its precision.
_Time = bytes | tuple[float | None, float] | None


class Entry(tuple[bytes, Kind, "int | None", _Time, "bytes | None", "bytes | None"]):
    """One entry of a listing; a value.

    A tuple inside, since a frozen dataclass takes as long to make as a line of MLSD to read; and its time is
    kept as it was written until somebody asks (a poll asks for a few of a million).
    """

    __slots__ = ()

    def __new__(
        cls,
        name: bytes,
        kind: Kind,
        size: int | None,
        modified: float | None,
        precision_s: float,
        unique: bytes | None = None,
        target: bytes | None = None,
    ) -> Self:
        """Take the values of the properties below, under their names."""
        return super().__new__(cls, (name, kind, size, (modified, precision_s), unique, target))

    @property
    def name(self) -> bytes:
        """As the server wrote it: what RETR sends back (design R12)."""
        return self[0]

    @property
    def kind(self) -> Kind:
        """What it is."""
        return self[1]

    @property
    def size(self) -> int | None:
        """Bytes; None where it isn't said, or said in something else."""
        return self[2]

    @property
    def modified(self) -> float | None:
        """Epoch seconds UTC; None where it isn't said."""
        return self._time()[0]

    @property
    def precision_s(self) -> float:
        """How coarse `modified` is, in seconds: 1 for MLSD, mostly 60 or 86400 for LIST."""
        return self._time()[1]

    @property
    def unique(self) -> bytes | None:
        """MLSD's fact of that name (RFC 3659 §7.5.2)."""
        return self[4]

    @property
    def target(self) -> bytes | None:
        """Where a link points."""
        return self[5]

    def within(self, folder: bytes) -> Entry:
        """The same entry as seen from above: its name is then a path, beginning with `folder`."""
        name, *others = self
        return tuple.__new__(Entry, (folder + b"/" + name, *others))

    def _time(self) -> tuple[float | None, float]:
        time = self[3]
        return time if isinstance(time, tuple) else parse_time_value(time or b"")

    def _values(self) -> tuple[Any, ...]:
        return (self[0], self[1], self[2], *self._time(), self[4], self[5])

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Entry) and self._values() == other._values()

    def __ne__(self, other: object) -> bool:
        return not self == other

    def __hash__(self) -> int:
        return hash(self._values())

    def __getnewargs__(self) -> tuple[Any, ...]:
        return self._values()

    def __repr__(self) -> str:
        names = ("name", "kind", "size", "modified", "precision_s", "unique", "target")
        return f"Entry({', '.join(f'{n}={v!r}' for n, v in zip(names, self._values(), strict=True))})"


# Makes an Entry of name, kind, size, time value, unique fact and target, in half the time that a function of
# our own would take: tuple's own constructor.
_Written = tuple[bytes, Kind, int | None, bytes | None, bytes | None, bytes | None]
make_entry = cast(Callable[[type[Entry], _Written], Entry], tuple.__new__)


class BadLine(ValueError):
    """A line that is no entry, and nothing else we know."""

    def __init__(self, line: bytes) -> None:
        super().__init__(f"not understood: {line[:200]!r}")


class BadLines:
    """Lines of one listing that nobody could read: how many, and the first; they spoil nothing else.

    Only the first is kept: a listing may hold a million of them.
    """

    def __init__(self) -> None:
        self.count = 0
        self.first: str | None = None

    def note(self, line: bytes) -> None:
        """Count this line in."""
        self.count += 1
        if self.first is None:
            self.first = str(BadLine(line))


def number(text: bytes | None) -> int | None:
    """A size in bytes; None where it isn't one."""
    # 19 digits are more than any file; int() of a million digits takes minutes.
    return int(text) if text is not None and text.isdigit() and len(text) < 20 else None
