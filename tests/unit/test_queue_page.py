"""docs/queue.md names each failure with its arguments."""

from __future__ import annotations

import re
from pathlib import Path

from workers import errors

PAGE = Path(__file__).parents[2] / "docs" / "queue.md"


def test_the_page_names_every_failure_with_its_arguments() -> None:
    """In order, since a program without our classes has nothing but their positions."""
    told = dict(re.findall(r"^\| `(\w+)` \| `([\w, ]+)` \|", PAGE.read_text(), re.MULTILINE))
    classes = [
        cls for cls in vars(errors).values() if isinstance(cls, type) and cls.__module__ == errors.__name__
    ]
    failures = {cls.__name__: ", ".join(cls.names) for cls in classes if getattr(cls, "names", ())}
    assert {name: told.get(name) for name in failures} == failures
