from __future__ import annotations

from urllib.parse import urljoin

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.rules.rewriting import Rewriting

NOWHERE: frozenset[str] = frozenset()
STRIPPED = Rewriting("/app", "", NOWHERE)
MOVED = Rewriting("/app", "/v1", NOWHERE)
ADDED = Rewriting("", "/v1", NOWHERE)
CALLED = Rewriting("/app", "", frozenset({"10.0.0.5:8000", "Backend"}))

OWN = {"app.example.com", "localhost:8080"}


@pytest.mark.parametrize(
    ("rewriting", "told", "meant"),
    [
        pytest.param(STRIPPED, "/login", "/app/login", id="a path"),
        pytest.param(STRIPPED, "/login?next=/x#y", "/app/login?next=/x#y", id="with a query"),
        pytest.param(STRIPPED, "/", "/app/", id="the root"),
        pytest.param(STRIPPED, "/?a", "/app/?a", id="the root with a query"),
        pytest.param(STRIPPED, "/a/../b", "/app/a/../b", id="dots are the browser's"),
        pytest.param(MOVED, "/v1/login", "/app/login", id="below the other prefix"),
        pytest.param(MOVED, "/v1", "/app", id="the other prefix itself"),
        pytest.param(MOVED, "/v1?a", "/app?a", id="with a query"),
        pytest.param(MOVED, "/v10/login", "/v10/login", id="whole segments only"),
        pytest.param(MOVED, "/login", "/login", id="where no request of the route leads"),
        pytest.param(ADDED, "/v1/login", "/login", id="nothing was stripped"),
        pytest.param(ADDED, "/v1", "/", id="nothing is left"),
        pytest.param(
            STRIPPED, "https://app.example.com/login", "https://app.example.com/app/login", id="URL"
        ),
        pytest.param(
            STRIPPED, "HTTP://APP.example.com:80/x", "HTTP://APP.example.com:80/app/x", id="spelt"
        ),
        pytest.param(STRIPPED, "//localhost:8080/x", "//localhost:8080/app/x", id="no scheme"),
        pytest.param(STRIPPED, "https://app.example.com", "https://app.example.com", id="no path"),
        pytest.param(STRIPPED, "https://app.example.com?a", "https://app.example.com?a", id="?"),
        pytest.param(STRIPPED, "http://app.example.com:443/x", "http://app.example.com:443/x",
                     id="another port"),
        pytest.param(STRIPPED, "https://evil.example/x", "https://evil.example/x", id="another"),
        pytest.param(STRIPPED, "//evil.example/x", "//evil.example/x", id="another, no scheme"),
        pytest.param(STRIPPED, "///x", "///x", id="no host"),
        pytest.param(STRIPPED, "https://app.example.com@evil.example/x",
                     "https://app.example.com@evil.example/x", id="a user like us"),
        pytest.param(STRIPPED, "https://app.example.com.evil.example/x",
                     "https://app.example.com.evil.example/x", id="a longer name"),
        pytest.param(STRIPPED, "mailto:a@b.example", "mailto:a@b.example", id="no place"),
        pytest.param(STRIPPED, "https:/x", "https:/x", id="half a URL"),
        pytest.param(STRIPPED, "", "", id="nothing"),
        pytest.param(STRIPPED, "?a", "?a", id="a query alone"),
        pytest.param(STRIPPED, "next", "/app/a/next", id="relative"),
        pytest.param(STRIPPED, "../next?x", "/app/next?x", id="relative, up"),
        pytest.param(CALLED, "http://10.0.0.5:8000/x", "/app/x", id="the upstream itself"),
        pytest.param(CALLED, "http://backend", "/app/", id="the upstream itself, no path"),
        pytest.param(CALLED, "https://backend:443/x?y", "/app/x?y", id="by https"),
        pytest.param(CALLED, "http://10.0.0.5/x", "http://10.0.0.5/x", id="another port of it"),
        pytest.param(MOVED, "http://10.0.0.5:8000/v1", "http://10.0.0.5:8000/v1",
                     id="which is somebody else where the client's Host is kept"),
    ],
)  # fmt: skip
def test_reference(rewriting: Rewriting, told: str, meant: str) -> None:
    assert rewriting.reference(told, own_hosts=OWN, target="/a/b") == meant


def test_a_relative_reference_begins_where_the_upstream_was_asked() -> None:
    """Clients would begin at their own path: ``/app`` has no directory of its own."""
    assert urljoin("/app", "login") == "/login"
    assert STRIPPED.reference("login", own_hosts=OWN, target="/") == "/app/login"


@pytest.mark.parametrize(
    ("told", "meant"),
    [
        ("5; url=/x", "5; url=/app/x"),
        ("0;URL='/x?a=b'", "0;URL='/app/x?a=b'"),
        ('0; url="/x"', '0; url="/app/x"'),
        ("1.5, /x", "1.5, /app/x"),
        ("5", "5"),
        ("0; url=https://evil.example/x", "0; url=https://evil.example/x"),
        ("0; url=\"/x'", "0; url=\"/x'"),
        ("nonsense", "nonsense"),
    ],
)
def test_refresh(told: str, meant: str) -> None:
    assert STRIPPED.refresh(told, own_hosts=OWN, target="/a/b") == meant


@pytest.mark.parametrize(
    ("rewriting", "told", "meant"),
    [
        pytest.param(STRIPPED, "a=1; Path=/", "a=1; Path=/app", id="everywhere"),
        pytest.param(
            STRIPPED, "a=1; path = /x ; Secure", "a=1; path = /app/x; Secure", id="below"
        ),
        pytest.param(STRIPPED, "a=1; HttpOnly", "a=1; HttpOnly", id="none: the browser's own"),
        pytest.param(STRIPPED, "a=1; Path=", "a=1; Path=", id="empty: the browser's own"),
        pytest.param(STRIPPED, "a=path=/; Path=/", "a=path=/; Path=/app", id="values are left"),
        pytest.param(STRIPPED, "__Host-a=1; Path=/; Secure", "__Host-a=1; Path=/; Secure",
                     id="__Host- needs the root"),
        pytest.param(MOVED, "a=1; Path=/v1", "a=1; Path=/app", id="the other prefix"),
        pytest.param(MOVED, "a=1; Path=/v1/", "a=1; Path=/app/", id="below the other prefix"),
        pytest.param(MOVED, "a=1; Path=/v1/x", "a=1; Path=/app/x", id="further below"),
        pytest.param(MOVED, "a=1; Path=/", "a=1; Path=/", id="wider than the other prefix"),
        pytest.param(ADDED, "a=1; Path=/v1", "a=1; Path=/", id="nothing was stripped"),
    ],
)  # fmt: skip
def test_cookie(rewriting: Rewriting, told: str, meant: str) -> None:
    assert rewriting.cookie(told) == meant


URLISH = st.text(st.sampled_from("/:@?#.\\ax\t[]") | st.characters(max_codepoint=0xFF), max_size=30)


@given(URLISH, st.sampled_from([STRIPPED, MOVED, ADDED, CALLED]))
def test_nothing_becomes_a_place_of_somebody_else(text: str, rewriting: Rewriting) -> None:
    told = rewriting.reference(text, own_hosts=OWN, target="/a/b")
    if told != text:
        assert not told.startswith("//") or text.startswith("//")
        assert told.startswith("/") or told.lower().startswith("http")
    rewriting.refresh(f"0; url={text}", own_hosts=OWN, target="/a/b")
    rewriting.cookie(f"a=b; Path={text}")
