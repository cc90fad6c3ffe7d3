"""Signing in by the users file, from the first page to the last, over HTTP alone."""

from __future__ import annotations

import re
from asyncio import to_thread
from collections.abc import Iterator

import pytest

from tests.gateway_process import GatewayProcess, cheap_hash
from tests.integration.browser import AUTH, Page, Visitor
from tests.integration.wire import Upstream
from tests.servers import wait_until

pytestmark = pytest.mark.asyncio(loop_scope="module")

CONFIG = """\
version: 1
server:
  listen: 127.0.0.1:${PORT}
  admin: 127.0.0.1:${ADMIN_PORT}
session: {store: "sqlite:///sessions.db"}
login: {providers: [{id: local, type: users, file: users.yaml, name: Staff}]}
roles:
  reader: {permissions: ["reports:read"]}
  admin: {inherits: [reader]}
upstreams: {app: "${UPSTREAM}"}
defaults: {access: deny, upstream: app}
routes:
  - {path: /app/**, access: login}
  - {path: /admin/**, access: login, role: admin}
"""

PASSWORD = "correct horse battery staple"
WRONG = "wrong-password-of-mine"


@pytest.fixture(scope="module")
def running_gateway(
    running_upstream: Upstream, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[GatewayProcess]:
    folder = tmp_path_factory.mktemp("gateway")
    hashed = cheap_hash(PASSWORD)
    (folder / "users.yaml").write_text(
        "users:\n"
        f"  ada: {{password: {hashed!r}, name: Ada, email: ada@example.com, roles: [admin]}}\n"
        f"  bob: {{password: {hashed!r}}}\n"
        f"  eve: {{password: {hashed!r}, disabled: true}}\n",
        encoding="utf-8",
    )
    with GatewayProcess(folder, CONFIG, UPSTREAM=running_upstream.url) as gateway:
        yield gateway


@pytest.fixture
def visitor(gateway: GatewayProcess) -> Visitor:
    return Visitor(gateway.port)


def form_of(page: Page) -> tuple[str, dict[str, str]]:
    """Return where a page's form goes, and its hidden fields."""
    action = re.search(r'<form[^>]* action="([^"]+)"', page.text)
    assert action is not None
    inputs = re.findall(r"<input[^>]*>", page.text)
    hidden = [tag for tag in inputs if 'type="hidden"' in tag]
    fields = {}
    for tag in hidden:
        name, value = re.search(r'name="([^"]*)"', tag), re.search(r'value="([^"]*)"', tag)
        assert name is not None
        assert value is not None
        fields[name[1]] = value[1]
    return action[1], fields


async def test_from_the_refused_page_to_signing_out(
    visitor: Visitor, gateway: GatewayProcess, upstream: Upstream
) -> None:
    refused = await to_thread(visitor.get, "/admin/reports?year=2025")
    assert refused.status == 302
    assert upstream.requests == []

    page = await to_thread(visitor.get, refused.headers["Location"])
    assert page.status == 200
    assert "no-store" in page.headers["Cache-Control"]
    action, hidden = form_of(page)
    typed = {"username": "ada", "password": PASSWORD}
    answer = await to_thread(visitor.post, action, hidden | typed)
    assert (answer.status, answer.headers["Location"]) == (303, "/admin/reports?year=2025")
    [cookie] = [c for c in answer.headers.get_all("Set-Cookie", []) if "gateway_session" in c]
    for attribute in ("HttpOnly", "SameSite=Lax", "Path=/", "Max-Age="):
        assert attribute.lower() in cookie.lower()

    page = await to_thread(visitor.get, answer.headers["Location"])
    assert (page.status, page.text) == (200, "ok")
    told = upstream.last
    assert told.target == "/admin/reports?year=2025"
    assert told.get("X-User-Id") == "ada"
    assert told.get("X-User-Email") == "ada@example.com"
    assert told.get("X-User-Roles") == "admin,reader"
    assert told.get("X-Auth-Provider") == "local"
    assert told.get("Cookie") is None
    session = (await to_thread(visitor.get, f"{AUTH}/session")).json()
    assert session["user"]["id"] == "ada"

    action, hidden = form_of(await to_thread(visitor.get, f"{AUTH}/signout"))
    stolen = dict(visitor.cookies)
    assert (await to_thread(visitor.post, action, hidden)).status == 303
    assert "gateway_session" not in visitor.cookies
    visitor.cookies = stolen
    assert (await to_thread(visitor.get, "/admin/reports")).status == 302


async def test_an_ordinary_user_is_let_in_where_that_is_enough(
    visitor: Visitor, upstream: Upstream
) -> None:
    assert (await to_thread(visitor.sign_in, "bob", PASSWORD)).status == 303
    assert (await to_thread(visitor.get, "/app/x")).status == 200
    upstream.forget()
    assert (await to_thread(visitor.get, "/admin/x")).status == 403
    assert upstream.requests == []


@pytest.mark.parametrize(
    ("user", "password"),
    [("ada", WRONG), ("nobody", PASSWORD), ("eve", PASSWORD), ("ada", ""), ("", "")],
    ids=["wrong password", "unknown", "disabled", "no password", "nothing"],
)
async def test_nobody_else_is_let_in_and_nobody_learns_why(
    visitor: Visitor, user: str, password: str
) -> None:
    page = await to_thread(visitor.sign_in, user, password)
    assert page.status == 401
    assert "The user name or the password is wrong." in page.text
    assert "gateway_session" not in visitor.cookies
    assert password not in page.text or not password


@pytest.mark.parametrize(
    ("token", "cookie"),
    [(False, True), (True, False), (False, False)],
    ids=["no token", "no cookie", "neither"],
)
async def test_a_form_that_is_not_ours_signs_nobody_in(
    visitor: Visitor, token: bool, cookie: bool
) -> None:
    value = await to_thread(visitor.form_token)
    if not cookie:
        visitor.cookies.clear()
    form = {"username": "ada", "password": PASSWORD} | ({"csrfToken": value} if token else {})
    page = await to_thread(visitor.post, f"{AUTH}/signin/local", form)
    assert page.status == 403
    assert "gateway_session" not in visitor.cookies


async def test_a_token_of_somebody_else_signs_nobody_in(
    visitor: Visitor, gateway: GatewayProcess
) -> None:
    theirs = await to_thread(Visitor(gateway.port).form_token)
    page = await to_thread(lambda: visitor.sign_in("ada", PASSWORD, csrfToken=theirs))
    assert page.status == 403


async def test_a_form_from_another_origin_signs_nobody_in(visitor: Visitor) -> None:
    token = await to_thread(visitor.form_token)
    form = {"csrfToken": token, "username": "ada", "password": PASSWORD}
    evil = {"Origin": "https://evil.example"}
    page = await to_thread(lambda: visitor.post(f"{AUTH}/signin/local", form, **evil))
    assert page.status == 403


@pytest.mark.parametrize(
    "address",
    ["https://evil.example/", "//evil.example", "/\\evil.example", "javascript:alert(1)", ""],
)
async def test_nobody_is_sent_elsewhere_after_signing_in(visitor: Visitor, address: str) -> None:
    page = await to_thread(lambda: visitor.sign_in("ada", PASSWORD, callbackUrl=address))
    assert (page.status, page.headers["Location"]) == (303, "/")


async def test_a_session_that_was_planted_is_not_the_one_that_is_signed_in(
    visitor: Visitor, gateway: GatewayProcess
) -> None:
    planted = await to_thread(gateway.sign_in, "mallory")
    visitor.cookies[planted.cookie_name] = planted.token
    assert (await to_thread(visitor.sign_in, "ada", PASSWORD)).status == 303
    assert visitor.cookies[planted.cookie_name] != planted.token
    visitor.cookies[planted.cookie_name] = planted.token
    assert (await to_thread(visitor.get, "/app/x")).status == 302


async def test_the_log_tells_who_and_what_and_no_secret(
    visitor: Visitor, gateway: GatewayProcess
) -> None:
    await to_thread(visitor.get, "/app/x?token=query-secret")
    token = await to_thread(visitor.form_token)
    await to_thread(visitor.sign_in, "ada", WRONG)
    await to_thread(visitor.sign_in, WRONG, PASSWORD)  # typed into the wrong field
    await to_thread(visitor.sign_in, "ada", PASSWORD)
    for path in ("/app/y?token=query-secret", "/admin/%zz?token=query-secret"):
        await to_thread(visitor.get, path)
    secrets = [visitor.cookies["gateway_session"], token, "query-secret", PASSWORD, WRONG]
    secrets += [visitor.cookies["gateway_csrf"], "argon2"]
    await wait_until(lambda: gateway.requests(path="/app/y"), what="the last line is written")
    [line] = gateway.requests(path="/app/y")
    assert (line["user"], line["reason"], line["status"]) == ("ada", "ok", 200)
    assert line["session"]
    said = gateway.output()
    for secret in secrets:
        assert secret not in said
