"""The lock files say exactly what is installed, and leave open where from."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[2]
LOCKS = sorted(REPOSITORY.glob("requirements*.lock"))

PIN = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*(\[[a-z0-9,_-]+\])?==[A-Za-z0-9.!+_-]+( ; [^\\#]+)?")
HASH = re.compile(r"--hash=sha256:[0-9a-f]{64}")
# An address in a lock would send everybody to one machine's package index.
PLACES = ("http", "index-url", "find-links", "trusted-host", " @ ")


def requirements(text: str) -> list[str]:
    """A lock's logical lines, without comments."""
    plain = "\n".join(line for line in text.splitlines() if not line.lstrip().startswith("#"))
    return [line for line in plain.replace("\\\n", " ").splitlines() if line.strip()]


def wrong(text: str) -> list[str]:
    """The logical lines that are no pin with its hashes."""
    found = []
    for line in requirements(text):
        pin, *hashes = re.split(r"\s+(?=--)", line.strip())
        if not (PIN.fullmatch(pin) and hashes and all(HASH.fullmatch(one) for one in hashes)):
            found.append(line)
    return found


def test_there_are_the_four_locks() -> None:
    """What runs, what tests, what builds and what is measured against."""
    names = {lock.name for lock in LOCKS}
    assert names == {f"requirements{what}.lock" for what in ("", "-dev", "-build", "-bench")}


@pytest.mark.parametrize("lock", LOCKS, ids=lambda lock: lock.name)
def test_each_requirement_is_one_version_with_its_hashes(lock: Path) -> None:
    """Nothing is installed that nobody has looked at, and nothing whose bytes have changed."""
    text = lock.read_text()
    assert len(requirements(text)) > 2
    assert wrong(text) == []


@pytest.mark.parametrize("lock", LOCKS, ids=lambda lock: lock.name)
def test_no_lock_names_a_place(lock: Path) -> None:
    """The index is the installer's own affair."""
    assert [line for line in lock.read_text().splitlines() if any(place in line for place in PLACES)] == []


@pytest.mark.parametrize(
    "line",
    [
        "redis==8.1.0",
        f"redis>=8.1.0 --hash=sha256:{'0' * 64}",
        f"redis --hash=sha256:{'0' * 64}",
        f"redis==8.1.* --hash=sha256:{'0' * 64}",
        f"redis==8.1.0 --hash=md5:{'0' * 32}",
        "-e .",
    ],
)
def test_a_looser_line_would_be_noticed(line: str) -> None:
    """The look at the locks sees what it is for."""
    assert wrong(line) == [line]
