"""Deadlines that have to fit into one another."""

from __future__ import annotations

import pytest

from tests.unit.settings.conftest import Load
from workers.errors import ConfigurationError
from workers.settings import check_time_budget

FITS = [
    ("", ""),
    ("", 'connect_timeout = "59s"'),
    ('poll_soft_limit = "61s"', ""),
    ('poll_soft_limit = "345s"', ""),
    ('visibility_timeout = "450s"', ""),
]
WRONG = [
    (
        "",
        'connect_timeout = "60s"',
        "[endpoints.bank]",
        ['connect_timeout = "1m"', 'reconnect.within = "1m"'],
        "shorten",
    ),
    (
        "",
        'reconnect = { within = "10s" }',
        "[endpoints.bank]",
        ['"10s"', "connect_timeout"],
        "lengthen reconnect.within",
    ),
    (
        'poll_soft_limit = "60s"',
        "",
        "[endpoints.bank]",
        ["reconnect.within", "poll_soft_limit"],
        "lengthen poll_soft",
    ),
    (
        'poll_soft_limit = "346s"',
        "",
        "[towline]",
        ['poll_soft_limit = "346s"', 'poll_hard_limit = "6m"'],
        '"361s"',
    ),
    (
        'visibility_timeout = "449s"',
        "",
        "[towline]",
        ['"449s"', 'poll_hard_limit = "6m"', 'stop_grace = "30s"'],
        '"450s"',
    ),
    (
        'stop_grace = "1h"',
        "",
        "[towline]",
        ['visibility_timeout = "1h"', 'stop_grace = "1h"'],
        'timeout "67m"',
    ),
]


@pytest.mark.parametrize(("towline", "endpoint"), FITS)
def test_a_budget_that_just_fits_is_accepted(loaded: Load, towline: str, endpoint: str) -> None:
    """The defaults, and each limit to the second."""
    check_time_budget(loaded(towline=towline, endpoint=endpoint))


@pytest.mark.parametrize(("towline", "endpoint", "where", "values", "remedy"), WRONG)
def test_a_budget_that_does_not_fit_names_both_values_and_the_remedy(
    loaded: Load, towline: str, endpoint: str, where: str, values: list[str], remedy: str
) -> None:
    """The table, the two keys with what they are set to, and what to change."""
    with pytest.raises(ConfigurationError) as caught:
        check_time_budget(loaded(towline=towline, endpoint=endpoint))
    assert caught.value.args[0].endswith(where)
    assert all(value in caught.value.args[1] for value in values)
    assert remedy in caught.value.args[2]
