"""``session.format``: who signs in at the gateway is signed in at an unmodified app behind it."""

from __future__ import annotations

import json

import pytest

from tests.apps.behind import PASSWORD, USERS, Behind, Start
from tests.apps.visits import JSON
from tests.gateway_process import GatewayProcess
from tests.integration.browser import Page, Visitor
from tests.servers import wait_for

each_framework = pytest.mark.parametrize("framework", ["nextauth", "authjs"])


def signed_in(gateway: GatewayProcess, user: str = "ada") -> Visitor:
    visitor = Visitor(gateway.port)
    page = visitor.get("/api/auth/csrf")
    form = {"csrfToken": page.json()["csrfToken"], "username": user, "password": PASSWORD}
    assert visitor.post("/api/auth/signin/local", form).status == 303
    return visitor


def session_cookies(behind: Behind, page: Page) -> list[str]:
    lines = page.headers.get_all("Set-Cookie", [])
    return [line for line in lines if line.startswith(behind.cookie)]


@each_framework
@pytest.mark.parametrize("user", USERS)
def test_the_app_shows_who_has_signed_in_at_the_gateway(
    start: Start, framework: str, user: str
) -> None:
    behind = start(framework)
    visitor = signed_in(behind.gateway, user)
    wanted = USERS[user]
    shown = visitor.get("/api/me").json()["session"]["user"]
    assert shown["id"] == user
    assert shown["name"] == wanted["name"]
    assert shown["email"] == wanted.get("email")
    assert shown["roles"] == wanted["roles"]
    assert f"Signed in as {wanted['name']}" in visitor.get("/server").text
    if framework == "nextauth":
        profile = visitor.get("/profile")
        assert profile.status == 200
        assert f'<h1 id="name">{wanted["name"]}</h1>' in profile.text


@each_framework
def test_the_framework_s_browser_client_asks_the_gateway(start: Start, framework: str) -> None:
    behind = start(framework)
    visitor = signed_in(behind.gateway)
    session = visitor.get("/api/auth/session").json()
    assert session["user"]["name"] == "Ada Lovelace"
    assert session["expires"]
    nobody = Visitor(behind.gateway.port).get("/api/auth/session").text
    assert nobody == {"nextauth": "{}", "authjs": "null"}[framework]


@each_framework
def test_nobody_is_signed_in_at_the_app_who_is_not_at_the_gateway(
    start: Start, framework: str
) -> None:
    behind = start(framework)
    visitor = Visitor(behind.gateway.port)
    assert visitor.get("/api/me").status == 401
    assert "Not signed in" in visitor.get("/server").text
    assert visitor.get("/profile").status == 302
    signed = signed_in(behind.gateway)
    assert signed.get("/api/me").status == 200
    token = signed.get("/api/auth/csrf").json()["csrfToken"]
    assert signed.post("/api/auth/signout", {"csrfToken": token}).status == 303
    assert signed.get("/api/me").status == 401


@each_framework
def test_a_session_that_was_ended_elsewhere_is_over_for_the_app_too(
    start: Start, framework: str
) -> None:
    behind = start(framework)
    visitor = signed_in(behind.gateway)
    cookies = dict(visitor.cookies)
    assert visitor.get("/api/me").status == 200
    behind.gateway.sessions("revoke-user", "ada")
    revoked = Visitor(behind.gateway.port, cookies)
    wait_for(lambda: revoked.get("/api/me").status == 401, what="the session is over")


@each_framework
def test_the_app_hears_of_other_roles_in_the_very_request_that_changes_the_cookie(
    start: Start, framework: str
) -> None:
    behind = start(framework)
    visitor = signed_in(behind.gateway, "taro")
    assert visitor.get("/api/me").json()["session"]["user"]["roles"] == []
    behind.gateway.sessions("set-roles", "taro", "--role", "editor")

    def changed() -> bool:
        page = visitor.get("/api/me")
        roles = page.json()["session"]["user"]["roles"]
        if roles == ["editor"]:
            assert session_cookies(behind, page)
            return True
        assert roles == []
        return False

    wait_for(changed, what="the roles are others")
    behind.gateway.sessions("revoke-user", "taro")


