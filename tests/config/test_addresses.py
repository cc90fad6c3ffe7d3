"""Addresses as operators write them. What is refused, ``cases`` show with its message."""

from __future__ import annotations

from collections.abc import Callable
from ipaddress import ip_network
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.config import addresses
from gateway.config.config import Listener
from gateway.model import Target


@pytest.mark.parametrize(
    ("text", "listener"),
    [
        ("127.0.0.1:8080", Listener(host="127.0.0.1", port=8080)),
        ("localhost:0", Listener(host="localhost", port=0)),
        ("[::1]:80", Listener(host="::1", port=80)),
        ("[::]:443", Listener(host="::", port=443)),
        ("unix:/run/gateway.sock", Listener(path="/run/gateway.sock")),
        ("systemd", Listener(systemd="")),
        ("systemd:gateway-web.socket", Listener(systemd="gateway-web.socket")),
    ],
)
def test_listener(text: str, listener: Listener) -> None:
    assert addresses.parse_listener(text) == listener
    assert str(listener) == text


@pytest.mark.parametrize(
    ("text", "origin"),
    [
        ("https://app.example.com", "https://app.example.com"),
        ("HTTPS://App.Example.COM:443", "https://app.example.com"),
        ("http://localhost:80", "http://localhost"),
        ("http://localhost:8080", "http://localhost:8080"),
        ("http://[::0:1]:8080", "http://[::1]:8080"),
        ("https://x:80", "https://x:80"),
    ],
)
def test_origin_is_written_as_browsers_do(text: str, origin: str) -> None:
    assert addresses.parse_origin(text) == origin


@pytest.mark.parametrize(
    ("text", "target"),
    [
        ("http://127.0.0.1:3000", Target(scheme="http", host="127.0.0.1", port=3000)),
        ("http://app", Target(scheme="http", host="app", port=80)),
        ("https://App.Example.com/", Target(scheme="https", host="app.example.com", port=443)),
        ("http://[2001:db8::1]:8000", Target(scheme="http", host="2001:db8::1", port=8000)),
        ("unix:/run/app.sock", Target(scheme="unix", path="/run/app.sock")),
    ],
)
def test_target(text: str, target: Target) -> None:
    assert addresses.parse_target(text) == target


@pytest.mark.parametrize(
    ("text", "network"),
    [("10.0.0.0/8", "10.0.0.0/8"), ("192.0.2.7", "192.0.2.7/32"), ("2001:db8::/32",) * 2],
)
def test_network(text: str, network: str) -> None:
    assert addresses.parse_network(text) == ip_network(network)


@pytest.mark.parametrize("path", ["/_gateway", "/api/auth", "/a.b/~c", "/.well-known"])
def test_plain_path(path: str) -> None:
    assert addresses.plain_path(path) == path
    assert addresses.plain_path(f"{path}/") == path


@pytest.mark.parametrize(
    "address",
    [
        "/",
        "/login?next={return_to}",
        "https://app.example.com/login?next={return_to}#x",
        "http://localhost:3000/",
    ],
)
def test_page_address(address: str) -> None:
    assert addresses.page_address(address) == address


@pytest.mark.parametrize(
    "address",
    [
        "",
        "login",
        "//evil.example/",
        "/\\evil.example",
        "javascript:alert(1)",
        "https:evil.example",
        "https://user@app.example.com/",
        "https:///",
        "http://[/",
        "/a b",
        "/a\r\nSet-Cookie: x=y",
        "/é",
        "/{next}",
    ],
)
def test_no_page_address(address: str) -> None:
    with pytest.raises(ValueError, match=r"expected a path|the only placeholder"):
        addresses.page_address(address)


@pytest.mark.parametrize(
    "parse",
    [
        addresses.parse_listener,
        addresses.parse_origin,
        addresses.parse_target,
        addresses.parse_network,
        addresses.parse_proxy,
        addresses.plain_path,
        addresses.page_address,
        addresses.cookie_path,
    ],
)
@given(text=st.text() | st.from_regex(r"(https?://|unix:|/)[\[\]a-f0-9:@/?#.{}%\\-]*"))
def test_any_text_is_understood_or_refused_without_being_shown(
    parse: Callable[[str], Any], text: str
) -> None:
    try:
        parse(f"{text}s3cret")
    except ValueError as error:
        shown = str(error)
    else:
        shown = ""
    assert "s3cret" not in shown
