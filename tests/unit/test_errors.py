"""Failures cross process borders unchanged, and say what they are."""

from __future__ import annotations

import json
import pickle

import pytest

from workers import errors

CLASSES = [
    cls
    for cls in vars(errors).values()
    if isinstance(cls, type) and issubclass(cls, errors.TowlineError) and cls.names
]


@pytest.mark.parametrize("cls", CLASSES, ids=lambda cls: cls.__name__)
def test_every_failure_survives_pickling_and_json(cls: type[errors.TowlineError]) -> None:
    """Celery's pools pickle a failure, its JSON backend rebuilds it from its class and arguments."""
    failure = cls(*range(len(cls.names)))
    assert pickle.loads(pickle.dumps(failure)).args == failure.args
    again = cls(*json.loads(json.dumps(failure.args)))
    assert repr(again) == repr(failure)
    assert all(getattr(again, name) == number for number, name in enumerate(cls.names))


def test_a_failure_shows_its_arguments_with_their_names() -> None:
    """This is what Flower shows."""
    failure = errors.ReconnectFailed("bank", 5, 7, 1, 12.5, "ConnectFailed: refused")
    assert repr(failure) == (
        "ReconnectFailed(endpoint='bank', attempts=5, consecutive_failures=7, reconnects=1, "
        "elapsed_s=12.5, last_error='ConnectFailed: refused')"
    )


def test_a_failure_with_too_few_arguments_is_a_mistake() -> None:
    """A count that is left out would shift all the others."""
    with pytest.raises(TypeError, match="takes endpoint, reply"):
        errors.LoginRefused("bank")
