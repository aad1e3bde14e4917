"""Reads the Dockerfile, and runs its build stage here: the same commands and files, in other folders."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]
DOCKERFILE = REPOSITORY / "deploy" / "Dockerfile"


@dataclass(frozen=True, slots=True)
class Stage:
    """One FROM and what follows it, in order: ("RUN", "python -m venv /opt/towline"), …"""

    image: str
    name: str | None
    steps: list[tuple[str, str]] = field(default_factory=list)

    def all(self, word: str) -> list[str]:
        """What stands behind each instruction of that name."""
        return [rest for instruction, rest in self.steps if instruction == word]

    def copied(self) -> list[tuple[list[str], str]]:
        """(sources, destination) of each COPY out of the build context."""
        arguments = (rest.split() for rest in self.all("COPY"))
        return [(words[:-1], words[-1]) for words in arguments if not words[0].startswith("--from=")]

    def environment(self) -> dict[str, str]:
        """ENV as KEY=value, without the values' references expanded."""
        pairs = (pair.partition("=")[::2] for rest in self.all("ENV") for pair in rest.split())
        return dict(pairs)


def stages(dockerfile: Path = DOCKERFILE) -> list[Stage]:
    """The stages from first to last. Comments and continuation lines as in the Dockerfile reference."""
    found: list[Stage] = []
    text = "".join(line for line in dockerfile.read_text().splitlines(keepends=True) if line[0] != "#")
    for line in filter(str.strip, text.replace("\\\n", " ").splitlines()):
        instruction, rest = line.split(maxsplit=1)
        if instruction == "FROM":
            image, _, name = rest.partition(" AS ")
            found.append(Stage(image, name or None))
        else:
            found[-1].steps.append((instruction, rest))
    return found


def run_build_stage(root: Path) -> Path:
    """Do what the first stage says, below `root` in place of `/`. Returns where the programs are.

    Only what COPY names is there to build from, as in the image. Raises AssertionError with the output of a
    step that fails.
    """
    build = stages()[0]
    here = root
    for instruction, rest in build.steps:
        if instruction == "WORKDIR":
            here = _below(root, rest)
            here.mkdir(parents=True)
        elif instruction == "COPY":
            *sources, destination = rest.split()
            for source in sources:
                _copy(REPOSITORY / source, here / destination)
        elif instruction == "RUN":
            _run(rest, root, here)
        else:
            raise AssertionError(f"{instruction} {rest}: not understood")
    return root / "opt" / "towline" / "bin"


def _below(root: Path, absolute: str) -> Path:
    return root / absolute.lstrip("/")


def _copy(source: Path, destination: Path) -> None:
    if source.is_dir():
        # .dockerignore leaves these out as well.
        shutil.copytree(source, destination, ignore=shutil.ignore_patterns("__pycache__"), dirs_exist_ok=True)
    else:
        shutil.copy(source, destination)


def _run(command: str, root: Path, here: Path) -> None:
    for folder in ("/opt/", "/src"):
        command = command.replace(folder, f"{root}{folder}")
    bin_folder = here / "interpreter"
    bin_folder.mkdir(exist_ok=True)
    python = bin_folder / "python"
    if not python.exists():
        python.symlink_to(getattr(sys, "_base_executable", sys.executable))
    # The virtual environment that the tests run in must not leak into the new ones.
    environment = {
        k: v for k, v in os.environ.items() if k not in ("VIRTUAL_ENV", "PYTHONPATH", "PYTHONHOME")
    }
    environment["PATH"] = f"{bin_folder}:{os.defpath}"
    done = subprocess.run(command, shell=True, cwd=here, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, f"{command}\n{done.stdout[-2000:]}\n{done.stderr[-4000:]}"
