"""Where routes put files, and whether two of them would write into the same place."""

from __future__ import annotations

import itertools
import os
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from workers.settings import Route


def overlapping(routes: Iterable[Route]) -> tuple[Route, Route] | None:
    """Two routes whose targets are the same or lie one inside the other, if there are any.

    Two such routes would publish over each other's files, and sweep away each other's temporary ones.
    """
    # In this order everything between a folder and its last descendant is a descendant: neighbours suffice.
    ordered = sorted(((_steps(route), route) for route in routes), key=lambda pair: pair[0])
    for (outer, one), (inner, other) in itertools.pairwise(ordered):
        if inner[: len(outer)] == outer:
            return one, other
    return None


def _steps(route: Route) -> tuple[str, ...]:
    """A target as the steps that lead to it, so that "nested in" is "begins with"."""
    if route.direction == "push":
        folders = os.fsdecode(route.remote).strip("/")
        return ("push", route.endpoint, *folders.split("/")) if folders else ("push", route.endpoint)
    if isinstance(route.local, Path):
        # realpath: /data and a link to it are one place, whatever they are called.
        return ("local", *Path(os.path.realpath(route.local)).parts)
    return tuple(route.local.replace("://", "/").split("/"))
