"""Everything that is refused, with where, what and the way out."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.unit.settings.conftest import Load, Refusal
from workers.errors import UnknownName

UNKNOWN = [
    ("towline", 'leese = "1m"', "[towline]", "unknown key leese", "did you mean lease?"),
    ("towline", 'path = "/x"', "[towline]", "unknown key path", "known here: broker"),
    ("towline", "[rutes.x]", "towline.toml", "unknown key rutes", "did you mean routes?"),
    ("endpoint", "Port = 21", "[endpoints.bank]", "unknown key Port", "did you mean port?"),
    ("endpoint", 'name = "x"', "[endpoints.bank]", "unknown key name", "allow_plaintext"),
    (
        "endpoint",
        "reconnect = { atempts = 3 }",
        "[endpoints.bank]",
        "unknown key atempts in reconnect",
        "attempts?",
    ),
    (
        "route",
        "batch = { file = 3 }",
        "[routes.statements]",
        "unknown key file in batch",
        "did you mean files?",
    ),
    ("route", 'then = { tsk = "x" }', "[routes.statements]", "unknown key tsk in then", "did you mean task?"),
    ("route", "recursiv = true", "[routes.statements]", "unknown key recursiv", "did you mean recursive?"),
]

VALUES = [
    ("towline", 'lease = "10 minits"', 'lease: "10 minits" is not a duration', '"10m"'),
    ("towline", "lease = 60", "lease: 60 is a whole number, without a unit", '"90s"'),
    ("towline", "lease = true", "lease: true is a boolean, without a unit", '"90s"'),
    ("towline", 'lease = "0s"', 'lease = "0s"', "greater than 0"),
    ("towline", "lease = []", "lease: it is a list", '"90s"'),
    ("towline", 'timezone = "Europe/Berln"', 'no time zone "Europe/Berln"', "Europe/Berlin"),
    ("towline", 'timezone = "Europe"', 'no time zone "Europe"', '"'),
    ("towline", 'timezone = "../etc/passwd"', 'no time zone "../etc/passwd"', "UTC"),
    ("towline", 'broker = "localhost"', "broker: it is not a URL", "redis://host"),
    ("towline", 'broker = "sqs://x"', "broker: sqs:// is none of redis://", "redis://host"),
    ("towline", 'broker = "amqp://x"', "an AMQP broker keeps no results", "results ="),
    ("towline", 'results = "amqp://x"', "results: it is not the URL of a result store", "redis://"),
    ("towline", 'ledger = "postgresql://x/y"', "ledger: postgresql:// is none of", "postgresql+psycopg://"),
    ("towline", 'ledger = "sqlite:///:memory:"', "a ledger in memory", "sqlite:////"),
    ("towline", 'ledger = "sqlite://"', "a ledger in memory", "sqlite:////"),
    ("towline", 'ledger = "postgresql+psycopg://a:b@c@d/e"', "more than one @", "%40"),
    ("towline", 'state_dir = ""', "state_dir: an empty path", "write a path"),
    ("towline", "state_dir = 5", "state_dir: 5 is a whole number", "a path, in quotes"),
    ("endpoint", 'tls = "explict"', 'tls = "explict" is not known', 'write "explicit", "implicit" or "off"'),
    ("endpoint", 'tls = "off"', "clear text", "allow_plaintext = true"),
    ("endpoint", "port = 0", "port = 0", "greater than or equal to 1"),
    ("endpoint", "port = 65536", "port = 65536", "less than or equal to 65535"),
    ("endpoint", 'port = "21"', 'port: "21" is a string', "a whole number, without quotes"),
    ("endpoint", "port = true", "port: true is a boolean", "a whole number"),
    ("endpoint", 'verify = "no"', 'verify: "no" is a string', "true or false, without quotes"),
    ("endpoint", "verify = 0", "verify: 0 is a whole number", "true or false"),
    ("endpoint", 'ca_file = "lacking.pem"', "there is no file", "relative"),
    ("endpoint", 'fingerprint = "sha256:00"', "is a string", "a list"),
    ("endpoint", 'fingerprint = ["sha256:00"]', '"sha256:00" is not a fingerprint', "openssl"),
    ("endpoint", f'fingerprint = ["sha1:{"0" * 64}"]', "is not a fingerprint", "openssl"),
    (
        "endpoint",
        f'fingerprint = ["sha256:{"0" * 64}"]\nverify = false',
        "verify = false trusts any",
        "leave verify",
    ),
    ("endpoint", 'client_cert = "towline.toml"', "client_key is missing", "together"),
    ("endpoint", 'client_key = "towline.toml"', "client_cert is missing", "together"),
    (
        "endpoint",
        'tls_min = "1.3"\ntls_max = "1.2"',
        'tls_min = "1.3" is above tls_max = "1.2"',
        "raise tls_max",
    ),
    ("endpoint", 'tls_min = "1.1"', "is not known", '"1.2" or "1.3"'),
    ("endpoint", "tls_min = 1.2", "tls_min = 1.2 is not known", '"1.2" or "1.3"'),
    ("endpoint", 'data_mode = "active"', "without active_ports", "active_ports = ["),
    ("endpoint", "active_ports = [50000, 50100]", "with active_ports", 'data_mode = "active"'),
    ("endpoint", 'data_mode = "active"\nactive_ports = [9, 5]', "end before they begin", "lower port first"),
    ("endpoint", 'data_mode = "active"\nactive_ports = [9]', "not two ports", "[50000, 50100]"),
    ("endpoint", 'trust_pasv_address = ["10.0.0.1/8"]', '"10.0.0.1/8" is not a network', "10.0.0.0/8"),
    ("endpoint", 'encoding = "utf8mb4"', 'no encoding "utf8mb4"', "cp1252"),
    ("endpoint", 'encoding = "rot13"', 'no encoding "rot13"', "cp1252"),
    ("endpoint", 'encoding = "utf-16"', "does not contain ASCII", "cp1252"),
    ("endpoint", "max_sessions = 0", "max_sessions = 0", "greater than or equal to 1"),
    ("endpoint", "reconnect = 5", "reconnect: 5 is a whole number", "a table"),
    ("endpoint", "reconnect = { attempts = 0 }", "reconnect.attempts = 0", "greater than or equal to 1"),
    ("endpoint", 'reconnect = { first_wait = "1m" }', "first_wait is longer than max_wait", "max_wait"),
    ("route", 'endpoint = "bnk"', 'no endpoint "bnk"', 'did you mean "bank"?'),
    ("route", 'endpoint = "other one"', 'no endpoint "other one"', 'add [endpoints."other one"]'),
    ("route", 'remote = "outgoing"', 'remote: "outgoing" is not absolute', '"/outgoing"'),
    ("route", 'remote = "/a/../b"', ". or ..", "without them"),
    ("route", 'remote = "/a\\nDELE b"', "line break", "no FTP command"),
    ("route", "remote = '/a\\x0aDELE b'", "line break", "no FTP command"),
    ("route", "remote = '/a\\b'", "lone backslash", "single quotes"),
    ("route", "remote = 5", "remote: 5 is a whole number", "write a path"),
    ("route", 'local = "ftp://x"', '"ftp://x" is no place for files', "s3://"),
    ("route", 'local = "s3:///x"', "is no place for files", "s3://"),
    ("route", "local = 5", "local: 5 is a whole number", "a path, in quotes"),
    ("route", 'direction = "both"', "is not known", '"pull" or "push"'),
    ("route", 'every = "10m"\ncron = "* * * * *"', "both every and cron", "keep one"),
    ("route", 'every = "0s"', 'every = "0s"', "greater than 0"),
    ("route", 'cron = "* * * *"', "4 fields instead of five", "day of month"),
    ("route", "include = []", "include: an empty list matches nothing", '["*"]'),
    ("route", 'include = "*.xml"', "is a string", "a list"),
    ("route", 'include = [""]', "include.0: it is empty", "plain text"),
    ("route", 'regex = "["', 'regex: "[" is not a regular expression', "Python"),
    ("route", "max_depth = 0", "max_depth = 0", "greater than or equal to 1"),
    ("route", 'done_file = "done"', "does not say which file", "{name}.done"),
    ("route", 'done_file = "{nam}.done"', "does not say which file", "{name}.done"),
    ("route", 'done_file = "{name}"', "does not say which file", "{name}.done"),
    ("route", 'done_file = "done/{name}"', "does not say which file", "{name}.done"),
    ("route", 'done_file = "{name}.{name}"', "does not say which file", "{name}.done"),
    ("route", 'after = "move"', '"move" is no such action', "move:/folder"),
    ("route", 'after = "move:archive"', '"archive" is not absolute', '"/archive"'),
    ("route", 'after = "move:/outgoing/"', "moves files to where they are", "another folder"),
    ("route", 'recursive = true\nafter = "move:/outgoing/old"', "finds them again", "out of the route"),
    ("route", 'after_failure = "delete"', '"delete" is no such action', "keep"),
    ("route", 'durability = "rename"\nafter = "delete"', "the only copy", 'durability = "full"'),
    ("route", 'durability = "rename"\nafter = "move:/x"', "the only copy", 'after = "keep"'),
    ("route", 'mode = "rw-r-----"', "is not a file mode", "0640"),
    ("route", "mode = 640", "640 is a whole number, not a file mode", "in quotes"),
    ("route", 'mode = "4755"', "is not a file mode", "0640"),
    ("route", 'batch = { bytes = "256MB" }', 'batch.bytes: "256MB" is not a size', "MiB"),
    ("route", "batch = { files = 0 }", "batch.files = 0", "greater than or equal to 1"),
    ("route", "then = {}", "then.task is missing", "add then.task"),
]


@pytest.mark.parametrize(("table", "line", "where", "what", "remedy"), UNKNOWN)
def test_an_unknown_key_is_told_with_the_nearest(
    refused: Refusal, place: Path, table: str, line: str, where: str, what: str, remedy: str
) -> None:
    """The file, the table's path, the key, and the key that was probably meant."""
    refusal = refused(**{table: line})
    assert str(place) in refusal.args[0]
    assert refusal.args[0].endswith(where)
    assert refusal.args[1] == what
    assert remedy in refusal.args[2]


