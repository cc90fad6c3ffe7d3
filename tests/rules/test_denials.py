from __future__ import annotations

from urllib.parse import parse_qs, urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.errors import Reason
from gateway.model import Challenge, DenialStyle, Deny, Route, WhenDenied
from gateway.rules.denials import Refusal, refuse, sign_in_page
from gateway.rules.redirects import fill_return_to

LOGIN = "/_gateway/auth"
SIGN_IN = f"{LOGIN}/signin?callbackUrl=%2Fapp%3Fx%3D1%26y"
STYLES = list(DenialStyle)
REFUSALS = [reason for reason in Reason if reason is not Reason.METHOD]


def route(style: str = "auto", **pages: str) -> Route:
    return Route(id="r", when_denied=WhenDenied(style=DenialStyle(style), **pages))


def told(
    decision: Challenge | Deny,
    *,
    method: str = "GET",
    navigation: bool = True,
    return_to: str = "/app?x=1&y",
    sign_in: str | None = None,
) -> Refusal:
    return refuse(
        decision,
        method=method,
        navigation=navigation,
        return_to=return_to,
        sign_in=sign_in_page(LOGIN) if sign_in is None else sign_in,
        public_url="https://app.example.com",
    )


def brief(refusal: Refusal) -> str:
    """Say a refusal in a line, as a policy test would."""
    if refusal.location is not None:
        return f"{refusal.status} {refusal.location}"
    return f"{refusal.status} {'page' if refusal.page else 'json'}"


# --- nobody is signed in -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("style", "method", "navigation", "expected"),
    [
        ("auto", "GET", True, f"302 {SIGN_IN}"),
        ("auto", "HEAD", True, f"302 {SIGN_IN}"),
        ("auto", "POST", True, "401 page"),
        ("auto", "PUT", True, "401 page"),
        ("auto", "GET", False, "401 json"),
        ("auto", "POST", False, "401 json"),
        ("auto", "OPTIONS", False, "401 json"),
        ("json", "GET", True, "401 json"),
        ("json", "HEAD", True, "401 json"),
        ("json", "GET", False, "401 json"),
        ("json", "POST", True, "401 json"),
        ("redirect", "GET", True, f"302 {SIGN_IN}"),
        ("redirect", "GET", False, f"302 {SIGN_IN}"),
        ("redirect", "HEAD", False, f"302 {SIGN_IN}"),
        ("redirect", "POST", False, "401 page"),
        ("redirect", "get", False, "401 page"),
    ],
)
def test_somebody_has_to_sign_in(style: str, method: str, expected: str, *, navigation: bool
                                 ) -> None:  # fmt: skip
    refusal = told(Challenge(route=route(style)), method=method, navigation=navigation)

    assert brief(refusal) == expected
    assert refusal.reason is Reason.NOT_SIGNED_IN
    assert refusal.login_url == (SIGN_IN if refusal.status == 401 else None)
    assert refusal.allow == ()


# --- somebody is, and may not --------------------------------------------------------------------


@pytest.mark.parametrize(
    ("style", "navigation", "expected"),
    [
        ("auto", True, "403 page"),
        ("auto", False, "403 json"),
        ("json", True, "403 json"),
        ("json", False, "403 json"),
        ("redirect", True, "403 page"),
        ("redirect", False, "403 page"),
    ],
)
@pytest.mark.parametrize("method", ["GET", "POST"])
def test_somebody_may_not(style: str, method: str, expected: str, *, navigation: bool) -> None:
    decision = Deny(reason=Reason.MISSING_ROLE, route=route(style))
    refusal = told(decision, method=method, navigation=navigation)

    assert brief(refusal) == expected
    assert refusal.login_url is None


@pytest.mark.parametrize("reason", REFUSALS)
def test_the_reason_is_kept(reason: Reason) -> None:
    refusal = told(Deny(reason=reason, route=route()))

    assert (refusal.status, refusal.reason) == (403, reason)


@pytest.mark.parametrize("style", STYLES)
def test_a_method_that_nobody_lists(style: DenialStyle) -> None:
    allow = ("GET", "HEAD")
    with_pages = Route(
        id="r",
        when_denied=WhenDenied(style=style, unauthenticated="/u", forbidden="/f"),
    )

    for decision in (
        Deny(reason=Reason.METHOD, allow=allow),
        Deny(reason=Reason.METHOD, allow=allow, route=with_pages),
    ):
        refusal = told(decision, method="POST")
        assert refusal.status == 405
        assert refusal.allow == allow
        assert refusal.location is None


