"""A sender that freezes past its lease and thaws, while another sends its file: nothing is added to it."""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from tests.servers.pushing import Pushing
from tests.servers.server import FtpServer
from tests.waiting import wait_until


@pytest.mark.parametrize(
    "resumes",
    [pytest.param(True, id="resume_uploads"), pytest.param(False, id="begun anew", marks=pytest.mark.long)],
)
def test_a_sender_that_thaws_adds_nothing_to_what_another_has_sent(
    start_server: Callable[..., FtpServer], tmp_path: Path, resumes: bool
) -> None:
    """It was appending to what had been sent before; the server writes that at the end, by whatever name."""
    server = start_server("pyftpdlib")
    content = os.urandom(4_000_000)

    def opened() -> Pushing:
        return Pushing(server, tmp_path / "towline", resume_uploads=resumes)

    with closing(opened()) as slow, closing(opened()) as quick:
        slow.put("a", content)
        slow.poll()

        asked = 0

        def stopped_in_the_middle(_: int) -> bool:
            """Between two blocks, when more than these bytes were sent: they come there sooner or later."""
            nonlocal asked
            asked += 1
            if asked == 6:
                wait_until(lambda: any(len(part) > 500_000 for part in slow.files().values()))
                slow.stop.begin(0.0)
            return True

        assert slow.push(holds=stopped_in_the_middle).published == 0
        slow.stop.clear()
        target = slow.route.target
        taken = slow.ledger.claims.claim("orders", target, files=9, bytes=1 << 40, lease_s=0.0)
        sent: list[int] = []
        blocks = 0

        def overtaken(_: int) -> bool:
            """Frozen at its third block; what it sends once more is on its way before it asks again."""
            nonlocal blocks
            blocks += 1
            if blocks == 3:
                sent.append(quick.push().published)
            return blocks < 6

        assert slow.push(taken, holds=overtaken).published == 0
        assert sent == [1]
        assert slow.files()["a"] == content
        assert slow.states() == {"a": "FINISHED"}
