"""The PROXY protocol: a balancer's word on who the client is, read to the byte or refused."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.rules.proxy_protocol import LONGEST, BadProxyHeader, ProxyHeader, read

SIGNATURE = b"\r\n\r\n\x00\r\nQUIT\n"
ADDRESSES = bytes([192, 0, 2, 1, 192, 0, 2, 2, 0, 80, 0, 81])
TLV = b"\x04\x00\x03abc"  # PP2_TYPE_NOOP


def v2(command: int, family: int, rest: bytes) -> bytes:
    return SIGNATURE + bytes([command, family]) + len(rest).to_bytes(2, "big") + rest


IPV6 = b"\x20\x01\x0d\xb8" + bytes(11) + b"\x01" + bytes(16) + b"\x00\x50\x00\x51"
MAPPED = bytes(10) + b"\xff\xff\xc0\x00\x02\x01" + bytes(20)


@pytest.mark.parametrize(
    ("data", "source"),
    [
        pytest.param(b"PROXY TCP4 192.0.2.1 192.0.2.2 65535 80\r\n", "192.0.2.1", id="v1 TCP4"),
        pytest.param(b"PROXY TCP6 2001:DB8:0::1 ::1 1 2\r\n", "2001:db8::1", id="v1 TCP6"),
        pytest.param(b"PROXY TCP6 ::ffff:192.0.2.1 ::1 1 2\r\n", "192.0.2.1", id="v1 mapped"),
        pytest.param(b"PROXY UNKNOWN\r\n", None, id="v1 unknown"),
        pytest.param(b"PROXY UNKNOWN ffff::1 whatever 1 2\r\n", None, id="v1 unknown, with words"),
        pytest.param(v2(0x21, 0x11, ADDRESSES), "192.0.2.1", id="v2 IPv4"),
        pytest.param(v2(0x21, 0x12, ADDRESSES), "192.0.2.1", id="v2 datagram"),
        pytest.param(v2(0x21, 0x11, ADDRESSES + TLV * 50), "192.0.2.1", id="v2 with TLVs"),
        pytest.param(v2(0x21, 0x21, IPV6), "2001:db8::1", id="v2 IPv6"),
        pytest.param(v2(0x21, 0x21, MAPPED), "192.0.2.1", id="v2 mapped"),
        pytest.param(v2(0x21, 0x31, bytes(216)), None, id="v2 Unix"),
        pytest.param(v2(0x21, 0x00, b""), None, id="v2 unspecified"),
        pytest.param(v2(0x21, 0x00, TLV), None, id="v2 unspecified with TLVs"),
        pytest.param(v2(0x20, 0x00, b""), None, id="v2 local"),
        pytest.param(v2(0x20, 0x11, ADDRESSES), None, id="v2 local: addresses are no word"),
        pytest.param(v2(0x20, 0xFF, b"x"), None, id="v2 local: the family is no word"),
        pytest.param(v2(0x20, 0x00, bytes(LONGEST - 16)), None, id="v2 the longest"),
    ],
)
def test_a_header_names_the_client_and_ends_where_it_ends(data: bytes, source: str | None) -> None:
    assert read(data) == ProxyHeader(source, len(data))
    assert read(data + b"GET / HTTP/1.1\r\n") == ProxyHeader(source, len(data))
    for length in range(len(data)):
        assert read(data[:length]) is None


CORPUS = [
    line.encode("latin-1").decode("unicode_escape").encode("latin-1")
    for line in (Path(__file__).parent.parent / "corpora" / "proxy_headers.txt")
    .read_text(encoding="ascii")
    .splitlines()
    if not line.startswith("#")
]


@pytest.mark.parametrize("data", CORPUS, ids=lambda data: repr(data)[2:50])
def test_what_is_no_header_is_refused(data: bytes) -> None:
    with pytest.raises(BadProxyHeader):
        read(data)


@given(
    st.binary()
    | st.binary().map(lambda rest: SIGNATURE + rest)
    | st.binary().map(b"PROXY ".__add__)
)
def test_any_bytes_are_read_or_refused(data: bytes) -> None:
    with suppress(BadProxyHeader):
        found = read(data)
        assert found is None or 0 < found.length <= len(data)


@given(st.binary(max_size=40), st.integers(0, 40))
def test_more_bytes_never_mend_what_was_refused(rest: bytes, cut: int) -> None:
    """So that a connection can be closed at the first byte that is wrong."""
    data = SIGNATURE[: cut % 13] + rest
    with suppress(BadProxyHeader):
        read(data)
        return
    with pytest.raises(BadProxyHeader):
        read(data + b"\r\n")


def test_nobody_makes_it_wait_for_more_than_the_longest_header() -> None:
    with pytest.raises(BadProxyHeader):
        read(b"PROXY UNKNOWN " + b"x" * 200)
    with pytest.raises(BadProxyHeader):
        read(SIGNATURE + b"\x21\x11\x0f\xf1")
