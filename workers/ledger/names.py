r"""Names on the wire are bytes; this is their one printable form, and the way back.

UTF-8 text is shown as it is. Every byte that is not part of valid UTF-8, and every control character,
becomes `\xNN`, and a backslash becomes `\\`, so that no two names look alike and any can be typed back.
"""

from __future__ import annotations

import re

_ESCAPE = re.compile(rb"\\(?:x([0-9a-fA-F]{2})|(\\))")


def printable(name: bytes) -> str:
    r"""`b"a\xff\\b"` → the text `a\xff\\b`; reversible by `raw`. A control character (a line end, ESC)
    never reaches a terminal."""
    text = name.decode("utf-8", "surrogateescape")
    if text.isprintable() and "\\" not in text:
        return text
    shown: list[str] = []
    for char in text:
        if char == "\\":
            shown.append("\\\\")
        elif char.isprintable():
            shown.append(char)
        else:
            shown.extend(f"\\x{byte:02x}" for byte in char.encode("utf-8", "surrogateescape"))
    return "".join(shown)


def raw(text: str) -> bytes:
    r"""The bytes that `printable` showed as `text`. A lone backslash that begins no escape stands for
    itself."""

    def meant(match: re.Match[bytes]) -> bytes:
        digits = match[1]
        return bytes([int(digits, 16)]) if digits is not None else b"\\"

    return _ESCAPE.sub(meant, text.encode("utf-8", "surrogateescape"))
