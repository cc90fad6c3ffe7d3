"""The gateway's own sessions as cookies that another framework reads."""

from __future__ import annotations

from dataclasses import replace
from os import urandom
from types import ModuleType
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.config.build import session as session_settings
from gateway.errors import BadCookie
from gateway.formats import authjs, nextauth
from gateway.formats.framework_cookie import OURS, FrameworkSeal
from gateway.formats.sealed import key_for
from gateway.model import ANONYMOUS, SealedSession, SessionId, User

OLD, NEW = "an old secret of 32 characters!!", "a new secret of 32 characters!!!"
NAME = "__Secure-session-token"
HANDLE = bytes(range(16))
ADA = SealedSession(
    key=key_for(HANDLE),
    id=SessionId("an-id-of-22-characters"),
    user=User(id="ada", provider="corp", name="Ada L.", email="ada@example.com", roles=("admin",)),
    created_at=1000.25,
    ends_at=9000.25,
    touched_at=1500.75,
    expires_at=1600.75,
    data={"cart": ["tea"]},
    handle=HANDLE,
    since=1000.5,
)
IDLE = 100.0

each_format = pytest.mark.parametrize("codec", [nextauth, authjs], ids=["nextauth", "authjs"])


def seal_of(codec: ModuleType, *secrets: str, name: str = NAME) -> FrameworkSeal:
    return FrameworkSeal(codec, secrets or (NEW,), name, idle_timeout=IDLE)


def claims_of(codec: ModuleType, text: str, now: float = 1500.0) -> dict[str, Any]:
    """Return what the framework finds in a token."""
    claims: dict[str, Any] = codec.open(text, codec.Keys([NEW], NAME), now).claims
    return claims


def reissued(codec: ModuleType, claims: dict[str, Any], *, now: float, max_age: float) -> str:
    """Return the token that the framework makes of claims, as on every call."""
    text: str = codec.seal(
        claims,
        codec.Keys([NEW], NAME),
        now=now,
        max_age=max_age,
        jti="another",
        iv=urandom(codec.IV_BYTES),
    )
    return text


@each_format
def test_a_session_is_read_back_as_it_was(codec: ModuleType) -> None:
    ring = seal_of(codec)
    for session in (
        ADA,
        replace(ADA, remembered=False, data={}),
        replace(ADA, user=User(id="bob", provider="local", permissions=("reports:read",))),
        replace(ADA, user=replace(ADA.user, name="山田 👩🏽‍🚀", image="https://example.com/a.png")),
    ):
        assert ring.unseal(ring.seal(session, urandom), now=1550.0) == session


@each_format
def test_the_framework_finds_the_claims_that_it_issues_itself(codec: ModuleType) -> None:
    claims = claims_of(codec, seal_of(codec).seal(ADA, urandom))
    del claims[OURS], claims["jti"]
    assert claims == {
        "name": "Ada L.",
        "email": "ada@example.com",
        "picture": None,
        "sub": "ada",
        "roles": ["admin"],
        "iat": 1500,
        "exp": 1600,
    }


@each_format
def test_two_tokens_of_a_session_differ_in_their_name_alone(codec: ModuleType) -> None:
    ring = seal_of(codec)
    first, second = (claims_of(codec, ring.seal(ADA, urandom)) for _ in range(2))
    assert first.pop("jti") != second.pop("jti")
    assert first == second


@each_format
def test_an_older_secret_still_opens(codec: ModuleType) -> None:
    text = seal_of(codec, OLD).seal(ADA, urandom)
    assert seal_of(codec, NEW, OLD).unseal(text, now=1550.0) == ADA
    with pytest.raises(BadCookie):
        seal_of(codec, NEW).unseal(text, now=1550.0)


@each_format
@pytest.mark.parametrize(
    ("issued", "max_age", "touched", "expires"),
    [
        pytest.param(1540.0, 5000.0, 1540.0, 1640.0, id="used, by our idle timeout"),
        pytest.param(1540.0, 30.0, 1540.0, 1570.0, id="a shorter life than ours"),
        pytest.param(1500.0, 5000.0, 1500.75, 1600.75, id="in the same second"),
        pytest.param(1400.0, 5000.0, 1500.75, 1600.75, id="a clock that is slow"),
        pytest.param(1560.0, 5000.0, 1550.0, 1650.0, id="a clock that is fast"),
    ],
)
def test_a_token_that_the_app_issued_anew_is_the_session_used_by_then(
    codec: ModuleType, issued: float, max_age: float, touched: float, expires: float
) -> None:
    ring = seal_of(codec)
    claims = claims_of(codec, ring.seal(ADA, urandom))
    text = reissued(codec, claims | {"theirs": [1, {"deep": None}]}, now=issued, max_age=max_age)
    read = ring.unseal(text, now=1550.0)
    assert read == replace(ADA, touched_at=touched, expires_at=expires)


