"""Real servers from Debian's packages, unpacked beside the checkout and never installed.

The packages exclude each other and would start daemons, so each is fetched with `apt-get download` and
unpacked with `dpkg -x` into a tree of its own below a cache folder ($TOWLINE_TEST_CACHE, else
~/.cache/towline-tests).
Shared libraries that the machine lacks come the same way. Nothing of the machine is changed.

`python -m tests.servers.packages` fetches those that the ordinary run wants.
"""

from __future__ import annotations

import fcntl
import os
import platform
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

# Debian puts ProFTPD's TLS modules (mod_tls, mod_tls_shmcache) into a package of their own since Debian 11.
PACKAGES: dict[str, tuple[str, ...]] = {
    "vsftpd": ("vsftpd", "libpam-modules"),
    "proftpd": ("proftpd-core", "proftpd-mod-crypto"),
    "pure-ftpd": ("pure-ftpd", "pure-ftpd-common"),
    "redis": ("redis-tools", "redis-server"),  # the latter's program is a link into the former
    "rabbitmq": (
        "rabbitmq-server",
        "erlang-base",
        "erlang-asn1",
        "erlang-crypto",
        "erlang-eldap",
        "erlang-inets",
        "erlang-mnesia",
        "erlang-os-mon",
        "erlang-parsetools",
        "erlang-public-key",
        "erlang-runtime-tools",
        "erlang-ssl",
        "erlang-syntax-tools",
        "erlang-tools",
        "erlang-xmerl",
    ),
    "curl": ("curl",),
    "lftp": ("lftp",),
    "rclone": ("rclone",),
}
PROGRAMS: dict[str, tuple[str, ...]] = {
    "vsftpd": ("usr/sbin/vsftpd", "lib/*/security/pam_unix.so", "lib/*/security/pam_permit.so"),
    "proftpd": ("usr/sbin/proftpd", "usr/lib/proftpd/mod_tls.so", "usr/lib/proftpd/mod_digest.so"),
    "pure-ftpd": ("usr/sbin/pure-ftpd", "usr/bin/pure-pw"),
    "redis": ("usr/bin/redis-server",),
    "rabbitmq": (
        "usr/lib/erlang/erts-*/bin/beam.smp",
        "usr/lib/erlang/erts-*/bin/epmd",
        "usr/lib/erlang/lib/crypto-*/priv/lib/crypto.so",
    ),
    "curl": ("usr/bin/curl",),
    "lftp": ("usr/bin/lftp",),
    "rclone": ("usr/bin/rclone",),
}
# What only the benchmark compares with; it fetches them when it needs them.
CLIENTS = ("curl", "lftp", "rclone")
# Fetched by the first test that wants it: only `make test-all` does.
RARE = ("rabbitmq",)

FRESH_S = 3600.0  # lists of the archive older than that are fetched anew


class Unavailable(Exception):
    """The server's packages can't be had on this machine; the message says why."""


def cache_folder() -> Path:
    """Where the trees live, one set a distribution release and architecture."""
    chosen = os.environ.get("TOWLINE_TEST_CACHE")
    folder = Path(chosen) if chosen else Path.home() / ".cache" / "towline-tests"
    try:
        release = platform.freedesktop_os_release()
    except OSError:
        release = {}
    folder = folder / f"{release.get('ID', 'unknown')}-{release.get('VERSION_ID', '0')}-{platform.machine()}"
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def tree(server: str) -> Path:
    """The unpacked tree of one server, fetched at first use. Raises Unavailable."""
    folder = cache_folder()
    final = folder / server
    if final.is_dir():
        return final
    with locked(folder / "lock"):
        if not final.is_dir():  # somebody else may have fetched it while we waited
            _fetch(server, folder, final)
    return final


def program(root: Path, pattern: str) -> Path:
    """One file of a tree; `*` stands for the multiarch folder. Raises Unavailable."""
    for found in root.glob(pattern):
        return found
    raise Unavailable(f"{root.name}: the package holds no {pattern}")


def libraries(root: Path, file: Path) -> dict[str, Path | None]:
    """The shared libraries `file` needs, by soname, and where each is; the loader under its full path."""
    told = subprocess.run(["ldd", file], env=environment(root), capture_output=True, text=True, check=False)
    found: dict[str, Path | None] = {}
    for line in told.stdout.splitlines():
        if arrow := re.match(r"\s*(\S+) => (not found|\S+)", line):
            found[arrow[1]] = None if arrow[2] == "not found" else Path(arrow[2])
        elif loader := re.match(r"\s*(/\S+) \(", line):
            found[loader[1]] = Path(loader[1])
    return found


