from __future__ import annotations

from ipaddress import ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.errors import Reason
from gateway.model import (
    Access,
    DenialStyle,
    Forwarding,
    Lifetime,
    RoleGrant,
    Route,
    Rules,
    Target,
    Upstream,
    User,
    WhenDenied,
)
from gateway.rules.identity import PRESETS
from gateway.rules.roles import compile_roles
from gateway.rules.routes import compile_routes
from gateway.rules.simulate import NAVIGATION, Outcome, Policy, Verdict, Visit, simulate

NOW = 1_795_391_546.0
APP = Forwarding(upstream="app")
ADMIN = User(id="ada", roles=("admin",))
BOB = User(id="bob")


def route(path: str, access: Access = Access.LOGIN, **more: object) -> Route:
    values = {"id": path, "line": 1, "pattern": path, "access": access, "forwarding": APP} | more
    return Route(**values)  # type: ignore[arg-type]


ROUTES = (
    route("/public/**", Access.PUBLIC),
    route("/optional", Access.OPTIONAL),
    route("/app/**"),
    route("/admin/**", rules=Rules(all_roles=("admin",))),
    route("/reports", rules=Rules(all_permissions=("reports:read",))),
    route("/office", Access.PUBLIC, rules=Rules(networks=(ip_network("10.0.0.0/8"),))),
    route("/api/**", when_denied=WhenDenied(style=DenialStyle.JSON)),
    route("/own", rules=Rules(all_roles=("admin",)),
          when_denied=WhenDenied(unauthenticated="https://id.org/?to={return_to}",
                                 forbidden="/sorry")),
    route("/closed", Access.DENY),
    route("/get", Access.PUBLIC, methods=("GET",)),
    route("/files/**", Access.PUBLIC, allow_in_path=frozenset({"%2F"})),
    route("/**", Access.PUBLIC, id="other", host="other.org"),
    route("/old/**", Access.PUBLIC,
          forwarding=Forwarding(upstream="api", strip_prefix="/old", add_prefix="/v1",
                                preserve_host=False)),
)  # fmt: skip


def policy(fallback: Route | None = None, **more: object) -> Policy:
    values = {
        "table": compile_routes(ROUTES, fallback or Route(id="none")),
        "roles": compile_roles({"admin": RoleGrant(permissions=("*",))}),
        "upstreams": {
            "app": Upstream(
                name="app", targets=(Target(scheme="http", host="app.local", port=3000),)
            ),
            "api": Upstream(
                name="api", targets=(Target(scheme="http", host="api.local", port=80),)
            ),
        },
        "identity_headers": PRESETS["gateway"],
        "lifetime": Lifetime(),
        "trusted_proxies": (),
        "own_paths": ("/_gateway", "/login"),
        "sign_in": "/login/signin?callbackUrl={return_to}",
        "public_url": "http://app.org:8080",
        "secure": False,
    } | more
    return Policy(**values)  # type: ignore[arg-type]


POLICY = policy()


def outcome(request: str, user: User | None = None, client: str = "127.0.0.1") -> Outcome:
    method, _, target = request.partition(" ")
    return simulate(POLICY, Visit(method=method, target=target, user=user, client=client), now=NOW)


def brief(result: Outcome) -> str:
    return f"{result.status} {result.kind} {result.reason}".replace("  ", " ")


