from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from time import perf_counter
from urllib.parse import unquote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.errors import AmbiguousPath, Reason
from gateway.model import Route
from gateway.rules.paths import clean, refused_marks, rewrite

CORPUS = Path(__file__).parent.parent / "corpora" / "paths.txt"
MARKS = frozenset({"%2F", "%3F", "%23", ";", "%25"})
UNRESERVED = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~"
PCHAR = UNRESERVED + "!$&'()*+,;=:@"


def read_corpus() -> tuple[list[tuple[str, str, frozenset[str]]], list[str]]:
    """Return what is accepted (path, canonical form, marks) and what is refused."""
    accepted: list[tuple[str, str, frozenset[str]]] = []
    refused: list[str] = []
    for line in CORPUS.read_text().splitlines():
        verdict, _, rest = line.partition(" ")
        match verdict:
            case "no":
                refused.append(rest)
            case "ok":
                raw, *canonical = rest.split(" ")
                accepted.append((raw, (canonical or [raw])[0], frozenset()))
            case "marks":
                marks, raw, *canonical = rest.split(" ")
                accepted.append((raw, (canonical or [raw])[0], frozenset(marks.split(","))))
            case _:
                assert verdict in {"", "#"}, line
    return accepted, refused


ACCEPTED, REFUSED = read_corpus()

# What attacks are made of, so that drawn paths are near the edge and not noise.
PIECES = (
    "/ / / . .. a admin %2e %2E %2f %5c \\ ; %3b %3F %23 # %25 %252e %252f %255c %61 %41 % 2 e "
    '%c3%a9 %ff %00 %7f %C2%85 %20 + | " é \udcff \0 ? ~ @'
)
NEAR_PATHS = st.lists(st.sampled_from(PIECES.split(" ")), max_size=12).map(
    lambda pieces: "/" + "".join(pieces)
)
PATHS = st.one_of(NEAR_PATHS, st.text(), st.text().map("/".__add__))


@pytest.mark.parametrize(("raw", "canonical", "marks"), ACCEPTED)
def test_the_corpus_of_accepted_paths(raw: str, canonical: str, marks: frozenset[str]) -> None:
    path = clean(raw)
    assert (path.text, path.marks) == (canonical, marks)


@pytest.mark.parametrize("raw", REFUSED)
def test_the_corpus_of_refused_paths(raw: str) -> None:
    with pytest.raises(AmbiguousPath):
        clean(raw)


def test_the_corpus_has_both_sides() -> None:
    assert len(ACCEPTED) > 60
    assert len(REFUSED) > 120


@pytest.mark.parametrize(
    ("raw", "segments", "text"),
    [
        pytest.param("/", (), "/", id="the root has no segments"),
        pytest.param("/app", ("app",), "/app", id="one"),
        pytest.param("/app/", ("app",), "/app/", id="a trailing slash is kept in the text only"),
        pytest.param("/app/home", ("app", "home"), "/app/home", id="two"),
        pytest.param("/%61pp/h%6fme", ("app", "home"), "/app/home", id="decoded once"),
        pytest.param("/a%2Fb/c", ("a/b", "c"), "/a%2Fb/c", id="a slash inside a segment"),
        pytest.param("/a%3Bb", ("a;b",), "/a;b", id="a semicolon is plain"),
        pytest.param("/%2561", ("%61",), "/%2561", id="not decoded twice"),
        pytest.param("/caf%c3%a9/", ("café",), "/caf%C3%A9/", id="UTF-8"),
        pytest.param("/a b", ("a b",), "/a%20b", id="a space that a file may hold"),
        pytest.param("/a+b", ("a+b",), "/a+b", id="plus is plus"),
    ],
)
def test_segments_and_text(raw: str, segments: tuple[str, ...], text: str) -> None:
    path = clean(raw)
    assert (path.segments, path.text) == (segments, text)