@pytest.mark.parametrize(("table", "line", "what", "remedy"), VALUES)
def test_a_wrong_value_is_told_with_a_way_out(
    loaded: Load, refused: Refusal, place: Path, table: str, line: str, what: str, remedy: str
) -> None:
    """The file and the table, what is wrong with which key, and what to write instead."""
    key = line.split(" =")[0]
    if table == "route" and key in ("endpoint", "remote", "local"):
        required = {"endpoint": '"bank"', "remote": '"/outgoing"', "local": '"files"'}
        lines = [line, *(f"{k} = {v}" for k, v in required.items() if k != key)]
        text = "[endpoints.bank]\nhost='h'\nuser='u'\npassword={env='P'}\n[routes.statements]\n" + "\n".join(
            lines
        )
        refusal = refused(text=text)
    else:
        refusal = refused(**{table: line})
    header = {"towline": "[towline]", "endpoint": "[endpoints.bank]", "route": "[routes.statements]"}[table]
    assert refusal.args[0] == f"{place}, {header}"
    assert what in refusal.args[1]
    assert remedy in refusal.args[2]


@pytest.mark.parametrize("key", ["host", "user", "password"])
def test_a_missing_key_is_told(refused: Refusal, key: str) -> None:
    """An endpoint needs a host, a user and a password."""
    given = {"host": '"h"', "user": '"u"', "password": '{ env = "P" }'}
    lines = "\n".join(f"{k} = {v}" for k, v in given.items() if k != key)
    assert refused(text=f"[endpoints.bank]\n{lines}").args[1] == f"{key} is missing"


