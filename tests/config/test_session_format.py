"""``session.format``: which cookie it makes, and who gets it."""

from __future__ import annotations

import pytest

from gateway.config.config import SessionConfig
from gateway.config.load import load
from gateway.model import CookieShape

CONFIG = """\
version: 1
server: {{public_url: {url}}}
upstreams: {{app: "http://127.0.0.1:3000", other: "http://127.0.0.1:3001"}}
defaults: {{upstream: app}}
session: {{strategy: jwt, secret: 0123456789abcdef0123456789abcdef, {more}}}
"""
HTTP, HTTPS = "http://localhost", "https://app.example.com"


def read(more: str, url: str = HTTP) -> SessionConfig:
    return load(CONFIG.format(url=url, more=more), "config.yaml", {}).session


@pytest.mark.parametrize(
    ("more", "url", "shape"),
    [
        pytest.param(
            "format: nextauth",
            HTTP,
            CookieShape(name="next-auth.session-token", piece=3933),
            id="next-auth 4",
        ),
        pytest.param(
            "format: nextauth",
            HTTPS,
            CookieShape(name="__Secure-next-auth.session-token", secure=True, piece=3933),
            id="next-auth 4 with https",
        ),
        pytest.param(
            "format: authjs",
            HTTP,
            CookieShape(name="authjs.session-token", piece=3936),
            id="Auth.js 5",
        ),
        pytest.param(
            "format: authjs",
            HTTPS,
            CookieShape(name="__Secure-authjs.session-token", secure=True, piece=3936),
            id="Auth.js 5 with https",
        ),
        pytest.param(
            "format: authjs, cookie: {name: ours}",
            HTTPS,
            CookieShape(name="__Secure-ours", secure=True, piece=3936),
            id="as the app calls it",
        ),
        pytest.param(
            "format: gateway",
            HTTPS,
            CookieShape(name="__Host-gateway_session", secure=True),
            id="our own",
        ),
    ],
)
def test_the_cookie_is_the_framework_s(more: str, url: str, shape: CookieShape) -> None:
    assert read(more, url).cookie == shape


@pytest.mark.parametrize(
    ("more", "upstreams"),
    [
        ("format: gateway", set()),
        ("format: nextauth", {"app"}),
        ("format: nextauth, forward_to: [other]", {"other"}),
        ("format: authjs, forward_to: [other, app]", {"other", "app"}),
        ("format: authjs, forward_to: []", set()),
    ],
)
def test_the_cookie_goes_to_the_upstreams_that_are_named(more: str, upstreams: set[str]) -> None:
    assert read(more).forward_to == upstreams