@pytest.mark.parametrize("code", range(0x100))
def test_every_byte_encoded(code: int) -> None:
    """Enumerated: plain where a segment may hold it, else upper-case; control bytes refused."""
    raw = f"/x%{code:02x}y"
    if code < 0x20 or code >= 0x7F or chr(code) == "\\":
        with pytest.raises(AmbiguousPath):
            clean(raw)
    else:
        expected = chr(code) if chr(code) in PCHAR else f"%{code:02X}"
        assert clean(raw).text == f"/x{expected}y"


@pytest.mark.parametrize("code", range(0x100))
def test_every_byte_raw(code: int) -> None:
    raw = b"/x" + bytes([code]) + b"y"
    path = raw.decode("utf-8", "surrogateescape")
    if code < 0x20 or code >= 0x7F or chr(code) in "\\#?%":
        with pytest.raises(AmbiguousPath):
            clean(path)
    else:
        expected = chr(code) if chr(code) in PCHAR + "/" else f"%{code:02X}"
        assert clean(path).text == f"/x{expected}y"


@pytest.mark.parametrize(
    "raw",
    [
        pytest.param("", id="empty"),
        pytest.param("/é", id="raw UTF-8"),
        pytest.param("/\u2025", id="two dot leader"),
        pytest.param("/\uff0e\uff0e/admin", id="full-width dots"),
        pytest.param("/\udc80", id="raw byte that is no UTF-8"),
        pytest.param("/\ud800", id="lone surrogate"),
        pytest.param("/a\x00", id="NUL"),
        pytest.param("/a\r\nX: y", id="line end"),
        pytest.param("/a\n", id="line end that ends the text"),
        pytest.param("/a\x7f", id="DEL"),
        pytest.param("/a\x85", id="C1"),
        pytest.param("/..\n", id="dots and a line end"),
    ],
)
def test_raw_bytes_that_are_refused(raw: str) -> None:
    with pytest.raises(AmbiguousPath) as caught:
        clean(raw)
    assert (caught.value.status, caught.value.reason) == (400, Reason.AMBIGUOUS_PATH)


@pytest.mark.parametrize("first", [".", "%2e", "%2E", "%252e", "%252E", "%25%32%65"])
@pytest.mark.parametrize("second", ["", ".", "%2e", "%252e", "%25%32%45"])
@pytest.mark.parametrize("end", ["", ";", ";x", "%3b", "%253b", "%2f", "%252f", "%3F", "%2523x"])
def test_no_spelling_of_a_dot_segment_passes_whatever_a_route_allows(
    first: str, second: str, end: str
) -> None:
    for around in ("/{}", "/health/{}", "/{}/admin", "/x%2f{}", "/x;{}/y", "/a%252f{}"):
        with pytest.raises(AmbiguousPath):
            clean(around.format(first + second + end))


@pytest.mark.parametrize(
    ("raw", "allowed", "refused"),
    [
        pytest.param("/app", frozenset(), frozenset(), id="nothing to allow"),
        pytest.param("/a%2fb", frozenset(), {"%2F"}, id="encoded slash"),
        pytest.param("/a%2fb", {"%2F"}, frozenset(), id="encoded slash, allowed"),
        pytest.param("/a%2fb;c", {"%2F"}, {";"}, id="one of two allowed"),
        pytest.param("/a%3bc", {";"}, frozenset(), id="an encoded semicolon is a semicolon"),
        pytest.param("/a%2541", {"%2F"}, {"%25"}, id="encoded twice"),
        pytest.param("/a%25", frozenset(), frozenset(), id="a percent sign that escapes nothing"),
        pytest.param("/%3f%23", {"%3F", "%23"}, frozenset(), id="question mark and hash"),
    ],
)
def test_marks_that_a_route_does_not_allow(
    raw: str, allowed: frozenset[str], refused: frozenset[str]
) -> None:
    assert refused_marks(clean(raw), Route(id="r", allow_in_path=frozenset(allowed))) == refused


