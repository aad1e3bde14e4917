"""What a single value of the configuration may be: one small function per kind of value.

Each takes what TOML gave and returns what the rest of Towline works with, or raises `Wrong`. Those that
take `info` read differently out of a file than from Python: `info.context` is then the file's `Source`.
"""

from __future__ import annotations

import codecs
import ipaddress
import re
import zoneinfo
from pathlib import Path
from typing import Any

from pydantic import ValidationInfo

from workers.names import parsed
from workers.settings import quantities
from workers.settings.config_file import Source, Wrong, expanded, nearest, shown, told
from workers.settings.cron import cron

OBJECT_STORES = ("s3", "gs", "az")

_ASCII = "".join(map(chr, range(0x20, 0x7F)))
_NAME = re.compile(r"\w[\w.-]{0,99}")
_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)://(.*)", re.DOTALL)


def duration(value: Any, info: ValidationInfo) -> float:
    """Seconds, of "10m"; from Python, seconds themselves are taken as well."""
    if isinstance(value, str):
        return quantities.duration(value)
    if info.context is None and isinstance(value, int | float) and not isinstance(value, bool):
        return float(value)
    raise Wrong(f"{told(value)}, without a unit", 'write a duration, such as "90s" or "10m"')


def size(value: Any, info: ValidationInfo) -> int:
    """Bytes, of "5MiB"; from Python, bytes themselves are taken as well."""
    if isinstance(value, str):
        return quantities.size(value)
    if info.context is None and isinstance(value, int) and not isinstance(value, bool):
        return value
    raise Wrong(f"{told(value)}, without a unit", 'write a size, such as "64KiB" or "5MiB"')


def mode(value: Any, info: ValidationInfo) -> int:
    """Permission bits, of "0640". A TOML number is refused: 640 would be read as decimal."""
    if isinstance(value, str) and re.fullmatch(r"0?[0-7]{3}", value):
        return int(value, 8)
    if info.context is None and isinstance(value, int) and not isinstance(value, bool):
        return value
    what = (
        f"{shown(value)} is not a file mode" if isinstance(value, str) else f"{told(value)}, not a file mode"
    )
    raise Wrong(what, 'write octal digits in quotes, such as "0640"')


def some(values: tuple[str, ...]) -> tuple[str, ...]:
    """A list with something in it."""
    if not values:
        raise Wrong("an empty list matches nothing", 'leave it out, or write ["*"]')
    return values


def one_line(text: str) -> str:
    """A string that is not empty and has no control characters: it ends in commands, log lines and labels."""
    if not text or not text.isprintable():
        raise Wrong(
            "it is empty" if not text else "it holds a line break or a control character", "write plain text"
        )
    return text


def name(text: str) -> str:
    """A route's or an endpoint's name."""
    if not _NAME.fullmatch(text):
        raise Wrong(f"{shown(text)} can't be a name", "use letters, digits, _, - and ., at most 100 of them")
    return text


def host(text: str) -> str:
    """A host name or an IP address, and nothing else."""
    if "://" in text or "/" in text or "@" in text:
        raise Wrong("it is a URL", "write the host's name alone; port, user and tls are keys of their own")
    if re.fullmatch(r"[^:]+:\d+|\[.*\].*", text):
        raise Wrong(
            f"{shown(text)} is more than a host", "write the port as port = …, and an IPv6 address without []"
        )
    if not text or not text.isprintable() or " " in text:
        raise Wrong("it is not a host name", 'write host = "ftps.example.com"')
    return text


def zone(text: str) -> str:
    """The name of a time zone that this system knows."""
    try:
        zoneinfo.ZoneInfo(text)
    # ValueError: "../x"; OSError: "Europe" is a folder; ZoneInfoNotFoundError is a KeyError.
    except (KeyError, ValueError, OSError):
        close = nearest(text, zoneinfo.available_timezones())
        remedy = f'did you mean "{close}"?' if close else 'write a name such as "UTC" or "Europe/Berlin"'
        raise Wrong(f"there is no time zone {shown(text)}", remedy) from None
    return text


