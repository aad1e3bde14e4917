"""The same version again: in another format, with another precision of its time, and after it went."""

from __future__ import annotations

import pytest

from tests.unit.ledger.scene import ROUTE, TARGET, Scene
from workers.ledger import Appeared

MLSD = 1_700_000_123.25  # of a server that tells fractions
LIST = 1_700_000_100.0  # the same in whole minutes


@pytest.mark.parametrize(
    ("modified", "precision_s", "same"),
    [
        (MLSD, 0.001, True),
        (float(int(MLSD)), 1.0, True),
        (LIST, 60.0, True),
        (None, 0.0, True),
        (MLSD + 1, 0.001, False),
        (LIST + 3600, 60.0, False),
    ],
    ids=["the same", "seconds", "minutes", "no time told", "a second later", "another hour"],
)
def test_a_published_version_is_known_again(
    scene: Scene, modified: float | None, precision_s: float, same: bool
) -> None:
    """Listed anew or asked for by name: within the coarser precision of the two times it is the same file."""
    scene.apply([Appeared(b"/a", 10, MLSD, 0.001, None, ready=True)])
    scene.publish(scene.claim_one())
    admitted = scene.ledger.claims.admit(ROUTE, TARGET, b"/a", 10, modified, precision_s, None)
    assert (admitted is None) == same
    scene.apply([Appeared(b"/a", 10, modified, precision_s, None, ready=True)])
    assert len(scene.ledger.history.explain(ROUTE, b"/a").versions) == (1 if same else 2)
    assert bool(scene.claim()) != same


def test_times_and_names_come_back_as_they_were_told(scene: Scene) -> None:
    """No database rounds a fraction of a second, or takes two names for one."""
    composed, decomposed, odd = "/é".encode(), "/e\u0301".encode(), b"/\xff\x01 \\"
    scene.apply(Appeared(name, 10, MLSD, 0.001, None, ready=True) for name in (composed, decomposed, odd))
    known = scene.known()
    assert set(known) == {composed, decomposed, odd}
    assert {one.modified for one in known.values()} == {MLSD}
    assert {one.precision_s for one in known.values()} == {0.001}