@pytest.mark.parametrize(
    ("request_line", "user", "expected"),
    [
        ("GET /public", None, "200 ok"),
        ("GET /optional", None, "200 ok"),
        ("GET /optional", BOB, "200 ok"),
        ("GET /app", None, "302 login not_signed_in"),
        ("HEAD /app", None, "302 login not_signed_in"),
        ("POST /app", None, "401 not_signed_in"),
        ("OPTIONS /app", None, "401 json not_signed_in"),
        ("GET /app", BOB, "200 ok"),
        ("GET /admin", None, "302 login not_signed_in"),
        ("GET /admin", BOB, "403 missing_role"),
        ("GET /admin", ADMIN, "200 ok"),
        ("GET /administrator", ADMIN, "403 no_route"),
        ("GET /reports", BOB, "403 missing_permission"),
        ("GET /reports", ADMIN, "200 ok"),
        ("GET /office", None, "403 wrong_network"),
        ("GET /api/me", None, "401 json not_signed_in"),
        ("GET /api/me", BOB, "200 ok"),
        ("GET /own", None, "302 login not_signed_in"),
        ("GET /own", BOB, "302 missing_role"),
        ("POST /own", BOB, "403 missing_role"),
        ("GET /closed", ADMIN, "403 denied"),
        ("GET /nowhere", ADMIN, "403 no_route"),
        ("POST /get", None, "405 method"),
        ("OPTIONS /get", None, "405 json method"),
        ("TRACE /public", None, "405 method"),
        ("GET /public/../admin", ADMIN, "400 ambiguous_path"),
        ("GET /public//x", None, "400 ambiguous_path"),
        ("GET /public/%2e%2e/x", None, "400 ambiguous_path"),
        ("GET /public#x", None, "400 ambiguous_path"),
        ("GET /a b", None, "400 bad_request"),
        ("GET /public/a%2Fb", None, "400 ambiguous_path"),
        ("OPTIONS /public/a%2Fb", None, "400 json ambiguous_path"),
        ("GET /files/a%2Fb", None, "200 ok"),
        ("GET /files/a%2F..%2Fb", None, "400 ambiguous_path"),
        ("GET http://other.org/x", None, "200 ok"),
        ("GET https://OTHER.org:444/x", None, "200 ok"),
        ("GET http://app.org/x", None, "403 no_route"),
        ("GET http://u@app.org/x", None, "400 bad_request"),
        ("GET http:///x", None, "400 bad_request"),
        ("GET /_gateway", None, "200 page"),
        ("GET /_gateway/health", None, "200 page"),
        ("GET /login/signin?x", None, "200 page"),
        ("GET /_gatewayx", None, "403 no_route"),
        ("GET /_gateway/../app", None, "400 ambiguous_path"),
    ],
)
def test_what_happens(request_line: str, user: User | None, expected: str) -> None:
    result = outcome(request_line, user)

    assert brief(result) == expected
    assert (result.status == 200) is (result.verdict is Verdict.ALLOW)
    assert (result.reason is Reason.NOT_SIGNED_IN) is (result.verdict is Verdict.CHALLENGE)
    assert bool(result.upstream) is bool(result.headers) is (result.reason is Reason.OK)


@pytest.mark.parametrize(
    ("request_line", "user", "location"),
    [
        ("GET /app/%7ea?x=1&y", None, "/login/signin?callbackUrl=%2Fapp%2F~a%3Fx%3D1%26y"),
        ("GET http://app.org/app", None, "/login/signin?callbackUrl=%2Fapp"),
        ("GET /own", None, "https://id.org/?to=http%3A%2F%2Fapp.org%3A8080%2Fown"),
        ("GET /own", BOB, "/sorry"),
        ("POST /app", None, None),
        ("GET /app", BOB, None),
    ],
)
def test_where_to_go_instead(request_line: str, user: User | None, location: str | None) -> None:
    assert outcome(request_line, user).location == location


@pytest.mark.parametrize(
    ("request_line", "upstream", "path"),
    [
        ("GET /public/a?x=1?", "app", "/public/a?x=1?"),
        ("GET /public/%7ea/", "app", "/public/~a/"),
        ("GET /old/a%c3%a9?q", "api", "/v1/a%C3%A9?q"),
        ("GET /old", "api", "/v1"),
        ("GET http://other.org", "app", "/"),
    ],
)
def test_what_the_upstream_is_asked(request_line: str, upstream: str, path: str) -> None:
    result = outcome(request_line)

    assert (result.upstream, result.upstream_path) == (upstream, path)


