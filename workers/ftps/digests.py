"""Asking a server what a file's digest is: which command it has for that, and what its answer says.

HASH (draft-bryan-ftpext-hash), MD5 (draft-twine-ftpmd5), and the X commands that came before both, of which
nothing is written down but what servers do.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

from workers.ftps.control import Reply

# Best first: what is received is hashed with SHA-256 anyway, every other algorithm reads the file once more.
# The digits are those of a digest in hexadecimal.
_DIGITS = {"SHA-256": 64, "SHA-512": 128, "SHA-1": 40, "MD5": 32, "CRC32": 8}
# Commands for one algorithm each. XSHA is what some servers call XSHA1.
_ALGORITHM = {
    "XSHA256": "SHA-256",
    "XSHA512": "SHA-512",
    "XSHA1": "SHA-1",
    "XSHA": "SHA-1",
    "XMD5": "MD5",
    "MD5": "MD5",
    "XCRC": "CRC32",
}
# A server reads the whole file before it answers: at so many bytes a second, or faster.
_READ_RATE = 10e6

_HASH = re.compile(rb"\s*(\S+) \d+-\d+ ([0-9A-Fa-f]+)(?: |$)")


@dataclass(frozen=True, slots=True)
class Digest:
    """A file's digest. algorithm: as HASH names it ("SHA-256", "CRC32"). hex: its digits, small."""

    algorithm: str
    hex: str


@dataclass(frozen=True, slots=True)
class Way:
    """One command by which a server tells digests. selects: it must be told the algorithm first."""

    algorithm: str
    verb: str
    selects: bool = False

    def commands(self, path: bytes) -> list[tuple[str, bytes]]:
        """What to send, in one flight; the last reply is the answer."""
        if self.verb.startswith("X") and b" " in path:
            # Start and end may follow the name, so a blank would end it: ProFTPD's mod_digest.
            path = b'"' + path + b'"'
        choice = [("OPTS", b"HASH " + self.algorithm.encode())] if self.selects else []
        return [*choice, (self.verb, path)]

    def told(self, path: bytes, reply: Reply) -> Digest | None:
        """The digest in a reply; None where none, or more than one, can be found in it."""
        line = reply.lines[-1]  # ProFTPD says "Computing …" in one before it
        if self.verb == "HASH":
            match = _HASH.match(line)
            algorithm = _named(match[1].decode("ascii", "replace")) if match else None
            if match is None or algorithm is None or len(match[2]) != _DIGITS[algorithm]:
                return None
            return Digest(algorithm, match[2].decode().lower())
        # A file may be called by its digest.
        words = line.replace(path, b" ").split()
        if self.algorithm == "CRC32" and len(words) == 1:
            words = [words[0].rjust(8, b"0")]  # some servers leave out leading zeros
        found = {word.lower() for word in words if _is_hex(word) and len(word) == _DIGITS[self.algorithm]}
        return Digest(self.algorithm, found.pop().decode()) if len(found) == 1 else None


def ways(offered: Iterable[str]) -> list[Way]:
    """All ways that the lines of FEAT offer, best first."""
    found: list[Way] = []
    for line in offered:
        verb, _, rest = line.upper().partition(" ")
        if verb == "HASH":
            names = [name.strip() for name in rest.split(";") if name.strip()]
            for name in names:
                algorithm = _named(name.rstrip("*"))
                if algorithm is not None:
                    found.append(Way(algorithm, "HASH", selects=not name.endswith("*")))
        elif verb in _ALGORITHM:
            found.append(Way(_ALGORITHM[verb], verb))
    order = list(_DIGITS)
    # Of two commands for one algorithm, HASH: it takes any name, and says what it has told.
    return sorted(found, key=lambda way: (order.index(way.algorithm), way.verb != "HASH"))


def patience(size: int) -> float:
    """Seconds a server may take, beyond a reply's usual time, for the digest of so many bytes."""
    return size / _READ_RATE


def _named(name: str) -> str | None:
    """An algorithm as we call it: "SHA256", "sha-256" → "SHA-256"; None for one that we don't know."""
    plain = name.upper().replace("-", "")
    return next((known for known in _DIGITS if known.replace("-", "") == plain), None)


def _is_hex(word: bytes) -> bool:
    return all(byte in b"0123456789abcdefABCDEF" for byte in word)