@each_format
def test_no_app_lengthens_a_session_beyond_its_end(codec: ModuleType) -> None:
    ring = seal_of(codec)
    claims = claims_of(codec, ring.seal(ADA, urandom))
    text = reissued(codec, claims, now=8990.0, max_age=5000.0)
    assert ring.unseal(text, now=8995.0).expires_at == ADA.ends_at
    with pytest.raises(BadCookie):
        ring.unseal(text, now=ADA.ends_at)


@each_format
def test_a_session_is_over_at_the_second_for_which_the_framework_still_bears_with_it(
    codec: ModuleType,
) -> None:
    ring = seal_of(codec)
    text = ring.seal(ADA, urandom)
    assert claims_of(codec, text, now=1610.0)
    assert ring.unseal(text, now=1600.7) == ADA
    with pytest.raises(BadCookie):
        ring.unseal(text, now=1600.75)


OWN = {
    "handle": "AAECAwQFBgcICQoLDA0ODw",
    "id": "an-id",
    "provider": "local",
    "created_at": 1000.0,
    "ends_at": 9000.0,
    "touched_at": 1500.0,
    "expires_at": 1600.0,
    "since": 1000.0,
}


@each_format
@pytest.mark.parametrize(
    "claims",
    [
        pytest.param({"sub": "ada", "roles": ["admin"]}, id="the app's own sign-in"),
        pytest.param({"sub": "ada", OURS: None}, id="nothing of ours"),
        pytest.param({"sub": "", OURS: OWN}, id="nobody"),
        pytest.param({OURS: OWN}, id="no subject"),
        pytest.param({"sub": 7, OURS: OWN}, id="a number for a subject"),
        pytest.param({"sub": "ada", "roles": "admin", OURS: OWN}, id="roles that are no list"),
        pytest.param({"sub": "ada", "roles": [1], OURS: OWN}, id="a role that is no name"),
        pytest.param({"sub": "ada", OURS: OWN | {"handle": "AAEC"}}, id="a short handle"),
        pytest.param({"sub": "ada", OURS: OWN | {"handle": "§"}}, id="a handle of other letters"),
        pytest.param({"sub": "ada", OURS: OWN | {"ends_at": "late"}}, id="an end that is no time"),
    ],
)
def test_a_token_that_the_gateway_did_not_begin_is_no_session(
    codec: ModuleType, claims: dict[str, Any]
) -> None:
    text = reissued(codec, claims, now=1500.0, max_age=100.0)
    with pytest.raises(BadCookie):
        seal_of(codec).unseal(text, now=1550.0)


def test_these_claims_are_refused_for_their_faults_alone() -> None:
    for codec in (nextauth, authjs):
        text = reissued(codec, {"sub": "ada", OURS: OWN}, now=1500.0, max_age=100.0)
        assert seal_of(codec).unseal(text, now=1550.0).user.id == "ada"


@each_format
@given(st.text(max_size=200))
def test_hostile_text_raises_only_the_documented_error(codec: ModuleType, text: str) -> None:
    with pytest.raises(BadCookie):
        seal_of(codec).unseal(text, now=1550.0)


@each_format
def test_no_single_changed_character_is_accepted(codec: ModuleType) -> None:
    ring = seal_of(codec)
    text = ring.seal(ADA, urandom)
    for at, character in enumerate(text):
        for other in set("Ab0_-.") - {character}:
            with pytest.raises(BadCookie):
                ring.unseal(text[:at] + other + text[at + 1 :], now=1550.0)


@each_format
def test_a_visitor_whom_nobody_knows_gets_no_token(codec: ModuleType) -> None:
    with pytest.raises(ValueError, match="signed in"):
        seal_of(codec).seal(replace(ADA, user=ANONYMOUS), urandom)


def test_cookies_are_named_and_cut_as_the_frameworks_do() -> None:
    for name, codec in (("nextauth", nextauth), ("authjs", authjs)):
        framework = session_settings._FRAMEWORKS[name]
        assert (framework.cookie, framework.piece) == (codec.COOKIES[0], codec.PIECE)