def test_the_headers_of_a_signed_in_request() -> None:
    assert outcome("GET /admin", ADMIN).headers == (
        ("Host", "app.org:8080"),
        *NAVIGATION.items(),
        ("X-Forwarded-For", "127.0.0.1"),
        ("X-Forwarded-Proto", "http"),
        ("X-Forwarded-Host", "app.org:8080"),
        ("X-Forwarded-Port", "8080"),
        ("Forwarded", 'for=127.0.0.1;host="app.org:8080";proto=http'),
        ("X-User-Id", "ada"),
        ("X-User-Roles", "admin"),
        ("X-User-Permissions", "*"),
        ("X-Session-Id", "example-session-id"),
        ("X-Session-Expires", "2026-11-23T11:52:26.000Z"),
        ("X-Auth-Provider", "local"),
        ("X-Request-Id", "example-request-id"),
    )


def test_a_public_route_hears_of_nobody() -> None:
    assert outcome("GET /public", ADMIN).headers == outcome("GET /public").headers
    assert not [name for name, _ in outcome("GET /public", ADMIN).headers if "User" in name]


def test_the_upstream_s_own_host_where_it_is_not_preserved() -> None:
    headers = dict(outcome("GET http://app.org/old").headers)

    assert headers["Host"] == "api.local"
    assert headers["X-Forwarded-Host"] == "app.org"


@pytest.mark.parametrize(
    ("client", "status"), [("10.1.2.3", 200), ("192.0.2.1", 403), ("2001:db8::1", 403)]
)
def test_the_client_s_network(client: str, status: int) -> None:
    assert outcome("GET /office", client=client).status == status


@pytest.mark.parametrize(
    ("public_url", "secure", "proto"),
    [
        ("http://app.org", False, "http"),
        ("https://app.org", False, "https"),
        ("http://app.org", True, "https"),
    ],
)
def test_the_scheme_users_see(public_url: str, proto: str, *, secure: bool) -> None:
    told = simulate(
        policy(public_url=public_url, secure=secure),
        Visit(method="GET", target="/public"),
        now=NOW,
    )

    assert dict(told.headers)["X-Forwarded-Proto"] == proto


def test_who_owns_is_told() -> None:
    assert outcome("GET /closed").owner is ROUTES[8]
    assert outcome("GET /nowhere").owner is POLICY.table.fallback
    assert outcome("GET /public/a%2Fb").owner is ROUTES[0]
    assert outcome("POST /get").owner is None
    assert outcome("POST /get").allow == ("GET", "HEAD")
    assert outcome("GET /_gateway").owner is None
    assert outcome("GET /..").owner is None


def test_defaults_decide_what_nobody_owns() -> None:
    fallback = route("/**", Access.PUBLIC, id="none", line=0)
    told = simulate(policy(fallback), Visit(method="GET", target="/nowhere"), now=NOW)

    assert (told.status, told.upstream) == (200, "app")


def test_what_is_wrong_with_a_request_is_told() -> None:
    assert outcome("GET /public/a%2Fb").detail == "allow_in_path does not list %2F"
    assert outcome("GET /..").detail == "a dot segment"


METHODS = st.sampled_from(["GET", "HEAD", "POST", "OPTIONS", "CONNECT"])
USERS = st.none() | st.sampled_from([BOB, ADMIN])


@given(METHODS, st.text() | st.text(alphabet="/.%2Ffape;#?").map(lambda text: "/" + text), USERS)
def test_every_text_has_an_outcome(method: str, target: str, user: User | None) -> None:
    told = simulate(POLICY, Visit(method=method, target=target, user=user), now=NOW)

    assert told.status in (200, 302, 400, 401, 403, 405)
    if told.verdict is Verdict.ALLOW and told.reason is Reason.OK:
        assert told.path is not None
        assert told.upstream_path.startswith("/")
    else:
        assert told.headers == ()
