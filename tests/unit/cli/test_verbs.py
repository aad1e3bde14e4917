"""The skeleton of the command: verbs, --config, exit codes."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from workers import __version__
from workers.cli import VERBS, main, up
from workers.errors import LoginRefused


def test_version_is_told() -> None:
    """`towline --version` names the program and its version."""
    result = CliRunner().invoke(main, ["--version"])
    assert (result.exit_code, result.output) == (0, f"towline {__version__}\n")


def test_help_names_every_verb_without_importing_it() -> None:
    """`towline --help` lists all verbs and stays quick, because it imports none of them, nor Celery."""
    script = (
        "import sys\n"
        "from workers.cli import VERBS, main\n"
        "try: main(['--help'])\n"
        "except SystemExit: pass\n"
        "heavy = {f'workers.cli.{module}' for module, _ in VERBS.values()} | {'celery', 'pydantic'}\n"
        "print(sorted(heavy & sys.modules.keys()))\n"
    )
    shown = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout
    assert shown.splitlines()[-1] == "[]"
    for verb, (_, line) in VERBS.items():
        assert verb in shown
        assert line in shown


@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_has_its_command(verb: str) -> None:
    """Each verb of the table is a command in the module that the table names, and explains itself."""
    result = CliRunner().invoke(main, [verb, "--help"])
    assert result.exit_code == 0, result.output
    assert f"Usage: towline {verb}" in result.output
    assert "--config" in result.output


def test_unknown_verb_is_wrong_usage() -> None:
    """A verb that doesn't exist ends with 2."""
    assert CliRunner().invoke(main, ["fly"]).exit_code == 2


@pytest.mark.parametrize(
    "arguments",
    [
        ["--config", "this.toml", "up"],
        ["up", "--config", "this.toml"],
        ["--config", "other.toml", "up", "--config", "this.toml"],
    ],
    ids=["before", "after", "both: the one after the verb"],
)
def test_config_stands_before_or_after_the_verb(
    arguments: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """--config is taken on both sides of the verb, and a file that isn't there is named, with exit code 2."""
    monkeypatch.chdir(tmp_path)
    result = CliRunner().invoke(main, arguments)
    assert result.exit_code == 2
    assert "this.toml" in result.output
    assert "other.toml" not in result.output


def test_failure_ends_in_a_sentence_and_its_code(monkeypatch: pytest.MonkeyPatch) -> None:
    """A failure that a verb lets fly is told in words on stderr, without a traceback, and gives its code."""

    def refused() -> None:
        raise LoginRefused("bank", "530 Login incorrect.")

    monkeypatch.setattr(up, "configuration", refused)
    result = CliRunner().invoke(main, ["up"])
    assert result.exit_code == 4
    assert result.stdout == ""
    assert result.stderr.startswith("towline: bank refused the login: 530 Login incorrect.")
    assert "Traceback" not in result.stderr


def test_interrupt_ends_with_130(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ctrl-C in a verb ends with 130, as a shell expects."""

    def interrupted() -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(up, "configuration", interrupted)
    assert CliRunner().invoke(main, ["up"]).exit_code == 130


def test_verbs_below_a_verb_take_config_too() -> None:
    """`towline submit poll --config FILE` works as well: the option is given to every level, once."""
    submit = main.get_command(click.Context(main), "submit")
    submit = main.get_command(
        click.Context(main), "submit"
    )  # twice: a module is imported once, its command re-used
    assert isinstance(submit, click.Group)
    for command in (submit, *submit.commands.values()):
        assert sum("--config" in parameter.opts for parameter in command.params) == 1
