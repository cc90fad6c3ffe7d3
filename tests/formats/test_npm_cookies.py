from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.formats.npm_cookies import Flavour, encoded, value

# What npm `cookie` 0.6 and 2.0 make of these, run in Node; None: as it stands. Only version 0.7
# wants a quote at both ends.
TABLE = [
    pytest.param(b"", None, None, id="empty"),
    pytest.param(b"abc", None, None, id="plain"),
    pytest.param(b"s%3Aabc.d%2Fe", "s:abc.d/e", "s:abc.d/e", id="percent-encoded"),
    pytest.param(b"a+b", None, None, id="a plus is no blank"),
    pytest.param(b"%7c%7C", "||", "||", id="either case"),
    pytest.param(b"%E6%BC%A2", "漢", "漢", id="three octets, one character"),
    pytest.param(b"%F0%9F%98%80", "😀", "😀", id="beyond the basic plane"),
    pytest.param(b"%25", "%", "%", id="decoded once"),
    pytest.param(b"%2525", "%25", "%25", id="decoded once, of two"),
    pytest.param(b"%00", "\x00", "\x00", id="a null character"),
    pytest.param(b"%", None, None, id="an escape without digits"),
    pytest.param(b"a%2", None, None, id="half an escape"),
    pytest.param(b"%41%zz", None, None, id="one broken escape leaves all as they are"),
    pytest.param(b"%4", None, None, id="one digit"),
    pytest.param(b"%u0041", None, None, id="an escape of the old kind"),
    pytest.param(b"%+1%-1% 1", None, None, id="signs and blanks are no digits"),
    pytest.param(b"%ff", None, None, id="no UTF-8"),
    pytest.param(b"%C0%80", None, None, id="overlong UTF-8"),
    pytest.param(b"%ED%A0%80", None, None, id="half a surrogate pair in UTF-8"),
    pytest.param(b"%41\\x42\\u0043\\", "A\\x42\\u0043\\", "A\\x42\\u0043\\", id="backslashes"),
    pytest.param(b'"abc"', "abc", None, id="in quotes"),
    pytest.param(b'"abc', "ab", None, id="a quote in front takes the last character along"),
    pytest.param(b'abc"', None, None, id="a quote at the end"),
    pytest.param(b'"', "", None, id="a quote alone"),
    pytest.param(b'""a""', '"a"', None, id="quotes once"),
    pytest.param(b'"%41"', "A", '"A"', id="escapes in quotes"),
    pytest.param(b'%22a%22', '"a"', '"a"', id="quotes that were escaped"),
    pytest.param(b"caf\xe9", None, None, id="an octet outside ASCII"),
]  # fmt: skip


@pytest.mark.parametrize(("raw", "unquoting", "verbatim"), TABLE)
def test_a_value_is_what_the_package_makes_of_it(
    raw: bytes, unquoting: str | None, verbatim: str | None
) -> None:
    as_it_stands = raw.decode("latin-1")
    assert value(raw, Flavour.UNQUOTING) == (as_it_stands if unquoting is None else unquoting)
    assert value(raw, Flavour.VERBATIM) == (as_it_stands if verbatim is None else verbatim)


@given(st.text(st.characters(exclude_categories=["Cs"])))
def test_what_was_encoded_is_decoded(text: str) -> None:
    written = encoded(text)
    assert written.isascii()
    assert not set(written) & set(' ",;\\')
    for flavour in Flavour:
        assert value(written.encode(), flavour) == text


@pytest.mark.parametrize(
    ("text", "written"),
    [
        pytest.param("s:a.b/c+d=", "s%3Aa.b%2Fc%2Bd%3D", id="a signed id"),
        pytest.param("Fe26.2*1*x-y_z~2", "Fe26.2*1*x-y_z~2", id="a seal"),
        pytest.param("a|b", "a%7Cb", id="a bar"),
        pytest.param("!'()*-._~", "!'()*-._~", id="what encodeURIComponent leaves alone"),
    ],
)
def test_a_value_is_written_as_the_package_writes_it(text: str, written: str) -> None:
    assert encoded(text) == written


@given(st.binary())
def test_any_octets_are_some_value(raw: bytes) -> None:
    for flavour in Flavour:
        assert isinstance(value(raw, flavour), str)
