"""The printable form of names."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from workers.names import parsed, printable


@given(st.binary(max_size=60))
def test_every_name_comes_back_from_its_printable_form(name: bytes) -> None:
    """No byte is lost or changed on the way to a person and back."""
    assert parsed(printable(name)) == name


@given(st.binary(max_size=60))
def test_a_printable_form_is_printable(name: bytes) -> None:
    """A name cannot move the cursor of the terminal that shows it, and can be stored as JSON text."""
    shown = printable(name)
    assert shown.isprintable()
    shown.encode("utf-8")


def test_odd_bytes_and_backslashes_are_escaped() -> None:
    """The form that the contract names."""
    assert printable(b"caf\xc3\xa9 \xff\\\n") == r"café \xff\\\x0a"


@pytest.mark.parametrize("shown", ["\\", "a\\b", "\\x4", "\\xg0"])
def test_a_lone_backslash_is_refused(shown: str) -> None:
    """A mistyped escape is an error, not another file's name."""
    with pytest.raises(ValueError, match="lone backslash"):
        parsed(shown)
