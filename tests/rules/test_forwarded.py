from __future__ import annotations

from collections.abc import Sequence
from ipaddress import ip_address, ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.model import Network
from gateway.rules.forwarded import client_address, forwarded_element, is_trusted

NOBODY: tuple[Network, ...] = ()
TEN = (ip_network("10.0.0.0/8"), ip_network("fd00::/8"))
PEER = "10.0.0.1"


@pytest.mark.parametrize(
    ("peer", "forwarded_for", "trusted", "expected"),
    [
        pytest.param("192.0.2.1", [], NOBODY, "192.0.2.1", id="no proxy"),
        pytest.param("192.0.2.1", ["1.1.1.1"], NOBODY, "192.0.2.1", id="nobody is believed"),
        pytest.param("192.0.2.1", ["1.1.1.1"], TEN, "192.0.2.1", id="another is believed"),
        pytest.param("2001:DB8:0::1", [], NOBODY, "2001:db8::1", id="IPv6 in its usual form"),
        pytest.param("fe80::1%eth0", [], NOBODY, "fe80::1", id="no zone"),
        pytest.param("::ffff:192.0.2.1", [], NOBODY, "192.0.2.1", id="mapped peer"),
        pytest.param("nonsense:", ["1.1.1.1"], TEN, "nonsense:", id="a peer that is no address"),
        pytest.param(PEER, [], TEN, PEER, id="a proxy that says nothing"),
        pytest.param(PEER, [""], TEN, PEER, id="a proxy that says nothing, emptily"),
        pytest.param(PEER, ["192.0.2.1"], TEN, "192.0.2.1", id="one proxy"),
        pytest.param("::ffff:10.0.0.1", ["192.0.2.1"], TEN, "192.0.2.1", id="mapped proxy"),
        pytest.param("fd00::1", ["192.0.2.1"], TEN, "192.0.2.1", id="IPv6 proxy"),
        pytest.param("fd00::1%eth0", ["192.0.2.1"], TEN, "192.0.2.1", id="IPv6 proxy in a zone"),
        pytest.param(PEER, ["192.0.2.1, 10.0.0.2"], TEN, "192.0.2.1", id="two proxies"),
        pytest.param(PEER, ["192.0.2.1", "10.0.0.2"], TEN, "192.0.2.1", id="two headers"),
        pytest.param(PEER, ["192.0.2.1,10.0.0.2\t, 10.0.0.3"], TEN, "192.0.2.1", id="three"),
        pytest.param(PEER, ["1.1.1.1, 192.0.2.1"], TEN, "192.0.2.1", id="invented by the client"),
        pytest.param(PEER, ["10.9.9.9, 192.0.2.1"], TEN, "192.0.2.1", id="invented, as if trusted"),
        pytest.param(PEER, ["10.0.0.3, 10.0.0.2"], TEN, "10.0.0.3", id="all trusted: the farthest"),
        pytest.param(PEER, ["192.0.2.1, , 10.0.0.2,"], TEN, "192.0.2.1", id="empty elements"),
        pytest.param(PEER, ["1.1.1.1, nonsense"], TEN, PEER, id="nonsense at once"),
        pytest.param(PEER, ["1.1.1.1, nonsense, 10.0.0.2"], TEN, "10.0.0.2", id="nonsense later"),
        pytest.param(PEER, ["1.1.1.1, unknown"], TEN, PEER, id="unknown"),
        pytest.param(PEER, ["1.1.1.1, _hidden"], TEN, PEER, id="obfuscated"),
        pytest.param(PEER, ["192.0.2.1:5678"], TEN, "192.0.2.1", id="port"),
        pytest.param(PEER, ["[2001:db8::1]:5678"], TEN, "2001:db8::1", id="IPv6 and port"),
        pytest.param(PEER, ["[2001:db8::1]"], TEN, "2001:db8::1", id="brackets"),
        pytest.param(PEER, ["2001:DB8::0:1"], TEN, "2001:db8::1", id="IPv6 plain"),
        pytest.param(PEER, ["::ffff:192.0.2.1"], TEN, "192.0.2.1", id="mapped"),
        pytest.param(PEER, ["[::ffff:192.0.2.1]:80"], TEN, "192.0.2.1", id="mapped, with port"),
        pytest.param(PEER, ["192.0.2.1, ::ffff:10.0.0.2"], TEN, "192.0.2.1", id="mapped, trusted"),
    ],
)
def test_who_the_client_is(
    peer: str, forwarded_for: Sequence[str], trusted: Sequence[Network], expected: str
) -> None:
    assert client_address(peer, forwarded_for, trusted, trust_unix=False) == expected


