"""The guides work as written: their configuration, in front of the applications they are about."""

from __future__ import annotations

import http.client
import json
import re
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.apps.guides import Guide, gateway_of, try_out, use
from tests.apps.running import IRON_PASSWORD, SECRET, App, auth_js, express, next_js
from tests.apps.visits import JSON, auth_sign_in
from tests.gateway_process import GatewayProcess, cheap_hash
from tests.integration.browser import Page, Visitor
from tests.servers import RedisServer, wait_for

PASSWORD = "correct horse"


@pytest.fixture
def stack() -> Iterator[ExitStack]:
    with ExitStack() as stack:
        yield stack


def told(page: Page) -> dict[str, str]:
    """Return the identity headers that reached the app, as its echo page says."""
    headers: dict[str, str] = page.json()["headers"]
    return {name: value for name, value in headers.items() if name.startswith(("x-user", "x-auth"))}


def sign_in_page(visitor: Visitor, path: str) -> str:
    """Return where a browser ends up that may not open a page."""
    page = visitor.get(path)
    address = path
    while page.status in (302, 303):
        address = page.headers["Location"]
        page = visitor.get(address)
    assert page.status == 200
    return address


def status_of(port: int, path: str) -> int:
    """Return what an address answers, whatever its content is."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    try:
        connection.request("GET", path, headers={"Accept": "image/png"})
        return connection.getresponse().status
    finally:
        connection.close()


def sign_out_of_app(visitor: Visitor, origin: str) -> None:
    token = visitor.get("/api/auth/csrf").json()["csrfToken"]
    form = {"csrfToken": token, "callbackUrl": origin, "json": "true"}
    assert visitor.post("/api/auth/signout", form).status in (200, 302)


# --- next-auth 4 -----------------------------------------------------------------------------


def nextjs(stack: ExitStack, folder: Path, holding: str) -> tuple[App, GatewayProcess]:
    guide = Guide("nextjs")
    secrets = {"NEXTAUTH_SECRET": SECRET, "IRON_PASSWORD": IRON_PASSWORD}
    gateway = gateway_of(folder, guide.config(holding), **secrets)
    hashed = cheap_hash(PASSWORD)
    (folder / "users.yaml").write_text(guide.users(hashed), encoding="utf-8")
    app = stack.enter_context(next_js(gateway.origin))
    use(gateway, app=app.port)
    stack.enter_context(gateway)
    return app, gateway


def test_next_js_signs_in_and_the_gateway_decides(stack: ExitStack, tmp_path: Path) -> None:
    _, gateway = nextjs(stack, tmp_path, "type: nextauth")
    try_out(Guide("nextjs"), gateway)
    visitor = Visitor(gateway.port)
    assert sign_in_page(visitor, "/profile") == "/api/auth/signin?callbackUrl=%2Fprofile"
    assert auth_sign_in(visitor, gateway.origin, "alice", "wonderland").status == 200
    assert '<h1 id="name">Alice Liddell</h1>' in visitor.get("/profile").text
    assert told(visitor.get("/api/echo")) == {
        "x-user-id": "1",
        "x-user-name": "Alice Liddell",
        "x-user-email": "alice@example.com",
        "x-user-image": "https://img.example.com/alice.png",
        "x-user-roles": "admin,editor",
        "x-auth-provider": "nextauth",
    }
    assert "only for admins" in visitor.get("/admin").text
    kept = dict(visitor.cookies)
    sign_out_of_app(visitor, gateway.origin)
    assert visitor.get("/profile").status == 302
    assert set(kept) - set(visitor.cookies)


def test_next_js_keeps_a_page_s_data_as_the_page(stack: ExitStack, tmp_path: Path) -> None:
    app, gateway = nextjs(stack, tmp_path, "type: nextauth")
    bob, alice, nobody = (Visitor(gateway.port) for _ in range(3))
    assert auth_sign_in(bob, gateway.origin, "bob", "builder").status == 200
    assert auth_sign_in(alice, gateway.origin, "alice", "wonderland").status == 200
    data = f"/_next/data/{app.build_id}/admin.json"
    assert "only for admins" in Visitor(app.port).get(data).text  # the app asks nobody
    for path in ("/admin", "/admin/", data, f"{data}/"):
        assert nobody.get(path).status == 302
        assert bob.get(path).status == 403
        assert alice.get(path).status in (200, 308)
    assert "only for admins" in alice.get(data).text
    image = "/_next/image?url=%2Fadmin%2Fchart.png&w=64&q=75"
    assert status_of(app.port, image) == 200
    assert status_of(gateway.port, image) == 401
    assert nobody.post("/", {}).status == 405
    seen = bob.get("/api/echo", **{"X-Middleware-Subrequest": "middleware:middleware"})
    assert "x-middleware-subrequest" not in seen.json()["headers"]


def test_many_roles_come_in_several_cookies(stack: ExitStack, tmp_path: Path) -> None:
    text = Guide("nextjs").config("type: nextauth")
    _, gateway = nextjs(stack, tmp_path, "type: nextauth")
    visitor = Visitor(gateway.port)
    assert auth_sign_in(visitor, gateway.origin, "big", "data").status == 200
    assert sum("session-token" in name for name in visitor.cookies) > 1
    seen = told(visitor.get("/api/echo"))
    assert seen["x-user-id"] == "4"
    assert "allowed_roles" in text
    assert "x-user-roles" not in seen  # none of the 400 is one that the app may give


@pytest.mark.parametrize(
    ("version", "count", "cookies"),
    [
        pytest.param(8, 100, {"iron_session"}, id="8"),
        pytest.param(9, 100, {"iron_session"}, id="9"),
        pytest.param(9, 300, {"iron_session.0", "iron_session.1"}, id="9 in pieces"),
    ],
)
def test_iron_session_signs_in_and_the_gateway_decides(
    stack: ExitStack, tmp_path: Path, version: int, count: int, cookies: set[str]
) -> None:
    roles = [f"role-{number}" for number in range(count)]
    text = Guide("nextjs").config("type: iron-session")
    text = text if version == 8 else text.replace("version: 8, ", "")
    gateway = gateway_of(tmp_path, text, IRON_PASSWORD=IRON_PASSWORD)
    app = next_js(gateway.origin) if version == 8 else auth_js(gateway.origin)
    use(gateway, app=stack.enter_context(app).port)
    stack.enter_context(gateway)
    visitor = Visitor(gateway.port)
    assert visitor.get("/api/iron/me", Accept="*/*").status == 401
    body = json.dumps({"name": "Zoë 🔑", "roles": roles})
    assert visitor.ask("POST", "/api/iron/login", body, JSON).status == 200
    assert set(visitor.cookies) == cookies
    assert visitor.get("/api/iron/me").json()["user"]["name"] == "Zoë 🔑"
    assert told(visitor.get("/api/echo")) == {
        "x-user-id": "230",
        "x-user-name": "Zo%C3%AB %F0%9F%94%91",
        "x-user-roles": ",".join(roles),
        "x-auth-provider": "iron-session",
    }
    assert visitor.get("/api/iron/admin").status == 403
    assert visitor.get("/api/iron/logout").status == 200
    assert visitor.get("/api/iron/me", Accept="*/*").status == 401


def test_the_gateway_signs_in_and_next_js_knows_who_it_is(stack: ExitStack, tmp_path: Path) -> None:
    app, gateway = nextjs(stack, tmp_path, "format: nextauth")
    visitor = gateway_sign_in(gateway)
    assert '<h1 id="name">Alice Liddell</h1>' in visitor.get("/profile").text
    assert visitor.get("/api/me").json()["session"]["user"]["roles"] == ["admin"]
    assert "Signed in as Alice Liddell" in visitor.get("/server").text
    assert "only for admins" in visitor.get(f"/_next/data/{app.build_id}/admin.json").text


def gateway_sign_in(gateway: GatewayProcess) -> Visitor:
    visitor = Visitor(gateway.port)
    token = visitor.get("/api/auth/csrf").json()["csrfToken"]
    form = {"csrfToken": token, "username": "alice", "password": PASSWORD}
    assert visitor.post("/api/auth/signin/local", form).status == 303
    return visitor


# --- Auth.js 5 -------------------------------------------------------------------------------


def authjs(stack: ExitStack, folder: Path, holding: str) -> tuple[App, GatewayProcess]:
    guide = Guide("authjs")
    gateway = gateway_of(folder, guide.config(holding), AUTH_SECRET=SECRET)
    hashed = cheap_hash(PASSWORD)
    (folder / "users.yaml").write_text(guide.users(hashed), encoding="utf-8")
    app = stack.enter_context(auth_js(gateway.origin))
    use(gateway, app=app.port)
    stack.enter_context(gateway)
    return app, gateway


def test_auth_js_signs_in_and_the_gateway_decides(stack: ExitStack, tmp_path: Path) -> None:
    app, gateway = authjs(stack, tmp_path, "type: authjs")
    try_out(Guide("authjs"), gateway)
    alice, bob = Visitor(gateway.port), Visitor(gateway.port)
    client = {"X-Auth-Return-Redirect": "1"}
    assert auth_sign_in(alice, gateway.origin, "alice", "wonderland", **client).status == 200
    assert auth_sign_in(bob, gateway.origin, "bob", "builder", **client).status == 200
    assert "Signed in as Alice Liddell" in alice.get("/server").text
    seen = told(alice.get("/api/echo"))
    assert (seen["x-user-id"], seen["x-user-roles"]) == ("1", "admin,editor")
    assert seen["x-auth-provider"] == "authjs"
    page = alice.get("/admin").text
    assert "only for admins" in page
    assert bob.get("/admin").status == 403
    # An action answers wherever a POST reaches the app; strangers reach it nowhere.
    action = re.search(r"ACTION_ID_([0-9a-f]+)", page)
    assert action is not None
    run = {"Next-Action": action[1], "Content-Type": "text/plain;charset=UTF-8"}
    assert "only for admins" in Visitor(app.port).ask("POST", "/server", "[]", run).text
    assert Visitor(gateway.port).ask("POST", "/", "[]", run).status == 405
    assert Visitor(gateway.port).ask("POST", "/server", "[]", run).status == 401
    sign_out_of_app(alice, gateway.origin)
    assert alice.get("/server").status == 302


def test_the_gateway_signs_in_and_auth_js_knows_who_it_is(stack: ExitStack, tmp_path: Path) -> None:
    _, gateway = authjs(stack, tmp_path, "format: authjs")
    visitor = gateway_sign_in(gateway)
    assert "Signed in as Alice Liddell" in visitor.get("/server").text
    assert visitor.get("/api/me").json()["session"]["user"]["roles"] == ["admin"]
    assert visitor.get("/admin").status == 200


# --- Express ---------------------------------------------------------------------------------


def expressjs(
    stack: ExitStack, folder: Path, **settings: str
) -> tuple[RedisServer, App, GatewayProcess]:
    redis = stack.enter_context(RedisServer())
    text = Guide("express").config("type: express-session")
    gateway = gateway_of(folder, text, SESSION_SECRET=SECRET)
    app = stack.enter_context(express(redis.url, **settings))
    use(gateway, app=app.port, redis=redis.port)
    stack.enter_context(gateway)
    return redis, app, gateway


def express_sign_in(visitor: Visitor, user: str) -> None:
    body = json.dumps({"username": user, "password": "secret"})
    assert visitor.ask("POST", "/login", body, JSON).status == 200


@pytest.mark.parametrize("settings", [{}, {"PASSPORT": "1"}], ids=["plain", "with passport"])
def test_express_signs_in_and_the_gateway_decides(
    stack: ExitStack, tmp_path: Path, settings: dict[str, str]
) -> None:
    redis, app, gateway = expressjs(stack, tmp_path, **settings)
    try_out(Guide("express"), gateway)
    alice, bob = Visitor(gateway.port), Visitor(gateway.port)
    assert sign_in_page(alice, "/me") == "/login?next=%2Fme"
    express_sign_in(alice, "alice")
    express_sign_in(bob, "bob")
    assert alice.get("/me").json()["user"]["name"] == "Alice Liddell"
    assert told(alice.get("/echo")) == {
        "x-user-id": "1",
        "x-user-name": "Alice Liddell",
        "x-user-roles": "admin,editor",
        "x-auth-provider": "express-session",
    }
    assert Visitor(app.port).get("/ADMIN").status == 200  # the app asks nobody, in any case
    for path in ("/admin", "/ADMIN", "/Admin/", "/%61dmin"):
        assert alice.get(path).json() == {"secret": "only for admins"}
        assert bob.get(path).status == 403
        assert Visitor(gateway.port).get(path).status == 302
    cookies = dict(alice.cookies)
    assert alice.post("/logout", {}).status == 200
    again = Visitor(gateway.port, cookies)  # somebody who has kept the cookie
    wait_for(lambda: again.get("/me").status == 302, what="the session is over")
    assert bob.get("/me").status == 200
    redis.command("FLUSHALL")
    wait_for(lambda: bob.get("/me").status == 302, what="no session is left")
