"""A scripted server in a process of its own, every line of which is ended at its first NOOP.

`python -m tests.faults.ending_process CA CHAIN KEY explicit|implicit` says its port, and ends with its stdin.
"""

from __future__ import annotations

import sys
from itertools import cycle
from pathlib import Path

from tests.faults import acts
from tests.faults.dialogue import Talk
from tests.faults.scripted import ScriptedServer
from tests.servers.certificates import Certificates
from tests.servers.server import TlsMode

ENDS = cycle((acts.farewell(), acts.close, acts.reset_line))


def end(talk: Talk, argument: bytes) -> None:
    """One of the ways in which lines end, each in its turn; of lines that are over nothing is kept."""
    del talk.server.talks[:-4]
    talk.server.troubles.clear()
    talk.server.commands.clear()
    next(ENDS)(talk, argument)


def main() -> None:
    ca_file, chain, key = map(Path, sys.argv[1:4])
    tls: TlsMode = "implicit" if sys.argv[4] == "implicit" else "explicit"
    certificates = Certificates(ca_file, chain, key, chain, "")
    with ScriptedServer(certificates, {"NOOP": end}, tls=tls, files={b"/a.bin": b"a"}) as server:
        print(server.port, flush=True)
        sys.stdin.read()


if __name__ == "__main__":
    main()
