from __future__ import annotations

import hashlib
import os
import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.formats.token import (
    TOKEN_BYTES,
    checked,
    itself_for,
    itself_of,
    key_of,
    key_of_any,
    new_session_id,
    new_token,
)

BASE64URL = string.ascii_uppercase + string.ascii_lowercase + string.digits + "-_"


@pytest.mark.parametrize(
    ("random", "token"),
    [
        pytest.param(bytes(32), "A" * 43, id="all zeros"),
        pytest.param(b"\xff" * 32, "_" * 42 + "8", id="all ones"),
        pytest.param(b"\xfb\xef\xbe" * 10 + b"\xfb\xef", "--" * 20 + "--8", id="not base64's +"),
    ],
)
def test_a_token_is_its_random_bytes_in_base64url(random: bytes, token: str) -> None:
    assert new_token(random) == token


@pytest.mark.parametrize(
    ("random", "session_id"),
    [(bytes(16), "A" * 22), (b"\xff" * 16, "D" + "_" * 21)],
)
def test_a_public_id_is_its_random_bytes_in_base64url(random: bytes, session_id: str) -> None:
    assert new_session_id(random) == session_id


@given(st.binary(min_size=16, max_size=16))
def test_a_public_id_never_looks_like_an_option(random: bytes) -> None:
    assert len(new_session_id(random)) == 22
    assert new_session_id(random)[0] in "ABCD"


def test_public_ids_of_different_bytes_differ() -> None:
    ids = {new_session_id((1 << bit).to_bytes(16, "big")) for bit in range(128)}
    assert len(ids) == 128


@pytest.mark.parametrize("length", [0, 16, 31, 33])
def test_too_little_or_too_much_randomness_is_refused(length: int) -> None:
    with pytest.raises(ValueError, match="32 random bytes"):
        new_token(bytes(length))


@given(st.binary(min_size=32, max_size=32))
def test_the_key_of_a_token_is_its_sha256(random: bytes) -> None:
    token = new_token(random)
    assert key_of(token) == hashlib.sha256(token.encode("ascii")).hexdigest()


@pytest.mark.parametrize(
    "text",
    [
        pytest.param("", id="empty"),
        pytest.param("A" * 42, id="one short"),
        pytest.param("A" * 44, id="one long"),
        pytest.param("A" * 43 + "=", id="padded"),
        pytest.param("A" * 43 + "\n", id="a line end behind it"),
        pytest.param(" " + "A" * 43, id="a space before it"),
        pytest.param("A" * 42 + "B", id="another spelling of the same bytes"),
        pytest.param("+" * 42 + "A", id="base64's other alphabet"),
        pytest.param("Ａ" * 43, id="full-width letters"),
        pytest.param("٣" * 43, id="digits of another script"),
        pytest.param("\ud800" * 43, id="half a character"),
        pytest.param("A" * 100_000, id="oversized"),
    ],
)
def test_what_is_no_token_has_no_key(text: str) -> None:
    assert key_of(text) is None


def test_a_token_has_one_spelling() -> None:
    token = new_token(os.urandom(32))
    taken = [last for last in BASE64URL if key_of(token[:-1] + last) is not None]
    assert taken == [c for at, c in enumerate(BASE64URL) if at % 4 == 0]


@given(st.text())
def test_hostile_text_raises_nothing(text: str) -> None:
    assert key_of(text) is None or len(text) == 43


@pytest.mark.parametrize(
    ("token", "fits"),
    [
        pytest.param("abcdefghijklmnop", True, id="16 characters"),
        pytest.param("abcdefghijklmno", False, id="15 characters"),
        pytest.param("Az09-._~" * 64, True, id="512 characters"),
        pytest.param("Az09-._~" * 64 + "x", False, id="513 characters"),
        pytest.param("abcdefghijklmnop=", False, id="another character"),
        pytest.param("abcdefghijklmnop\n", False, id="a line's end"),
        pytest.param("", False, id="nothing"),
    ],
)
def test_what_an_operators_generator_may_make(token: str, fits: bool) -> None:
    assert (key_of_any(token) is not None) is fits
    if fits:
        assert checked(token) == token
        assert key_of_any(token) == hashlib.sha256(token.encode()).hexdigest()
    else:
        with pytest.raises(ValueError, match="16 to 512"):
            checked(token)


@pytest.mark.parametrize("made", [None, b"abcdefghijklmnop", 7, "a" * 40, "ababababababababab"])
def test_what_is_no_text_or_has_too_few_characters_is_no_token(made: object) -> None:
    with pytest.raises(ValueError, match="expected"):
        checked(made)


@given(st.binary(min_size=32, max_size=32))
def test_tokens_of_ours_stay_good_beside_an_operators(random: bytes) -> None:
    token = new_token(random)
    assert key_of_any(token) == key_of(token)


def test_an_app_finds_a_session_under_the_token_itself() -> None:
    token = new_token(bytes(range(TOKEN_BYTES)))
    assert itself_of(token) == itself_for(token)
    assert str(itself_for(token)) == token


@pytest.mark.parametrize(
    "text", ["", "x" * 42 + "b", "76b7cb84-bc5b-4aa3-b55e-101bfc87d659", "a" * 44]
)
def test_what_is_no_token_of_ours_is_asked_of_no_app(text: str) -> None:
    assert itself_of(text) is None