def environment(root: Path) -> dict[str, str]:
    """The environment in which a program of this tree finds its libraries."""
    multiarch = f"{platform.machine()}-linux-gnu"
    places = [root / "usr/lib" / multiarch, root / "lib" / multiarch, root / "usr/lib", root / "lib"]
    found = ":".join(str(place) for place in places if place.is_dir())
    return {**os.environ, "LD_LIBRARY_PATH": found}


def _fetch(server: str, folder: Path, final: Path) -> None:
    for tool in ("apt-get", "dpkg", "ldd"):
        if shutil.which(tool) is None:
            raise Unavailable(
                f"{server}: this machine has no {tool}; the servers come from Debian's packages"
            )
    with tempfile.TemporaryDirectory(prefix=f"{server}.", dir=folder) as scratch:
        downloads, unpacked = Path(scratch) / "debs", Path(scratch) / "tree"
        downloads.mkdir()
        for package in PACKAGES[server]:
            _unpack([package], downloads, unpacked, folder)
        # Libraries can need libraries, so look again until nothing is missing.
        for _ in range(8):
            missing = _missing_libraries(server, unpacked)
            if not missing:
                break
            for soname in sorted(missing):
                _unpack(_packages_of(soname), downloads, unpacked, folder)
        else:
            raise Unavailable(f"{server}: libraries still missing: {', '.join(sorted(missing))}")
        unpacked.rename(final)


def _unpack(candidates: list[str], downloads: Path, unpacked: Path, folder: Path) -> None:
    """Fetches and unpacks the first of these packages that the archive knows."""
    said = ""
    for options in ([], _private_lists(folder)):
        fresh = folder / "apt" / "fresh"
        if options and not (fresh.exists() and time.time() - fresh.stat().st_mtime < FRESH_S):
            # The machine's own lists are empty or too old.
            failed = _run(["apt-get", *options, "update"], downloads)
            if failed is None:
                fresh.touch()
            said = failed or said
        for package in candidates:
            for old in downloads.glob("*.deb"):
                old.unlink()
            failed = _run(["apt-get", *options, "download", package], downloads)
            if failed is None:
                for archive in downloads.glob("*.deb"):
                    subprocess.run(["dpkg", "-x", archive, unpacked], check=True)
                return
            said = failed
    raise Unavailable(f"{candidates[0]}: apt-get could not fetch it: {said}")


def _private_lists(folder: Path) -> list[str]:
    """Options that keep apt's lists in our own folder: `update` needs no root then and changes nothing."""
    lists = folder / "apt"
    (lists / "lists" / "partial").mkdir(parents=True, exist_ok=True)
    return ["-o", f"Dir::State::lists={lists}/lists", "-o", f"Dir::Cache={lists}"]


def _run(command: list[str], folder: Path) -> str | None:
    """None when the command succeeded, else the last line it said."""
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False, timeout=300)
    if done.returncode == 0:
        return None
    lines = (done.stderr or done.stdout).strip().splitlines()
    return lines[-1] if lines else f"exit code {done.returncode}"


def _missing_libraries(server: str, unpacked: Path) -> set[str]:
    files = [program(unpacked, pattern) for pattern in PROGRAMS[server]]
    return {soname for file in files for soname, place in libraries(unpacked, file).items() if place is None}


def _packages_of(soname: str) -> list[str]:
    """The names Debian's policy (8.1) allows for the package of a shared library, likeliest first."""
    stem, _, version = soname.lower().replace("_", "-").partition(".so.")
    dash = "-" if stem[-1].isdigit() else ""
    return [f"{stem}{dash}{version}", f"{stem}{dash}{version}t64"]


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Runs at the same time must not unpack into each other, nor change the machine together."""
    with path.open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def main() -> int:
    """Fetches every server of the ordinary run; says where each is, or why it can't be had."""
    failed = 0
    for server in (name for name in PACKAGES if name not in (*CLIENTS, *RARE)):
        try:
            print(f"{server}: {tree(server)}")
        except Unavailable as why:
            failed = 1
            print(f"{server}: not available: {why}", file=sys.stderr)
    return failed


if __name__ == "__main__":
    sys.exit(main())
