from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import permutations
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.model import Access, CleanPath, Route
from gateway.rules.paths import clean
from gateway.rules.patterns import PatternFault, check_host, check_pattern, fold_case
from gateway.rules.routes import RouteTable, Tie, _Node, compile_routes, find

NONE = Route(id="none", access=Access.DENY)
MARKS = frozenset({"%2F", "%3F", "%23", ";", "%25"})


def route(
    text: str, *, case_insensitive: bool = False, allow: frozenset[str] = frozenset()
) -> Route:
    """Read ``GET,POST host/path``, methods and host as in a route's label."""
    methods, _, where = text.rpartition(" ")
    host, slash, path = where.partition("/")
    return Route(
        id=text,
        host=host or None,
        pattern=slash + path,
        methods=tuple(filter(None, methods.split(","))),
        access=Access.LOGIN,
        case_insensitive=case_insensitive,
        allow_in_path=allow,
    )


def table(*texts: str, folded: Sequence[str] = ()) -> RouteTable:
    """Compile routes; those in ``folded`` ignore case."""
    listed = [route(text) for text in texts]
    return compile_routes([*listed, *(route(t, case_insensitive=True) for t in folded)], NONE)


def owner(routes: RouteTable, request: str) -> str | tuple[str, ...]:
    """Return the id of the route that owns ``METHOD host/path``, or the listed methods."""
    method, _, where = request.partition(" ")
    host, slash, path = where.partition("/")
    found = find(routes, host or "a.org", clean(slash + path), method)
    return found.id if isinstance(found, Route) else found


# --- which patterns match ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("pattern", "matching", "other"),
    [
        pytest.param("/", ["/"], ["/a", "/a/"], id="root"),
        pytest.param("/a", ["/a", "/a/", "/%61"], ["/", "/A", "/ab", "/a/b"], id="literal"),
        pytest.param("/a/", ["/a", "/a/"], ["/a/b"], id="a trailing slash says nothing"),
        pytest.param("/a/b", ["/a/b", "/a/b/"], ["/a", "/b", "/a/b/c"], id="two literals"),
        pytest.param("/%61", ["/a"], ["/b"], id="patterns are decoded"),
        pytest.param("/ü", ["/%C3%BC", "/%c3%bc/"], ["/u", "/%C3%9C"], id="UTF-8 in YAML"),
        pytest.param("/%C3%BC", ["/%c3%bc"], ["/u"], id="escaped in YAML"),
        pytest.param("/*", ["/a", "/a/", "/**", "/%2A"], ["/", "/a/b"], id="one segment"),
        pytest.param("/{id}", ["/a", "/id", "/%7Bid%7D"], ["/", "/a/b"], id="one named segment"),
        pytest.param("/a/*/c", ["/a/b/c", "/a/c/c"], ["/a/c", "/a/b/d", "/a/b/c/d"], id="between"),
        pytest.param("/**", ["/", "/a", "/a/b/c/"], [], id="everything"),
        pytest.param("/admin/**", ["/admin", "/admin/", "/admin/a", "/admin/a/b"],
                     ["/", "/administrator", "/Admin", "/x/admin"], id="this and all below"),
        pytest.param("/*/**", ["/a", "/a/b", "/a/b/c"], ["/"], id="one or more"),
        pytest.param("/%2A", ["/*", "/%2a"], ["/a"], id="a literal asterisk"),
        pytest.param("/%2A%2A", ["/**", "/*%2a"], ["/a", "/a/b"], id="two literal asterisks"),
        pytest.param("/a.b", ["/a.b", "/a%2Eb"], ["/axb"], id="a dot is a dot"),
    ],
)  # fmt: skip
def test_what_a_pattern_matches(pattern: str, matching: list[str], other: list[str]) -> None:
    routes = table(pattern)

    assert {path: owner(routes, f"GET {path}") for path in matching} == dict.fromkeys(
        matching, pattern
    )
    assert {path: owner(routes, f"GET {path}") for path in other} == dict.fromkeys(other, "none")


