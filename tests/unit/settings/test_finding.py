"""Which file is read, and what is said when it can't be."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from workers.errors import ConfigurationError
from workers.settings import config_file, load


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where we stand; the system's file is in it as well."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(config_file, "SYSTEM_WIDE", tmp_path / "etc" / "towline.toml")
    return tmp_path


def _write(place: Path, zone: str) -> Path:
    place.parent.mkdir(exist_ok=True)
    place.write_text(f'[towline]\ntimezone = "{zone}"\n')
    return place


def test_the_nearest_place_wins(folder: Path) -> None:
    """An explicit path goes before TOWLINE_CONFIG, that before ./towline.toml, that before /etc."""
    _write(folder / "etc" / "towline.toml", "Asia/Tokyo")
    assert load(environ={}).timezone == "Asia/Tokyo"
    _write(folder / "towline.toml", "Europe/Rome")
    assert load(environ={}).timezone == "Europe/Rome"
    named = {"TOWLINE_CONFIG": str(_write(folder / "named" / "x.toml", "Africa/Lagos"))}
    assert load(environ=named).timezone == "Africa/Lagos"
    assert load(_write(folder / "given.toml", "Europe/Oslo"), named).timezone == "Europe/Oslo"


def test_an_empty_towline_config_counts_as_not_set(folder: Path) -> None:
    """Compose files and units set variables to nothing when they mean none."""
    _write(folder / "towline.toml", "Europe/Rome")
    assert load(environ={"TOWLINE_CONFIG": ""}).timezone == "Europe/Rome"


def test_nothing_found_says_where_it_was_looked_for(folder: Path) -> None:
    """Both places are named, and how to name another."""
    with pytest.raises(ConfigurationError) as caught:
        load(environ={})
    assert str(folder / "towline.toml") in caught.value.args[0]
    assert str(folder / "etc" / "towline.toml") in caught.value.args[0]
    assert "--config" in caught.value.args[2]
    assert "TOWLINE_CONFIG" in caught.value.args[2]


@pytest.mark.parametrize("by_variable", [True, False])
def test_a_file_that_was_asked_for_by_name_has_no_stand_in(folder: Path, *, by_variable: bool) -> None:
    """Another file than the one named would be a surprise."""
    _write(folder / "towline.toml", "Europe/Rome")
    lacking = folder / "lacking.toml"
    with pytest.raises(ConfigurationError) as caught:
        load(None, {"TOWLINE_CONFIG": str(lacking)}) if by_variable else load(lacking, {})
    assert caught.value.args[0] == str(lacking)


def test_a_folder_in_place_of_a_file_is_told(tmp_path: Path) -> None:
    """Docker makes an empty folder of a bind mount whose source is missing."""
    with pytest.raises(ConfigurationError) as caught:
        load(tmp_path, {})
    assert "directory" in caught.value.args[1]


def test_an_unreadable_file_is_not_passed_over(folder: Path) -> None:
    """What can't be read is an error even where another file would follow."""
    if os.geteuid() == 0:
        (folder / "towline.toml").symlink_to("towline.toml")  # root reads everything but a loop
    else:
        _write(folder / "towline.toml", "Europe/Rome").chmod(0)
    _write(folder / "etc" / "towline.toml", "Asia/Tokyo")
    with pytest.raises(ConfigurationError) as caught:
        load(environ={})
    assert caught.value.args[0] == str(folder / "towline.toml")


def test_bad_toml_is_told_with_its_line(tmp_path: Path) -> None:
    """tomllib's line and column reach the user, with the file's name."""
    (tmp_path / "t.toml").write_text('[towline]\nlease = 60s\n[endpoints.bank]\nhost = "h"\n')
    with pytest.raises(ConfigurationError) as caught:
        load(tmp_path / "t.toml", {})
    assert caught.value.args[0] == str(tmp_path / "t.toml")
    assert "line 2" in caught.value.args[1]


def test_a_file_in_another_encoding_is_told(tmp_path: Path) -> None:
    """TOML is UTF-8; an editor on Windows may think otherwise."""
    (tmp_path / "t.toml").write_bytes("# Überweisungen\n".encode("cp1252"))
    with pytest.raises(ConfigurationError) as caught:
        load(tmp_path / "t.toml", {})
    assert "UTF-8" in caught.value.args[1]


def test_an_empty_file_is_a_configuration(tmp_path: Path) -> None:
    """Everything has a default; a broker-only machine needs no endpoints."""
    (tmp_path / "t.toml").write_text("")
    settings = load(tmp_path / "t.toml", {"XDG_STATE_HOME": "/x"})
    assert settings.state_dir == Path("/x/towline")
    assert (settings.endpoints, settings.routes) == ({}, {})