@pytest.mark.parametrize(
    ("raw", "strip", "add", "expected"),
    [
        pytest.param("/api/x", "", "", "/api/x", id="nothing to do"),
        pytest.param("/api/x", "/api", "", "/x", id="stripped"),
        pytest.param("/api", "/api", "", "/", id="stripped to nothing"),
        pytest.param("/api/", "/api", "", "/", id="stripped to the slash"),
        pytest.param("/api/x/", "/api", "", "/x/", id="trailing slash stays"),
        pytest.param("/apix", "/api", "", "/apix", id="whole segments only"),
        pytest.param("/other", "/api", "", "/other", id="another prefix"),
        pytest.param("/a", "/a/b", "", "/a", id="shorter than the prefix"),
        pytest.param("/a/b/c", "/a/b", "", "/c", id="two segments"),
        pytest.param("/a/b/c", "/a/b/", "", "/c", id="the prefix's trailing slash"),
        pytest.param("/%61pi/x", "/api", "", "/x", id="request spelt with escapes"),
        pytest.param("/api/x", "/%61pi", "", "/x", id="prefix spelt with escapes"),
        pytest.param("/caf%c3%a9/x", "/café", "", "/x", id="prefix in another script"),
        pytest.param("/a%2Fb/c", "/a", "", "/a%2Fb/c", id="an encoded slash divides nothing"),
        pytest.param("/a%2Fb/c%20d", "/a%2fb", "", "/c%20d", id="the rest stays encoded"),
        pytest.param("/x", "", "/v2", "/v2/x", id="added"),
        pytest.param("/x", "", "/v2/", "/v2/x", id="added, with a trailing slash"),
        pytest.param("/", "", "/v2", "/v2/", id="added to the root"),
        pytest.param("/x", "", "/", "/x", id="adding the root adds nothing"),
        pytest.param("/api/x", "/api", "/v2", "/v2/x", id="replaced"),
        pytest.param("/api", "/api", "/v2", "/v2", id="replaced, nothing behind it"),
        pytest.param("/api/", "/api", "/v2", "/v2/", id="replaced, a slash behind it"),
        pytest.param("/x", "/api", "/v2", "/v2/x", id="added where nothing was stripped"),
        pytest.param("/x", "api", "v2", "/v2/x", id="a slash in front is understood"),
    ],
)
def test_rewriting(raw: str, strip: str, add: str, expected: str) -> None:
    assert rewrite(clean(raw), strip, add) == expected


@given(PATHS)
def test_hostile_text_raises_only_the_documented_error(raw: str) -> None:
    try:
        clean(raw)
    except AmbiguousPath:
        return


@given(PATHS)
def test_cleaning_twice_changes_nothing(raw: str) -> None:
    try:
        once = clean(raw)
    except AmbiguousPath:
        return
    assert clean(once.text) == once


@given(PATHS)
def test_what_is_accepted_reads_the_same_everywhere(raw: str) -> None:
    try:
        path = clean(raw)
    except AmbiguousPath:
        return
    assert path.text.startswith("/")
    assert path.text.isascii()
    assert path.marks <= MARKS
    once = unquote(path.text, errors="strict")
    for reading in (path.text, once, unquote(once)):
        assert not any(c < " " or "\x7f" <= c <= "\x9f" or c == "\\" for c in reading)
        for segment in reading.replace("?", "/").replace("#", "/").replace(";", "/").split("/"):
            assert segment not in {".", ".."}
    if "%2F" not in path.marks:
        assert "//" not in once
        assert path.segments == tuple(filter(None, once.split("/")))
    assert unquote(raw, errors="strict") == once


@given(PATHS, st.sampled_from(["", "/a", "/admin", "/a/admin"]), st.sampled_from(["", "/v2", "/"]))
def test_a_rewritten_path_is_a_clean_path(raw: str, strip: str, add: str) -> None:
    try:
        path = clean(raw)
    except AmbiguousPath:
        return
    text = rewrite(path, strip, add)
    assert clean(text).text == text


@pytest.mark.parametrize("shape", ["a/", "%20/", "%252541", "%C3%A9", "...", "a;", ".a/", "%"])
def test_a_long_path_takes_time_in_proportion(shape: str) -> None:
    raw = "/" + shape * (65_536 // len(shape))
    started = perf_counter()
    with suppress(AmbiguousPath):
        clean(raw)
    assert perf_counter() - started < 1  # some 0.03; what grows with the square takes minutes
