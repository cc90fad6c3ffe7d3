"""An operator's own Python, in real gateways: who may sign in, what is kept, what is shown."""

from __future__ import annotations

import asyncio
import json
import signal
from asyncio import to_thread
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.gateway_process import GatewayProcess, cheap_hash
from tests.integration.browser import AUTH, Page, Visitor
from tests.integration.wire import Received, Upstream
from tests.servers import wait_until

pytestmark = pytest.mark.asyncio(loop_scope="module")

PASSWORD = "correct horse"
PRIVATE = "whispered-to-nobody-else"
CONFIG = """\
version: 1
server: {listen: 127.0.0.1:${PORT}, admin: 127.0.0.1:${ADMIN_PORT}, workers: 2}
session:
  store: sqlite:///sessions.db
  secret: "for tests only: at least 32 characters"
  store_timeout: 5s
login: {providers: [{id: local, type: users, file: users.yaml}]}
callbacks: callbacks.py
upstreams: {app: "${UPSTREAM}"}
defaults: {access: deny, upstream: app}
routes:
  - {path: /form, access: public, session_control: true}
  - {path: /app/**, access: login}
  - {path: /admin/**, access: login, role: admin}
"""
CALLBACKS = '''\
"""As an operator who knows NextAuth writes them."""

import asyncio


async def sign_in(user, account):
    if user["id"] == "fails":
        raise RuntimeError("whispered-to-nobody-else")
    if user["id"] == "pending":
        return f"/pending?by={account['type']}"
    return user["id"] != "banned"


def jwt(token, user, trigger, session):
    if trigger == "signIn":
        token["greeting"] = f"Hello {user['name']}"
    if trigger == "update" and session == "nonsense":
        return None
    if trigger == "update" and session == "hang":
        import time
        time.sleep(60)
    if trigger == "update" and isinstance(session, dict):
        token |= session
    token["asked"] = token.get("asked", 0) + (trigger is None)
    return token


async def session(session, token, trigger, new_session):
    await asyncio.sleep(0)
    if new_session and "explode" in new_session:
        raise KeyError(token["email"])
    session["user"]["greeting"] = token["greeting"]
    session["asked"] = token["asked"]
    session["trigger"] = trigger
    return session
'''
USERS = ("ada", "banned", "pending", "fails")


def write_users(folder: Path) -> None:
    hashed = cheap_hash(PASSWORD)
    lines = [
        f"  {name}: {{password: {hashed!r}, name: {name.title()}, email: {PRIVATE}@example.com,"
        " roles: [editor]}\n"
        for name in USERS
    ]
    (folder / "users.yaml").write_text("users:\n" + "".join(lines), encoding="utf-8")


