"""The programme: every item of a run, at one of three sizes."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from tests.bench.turns import BARE, FLEET, OTHERS
from tests.bench.work import Item, Work, mixed, same
from tests.servers.server import TlsVersion

KIB, MIB, GIB = 2**10, 2**20, 2**30
NO_FSYNC = "towline run, no fsync"
OURS = ("towline run", NO_FSYNC, "towline's protocol alone")
# Who knows what it has fetched before; and who does not, and lists.
WITH_A_MEMORY = ("towline run", "lftp", "rclone", "rclone (Debian)")
# Who stands for all in the quick run.
FEW = (
    "towline run",
    "towline's protocol alone",
    "curl",
    "lftp",
    "rclone",
    "pycurl",
    "ftplib, resuming",
    BARE,
)
SERVERS = ("vsftpd", "proftpd", "pure-ftpd")
TLS: tuple[TlsVersion, ...] = ("1.2", "1.3")
# The newest version under which each server resumes data sessions (field note 21c).
BEST_TLS: dict[str, TlsVersion] = {"vsftpd": "1.3", "proftpd": "1.3", "pure-ftpd": "1.2"}
BEST = tuple(BEST_TLS.items())


@dataclass(frozen=True, slots=True)
class Scale:
    """How much of everything. big, huge: bytes of one file; the others: numbers of files."""

    name: str
    big: int
    small: int
    medium: int
    mixed: int
    listed: int
    far: int
    huge: int
    repeat: int


QUICK = Scale("quick", 32 * MIB, 100, 0, 0, 2_000, 0, 256 * MIB, 2)
STANDARD = Scale("standard", 256 * MIB, 2_000, 200, 400, 100_000, 100, GIB, 5)
FULL = Scale("full", GIB, 2_000, 200, 400, 100_000, 200, 20 * GIB, 9)


def programme(scale: Scale) -> Iterator[Item]:
    """All items. In the quick one each kind of work stands once or twice."""
    big_down = Work("big-down", f"one file of {_amount(scale.big)}, down", "down", (scale.big,))
    big_up = Work("big-up", f"one file of {_amount(scale.big)}, up", "up", (scale.big,))
    small_down = Work("small-down", f"{scale.small:,} × 10 KiB, down", "down", same(scale.small, 10 * KIB))
    small_up = Work("small-up", f"{scale.small:,} × 10 KiB, up", "up", same(scale.small, 10 * KIB))
    medium = Work("medium-down", f"{scale.medium} × 1 MiB, down", "down", same(scale.medium, MIB))
    mix = Work("mixed-down", f"{scale.mixed} files of mixed sizes, down", "down", mixed(scale.mixed, 4 * MIB))
    listed = Work("list", f"a listing of {scale.listed:,} entries", "list", same(scale.listed, 0))
    polled = Work("poll", f"nothing new among {scale.listed:,} known files", "poll", same(scale.listed, 0))
    quick = scale is QUICK
    everybody = FEW if quick else (*OURS, *OTHERS, BARE)
    for server, tls in BEST[2:] if quick else _offers():
        for work in (small_down, small_up):
            fleet = (FLEET,) if work.direction == "down" else ()
            yield Item(work, server, tls, 1, everybody[:1] + fleet + everybody[1:], syscalls=not quick)
    for server, tls in BEST[:1] if quick else _offers():
        for work in (big_down, big_up):
            yield Item(work, server, tls, 1, everybody, syscalls=not quick)
    side_by_side = tuple(name for name in everybody if name != "curl")
    for server in ("pure-ftpd",) if quick else SERVERS:
        for lines in (4,) if quick else (2, 4, 8):
            yield Item(small_down, server, BEST_TLS[server], lines, side_by_side)
    if not quick:
        yield Item(medium, "vsftpd", "1.3", 1, everybody)
        yield Item(mix, "proftpd", "1.3", 1, everybody)
        yield Item(medium, "vsftpd", "1.3", 4, side_by_side)
        yield Item(mix, "proftpd", "1.3", 4, side_by_side)
    for server in ("proftpd",) if quick else SERVERS:
        yield Item(listed, server, BEST_TLS[server], 1, tuple(one for one in everybody if one != NO_FSYNC))
        yield Item(polled, server, BEST_TLS[server], 1, (*WITH_A_MEMORY, BARE))
    far = Work("small-far", f"{scale.far} × 10 KiB, down", "down", same(scale.far, 10 * KIB))
    for server in () if quick else ("vsftpd", "pure-ftpd"):
        for far_ms in (20, 100):
            for lines in (1, 4):
                who = everybody if lines == 1 else side_by_side
                yield Item(far, server, BEST_TLS[server], lines, who, far_ms=far_ms)
    for size in (64 * MIB, scale.huge):
        work = Work(
            f"memory-{_amount(size).replace(' ', '-')}", f"one file of {_amount(size)}", "down", (size,)
        )
        yield Item(work, "vsftpd", "1.3", 1, ("towline run",))


def _offers() -> Iterator[tuple[str, TlsVersion]]:
    for server in SERVERS:
        for tls in TLS:
            yield server, tls


def _amount(size: int) -> str:
    return f"{size // GIB} GiB" if size >= GIB else f"{size // MIB} MiB"