def test_without_a_route_the_request_says_how_it_is_told() -> None:
    decision = Deny(reason=Reason.METHOD, allow=("GET",))

    assert brief(told(decision, navigation=True)) == "405 page"
    assert brief(told(decision, navigation=False)) == "405 json"


# --- the operator's own pages --------------------------------------------------------------------

OWN = {
    "unauthenticated": "https://app.example.com/login?next={return_to}",
    "forbidden": "/sorry?from={return_to}&again={return_to}",
}
NEXT = "https://app.example.com/login?next=%2Fapp%3Fx%3D1%26y"
SORRY = "/sorry?from=%2Fapp%3Fx%3D1%26y&again=%2Fapp%3Fx%3D1%26y"
CHALLENGE = Challenge(route=route(**OWN))
DENY = Deny(reason=Reason.MISSING_ROLE, route=route(**OWN))


@pytest.mark.parametrize(
    ("decision", "method", "navigation", "expected"),
    [
        pytest.param(CHALLENGE, "GET", True, f"302 {NEXT}", id="sign in there"),
        pytest.param(CHALLENGE, "POST", True, "401 page", id="no redirect for a form"),
        pytest.param(CHALLENGE, "GET", False, "401 json", id="nor for a program"),
        pytest.param(DENY, "GET", True, f"302 {SORRY}", id="explained there"),
        pytest.param(DENY, "HEAD", True, f"302 {SORRY}", id="HEAD as GET"),
        pytest.param(DENY, "POST", True, "403 page", id="a form gets no redirect"),
        pytest.param(DENY, "GET", False, "403 json", id="a program gets none"),
        pytest.param(
            Challenge(route=route("json", **OWN)), "GET", True, "401 json", id="json stays json"
        ),
        pytest.param(
            Deny(reason=Reason.DENIED, route=route("redirect", forbidden="/f")),
            "GET", False, "302 /f", id="redirect whoever asks",
        ),
        pytest.param(
            Deny(reason=Reason.DENIED, route=route(unauthenticated="/u")),
            "GET", True, "403 page", id="one page does not stand for the other",
        ),
        pytest.param(
            Challenge(route=route(forbidden="/f")),
            "GET", True, f"302 {SIGN_IN}", id="nor the other way",
        ),
    ],
)  # fmt: skip
def test_pages_of_the_operator_s_own(
    decision: Challenge | Deny, method: str, expected: str, *, navigation: bool
) -> None:
    assert brief(told(decision, method=method, navigation=navigation)) == expected


def test_a_program_is_told_where_to_sign_in() -> None:
    assert told(CHALLENGE, navigation=False).login_url == NEXT


def test_a_sign_in_page_of_the_operator_s_own_is_named_at_once() -> None:
    page = "https://id.example.org/?to={return_to}"
    there = "https://id.example.org/?to=https%3A%2F%2Fapp.example.com%2Fapp%3Fx%3D1%26y"

    challenge = Challenge(route=route())
    assert told(challenge, sign_in=page).location == there
    assert told(challenge, sign_in=page, method="POST").login_url == there
    assert told(challenge, sign_in=page, navigation=False).login_url == there
    assert told(CHALLENGE, sign_in=page).location == NEXT  # a route's own comes first


# --- the way back --------------------------------------------------------------------------------


@given(st.text(alphabet=st.characters(codec="utf-8")))
def test_the_way_back_is_one_parameter(return_to: str) -> None:
    url = fill_return_to(sign_in_page(LOGIN), return_to, "https://app.example.com")
    parts = urlsplit(url)

    assert url.isascii()
    assert url.isprintable()
    assert parts.path == f"{LOGIN}/signin"
    assert parse_qs(parts.query, keep_blank_values=True) == {"callbackUrl": [return_to]}


@given(st.text(alphabet=st.characters(codec="utf-8")))
def test_nothing_in_the_way_back_leaves_its_place(return_to: str) -> None:
    location = told(CHALLENGE, return_to=return_to).location

    assert location is not None
    assert parse_qs(urlsplit(location).query, keep_blank_values=True) == {"next": [return_to]}
    assert urlsplit(location).netloc == "app.example.com"
