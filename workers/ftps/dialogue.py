"""The opening dialogue, step by step: greeting, AUTH TLS, login, protection, preparation.

Each function asks on a control connection and says in an exception what a refusal at its place means.
RFC 959 §5.4, RFC 2228, RFC 2389, RFC 2640, RFC 4217.
"""

from __future__ import annotations

import re
from dataclasses import replace

from workers.ftps.control import Control, Reply
from workers.ftps.errors import BadName, Capacity, ConnectFailed, LoginRefused, TlsRefused
from workers.ftps.features import Features

# "530 Sorry, the maximum number of clients (5) for this user are already connected" is no wrong password …
_FULL = re.compile(
    r"too many|maximum (number|login limit)|already (connected|logged)|\bonly \d+ sessions", re.I
)
# … and "530 Too many failed login attempts" is one.
_ATTEMPTS = re.compile(r"attempt|fail|incorrect|password", re.I)

# Who reads on while a transfer is under way, and drops its data channel for a new port. Known by its banner,
# it need not be found out by a transfer that breaks.
_READS_ON = re.compile(r"\bpyftpdlib\b", re.I)


def greet(control: Control, until: float) -> str:
    """Read the banner; 120 promises it for later. Raises Capacity (by 421: LineLost), ConnectFailed."""
    control.expect_greeting()
    reply = control.reply(until)
    if reply.preliminary:
        reply = control.reply(until)
    if reply.refuses:
        raise (Capacity if _is_full(reply) else ConnectFailed)(f"greeted with: {reply}")
    return reply.text


def ask_for_tls(control: Control, until: float) -> None:
    """AUTH TLS. A refusal is final, and never answered by clear text (field note 19). Raises TlsRefused."""
    reply = control.ask("AUTH", b"TLS", until=until)
    if reply.refuses:
        raise _for_now_or_for_good(f"AUTH TLS: {reply}", reply)


def log_in(control: Control, user: str, password: str, encoding: str, until: float) -> None:
    """USER, PASS. ACCT is not supported. Raises LoginRefused, Capacity, ConnectFailed."""
    try:
        name, secret = user.encode(encoding), password.encode(encoding)
        reply = control.ask("USER", name, until=until)
        if reply.code == 331:
            reply = control.ask("PASS", secret, until=until)
    except UnicodeEncodeError as error:
        # Without the original, which quotes what it could not encode.
        raise LoginRefused(f"user or password can't be written in {error.encoding}") from None
    except BadName:
        raise LoginRefused("CR, LF or NUL in user or password") from None
    if reply.code == 332:
        raise LoginRefused("the server asks for an account (ACCT), which is not supported")
    if not reply.refuses:
        return
    said = str(reply)
    if _is_full(reply):
        raise Capacity(said)
    # 4xx may do better later (RFC 959 §4.2.1), but 430 means "invalid user name or password".
    if reply.code < 500 and reply.code != 430:
        raise ConnectFailed(said)
    raise LoginRefused(said)


def secrets(password: str, encoding: str) -> tuple[str, ...]:
    """The password in each form in which a server's reply may show it again."""
    sent = password.encode(encoding, "replace").decode("utf-8", "backslashreplace")
    quoted = repr(sent)[1:-1]  # as messages show what is no reply
    return tuple(dict.fromkeys((password, sent, quoted))) if password else ()


def protect(control: Control, until: float) -> None:
    """PBSZ 0, PROT P: data channels are private from here on (RFC 4217 §9). Raises TlsRefused."""
    for verb, argument in (("PBSZ", b"0"), ("PROT", b"P")):
        reply = control.ask(verb, argument, until=until)
        if reply.refuses:
            raise _for_now_or_for_good(f"{verb} {argument.decode()}: {reply}", reply)


def prepare(
    control: Control, encoding: str, known: Features | None, until: float, *, banner: str
) -> Features:
    """FEAT, OPTS UTF8 ON where it is offered, TYPE I for the connection's whole life (R11)."""
    # FEAT last: nothing but its own reply can be taken for it, so one reply too many is found at once.
    control.send_all([("TYPE", b"I"), ("FEAT", b"")], until=until)
    image, feat = control.reply(until), control.reply(until)
    if image.refuses:
        raise ConnectFailed(f"TYPE I: {image}")
    if feat.refuses and feat.code < 500:
        # What it can do otherwise would be forgotten, and each listing and time read differently.
        raise ConnectFailed(f"FEAT: {feat}")
    features = (Features() if feat.refuses else Features.from_feat(feat.lines)).with_learned(known)
    if _READS_ON.search(banner):
        features = replace(features, ports_ahead=False)
    if features.utf8 and encoding.lower().replace("-", "") == "utf8":
        # A refusal is harmless: RFC 2640 servers speak UTF-8 unasked, and OPTS UTF8 is older than it.
        control.ask("OPTS", b"UTF8 ON", until=until)
    return features


def _for_now_or_for_good(said: str, reply: Reply) -> ConnectFailed | TlsRefused:
    """4xx may do better later (RFC 959 §4.2.1; 431: RFC 4217 §4.1)."""
    return ConnectFailed(said) if reply.code < 500 else TlsRefused(said)


def _is_full(reply: Reply) -> bool:
    return bool(_FULL.search(reply.text)) and not _ATTEMPTS.search(reply.text)