def test_a_path_that_holds_a_slash_is_one_segment() -> None:
    allowing = route("/files/a%2Fb", allow=frozenset({"%2F"}))
    routes = compile_routes([allowing, route("/files/a/b"), route("/files/*")], NONE)

    assert owner(routes, "GET /files/a%2Fb") == "/files/a%2Fb"
    assert owner(routes, "GET /files/a/b") == "/files/a/b"
    assert owner(routes, "GET /files/x%2Fb") == "/files/*"


# --- which of several owns -----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("routes", "request_line", "expected"),
    [
        pytest.param(["/**", "/*", "/a"], "GET /a", "/a", id="literal first"),
        pytest.param(["/**", "/*", "/a"], "GET /b", "/*", id="one segment second"),
        pytest.param(["/**", "/*", "/a"], "GET /a/b", "/**", id="everything last"),
        pytest.param(["/a", "/a/**"], "GET /a", "/a", id="an end before /**"),
        pytest.param(["/*", "/a/**"], "GET /a", "/a/**", id="the first segment decides"),
        pytest.param(["/a/*", "/*/b"], "GET /a/b", "/a/*", id="left before right"),
        pytest.param(["/a/**", "/*/b/c"], "GET /a/b/c", "/a/**", id="however long the other"),
        pytest.param(["/a/b/c", "/a/*/d"], "GET /a/b/d", "/a/*/d", id="back from a dead end"),
        pytest.param(["/a/b/c", "/**"], "GET /a/b/d", "/**", id="all the way back"),
        pytest.param(["/a/*/c", "/*/b/d"], "GET /a/b/d", "/*/b/d", id="back past a wildcard"),
        pytest.param(["/a/b/**", "/a/**"], "GET /a/b", "/a/b/**", id="the longer prefix"),
        pytest.param(["/*/**", "/**"], "GET /a", "/*/**", id="one segment before /**"),
        pytest.param(["/**", "a.org/**"], "GET a.org/x", "a.org/**", id="exact host first"),
        pytest.param(["/x", "a.org/**"], "GET a.org/x", "a.org/**", id="host before path"),
        pytest.param(["/x", "a.org/y"], "GET a.org/x", "/x", id="a host without the path"),
        pytest.param(["*.a.org/**", "b.a.org/**"], "GET b.a.org/", "b.a.org/**", id="exact, wild"),
        pytest.param(["*.a.org/**", "*.b.a.org/**"], "GET c.b.a.org/", "*.b.a.org/**", id="longer"),
        pytest.param(["*.a.org/**", "*.b.a.org/y"], "GET c.b.a.org/x", "*.a.org/**", id="shorter"),
        pytest.param(["*.a.org/**"], "GET a.org/", "none", id="a wildcard is some label"),
        pytest.param(["*.a.org/**"], "GET xa.org/", "none", id="and whole labels"),
        pytest.param(["*.a.org/**"], "GET a.org.b/", "none", id="at the front"),
        pytest.param(["*.a.org/**"], "GET x.y.a.org/", "*.a.org/**", id="or several labels"),
        pytest.param(["a.org/**"], "GET b.org/", "none", id="another host"),
        pytest.param(["[::1]/**"], "GET ::1/", "[::1]/**", id="IPv6"),
        pytest.param(["GET /a", "/a"], "GET /a", "GET /a", id="method listed"),
        pytest.param(["GET /a", "/a"], "POST /a", "/a", id="method not listed"),
        pytest.param(["GET /a", "/a"], "HEAD /a", "GET /a", id="GET covers HEAD"),
        pytest.param(["GET /a", "HEAD /a"], "HEAD /a", "HEAD /a", id="HEAD listed"),
        pytest.param(["GET /a"], "POST /a", ("GET", "HEAD"), id="405"),
        pytest.param(["PUT,POST /a", "PATCH /a"], "GET /a", ("PATCH", "POST", "PUT"), id="sorted"),
        pytest.param(["GET /a", "/**"], "POST /a", ("GET", "HEAD"), id="never try the next path"),
        pytest.param(["GET a.org/a", "/a"], "POST a.org/a", ("GET", "HEAD"), id="nor host"),
        pytest.param(["GET /a"], "GET /b", "none", id="nobody"),
        pytest.param(["GET /a"], "get /a", ("GET", "HEAD"), id="methods have case"),
    ],
)  # fmt: skip
def test_the_most_specific_owns(
    routes: list[str], request_line: str, expected: str | tuple[str, ...]
) -> None:
    # In whatever order they stand in the file.
    for order in permutations(routes):
        assert owner(table(*order), request_line) == expected


