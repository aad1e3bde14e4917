"""What the targets of the coverage-guided fuzzer share: how they are run, and where they begin."""

from __future__ import annotations

import hashlib
import importlib
import sys
from collections.abc import Callable, Iterable
from pathlib import Path


def run(one_input: Callable[[bytes], None], seeds: Iterable[bytes]) -> None:
    """Fuzz until the options on the command line say stop; its last argument is the folder of inputs.

    That folder outlives the run: what was found to reach further is where the next run begins.
    """
    inputs = Path(sys.argv[-1])
    inputs.mkdir(parents=True, exist_ok=True)
    for seed in seeds:
        (inputs / hashlib.sha256(seed).hexdigest()[:40]).write_bytes(seed)
    atheris = importlib.import_module("atheris")
    atheris.instrument_all()
    atheris.Setup(sys.argv, one_input)
    atheris.Fuzz()
