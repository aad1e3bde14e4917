"""docs/queue.md names each failure with its arguments."""

from __future__ import annotations

import re
from pathlib import Path

from workers import errors

PAGE = Path(__file__).parents[2] / "docs" / "queue.md"


def test_the_page_names_every_failure_with_its_arguments() -> None:
    """In order, since a program without our classes has nothing but their positions."""
    told = dict(re.findall(r"^\| `(\w+)` \| `([\w, ]+)` \|", PAGE.read_text(), re.MULTILINE))
    failures = {
        name: ", ".join(cls.names)
        for name, cls in vars(errors).items()
        if isinstance(cls, type) and issubclass(cls, errors.TowlineError) and cls.names
    }
    assert {name: told.get(name) for name in failures} == failures