def encoding(text: str) -> str:
    """A text encoding in which ASCII stays ASCII, or the commands themselves would be garbled."""
    try:
        known = codecs.lookup(text).name
        same = _ASCII.encode(known) == _ASCII.encode("ascii")
    except (LookupError, UnicodeError, ValueError):
        raise Wrong(f"there is no encoding {shown(text)}", 'write one such as "utf-8" or "cp1252"') from None
    if not same:
        raise Wrong(f"{shown(text)} does not contain ASCII", 'write one such as "utf-8" or "cp1252"')
    return known


def fingerprint(text: str) -> str:
    """A certificate's SHA-256: `sha256:` and 64 small hex digits, also of OpenSSL's `AB:CD:…`."""
    algorithm, _, digits = text.partition(":")
    digits = digits.replace(":", "").lower()
    if algorithm.lower() != "sha256" or not re.fullmatch(r"[0-9a-f]{64}", digits):
        raise Wrong(
            f"{shown(text)} is not a fingerprint",
            'write "sha256:" and 64 hex digits, as `openssl x509 -noout -fingerprint -sha256` prints them',
        )
    return f"sha256:{digits}"


def network(text: str) -> str:
    """A network such as "10.0.0.0/8", or a single address."""
    try:
        return str(ipaddress.ip_network(text))
    except ValueError:
        raise Wrong(f"{shown(text)} is not a network", 'write one such as "10.0.0.0/8"') from None


def pair(value: Any) -> Any:
    """Two ports; what they are is checked one by one."""
    if not isinstance(value, list | tuple) or len(value) != 2:
        raise Wrong("it is not two ports", "write the lowest and the highest: [50000, 50100]")
    return tuple(value)


def folder(value: Any, info: ValidationInfo) -> Path:
    """A path; out of a file, `~` and what is relative are expanded."""
    if isinstance(value, str):
        return expanded(value, info.context.folder if isinstance(info.context, Source) else None)
    if not isinstance(value, Path):
        raise Wrong(told(value), "write a path, in quotes")
    return value


def file(value: Any, info: ValidationInfo) -> Path:
    """A file that has to be there already, such as a certificate."""
    path = folder(value, info)
    if not path.is_file():
        raise Wrong(
            f"there is no file {path}", "check the path; a relative one begins at the configuration's folder"
        )
    return path


def local(value: Any, info: ValidationInfo) -> Path | str:
    """Where files land, or for a push come from: a Path, or an object store's URL as a string."""
    match = _SCHEME.fullmatch(value) if isinstance(value, str) else None
    if match is None:
        return folder(value, info)
    scheme, place = match.groups()
    bucket, _, prefix = place.partition("/")
    if scheme not in OBJECT_STORES or not bucket:
        raise Wrong(
            f"{shown(value)} is no place for files",
            'write a folder, or "s3://bucket/prefix", "gs://…", "az://…"',
        )
    prefix = "/".join(part for part in prefix.split("/") if part)
    return f"{scheme}://{bucket}/{prefix}".removesuffix("/")


def remote_folder(value: Any, info: ValidationInfo) -> bytes:
    """A folder on the server as the bytes that are sent, absolute (R11) and without a slash at its end."""
    if isinstance(value, str):
        plain = absolute(value)
        if "\\" in plain:
            return _parsed(plain)
        charset = info.context.encoding if isinstance(info.context, Source) else "utf-8"
        try:
            value = plain.encode(charset)
        except UnicodeEncodeError:
            raise Wrong(
                f"{shown(value)} can't be written in {charset}", "set the endpoint's encoding"
            ) from None
    if not isinstance(value, bytes):
        raise Wrong(told(value), 'write a path, such as "/outgoing"')
    return value


def _parsed(shown_path: str) -> bytes:
    """The bytes behind a path's printable form; what its escapes stand for is checked too."""
    try:
        path = parsed(shown_path)
    except ValueError as error:
        raise Wrong(str(error), r"write \xNN for a byte, and \\ for a backslash, in single quotes") from None
    absolute(path.decode("latin-1"))
    return path


