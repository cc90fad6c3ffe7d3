"""Whoever may not pass is told so as CONTRACT promises, and the upstream never hears of it."""

from __future__ import annotations

import json
from collections.abc import Sequence
from urllib.parse import quote

import pytest

from tests.gateway_process import GatewayProcess, SignedIn
from tests.integration.wire import Answer, Client, Upstream

pytestmark = pytest.mark.asyncio(loop_scope="module")

CONFIG = """\
version: 1
server:
  listen: 127.0.0.1:${PORT}
  admin: 127.0.0.1:${ADMIN_PORT}
  trusted_proxies: [127.0.0.2/32]
session: {store: "sqlite:///sessions.db"}
roles:
  viewer: {permissions: ["reports:read"]}
  editor: {inherits: [viewer], permissions: ["reports:write"]}
  chief: {inherits: [editor]}
  root: {permissions: ["*"]}
upstreams: {app: "${UPSTREAM}"}
defaults: {access: deny, upstream: app}
routes:
  - {path: /open/**, access: public}
  - {path: /app/**, access: login}
  - {path: /admin/**, access: login, role: root}
  - {path: /optional/**, access: optional}
  - {path: /optional/viewers/**, access: optional, role: viewer}
  - {path: /closed/**, access: deny}
  - {path: /json/**, access: login, role: root, when_denied: json}
  - {path: /redirect/**, access: login, role: root, when_denied: redirect}
  - path: /pages/**
    access: login
    role: root
    when_denied:
      unauthenticated: "https://id.example.com/in?next={return_to}"
      forbidden: /sorry?from={return_to}
  - {path: /methods, methods: [GET], access: public}
  - {path: /methods, methods: [POST, PATCH], access: login}
  - {path: /office/**, access: public, network: [10.0.0.0/8, "2001:db8::/32"]}
  - {path: /office/desk/**, access: login, network: 10.0.0.0/8}
  - {path: /read, access: login, permission: "reports:read"}
  - {path: /write, access: login, permission: "reports:write"}
  - {path: /both, access: login, all_permissions: ["reports:read", "reports:write"]}
  - {path: /either, access: login, any_permission: ["reports:write", "reports:print"]}
  - {path: /print, access: login, permission: "reports:print"}
  - {path: /viewers, access: login, role: viewer}
  - {path: /crew, access: login, any_role: [editor, root]}
  - {path: /all-roles, access: login, all_roles: [viewer, guest]}
  - {path: /ada, access: login, user: [ada, bob]}
"""

PAGE = ("Accept: text/html,application/xhtml+xml,*/*;q=0.8",)
NAVIGATION = ("Sec-Fetch-Mode: navigate", "Sec-Fetch-Dest: document", "Accept: */*")
FETCH = ("Sec-Fetch-Mode: cors", "Sec-Fetch-Dest: empty", "Accept: text/html")
XHR = ("X-Requested-With: XMLHttpRequest", "Accept: text/html")
API = ("Accept: application/json",)
ANYTHING = ("Accept: */*",)
NOTHING = ()

SIGN_IN = "/_gateway/auth/signin?callbackUrl="


async def ask(
    gateway: GatewayProcess,
    method: str,
    path: str,
    fields: Sequence[str] = (),
    session: SignedIn | None = None,
    *,
    source: str = "127.0.0.1",
) -> Answer:
    lines = [f"{method} {path} HTTP/1.1", "Host: localhost", *fields]
    lines += [f"Cookie: {session.cookie}"] if session else []
    async with Client(gateway.port, source=source) as client:
        return await client.ask("\r\n".join(lines) + "\r\n\r\n")


def assert_refused(answer: Answer, upstream: Upstream) -> None:
    """What holds for every refusal."""
    assert answer.get("Cache-Control") == "no-store"
    assert upstream.requests == []
    assert answer.get("Set-Cookie") is None