@pytest.mark.parametrize(
    ("host", "what"),
    [
        ("ftps://h", "a URL"),
        ("acme@h", "a URL"),
        ("h:990", "more than a host"),
        ("[::1]:990", "more than a host"),
        ("", "not a host name"),
        ("a b", "not a host name"),
    ],
)
def test_a_host_is_a_host(refused: Refusal, host: str, what: str) -> None:
    """Whoever pastes a URL is told that port and user have keys of their own."""
    refusal = refused(text=f"[endpoints.bank]\nhost = '{host}'\nuser = 'u'\npassword = {{ env = 'P' }}")
    assert what in refusal.args[1]


@pytest.mark.parametrize(
    "host", ["ftps.bank.example", "10.0.0.1", "::1", "fe80::1%eth0", "xn--bcher-kva.example"]
)
def test_names_and_addresses_are_hosts(loaded: Load, host: str) -> None:
    """IPv6 without brackets too."""
    text = f"[endpoints.bank]\nhost = '{host}'\nuser = 'u'\npassword = {{ env = 'P' }}"
    assert loaded(text=text).endpoint("bank").host == host


@pytest.mark.parametrize("name", ["", "a b", "a/b", "../x", "-x", "a\\nb", "x" * 101])
def test_a_name_that_no_log_line_could_carry_is_refused(refused: Refusal, name: str) -> None:
    """Names end in task names, labels, log lines and on command lines."""
    refusal = refused(text=f'[endpoints."{name}"]\nhost = "h"\nuser = "u"\npassword = {{ env = "P" }}')
    assert "can't be a name" in refusal.args[1]


