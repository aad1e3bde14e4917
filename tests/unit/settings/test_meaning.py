"""What values mean once they are read: paths, environment, ports, defaults that depend on others."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pydantic
import pytest

from tests.unit.settings.conftest import ENDPOINT, ROUTE, Load
from workers.settings import Endpoint, Reconnect, load


def test_relative_paths_begin_at_the_configurations_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, loaded: Load
) -> None:
    """Wherever the program was started: beat, workers and the command line mean the same places."""
    (tmp_path / "certs").mkdir()
    for name in ("ca.pem", "c.pem", "c.key"):
        (tmp_path / "certs" / name).touch()
    monkeypatch.chdir("/")
    settings = loaded(
        towline='state_dir = "state"\nledger = "sqlite:///state/other.sqlite3"',
        endpoint='ca_file = "certs/ca.pem"\nclient_cert = "./certs/c.pem"\nclient_key = "./x/../certs/c.key"',
    )
    endpoint = settings.endpoint("bank")
    assert settings.state_dir == tmp_path / "state"
    assert settings.ledger == f"sqlite:///{tmp_path}/state/other.sqlite3"
    assert settings.route("statements").local == tmp_path / "files"
    certs = tmp_path / "certs"
    assert (endpoint.ca_file, endpoint.client_cert, endpoint.client_key) == (
        certs / "ca.pem",
        certs / "c.pem",
        certs / "c.key",
    )


def test_a_relative_path_to_the_file_gives_absolute_paths(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A child that changes its folder still means the same."""
    (tmp_path / "t.toml").write_text('[towline]\nstate_dir = "state"\n')
    monkeypatch.chdir(tmp_path)
    settings = load(Path("t.toml"), {})
    assert settings.path == tmp_path / "t.toml"
    assert settings.state_dir == tmp_path / "state"


def test_the_folder_is_that_of_the_link_and_not_of_its_target(tmp_path: Path) -> None:
    """A mounted ConfigMap is a link into a hidden folder; its neighbours are beside the link."""
    (tmp_path / "hidden").mkdir()
    (tmp_path / "hidden" / "t.toml").write_text('[towline]\nstate_dir = "state"\n')
    (tmp_path / "t.toml").symlink_to("hidden/t.toml")
    assert load(tmp_path / "t.toml", {}).state_dir == tmp_path / "state"


def test_dots_behind_a_link_lead_where_the_system_goes(tmp_path: Path, loaded: Load) -> None:
    """`link/..` is the parent of what the link leads to; without dots a link stays as it is written."""
    (tmp_path / "deep" / "er").mkdir(parents=True)
    (tmp_path / "link").symlink_to("deep/er")
    assert loaded(towline='state_dir = "link/../state"').state_dir == tmp_path / "deep" / "state"
    assert loaded(towline='state_dir = "link/state"').state_dir == tmp_path / "link" / "state"


def test_a_tilde_is_home(loaded: Load, monkeypatch: pytest.MonkeyPatch) -> None:
    """In every path, also in one that the environment gives."""
    monkeypatch.setenv("HOME", "/home/acme")
    assert loaded(towline='state_dir = "~/state"').state_dir == Path("/home/acme/state")
    assert loaded(TOWLINE_STATE_DIR="~/state").state_dir == Path("/home/acme/state")


@pytest.mark.parametrize("xdg", ["", "not/absolute", None])
def test_state_lives_in_home_unless_told_otherwise(
    loaded: Load, monkeypatch: pytest.MonkeyPatch, xdg: str | None
) -> None:
    """$XDG_STATE_HOME/towline; where that is unset, empty or relative, ~/.local/state/towline."""
    monkeypatch.setenv("HOME", "/home/acme")
    environ = {} if xdg is None else {"XDG_STATE_HOME": xdg}
    settings = loaded(**environ)
    assert settings.state_dir == Path("/home/acme/.local/state/towline")
    assert settings.ledger == "sqlite:////home/acme/.local/state/towline/ledger.sqlite3"
    assert loaded(XDG_STATE_HOME="/var/xdg").ledger == "sqlite:////var/xdg/towline/ledger.sqlite3"


def test_every_key_of_the_program_can_be_overridden(loaded: Load) -> None:
    """TOWLINE_<KEY> goes before the file, and an empty one counts as not set."""
    environ = {
        "BROKER": "redis://b/0",
        "RESULTS": "redis://r/1",
        "LEDGER": "postgresql+psycopg://h/t",
        "STATE_DIR": "/state",
        "LEASE": "61s",
        "POLL_SOFT_LIMIT": "62s",
        "POLL_HARD_LIMIT": "63s",
        "VISIBILITY_TIMEOUT": "64s",
        "STOP_GRACE": "65s",
        "TIMEZONE": "Europe/Rome",
        "HISTORY": "66d",
    }
    settings = loaded(towline='lease = "1s"', **{f"TOWLINE_{key}": text for key, text in environ.items()})
    assert (settings.broker, settings.results, settings.ledger) == tuple(environ.values())[:3]
    assert settings.state_dir == Path("/state")
    assert (settings.lease, settings.poll_soft_limit, settings.poll_hard_limit) == (61, 62, 63)
    assert (settings.visibility_timeout, settings.stop_grace) == (64, 65)
    assert (settings.timezone, settings.history) == ("Europe/Rome", 66 * 86_400)
    assert loaded(towline='lease = "1s"', TOWLINE_LEASE="").lease == 1


