from __future__ import annotations

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.rules.provenance import believed_host, believed_proto, provenance_block


def block(
    *,
    peer: str = "192.0.2.1",
    chain: Sequence[str] = (),
    elements: Sequence[str] = (),
    host: str = "a.org",
    proto: str = "http",
) -> dict[str, str]:
    """Return what is said, by name; each name once, each line ended."""
    said = provenance_block(peer=peer, chain=chain, elements=elements, host=host, proto=proto)
    assert said.endswith(b"\r\n")
    lines = said.decode("utf-8", "surrogateescape").removesuffix("\r\n").split("\r\n")
    pairs = [(name, value) for name, _, value in (line.partition(": ") for line in lines)]
    assert len(dict(pairs)) == len(pairs)
    return dict(pairs)


def test_a_request_from_anybody() -> None:
    assert block() == {
        "X-Forwarded-For": "192.0.2.1",
        "X-Forwarded-Proto": "http",
        "X-Forwarded-Host": "a.org",
        "X-Forwarded-Port": "80",
        "Forwarded": "for=192.0.2.1;host=a.org;proto=http",
    }


def test_a_request_through_trusted_proxies_keeps_what_they_said() -> None:
    said = block(
        peer="10.0.0.1",
        chain=["203.0.113.9, 10.0.0.2", "10.0.0.3"],
        elements=["for=203.0.113.9", "for=10.0.0.2, for=10.0.0.3"],
        proto="https",
    )

    assert said["X-Forwarded-For"] == "203.0.113.9, 10.0.0.2, 10.0.0.3, 10.0.0.1"
    assert said["Forwarded"] == (
        "for=203.0.113.9, for=10.0.0.2, for=10.0.0.3, for=10.0.0.1;host=a.org;proto=https"
    )


@pytest.mark.parametrize(
    "elements",
    [
        pytest.param(['for="'], id="an open quote"),
        pytest.param(['for=1.2.3.4;by="\\"'], id="an escaped end of a quote"),
        pytest.param(["for=1.2.3.4", 'host="a'], id="in the second of two fields"),
        pytest.param(["nonsense"], id="no pair"),
        pytest.param(["for=a b"], id="a space within"),
        pytest.param([""], id="empty"),
    ],
)
def test_what_cannot_be_read_of_forwarded_cannot_swallow_what_we_say(elements: list[str]) -> None:
    said = block(peer="10.0.0.1", elements=elements)

    assert said["Forwarded"] == "for=10.0.0.1;host=a.org;proto=http"


@pytest.mark.parametrize(
    "element",
    [
        'for="[2001:db8::1]:80";by=unknown;secret=x',
        'for="a\\"b, c=d";proto=https , for=_hidden',
        "for=192.0.2.1:80; host=a.org:8080",
        "For=[2001:db8::1]",
    ],
)
def test_what_can_be_read_of_forwarded_stays(element: str) -> None:
    said = block(peer="10.0.0.1", elements=[element])

    assert said["Forwarded"] == f"{element}, for=10.0.0.1;host=a.org;proto=http"


def test_a_unix_socket_has_no_address() -> None:
    said = block(peer="")

    assert "X-Forwarded-For" not in said
    assert said["Forwarded"] == "for=unknown;host=a.org;proto=http"
    assert block(peer="", chain=["192.0.2.1"])["X-Forwarded-For"] == "192.0.2.1"


def test_ipv6_is_quoted_where_it_must_be() -> None:
    said = block(peer="2001:db8::1", host="[2001:db8::2]:8443", proto="https")

    assert said == {
        "X-Forwarded-For": "2001:db8::1",
        "X-Forwarded-Proto": "https",
        "X-Forwarded-Host": "[2001:db8::2]:8443",
        "X-Forwarded-Port": "8443",
        "Forwarded": 'for="[2001:db8::1]";host="[2001:db8::2]:8443";proto=https',
    }


@pytest.mark.parametrize(
    ("host", "proto", "port"),
    [
        ("a.org", "http", "80"),
        ("a.org", "https", "443"),
        ("a.org:8080", "http", "8080"),
        ("a.org:8080", "https", "8080"),
        ("a.org:80", "https", "80"),
        ("[::1]", "http", "80"),
        ("[::1]", "https", "443"),
        ("[::1]:81", "http", "81"),
        ("", "http", "80"),
        ("", "https", "443"),
    ],
)
def test_the_port(host: str, proto: str, port: str) -> None:
    assert block(host=host, proto=proto)["X-Forwarded-Port"] == port


def test_without_a_host_none_is_invented() -> None:
    said = block(host="")

    assert "X-Forwarded-Host" not in said
    assert said["Forwarded"] == "for=192.0.2.1;proto=http"


def test_bytes_that_are_no_utf_8_come_out_as_they_came_in() -> None:
    said = provenance_block(
        peer="10.0.0.1", chain=["\udcff"], elements=(), host="a.org", proto="http"
    )

    assert said.startswith(b"X-Forwarded-For: \xff, 10.0.0.1\r\n")


# --- what a trusted proxy says of the user's side ------------------------------------------------


@pytest.mark.parametrize(
    ("said", "believed"),
    [
        pytest.param(None, "own:80", id="nothing said"),
        pytest.param("", "own:80", id="empty"),
        pytest.param("a.org", "a.org", id="host"),
        pytest.param("a.org:8443", "a.org:8443", id="with port"),
        pytest.param("[::1]:80", "[::1]:80", id="IPv6"),
        pytest.param("a.org, b.org", "a.org", id="the first, which is the user's"),
        pytest.param(" a.org ,b.org", "a.org", id="with blanks"),
        pytest.param(",b.org", "own:80", id="the first is empty"),
        pytest.param("a b", "own:80", id="no host"),
        pytest.param("a.org/x", "own:80", id="a path"),
        pytest.param("a.org:99999", "own:80", id="no port"),
        pytest.param("a.org;x", "own:80", id="more than a host"),
        pytest.param('a"b', "own:80", id="quote"),
        pytest.param("http://a.org", "own:80", id="URL"),
    ],
)
def test_the_host_users_see(said: str | None, believed: str) -> None:
    assert believed_host(said, "own:80") == believed


@pytest.mark.parametrize(
    ("said", "believed"),
    [
        (None, "http"),
        ("", "http"),
        ("https", "https"),
        ("HTTPS", "https"),
        (" https , http", "https"),
        ("http, https", "http"),
        (",https", "http"),
        ("ws", "http"),
        ("https;", "http"),
        ("javascript", "http"),
    ],
)
def test_the_scheme_users_see(said: str | None, believed: str) -> None:
    assert believed_proto(said, "http") == believed


@given(st.text(), st.text())
def test_whatever_is_said_becomes_no_second_line(host: str, proto: str) -> None:
    said = block(host=believed_host(host, "a.org"), proto=believed_proto(proto, "https"))

    assert set(said) == {
        "X-Forwarded-For",
        "X-Forwarded-Proto",
        "X-Forwarded-Host",
        "X-Forwarded-Port",
        "Forwarded",
    }
    assert said["X-Forwarded-Proto"] in ("http", "https")
    assert all(value.isprintable() for value in said.values())