def test_nothing_is_owned_without_routes() -> None:
    assert find(compile_routes([], NONE), "", clean("/"), "GET") is NONE


HOSTS = [None, "a.org", "*.org", "*.a.org"]
PARTS = st.sampled_from(["a", "b", "*", "A"])
PATTERNS = st.builds(
    lambda parts, rest: "/" + "/".join([*parts, *rest]),
    st.lists(PARTS, max_size=3),
    st.sampled_from([[], ["**"]]),
)
ROUTES = st.lists(
    st.builds(
        lambda host, pattern, methods, fold: Route(
            id=f"{methods} {host}{pattern} {fold}", host=host, pattern=pattern, methods=methods,
            case_insensitive=fold,
        ),
        st.sampled_from(HOSTS),
        PATTERNS,
        st.sampled_from([(), ("GET",), ("POST", "HEAD")]),
        st.booleans(),
    ),
    max_size=8,
)  # fmt: skip
REQUEST_PATHS = st.lists(st.sampled_from(["a", "b", "A", "c"]), max_size=4)


def rank(one: Route, host: str, segments: list[str]) -> tuple[int, ...] | None:
    """Return how specific a route is for a host and path, smaller first; None: no match.

    Written from the promise, not from the code: host by host and segment by segment.
    """
    if one.host is None:
        ranks = [100]
    elif one.host == host:
        ranks = [0]
    elif one.host.startswith("*") and host.endswith(one.host[1:]):
        ranks = [50 - len(one.host)]
    else:
        return None
    parts = [part for part in one.pattern.split("/") if part]
    for at, part in enumerate(parts):
        if part == "**":
            return (*ranks, 3)
        if at >= len(segments):
            return None
        alike = part == segments[at]
        if one.case_insensitive:
            alike = part.lower() == segments[at].lower()
        if part == "*":
            ranks.append(2)
        elif alike:
            ranks.append(1)
        else:
            return None
    return tuple(ranks) if len(parts) == len(segments) else None


@given(ROUTES, st.sampled_from(["a.org", "x.a.org", "b.org", "c"]), REQUEST_PATHS,
       st.sampled_from(["GET", "HEAD", "POST", "PUT"]))  # fmt: skip
def test_the_owner_is_what_comparing_every_route_finds(
    routes: list[Route], host: str, segments: list[str], method: str
) -> None:
    try:
        routes_table = compile_routes(routes, NONE)
    except ExceptionGroup:
        return  # ties: their own test is below
    ranked = [(ranks, one) for one in routes if (ranks := rank(one, host, segments)) is not None]
    best = [one for ranks, one in ranked if ranks == min(ranked, key=lambda pair: pair[0])[0]]
    listing = [one for one in best if method in one.methods]
    if method == "HEAD":
        listing += [one for one in best if "GET" in one.methods]
    listing += [one for one in best if not one.methods]

    found = find(routes_table, host, CleanPath(segments=tuple(segments), text=""), method)

    if not best:
        assert found is NONE
    elif listing:
        assert found is listing[0]
    else:
        named = {name for one in best for name in one.methods}
        assert found == tuple(sorted(named | ({"HEAD"} if "GET" in named else set())))