def test_other_variables_of_that_name_are_left_alone(loaded: Load) -> None:
    """Kubernetes sets TOWLINE_PORT and the like for a service called towline."""
    assert loaded(TOWLINE_PORT="tcp://10.0.0.1:80", TOWLINE_PATH="/x", TOWLINE_ROUTES="y").routes


@pytest.mark.parametrize(
    ("lines", "port"),
    [
        ("", 21),
        ('tls = "explicit"', 21),
        ('tls = "implicit"', 990),
        ('tls = "implicit"\nport = 2121', 2121),
        ('tls = "off"\nallow_plaintext = true', 21),
    ],
)
def test_the_port_follows_from_tls(loaded: Load, lines: str, port: int) -> None:
    """21, or 990 where TLS is implicit, unless it is written out."""
    assert loaded(endpoint=lines).endpoint("bank").port == port


def test_a_cron_takes_the_place_of_every(loaded: Load) -> None:
    """A route has exactly one of them; blanks between the fields don't matter."""
    route = loaded(route='cron = "*/10   6-20 * * mon-fri"').route("statements")
    assert (route.every, route.cron) == (None, "*/10 6-20 * * mon-fri")
    assert loaded().route("statements").cron is None


def test_a_fingerprint_is_taken_as_openssl_prints_it(loaded: Load) -> None:
    """With colons and capitals, and kept without."""
    printed = ":".join(f"{byte:02X}" for byte in range(200, 232))
    endpoint = loaded(endpoint=f'fingerprint = ["SHA256:{printed}"]').endpoint("bank")
    assert endpoint.fingerprint == ("sha256:" + bytes(range(200, 232)).hex(),)


def test_a_table_that_is_given_in_part_keeps_its_other_defaults(loaded: Load) -> None:
    """`reconnect = { attempts = 2 }` changes the attempts and nothing else."""
    settings = loaded(endpoint="reconnect = { attempts = 2 }", route='batch = { bytes = "1MiB" }')
    assert settings.endpoint("bank").reconnect == Reconnect(attempts=2)
    assert (settings.route("statements").batch.files, settings.route("statements").batch.bytes) == (
        256,
        2**20,
    )


@pytest.mark.parametrize(
    ("remote", "encoding", "path"),
    [
        ("'/outgoing/'", "utf-8", b"/outgoing"),
        ("'/'", "utf-8", b"/"),
        ("'//a///b/'", "utf-8", b"/a/b"),
        ("'/Auszüge'", "utf-8", "/Auszüge".encode()),
        ("'/Auszüge'", "cp1252", b"/Ausz\xfcge"),
        (r"'/Ausz\xfcge\\x'", "utf-8", b"/Ausz\xfcge\\x"),
    ],
)
def test_a_remote_folder_is_the_bytes_that_are_sent(
    loaded: Load, remote: str, encoding: str, path: bytes
) -> None:
    """In the endpoint's encoding, one spelling a folder; with a backslash, as Towline prints names."""
    route = f"[routes.statements]\nendpoint = 'bank'\nlocal = 'x'\nremote = {remote}\n"
    assert loaded(text=f"{ENDPOINT}encoding = '{encoding}'\n{route}").route("statements").remote == path


@pytest.mark.parametrize(
    ("local", "kept"),
    [("s3://bucket/a//b/", "s3://bucket/a/b"), ("gs://bucket", "gs://bucket"), ("az://box/", "az://box")],
)
def test_an_object_store_stays_a_url(loaded: Load, local: str, kept: str) -> None:
    """One spelling a place, and never a folder called `s3:`."""
    assert loaded(text=ENDPOINT + ROUTE.replace('"files"', f'"{local}"')).route("statements").local == kept


def test_modes_are_octal(loaded: Load) -> None:
    """With and without the leading zero."""
    assert loaded(route='mode = "0600"').route("statements").mode == 0o600
    assert loaded(route='mode = "644"').route("statements").mode == 0o644


def test_moves_keep_one_spelling(loaded: Load) -> None:
    """A slash at the end makes no other folder."""
    route = loaded(route='after = "move:/archive/"\nafter_failure = "move:/failed"').route("statements")
    assert (route.after, route.after_failure) == ("move:/archive", "move:/failed")


def test_settings_do_not_change(loaded: Load) -> None:
    """Whoever holds them can rely on them."""
    settings = loaded()
    for thing, key in (
        (settings, "lease"),
        (settings.endpoint("bank"), "host"),
        (settings.route("statements"), "mode"),
    ):
        with pytest.raises(pydantic.ValidationError):
            setattr(thing, key, getattr(thing, key))


def test_python_gives_seconds_and_bytes_as_they_are() -> None:
    """Whoever builds an endpoint in code has floats already."""
    endpoint = Endpoint.model_validate(
        {
            "name": "x",
            "host": "::1",
            "user": "u",
            "password": "p",
            "connect_timeout": 2,
            "reconnect": {"within": 3.5},
        }
    )
    assert (endpoint.connect_timeout, endpoint.reconnect.within, endpoint.secret()) == (2.0, 3.5, "p")


def test_settings_know_nothing_of_celery() -> None:
    """A command that only reads the configuration does not wait for Celery to be imported."""
    code = "import sys, workers.settings; sys.exit('celery' in sys.modules or 'kombu' in sys.modules)"
    assert (
        subprocess.run([sys.executable, "-c", code], cwd=Path(__file__).parents[3], check=False).returncode
        == 0
    )
