"""The soak's part of docs/promise.md, made from docs/soak.json: `python -m tests.soak.page`."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

DOCS = Path(__file__).resolve().parents[2] / "docs"
RESULTS = DOCS / "soak.json"
PAGE = DOCS / "promise.md"
BEGINS, ENDS = "<!-- made by tests/soak/page.py -->\n", "<!-- end -->\n"


def added(results: Sequence[Mapping[str, Any]], result: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """The results with this one in the place of an earlier one of the same length; the shortest first."""
    others = [one for one in results if one["versions"] != result["versions"]]
    return sorted([*others, result], key=lambda one: int(one["versions"]))


def read(file: Path = RESULTS) -> list[Mapping[str, Any]]:
    """What soaks have found so far."""
    return list(json.loads(file.read_text())) if file.exists() else []


def section(results: Sequence[Mapping[str, Any]]) -> str:
    """Markdown: what each of the soaks did, and the sets it ended with."""
    facts = [
        ("versions written", [f"{one['versions']:,}" for one in results]),
        (
            "published (the others were replaced or taken away before)",
            [f"{one['published']:,}" for one in results],
        ),
        ("seed", [str(one["seed"]) for one in results]),
        ("workers · real servers", [f"{one['workers']} · {', '.join(one['servers'])}" for one in results]),
        ("seconds under faults · until all was at rest", [_seconds(one) for one in results]),
        ("faults", [str(sum(one["faults"].values())) for one in results]),
        *_counted(results, "faults"),
        *_counted(results, "sets"),
    ]
    rows = ["|" + " |" * (len(results) + 1), "|---" + "|--:" * len(results) + "|"]
    rows += [f"| {name} | " + " | ".join(values) + " |" for name, values in facts]
    return "\n".join(rows) + "\n"


def written(page: str, results: Sequence[Mapping[str, Any]]) -> str:
    """The page with its section made anew."""
    before, _, rest = page.partition(BEGINS)
    _, _, after = rest.partition(ENDS)
    return f"{before}{BEGINS}{section(results)}{ENDS}{after}"


def _seconds(result: Mapping[str, Any]) -> str:
    return f"{result['duration_s']:.0f} · {result['quiet_after_s']:.0f}"


def _counted(results: Sequence[Mapping[str, Any]], of: str) -> list[tuple[str, list[str]]]:
    names = list(dict.fromkeys(name for one in results for name in one[of]))
    shown = {name: f"… {name}" if of == "faults" else f"**{name}**" for name in names} | {"missed": "missed"}
    return [(shown[name], [str(one[of].get(name, 0)) for one in results]) for name in names]


if __name__ == "__main__":
    PAGE.write_text(written(PAGE.read_text(), read()))
