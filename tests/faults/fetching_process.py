"""A process that claims and fetches once: `python -m tests.faults.fetching_process`.

On stdin, pickled: what a Fetching is made of. It is killed at the crash point that TOWLINE_CRASH_AT names;
without one it ends with 0.
"""

from __future__ import annotations

import pickle
import sys

from tests.servers.fetching import Fetching

if __name__ == "__main__":
    server, folder, keys = pickle.load(sys.stdin.buffer)
    Fetching(server, folder, **keys).fetch()
