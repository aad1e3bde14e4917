"""What the demo says about itself at its end."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path

import pytest

from workers.cli import demo_audience
from workers.cli.demo_audience import Audience
from workers.cli.demo_scene import Made, Maker, Scene
from workers.settings import load

REBUILT = "{'route': 'demo', 'listed': 3, 'reconnects': 1, 'seconds': 0.2}"
NOT_REBUILT = "{'route': 'demo', 'listed': 3, 'reconnects': 0, 'seconds': 0.2}"


@pytest.fixture
def scene(tmp_path: Path) -> Iterator[Scene]:
    built = Scene.build(tmp_path)
    yield built
    built.close()


@pytest.fixture
def audience(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> Audience:
    """One that watches a demo of no length, in which one file was made."""
    monkeypatch.setattr(demo_audience, "DRAIN", 0.0)
    maker = Maker(scene)
    maker.made["a.bin"] = Made("a.bin", 5, hashlib.sha256(b"whole").hexdigest(), 0.0)
    return Audience(scene, maker, 0)


def end_by_itself(audience: Audience) -> None:
    audience._end_in_time(0, lambda: None)


def test_the_demos_certificate_is_verified(scene: Scene) -> None:
    """Implicit TLS, and trust in an authority made for this demo, not in whatever comes."""
    demo = load(scene.configuration, environ={}).endpoints["demo"]
    assert (demo.tls, demo.verify, demo.fingerprint) == ("implicit", True, ())
    assert demo.ca_file == scene.folder / "ca.pem"


def test_all_whole_and_a_line_rebuilt_is_success(scene: Scene, audience: Audience) -> None:
    """The file arrived as it was made, and a task reported a rebuilt line: 0."""
    (scene.arrived / "a.bin").write_bytes(b"whole")
    audience._task_ended("towline.poll", REBUILT)
    end_by_itself(audience)
    assert audience.verdict() == 0


def test_no_rebuilt_line_is_a_failure(scene: Scene, audience: Audience) -> None:
    """A demo in which no line was rebuilt has not shown what it is for: 1."""
    (scene.arrived / "a.bin").write_bytes(b"whole")
    audience._task_ended("towline.poll", NOT_REBUILT)
    end_by_itself(audience)
    assert audience.verdict() == 1


@pytest.mark.parametrize("content", [b"whol", b"Whole", b""], ids=["short", "changed", "empty"])
def test_damaged_file_is_a_failure(
    scene: Scene, audience: Audience, content: bytes, capsys: pytest.CaptureFixture[str]
) -> None:
    """A file with other bytes under its final name is a failure, and named."""
    (scene.arrived / "a.bin").write_bytes(content)
    audience._task_ended("towline.poll", REBUILT)
    end_by_itself(audience)
    assert audience.verdict() == 1
    assert "Damaged: a.bin" in capsys.readouterr().out


def test_missing_file_is_a_failure(audience: Audience, capsys: pytest.CaptureFixture[str]) -> None:
    """A file that never arrived is a failure, and named."""
    audience._task_ended("towline.poll", REBUILT)
    end_by_itself(audience)
    assert audience.verdict() == 1
    assert "Not arrived: a.bin" in capsys.readouterr().out


def test_partial_is_not_taken_for_the_file(scene: Scene, audience: Audience) -> None:
    """A temp file is no arrival."""
    (scene.arrived / ".towline-1234").write_bytes(b"whole")
    audience._task_ended("towline.poll", REBUILT)
    end_by_itself(audience)
    assert audience.verdict() == 1


def test_interrupted_demo_gives_no_verdict(audience: Audience) -> None:
    """Ended before its time it can't say that all was well: 130."""
    assert audience.verdict() == 130


def test_failed_task_counts_its_rebuilt_lines(scene: Scene, audience: Audience) -> None:
    """A task that fails reports its rebuilt lines as well, in its failure."""
    (scene.arrived / "a.bin").write_bytes(b"whole")
    failure = "FilesFailed(route='demo', failed=1, published=0, reconnects=2, first_error='')"
    audience._task_ended("towline.fetch", failure)
    end_by_itself(audience)
    assert audience.verdict() == 0
