from __future__ import annotations

import pytest
from hypothesis import given

from gateway.model import CleanPath, Route
from gateway.rules.paths import clean
from gateway.rules.routes import compile_routes, find
from gateway.rules.specificity import rivals, specificity
from tests.rules.test_routes import NONE, REQUEST_PATHS, ROUTES, rank


def numbered(*texts: str) -> list[Route]:
    """Read ``METHODS host/path``, one a line of a file."""
    routes = []
    for line, text in enumerate(texts, 1):
        methods, _, where = text.rpartition(" ")
        host, slash, path = where.partition("/")
        routes.append(
            Route(
                id=text,
                line=line,
                host=host or None,
                pattern=slash + path,
                methods=tuple(filter(None, methods.split(","))),
            )
        )
    return routes


@pytest.mark.parametrize(
    ("routes", "request_line", "expected"),
    [
        pytest.param(["/a", "/b"], "GET /a", [], id="nothing else matches"),
        pytest.param(["/**", "/*", "/a"], "GET /a",
                     ["/*: less specific: segment 1 is any one, and 'a' in line 3",
                      "/**: less specific: segment 1 is /**, and 'a' in line 3"],
                     id="the most specific first"),
        pytest.param(["/a/**", "/a"], "GET /a",
                     ["/a/**: less specific: line 2 ends where this has /**"], id="an end"),
        pytest.param(["/x/{a}/z", "/x/y/*"], "GET /x/y/z",
                     ["/x/{a}/z: less specific: segment 2 is any one, and 'y' in line 2"],
                     id="the first segment that differs"),
        pytest.param(["/a", "a.org/**", "*.org/**"], "GET /a",
                     ["*.org/**: less specific: it names host *.org, and line 2 a.org",
                      "/a: less specific: it names no host, and line 2 a.org"], id="hosts"),
        pytest.param(["*.org/**", "/**"], "GET /a",
                     ["/**: less specific: it names no host, and line 1 *.org"], id="wildcard"),
        pytest.param(["GET /a", "/a", "PUT,POST /a"], "GET /a",
                     ["/a: it lists no method, and line 1 lists this one",
                      "PUT,POST /a: it lists only PUT, POST"], id="methods"),
        pytest.param(["GET /a", "POST /a", "/**"], "PUT /a",
                     ["GET /a: it lists only GET", "POST /a: it lists only POST",
                      "/**: less specific: segment 1 is /**, and 'a' in line 1"],
                     id="nobody lists the method"),
        pytest.param(["/a", "POST /*"], "GET /a",
                     ["POST /*: less specific: segment 1 is any one, and 'a' in line 1"],
                     id="less specific, whatever its methods"),
    ],
)  # fmt: skip
def test_why_others_do_not_own(routes: list[str], request_line: str, expected: list[str]) -> None:
    method, _, path = request_line.partition(" ")
    table = compile_routes(numbered(*routes), NONE)

    told = rivals(table, "a.org", clean(path), method)

    assert [f"{rival.route.id}: {rival.why}" for rival in told] == expected


@given(ROUTES, REQUEST_PATHS)
def test_every_route_that_matches_is_the_owner_or_a_rival(
    routes: list[Route], segments: list[str]
) -> None:
    try:
        table = compile_routes(routes, NONE)
    except ExceptionGroup:
        return
    path = CleanPath(segments=tuple(segments), text="")
    owner = find(table, "x.a.org", path, "GET")
    told = [rival.route for rival in rivals(table, "x.a.org", path, "GET")]

    matching = [route for route in routes if rank(route, "x.a.org", segments) is not None]
    assert {id(route) for route in told} == {id(route) for route in matching} - {id(owner)}
    assert told == sorted(told, key=specificity)
    if isinstance(owner, Route) and owner is not NONE:
        assert all(specificity(owner) <= specificity(route) for route in told)
