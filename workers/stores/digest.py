"""The digest of an open file, by the name that FTP's HASH has for its algorithm."""

from __future__ import annotations

import hashlib
import os
import zlib

_BLOCK = 1 << 20


def file_digest(file: int, algorithm: str) -> str:
    """Read the whole file of this descriptor; "SHA-512", "MD5", "CRC32", … → hexadecimal. Raises OSError."""
    checksum, at = 0, 0
    other = None if algorithm == "CRC32" else hashlib.new(algorithm.replace("-", ""), usedforsecurity=False)
    while block := os.pread(file, _BLOCK, at):
        at += len(block)
        if other is None:
            checksum = zlib.crc32(block, checksum)
        else:
            other.update(block)
    return f"{checksum:08x}" if other is None else other.hexdigest()
