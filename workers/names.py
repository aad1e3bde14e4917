r"""Names are bytes; this is their one reversible printable form.

A name that is UTF-8 is shown as it is, with `\\` for a backslash. Each byte that is not part of valid
UTF-8, or of a character that cannot be printed, is shown as `\xNN`. What is shown can be typed, and is what
JSON holds.
"""

from __future__ import annotations

import re

_ESCAPE = re.compile(r"\\(?:x([0-9a-fA-F]{2})|(\\)|)")


def printable(name: bytes) -> str:
    r"""The printable form of a name: `b"a\xff\\"` is shown as `a\xff\\`."""
    text = name.decode("utf-8", "surrogateescape")
    if text.isprintable() and "\\" not in text:
        return text
    return "".join(map(_shown, text))


def _shown(character: str) -> str:
    if character == "\\":
        return "\\\\"
    if character.isprintable():
        return character
    return "".join(f"\\x{byte:02x}" for byte in character.encode("utf-8", "surrogateescape"))


def parsed(shown: str) -> bytes:
    r"""The name behind a printable form.

    Raises ValueError for a backslash that begins neither `\\` nor `\xNN`.
    """
    out, end = bytearray(), 0
    for escape in _ESCAPE.finditer(shown):
        out += shown[end : escape.start()].encode()
        end = escape.end()
        if escape[1]:
            out.append(int(escape[1], 16))
        elif escape[2]:
            out += b"\\"
        else:
            raise ValueError(f"a lone backslash at {escape.start()} in {shown!r}: write it as \\\\")
    return bytes(out + shown[end:].encode())
