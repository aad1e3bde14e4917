"""What one task is told to move."""

from __future__ import annotations

from workers.counting import Tally


def test_batches_add_up_until_a_size_is_not_known() -> None:
    """A total that leaves a file out would be passed by the bytes that come."""
    tally = Tally()
    tally.expects([3, 4])
    tally.expects([5])
    assert (tally.total_files, tally.total_bytes) == (3, 12)
    tally.expects([1, None])
    tally.expects([1])
    assert (tally.total_files, tally.total_bytes) == (6, None)
