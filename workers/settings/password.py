"""Where an endpoint's password comes from, and how it is kept out of sight.

The configuration names a place; the password itself is fetched when a login needs it, so that a rotated
secret file is seen by the next line that is built, and a command that logs in nowhere needs no secrets.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, SecretStr, ValidationInfo, model_validator

from workers.errors import ConfigurationError
from workers.settings.config_file import Source, Wrong, expanded, kind, nearest

_REMEDY = 'write { env = "VARIABLE" } or { file = "/path" }'


class Password(BaseModel):
    """A literal, the name of an environment variable, or a file: exactly one of them.

    In TOML a string is a literal. `repr`, `str` and every dump hide a literal.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    literal: SecretStr | None = None
    env: str | None = None
    file: Path | None = None

    @model_validator(mode="before")
    @classmethod
    def _one_place(cls, given: Any, info: ValidationInfo) -> Any:
        """Takes what TOML gives. Nothing said here may repeat a value: it could be the password."""
        if isinstance(given, str):
            given = {"literal": SecretStr(given)}
        elif isinstance(given, dict) and info.context is not None:
            _refuse_other_than_env_or_file(given)
        elif not isinstance(given, dict):
            raise Wrong(f"the password is {kind(given)}", _REMEDY)
        if sum(value is not None for value in given.values()) != 1:
            raise Wrong("the password has to come from exactly one place", _REMEDY)
        literal, env, file = given.get("literal"), given.get("env"), given.get("file")
        if isinstance(literal, SecretStr):
            _refuse_line_breaks(literal.get_secret_value(), "the password")
        if env is not None and (not isinstance(env, str) or not env.isidentifier()):
            raise Wrong(
                "env does not name an environment variable", 'write a name, such as { env = "BANK_PASSWORD" }'
            )
        if isinstance(file, str) and isinstance(info.context, Source):
            given = {"file": expanded(file, info.context.folder)}
        elif file is not None and not isinstance(file, Path):
            raise Wrong(
                f"the password's file is {kind(file)}", 'write a path, such as { file = "/run/secrets/bank" }'
            )
        return given

    def read(self, where: str, environ: Mapping[str, str] = os.environ) -> str:
        """The password. Raises ConfigurationError, which names the place and never the content."""
        if self.literal is not None:
            return self.literal.get_secret_value()
        try:
            text = self._from_environment(environ) if self.env is not None else self._from_file()
        except Wrong as wrong:
            complaint = ConfigurationError(where, wrong.what, wrong.remedy)
        else:
            return text
        raise complaint

    def _from_environment(self, environ: Mapping[str, str]) -> str:
        text = environ.get(self.env or "")
        if not text:
            raise Wrong(
                f"the environment variable {self.env} is {'empty' if text == '' else 'not set'}",
                f"set {self.env} to the password, in the environment of this process",
            )
        _refuse_line_breaks(text, f"the environment variable {self.env}")
        return text

    def _from_file(self) -> str:
        remedy = f"put the password, and nothing else, into {self.file}"
        try:
            text = Path(self.file or "").read_bytes().decode("utf-8")
        except OSError as error:
            raise Wrong(f"the password's file {self.file} can't be read: {error.strerror}", remedy) from None
        except UnicodeDecodeError:
            raise Wrong(f"the password's file {self.file} is not UTF-8", remedy) from None
        # Editors and `echo` end a file with a line break; it is not part of the password.
        text = text.removesuffix("\n").removesuffix("\r")
        if not text:
            raise Wrong(f"the password's file {self.file} is empty", remedy)
        _refuse_line_breaks(text, f"the password's file {self.file}")
        return text


def _refuse_other_than_env_or_file(given: Mapping[str, Any]) -> None:
    for key in given:
        if key not in ("env", "file"):
            close = nearest(key, ("env", "file"))
            raise Wrong("a key that is neither env nor file", f"did you mean {close}?" if close else _REMEDY)


def _refuse_line_breaks(text: str, source: str) -> None:
    """PASS is one line of the control connection: what follows a line break would be a command of its own."""
    if any(character in text for character in "\r\n\0"):
        raise Wrong(f"{source} holds a line break or NUL", "a password is a single line")
