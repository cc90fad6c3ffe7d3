from __future__ import annotations

import time
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.errors import BadCookie
from gateway.formats.sealed import HANDLE_BYTES, NONCE_BYTES, KeyRing, key_for, seal, unseal
from gateway.model import ANONYMOUS, SealedSession, SessionId, User

NAME = "gateway_session"
OLD, NEW, OTHER = ("an old secret of 32 characters!!", "a new secret of 32 characters!!!", "x" * 32)
RING = KeyRing([NEW], NAME)
NONCE = bytes(range(NONCE_BYTES))
HANDLE = bytes(range(HANDLE_BYTES))
BASE64URL = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
ADA = SealedSession(
    key=key_for(HANDLE),
    id=SessionId("AAECAwQFBgcICQoLDA0ODw"),
    user=User(id="ada", provider="corp", name="Ada Ł.", email="ada@example.com", roles=("admin",)),
    created_at=1000.25,
    ends_at=5000.25,
    touched_at=1500.5,
    expires_at=2000.5,
    data={"theme": "dark", "much": 2**80, "deep": {"list": [1, None, "ł"]}},
    handle=HANDLE,
    since=1000.25,
)
VISITOR = replace(ADA, user=ANONYMOUS, data={}, remembered=False)


@pytest.mark.parametrize("session", [ADA, VISITOR, replace(ADA, data={})], ids=str)
def test_a_sealed_session_is_opened_as_it_was(session: SealedSession) -> None:
    assert unseal(seal(session, RING, NONCE), RING, now=1600.0) == session


def test_the_cookie_tells_nothing_of_who_has_it() -> None:
    text = seal(ADA, RING, NONCE)
    assert set(text) <= set(BASE64URL)
    assert "ada" not in text.lower()
    assert text != seal(ADA, RING, bytes(NONCE_BYTES))
    assert HANDLE.hex() not in repr(ADA)


def test_a_usual_session_fits_into_a_few_hundred_characters() -> None:
    assert len(seal(replace(ADA, data={}), RING, NONCE)) < 350


@pytest.mark.parametrize(
    ("now", "opens"),
    [
        pytest.param(2000.4, True, id="before its end"),
        pytest.param(2000.5, False, id="over on the second"),
        pytest.param(float("nan"), False, id="a clock that is broken"),
    ],
)
def test_a_session_that_is_over_does_not_open(now: float, *, opens: bool) -> None:
    text = seal(ADA, RING, NONCE)
    if opens:
        assert unseal(text, RING, now=now) == ADA
    else:
        with pytest.raises(BadCookie):
            unseal(text, RING, now=now)


@pytest.mark.parametrize(
    ("sealed", "secrets", "opens"),
    [
        pytest.param([OLD], [OLD], True, id="the same"),
        pytest.param([OLD], [NEW, OLD], True, id="an older one"),
        pytest.param([OLD], [OTHER, NEW, OLD], True, id="the oldest of three"),
        pytest.param([NEW, OLD], [OLD, NEW], True, id="where the order is another still"),
        pytest.param([NEW, OLD], [OLD], False, id="the first one seals"),
        pytest.param([OLD], [NEW], False, id="one that was removed"),
    ],
)
def test_the_first_secret_seals_and_all_open(
    sealed: list[str], secrets: list[str], *, opens: bool
) -> None:
    text = seal(ADA, KeyRing(sealed, NAME), NONCE)
    if opens:
        assert unseal(text, KeyRing(secrets, NAME), now=1600.0) == ADA
    else:
        with pytest.raises(BadCookie):
            unseal(text, KeyRing(secrets, NAME), now=1600.0)


def test_a_session_of_one_cookie_is_nothing_in_another() -> None:
    text = seal(ADA, KeyRing([NEW], "staging_session"), NONCE)
    with pytest.raises(BadCookie):
        unseal(text, RING, now=1600.0)


def test_no_single_changed_character_is_accepted() -> None:
    # Enumerated, not drawn: the spare bits of the last one are easily forgotten.
    for session in (ADA, replace(ADA, data={"a": 1}), replace(ADA, data={"a": 11})):
        text = seal(session, RING, NONCE)
        for at, character in enumerate(text):
            others = set(BASE64URL) - {character} if at > len(text) - 3 else {"A", "_", "="}
            for other in others - {character}:
                with pytest.raises(BadCookie):
                    unseal(text[:at] + other + text[at + 1 :], RING, now=1600.0)


@given(st.integers(0, 400), st.integers(0, 400))
def test_nothing_cut_out_of_a_cookie_opens(begin: int, end: int) -> None:
    text = seal(ADA, RING, NONCE)
    part = text[begin:end]
    if part != text:
        with pytest.raises(BadCookie):
            unseal(part, RING, now=1600.0)


@given(st.permutations(range(4)), st.integers(1, 100))
def test_pieces_in_another_order_do_not_open(order: list[int], size: int) -> None:
    text = seal(ADA, RING, NONCE)
    pieces = [text[:size], text[size : 2 * size], text[2 * size : 3 * size], text[3 * size :]]
    shuffled = "".join(pieces[number] for number in order)
    if shuffled == text:
        assert unseal(shuffled, RING, now=1600.0) == ADA
    else:
        with pytest.raises(BadCookie):
            unseal(shuffled, RING, now=1600.0)


@given(st.integers(1, 300))
def test_two_cookies_mixed_do_not_open(at: int) -> None:
    eve = replace(ADA, user=replace(ADA.user, id="eve", roles=()))
    texts = [seal(ADA, RING, NONCE), seal(eve, RING, bytes(NONCE_BYTES))]
    for one, other in (texts, reversed(texts)):
        mixed = one[:at] + other[at:]
        if mixed not in texts:  # they begin alike
            with pytest.raises(BadCookie):
                unseal(mixed, RING, now=1600.0)


@given(st.text() | st.text(alphabet=BASE64URL, max_size=600) | st.binary().map(bytes.hex))
def test_hostile_text_raises_only_the_documented_error(text: str) -> None:
    with pytest.raises(BadCookie):
        unseal(text, RING, now=1600.0)


@pytest.mark.parametrize(
    "text",
    [
        pytest.param("", id="nothing"),
        pytest.param("A" * 100_000, id="oversized"),
        pytest.param(
            seal(ADA, RING, NONCE)[:8] + "A" * 15_000, id="a header of ours, then rubbish"
        ),
        pytest.param("é" * 15_000, id="no ASCII"),
        pytest.param("A" * 15_000 + "!", id="almost base64url"),
        pytest.param("\ud800" * 100, id="no text at all"),
    ],
)
def test_a_hostile_cookie_is_refused_in_less_than_a_millisecond(text: str) -> None:
    taken = []
    for _ in range(20):
        began = time.perf_counter()
        with pytest.raises(BadCookie):
            unseal(text, RING, now=1600.0)
        taken.append(time.perf_counter() - began)
    assert min(taken) < 0.001


@pytest.mark.parametrize("random", [b"", bytes(NONCE_BYTES - 1), bytes(NONCE_BYTES + 1)])
def test_sealing_needs_exactly_its_random_bytes(random: bytes) -> None:
    with pytest.raises(ValueError, match="random bytes"):
        seal(ADA, RING, random)
