"""The programme: every item of a run, at one of three sizes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from tests.bench.pace import Pace
from tests.bench.turns import BARE, FLEET, MADE_SAFE, OTHERS, RUN
from tests.bench.work import Item, Work, mixed, same
from tests.servers.server import TlsVersion

KIB, MIB, GIB = 2**10, 2**20, 2**30
NO_FSYNC = "towline run, no fsync"
OURS = (RUN, NO_FSYNC, "towline's protocol alone")
# Who knows what it has fetched before; and who does not, and lists.
WITH_A_MEMORY = (RUN, "lftp", "rclone", "rclone (Debian)")
# Who stands for all in the quick run.
FEW = (
    RUN,
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


# Who stands for whom where minutes are given, and who has one turn there, being no part of a bar.
STOOD_FOR = {
    "curl -Z": "not asked: with one line it is curl",
    "rclone (Debian)": "not asked in a run of given minutes: the newer rclone is",
    "ftplib": "not asked in a run of given minutes: ftplib, resuming, is",
}
IN_TIME = Pace(
    rounds=9, slow=1.5, hopeless=2.0, least_limit_s=10.0, once=(NO_FSYNC, "towline's protocol alone")
)
QUICK = Scale("quick", 32 * MIB, 100, 0, 0, 2_000, 0, 320 * MIB, 2)
STANDARD = Scale("standard", 256 * MIB, 2_000, 200, 400, 100_000, 100, GIB, 5)
FULL = Scale("full", GIB, 2_000, 200, 400, 100_000, 200, 20 * GIB, 9)
# What a run of given minutes is made of: the sizes that the bars name.
BARS = Scale("bars", GIB, 2_000, 0, 0, 100_000, 200, 20 * GIB, 2)


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
            yield Item(work, server, tls, 1, (*everybody, MADE_SAFE), syscalls=not quick)
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
    yield from memory(scale)


def bars(scale: Scale) -> Iterator[Item]:
    """The items that the bars are about; the seconds each would like to have for four turns or so."""
    down = Work("small-down", f"{scale.small:,} × 10 KiB, down", "down", same(scale.small, 10 * KIB))
    up = Work("small-up", f"{scale.small:,} × 10 KiB, up", "up", same(scale.small, 10 * KIB))
    big_down = Work("big-down", f"one file of {_amount(scale.big)}, down", "down", (scale.big,))
    big_up = Work("big-up", f"one file of {_amount(scale.big)}, up", "up", (scale.big,))
    far = Work("small-far", f"{scale.far} × 10 KiB, down", "down", same(scale.far, 10 * KIB))
    polled = Work("poll", f"nothing new among {scale.listed:,} known files", "poll", same(scale.listed, 0))
    others = ("pycurl", "curl", "rclone", BARE, "ftplib, resuming", "lftp")
    one_line = (RUN, NO_FSYNC, "towline's protocol alone", *others)
    for server in SERVERS:
        with_fleet = (RUN, FLEET, *one_line[1:])
        yield _bar(down, server, with_fleet, 220)
        yield _bar(up, server, (RUN, *one_line[2:]), 170)
        yield _bar(big_down, server, (*one_line, MADE_SAFE), 115)
        yield _bar(big_up, server, (RUN, *one_line[2:], MADE_SAFE), 100)
    for server, tls in BEST[::2]:
        side_by_side = (RUN, "curl -Z", "rclone", "lftp", BARE)
        yield Item(far, server, tls, 1, (RUN,), far_ms=100, profiled=True, seconds=240)
        yield Item(far, server, tls, 4, side_by_side, far_ms=100, profiled=True, seconds=120)
    yield _bar(polled, "vsftpd", (RUN, BARE, "lftp", "rclone"), 150, {})
    yield Item(down, "pure-ftpd", "1.2", 4, (RUN, "pycurl", "rclone", "curl -Z", BARE, "lftp"), seconds=100)
    yield from memory(scale)


def memory(scale: Scale) -> Iterator[Item]:
    """A large file and a much larger one, for the highest mark of memory."""
    for size in (scale.huge // 20, scale.huge):
        name = f"memory-{_amount(size).replace(' ', '-')}"
        work = Work(name, f"one file of {_amount(size)}", "down", (size,))
        yield Item(work, "vsftpd", "1.3", 1, (RUN,), seconds=10 + 10 * size / GIB)


def _bar(
    work: Work, server: str, who: tuple[str, ...], seconds: float, left_out: Mapping[str, str] = STOOD_FOR
) -> Item:
    return Item(work, server, BEST_TLS[server], 1, who, profiled=True, left_out=left_out, seconds=seconds)


def _offers() -> Iterator[tuple[str, TlsVersion]]:
    for server in SERVERS:
        for tls in TLS:
            yield server, tls


def _amount(size: int) -> str:
    return f"{size // GIB} GiB" if size >= GIB else f"{size // MIB} MiB"
