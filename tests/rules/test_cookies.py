from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from http.cookies import CookieError, SimpleCookie
from pathlib import Path
from time import perf_counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.rules.cookies import is_gateway_cookie, parse_all, read

SESSION = b"gateway_session"
CSRF = b"__Host-gateway_csrf"
NAMES = frozenset({SESSION, CSRF})
CORPUS = Path(__file__).parent.parent / "corpora" / "cookies.txt"


def corpus() -> list[tuple[bytes, bytes | None, bytes]]:
    rows = []
    for line in CORPUS.read_text().splitlines():
        if line and not line.startswith("# "):
            field, own, rest = (
                column.encode("latin-1").decode("unicode_escape").encode("latin-1")
                for column in line.split("\t")
            )
            rows.append((field, None if own == b"-" else own, b"" if rest == b"-" else rest))
    return rows


@pytest.mark.parametrize(("field", "own", "rest"), corpus())
def test_the_corpus(field: bytes, own: bytes | None, rest: bytes) -> None:
    found, forwarded = read([field], NAMES)
    # An empty value and none are one column in the corpus; both sign nobody in.
    assert (found.get(SESSION) or None, forwarded) == (own, rest)


def test_the_corpus_has_all_sides() -> None:
    rows = corpus()
    assert len(rows) > 70
    assert any(own for _, own, _ in rows)
    assert any(rest for _, _, rest in rows)


@pytest.mark.parametrize(
    ("fields", "own", "rest"),
    [
        pytest.param([], {}, b"", id="no field"),
        pytest.param([b""], {}, b"", id="empty field"),
        pytest.param([b"", b""], {}, b"", id="two empty fields"),
        pytest.param([b"gateway_session=a"], {SESSION: b"a"}, b"", id="ours alone"),
        pytest.param([b"gateway_session="], {SESSION: b""}, b"", id="ours, empty"),
        pytest.param([b"gateway_session"], {SESSION: b""}, b"", id="ours without a value"),
        pytest.param(
            [b"gateway_session=a; __Host-gateway_csrf=b"],
            {SESSION: b"a", CSRF: b"b"},
            b"",
            id="both",
        ),
        pytest.param(
            [b"x=1", b"gateway_session=a", b"y=2"], {SESSION: b"a"}, b"x=1; y=2", id="three"
        ),
        pytest.param(
            [b"gateway_session=a", b"gateway_session=b"], {}, b"", id="twice in two fields"
        ),
        pytest.param(
            [b"gateway_session=a; __Host-gateway_csrf=b", b"gateway_session=a; x=1"],
            {CSRF: b"b"},
            b"x=1",
            id="one twice, the other once",
        ),
    ],
)
def test_all_fields_count_together(
    fields: Sequence[bytes], own: dict[bytes, bytes], rest: bytes
) -> None:
    assert read(fields, NAMES) == (own, rest)


def test_without_names_everything_is_forwarded() -> None:
    assert read([b"gateway_session=a;b", b"%41=1"], frozenset()) == (
        {},
        b"gateway_session=a; b; %41=1",
    )


def test_a_long_name_with_escapes_is_nobodys_and_not_looked_into() -> None:
    own, rest = read([b"a=1; " + b"%41" * 20_000 + b"=2; b%41=3"], NAMES)
    assert (own, rest) == ({}, b"a=1; b%41=3")


def test_a_name_with_characters_that_expressions_know() -> None:
    names = frozenset({b"a.b-c|d$"})
    assert read([b"a.b-c|d$=1; a.b-c=2; x=3"], names) == ({b"a.b-c|d$": b"1"}, b"a.b-c=2; x=3")
    assert read([b"A_B-C|D$=1; x=3"], names) == ({}, b"x=3")


