from __future__ import annotations

import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.model import CookieShape
from gateway.rules import csrf

SECRETS = ("new secret", "old secret")
RANDOM = bytes(range(32))
TOKEN, COOKIE = csrf.new(RANDOM, SECRETS)


def test_a_form_with_the_cookies_token_is_ours() -> None:
    assert RANDOM.hex() == TOKEN
    assert csrf.verify(COOKIE, TOKEN, SECRETS)
    assert csrf.token_of(COOKIE, SECRETS) == TOKEN


def test_an_older_secret_still_verifies_but_does_not_sign() -> None:
    _, old = csrf.new(RANDOM, SECRETS[1:])
    assert csrf.verify(old, TOKEN, SECRETS)
    assert old != COOKIE
    assert not csrf.verify(old, TOKEN, SECRETS[:1])


OTHER_TOKEN, OTHER_COOKIE = csrf.new(bytes(32), SECRETS)


@pytest.mark.parametrize(
    ("cookie", "form"),
    [
        pytest.param(None, TOKEN, id="no cookie"),
        pytest.param(COOKIE, None, id="no field"),
        pytest.param(COOKIE, "", id="empty field"),
        pytest.param("", "", id="both empty"),
        pytest.param("|", "", id="an empty token, unsigned"),
        pytest.param(COOKIE, OTHER_TOKEN, id="a token of another cookie"),
        pytest.param(OTHER_COOKIE, TOKEN, id="a cookie of another token"),
        pytest.param(TOKEN, TOKEN, id="no signature"),
        pytest.param(f"{TOKEN}|", TOKEN, id="empty signature"),
        pytest.param(
            f"{OTHER_TOKEN}|{COOKIE.partition('|')[2]}", OTHER_TOKEN, id="moved signature"
        ),
        pytest.param(COOKIE + "|", TOKEN, id="a third part"),
        pytest.param(COOKIE + "\n", TOKEN, id="a line end"),
        pytest.param(COOKIE.upper(), TOKEN.upper(), id="upper-case"),
        pytest.param(COOKIE, COOKIE, id="the whole cookie as the token"),
        pytest.param(COOKIE, "\ud800", id="half of a surrogate pair"),
    ],
)
def test_anything_else_is_refused(cookie: str | None, form: str | None) -> None:
    assert not csrf.verify(cookie, form, SECRETS)


def test_no_single_changed_character_is_accepted() -> None:
    for at, character in enumerate(COOKIE):
        for other in set(string.hexdigits + "|") - {character}:
            changed = COOKIE[:at] + other + COOKIE[at + 1 :]
            assert csrf.token_of(changed, SECRETS) is None


@given(st.text(), st.text())
def test_hostile_text_is_only_refused(cookie: str, form: str) -> None:
    assert not csrf.verify(cookie, form, SECRETS)


def test_under_https_no_other_host_can_plant_the_cookie() -> None:
    assert csrf.cookie_shape("https://app.example.com") == CookieShape(
        name="__Host-gateway_csrf", secure=True
    )
    assert csrf.cookie_shape("http://localhost:8080") == CookieShape(name="gateway_csrf")
