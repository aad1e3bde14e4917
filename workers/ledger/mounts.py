"""Is a folder on a network file system? SQLite's WAL lives in shared memory, which two hosts do not share."""

from __future__ import annotations

import re
from pathlib import Path

NETWORK_FILE_SYSTEMS = frozenset(
    {
        *("afs", "beegfs", "ceph", "cifs", "coda", "gfs2", "glusterfs", "gpfs", "lustre", "ncpfs"),
        *("nfs", "nfs4", "ocfs2", "orangefs", "pvfs2", "smb3", "smbfs"),
        *("fuse.ceph", "fuse.cephfs", "fuse.glusterfs", "fuse.s3fs", "fuse.sshfs"),
    }
)

_OCTAL = re.compile(r"\\([0-7]{3})")


def network_file_system(path: Path, mountinfo: str | None = None) -> str | None:
    """The kind of network file system that holds `path` ("nfs4"), or None where the disk is this host's own.

    mountinfo: the text of /proc/self/mountinfo (proc(5)), read from there when left out; where there is no
    /proc, nothing is known and nothing refused.
    """
    if mountinfo is None:
        try:
            mountinfo = Path("/proc/self/mountinfo").read_text(encoding="utf-8", errors="surrogateescape")
        except OSError:
            return None
    place = path.resolve()
    found, depth = None, -1
    for line in mountinfo.splitlines():
        front, _, back = line.partition(" - ")
        fields, kinds = front.split(), back.split()
        if len(fields) < 5 or not kinds:
            continue
        # Blanks in a mount point are written as \040.
        point = Path(_OCTAL.sub(lambda octal: chr(int(octal[1], 8)), fields[4]))
        # A later mount on the same point hides the earlier one: >=.
        if place.is_relative_to(point) and len(point.parts) >= depth:
            found, depth = kinds[0], len(point.parts)
    return found if found in NETWORK_FILE_SYSTEMS else None
