"""Which certificate a client gets: the names in it decide."""

from __future__ import annotations

import ssl
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.rules.certificates import dns_names, find_certificate

FILES = Path(__file__).parent.parent / "config" / "files"
DER = ssl.PEM_cert_to_DER_cert((FILES / "cert.pem").read_text())


def der(tag: int, *parts: bytes) -> bytes:
    content = b"".join(parts)
    if len(content) < 0x80:
        return bytes([tag, len(content)]) + content
    size = (len(content).bit_length() + 7) // 8
    return bytes([tag, 0x80 | size]) + len(content).to_bytes(size, "big") + content


def certificate(*names: bytes, critical: bool = False) -> bytes:
    """A certificate as far as its names go."""
    alternatives = der(0x30, *(der(0x82, name) for name in names), der(0x87, b"\x7f\0\0\1"))
    flag = [der(0x01, b"\xff")] if critical else []
    san = der(0x30, bytes.fromhex("0603551d11"), *flag, der(0x04, alternatives))
    usage = der(0x30, bytes.fromhex("0603551d0f"), der(0x04, b"\x03\x02\x05\xa0"))
    body = der(0x30, der(0x02, b"\1"), der(0xA3, der(0x30, usage, san)))
    return der(0x30, body, der(0x30), der(0x03, b"\0"))


@pytest.mark.parametrize("critical", [False, True])
@pytest.mark.parametrize(
    ("names", "expected"),
    [
        ((), ()),
        ((b"a.example",), ("a.example",)),
        ((b"A.Example", b"*.b.example"), ("a.example", "*.b.example")),
        (tuple(b"host-%d.example" % n for n in range(300)), None),
    ],
    ids=["none", "one", "a wildcard", "300"],
)
def test_the_names_of_a_certificate(
    names: tuple[bytes, ...], expected: tuple[str, ...] | None, critical: bool
) -> None:
    if expected is None:
        expected = tuple(name.decode() for name in names)
    assert dns_names(certificate(*names, critical=critical)) == expected


def test_a_certificate_without_extensions_has_no_names() -> None:
    assert dns_names(der(0x30, der(0x30, der(0x02, b"\1")))) == ()


def test_a_real_certificate_is_read() -> None:
    assert isinstance(dns_names(DER), tuple)


@given(st.binary(max_size=60) | st.integers(0, len(DER) - 1).map(lambda end: DER[:end]))
def test_what_is_no_certificate_raises_only_the_documented_error(data: bytes) -> None:
    with suppress(ValueError):
        dns_names(data)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        pytest.param("a.example", "exact", id="exact"),
        pytest.param("A.EXAMPLE.", "exact", id="as DNS reads it"),
        pytest.param("x.a.example", "wildcard", id="wildcard"),
        pytest.param("y.x.a.example", None, id="a wildcard is one label"),
        pytest.param("b.example", None, id="unknown"),
        pytest.param("", None, id="empty"),
        pytest.param(None, None, id="none asked for"),
    ],
)
def test_the_name_that_is_asked_for_chooses(name: str | None, expected: str | None) -> None:
    known = {"a.example": "exact", "*.a.example": "wildcard"}
    assert find_certificate(known, name) == expected
