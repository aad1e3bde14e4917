"""What the documents say of FluentFTP's features is held against the tests that they name."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[2]
_TEXT = (REPOSITORY / "docs" / "fluentftp.md").read_text(encoding="utf-8")
_NAMED = re.compile(r"`(tests/[\w/]+\.py)::(\w+)`")


def _rows() -> list[list[str]]:
    cells = [
        [cell.strip() for cell in line.strip("|").split("|")]
        for line in _TEXT.splitlines()
        if line[:1] == "|"
    ]
    return [row for row in cells if row[0] != "FluentFTP" and set(row[0]) != {"-"}]


def test_every_feature_is_had_left_out_or_open() -> None:
    """What it has, a test shows; what it leaves out has a reason; what is open is in the list at the end."""
    rows = _rows()
    assert len(rows) > 50
    for feature, answer, why in rows:
        if answer.startswith("has it"):
            assert _NAMED.search(why), feature
        elif answer == "left out":
            assert why, feature
        else:
            assert answer == "open", feature
    _, _, listed = _TEXT.partition("\n## Open\n")
    assert listed.count("\n* ") == sum(answer == "open" for _, answer, _ in rows)


@pytest.mark.parametrize(("file", "name"), sorted(set(_NAMED.findall(_TEXT))))
def test_each_named_test_is_there(file: str, name: str) -> None:
    """Under this name, in this file: whoever renames or removes it looks at the page."""
    assert f"def {name}(" in (REPOSITORY / file).read_text(encoding="utf-8")
