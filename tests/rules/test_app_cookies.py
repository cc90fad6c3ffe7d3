"""Cookies of other frameworks: what is read, and which upstream gets what."""

from __future__ import annotations

from time import perf_counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.rules.app_cookies import MOST, AppCookie, AppCookies

NEXT, SECURE = "next-auth.session-token", "__Secure-next-auth.session-token"
SORTING = AppCookies(
    [
        AppCookie(names=(SECURE, NEXT), forward_to=frozenset({"app"}), beginnings=True),
        AppCookie(names=("sid",), forward_to=frozenset({"shop", "api"})),
    ]
)


@pytest.mark.parametrize(
    ("sent", "found", "app", "shop", "else_"),
    [
        pytest.param(
            f"a=1; {NEXT}=x; sid=y", {NEXT: b"x", "sid": b"y"}, f"a=1; {NEXT}=x", "a=1; sid=y",
            "a=1", id="each to its own",
        ),
        pytest.param(
            f"{NEXT}.1=b; {NEXT}.0=a; {NEXT}.10=c", {f"{NEXT}.{n}": v for n, v in
            ((1, b"b"), (0, b"a"), (10, b"c"))}, f"{NEXT}.1=b; {NEXT}.0=a; {NEXT}.10=c", "", "",
            id="pieces, in their order",
        ),
        pytest.param(
            f"{SECURE}=x; {NEXT}=y", {SECURE: b"x", NEXT: b"y"}, f"{SECURE}=x; {NEXT}=y", "", "",
            id="both names",
        ),
        pytest.param("sid=1; sid=1; a=2", {}, "a=2", "a=2", "a=2", id="twice"),
        pytest.param(
            f"{NEXT}.0=a; {NEXT}.0=b; {SECURE}=c; sid=d", {"sid": b"d"}, "", "sid=d", "",
            id="a piece twice: nothing of that source",
        ),
        pytest.param("sid; a=1", {"sid": b""}, "a=1", "sid; a=1", "a=1", id="without a value"),
        pytest.param("sid=a=b", {"sid": b"a=b"}, "", "sid=a=b", "", id="an equals sign in it"),
        pytest.param("SID=x; sid=y", {"sid": b"y"}, "", "sid=y", "", id="another case"),
        pytest.param("s%69d=x; sid=y", {"sid": b"y"}, "", "sid=y", "", id="an escape"),
        pytest.param('"sid"=x; sid=y', {"sid": b"y"}, "", "sid=y", "", id="quotes"),
        pytest.param("\x0bsid=x; sid=y", {"sid": b"y"}, "", "sid=y", "", id="white space"),
        pytest.param("=sid=x; sid=y", {"sid": b"y"}, "", "sid=y", "", id="an equals sign before"),
        pytest.param("a=1, sid=x; b=2", {}, "b=2", "b=2", "b=2", id="behind a comma"),
        pytest.param("sid.1234=x; a=1", {}, "a=1", "a=1", "a=1", id="no piece of anybody's"),
        pytest.param(
            f"{NEXT}-old=x; {NEXT}s=y; a=1", {}, "a=1", "a=1", "a=1", id="what begins alike",
        ),
        pytest.param(
            "sidebar=1; my-sid=2; sid-x=3; a=sid", {}, *["sidebar=1; my-sid=2; sid-x=3; a=sid"] * 3,
            id="other cookies stay",
        ),
    ],
)  # fmt: skip
def test_sorting(sent: str, found: dict[str, bytes], app: str, shop: str, else_: str) -> None:
    sorted_ = SORTING.sort(sent.encode())
    assert sorted_ is not None
    assert sorted_.found == found
    for upstream, expected in (("app", app), ("shop", shop), ("api", shop), ("x", else_)):
        assert sorted_.for_upstream(upstream) == expected.encode()


@pytest.mark.parametrize("sent", ["", "a=1", "a=1; b=2; theme=dark", "=", ";;;"])
def test_a_request_that_concerns_no_source_is_left_as_it_is(sent: str) -> None:
    assert SORTING.sort(sent.encode()) is None