@pytest.mark.parametrize("code", range(0x100))
def test_no_byte_beside_our_name_hides_it(code: int) -> None:
    """Enumerated: the byte in front of and behind the name, as another framework may trim it."""
    byte = bytes([code])
    name_characters = (
        b"!#$%&*+-.^_`|~0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
    )
    if byte in name_characters:
        for name in (byte + SESSION, SESSION + byte):
            assert read([name + b"=x"], NAMES) == ({}, name + b"=x")
    for name in (byte + SESSION, SESSION + byte):
        found, rest = read([name + b"=x"], NAMES)
        if byte <= b" " or byte in b"\"';=" or byte >= b"\x7f":
            assert b"gateway_session" not in rest.partition(b"=")[0]
        assert byte in b" \t;=" or SESSION not in found


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        pytest.param([], {}, id="none"),
        pytest.param([b"a=1; b=2"], {"a": "1", "b": "2"}, id="two"),
        pytest.param([b"a=1", b"b=2"], {"a": "1", "b": "2"}, id="two fields"),
        pytest.param([b"a=1; a=1; b=2"], {"b": "2"}, id="twice is none"),
        pytest.param([b"a=1; b=2", b"a=3"], {"b": "2"}, id="twice in two fields is none"),
        pytest.param([b"a=1; A=2"], {"a": "1", "A": "2"}, id="names have a case"),
        pytest.param([b" a =\t1 ;; "], {"a": "1"}, id="blanks and empty parts"),
        pytest.param([b"flag; b=2"], {"flag": "", "b": "2"}, id="without ="),
        pytest.param([b"=1; b=2"], {"": "1", "b": "2"}, id="without name"),
        pytest.param([b'a="1"'], {"a": '"1"'}, id="quotes stay"),
        pytest.param([b"a=b=c"], {"a": "b=c"}, id="the first = divides"),
        pytest.param([b"a=\xff"], {"a": "\xff"}, id="a character a byte"),
    ],
)
def test_parsing_all(fields: Sequence[bytes], expected: dict[str, str]) -> None:
    assert parse_all(fields) == expected


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (b"gateway_session=x", True),
        (b"gateway_session=x; Path=/; HttpOnly", True),
        (b"gateway_session=", True),
        (b"gateway_session", True),
        (b"gateway_session; Path=/", True),
        (b"gateway_session;", True),
        (b"  gateway_session=x", True),
        (b"\tgateway_session\t=x", True),
        (b"; gateway_session=x", True),
        (b"=gateway_session=x", True),
        (b" = gateway_session=x", True),
        (b"=gateway_session", True),
        (b"==gateway_session=x", True),
        (b"GATEWAY_SESSION=x", True),
        (b"gateway%5Fsession=x", True),
        (b"gateway.session=x", True),
        (b'"gateway_session"=x', True),
        (b"gateway_session\x00=x", True),
        (b"\x0bgateway_session=x", True),
        (b"__Host-gateway_csrf=x; Secure; Path=/", True),
        (b"__host-gateway_csrf=x", True),
        (b"__HOST-Gateway_CSRF=x", True),
        (b"=__Host-gateway_csrf=x", True),
        (b"theme=dark", False),
        (b"theme=gateway_session=x", False),
        (b"theme=1; gateway_session=x", False),
        (b"theme=1,gateway_session=x", False),
        (b"my_gateway_session=x", False),
        (b"gateway_session2=x", False),
        (b"gateway_csrf=x", False),
        (b"__Secure-gateway_csrf=x", False),
        (b"__Host-=x", False),
        (b"=", False),
        (b"", False),
        (b";", False),
        (b"; Path=/", False),
    ],
)
def test_what_an_upstream_may_not_set(value: bytes, expected: bool) -> None:
    assert is_gateway_cookie(value, NAMES) is expected


PIECES = [SESSION, b"gateway", b"_session", CSRF, b"theme", b"a", b"; ", b";", b"=", b"=", b" "]
PIECES += [b"\t", b"\x0b", b"\x00", b'"', b",", b"%5F", b"%67", b"%", b".", b"[", b"]", b"\xff"]
FIELDS = st.lists(
    st.one_of(st.binary(), st.lists(st.sampled_from(PIECES), max_size=15).map(b"".join)),
    max_size=3,
)


@given(FIELDS)
def test_hostile_bytes_raise_nothing_and_keep_the_promises(fields: list[bytes]) -> None:
    found, rest = read(fields, NAMES)
    assert set(found) <= NAMES
    everything = [part.strip(b" \t") for field in fields for part in field.split(b";")]
    for name in NAMES:
        named = [part for part in everything if part.partition(b"=")[0].rstrip(b" \t") == name]
        assert (name in found) == (len(named) == 1)
    forwarded = rest.split(b"; ") if rest else []
    remaining = iter(everything)
    assert all(part in remaining for part in forwarded), "kept, and in their order"
    assert read([rest], NAMES) == ({}, rest)
    assert not NAMES & {name.encode("latin-1") for name in parse_all([rest])}


@given(FIELDS)
def test_the_parser_of_python_finds_none_of_ours_in_what_is_forwarded(fields: list[bytes]) -> None:
    _, rest = read(fields, NAMES)
    found: SimpleCookie = SimpleCookie()
    with suppress(CookieError):  # it gives up at some names, and keeps what came before
        found.load(rest.decode("latin-1"))
    assert not set(found) & {name.decode() for name in NAMES}


@given(FIELDS)
def test_what_is_none_of_ours_is_forwarded(fields: list[bytes]) -> None:
    clean = [field.replace(b"_", b"") for field in fields]
    clean = [field for field in clean if not set(field) & set(b".[ %")]
    parts = [part.strip(b"\t") for field in clean for part in field.split(b";")]
    assert read(clean, NAMES) == ({}, b"; ".join(filter(None, parts)))


@given(FIELDS)
def test_parsing_all_agrees_with_reading(fields: list[bytes]) -> None:
    found, _ = read(fields, NAMES)
    everything = parse_all(fields)
    for name in NAMES:
        own = found.get(name)
        assert everything.get(name.decode()) == (None if own is None else own.decode("latin-1"))


@given(st.binary() | st.lists(st.sampled_from(PIECES)).map(b"".join))
def test_hostile_set_cookies_raise_nothing(value: bytes) -> None:
    assert is_gateway_cookie(value, NAMES) in {True, False}


@pytest.mark.parametrize(
    "shape",
    [
        b";",
        b"a=1; ",
        b"gateway_session=x; ",
        b"gateway_session ",
        b" \x0b",
        b"= ",
        b"%67",
        b"%41=1;",
        b",gateway_session",
        b'"gateway_session""',
    ],
)
def test_a_large_field_takes_time_in_proportion(shape: bytes) -> None:
    field = shape * (65_536 // len(shape)) + b"GATEWAY_SESSION=x"
    started = perf_counter()
    read([field], NAMES)
    parse_all([field])
    is_gateway_cookie(field, NAMES)
    assert perf_counter() - started < 1  # some 0.02; what grows with the square takes minutes
