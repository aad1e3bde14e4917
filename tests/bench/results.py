"""What was measured, as JSON: the only source of the page and the pictures."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from statistics import median
from typing import Any

from tests.bench.turns import Entrant
from tests.bench.work import Item


@dataclass(frozen=True, slots=True)
class Row:
    """An item's results as they were stored."""

    id: str
    told: Mapping[str, Any]

    def entrants(self) -> Iterator[tuple[str, Mapping[str, Any]]]:
        """Name and what came of it."""
        yield from self.told["entrants"].items()

    def values(self, name: str, field: str = "wall_s") -> list[float]:
        """One figure of each turn of a contestant; empty where it had none."""
        samples = self.told["entrants"].get(name, {}).get("samples", [])
        return [sample[field] for sample in samples if sample[field] is not None]

    def median(self, name: str, field: str = "wall_s") -> float | None:
        """None where the contestant had no turn."""
        values = self.values(name, field)
        return median(values) if values else None

    def best_of(self, names: tuple[str, ...]) -> str | None:
        """Who of these was the fastest."""
        timed = {name: time for name in names if (time := self.median(name)) is not None}
        return min(timed, key=lambda name: timed[name]) if timed else None


class Results:
    """The document, kept in its file after each addition."""

    def __init__(self, path: Path, document: dict[str, Any]) -> None:
        self._path = path
        self._document = document

    @classmethod
    def of(cls, path: Path) -> Results:
        """What the file holds, or nothing yet."""
        empty: dict[str, Any] = {"items": {}, "special": {}}
        return cls(path, json.loads(path.read_bytes()) if path.exists() else empty)

    def about(self, scale: str, machine: Mapping[str, str], versions: Mapping[str, str]) -> None:
        """Where and with what the run is made."""
        if self._document.get("scale") != scale:
            self._document = {"items": {}, "special": {}}  # figures of other sizes are no neighbours
        self._document |= {"scale": scale, "machine": dict(machine), "versions": dict(versions)}

    def add(self, item: Item, entrants: Mapping[str, Entrant]) -> None:
        """An item that was run; it takes the place of an earlier run's."""
        self._put(item, {"entrants": {name: entrant.as_json() for name, entrant in entrants.items()}})

    def not_run(self, item: Item, why: str) -> None:
        """An item that can't be run here."""
        self._put(item, {"entrants": {}, "not_run": why})

    def tell(self, name: str, told: Any) -> None:
        """A measurement that is no contest."""
        self._document["special"][name] = told
        self._save()

    def _put(self, item: Item, told: dict[str, Any]) -> None:
        about = {
            "title": item.work.title,
            "work": item.work.name,
            "direction": item.work.direction,
            "server": item.server,
            "tls": item.tls,
            "lines": item.lines,
            "far_ms": item.far_ms,
            "files": len(item.work.sizes),
            "bytes": item.work.bytes,
            "at": datetime.now(UTC).isoformat(timespec="seconds"),
            "load": os.getloadavg()[0],
        }
        self._document["items"][item.id] = about | told
        self._save()

    def _save(self) -> None:
        self._path.write_text(json.dumps(self._document, indent=1, sort_keys=True) + "\n")

    @property
    def rows(self) -> list[Row]:
        """All items, those of a kind together."""
        return [Row(name, told) for name, told in self._document["items"].items()]

    @property
    def special(self) -> Mapping[str, Any]:
        """The measurements that are no contest, by name."""
        told: Mapping[str, Any] = self._document["special"]
        return told

    @property
    def document(self) -> Mapping[str, Any]:
        """All of it."""
        return self._document
