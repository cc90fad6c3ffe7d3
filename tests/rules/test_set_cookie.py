from __future__ import annotations

import pytest

from gateway.model import CookieShape
from gateway.rules.set_cookie import clear_cookie, set_cookie

PLAIN = CookieShape(name="gateway_session")
HOST = CookieShape(name="__Host-gateway_session", secure=True, same_site="strict")
WIDE = CookieShape(name="__Secure-s", secure=True, same_site="none", domain="a.example", path="/x")
EPOCH = "Max-Age=0; Expires=Thu, 01 Jan 1970 00:00:00 GMT"


@pytest.mark.parametrize(
    ("shape", "max_age", "expected"),
    [
        (PLAIN, None, "gateway_session=v; Path=/; HttpOnly; SameSite=Lax"),
        (PLAIN, 60.9, "gateway_session=v; Path=/; HttpOnly; SameSite=Lax; Max-Age=60"),
        (PLAIN, -1.0, "gateway_session=v; Path=/; HttpOnly; SameSite=Lax; Max-Age=0"),
        (HOST, None, "__Host-gateway_session=v; Path=/; HttpOnly; Secure; SameSite=Strict"),
        (
            WIDE,
            None,
            "__Secure-s=v; Path=/x; Domain=a.example; HttpOnly; Secure; SameSite=None",
        ),
    ],
)
def test_attributes(shape: CookieShape, max_age: float | None, expected: str) -> None:
    assert set_cookie(shape, "v", max_age=max_age) == expected


@pytest.mark.parametrize("shape", [PLAIN, HOST, WIDE])
def test_a_cookie_is_cleared_with_the_attributes_it_was_set_with(shape: CookieShape) -> None:
    set_with = set_cookie(shape, "", max_age=None)
    assert clear_cookie(shape) == f"{set_with}; {EPOCH}"
