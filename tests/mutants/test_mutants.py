"""The planted bugs are kept in step with the code: `make mutants` runs them, this only looks."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from tests.mutants import options
from tests.mutants.patches import Mutant, mutants

ROOT = Path(__file__).resolve().parents[2]
PATCHES = mutants()
ALL = [*PATCHES, *options.ignored()]


def test_there_are_enough_of_them() -> None:
    """One for each way in which the promise was ever seen to break."""
    assert len(PATCHES) >= 15


def test_every_key_of_the_configuration_names_the_test_that_misses_it() -> None:
    """A new key comes with a test that fails when the program ignores it."""
    assert options.TESTS.keys() == options.keys()


@pytest.mark.parametrize("mutant", ALL, ids=lambda mutant: mutant.name)
def test_a_planted_bug_still_applies(mutant: Mutant) -> None:
    """Whoever changes the code it sits in moves it along, or shows that it can't be made any more."""
    for file, text in mutant.apply(ROOT).items():
        assert file.is_relative_to(ROOT / "workers")
        ast.parse(text)


@pytest.mark.parametrize("mutant", ALL, ids=lambda mutant: mutant.name)
def test_a_planted_bug_names_tests_that_exist(mutant: Mutant) -> None:
    """A test that was renamed is renamed in the patch."""
    for test in mutant.tests:
        file, _, name = test.partition("::")
        nodes = ast.walk(ast.parse((ROOT / file).read_text()))
        names = {node.name for node in nodes if isinstance(node, ast.FunctionDef)}
        assert name.partition("[")[0] in names
