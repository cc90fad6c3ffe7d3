"""Pages of other origins: pre-flights end here, and browsers may read what they should."""

from __future__ import annotations

import pytest

from tests.gateway_process import GatewayProcess, SignedIn
from tests.integration.wire import Answer, Client, Upstream, answering
from tests.servers import wait_until

pytestmark = pytest.mark.asyncio(loop_scope="module")

CONFIG = """\
version: 1
server:
  listen: 127.0.0.1:${PORT}
  admin: 127.0.0.1:${ADMIN_PORT}
session: {store: "sqlite:///sessions.db"}
roles: {admin: {permissions: ["*"]}}
upstreams: {app: "${UPSTREAM}", gone: "http://127.0.0.1:1"}
defaults: {access: deny, upstream: app}
routes:
  - {path: /plain/**, access: public}
  - path: /api/**
    access: login
    cors: &cors
      origins: [https://app.example.com, https://b.example.com]
      headers: [Content-Type]
      expose: [X-Total]
      credentials: true
      max_age: 10m
  - {path: /api/things, methods: [DELETE], access: login, role: admin, cors: *cors}
  - {path: /api/things, methods: [GET, OPTIONS], access: public}
  - {path: /admin/**, access: login, role: admin, cors: *cors}
  - {path: /gone/**, access: public, upstream: gone, cors: *cors}
  - {path: /limited/**, access: public, cors: *cors, rate_limit: {requests: 1, per: 1h}}
  - {path: /small/**, access: public, cors: *cors, max_body: 1KiB}
  - {path: /open/**, access: public, cors: {origins: "*"}}
  - {path: /listed/**, access: public, cors: {origins: "*", methods: [GET, PUT]}}
"""

APP = "https://app.example.com"
ALLOW = "Access-Control-Allow-"


@pytest.fixture(scope="module")
def ada(running_gateway: GatewayProcess) -> SignedIn:
    return running_gateway.sign_in("ada")


async def ask(
    gateway: GatewayProcess, path: str, *lines: str, method: str = "GET", body: str = ""
) -> Answer:
    head = "".join(f"{line}\r\n" for line in ("Host: localhost", *lines))
    async with Client(gateway.port) as client:
        return await client.ask(f"{method} {path} HTTP/1.1\r\n{head}\r\n{body}")


async def preflight(
    gateway: GatewayProcess, path: str, method: str, origin: str = APP, *lines: str
) -> Answer:
    asked = (f"Origin: {origin}", f"Access-Control-Request-Method: {method}", *lines)
    return await ask(gateway, path, *asked, method="OPTIONS")


def said(answer: Answer) -> dict[str, str]:
    """Return what an answer tells browsers about other origins."""
    fields = {
        name: value
        for name, value in answer.fields
        if name.lower().startswith("access-control-") or name.lower() == "vary"
    }
    assert len(fields) == len([n for n in answer.fields.names() if n in map(str.lower, fields)])
    return fields


async def test_a_preflight_is_answered_here_and_needs_no_cookie(
    gateway: GatewayProcess, upstream: Upstream
) -> None:
    answer = await preflight(gateway, "/api/x", "PUT", APP, "Access-Control-Request-Headers: a")
    assert answer.status == 204
    assert said(answer) == {
        ALLOW + "Origin": APP,
        ALLOW + "Credentials": "true",
        ALLOW + "Methods": "PUT",
        ALLOW + "Headers": "Content-Type",
        "Access-Control-Max-Age": "600",
        "Vary": "Origin",
    }
    assert answer.get("Content-Length") is None
    assert upstream.requests == []
    await wait_until(lambda: gateway.requests(reason="preflight", route="/api/**"))


@pytest.mark.parametrize("origin", ["https://evil.example", "null", APP.upper(), f"{APP}/"])
async def test_a_preflight_of_another_origin_learns_nothing(
    gateway: GatewayProcess, upstream: Upstream, origin: str
) -> None:
    answer = await preflight(gateway, "/api/x", "PUT", origin)
    assert (answer.status, said(answer)) == (204, {"Vary": "Origin"})
    assert upstream.requests == []


async def test_two_origins_are_none(gateway: GatewayProcess, upstream: Upstream) -> None:
    answer = await preflight(gateway, "/api/x", "PUT", APP, f"Origin: {APP}")
    assert (answer.status, said(answer)) == (204, {"Vary": "Origin"})
    assert upstream.requests == []


async def test_the_method_that_is_asked_about_says_which_route_answers(
    gateway: GatewayProcess, upstream: Upstream
) -> None:
    """Here OPTIONS itself belongs to a route that has no CORS."""
    answer = await preflight(gateway, "/api/things", "DELETE")
    assert (answer.status, answer.get(ALLOW + "Methods")) == (204, "DELETE")
    assert upstream.requests == []
    answer = await preflight(gateway, "/api/things", "GET")
    assert (answer.status, said(answer)) == (200, {})
    assert upstream.last.method == "OPTIONS"


async def test_every_origin_and_listed_methods(gateway: GatewayProcess) -> None:
    answer = await preflight(gateway, "/open/x", "PATCH", "https://evil.example")
    assert said(answer) == {ALLOW + "Origin": "*", ALLOW + "Methods": "PATCH"}
    answer = await preflight(gateway, "/listed/x", "PATCH", "https://evil.example")
    assert said(answer) == {ALLOW + "Origin": "*", ALLOW + "Methods": "GET, PUT"}


