from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.model import Cors, SecurityHeaders, ShapedHeaders
from gateway.rules.headers import Kind, ResponseFields
from gateway.rules.shaping import AnswerShape, cache_lines, security_fields, varies_by

APP = "https://app.example.com"
CORS = Cors(origins=frozenset({APP}))

PRIVATE = "Cache-Control: private"
VARY = "Vary: Cookie"


def lines_of(*texts: str) -> list[bytes]:
    return [text.encode() for text in texts]


def shape(
    *,
    cors: Cors | None = None,
    fields: tuple[tuple[str, str], ...] = (),
    removed: tuple[str, ...] = (),
    security: SecurityHeaders | None = None,
) -> AnswerShape:
    return AnswerShape(
        cors=cors,
        headers=ShapedHeaders(fields=fields, removed=removed),
        security=() if security is None else security_fields(security, https=True),
    )


# --- what caches are told ------------------------------------------------------------------------


def added(signed_in: bool, *upstream: str) -> list[str]:
    """Return what is added to an answer with these fields, by the very way it goes."""
    split = ResponseFields().split([line.encode() for line in upstream])
    return [line.decode() for line in cache_lines(split[5], split[0], signed_in)]


@pytest.mark.parametrize(
    ("upstream", "to_somebody", "to_nobody"),
    [
        pytest.param([], [PRIVATE, VARY], [VARY], id="nothing said"),
        pytest.param(["ETag: x", "Last-Modified: y"], [PRIVATE, VARY], [VARY], id="validators"),
        pytest.param(["Cache-Control: max-age=9"], [VARY], [VARY], id="Cache-Control"),
        pytest.param(["CACHE-CONTROL: public"], [VARY], [VARY], id="in capitals"),
        pytest.param(["Expires: 0"], [VARY], [VARY], id="Expires"),
        pytest.param(["Pragma: no-cache"], [VARY], [VARY], id="Pragma"),
        pytest.param(["Vary: Cookie"], [PRIVATE], [], id="Vary there"),
        pytest.param(["vary: Accept, COOKIE"], [PRIVATE], [], id="Vary among others"),
        pytest.param(["Vary: Accept", "Vary: cookie"], [PRIVATE], [], id="in a second field"),
        pytest.param(["Vary: *"], [PRIVATE], [], id="everything"),
        pytest.param(["Vary: Accept"], [PRIVATE, VARY], [VARY], id="others alone"),
        pytest.param(["Vary: Cookies"], [PRIVATE, VARY], [VARY], id="a longer name"),
        pytest.param(["Vary: "], [PRIVATE, VARY], [VARY], id="empty"),
        pytest.param(["Vary: cookie", "Cache-Control: no-store"], [], [], id="all said"),
        pytest.param(["Vary: Accept", "Expires: 0"], [VARY], [VARY], id="half said"),
        pytest.param(
            ["Connection: cache-control, vary", "Cache-Control: public", "Vary: Cookie"],
            [PRIVATE, VARY],
            [VARY],
            id="said to us alone",
        ),
    ],
)
def test_an_answer_that_may_depend_on_who_asked_says_so(
    upstream: list[str], to_somebody: list[str], to_nobody: list[str]
) -> None:
    assert added(True, *upstream) == to_somebody
    assert added(False, *upstream) == to_nobody


NAMES = st.sampled_from(["Vary", "vary", "Cache-Control", "Expires", "Pragma", "X-A", "Varying"])
VALUES = st.sampled_from(["Cookie", "cookie , x", "*", "Accept", "no-store", ""])


@given(st.lists(st.tuples(NAMES, VALUES)), st.booleans())
def test_what_is_told_is_told_once(fields: list[tuple[str, str]], signed_in: bool) -> None:
    lines = [f"{name}: {value}" for name, value in fields]
    more = added(signed_in, *lines)
    assert varies_by(lines_of(*lines, *more), b"cookie")
    assert added(signed_in, *lines, *more) == []


