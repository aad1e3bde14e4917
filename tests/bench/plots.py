"""The pictures of the page, drawn from the results; none where matplotlib is not installed."""

from __future__ import annotations

import importlib
import importlib.util
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.bench.items import BEST_TLS
from tests.bench.results import Results, Row
from tests.bench.turns import OTHERS, RUN

NAMES = {
    "performance-small": "Small files down, one line: files a second by contestant and server",
    "performance-phases": "Where the time of a small file goes",
    "performance-lines": "Small files down by 1 to 8 lines",
    "performance-far": "Round trips a file over the far link",
}
OURS, THEIRS = "#1f4e79", "#9aa5b1"


def draw(results: Results, folder: Path) -> set[str]:
    """Which pictures were drawn."""
    if importlib.util.find_spec("matplotlib") is None:
        return set()
    pyplot: Any = importlib.import_module("matplotlib.pyplot")
    pyplot.switch_backend("agg")
    drawn = set()
    for name, one in DRAWINGS.items():
        figure, axes = pyplot.subplots(figsize=(9, 4.5), layout="constrained")
        if one(results, axes):
            axes.set_title(NAMES[name], fontsize=11)
            axes.spines[["top", "right"]].set_visible(False)
            figure.savefig(folder / f"{name}.png", dpi=110, metadata={"Software": None})
            drawn.add(name)
        pyplot.close(figure)
    return drawn


def _small(results: Results, axes: Any) -> bool:
    rows = [row for row in _rows(results, "small-down") if row.told["lines"] == 1]
    return _bars(axes, rows, lambda row, name: row.told["files"] / row.median(name), "files a second")


def _far(results: Results, axes: Any) -> bool:
    """A group for each server, a bar for each contestant; files down."""
    places = results.special.get("round-trips", {}).get("down", {})
    names = list(dict.fromkeys(name for counts in places.values() for name in counts))
    for number, name in enumerate(names):
        there = [(at, told[name]) for at, told in enumerate(places.values()) if told[name] != "failed"]
        colour = OURS if name.startswith("towline") else THEIRS
        at = [place + number * 0.8 / len(names) for place, _ in there]
        axes.bar(at, [count for _, count in there], 0.7 / len(names), color=colour)
        for place, (_, count) in zip(at, there, strict=True):
            axes.text(place, count, f" {name}", rotation=90, fontsize=6, ha="center", va="bottom")
    axes.set_xticks([at + 0.35 for at in range(len(places))], list(places), fontsize=8)
    axes.margins(y=0.35)
    axes.set_ylabel("round trips a file")
    return bool(places)


def _bars(axes: Any, rows: list[Row], height: Callable[[Row, str], float], unit: str) -> bool:
    """A group for each row, a bar for each contestant; ours are dark."""
    names = list(dict.fromkeys(name for row in rows for name, _ in row.entrants()))
    if not names:
        return False
    width = 0.85 / len(names)
    for number, name in enumerate(names):
        there = [(at, height(row, name)) for at, row in enumerate(rows) if row.values(name)]
        places = [at + number * width for at, _ in there]
        shade = 0.35 + 0.65 * number / len(names)
        colour = OURS if name.startswith("towline") else THEIRS
        axes.bar(places, [value for _, value in there], width * 0.9, color=colour, alpha=shade, label=name)
        for place, (_, value) in zip(places, there, strict=True):
            axes.text(place, value, f" {name}", rotation=90, fontsize=5.5, ha="center", va="bottom")
    axes.set_xticks(
        [at + 0.4 for at in range(len(rows))],
        [f"{row.told['server']}\nTLS {row.told['tls']}" for row in rows],
        fontsize=8,
    )
    axes.margins(y=0.3)
    axes.set_ylabel(unit)
    return True


def _phases(results: Results, axes: Any) -> bool:
    told = results.special.get("phases", {})
    if not told:
        return False
    places = list(told)
    steps = list(dict.fromkeys(step for place in told.values() for step in place))
    left = [0.0] * len(places)
    colours = [f"C{number}" for number in range(10)]
    for number, step in enumerate(steps):
        values = [told[place][step] * 1000 for place in places]
        axes.barh(
            places, values, left=left, label=step, color=colours[number % 10], alpha=1 - 0.4 * (number >= 10)
        )
        left = [before + value for before, value in zip(left, values, strict=True)]
    axes.set_xlabel("milliseconds a file")
    axes.legend(fontsize=6.5, ncols=4, loc="upper center", bbox_to_anchor=(0.5, -0.15), frameon=False)
    return True


def _lines(results: Results, axes: Any) -> bool:
    """Lines across, files a second up; our curve for each server, and the best of the others beside it."""
    drawn = False
    for server in dict.fromkeys(row.told["server"] for row in _rows(results, "small-down")):
        rows = [
            row
            for row in _rows(results, "small-down")
            if row.told["server"] == server and row.told["tls"] == BEST_TLS[server]
        ]
        rows = sorted((row for row in rows if row.values(RUN)), key=lambda row: row.told["lines"])
        if len(rows) < 2:
            continue
        drawn = True
        lines = [row.told["lines"] for row in rows]
        ours = [row.told["files"] / (row.median(RUN) or 1) for row in rows]
        [curve] = axes.plot(lines, ours, marker="o", label=f"towline run, {server}")
        best = [(row, name) for row in rows if (name := row.best_of(OTHERS)) is not None]
        theirs = [row.told["files"] / (row.median(name) or 1) for row, name in best]
        at = [row.told["lines"] for row, _ in best]
        axes.plot(at, theirs, "--", color=curve.get_color(), label=f"the best other, {server}")
    axes.set_xlabel("lines")
    axes.set_ylabel("files a second")
    if drawn:
        axes.legend(fontsize=8, frameon=False)
    return drawn


def _rows(results: Results, work: str) -> list[Row]:
    return [row for row in results.rows if row.told["work"] == work]


DRAWINGS: dict[str, Callable[[Results, Any], bool]] = {
    "performance-small": _small,
    "performance-phases": _phases,
    "performance-lines": _lines,
    "performance-far": _far,
}
