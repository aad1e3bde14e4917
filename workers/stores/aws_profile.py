"""What the AWS files of this user say: ~/.aws/credentials and ~/.aws/config, for the profile AWS_PROFILE.

obstore reads the environment, a container's or a machine's role, and no files. Only keys that stand in the
files are taken; a profile that names a role or a single sign-on gives none, and its keys come by environment.
"""

from __future__ import annotations

import configparser
from collections.abc import Mapping
from pathlib import Path

_OF_FILES = {
    "aws_access_key_id": "access_key_id",
    "aws_secret_access_key": "secret_access_key",
    "aws_session_token": "session_token",
    "region": "region",
    "endpoint_url": "endpoint",
}
"""Names in the files, and obstore's for them."""


def of_profile(environ: Mapping[str, str]) -> dict[str, str]:
    """obstore's settings from the files; empty where the environment has keys of its own, or no file has any.

    What the environment says of region and endpoint stands. Raises ValueError where a file can't be read as
    such, without what stands in it.
    """
    if "AWS_ACCESS_KEY_ID" in environ:
        return {}
    profile = environ.get("AWS_PROFILE", "default")
    home = Path(environ.get("HOME", "/"))
    found: dict[str, str] = {}
    for variable, usual, table in (
        ("AWS_CONFIG_FILE", "config", profile if profile == "default" else f"profile {profile}"),
        ("AWS_SHARED_CREDENTIALS_FILE", "credentials", profile),
    ):
        path = Path(environ.get(variable) or home / ".aws" / usual)
        told = configparser.RawConfigParser()
        try:
            told.read(path)
        except (configparser.Error, OSError, UnicodeDecodeError):
            raise ValueError(f"{path} can't be read") from None
        if told.has_section(table):
            found |= {
                ours: told[table][theirs] for theirs, ours in _OF_FILES.items() if theirs in told[table]
            }
    if "access_key_id" not in found:
        return {}
    if environ.get("AWS_REGION") or environ.get("AWS_DEFAULT_REGION"):
        found.pop("region", None)
    if environ.get("AWS_ENDPOINT_URL"):
        found.pop("endpoint", None)
    return found