# --- what a route changes ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "upstream", "told"),
    [
        pytest.param(shape(), ["Server: x"], ["Server: x"], id="nothing"),
        pytest.param(
            shape(fields=(("X-A", "1"), ("x-b", "2"))),
            ["x-a: 0", "X-A: 00", "X-C: 3"],
            ["X-C: 3", "X-A: 1", "x-b: 2"],
            id="set, in the place of all of that name",
        ),
        pytest.param(
            shape(removed=("server", "X-Powered-By")),
            ["Server: x", "x-powered-by: y", "X-Powered-By-Us: z"],
            ["X-Powered-By-Us: z"],
            id="removed",
        ),
        pytest.param(
            shape(cors=CORS),
            ["Access-Control-Allow-Origin: *", "access-control-max-age: 1", "X: y"],
            ["X: y", f"Access-Control-Allow-Origin: {APP}", "Vary: Origin"],
            id="CORS in the place of the upstream's",
        ),
        pytest.param(
            shape(cors=CORS),
            ["Vary: accept, origin"],
            ["Vary: accept, origin", f"Access-Control-Allow-Origin: {APP}"],
            id="Vary is kept right",
        ),
        pytest.param(
            shape(cors=CORS, fields=(("Access-Control-Allow-Origin", "https://x.example"),)),
            [],
            ["Vary: Origin", "Access-Control-Allow-Origin: https://x.example"],
            id="what the operator sets counts for more than CORS",
        ),
        pytest.param(
            shape(security=SecurityHeaders()),
            ["x-frame-options: DENY"],
            [
                "x-frame-options: DENY",
                "Strict-Transport-Security: max-age=31536000",
                "X-Content-Type-Options: nosniff",
                "Referrer-Policy: strict-origin-when-cross-origin",
            ],
            id="careful only where the upstream is not",
        ),
        pytest.param(
            shape(
                security=SecurityHeaders(hsts=None, nosniff=False, referrer_policy=None),
                fields=(("X-Frame-Options", "DENY"),),
            ),
            ["X-Frame-Options: ALLOWALL"],
            ["X-Frame-Options: DENY"],
            id="or the operator",
        ),
        pytest.param(
            shape(
                security=SecurityHeaders(hsts=None, nosniff=False, referrer_policy=None),
                removed=("X-Frame-Options",),
            ),
            ["X-Frame-Options: ALLOWALL"],
            ["X-Frame-Options: SAMEORIGIN"],
            id="what is removed was not said",
        ),
    ],
)
def test_upstream_answers(changes: AnswerShape, upstream: list[str], told: list[str]) -> None:
    lines, _ = changes.apply(lines_of(*upstream), APP)
    assert [line.decode() for line in lines] == told


@pytest.mark.parametrize(
    ("changes", "upstream", "said"),
    [
        (shape(fields=(("Cache-Control", "no-store"),)), [], Kind.CACHING),
        (shape(removed=("Cache-Control",)), ["Cache-Control: public"], 0),
        (shape(removed=("Cache-Control",)), ["Expires: 0", "Cache-Control: public"], Kind.CACHING),
        (shape(cors=CORS), [], Kind.VARY),
        (shape(), ["Vary: x", "Pragma: y"], Kind.VARY + Kind.CACHING),
    ],
)
def test_what_is_said_of_caching_is_what_the_client_gets(
    changes: AnswerShape, upstream: list[str], said: int
) -> None:
    assert changes.apply(lines_of(*upstream), None)[1] == said


def test_our_own_answers_keep_what_they_say() -> None:
    ours = (("X-Content-Type-Options", "nosniff"), ("Referrer-Policy", "same-origin"))
    changes = shape(
        cors=CORS,
        security=SecurityHeaders(),
        fields=(("Content-Security-Policy", "x"),),
        removed=("Referrer-Policy",),
    )
    assert changes.own(ours, APP) == (
        *ours,
        ("Strict-Transport-Security", "max-age=31536000"),
        ("X-Frame-Options", "SAMEORIGIN"),
        ("Access-Control-Allow-Origin", APP),
        ("Vary", "Origin"),
    )
    assert shape().own(ours, APP) == ours


@pytest.mark.parametrize(
    ("wanted", "https", "fields"),
    [
        pytest.param(
            SecurityHeaders(),
            False,
            {
                "X-Content-Type-Options": "nosniff",
                "X-Frame-Options": "SAMEORIGIN",
                "Referrer-Policy": "strict-origin-when-cross-origin",
            },
            id="no HSTS without https",
        ),
        pytest.param(
            SecurityHeaders(
                hsts=60.0,
                include_subdomains=True,
                nosniff=False,
                frame_options="DENY",
                referrer_policy=None,
            ),
            True,
            {
                "Strict-Transport-Security": "max-age=60; includeSubDomains",
                "X-Frame-Options": "DENY",
            },
            id="as wished",
        ),
    ],
)
def test_security_fields(wanted: SecurityHeaders, https: bool, fields: dict[str, str]) -> None:
    assert dict(security_fields(wanted, https=https)) == fields