# --- case ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("routes", "folded", "request_line", "expected"),
    [
        pytest.param([], ["/Admin/**"], "GET /aDMIN/x", "/Admin/**", id="any case"),
        pytest.param([], ["/ADMIN"], "GET /admin", "/ADMIN", id="written in capitals"),
        pytest.param([], ["/é"], "GET /%C3%89", "/é", id="beyond ASCII"),
        pytest.param([], ["/k"], "GET /%E2%84%AA", "none", id="the Kelvin sign is no k"),
        pytest.param(["/A"], [], "GET /a", "none", id="case counts unless it is said"),
        pytest.param(["/a/x"], ["/A/*"], "GET /a/x", "/a/x", id="literal before wildcard"),
        pytest.param(["/a/x"], ["/A/*"], "GET /a/y", "/A/*", id="both are followed together"),
        pytest.param(["/a/*"], ["/A/x"], "GET /a/x", "/A/x", id="whichever ignores case"),
        pytest.param(["/a/**"], ["/A"], "GET /a", "/A", id="an end before /**"),
        pytest.param(["/a"], ["/A/**"], "GET /a", "/a", id="an end before a folded /**"),
        pytest.param(["GET /a"], ["/A/**"], "POST /a", ("GET", "HEAD"), id="and no way round it"),
        pytest.param(["GET /a"], ["POST /A"], "POST /a", "POST /A", id="one pattern, two methods"),
        pytest.param(["GET /a"], ["POST /A"], "PUT /a", ("GET", "HEAD", "POST"), id="405 of both"),
        pytest.param(["/a"], ["/b"], "GET /b", "/b", id="beside each other"),
    ],
)  # fmt: skip
def test_routes_that_ignore_case(
    routes: list[str], folded: list[str], request_line: str, expected: str | tuple[str, ...]
) -> None:
    assert owner(table(*routes, folded=folded), request_line) == expected


@pytest.mark.parametrize(
    ("one", "other", "alike"),
    [
        ("admin", "ADMIN", True),
        ("straße", "STRASSE", False),
        ("é", "É", True),
        ("k", "\u212a", False),
        ("s", "\u017f", False),
        ("ﬁ", "FI", False),
        ("i", "İ", False),
    ],
)
def test_case_is_folded_as_javascript_does(one: str, other: str, *, alike: bool) -> None:
    assert (fold_case(one) == fold_case(other)) is alike


# --- ties ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("routes", "folded"),
    [
        pytest.param(["/a", "/a"], [], id="the same"),
        pytest.param(["/a", "/a/"], [], id="trailing slash"),
        pytest.param(["/a", "/%61"], [], id="escaped"),
        pytest.param(["/{a}", "/{b}"], [], id="names of segments"),
        pytest.param(["/{a}/x", "/*/x"], [], id="name and asterisk"),
        pytest.param(["a.org/x", "A.ORG./x"], [], id="spelling of the host"),
        pytest.param(["GET /a", "GET,POST /a"], [], id="one method in common"),
        pytest.param([], ["/a", "/A"], id="both ignore case"),
        pytest.param(["/a"], ["/A"], id="one ignores case"),
        pytest.param(["/a"], ["/a"], id="one ignores case, spelt alike"),
        pytest.param(["GET /a/*/b/**"], ["GET /A/{x}/B/**"], id="deep"),
    ],
)
def test_two_equally_specific_routes_are_a_tie(routes: list[str], folded: list[str]) -> None:
    with pytest.raises(ExceptionGroup) as caught:
        table(*routes, folded=folded)

    (tie,) = {(id(tie.first), id(tie.second)) for tie in caught.value.exceptions
              if isinstance(tie, Tie)}  # fmt: skip
    first = caught.value.exceptions[0]
    assert isinstance(first, Tie)
    assert tie == (id(first.first), id(first.second))
    assert [first.first.id, first.second.id] == [*routes, *folded]


@pytest.mark.parametrize(
    ("routes", "folded"),
    [
        pytest.param(["/a", "/A"], [], id="case counts"),
        pytest.param(["/a", "b.org/a"], [], id="host and none"),
        pytest.param(["*.org/a", "b.org/a"], [], id="exact and wildcard"),
        pytest.param(["GET /a", "POST /a", "/a"], [], id="methods and none"),
        pytest.param(["/a", "/a/**", "/a/*"], [], id="end, all below, one below"),
        pytest.param(["/%2A", "/*"], [], id="literal asterisk"),
        pytest.param(["GET /a"], ["POST /A"], id="methods apart, case aside"),
        pytest.param(["HEAD /a", "GET /a"], [], id="GET covers HEAD only where nobody lists it"),
    ],
)
def test_what_is_no_tie(routes: list[str], folded: list[str]) -> None:
    assert len(table(*routes, folded=folded).routes) == len(routes) + len(folded)