@pytest.mark.parametrize(
    "element",
    [
        "192.0.2",
        "192.0.2.256",
        "192.0.2.01",
        "192.0.2.1.1",
        "192.0.2.1:",
        "192.0.2.1:http",
        "192.0.2.1:123456",
        "192.0.2.1/32",
        "3221225985",
        "0xC0000201",
        "١٩٢.0.2.1",
        "[192.0.2.1]",
        "[2001:db8::1",
        "2001:db8::1]",
        "[2001:db8::1]5678",
        "[]",
        ":",
        "2001:db8::1%eth0",
        "1::2::3",
        '"192.0.2.1"',
        "for=192.0.2.1",
        "a.example.org",
        "192.0.2.1 192.0.2.2",
        "<script>",
        "\x00",
        "\udcff",
    ],
)
def test_what_is_no_address_ends_the_walk(element: str) -> None:
    assert client_address(PEER, [f"1.1.1.1, {element}"], TEN, trust_unix=False) == PEER


@pytest.mark.parametrize(
    ("forwarded_for", "trusted", "trust_unix", "expected"),
    [
        pytest.param([], NOBODY, True, "", id="nobody says anything"),
        pytest.param(["192.0.2.1"], NOBODY, True, "192.0.2.1", id="believed"),
        pytest.param(["192.0.2.1"], NOBODY, False, "", id="not believed"),
        pytest.param(["192.0.2.1"], TEN, False, "", id="networks are not the socket"),
        pytest.param(["1.1.1.1, 192.0.2.1"], NOBODY, True, "192.0.2.1", id="only the last"),
        pytest.param(["192.0.2.1, 10.0.0.2"], TEN, True, "192.0.2.1", id="and then by network"),
        pytest.param(["nonsense"], NOBODY, True, "", id="nonsense"),
    ],
)
def test_who_the_client_is_behind_a_unix_socket(
    forwarded_for: Sequence[str], trusted: Sequence[Network], trust_unix: bool, expected: str
) -> None:
    assert client_address("", forwarded_for, trusted, trust_unix) == expected


@pytest.mark.parametrize(
    ("peer", "trusted", "trust_unix", "expected"),
    [
        ("10.1.2.3", TEN, False, True),
        ("11.0.0.0", TEN, False, False),
        ("10.1.2.3", NOBODY, True, False),
        ("fd12::1", TEN, False, True),
        ("fe80::1", TEN, False, False),
        ("::ffff:10.1.2.3", TEN, False, True),
        ("::ffff:11.1.2.3", TEN, False, False),
        ("::10.1.2.3", TEN, False, False),
        ("fd12::1%eth0", TEN, False, True),
        ("", TEN, False, False),
        ("", NOBODY, True, True),
        ("nonsense", TEN, True, False),
        ("%", TEN, True, False),
        ("10.1.2.3", (ip_network("10.1.2.3"),), False, True),
        ("10.1.2.4", (ip_network("10.1.2.3"),), False, False),
    ],
)
def test_who_is_trusted(
    peer: str, trusted: Sequence[Network], trust_unix: bool, expected: bool
) -> None:
    assert is_trusted(peer, trusted, trust_unix) is expected


@pytest.mark.parametrize(
    ("client", "host", "proto", "expected"),
    [
        pytest.param(
            "192.0.2.1", "a.org", "https", "for=192.0.2.1;host=a.org;proto=https", id="tokens"
        ),
        pytest.param(
            "2001:db8::1",
            "a.org",
            "http",
            'for="[2001:db8::1]";host=a.org;proto=http',
            id="IPv6 is quoted and in brackets",
        ),
        pytest.param(
            "192.0.2.1",
            "a.org:8080",
            "http",
            'for=192.0.2.1;host="a.org:8080";proto=http',
            id="a port is quoted",
        ),
        pytest.param(
            "192.0.2.1",
            "[::1]:80",
            "http",
            'for=192.0.2.1;host="[::1]:80";proto=http',
            id="IPv6 host",
        ),
        pytest.param("", "a.org", "http", "for=unknown;host=a.org;proto=http", id="Unix socket"),
        pytest.param("192.0.2.1", "", "http", "for=192.0.2.1;proto=http", id="no host"),
        pytest.param(
            "192.0.2.1",
            'a";for=1.1.1.1;x="\\',
            "http",
            'for=192.0.2.1;host="a\\";for=1.1.1.1;x=\\"\\\\";proto=http',
            id="quotes are escaped",
        ),
    ],
)
def test_forwarded_elements(client: str, host: str, proto: str, expected: str) -> None:
    assert forwarded_element(client, host, proto) == expected


ADDRESSES = st.ip_addresses().map(str)


@given(ADDRESSES, st.lists(st.text() | ADDRESSES | st.text("0123456789.:[],% ")))
def test_hostile_lists_give_an_address(peer: str, forwarded_for: list[str]) -> None:
    everybody = (ip_network("0.0.0.0/0"), ip_network("::/0"))
    assert ip_address(client_address(peer, forwarded_for, everybody, trust_unix=True))


@given(ADDRESSES, st.lists(st.text() | ADDRESSES))
def test_what_a_client_invents_changes_nothing(client: str, invented: list[str]) -> None:
    if is_trusted(client, TEN, trust_unix=False):
        return
    alone = client_address(client, [], NOBODY, trust_unix=False)
    assert client_address(client, invented, TEN, trust_unix=False) == alone
    assert client_address(PEER, [*invented, client], TEN, trust_unix=False) == alone