def assert_page(answer: Answer) -> None:
    assert answer.get("Content-Type") == "text/html; charset=utf-8"
    assert answer.body.startswith(b"<!doctype html>")
    assert (answer.get("X-Request-Id") or "") in answer.body.decode()


def problem(answer: Answer) -> dict[str, object]:
    """Return the members of a problem document (RFC 9457)."""
    assert answer.get("Content-Type") == "application/problem+json"
    members: dict[str, object] = json.loads(answer.body)
    assert members["status"] == answer.status
    assert members["request_id"] == answer.get("X-Request-Id")
    assert members["title"]
    return members


@pytest.fixture(scope="module")
def nobody(running_gateway: GatewayProcess) -> SignedIn:
    """A user without any role."""
    return running_gateway.sign_in("nobody")


# --- not signed in -------------------------------------------------------------------------------


@pytest.mark.parametrize("method", ["GET", "HEAD"])
@pytest.mark.parametrize("fields", [PAGE, NAVIGATION], ids=["Accept", "Sec-Fetch"])
@pytest.mark.parametrize(
    ("path", "return_to"),
    [
        pytest.param("/app", "%2Fapp", id="path"),
        pytest.param("/app/a/b?c=d&e=f", "%2Fapp%2Fa%2Fb%3Fc%3Dd%26e%3Df", id="query"),
        pytest.param(
            "/app/%e2%82%ac%20?q=%2F", "%2Fapp%2F%25E2%2582%25AC%2520%3Fq%3D%252F", id="%"
        ),
        pytest.param("/app?next=https://evil.example/", None, id="a query that is an address"),
    ],
)
async def test_a_page_leads_to_sign_in_and_back(
    gateway: GatewayProcess,
    upstream: Upstream,
    method: str,
    fields: Sequence[str],
    path: str,
    return_to: str | None,
) -> None:
    answer = await ask(gateway, method, path, fields)
    assert answer.status == 302
    location = answer.get("Location") or ""
    assert location.startswith(SIGN_IN + "%2Fapp")
    if return_to is not None:
        assert location == SIGN_IN + return_to
    assert "evil.example/" not in location  # its slash is encoded
    assert_refused(answer, upstream)


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE", "QUERY"])
async def test_any_other_page_request_is_a_401_page(
    gateway: GatewayProcess, upstream: Upstream, method: str
) -> None:
    """A redirect would lose what was posted."""
    answer = await ask(gateway, method, "/app/form", [*PAGE, "Content-Length: 0"])
    assert answer.status == 401
    assert answer.get("Location") is None
    assert answer.get("WWW-Authenticate") == f'Session realm="localhost:{gateway.port}"'
    assert_page(answer)
    assert f'href="{SIGN_IN}%2Fapp%2Fform"' in answer.body.decode()
    assert_refused(answer, upstream)


@pytest.mark.parametrize("method", ["GET", "POST", "DELETE", "OPTIONS"])
@pytest.mark.parametrize(
    "fields",
    [FETCH, XHR, API, ANYTHING, NOTHING],
    ids=["fetch", "XMLHttpRequest", "JSON", "anything", "no Accept"],
)
async def test_an_api_call_is_a_401_problem(
    gateway: GatewayProcess, upstream: Upstream, method: str, fields: Sequence[str]
) -> None:
    answer = await ask(gateway, method, "/app/me?a=b", fields)
    assert answer.status == 401
    assert answer.get("WWW-Authenticate") == f'Session realm="localhost:{gateway.port}"'
    assert problem(answer)["login_url"] == SIGN_IN + "%2Fapp%2Fme%3Fa%3Db"
    assert_refused(answer, upstream)


async def test_an_optional_route_with_a_rule_asks_for_sign_in(
    gateway: GatewayProcess, upstream: Upstream, nobody: SignedIn
) -> None:
    answer = await ask(gateway, "GET", "/optional/viewers/x", API)
    assert answer.status == 401
    assert_refused(answer, upstream)
    answer = await ask(gateway, "GET", "/optional/viewers/x", API, nobody)
    assert answer.status == 403
    assert_refused(answer, upstream)
    assert (await ask(gateway, "GET", "/optional/x", API)).status == 200