NAMES = st.sampled_from(
    [NEXT, SECURE, f"{NEXT}.0", f"{NEXT}.1", "sid", "sid.0", "SID", "s%69d", "a", "", f"{NEXT}x"]
)
COOKIES = st.lists(st.tuples(NAMES, st.text('abc%" ,=', max_size=6)), max_size=6)


@given(COOKIES)
def test_no_cookie_of_a_source_reaches_another_upstream(cookies: list[tuple[str, str]]) -> None:
    sorted_ = SORTING.sort("; ".join(f"{name}={value}" for name, value in cookies).encode())
    if sorted_ is None:
        return
    for upstream, others in (
        ("app", [b"sid"]),
        ("shop", [NEXT.encode()]),
        ("x", [NEXT.encode(), b"sid"]),
    ):
        names = [
            part.partition(b"=")[0].strip().lower()
            for part in sorted_.for_upstream(upstream).split(b";")
        ]
        for other in others:
            assert other not in names
            assert other + b".0" not in names


@given(COOKIES)
def test_an_app_gets_what_was_read_and_nothing_else_of_its_names(
    cookies: list[tuple[str, str]],
) -> None:
    sorted_ = SORTING.sort("; ".join(f"{name}={value}" for name, value in cookies).encode())
    if sorted_ is None:
        return
    for upstream, names in (("app", (NEXT, SECURE)), ("shop", ("sid",))):
        parts = [
            part.strip().partition(b"=") for part in sorted_.for_upstream(upstream).split(b";")
        ]
        got = [(name.decode(), value) for name, _, value in parts]
        theirs = [each for each in got if each[0].startswith(names)]
        read = {n: v for n, v in sorted_.found.items() if n.startswith(names)}
        assert sorted(name for name, _ in theirs) == sorted(read)


@given(st.binary(max_size=80))
def test_nothing_that_may_be_sent_raises(sent: bytes) -> None:
    sorted_ = SORTING.sort(sent)
    if sorted_ is not None:
        assert isinstance(sorted_.for_upstream("app"), bytes)


def test_of_more_cookies_than_any_browser_sends_none_goes_on() -> None:
    few = b"; ".join([b"a=1"] * (MOST - 1) + [b"sid=x"])
    sorted_ = SORTING.sort(few)
    assert sorted_ is not None
    assert sorted_.for_upstream("shop") == few
    many = SORTING.sort(few + b"; b=2")
    assert many is not None
    assert (many.found, many.for_upstream("shop")) == ({}, b"")


@pytest.mark.parametrize(
    "sent",
    [
        pytest.param(b"a= " + NEXT.encode() + b" " * 60000, id="blanks"),
        pytest.param(b"a=" + (b" " + NEXT.encode()) * 2600, id="many beginnings"),
        pytest.param(b"a=" + (b"," + NEXT.encode() + b"x") * 2500, id="behind commas"),
        pytest.param(b"a=" + b" sid" * 15000, id="many short ones"),
        pytest.param(b"%73id=x;" * 7500, id="escapes"),
        pytest.param(b"sid.1=x;" * 7500, id="pieces"),
        pytest.param(b'sid"' * 15000, id="quotes"),
    ],
)
def test_sorting_takes_no_time_that_anybody_could_make_long(sent: bytes) -> None:
    def once() -> float:
        began = perf_counter()
        SORTING.sort(sent)
        return perf_counter() - began

    # Some milliseconds; what grew with the square of the length took 1500.
    assert min(once() for _ in range(3)) < 0.05


def test_what_an_upstream_must_not_set() -> None:
    def kept(upstream: str, value: bytes) -> bool:
        return any(looks.set_by(value) for looks in SORTING.kept_from(upstream))

    for value in (b" sid=x", b"SID=x; Path=/", b"sid.0=x", b"=sid=x"):
        assert not kept("shop", value)
        assert kept("app", value)
        assert kept("x", value)
    for value in (f"{NEXT}.3=x".encode(), f"{SECURE}=x".encode()):
        assert not kept("app", value)
        assert kept("shop", value)
    assert not kept("x", b"sidebar=x")
