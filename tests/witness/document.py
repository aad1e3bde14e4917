"""A file that says of itself what it is, so that its bytes alone tell whether it is whole.

A document is a chain of records, each a line that describes it, a body, and a line with the SHA-256 of all
that stands before. Whatever is cut off, filled up with zeros or glued of two versions does not end in the
right digest. A file that grows gets one more record: what was whole before is the beginning of what is whole
then, as with a log that a partner appends to.
"""

from __future__ import annotations

import hashlib
import json
import random
from dataclasses import dataclass

_HEAD = b"WITNESS "
_TAIL = b"\nSHA256 "
_TAIL_LENGTH = len(_TAIL) + 64 + 1


@dataclass(frozen=True, slots=True)
class Document:
    """One version of a file, as its bytes tell it. version: rises with each one a writer makes, on any path.

    length: bytes of the whole file. sha256: of the whole file, hexadecimal.
    """

    route: str
    path: str
    version: int
    length: int
    sha256: str


def composed(route: str, path: str, version: int, body: int, *, after: bytes = b"") -> bytes:
    """The bytes of a version with `body` bytes that its number seeds; `after`: a whole file that grows."""
    about = {"route": route, "path": path, "version": version, "body": body}
    head = _HEAD + json.dumps(about).encode() + b"\n"
    before = after + head + random.Random(version).randbytes(body)
    return before + _TAIL + hashlib.sha256(before).hexdigest().encode() + b"\n"


def judged(content: bytes) -> Document | None:
    """What this file is; None when it is not whole, or was never one of ours."""
    at, about = 0, None
    running = hashlib.sha256()
    while at < len(content):
        head_ends = content.find(b"\n", at)
        if not content.startswith(_HEAD, at) or head_ends < 0:
            return None
        try:
            about = json.loads(content[at + len(_HEAD) : head_ends])
            ends = head_ends + 1 + about["body"]
        except (ValueError, TypeError, KeyError):
            return None
        running.update(content[at:ends])
        tail = content[ends : ends + _TAIL_LENGTH]
        if tail != _TAIL + running.hexdigest().encode() + b"\n":
            return None
        running.update(tail)
        at = ends + _TAIL_LENGTH
    if about is None:
        return None
    digest = hashlib.sha256(content).hexdigest()
    return Document(about["route"], about["path"], about["version"], len(content), digest)