@each_framework
def test_the_gateway_moves_the_expiry_and_the_app_s_own_cookie_is_dropped(
    start: Start, framework: str
) -> None:
    behind = start(framework)
    visitor = signed_in(behind.gateway)
    first = visitor.cookies[behind.cookie]

    def moved() -> bool:
        # The app issues one on every call, with Expires.
        lines = session_cookies(behind, visitor.get("/api/me"))
        assert all("Max-Age=" in line and "Expires=" not in line for line in lines)
        return len(lines) == 1

    wait_for(moved, what="the cookie is renewed")
    assert visitor.cookies[behind.cookie] != first
    assert visitor.get("/api/me").status == 200


@each_framework
def test_a_cookie_that_the_app_issued_anew_is_the_same_session(
    start: Start, framework: str
) -> None:
    behind = start(framework)
    visitor = signed_in(behind.gateway)
    directly = Visitor(behind.app.port, dict(visitor.cookies))
    assert session_cookies(behind, directly.get("/api/me"))
    assert directly.cookies[behind.cookie] != visitor.cookies[behind.cookie]
    back = Visitor(behind.gateway.port, dict(directly.cookies))
    assert back.get("/admin").status == 200
    assert back.get("/api/me").json()["session"]["user"]["id"] == "ada"


@each_framework
def test_the_cookie_goes_where_the_identity_goes(start: Start, framework: str) -> None:
    behind = start(framework)
    visitor = signed_in(behind.gateway)
    visitor.cookies |= {"theme": "dark", f"{behind.cookie}-old": "planted"}

    def sent(path: str) -> str:
        cookie: str = visitor.get(path).json()["headers"].get("cookie", "")
        return cookie

    value = f"{behind.cookie}={visitor.cookies[behind.cookie]}"
    assert sent("/api/echo") == f"theme=dark; {value}"
    assert value not in sent("/open/api/echo")
    assert value not in sent("/other/api/echo")
    assert "theme=dark" in sent("/other/api/echo")


@each_framework
def test_a_cookie_that_is_no_session_never_reaches_the_app(start: Start, framework: str) -> None:
    behind = start(framework)
    visitor = signed_in(behind.gateway)
    cookie = visitor.cookies[behind.cookie]
    for header in (
        f"{behind.cookie}={cookie[:-2]}",
        f"{behind.cookie}={cookie}; {behind.cookie}={cookie}",
        f"{behind.cookie}={cookie}; {behind.cookie}.0={cookie}",
        f"{behind.cookie}.1={cookie}",
        f"__Secure-{behind.cookie}={cookie}",  # for an app that believes to be behind https
    ):
        for path in ("/api/echo", "/open/api/echo", "/other/api/echo"):
            page = Visitor(behind.gateway.port).get(path, Cookie=header)
            assert "cookie" not in page.json()["headers"]


def test_whoever_is_known_by_another_session_does_not_bring_along_one_that_has_ended(
    start: Start,
) -> None:
    behind = start("nextauth")
    visitor = signed_in(behind.gateway)
    ended = visitor.cookies[behind.cookie]
    body = json.dumps({"name": "Zoë", "roles": []})
    assert visitor.ask("POST", "/api/iron/login", body, JSON).status == 200
    seen = visitor.get("/api/echo").json()["headers"]
    assert seen["x-user-id"] == "ada"
    behind.gateway.sessions("revoke-user", "ada")

    def known_by_the_other() -> bool:
        visitor.cookies[behind.cookie] = ended
        seen.update(visitor.get("/api/echo").json()["headers"])
        return bool(seen["x-user-id"] == "iron:230")

    wait_for(known_by_the_other, what="the session is over")
    assert seen["cookie"] == f"iron_session={visitor.cookies['iron_session']}"


@each_framework
def test_the_command_line_makes_cookies_that_the_app_reads(start: Start, framework: str) -> None:
    behind = start(framework)
    made = behind.gateway.sign_in("zoe", name="Zoë", roles=[f"role-{n}" for n in range(400)])
    assert made.cookie.count("; ") == 1
    page = Visitor(behind.gateway.port).get("/api/me", Cookie=made.cookie)
    assert page.json()["session"]["user"]["name"] == "Zoë"