@pytest.fixture(scope="module")
def running_gateway(
    running_upstream: Upstream, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[GatewayProcess]:
    folder = tmp_path_factory.mktemp("gateway")
    write_users(folder)
    (folder / "callbacks.py").write_text(CALLBACKS, encoding="utf-8")
    with GatewayProcess(folder, CONFIG, UPSTREAM=running_upstream.url) as gateway:
        yield gateway


async def signed_in(gateway: GatewayProcess) -> Visitor:
    visitor = Visitor(gateway.port)
    page = await to_thread(visitor.sign_in, "ada", PASSWORD)
    assert page.status == 303
    return visitor


async def shown(visitor: Visitor) -> dict[str, Any]:
    page = await to_thread(visitor.get, f"{AUTH}/session", Accept="application/json")
    assert page.status == 200
    session: dict[str, Any] = page.json()
    return session


async def update(visitor: Visitor, data: object, *, token: str | None = None) -> Page:
    """Send what next-auth's ``update(data)`` sends."""
    form = {"csrfToken": token or await to_thread(visitor.form_token), "data": data}
    headers = {"Content-Type": "application/json", "Accept": "application/json"}
    return await to_thread(visitor.ask, "POST", f"{AUTH}/session", json.dumps(form), headers)


# --- signing in ------------------------------------------------------------------------------


async def test_what_jwt_adds_at_sign_in_is_shown_by_session(gateway: GatewayProcess) -> None:
    visitor = await signed_in(gateway)
    first, second = await shown(visitor), await shown(visitor)
    assert first["user"]["greeting"] == "Hello Ada"
    assert (first["user"]["id"], first["trigger"]) == ("ada", None)
    assert (first["asked"], second["asked"]) == (1, 2)


async def test_whom_sign_in_refuses_gets_the_page_again_and_no_session(
    gateway: GatewayProcess,
) -> None:
    visitor = Visitor(gateway.port)
    page = await to_thread(visitor.sign_in, "banned", PASSWORD)
    assert page.status == 403
    assert "You are not allowed to sign in here." in page.text
    assert "gateway_session" not in visitor.cookies
    answer = await to_thread(visitor.sign_in, "banned", PASSWORD, json="true")
    assert answer.status == 403
    assert "error=AccessDenied" in answer.json()["url"]


async def test_sign_in_sends_somebody_elsewhere(gateway: GatewayProcess) -> None:
    visitor = Visitor(gateway.port)
    page = await to_thread(visitor.sign_in, "pending", PASSWORD)
    assert (page.status, page.headers["Location"]) == (303, "/pending?by=credentials")
    answer = await to_thread(visitor.sign_in, "pending", PASSWORD, json="true")
    assert answer.json() == {"url": f"{gateway.origin}/pending?by=credentials"}
    assert "gateway_session" not in visitor.cookies


async def test_an_exception_lets_nobody_in_and_shows_nothing(gateway: GatewayProcess) -> None:
    visitor = Visitor(gateway.port)
    page = await to_thread(visitor.sign_in, "fails", PASSWORD)
    assert page.status == 500
    assert "The sign-in is not set up correctly." in page.text
    assert "gateway_session" not in visitor.cookies
    line = gateway.log("callback_failed")[-1]
    assert (line["callback"], line["why"]) == ("sign_in", "raised RuntimeError")
    assert line["where"][-1].endswith("callbacks.py:8")
    assert PRIVATE not in page.text + gateway.output()


async def test_a_wrong_password_never_comes_as_far(gateway: GatewayProcess) -> None:
    page = await to_thread(Visitor(gateway.port).sign_in, "fails", "wrong")
    assert page.status == 401


# --- by an upstream --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("user", "status", "location"),
    [("ada", 200, None), ("banned", 403, None), ("pending", 303, "/pending?by=upstream"),
     ("fails", 500, None)],
)  # fmt: skip
async def test_they_hold_for_whom_an_upstream_signs_in_too(
    gateway: GatewayProcess, upstream: Upstream, user: str, status: int, location: str | None
) -> None:
    async def form(request: Received) -> None:
        await request.read()
        described = json.dumps({"user": {"id": user, "name": user.title()}})
        head = f"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nX-Session-Create: {described}\r\n\r\nok"
        await request.peer.send(head.encode())

    upstream.handler = form
    visitor = Visitor(gateway.port)
    page = await to_thread(visitor.get, "/form")
    assert (page.status, page.headers["Location"]) == (status, location)
    assert ("gateway_session" in visitor.cookies) is (user == "ada")
    if user == "ada":
        assert (await shown(visitor))["user"]["greeting"] == "Hello Ada"


# --- updates ---------------------------------------------------------------------------------


async def test_an_update_goes_through_both_and_is_kept(gateway: GatewayProcess) -> None:
    visitor = await signed_in(gateway)
    page = await update(visitor, {"greeting": "Hi", "name": "Ada L."})
    answer = page.json()
    assert (page.status, answer["trigger"], answer["user"]["greeting"]) == (200, "update", "Hi")
    assert answer["user"]["name"] == "Ada L."
    again = await shown(visitor)
    assert (again["trigger"], again["user"]["greeting"]) == (None, "Hi")


async def test_the_upstream_sees_what_was_changed_and_callbacks_see_no_request(
    gateway: GatewayProcess, upstream: Upstream
) -> None:
    visitor = await signed_in(gateway)
    before = dict(visitor.cookies)
    assert (await to_thread(visitor.get, "/admin/x")).status == 403
    await update(visitor, {"roles": ["editor", "admin"]})
    asked = (await shown(visitor))["asked"]
    for _ in range(5):
        assert (await to_thread(visitor.get, "/admin/x")).status == 200
    assert upstream.last.get("X-User-Roles") == "editor,admin"
    assert (await shown(visitor))["asked"] == asked + 1
    assert visitor.cookies["gateway_session"] != before["gateway_session"]
    old = Visitor(gateway.port, before)
    async with asyncio.timeout(2.0):  # each worker hears of it
        for _ in range(10):
            while (await to_thread(old.get, "/app/x", Accept="*/*")).status != 401:
                pass


