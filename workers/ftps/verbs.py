"""The commands of the dialogue, and what may answer each.

RFC 959 §5.4, RFC 2228, RFC 2389, RFC 2428, RFC 3659, RFC 4217, and drafts for MFMT and HASH.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Verb:
    """What may answer a command, besides a refusal (4xx, 5xx), which may answer all of them."""

    accepts: frozenset[int]
    preliminary: frozenset[int] = frozenset()


def _verb(*accepts: int, preliminary: tuple[int, ...] = ()) -> Verb:
    return Verb(frozenset(accepts), frozenset(preliminary))


# What may answer a NOOP in the middle of a transfer; no transfer that has begun ends in one of these.
ASIDE = frozenset({200, 500, 502, 503})
# A command that the server does not know. 501 is not among them: some servers say it of an argument, others
# of a folder that isn't there.
UNKNOWN_COMMAND = frozenset({500, 502, 504})
TRANSFER = _verb(226, 250, preliminary=(125, 150))
GREETING = "(greeting)"  # the reply that comes unasked, once
VERBS: dict[str, Verb] = {
    GREETING: _verb(220, preliminary=(120,)),
    "AUTH": _verb(234),
    "USER": _verb(230, 232, 331, 332),
    "PASS": _verb(202, 230, 332),
    "PBSZ": _verb(200),
    "PROT": _verb(200),
    "FEAT": _verb(211),
    "OPTS": _verb(200, 202),
    "TYPE": _verb(200),
    "NOOP": _verb(200),
    "PWD": _verb(257),
    "QUIT": _verb(221),
    "EPSV": _verb(229),
    "PASV": _verb(227),
    "EPRT": _verb(200),
    "PORT": _verb(200),
    "REST": _verb(350),
    "RETR": TRANSFER,
    "STOR": TRANSFER,
    "APPE": TRANSFER,
    "MLSD": TRANSFER,
    "LIST": TRANSFER,
    "SIZE": _verb(213),
    "MDTM": _verb(213, 253),  # 253: Serv-U, when it has set a time
    "MLST": _verb(250),
    "MFMT": _verb(213),
    "HASH": _verb(213),
    "MD5": _verb(251),
    **dict.fromkeys(("XSHA512", "XSHA256", "XSHA1", "XSHA", "XMD5", "XCRC"), _verb(213, 250)),
    "RNFR": _verb(350),
    "RNTO": _verb(250),
    "DELE": _verb(200, 250),
    "MKD": _verb(250, 257),
}
