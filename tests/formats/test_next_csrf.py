from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.formats.foreign import Refused, Why
from gateway.formats.next_csrf import TOKEN_BYTES, check, issue
from gateway.formats.npm_cookies import Flavour, encoded, value
from tests.formats.foreign_vectors import Vector, cases, cookies

SECRETS = ["a secret of thirty-two characters"]
FLAVOURS = {
    "next-auth-v4-csrf": Flavour.UNQUOTING,
    "authjs-v5-csrf": Flavour.VERBATIM,
}
ALL = [case for name in FLAVOURS for case in cases(name)]
QUIRKS = [case for name in FLAVOURS for case in cases(name, "quirks")]


def checked(vector: Vector) -> str:
    sent = cookies(vector, FLAVOURS[vector["format"]])
    cookie = sent.get(vector["cookie_name"], "")
    return check(cookie, vector["body"].get("csrfToken"), vector["secrets"])


@pytest.mark.parametrize("vector", ALL)
def test_every_vector(vector: Vector) -> None:
    if vector["kind"] == "valid":
        assert checked(vector) == vector["expected"]["token"]
        return
    with pytest.raises(Refused) as caught:
        checked(vector)
    # One that is huge is not hashed so as to say that its hash is wrong.
    huge = len(vector["cookie_header"]) > 10_000
    assert caught.value.why == (Why.TOO_LARGE if huge else vector["expected_error"]["category"])


@pytest.mark.parametrize("vector", QUIRKS)
def test_every_quirk_is_answered_as_recommended(vector: Vector) -> None:
    assert vector["recommendation"] == "reject"
    with pytest.raises(Refused):
        checked(vector)


def test_what_is_issued_is_what_the_packages_issue() -> None:
    """Their cookies are made again from their own tokens."""
    for case in ALL:
        (vector,) = case.values
        assert isinstance(vector, dict)
        if vector["kind"] == "valid" and vector["title"].startswith("standard"):
            token, cookie = issue(bytes.fromhex(checked(vector)), vector["secrets"])
            assert token == checked(vector)
            assert vector["cookie_header"] == f"{vector['cookie_name']}={encoded(cookie)}"


def test_a_token_opens_with_its_own_form_and_secrets_alone() -> None:
    token, cookie = issue(bytes(range(TOKEN_BYTES)), SECRETS)
    assert value(encoded(cookie).encode(), Flavour.VERBATIM) == cookie
    assert check(cookie, token, SECRETS) == token
    for secrets in ([SECRETS[0], "newer"], ["newer", SECRETS[0]], [SECRETS[0] + ","], []):
        with pytest.raises(Refused) as caught:
            check(cookie, token, secrets)
        assert caught.value.why is Why.BAD_HASH
    for form in (None, "", token[:-1], token + " ", token.upper(), cookie, "é", "\ud800"):
        with pytest.raises(Refused) as caught:
            check(cookie, form, SECRETS)
        assert caught.value.why is Why.MISMATCH


def test_no_changed_cookie_passes() -> None:
    token, cookie = issue(bytes(range(TOKEN_BYTES)), SECRETS)
    for at, character in enumerate(cookie):
        for other in set("0123456789abcdefABCDEF| ") - {character}:
            changed = cookie[:at] + other + cookie[at + 1 :]
            for form in (token, changed.partition("|")[0]):
                with pytest.raises(Refused):
                    check(changed, form, SECRETS)


@given(cookie=st.text(), form=st.none() | st.text())
def test_hostile_text_raises_only_the_documented_error(cookie: str, form: str | None) -> None:
    with pytest.raises(Refused):
        check(cookie, form, SECRETS)
