"""The applications do through the gateway what they do without it, where nobody is asked."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.apps.running import App, auth_js, express, next_js
from tests.apps.visits import JSON, auth_sign_in, session_cookies
from tests.gateway_process import GatewayProcess
from tests.integration.browser import Visitor
from tests.servers import RedisServer

CONFIG = """\
version: 1
server: {listen: "127.0.0.1:${PORT}"}
session: {store: "memory://"}
upstreams: {app: "${UPSTREAM}"}
defaults: {access: public, upstream: app}
"""


@pytest.fixture(scope="module")
def stack() -> Iterator[ExitStack]:
    with ExitStack() as stack:
        yield stack


def behind(stack: ExitStack, folder: Path, app: str) -> tuple[App, GatewayProcess]:
    """Start an application and a gateway in front of it that lets everybody in."""
    gateway = GatewayProcess(folder, CONFIG)
    match app:
        case "nextjs":
            running = next_js(gateway.origin)
        case "authjs":
            running = auth_js(gateway.origin)
        case _:
            running = express(stack.enter_context(RedisServer()).url)
    stack.enter_context(running)
    gateway.environment["UPSTREAM"] = running.url
    stack.enter_context(gateway)
    return running, gateway


@pytest.fixture(scope="module")
def nextjs(stack: ExitStack, tmp_path_factory: pytest.TempPathFactory) -> GatewayProcess:
    return behind(stack, tmp_path_factory.mktemp("gateway"), "nextjs")[1]


@pytest.fixture(scope="module")
def authjs(stack: ExitStack, tmp_path_factory: pytest.TempPathFactory) -> GatewayProcess:
    return behind(stack, tmp_path_factory.mktemp("gateway"), "authjs")[1]


@pytest.fixture(scope="module")
def expressjs(stack: ExitStack, tmp_path_factory: pytest.TempPathFactory) -> GatewayProcess:
    return behind(stack, tmp_path_factory.mktemp("gateway"), "express")[1]


@pytest.mark.parametrize(
    ("user", "password", "name", "roles"),
    [
        ("alice", "wonderland", "Alice Liddell", 2),
        ("bob", "builder", "Bob", 1),
        ("taro", "hanako", "山田 太郎 👩🏽‍🚀", 0),
        ("big", "data", "Big Claims", 400),
    ],
)
def test_next_auth_signs_in_and_shows_who_it_is_everywhere(
    nextjs: GatewayProcess, user: str, password: str, name: str, roles: int
) -> None:
    visitor = Visitor(nextjs.port)
    assert auth_sign_in(visitor, nextjs.origin, user, password).status == 200
    session = visitor.get("/api/me").json()["session"]
    assert session["user"]["name"] == name
    assert len(session["user"]["roles"]) == roles
    profile = visitor.get("/profile")
    assert f'<h1 id="name">{name}</h1>' in profile.text
    assert session_cookies(profile)
    component = visitor.get("/server")
    assert f"Signed in as {name}" in component.text
    assert session_cookies(component) == []
    session = visitor.get("/api/auth/session").json()
    assert session["user"]["email"]
    assert session["expires"]


def test_next_auth_knows_nobody_who_has_not_signed_in(nextjs: GatewayProcess) -> None:
    visitor = Visitor(nextjs.port)
    assert visitor.get("/profile").status == 307
    assert visitor.get("/api/me").status == 401
    assert "Not signed in" in visitor.get("/server").text


def test_iron_session_signs_in_and_out(nextjs: GatewayProcess) -> None:
    visitor = Visitor(nextjs.port)
    assert visitor.get("/api/iron/me").status == 401
    body = json.dumps({"name": "Zoë 🔑", "roles": ["ops"]})
    assert visitor.ask("POST", "/api/iron/login", body, JSON).status == 200
    assert visitor.cookies["iron_session"].startswith("Fe26.2*1*")
    user = visitor.get("/api/iron/me").json()["user"]
    assert (user["name"], user["roles"]) == ("Zoë 🔑", ["ops"])
    assert visitor.get("/api/iron/logout").status == 200
    assert visitor.get("/api/iron/me").status == 401


def test_express_session_signs_in_and_out(expressjs: GatewayProcess) -> None:
    visitor = Visitor(expressjs.port)
    assert visitor.get("/me").status == 401
    wrong = json.dumps({"username": "alice", "password": "wrong"})
    assert visitor.ask("POST", "/login", wrong, JSON).status == 401
    right = json.dumps({"username": "alice", "password": "secret"})
    assert visitor.ask("POST", "/login", right, JSON).status == 200
    assert "connect.sid" in visitor.cookies
    assert visitor.get("/me").json()["roles"] == ["admin", "editor"]
    assert visitor.post("/logout", {}).status == 200
    assert visitor.get("/me").status == 401


@pytest.mark.parametrize(
    ("user", "password", "roles"), [("alice", "wonderland", 2), ("big", "data", 400)]
)
def test_auth_js_signs_in_and_shows_who_it_is_everywhere(
    authjs: GatewayProcess, user: str, password: str, roles: int
) -> None:
    visitor = Visitor(authjs.port)
    assert visitor.get("/api/me").status == 401
    as_client = {"X-Auth-Return-Redirect": "1"}
    assert auth_sign_in(visitor, authjs.origin, user, password, **as_client).status == 200
    assert any(name.startswith("authjs.session-token") for name in visitor.cookies)
    session = visitor.get("/api/me").json()["session"]
    assert len(session["user"]["roles"]) == roles
    assert f"Signed in as {session['user']['name']}" in visitor.get("/server").text
    assert visitor.get("/api/auth/session").json()["user"]["email"]
