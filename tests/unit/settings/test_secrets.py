"""Passwords: where they come from, and that they are seen nowhere."""

from __future__ import annotations

import json
import logging
import traceback
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as drawn
from hypothesis import strategies as st

from tests.unit.settings.conftest import Load
from workers.errors import ConfigurationError
from workers.settings import Endpoint, Settings
from workers.settings import models as settings_module

SECRET = "S3cr3t-hunter2"
NUMBER = 271828182845


def _bank(password: str) -> str:
    return f'[endpoints.bank]\nhost = "h"\nuser = "u"\n{password}\n'


def _everything_said(thing: BaseException | Settings) -> str:
    """All that a log, a terminal or an error collector could make of it, and of what it drags along."""
    if isinstance(thing, Settings):
        told = [repr(thing), str(thing), f"{thing}"]
        told += [
            repr(e) + str(e) + repr(e.model_dump()) + e.model_dump_json() for e in thing.endpoints.values()
        ]
        return "\n".join(told)
    told = []
    chain: BaseException | None = thing
    while chain is not None:
        told += [
            str(chain),
            repr(chain),
            repr(chain.args),
            repr(vars(chain)),
            *traceback.format_exception(chain),
        ]
        chain = chain.__context__ or chain.__cause__
    return "\n".join(told)


SHAPES = [
    f'password = "{SECRET}"',
    f'pasword = "{SECRET}"',
    f'password = "x"\npassphrase = "{SECRET}"',
    f'password = ["{SECRET}"]',
    f'password = {{ envv = "{SECRET}" }}',
    f'password = {{ literal = "{SECRET}" }}',
    f'password = {{ env = "{SECRET}" }}',
    f'password = {{ env = ["{SECRET}"] }}',
    f'password = {{ file = ["{SECRET}"] }}',
    f'password = {{ env = "A", file = "{SECRET}" }}',
    f'password = {{ env = {{ env = "{SECRET}" }} }}',
    f"password = {NUMBER}",
    f"password = {{ env = {NUMBER} }}",
    f"password = {{ file = {NUMBER} }}",
    f'password = "{SECRET}\\nDELE x"',
    f'password = "{SECRET}"\ntls = "off"',
    f'password = "{SECRET}"\nport = "x"',
    f'password = "{SECRET}"\nunknown = 1',
    f'password = "{SECRET}"\ntls_min = "1.3"\ntls_max = "1.2"',
    f'password = "{SECRET}',
    f"password = {SECRET}",
    f'password = "{SECRET}" x',
    f'password = "{SECRET}"\npassword = "x"',
    f'password = "{SECRET}"\n[routes.r]\nendpoint = "bnk"\nremote = "/"\nlocal = "x"',
    f'password = "{SECRET}"\n[towline]\nlease = 3',
    f'password = {{ env = "A" }}\n[towline]\nbroker = "redis://:{SECRET}@h/0"',
    f'password = {{ env = "A" }}\n[towline]\nbroker = "reddis://:{SECRET}@h/0"',
    f'password = {{ env = "A" }}\n[towline]\nbroker = ":{SECRET}@h"',
    f'password = {{ env = "A" }}\n[towline]\nbroker = ["redis://:{SECRET}@h"]',
    f'password = {{ env = "A" }}\n[towline]\nbroker = "amqp://u:{SECRET}@h/"',
    f'password = {{ env = "A" }}\n[towline]\nresults = "amqp://u:{SECRET}@h/"',
    f'password = {{ env = "A" }}\n[towline]\nresults = "db+postgresql://u:{SECRET}@h/"\nlease = ""',
    f'password = {{ env = "A" }}\n[towline]\nledger = "postgresql+psycopg://u:{SECRET}@h/t"',
    f'password = {{ env = "A" }}\n[towline]\nledger = "postgresql://u:{SECRET}@h/t"',
    f"password = {{ env = 'A' }}\n[towline]\nledger = {NUMBER}",
]


@pytest.mark.parametrize("shape", SHAPES)
def test_no_password_is_ever_told(loaded: Load, caplog: pytest.LogCaptureFixture, shape: str) -> None:
    """Right or wrong, in the right place or the wrong one: neither repr, nor error, nor log holds it."""
    thing: BaseException | Settings
    try:
        thing = loaded(text=_bank(shape))
    except ConfigurationError as refusal:
        thing = refusal
    said = _everything_said(thing) + caplog.text
    assert SECRET not in said
    assert "hunter2" not in said
    assert str(NUMBER) not in said


