"""Keys from the AWS files, as the other programs of this user find them."""

from __future__ import annotations

from pathlib import Path

import pytest

from workers.stores.aws_profile import of_profile


@pytest.fixture
def home(tmp_path: Path) -> dict[str, str]:
    (tmp_path / ".aws").mkdir()
    (tmp_path / ".aws/credentials").write_text(
        "[default]\naws_access_key_id = d\naws_secret_access_key = %ds\n"
        "[bank]\naws_access_key_id = b\naws_secret_access_key = bs\naws_session_token = bt\n"
    )
    (tmp_path / ".aws/config").write_text(
        "[profile bank]\nregion = eu-central-1\nendpoint_url = http://s3.bank.example\n"
        "[profile role]\nrole_arn = x\n"
    )
    return {"HOME": str(tmp_path)}


def test_a_profile_gives_keys_region_and_endpoint(home: dict[str, str]) -> None:
    """The one that AWS_PROFILE names, or the default one."""
    assert of_profile(home) == {"access_key_id": "d", "secret_access_key": "%ds"}
    assert of_profile(home | {"AWS_PROFILE": "bank"}) == {
        "access_key_id": "b",
        "secret_access_key": "bs",
        "session_token": "bt",
        "region": "eu-central-1",
        "endpoint": "http://s3.bank.example",
    }


def test_the_environment_comes_first(home: dict[str, str]) -> None:
    """Its keys make the files unread; its region and endpoint stand beside a profile's keys."""
    assert of_profile(home | {"AWS_ACCESS_KEY_ID": "e"}) == {}
    named = home | {"AWS_PROFILE": "bank", "AWS_REGION": "x", "AWS_ENDPOINT_URL": "https://y"}
    assert of_profile(named).keys() == {"access_key_id", "secret_access_key", "session_token"}


def test_a_profile_without_keys_gives_nothing(home: dict[str, str]) -> None:
    """A role or a missing file is left to what obstore finds by itself."""
    assert of_profile(home | {"AWS_PROFILE": "role"}) == {}
    assert of_profile({"HOME": "/nonexistent"}) == {}


def test_a_broken_file_is_named_and_not_shown(home: dict[str, str], tmp_path: Path) -> None:
    """What stands in it may be a secret."""
    (tmp_path / ".aws/credentials").write_text("secret-without-a-table\n")
    with pytest.raises(ValueError, match=r"credentials can't be read$"):
        of_profile(home)
