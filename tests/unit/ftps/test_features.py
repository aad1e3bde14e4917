"""FEAT as real servers say it, and what is kept between lines."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from workers.ftps.features import Features

PROFTPD = [
    b"Features:",
    b" CCC",
    b" HASH CRC32;MD5;SHA-1*;SHA-256;SHA-512",
    b" MDTM",
    b" MLST modify*;perm*;size*;type*;unique*;",
    b" REST STREAM",
    b" SIZE",
    b" UTF8",
    b" XSHA256",
    b"End",
]


def test_proftpds_features() -> None:
    """Every line is understood; hashes come once each."""
    features = Features.from_feat(PROFTPD)
    assert (features.mlsd, features.size, features.mdtm, features.rest_stream, features.utf8) == (True,) * 5
    assert features.hashes == ("SHA-256", "SHA-512", "SHA-1", "MD5", "CRC32")


def test_vsftpds_features() -> None:
    """No MLST, no hashes."""
    features = Features.from_feat(
        [b"Features:", b" EPSV", b" MDTM", b" REST STREAM", b" SIZE", b" UTF8", b"End"]
    )
    assert not features.mlsd
    assert features.size
    assert features.hashes == ()


@pytest.mark.parametrize("lines", [[], [b"no features"], [b"Features:", b"End"]])
def test_a_server_that_offers_nothing(lines: list[bytes]) -> None:
    """Neither is an error."""
    assert Features.from_feat(lines) == Features()


def test_a_name_inside_a_word_is_no_feature() -> None:
    """REST without STREAM, and a line that only begins like SIZE."""
    features = Features.from_feat([b"", b" REST", b" SIZELESS", b""])
    assert not features.rest_stream
    assert not features.size


@given(st.lists(st.binary(max_size=40)))
def test_features_survive_json(lines: list[bytes]) -> None:
    """What the ledger keeps is what it was given."""
    features = Features.from_feat(lines)
    assert Features.from_json(features.to_json()) == features


@pytest.mark.parametrize("text", ["", "{}", "[]", "null", '{"offered": 3}'])
def test_what_another_version_wrote_is_forgotten(text: str) -> None:
    """FEAT is asked again anyway."""
    assert Features.from_json(text) is None


def test_learned_facts_last_while_the_server_says_the_same() -> None:
    """A refused EPSV is remembered, until FEAT changes."""
    before = Features(offered=("SIZE",), epsv=False)
    assert not Features(offered=("SIZE",)).with_learned(before).epsv
    assert Features(offered=("SIZE", "EPSV")).with_learned(before).epsv
    assert Features().with_learned(None).epsv


def test_what_was_learned_is_told_in_words() -> None:
    """And only that: what FEAT never offered was not refused."""
    assert Features.from_feat([b"", b" SIZE", b""]).learned == ()
    offered = Features.from_feat([b"", b" MLST type*;", b""])
    known = Features(offered.offered, epsv=False, eprt=False, mlsd=False, telnet=True)
    assert [words.split()[0] for words in offered.with_learned(known).learned] == [
        "EPSV",
        "EPRT",
        "MLSD",
        "a",
    ]
    assert Features.from_json(known.to_json()) == known
