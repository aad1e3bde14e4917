"""docs/promise.md names the tests behind its sentences: they are there, and no promise is without one."""

from __future__ import annotations

import ast
import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs" / "promise.md"

_NAMED = re.compile(r"`(tests/[\w/]+\.py)::(\w+)`")


def _tests_of(file: Path) -> set[str]:
    functions = [node for node in ast.walk(ast.parse(file.read_text())) if isinstance(node, ast.FunctionDef)]
    return {function.name for function in functions if function.name.startswith("test_")}


def test_every_test_that_is_named_exists() -> None:
    """A test that was renamed or removed takes its sentence with it, or fails here."""
    named = _NAMED.findall(PAGE.read_text())
    assert named
    missing = [
        f"{file}::{test}"
        for file, test in named
        if not (ROOT / file).is_file() or test not in _tests_of(ROOT / file)
    ]
    assert missing == []


def test_every_promise_names_a_test() -> None:
    """Above "Not promised" each sentence has the test that would fail without it."""
    promised = PAGE.read_text().split("## Promised\n", 1)[1].split("## Not promised")[0]
    sentences = re.split(r"(?m)^\* ", promised)[1:]
    assert len(sentences) > 20
    assert [sentence for sentence in sentences if not _NAMED.search(sentence)] == []