# --- signed in, and not allowed ------------------------------------------------------------------


@pytest.mark.parametrize("method", ["GET", "HEAD", "POST"])
async def test_a_page_that_is_not_allowed_is_a_403_page(
    gateway: GatewayProcess, upstream: Upstream, nobody: SignedIn, method: str
) -> None:
    answer = await ask(gateway, method, "/admin/users", PAGE, nobody)
    assert answer.status == 403
    assert answer.get("Location") is None
    assert answer.get("WWW-Authenticate") is None
    if method != "HEAD":
        assert_page(answer)
    assert_refused(answer, upstream)


@pytest.mark.parametrize("fields", [FETCH, API, NOTHING], ids=["fetch", "JSON", "no Accept"])
async def test_an_api_call_that_is_not_allowed_is_a_403_problem(
    gateway: GatewayProcess, upstream: Upstream, nobody: SignedIn, fields: Sequence[str]
) -> None:
    answer = await ask(gateway, "GET", "/admin/users", fields, nobody)
    assert answer.status == 403
    assert "login_url" not in problem(answer)
    assert b"root" not in answer.body  # which rule it was is nobody's business
    assert_refused(answer, upstream)


@pytest.mark.parametrize("path", ["/closed/x", "/no/route"])
@pytest.mark.parametrize("signed_in", [True, False])
async def test_what_is_closed_is_403_for_everybody(
    gateway: GatewayProcess, upstream: Upstream, nobody: SignedIn, path: str, signed_in: bool
) -> None:
    answer = await ask(gateway, "GET", path, PAGE, nobody if signed_in else None)
    assert answer.status == 403
    assert_page(answer)
    assert_refused(answer, upstream)


# --- when_denied ---------------------------------------------------------------------------------


@pytest.mark.parametrize("fields", [PAGE, NAVIGATION, API], ids=["page", "navigation", "JSON"])
async def test_json_for_everybody(
    gateway: GatewayProcess, upstream: Upstream, nobody: SignedIn, fields: Sequence[str]
) -> None:
    answer = await ask(gateway, "GET", "/json/x", fields)
    assert answer.status == 401
    assert problem(answer)["login_url"] == SIGN_IN + "%2Fjson%2Fx"
    assert_refused(answer, upstream)
    answer = await ask(gateway, "GET", "/json/x", fields, nobody)
    assert answer.status == 403
    assert "login_url" not in problem(answer)
    assert_refused(answer, upstream)


@pytest.mark.parametrize("fields", [PAGE, FETCH, API], ids=["page", "fetch", "JSON"])
async def test_redirect_for_everybody(
    gateway: GatewayProcess, upstream: Upstream, nobody: SignedIn, fields: Sequence[str]
) -> None:
    answer = await ask(gateway, "GET", "/redirect/x?y", fields)
    assert (answer.status, answer.get("Location")) == (302, SIGN_IN + "%2Fredirect%2Fx%3Fy")
    assert_refused(answer, upstream)
    answer = await ask(gateway, "POST", "/redirect/x", fields)
    assert answer.status == 401
    assert_page(answer)
    assert_refused(answer, upstream)
    answer = await ask(gateway, "GET", "/redirect/x", fields, nobody)
    assert answer.status == 403
    assert_page(answer)
    assert_refused(answer, upstream)


