"""One measured figure, and what it should be."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Figure:
    """unit: as it is written behind the number; bar: what is wanted, in words, empty where nothing is."""

    what: str
    value: float
    unit: str = ""
    bar: str = ""

    def shown(self) -> str:
        """The number with its unit."""
        digits = 0 if abs(self.value) >= 1000 else 2
        return f"{self.value:,.{digits}f} {self.unit}".strip()

    def __str__(self) -> str:
        wanted = f" ({self.bar})" if self.bar else ""
        return f"{self.what}: {self.shown()}{wanted}"
