"""What the run was made on: figures of another machine are other figures."""

from __future__ import annotations

import os
import platform
import re
import ssl
from datetime import UTC, datetime
from pathlib import Path

import psutil


def description() -> dict[str, str]:
    """Processor, memory, disk, system; without the machine's name."""
    model = re.search(r"^model name\s*:\s*(.+)$", _read("/proc/cpuinfo"), re.MULTILINE)
    try:
        system = platform.freedesktop_os_release().get("PRETTY_NAME", platform.system())
    except OSError:
        system = platform.system()
    return {
        "date": datetime.now(UTC).date().isoformat(),
        "processor": f"{os.cpu_count()} × {model[1] if model else platform.machine()}",
        "memory": f"{psutil.virtual_memory().total / 2**30:.0f} GiB",
        "file system": _file_system(Path("/tmp")),
        "system": f"{system}, Linux {platform.release().partition('-')[0]}",
        "Python": f"{platform.python_version()}, {ssl.OPENSSL_VERSION}",
        "load before": f"{os.getloadavg()[0]:.2f}",
    }


def _file_system(path: Path) -> str:
    mounts = [line.split() for line in _read("/proc/mounts").splitlines()]
    holding = [fields for fields in mounts if path == Path(fields[1]) or Path(fields[1]) in path.parents]
    return max(holding, key=lambda fields: len(fields[1]))[2] if holding else "unknown"


def _read(path: str) -> str:
    try:
        return Path(path).read_text(errors="replace")
    except OSError:
        return ""