async def test_so_it_is_where_sessions_are_in_their_cookies(
    running_upstream: Upstream, tmp_path: Path
) -> None:
    write_users(tmp_path)
    (tmp_path / "callbacks.py").write_text(CALLBACKS, encoding="utf-8")
    config = CONFIG.replace("  store: sqlite:///sessions.db\n", "  strategy: jwt\n")
    with GatewayProcess(tmp_path, config, UPSTREAM=running_upstream.url) as gateway:
        visitor = await signed_in(gateway)
        assert (await update(visitor, {"greeting": "Hi"})).status == 200
        session = await shown(visitor)
        assert (session["user"]["greeting"], session["asked"]) == ("Hi", 1)
        await update(visitor, {"greeting": "Servus", "roles": ["admin"]})
        assert (await to_thread(visitor.get, "/admin/x")).status == 200
        assert (await shown(visitor))["user"]["greeting"] == "Servus"


async def test_an_update_needs_the_form_token_and_a_session(gateway: GatewayProcess) -> None:
    visitor = await signed_in(gateway)
    await to_thread(visitor.form_token)
    assert (await update(visitor, {"roles": ["admin"]}, token="wrong")).status == 403
    nobody = await update(Visitor(gateway.port), {"roles": ["admin"]})
    assert (nobody.status, nobody.json()) == (200, {})
    assert (await shown(visitor))["user"]["roles"] == ["editor"]


@pytest.mark.parametrize(
    ("data", "callback", "why"),
    [
        pytest.param(
            {"sub": "root"},
            "jwt",
            "returned what cannot be used: a token cannot become another user's",
            id="another user",
        ),
        pytest.param(
            "nonsense",
            "jwt",
            "returned what cannot be used: expected the token, not NoneType",
            id="nothing",
        ),
        pytest.param(
            {"explode": 1, "roles": ["admin"]}, "session", "raised KeyError", id="an exception"
        ),
        pytest.param("hang", "jwt", "took longer than 5 s", id="too slow"),
    ],
)
async def test_what_goes_wrong_is_a_problem_and_changes_nothing(
    gateway: GatewayProcess, data: object, callback: str, why: str
) -> None:
    visitor = await signed_in(gateway)
    page = await update(visitor, data)
    assert page.status == 500
    assert page.headers["Content-Type"] == "application/problem+json"
    assert set(page.json()) == {"type", "title", "status", "detail", "request_id"}
    line = gateway.log("callback_failed")[-1]
    assert (line["callback"], line["why"]) == (callback, why)
    assert PRIVATE not in page.text + gateway.output()
    session = await shown(visitor)
    assert (session["user"]["id"], session["user"]["roles"]) == ("ada", ["editor"])


# --- reload ----------------------------------------------------------------------------------


async def test_a_reload_takes_what_is_written_by_then_and_refuses_what_cannot_be_run(
    running_upstream: Upstream, tmp_path: Path
) -> None:
    write_users(tmp_path)
    own = tmp_path / "callbacks.py"
    own.write_text("def session(session): return session | {'version': 1}\n")
    with GatewayProcess(tmp_path, CONFIG, UPSTREAM=running_upstream.url) as gateway:
        visitor = await signed_in(gateway)
        assert (await shown(visitor))["version"] == 1

        own.write_text("def session(session): return session | {'version': 2}\n")
        gateway.send_signal(signal.SIGHUP)
        await wait_until(lambda: gateway.log("reloaded"), what="it has reloaded")
        async with asyncio.timeout(5.0):
            while (await shown(visitor))["version"] != 2:
                pass

        own.write_text("def session(session): return session | {'version': 3}\n1 / 0\n")
        gateway.send_signal(signal.SIGHUP)
        await wait_until(lambda: gateway.log("reload refused"), what="it has refused")
        [problem] = gateway.log("reload refused")[-1]["problems"]
        assert problem.endswith("callbacks.py cannot be imported: ZeroDivisionError in line 2")
        assert (await shown(visitor))["version"] == 2


async def test_a_callback_that_hangs_does_not_keep_the_gateway_from_stopping(
    running_upstream: Upstream, tmp_path: Path
) -> None:
    write_users(tmp_path)
    (tmp_path / "callbacks.py").write_text(
        "import pathlib, threading\n"
        f"def session(session):\n pathlib.Path({str(tmp_path / 'hangs')!r}).touch()\n"
        " threading.Event().wait()\n"
    )
    with GatewayProcess(tmp_path, CONFIG, UPSTREAM=running_upstream.url) as gateway:
        visitor = await signed_in(gateway)
        asking = asyncio.create_task(to_thread(visitor.get, f"{AUTH}/session"))
        await wait_until((tmp_path / "hangs").exists, what="the callback hangs")
        assert await to_thread(gateway.stop) == 0
        await asyncio.gather(asking, return_exceptions=True)
