"""What an upstream says of its own places, told to clients who call them otherwise."""

from __future__ import annotations

import pytest

from tests.gateway_process import GatewayProcess
from tests.integration.wire import Answer, Client, Upstream, answering

pytestmark = pytest.mark.asyncio(loop_scope="module")

CONFIG = """\
version: 1
server:
  listen: 127.0.0.1:${PORT}
  public_url: https://app.example.com
  admin: 127.0.0.1:${ADMIN_PORT}
session: {store: "sqlite:///sessions.db"}
upstreams: {app: "${UPSTREAM}"}
defaults: {access: deny, upstream: app}
routes:
  - {path: /plain/**, access: public}
  - {path: /app/**, access: public, strip_prefix: /app}
  - {path: /private/**, access: login, strip_prefix: /private}
  - {path: /moved/**, access: public, strip_prefix: /moved, add_prefix: /v1}
  - {path: /called/**, access: public, preserve_host: false}
"""


async def ask(gateway: GatewayProcess, path: str, host: str = "localhost:1") -> Answer:
    async with Client(gateway.port) as client:
        return await client.ask(f"GET {path} HTTP/1.1\r\nHost: {host}\r\n\r\n")


def saying(*fields: str) -> bytes:
    lines = "".join(f"{field}\r\n" for field in fields)
    return f"HTTP/1.1 302 Found\r\nContent-Length: 0\r\n{lines}\r\n".encode("latin-1")


@pytest.mark.parametrize(
    ("path", "told", "meant"),
    [
        ("/app/x", "Location: /login?next=/x", "/app/login?next=/x"),
        ("/app/x", "location:/login", "/app/login"),
        ("/app/x", "Location: http://localhost:1/login", "http://localhost:1/app/login"),
        ("/app/x", "Location: https://app.example.com/login", "https://app.example.com/app/login"),
        ("/app/x", "Location: https://localhost/login", "https://localhost/login"),
        ("/app/x", "Location: https://id.example.com/login", "https://id.example.com/login"),
        ("/app/x", "Location: //id.example.com/login", "//id.example.com/login"),
        ("/app", "Location: login", "/app/login"),
        ("/app/a/b?c", "Location: login", "/app/a/login"),
        ("/app/x", "Location: /caf\xe9", "/app/caf\xe9"),
        ("/app/x", "Content-Location: /login", "/app/login"),
        ("/app/x", "Refresh: 5; url=/login", "5; url=/app/login"),
        ("/app/x", "Set-Cookie: a=1; Path=/; HttpOnly", "a=1; Path=/app; HttpOnly"),
        ("/app/x", "Link: </login>; rel=next", "</login>; rel=next"),
        ("/moved/x", "Location: /v1/login", "/moved/login"),
        ("/moved/x", "Location: /login", "/login"),
        ("/moved/x", "Set-Cookie: a=1; path=/v1/x", "a=1; path=/moved/x"),
        ("/called/x", "Location: {upstream}/login", "/login"),
        ("/called/x", "Location: /login", "/login"),
        ("/called/x", "Location: next", "next"),
        ("/plain/x", "Location: {upstream}/login", "{upstream}/login"),
        ("/plain/x", "Set-Cookie: a=1; Path=/", "a=1; Path=/"),
    ],
)
async def test_places(
    gateway: GatewayProcess, upstream: Upstream, path: str, told: str, meant: str
) -> None:
    upstream.handler = answering(saying(told.format(upstream=upstream.url)))
    answer = await ask(gateway, path)
    name = told.partition(":")[0]
    assert answer.get(name) == meant.format(upstream=upstream.url)


async def test_a_cookie_of_ours_is_not_set_whatever_its_path(
    gateway: GatewayProcess, upstream: Upstream
) -> None:
    upstream.handler = answering(
        saying(
            "Set-Cookie: __Host-gateway_session=evil; Path=/",
            "set-cookie:  __Host-gateway_session =evil; Path=/x",
            "Set-Cookie: a=1; Path=/",
        )
    )
    answer = await ask(gateway, "/app/x")
    assert answer.fields.all("Set-Cookie") == ["a=1; Path=/app"]


async def test_our_own_redirects_are_left_alone(gateway: GatewayProcess) -> None:
    async with Client(gateway.port) as client:
        answer = await client.ask(
            "GET /private/x HTTP/1.1\r\nHost: localhost:1\r\nAccept: text/html\r\n\r\n"
        )
    assert answer.status == 302
    assert (answer.get("Location") or "").startswith("/_gateway/auth/signin?")