def test_every_tie_is_told() -> None:
    with pytest.raises(ExceptionGroup) as caught:
        table("/a", "/a/", "/b", "/b/", "/c")

    assert len(caught.value.exceptions) == 2


# --- cost ----------------------------------------------------------------------------------------


class Counting(dict[str, _Node]):
    """A dictionary that counts how often it is asked."""

    asked = 0

    def get(self, key: str, default: object = None) -> _Node | None:  # type: ignore[override]
        Counting.asked += 1
        return super().get(key)


def count_all(routes: RouteTable) -> None:
    """Let every node of a table count."""
    waiting = [routes._any, *routes._exact.values(), *routes._wildcard.values()]
    while waiting:
        node = waiting.pop()
        waiting += [*node.literal.values(), *node.folded.values()]
        if node.one is not None:
            waiting.append(node.one)
        node.literal, node.folded = Counting(node.literal), Counting(node.folded)


def realistic(number: int) -> Iterator[str]:
    """Yield routes as an API has them: the same shape, however many there are."""
    for n in range(number):
        yield f"/service{n % (number // 10 or 1)}/resource{n}/{{id}}/**"


@pytest.mark.parametrize("folded", [False, True], ids=["case counts", "one route ignores case"])
def test_finding_costs_the_same_among_ten_routes_and_ten_thousand(*, folded: bool) -> None:
    asked: dict[int, list[int]] = {}
    for number in (10, 10_000):
        extra = ["/Files/**"] if folded else []
        routes = table(*realistic(number), "/*/x", folded=extra)
        count_all(routes)
        for path in ("/service0/resource0/7/a", "/service0/nothing", "/nothing/x", "/no/such/way"):
            Counting.asked = 0
            owner(routes, f"GET {path}")
            asked.setdefault(number, []).append(Counting.asked)

    assert asked[10] == asked[10_000]
    assert 0 < max(asked[10]) <= 16