def absolute(text: str) -> str:
    """A plain absolute path of the server. The ledger knows files by it, so a folder has one spelling."""
    if not text.startswith("/"):
        raise Wrong(f"{shown(text)} is not absolute", f"write the whole path: {shown('/' + text)}")
    if any(character in text for character in "\r\n\0"):
        raise Wrong("it holds a line break or NUL", "no FTP command can carry such a path")
    if {".", ".."} & set(text.split("/")):
        raise Wrong(f"{shown(text)} has . or .. in it", "write the path without them")
    return "/" + "/".join(part for part in text.split("/") if part)


def cron_text(text: str) -> str:
    """Five cron fields, with one blank between them."""
    cron(text)
    return " ".join(text.split())


def pattern(text: str) -> str:
    """A regular expression."""
    try:
        re.compile(text)
    except (re.error, RecursionError, OverflowError) as error:
        raise Wrong(
            f"{shown(text)} is not a regular expression: {error}", "see Python's re for its syntax"
        ) from None
    return text


def done_file(text: str) -> str:
    """The name of a marker file; {name} stands for the name of the file that it marks."""
    around = text.replace("{name}", "", 1)
    if around == text or not around or set(around) & set("{}/\r\n\0"):
        raise Wrong(
            f"{shown(text)} does not say which file it belongs to", 'write {name} for its name: "{name}.done"'
        )
    return text


def after(text: str) -> str:
    """What becomes of a published file's source: "keep", "delete" or "move:/folder"."""
    return text if text == "delete" else after_failure(text)


def after_failure(text: str) -> str:
    """What becomes of a quarantined file's source: "keep" or "move:/folder". Deleting it would lose it."""
    if text == "keep":
        return text
    if text.startswith("move:"):
        return "move:" + absolute(text.removeprefix("move:"))
    raise Wrong(
        f"{shown(text)} is no such action", 'write "keep", or "move:/folder"; after takes "delete" as well'
    )


def broker(url: str) -> str:
    """The broker's URL. As with all three URLs, no message repeats more than its scheme."""
    return _url(url, ("redis", "rediss", "amqp", "amqps"), "redis://host:6379/0")


def results(url: str) -> str:
    """The result store's URL; Celery knows many kinds, and knows best."""
    match = _SCHEME.fullmatch(url)
    if match is None or match[1].startswith("amqp"):
        raise Wrong("it is not the URL of a result store", 'write one such as "redis://host:6379/1"')
    return url


def ledger(url: str, info: ValidationInfo) -> str:
    """The ledger's URL; a relative SQLite file begins at the configuration's folder."""
    _url(url, ("sqlite", "postgresql+psycopg"), "postgresql+psycopg://host/towline")
    if not url.startswith("sqlite:"):
        # Everything behind the first would be the host's name, in every message.
        if url.partition("?")[0].count("@") > 1:
            raise Wrong("it has more than one @", "write an @ inside the password as %40")
        return url
    path = url.removeprefix("sqlite:///")
    if path == url or path in ("", ":memory:"):
        raise Wrong(
            "a ledger in memory remembers nothing",
            'write a file: "sqlite:////var/lib/towline/ledger.sqlite3"',
        )
    return f"sqlite:///{folder(path, info)}"


def ledger_in(state_dir: Any) -> str:
    """The URL of the SQLite ledger that lives in `state_dir`."""
    return f"sqlite:///{state_dir}/ledger.sqlite3"


def _url(url: str, schemes: tuple[str, ...], example: str) -> str:
    match = _SCHEME.fullmatch(url)
    if match is None:
        raise Wrong("it is not a URL", f'write one such as "{example}"')
    if match[1] not in schemes:
        told = f"{match[1]}:// is none of {', '.join(s + '://' for s in schemes)}"
        raise Wrong(told, f'write one such as "{example}"')
    return url