@drawn(suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow], deadline=None)
@given(
    secret=st.text(st.characters(min_codepoint=33, max_codepoint=0x2FF), min_size=6),
    key=st.text("paswordt", max_size=9),
)
def test_no_misspelt_key_tells_its_value(loaded: Load, secret: str, key: str) -> None:
    """Whatever the key is called, if it is not known its value stays unsaid."""
    secret = f"~{secret}~"
    text = _bank(f'password = {{ env = "A" }}\nx{key} = {json.dumps(secret).replace(chr(0x7F), "")}')
    with pytest.raises(ConfigurationError) as caught:
        loaded(text=text)
    assert secret not in _everything_said(caught.value)


@drawn(suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow], deadline=None)
@given(secret=st.text(st.characters(exclude_categories=["C", "Z"]), min_size=1))
def test_a_literal_password_arrives_as_it_was_written(loaded: Load, secret: str) -> None:
    """Quotes, backslashes, other scripts: TOML's string is the password."""
    assert (
        loaded(text=_bank(f"password = {json.dumps(secret, ensure_ascii=False)}")).endpoint("bank").secret({})
        == secret
    )


def test_a_literal_password_warns_once(
    loaded: Load, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch, place: Path
) -> None:
    """The warning names the file and the table, once a process, and not the password."""
    monkeypatch.setattr(settings_module, "_warned", set())
    text = (
        _bank(f'password = "{SECRET}"') + '[endpoints.b]\nhost = "h"\nuser = "u"\npassword = { env = "B" }\n'
    )
    with caplog.at_level(logging.WARNING):
        loaded(text=text)
        loaded(text=text)
    assert len(caplog.records) == 1
    assert f"{place}, [endpoints.bank]" in caplog.text
    assert SECRET not in caplog.text


def _endpoint(loaded: Load, password: str) -> Endpoint:
    return loaded(text=_bank(f"password = {password}")).endpoint("bank")


def test_a_variable_is_read_when_it_is_needed(loaded: Load, monkeypatch: pytest.MonkeyPatch) -> None:
    """A process that logs in nowhere needs no secrets, and a changed one is seen."""
    endpoint = _endpoint(loaded, '{ env = "TOWLINE_TEST_PASSWORD" }')
    for password in ("first", "second"):
        monkeypatch.setenv("TOWLINE_TEST_PASSWORD", password)
        assert endpoint.secret() == password


@pytest.mark.parametrize(("environ", "what"), [({}, "not set"), ({"BANK_PASSWORD": ""}, "empty")])
def test_a_variable_that_is_not_there_is_named(loaded: Load, environ: dict[str, str], what: str) -> None:
    """The endpoint and the variable; an empty one is as good as none."""
    with pytest.raises(ConfigurationError) as caught:
        _endpoint(loaded, '{ env = "BANK_PASSWORD" }').secret(environ)
    assert caught.value.args[0] == "endpoint bank"
    assert caught.value.args[1] == f"the environment variable BANK_PASSWORD is {what}"


@pytest.mark.parametrize("ending", [b"", b"\n", b"\r\n"])
def test_a_file_is_the_password_without_its_last_line_break(
    loaded: Load, tmp_path: Path, ending: bytes
) -> None:
    """Blanks belong to the password; the path is relative to the configuration."""
    (tmp_path / "secrets").mkdir()
    (tmp_path / "secrets" / "bank").write_bytes(" pä ss ".encode() + ending)
    assert _endpoint(loaded, '{ file = "secrets/bank" }').secret({}) == " pä ss "


@pytest.mark.parametrize(
    ("content", "what"),
    [
        (None, "can't be read: No such file"),
        (b"", "is empty"),
        (b"\n", "is empty"),
        (SECRET.encode() + b"\nsecond\n", "line break"),
        (SECRET.encode() + b"\0", "line break or NUL"),
        (SECRET.encode() + b"\xff", "not UTF-8"),
    ],
)
def test_a_file_that_is_no_password_is_named(
    loaded: Load, tmp_path: Path, content: bytes | None, what: str
) -> None:
    """Which file, what is wrong with it, and nothing of what it holds."""
    if content is not None:
        (tmp_path / "secret").write_bytes(content)
    with pytest.raises(ConfigurationError) as caught:
        _endpoint(loaded, '{ file = "secret" }').secret({})
    assert what in caught.value.args[1]
    assert str(tmp_path / "secret") in caught.value.args[1] + caught.value.args[2]
    assert SECRET not in _everything_said(caught.value)


def test_a_variable_with_a_line_break_never_becomes_two_commands(loaded: Load) -> None:
    """`PASS x\\r\\nDELE y` is refused before it is a command."""
    with pytest.raises(ConfigurationError, match="line break"):
        _endpoint(loaded, '{ env = "P" }').secret({"P": f"{SECRET}\r\nDELE y"})
