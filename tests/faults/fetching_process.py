"""A process that claims and fetches once, and clears the sources: `python -m tests.faults.fetching_process`.

On stdin, pickled: what a Fetching is made of, and `hold_s` of the sources it takes. It is killed at the crash
point that TOWLINE_CRASH_AT names; without one it ends with 0.
"""

from __future__ import annotations

import pickle
import sys

from tests.servers.fetching import Fetching

if __name__ == "__main__":
    server, folder, keys = pickle.load(sys.stdin.buffer)
    hold_s = keys.pop("hold_s", 60.0)
    one = Fetching(server, folder, **keys)
    one.fetch()
    one.clear(hold_s)
