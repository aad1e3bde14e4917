"""Plant one bug after the other, and see that the tests notice: `python -m tests.mutants [NAME…]`.

Each is planted in a copy of the tree, where the tests that its header names are run: every one of them has
to fail. First they all run without any bug, and have to pass; a test that fails anyhow notices everything.
Ends with 1 where a bug survives, or a patch no longer applies.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from tests.mutants.options import ignored
from tests.mutants.patches import DoesNotApply, Mutant, mutants

ROOT = Path(__file__).resolve().parents[2]
PARTS = ("workers", "tasks", "tests", "pyproject.toml", "beat_schedule.py")
HANGS_S = 300.0
"""For one test: a planted bug may also show by hanging."""

_PASSED, _FAILED = 0, 1
_FAILED_TEST = re.compile(r"(?m)^(?:FAILED|ERROR) (\S+)")


def main(names: Sequence[str]) -> int:
    """The exit code."""
    chosen = [mutant for mutant in (*mutants(), *ignored()) if not names or mutant.name in names]
    if unknown := set(names) - {mutant.name for mutant in chosen}:
        print(f"no such mutant: {', '.join(sorted(unknown))}", file=sys.stderr)
        return 2
    tests = sorted({test for mutant in chosen for test in mutant.tests})
    print(f"{len(chosen)} planted bugs, {len(tests)} tests; without any of them:", flush=True)
    code, told = _run(tests, None)
    if code != _PASSED:
        print(told)
        return 1
    survivors = [mutant.name for mutant in chosen if not _is_caught(mutant)]
    print(f"{len(chosen) - len(survivors)} of {len(chosen)} caught")
    return 1 if survivors else 0


def _is_caught(mutant: Mutant) -> bool:
    began = time.monotonic()
    try:
        code, told = _run(mutant.tests, mutant)
    except DoesNotApply as fault:
        print(f"DOES NOT APPLY {fault}", flush=True)
        return False
    failed = _FAILED_TEST.findall(told)
    missed = [test for test in mutant.tests if not any(_is(test, one) for one in failed)]
    caught = code == _FAILED and not missed
    print(
        f"{'caught' if caught else 'SURVIVES'}  {mutant.name}  {time.monotonic() - began:.0f} s", flush=True
    )
    for test in mutant.tests:
        print(f"        {'unnoticed by' if test in missed else 'by'} {test}", flush=True)
    if not caught:
        print(told)
    return caught


def _is(test: str, failed: str) -> bool:
    return failed == test or failed.startswith(test + "[")


def _run(tests: Sequence[str], mutant: Mutant | None) -> tuple[int, str]:
    """pytest's exit code and what it printed, in a copy of the tree. Raises DoesNotApply."""
    with tempfile.TemporaryDirectory(prefix="towline-mutant-") as folder:
        tree = Path(folder)
        for part in PARTS:
            if (ROOT / part).is_dir():
                shutil.copytree(ROOT / part, tree / part, ignore=shutil.ignore_patterns("__pycache__"))
            else:
                shutil.copy(ROOT / part, tree / part)
        if mutant is not None:
            for file, text in mutant.apply(tree).items():
                file.write_text(text)
        command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--tb=line", *tests]
        ended = subprocess.run(
            [*command, f"--timeout={HANGS_S:.0f}"],
            cwd=tree,
            # Before the checkout that the environment has installed.
            env=os.environ | {"PYTHONPATH": str(tree), "COLUMNS": "400"},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
        return ended.returncode, ended.stdout


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