async def test_pages_of_the_operators_own(
    gateway: GatewayProcess, upstream: Upstream, nobody: SignedIn
) -> None:
    # To another origin with the whole address, to one of ours with the path.
    way_back = quote(f"{gateway.origin}/pages/x?y=z", safe="")
    sign_in = f"https://id.example.com/in?next={way_back}"
    answer = await ask(gateway, "GET", "/pages/x?y=z", PAGE)
    assert (answer.status, answer.get("Location")) == (302, sign_in)
    assert_refused(answer, upstream)
    answer = await ask(gateway, "GET", "/pages/x?y=z", API)
    assert answer.status == 401
    assert problem(answer)["login_url"] == sign_in
    assert_refused(answer, upstream)
    answer = await ask(gateway, "GET", "/pages/x?y=z", PAGE, nobody)
    assert (answer.status, answer.get("Location")) == (302, "/sorry?from=%2Fpages%2Fx%3Fy%3Dz")
    assert_refused(answer, upstream)
    answer = await ask(gateway, "POST", "/pages/x?y=z", PAGE, nobody)
    assert answer.status == 403
    assert_page(answer)
    assert_refused(answer, upstream)
    answer = await ask(gateway, "GET", "/pages/x?y=z", API, nobody)
    assert (answer.status, problem(answer)["status"]) == (403, 403)
    assert_refused(answer, upstream)


# --- methods -------------------------------------------------------------------------------------


@pytest.mark.parametrize("method", ["PUT", "DELETE", "OPTIONS", "PROPFIND"])
@pytest.mark.parametrize("fields", [PAGE, API], ids=["page", "JSON"])
async def test_a_method_that_no_route_lists_is_405(
    gateway: GatewayProcess, upstream: Upstream, method: str, fields: Sequence[str]
) -> None:
    answer = await ask(gateway, method, "/methods", fields)
    assert answer.status == 405
    allowed = {name.strip() for name in (answer.get("Allow") or "").split(",")}
    assert allowed == {"GET", "HEAD", "PATCH", "POST"}
    if fields == PAGE and method != "OPTIONS":
        assert_page(answer)
    else:
        assert "login_url" not in problem(answer)
    assert_refused(answer, upstream)


@pytest.mark.parametrize(
    ("method", "status"), [("GET", 200), ("HEAD", 200), ("POST", 401), ("PATCH", 401)]
)
async def test_a_method_belongs_to_the_route_that_lists_it(
    gateway: GatewayProcess, upstream: Upstream, method: str, status: int
) -> None:
    assert (await ask(gateway, method, "/methods", API)).status == status
    assert len(upstream.requests) == (status == 200)


# --- paths ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "path",
    [
        "/open/../admin",
        "/open/./x",
        "/open/%2e%2e/admin",
        "/open/..%2fadmin",
        "/open/%2E%2E%2Fadmin",
        "/open//admin",
        "//admin",
        "/open/\\admin",
        "/open/%5cadmin",
        "/open/..;/admin",
        "/open/x;y",
        "/open/%3bx",
        "/open/%252e%252e/admin",
        "/open/%00",
        "/open/%0d%0a",
        "/open/%",
        "/open/%zz",
        "/open/%c0%ae%c0%ae/admin",
        "/open/%ff",
        "/open/x%23y",
        "/open/x%3fy",
    ],
)
@pytest.mark.parametrize("signed_in", [True, False], ids=["signed in", "anonymous"])
async def test_a_path_that_could_mean_two_things_is_400(
    gateway: GatewayProcess, upstream: Upstream, nobody: SignedIn, path: str, signed_in: bool
) -> None:
    answer = await ask(gateway, "GET", path, API, nobody if signed_in else None)
    assert answer.status == 400
    assert problem(answer)["title"]
    assert_refused(answer, upstream)


# --- networks ------------------------------------------------------------------------------------

PROXY = "127.0.0.2"