@pytest.mark.parametrize(
    "lines",
    [
        pytest.param([f"Origin: {APP}"], id="no method asked about"),
        pytest.param(["Access-Control-Request-Method: GET"], id="no origin"),
        pytest.param(
            [f"Origin: {APP}", *["Access-Control-Request-Method: GET"] * 2], id="two methods"
        ),
    ],
)
async def test_another_options_is_a_request_like_any(
    gateway: GatewayProcess, upstream: Upstream, lines: list[str]
) -> None:
    assert (await ask(gateway, "/api/x", *lines, method="OPTIONS")).status == 401
    assert (await ask(gateway, "/open/x", *lines, method="OPTIONS")).status == 200
    assert upstream.last.method == "OPTIONS"


@pytest.mark.parametrize(
    ("path", "status"),
    [("/plain/x", 200), ("/nowhere", 403), ("/api/x%2Fy", 400), ("/api/%2e%2e/x", 400)],
)
async def test_without_cors_a_preflight_is_a_request_like_any(
    gateway: GatewayProcess, upstream: Upstream, path: str, status: int
) -> None:
    answer = await preflight(gateway, path, "GET")
    assert answer.status == status
    assert answer.get(ALLOW + "Origin") is None
    assert len(upstream.requests) == (status == 200)


async def test_a_preflight_keeps_the_connection_and_its_body_is_nobodys(
    gateway: GatewayProcess, upstream: Upstream
) -> None:
    async with Client(gateway.port) as client:
        for _ in range(2):
            answer = await client.ask(
                "OPTIONS /api/x HTTP/1.1\r\nHost: localhost\r\nContent-Length: 3\r\n"
                f"Origin: {APP}\r\nAccess-Control-Request-Method: GET\r\n\r\nabc"
            )
            assert answer.status == 204
    assert upstream.requests == []


# --- answers to what follows a pre-flight --------------------------------------------------------

READABLE = {
    ALLOW + "Origin": APP,
    ALLOW + "Credentials": "true",
    "Access-Control-Expose-Headers": "X-Total",
}


async def test_the_upstreams_own_words_about_other_origins_are_replaced(
    gateway: GatewayProcess, upstream: Upstream, ada: SignedIn
) -> None:
    upstream.handler = answering(
        b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nAccess-Control-Allow-Origin: *\r\n"
        b"access-control-allow-credentials: false\r\nAccess-Control-Foo: x\r\n"
        b"X-Total: 3\r\n\r\n"
    )
    answer = await ask(gateway, "/api/x", f"Origin: {APP}", f"Cookie: {ada.cookie}")
    assert {name: answer.get(name) for name in READABLE} == READABLE
    assert answer.get("Access-Control-Foo") is None
    assert answer.get("X-Total") == "3"
    assert answer.fields.all("Vary") == ["Origin", "Cookie"]
    answer = await ask(gateway, "/api/x", "Origin: https://evil.example", f"Cookie: {ada.cookie}")
    assert answer.status == 200
    assert {name for name in answer.fields.names() if name.startswith("access-control")} == set()
    assert answer.fields.all("Vary") == ["Origin", "Cookie"]


async def test_without_cors_the_upstream_speaks_for_itself(
    gateway: GatewayProcess, upstream: Upstream
) -> None:
    upstream.handler = answering(
        b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nAccess-Control-Allow-Origin: *\r\n\r\n"
    )
    answer = await ask(gateway, "/plain/x", f"Origin: {APP}")
    assert said(answer) == {ALLOW + "Origin": "*"}


async def test_vary_is_not_said_twice(gateway: GatewayProcess, upstream: Upstream) -> None:
    upstream.handler = answering(
        b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nVary: Accept, origin\r\n\r\n"
    )
    answer = await ask(gateway, "/small/x", f"Origin: {APP}")
    assert answer.fields.all("Vary") == ["Accept, origin"]


@pytest.mark.parametrize(
    ("path", "lines", "status"),
    [
        pytest.param("/api/x", [], 401, id="nobody is signed in"),
        pytest.param("/api/x", ["Accept: text/html"], 302, id="to the sign-in page"),
        pytest.param("/admin/x", ["Cookie: {cookie}"], 403, id="a role is missing"),
        pytest.param("/gone/x", [], 502, id="the upstream is gone"),
        pytest.param("/small/x", ["Content-Length: 9999"], 413, id="too large"),
    ],
)
async def test_pages_may_read_our_own_refusals_too(
    gateway: GatewayProcess,
    upstream: Upstream,
    ada: SignedIn,
    path: str,
    lines: list[str],
    status: int,
) -> None:
    lines = [line.format(cookie=ada.cookie) for line in lines]
    answer = await ask(gateway, path, f"Origin: {APP}", *lines)
    assert answer.status == status
    assert {name: answer.get(name) for name in READABLE} == READABLE
    assert answer.get("Vary") == "Origin"
    answer = await ask(gateway, path, "Origin: https://evil.example", *lines)
    assert (answer.status, said(answer)) == (status, {"Vary": "Origin"})


async def test_pages_may_read_that_they_ask_too_often(gateway: GatewayProcess) -> None:
    answers = [await ask(gateway, "/limited/x", f"Origin: {APP}") for _ in range(2)]
    assert [answer.status for answer in answers] == [200, 429]
    assert [answer.get(ALLOW + "Origin") for answer in answers] == [APP, APP]
    answer = await preflight(gateway, "/limited/x", "GET")
    assert answer.status == 204
