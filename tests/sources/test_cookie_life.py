"""Cookies of other frameworks as the gateway sets them."""

from __future__ import annotations

import pytest

from gateway.sources.cookie_life import cleared, prolonged


@pytest.mark.parametrize(
    ("name", "secure"),
    [("sid", False), ("__Secure-x", True), ("__Host-x", True), ("x__Secure-", False)],
)
def test_a_prefix_asks_for_secure(name: str, secure: bool) -> None:
    for line in (prolonged(name, "v", 0.0), cleared(name)):
        attributes = line.split("; ")[1:]
        assert {"Path=/", "HttpOnly", "SameSite=Lax"} <= set(attributes)
        assert ("Secure" in attributes) == secure
        assert not any(attribute.startswith("Domain") for attribute in attributes)


def test_until_when_a_cookie_is_kept() -> None:
    assert prolonged("a", "b", 1795200000.0) == (
        "a=b; Path=/; Expires=Fri, 20 Nov 2026 18:40:00 GMT; HttpOnly; SameSite=Lax"
    )
    assert cleared("a").startswith("a=; Path=/; Max-Age=0; ")