def test_hosts_cost_the_same_among_ten_and_ten_thousand() -> None:
    asked = {}
    for number in (10, 10_000):
        hosts = [f"h{n}.a.org/**" for n in range(number // 2)]
        hosts += [f"*.w{n}.a.org/**" for n in range(number // 2)]
        routes = table(*hosts)
        roots = Counting(routes._exact), Counting(routes._wildcard)
        object.__setattr__(routes, "_exact", roots[0])
        object.__setattr__(routes, "_wildcard", roots[1])
        Counting.asked = 0
        assert owner(routes, "GET x.w3.a.org/") == "*.w3.a.org/**"
        asked[number] = Counting.asked

    assert asked[10] == asked[10_000] == 2


# --- spelling ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("pattern", "spelling"),
    [
        ("/", "/"),
        ("/a", "/a"),
        ("/a/", "/a"),
        ("/%61", "/a"),
        ("/é", "/%C3%A9"),
        ("/%c3%a9", "/%C3%A9"),
        ("/{id}/x", "/*/x"),
        ("/{_a1}", "/*"),
        ("/**", "/**"),
        ("/a/**", "/a/**"),
        ("/%2a", "/%2A"),
        ("/%7Bid%7D", "/%7Bid%7D"),
        ("/a b", "/a%20b"),
    ],
)
def test_the_one_spelling_of_a_pattern(pattern: str, spelling: str) -> None:
    assert check_pattern(pattern) == spelling
    assert check_pattern(spelling) == spelling


@pytest.mark.parametrize(
    ("pattern", "says"),
    [
        pytest.param("", "begins with /", id="empty"),
        pytest.param("a", "begins with /", id="relative"),
        pytest.param("http://a.org/", "begins with /", id="URL"),
        pytest.param("//", "empty segment", id="two slashes"),
        pytest.param("/a//b", "empty segment", id="two slashes inside"),
        pytest.param("/a//", "empty segment", id="two slashes at the end"),
        pytest.param("/**/a", "only at the end", id="rest in the middle"),
        pytest.param("/a*", "a segment is a literal", id="asterisk in a segment"),
        pytest.param("/***", "a segment is a literal", id="three asterisks"),
        pytest.param("/{a}.json", "a segment is a literal", id="name in a segment"),
        pytest.param("/{}", "a segment is a literal", id="no name"),
        pytest.param("/{a-b}", "a segment is a literal", id="a name that is none"),
        pytest.param("/{a", "a segment is a literal", id="open brace"),
        pytest.param("/a?b", "query", id="query"),
        pytest.param("/.", "dot segment", id="dot"),
        pytest.param("/a/..", "dot segment", id="two dots"),
        pytest.param("/%2e%2E", "dot segment", id="encoded dots"),
        pytest.param("/a\\b", "backslash", id="backslash"),
        pytest.param("/a%00", "control character", id="NUL"),
        pytest.param("/a%zz", "broken escape", id="broken escape"),
        pytest.param("/a%ff", "no UTF-8", id="no UTF-8"),
        pytest.param("/a#b", "raw #", id="fragment"),
        pytest.param("/a%2Fb", "allow_in_path", id="encoded slash"),
        pytest.param("/a;b", "allow_in_path", id="semicolon"),
        pytest.param("/a%2541", "allow_in_path", id="encoded percent"),
    ],
)
def test_what_is_no_pattern(pattern: str, says: str) -> None:
    with pytest.raises(PatternFault, match=says):
        check_pattern(pattern)


@given(st.text() | st.text(alphabet="/ab*{}%2fF.;é\\").map(lambda text: "/" + text))
def test_any_text_is_a_pattern_or_a_fault(text: str) -> None:
    try:
        spelling = check_pattern(text, MARKS)
    except PatternFault:
        return
    assert check_pattern(spelling, MARKS) == spelling
    assert compile_routes([Route(id="x", pattern=text, allow_in_path=MARKS)], NONE)


@pytest.mark.parametrize(
    ("host", "spelling"),
    [
        ("a.org", "a.org"),
        ("A.Org", "a.org"),
        ("a.org.", "a.org"),
        ("localhost", "localhost"),
        ("*.a.org", "*.a.org"),
        ("my_host-1", "my_host-1"),
        ("127.0.0.1", "127.0.0.1"),
        ("[::1]", "::1"),
        ("::1", "::1"),
        ("[0:0:0:0:0:0:0:1]", "::1"),
        ("[2001:DB8::]", "2001:db8::"),
    ],
)
def test_the_one_spelling_of_a_host(host: str, spelling: str) -> None:
    assert check_host(host) == spelling
    assert check_host(spelling) == spelling


@pytest.mark.parametrize(
    "host",
    ["", ".", "*", "*.", "*a.org", "a.*.org", "*.*.org", "a..org", ".a.org", "a.org:80", "[::1]:80",
     "http://a.org", "a.org/x", "-a.org", "a-.org", "a b", "é.org", "[::1", "::1]", "[::g]", "[]",
     "1::2::3", "[a.org]"],
)  # fmt: skip
def test_what_is_no_host(host: str) -> None:
    with pytest.raises(PatternFault, match="expected a host name"):
        check_host(host)


@given(st.text() | st.text(alphabet="a.*[]:1f-"))
def test_any_text_is_a_host_or_a_fault(text: str) -> None:
    try:
        spelling = check_host(text)
    except PatternFault:
        return
    assert check_host(spelling) == spelling
    assert compile_routes([Route(id="x", host=spelling, pattern="/**")], NONE)


def test_a_large_table_finds_each_of_its_routes() -> None:
    texts = [f"/service{n % 37}/resource{n}" for n in range(2000)]
    Random(1).shuffle(texts)
    routes = table(*texts)

    assert [owner(routes, f"GET {text}") for text in texts] == texts
