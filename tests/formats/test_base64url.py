from __future__ import annotations

from base64 import urlsafe_b64encode

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.formats.base64url import decode, encode

ALPHABET = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"


@given(st.binary())
def test_what_was_encoded_is_decoded(raw: bytes) -> None:
    assert encode(raw).encode() == urlsafe_b64encode(raw).rstrip(b"=")
    assert decode(encode(raw)) == raw


@given(st.text(ALPHABET, max_size=12) | st.text(max_size=12) | st.text("AQgw-_+/= \n", max_size=9))
def test_bytes_have_one_spelling(text: str) -> None:
    try:
        raw = decode(text)
    except ValueError:
        return
    assert encode(raw) == text


@pytest.mark.parametrize("rest", ["AA", "AAA"])
def test_every_spelling_of_the_last_character_but_one_is_refused(rest: str) -> None:
    taken = [last for last in ALPHABET if _decodes(rest[:-1] + last)]
    assert len(taken) == {2: 4, 3: 16}[len(rest)]


@pytest.mark.parametrize(
    "text",
    ["A", "AAAAA", "AB", "AAB", "AA==", "A+A/", "AA A", "AAAA\n", "AA!A", "é", "AAAé", "="],
)  # fmt: skip
def test_another_spelling_is_refused(text: str) -> None:
    assert not _decodes(text)


def _decodes(text: str) -> bool:
    try:
        decode(text)
    except ValueError:
        return False
    return True