@pytest.mark.parametrize(
    ("forwarded_for", "source", "status"),
    [
        pytest.param("10.1.2.3", PROXY, 200, id="told by the proxy"),
        pytest.param("2001:db8::1", PROXY, 200, id="IPv6"),
        pytest.param("::ffff:10.1.2.3", PROXY, 200, id="IPv4 written as IPv6"),
        pytest.param("10.1.2.3, 192.0.2.1", PROXY, 403, id="claimed before another hop"),
        pytest.param("192.0.2.1, 10.1.2.3", PROXY, 200, id="the last before the proxy"),
        pytest.param("10.1.2.3, 127.0.0.2", PROXY, 200, id="two trusted proxies"),
        pytest.param("192.0.2.1", PROXY, 403, id="from outside"),
        pytest.param("11.0.0.1", PROXY, 403, id="next to the network"),
        pytest.param("ten", PROXY, 403, id="no address"),
        pytest.param("10.1.2.3", "127.0.0.1", 403, id="told by nobody we trust"),
        pytest.param("10.1.2.3", "127.0.0.3", 403, id="told by a neighbour of the proxy"),
        pytest.param(None, PROXY, 403, id="the proxy itself"),
    ],
)
async def test_a_network_is_that_of_the_real_client(
    gateway: GatewayProcess,
    upstream: Upstream,
    forwarded_for: str | None,
    source: str,
    status: int,
) -> None:
    told = [] if forwarded_for is None else [f"X-Forwarded-For: {forwarded_for}"]
    answer = await ask(gateway, "GET", "/office/x", [*API, *told], source=source)
    assert answer.status == status
    assert len(upstream.requests) == (status == 200)
    if status != 200:
        assert_refused(answer, upstream)


async def test_from_elsewhere_it_is_403_even_before_signing_in(
    gateway: GatewayProcess, upstream: Upstream, nobody: SignedIn
) -> None:
    """Signing in would not help."""
    inside, outside = ["X-Forwarded-For: 10.0.0.1"], ["X-Forwarded-For: 192.0.2.1"]
    path = "/office/desk/1"
    for session, fields, status in (
        (None, outside, 403),
        (nobody, outside, 403),
        (None, inside, 302),
    ):
        answer = await ask(gateway, "GET", path, [*PAGE, *fields], session, source=PROXY)
        assert answer.status == status
        assert_refused(answer, upstream)
    answer = await ask(gateway, "GET", path, [*PAGE, *inside], nobody, source=PROXY)
    assert answer.status == 200


# --- roles and permissions -----------------------------------------------------------------------

WHO = ["nobody", "viewer", "editor", "chief", "root", "guest", "viewer+guest", "stranger"]
MAY = {
    "/viewers": {"viewer", "editor", "chief", "viewer+guest"},
    "/read": {"viewer", "editor", "chief", "root", "viewer+guest"},
    "/write": {"editor", "chief", "root"},
    "/both": {"editor", "chief", "root"},
    "/either": {"editor", "chief", "root"},
    "/print": {"root"},
    "/crew": {"editor", "chief", "root"},
    "/all-roles": {"viewer+guest"},
    "/ada": set(),
    "/app/x": set(WHO),
}


@pytest.fixture(scope="module")
def people(running_gateway: GatewayProcess) -> dict[str, SignedIn]:
    return {
        who: running_gateway.sign_in(who, roles=[] if who == "nobody" else who.split("+"))
        for who in WHO
    }


@pytest.mark.parametrize("path", MAY)
@pytest.mark.parametrize("who", WHO)
async def test_what_roles_permit_with_all_they_inherit(
    gateway: GatewayProcess,
    upstream: Upstream,
    people: dict[str, SignedIn],
    path: str,
    who: str,
) -> None:
    answer = await ask(gateway, "GET", path, API, people[who])
    if who in MAY[path]:
        assert answer.status == 200
        assert len(upstream.requests) == 1
    else:
        assert answer.status == 403
        assert_refused(answer, upstream)


@pytest.mark.parametrize(("user", "status"), [("ada", 200), ("bob", 200), ("Ada", 403)])
async def test_a_user_by_name(
    gateway: GatewayProcess, upstream: Upstream, user: str, status: int
) -> None:
    answer = await ask(gateway, "GET", "/ada", API, gateway.sign_in(user, roles=["root"]))
    assert answer.status == status
    assert len(upstream.requests) == (status == 200)
