"""What plain celery commands refuse to start with."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.system.stack import READY_WITHIN


def test_a_pool_of_threads_is_refused_at_start(tmp_path: Path) -> None:
    """Celery logs what a handler of a signal raises, and goes on; a refusal ends the worker all the same."""
    config = tmp_path / "towline.toml"
    config.write_text(f'[towline]\nbroker = "redis://127.0.0.1:1/0"\nstate_dir = "{tmp_path}/state"\n')
    ended = subprocess.run(
        [sys.executable, "-m", "celery", "-A", "workers.app", "worker", "--pool", "threads"],
        env={"TOWLINE_CONFIG": str(config)},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=READY_WITHIN,
    )
    assert ended.returncode == 2, ended.stderr
    assert "thread is not supported" in ended.stderr
    assert "prefork or solo" in ended.stderr
    assert "Traceback" not in ended.stderr


@pytest.mark.parametrize("program", [["worker", "-Q", "towline.transfers"], ["beat"]], ids=["worker", "beat"])
def test_a_time_budget_that_does_not_fit_is_refused_at_start(tmp_path: Path, program: list[str]) -> None:
    """A message that comes back while its transfer goes on, say: both values are named, nothing starts."""
    config = tmp_path / "towline.toml"
    config.write_text(
        f'[towline]\nbroker = "redis://127.0.0.1:1/0"\nstate_dir = "{tmp_path}/state"\n'
        'visibility_timeout = "1m"\n'
    )
    ended = subprocess.run(
        [sys.executable, "-m", "celery", "-A", "workers.app", *program],
        env={"TOWLINE_CONFIG": str(config)},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=READY_WITHIN,
    )
    assert ended.returncode == 2, ended.stderr
    assert "visibility_timeout" in ended.stderr
    assert "poll_hard_limit" in ended.stderr
    assert "Traceback" not in ended.stderr
    assert not (tmp_path / "state").exists()
