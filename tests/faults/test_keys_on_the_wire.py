"""Keys of an endpoint that show only in what is said on a line, and when: from the file to the server."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from tests.faults.acts import silence, transfer
from tests.faults.dialogue import Talk
from tests.faults.scripted import ScriptedServer
from tests.servers.certificates import Certificates
from workers.errors import OperationFailed, ReconnectFailed
from workers.ledger import Ledger
from workers.session import Session, Tally
from workers.settings import load

FILE = b"<a/>" * 1000
ANSWERS_AFTER_S = 4.0


@contextmanager
def configured(folder: Path, server: ScriptedServer, *keys: str) -> Iterator[Session]:
    """The session that a `towline.toml` with these lines in the endpoint's table leads to."""
    config = folder / "towline.toml"
    said = {"ca_file": f'ca_file = "{server.ca_file}"', "password": f'password = "{server.password}"'}
    said |= {line.partition(" ")[0]: line for line in keys}
    config.write_text(
        "\n".join(
            [
                "[endpoints.bank]",
                f'host = "{server.host}"',
                f"port = {server.port}",
                f'user = "{server.user}"',
                'reconnect = { attempts = 1, within = "60s" }',
                *said.values(),
            ]
        )
    )
    endpoint = load(config, {}).endpoint("bank")
    with (
        closing(Ledger.open(f"sqlite:///{folder}/ledger.sqlite3", state_dir=folder)) as ledger,
        closing(Session(endpoint, ledger)) as session,
    ):
        yield session


def fetched(session: Session) -> bytes:
    """The file /a, over the session's line."""
    blocks: list[bytes] = []
    session.run(
        lambda line: line.retrieve(b"/a", lambda block: blocks.append(bytes(block)), size=len(FILE)),
        name="retrieve",
        tally=Tally(),
    )
    return b"".join(blocks)


def removed(session: Session) -> None:
    """The file /a, by one command."""
    session.run(lambda line: line.delete(b"/a"), name="delete", tally=Tally())


def asked(session: Session) -> None:
    """One small question."""
    session.run(lambda line: line.stat([b"/a"]), name="stat", tally=Tally())


def test_a_line_without_tls_is_one_where_both_keys_ask_for_it(
    certificates: Certificates, tmp_path: Path
) -> None:
    """tls = "off" with allow_plaintext: no AUTH, no PROT, and the file comes; else AUTH comes before USER."""
    with ScriptedServer(certificates, files={b"/a": FILE}) as server:
        with configured(tmp_path, server, 'tls = "off"', "allow_plaintext = true") as session:
            assert fetched(session) == FILE
        assert not {"AUTH", "PBSZ", "PROT"} & {command.split(" ")[0] for command in server.commands}
        server.commands.clear()
        with configured(tmp_path, server) as session:
            assert fetched(session) == FILE
        assert server.commands[0] == "AUTH TLS"


def test_user_and_password_are_sent_in_the_endpoint_s_encoding(
    certificates: Certificates, tmp_path: Path
) -> None:
    """A byte a letter in cp1252, two or three in UTF-8."""
    word = 'password = "löß-€"'
    with ScriptedServer(certificates, {"PASS": "230 In."}) as server:
        for key, name in (('encoding = "cp1252"', "cp1252"), ('encoding = "utf-8"', "utf-8")):
            server.commands.clear()
            with configured(tmp_path, server, word, key) as session:
                asked(session)
            assert "PASS " + "löß-€".encode(name).decode("latin-1") in server.commands


def test_a_227_s_address_is_dialled_where_its_network_is_trusted(
    certificates: Certificates, tmp_path: Path
) -> None:
    """trust_pasv_address: the server's data host is another; without the key nobody is asked there."""

    def pasv(talk: Talk, _: bytes) -> None:
        talk.reply(b"227 Entering Passive Mode (127,0,0,2,%d,%d)." % divmod(talk.listen(), 256))

    with ScriptedServer(
        certificates, {"EPSV": "500 What?", "PASV": pasv}, files={b"/a": FILE}, data_host="127.0.0.2"
    ) as server:
        with configured(tmp_path, server, 'trust_pasv_address = ["127.0.0.0/24"]') as session:
            assert fetched(session) == FILE
        with configured(tmp_path, server) as session, pytest.raises((ReconnectFailed, OperationFailed)):
            fetched(session)


@pytest.mark.parametrize(
    ("key", "verb", "default_s"),
    [("connect_timeout", "CONNECT", 10.0), ("reply_timeout", "DELE", 30.0), ("idle_timeout", "RETR", 60.0)],
)
def test_silence_is_borne_for_as_long_as_its_key_says(
    certificates: Certificates, tmp_path: Path, key: str, verb: str, default_s: float
) -> None:
    """Three tenths of a second: given up before the default would have ended."""
    stalls = transfer(end="hang", share=0.5) if verb == "RETR" else silence
    with (
        ScriptedServer(certificates, {verb: stalls}, files={b"/a": FILE}) as server,
        configured(tmp_path, server, f'{key} = "300ms"') as session,
    ):
        began = time.monotonic()
        with pytest.raises((ReconnectFailed, OperationFailed)):
            fetched(session) if verb == "RETR" else removed(session)
        assert time.monotonic() - began < default_s


@pytest.mark.long
def test_a_line_is_given_as_long_to_say_that_it_lives_as_its_key_says(
    certificates: Certificates, tmp_path: Path
) -> None:
    """probe_timeout above the default: a NOOP that is answered after four seconds costs no line."""

    def late(talk: Talk, _: bytes) -> None:
        talk.server.closing.wait(ANSWERS_AFTER_S)
        talk.reply("200 Well.")

    with (
        ScriptedServer(certificates) as server,
        configured(tmp_path, server, 'probe_after = "0s"', 'probe_timeout = "25s"') as session,
    ):
        asked(session)
        server.when("NOOP", late, times=1)
        asked(session)
        assert server.count("NOOP") > 0
        assert server.connections == 1
