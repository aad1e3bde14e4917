"""What docs/promise.md says of the soak is what the soak has written down."""

from __future__ import annotations

from tests.soak import page


def test_the_page_says_what_the_soaks_have_found() -> None:
    """Made anew from the results, it is the same; and there is a result, with every set empty."""
    results = page.read()
    assert page.written(page.PAGE.read_text(), results) == page.PAGE.read_text()
    assert max(one["versions"] for one in results) >= 3_000
    assert {count for one in results for count in one["sets"].values()} == {0}


def test_a_result_takes_the_place_of_an_earlier_one_of_its_length() -> None:
    """So the page shows the newest of each."""
    short, long, again = ({"versions": count, "seed": count} for count in (3_000, 30_000, 3_000))
    again["seed"] = 7
    assert page.added([long, short], again) == [again, long]
