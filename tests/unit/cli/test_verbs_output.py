"""How verbs speak to people, to programs, and to a pipe."""

from __future__ import annotations

import json

import pytest

from workers.cli.output import amount, counted, iso, print_json, print_table, status
from workers.cli.screen import Screen


@pytest.mark.parametrize(
    ("size", "shown"),
    [
        (None, "–"),
        (0, "0 B"),
        (1023, "1023 B"),
        (1024, "1.0 KiB"),
        (102_348, "99.9 KiB"),
        (102_400, "100 KiB"),
        (1_048_575, "1.0 MiB"),
        (50_000_000, "47.7 MiB"),
        (5 * 2**40, "5.0 TiB"),
        (9000 * 2**40, "9000 TiB"),
    ],
)
def test_sizes_have_a_unit_and_few_digits(size: int | None, shown: str) -> None:
    """A size is told in the unit in which it has one to four digits, and never as 1024 of a unit."""
    assert amount(size) == shown


@pytest.mark.parametrize(
    ("epoch", "shown"),
    [(None, None), (0.0, "1970-01-01T00:00:00Z"), (1_776_873_845.25, "2026-04-22T16:04:05.250Z")],
)
def test_times_in_json_are_iso_8601_in_utc(epoch: float | None, shown: str | None) -> None:
    """Whole seconds have no fraction; a part of a second has three digits."""
    assert iso(epoch) == shown


def test_counts_know_their_plural() -> None:
    """One file, two files, a thousand entries."""
    told = [counted(1, "file"), counted(2, "file"), counted(0, "file"), counted(1000, "entry", "entries")]
    assert told == ["1 file", "2 files", "0 files", "1,000 entries"]


def test_a_pipe_gets_whole_columns(capsys: pytest.CaptureFixture[str]) -> None:
    """Nothing is cut off or wrapped where no terminal limits it, and numbers end in one column."""
    name = "x" * 300
    print_table(
        ("size", "name"), [(7, name), (12_345, "[bold]not markup[/bold]"), (None, "")], right=("size",)
    )
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == " size  name"
    assert lines[1] == f"    7  {name}"
    assert lines[2] == "12345  [bold]not markup[/bold]"
    assert lines[3] == "    –"


def test_json_is_one_line_for_programs(capsys: pytest.CaptureFixture[str]) -> None:
    """A pipe gets one document on one line, with names as they are printed."""
    print_json({"path": "/bücher/\\xff"})
    out = capsys.readouterr().out
    assert out.count("\n") == 1
    assert "bücher" in out
    assert json.loads(out) == {"path": "/bücher/\\xff"}


def test_without_a_terminal_nothing_moves(capsys: pytest.CaptureFixture[str]) -> None:
    """Progress is plain lines on stderr, a bar is nothing at all, and stdout has a line for each result."""
    with status("listing") as now:
        now("fetching")
    screen = Screen(2, 200)
    with screen, screen.file("a.xml") as moved:
        moved(50, 100)
        screen.result("a.xml: done")
    captured = capsys.readouterr()
    assert captured.out == "a.xml: done\n"
    assert captured.err == "listing\nfetching\n"
