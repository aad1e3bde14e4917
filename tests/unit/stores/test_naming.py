"""Which names a server may give our files."""

from __future__ import annotations

import pytest

from workers.stores.naming import NameRefused, below, numbered, parts


@pytest.mark.parametrize(
    "path",
    [
        b"/out/../x",
        b"/out/..",
        b"/out/.",
        b"/out/",
        b"/out//etc/passwd",
        b"/out/a/../../x",
        b"/out/a//b",
        b"/out/a\0b",
        b"/out/a\rb",
        b"/out/a\nb",
        b"/out/" + b"n" * 256,
        b"/out/.towline-abc",
        b"/elsewhere/x",
        b"/outside/x",
        b"x",
    ],
)
def test_names_that_lead_elsewhere_are_refused_with_a_reason(path: bytes) -> None:
    """Nothing that a server says becomes a path outside the route's folder (field note 40)."""
    with pytest.raises(NameRefused) as caught:
        below(b"/out", path)
    assert caught.value.reason
    assert "\n" not in str(caught.value)


def test_an_absolute_name_says_that_it_is_absolute() -> None:
    """The reason names the fault that a reader sees."""
    with pytest.raises(NameRefused, match="absolute"):
        parts(b"/etc/passwd")


@pytest.mark.parametrize(
    "name", [b" a ", b"\xff\xfe", b"n" * 255, b"a\\b", b"...", b"-rf", b"sub/a", b"\x1b"]
)
def test_all_other_names_are_bytes_on_disk(name: bytes) -> None:
    """Blanks, other encodings and 255 bytes are taken as they come."""
    assert below(b"/out", b"/out/" + name) == name
    assert below(b"/", b"/" + name) == name


def test_versions_are_numbered_before_the_last_suffix() -> None:
    """name.xml → name.2.xml, as configuration promises; without a suffix the number goes to the end."""
    assert numbered(b"name.xml", 2) == b"name.2.xml"
    assert numbered(b"sub.d/name", 3) == b"sub.d/name.3"
    assert numbered(b"a.tar.gz", 2) == b"a.tar.2.gz"
    assert numbered(b".profile", 2) == b".profile.2"
    assert numbered(b"\xff.x%d", 2) == b"\xff.2.x%d"