@pytest.mark.parametrize("text", ["endpoints = 5", "routes = []", "[endpoints]\nbank = 'x'", "towline = 'x'"])
def test_a_table_has_to_be_a_table(refused: Refusal, text: str) -> None:
    """`endpoints.bank = …` instead of `[endpoints.bank]` is told, and is no traceback."""
    assert "instead of a table" in refused(text=text).args[1]


def test_a_wrong_variable_is_told_by_its_own_name(refused: Refusal) -> None:
    """Who set TOWLINE_LEASE wrong should not search the file for it."""
    refusal = refused(TOWLINE_LEASE="soon")
    assert refusal.args[0] == "environment variable TOWLINE_LEASE"
    assert '"soon" is not a duration' in refusal.args[1]


def test_an_unknown_route_or_endpoint_is_told_with_the_nearest(loaded: Load) -> None:
    """UnknownName carries what was asked for and what was probably meant."""
    settings = loaded()
    with pytest.raises(UnknownName) as caught:
        settings.route("statement")
    assert caught.value.args == ("route", "statement", "statements")
    with pytest.raises(UnknownName) as caught:
        settings.endpoint("zzz")
    assert caught.value.args == ("endpoint", "zzz", None)


OVERLAPS = [
    ('local = "/data/a"', 'local = "/data/a"'),
    ('local = "/data/a"', 'local = "/data/a/b/"'),
    ('local = "/data/a/../b"', 'local = "/data/b/c"'),
    ('local = "/"', 'local = "/data"'),
    ('local = "link/a"', 'local = "real/a"'),
    ('local = "s3://bucket"', 'local = "s3://bucket/x"'),
    ('local = "s3://bucket/x/"', 'local = "s3://bucket/x"'),
    ('local = "/a"\ndirection = "push"\nremote = "/in"', 'local = "/b"\ndirection = "push"\nremote = "/in/"'),
    ('local = "/a"\ndirection = "push"\nremote = "/"', 'local = "/b"\ndirection = "push"\nremote = "/in"'),
]
APART = [
    ('local = "/data/a"', 'local = "/data/ab"'),
    ('local = "s3://bucket/x"', 'local = "gs://bucket/x"'),
    ('local = "s3://bucket/x"', 'local = "s3://bucket/xy"'),
    ('local = "/data/a"', 'local = "/data/a"\ndirection = "push"\nremote = "/in"'),
    (
        'local = "/a"\ndirection = "push"\nremote = "/in"',
        'local = "/a"\ndirection = "push"\nremote = "/other"',
    ),
]


def _two(one: str, other: str) -> str:
    def route(name: str, lines: str) -> str:
        remote = "" if "remote" in lines else 'remote = "/out"\n'
        return f'[routes.{name}]\nendpoint = "bank"\n{remote}{lines}\n'

    endpoint = '[endpoints.bank]\nhost = "h"\nuser = "u"\npassword = { env = "P" }\n'
    # A third that sorts between them must not hide them from each other.
    third = route("third", 'local = "s3://else/where"')
    return endpoint + route("one", one) + third + route("two", other)


@pytest.mark.parametrize(("one", "other"), OVERLAPS)
def test_overlapping_targets_are_refused(refused: Refusal, tmp_path: Path, one: str, other: str) -> None:
    """The same place, or one inside the other, in whichever order they stand; links are seen through."""
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to("real")
    for text in (_two(one, other), _two(other, one)):
        refusal = refused(text=text)
        assert "[routes.one]" in refusal.args[0]
        assert "[routes.two]" in refusal.args[0]
        assert "overlap" in refusal.args[1]


@pytest.mark.parametrize(("one", "other"), APART)
def test_neighbouring_targets_are_accepted(loaded: Load, one: str, other: str) -> None:
    """A common beginning of two names is no overlap, and a push's source is no target."""
    assert len(loaded(text=_two(one, other)).routes) == 3
