from __future__ import annotations

import string
from pathlib import Path
from urllib.parse import urljoin, urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.rules.redirects import fill_return_to, safe_return_to

PUBLIC = "https://app.example.com"
CORPUS = Path(__file__).parent.parent / "corpora" / "redirects.txt"


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        pytest.param(None, "/", id="none given"),
        pytest.param("", "/", id="empty"),
        pytest.param("/", "/", id="home"),
        pytest.param("/app", "/app", id="a path"),
        pytest.param("/app/", "/app/", id="a path with a trailing slash"),
        pytest.param("/app?a=1&b=2", "/app?a=1&b=2", id="a path with a query"),
        pytest.param("/?a=/../b//c", "/?a=/../b//c", id="a query is nobody's path"),
        pytest.param(
            "/app?next=https://evil.example", "/app?next=https://evil.example", id="inner"
        ),
        pytest.param("/app#top", "/app", id="a fragment is dropped"),
        pytest.param("/a%2Fb", "/a%2Fb", id="escapes stay"),
        pytest.param("/@evil", "/@evil", id="an at sign in a path is only a character"),
        pytest.param("/...", "/...", id="three dots are a name"),
        pytest.param("/caf\u00e9?q=\u00e4 b", "/caf%C3%A9?q=%C3%A4%20b", id="percent-encoded"),
        pytest.param('/a"<b>', "/a%22%3Cb%3E", id="what could end an attribute"),
        pytest.param("/\u2028", "/%E2%80%A8", id="line separator"),
        pytest.param(PUBLIC, "/", id="our origin"),
        pytest.param(PUBLIC + "/app?a=1#x", "/app?a=1", id="a URL of our origin"),
        pytest.param(PUBLIC + "?a=1", "/?a=1", id="our origin with a query"),
        pytest.param(PUBLIC + "#x", "/", id="our origin with a fragment"),
        pytest.param("HTTPS://App.Example.Com/app", "/app", id="origins have no case"),
        pytest.param("/" + "a" * 2047, "/" + "a" * 2047, id="2048 characters"),
        pytest.param("/" + "a" * 2048, "/", id="2049 characters"),
        pytest.param("/" + "\u00e9" * 400, "/", id="too long once encoded"),
    ],
)
def test_return_addresses(value: str | None, expected: str) -> None:
    assert safe_return_to(value, PUBLIC) == expected


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("/_gateway/auth/signout", "/"),
        ("/_gateway/auth/signin?callbackUrl=/app", "/"),
        ("/_gateway/auth", "/"),
        ("/_gateway/%61uth/signout", "/"),
        (PUBLIC + "/_gateway/auth/signout?x", "/"),
        ("/_gateway/authors", "/_gateway/authors"),
        ("/app?x=/_gateway/auth/signout", "/app?x=/_gateway/auth/signout"),
    ],
)
def test_nobody_returns_to_the_sign_in_pages(value: str, expected: str) -> None:
    assert safe_return_to(value, PUBLIC, login_path="/_gateway/auth") == expected


def test_a_port_belongs_to_the_origin() -> None:
    assert safe_return_to("http://localhost:8080/app", "http://localhost:8080") == "/app"
    assert safe_return_to("http://localhost:80801/app", "http://localhost:8080") == "/"
    assert safe_return_to("http://localhost:8080@evil/", "http://localhost:8080") == "/"


def hostile() -> list[str]:
    lines = CORPUS.read_text(encoding="ascii").split("\n")
    return [
        line.encode().decode("unicode_escape")
        for line in lines
        if line.strip() and not line.startswith("# ")
    ]


@pytest.mark.parametrize("value", hostile(), ids=ascii)
def test_the_hostile_corpus_leads_home(value: str) -> None:
    assert safe_return_to(value, PUBLIC) == "/"


def test_the_corpus_is_read() -> None:
    assert len(hostile()) > 100


PIECES = st.one_of(
    st.sampled_from(["/", "//", "\\", "..", ".", "@", ":", "?", "#", "%2f", "%5c", "%2e", "\t"]),
    st.sampled_from(["\n", " ", "evil.example", "https:", "javascript:", PUBLIC, "app", "\u3002"]),
    st.text(max_size=5),
)
ADDRESSES = st.lists(PIECES, max_size=8).map("".join)


@given(ADDRESSES)
def test_whatever_comes_out_is_a_path_of_our_origin(value: str) -> None:
    result = safe_return_to(value, PUBLIC)
    assert result.startswith("/")
    assert not result.startswith("//")
    assert set(result) <= set(string.printable) - set(string.whitespace) - {"\\", '"', "<", ">"}
    assert len(result) <= 2048
    resolved = urlsplit(urljoin(PUBLIC + "/_gateway/auth/signin", result))
    assert (resolved.scheme, resolved.netloc) == ("https", "app.example.com")


@given(ADDRESSES)
def test_a_safe_address_stays_as_it_is(value: str) -> None:
    once = safe_return_to(value, PUBLIC)
    assert safe_return_to(once, PUBLIC) == once
    assert safe_return_to(PUBLIC + once, PUBLIC) == once


@given(st.text(string.ascii_letters + string.digits + "-_~", min_size=1).map(lambda s: "/" + s))
def test_ordinary_paths_survive(path: str) -> None:
    assert safe_return_to(path, PUBLIC) == path


@pytest.mark.parametrize(
    ("template", "expected"),
    [
        pytest.param(
            "https://app.example.com/login?next={return_to}",
            "https://app.example.com/login?next=%2Fa%3Fb%3D1%26c",
            id="our origin gets a path",
        ),
        pytest.param(
            "/login?next={return_to}", "/login?next=%2Fa%3Fb%3D1%26c", id="so does a path"
        ),
        pytest.param(
            "https://login.example.com/?next={return_to}",
            "https://login.example.com/?next=https%3A%2F%2Fapp.example.com%2Fa%3Fb%3D1%26c",
            id="another origin gets a URL",
        ),
        pytest.param(
            "https://app.example.com.id.example/?next={return_to}",
            "https://app.example.com.id.example/"
            "?next=https%3A%2F%2Fapp.example.com%2Fa%3Fb%3D1%26c",
            id="a name that begins like ours is another origin",
        ),
        pytest.param("https://login.example.com/", "https://login.example.com/", id="no way back"),
    ],
)
def test_an_own_sign_in_page_learns_the_way_back(template: str, expected: str) -> None:
    assert fill_return_to(template, "/a?b=1&c", PUBLIC) == expected
