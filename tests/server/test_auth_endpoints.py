from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from http.cookies import SimpleCookie
from itertools import count
from pathlib import Path
from urllib.parse import parse_qs, urlencode, urlsplit

import pytest
from structlog.testing import capture_logs

from gateway.config.config import LoginConfig, UsersProvider
from gateway.errors import (
    BadCredentials,
    ClientError,
    Reason,
    SignInBusy,
    StoreUnavailable,
    TooManyAttempts,
)
from gateway.formats.token import key_of
from gateway.model import CookieShape, Lifetime, Remember, RoleGrant, Session, SessionKey, User
from gateway.rules.roles import compile_roles
from gateway.server.answers import Answer, PageRequest
from gateway.server.auth_endpoints import AuthEndpoints
from gateway.server.session_cookie import TokenCookie
from gateway.stores.begun import Visit
from gateway.stores.cached import CachedSessions
from gateway.stores.keeper import Keeper
from gateway.stores.memory import MemoryStore

HTTPS = "https://app.example.com"
AUTH = "/_gateway/auth"
COOKIE = CookieShape(name="__Host-gateway_session", secure=True)
CSRF_COOKIE = "__Host-gateway_csrf"
LIFETIME = Lifetime(max_age=1000.0, idle_timeout=100.0, update_age=10.0)
ROLES = compile_roles(
    {
        "viewer": RoleGrant(permissions=("reports:read",)),
        "editor": RoleGrant(inherits=("viewer",), permissions=("reports:write",)),
    }
)
ADA = User(
    id="ada", provider="local", name="Ada L.", email="ada@example.com", roles=("editor", "pilot")
)
LOGIN = LoginConfig(
    path=AUTH,
    url=None,
    providers=(UsersProvider(id="local", name="Staff", file=Path("users.yaml")),),
)


class People:
    """Stands for a users file."""

    def __init__(self) -> None:
        self.failure: Exception | None = None
        self.asked_from: list[str] = []

    async def authenticate(self, user_id: str, password: str, client: str) -> User:
        self.asked_from.append(client)
        if self.failure is not None:
            raise self.failure
        if (user_id, password) != ("ada", "s3cret word"):
            raise BadCredentials("no")
        return ADA


class BrokenStore(MemoryStore):
    """Stands for a store whose backend went away."""

    async def delete(self, key: SessionKey) -> bool:
        raise StoreUnavailable("gone")


@dataclass
class Browser:
    """Keeps cookies as a browser does and sends requests straight to the endpoints."""

    endpoints: AuthEndpoints
    store: MemoryStore
    people: People
    clock: list[float]
    cookies: dict[str, str]
    last: Answer | None = None

    async def get(self, path: str, **headers: str) -> Answer:
        return await self.send("GET", path, headers=headers)

    async def post(self, path: str, fields: Mapping[str, str], **headers: str) -> Answer:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        form = {"Content-Type": "application/x-www-form-urlencoded"}
        return await self.send("POST", path, headers=form | named, body=urlencode(fields).encode())

    async def send(
        self,
        method: str,
        path: str,
        *,
        headers: Mapping[str, str] | None = None,
        body: bytes = b"",
        navigation: bool = True,
    ) -> Answer:
        address = urlsplit(path)
        answer = await self.endpoints.handle(
            PageRequest(
                method=method,
                path=address.path,
                query=address.query,
                headers=headers or {},
                cookies=self.cookies,
                body=body,
                client="192.0.2.1",
                request_id="r-1",
                navigation=navigation,
            )
        )
        for value in set_cookies(answer):
            for name, morsel in SimpleCookie(value).items():
                if morsel["max-age"] == "0":
                    self.cookies.pop(name, None)
                else:
                    self.cookies[name] = morsel.value
        return answer

    async def token(self) -> str:
        token: str = json.loads((await self.get(f"{AUTH}/csrf")).body)["csrfToken"]
        return token

    async def sign_in(self, password: str = "s3cret word", **fields: str) -> Answer:
        form = {"csrfToken": await self.token(), "username": "ada", "password": password}
        return await self.post(f"{AUTH}/signin/local", form | fields)

    async def session(self) -> dict[str, object]:
        session: dict[str, object] = json.loads((await self.get(f"{AUTH}/session")).body)
        return session

    async def stored(self) -> list[Session]:
        return await self.store.of_user("ada")


def browser(
    *,
    login: LoginConfig = LOGIN,
    public_url: str = HTTPS,
    store: MemoryStore | None = None,
    remember: Remember = Remember.ALWAYS,
) -> Browser:
    clock = [1_000_000.0]
    numbers = count(1)
    people = People()
    store = store or MemoryStore(wall=lambda: clock[0])
    endpoints = AuthEndpoints(
        login=login,
        base_path="/_gateway",
        public_url=public_url,
        cookies=TokenCookie(COOKIE, key_of),
        secrets=("secret",),
        lifetime=LIFETIME,
        remember=remember,
        keeper=Keeper(
            store,
            LIFETIME,
            wall=lambda: clock[0],
            random=lambda size: next(numbers).to_bytes(size, "big"),
        ),
        sessions=CachedSessions(store, enabled=True, lifetime=LIFETIME, wall=lambda: clock[0]),
        roles=ROLES,
        users={"local": people},
        wall=lambda: clock[0],
        random=lambda size: next(numbers).to_bytes(size, "big"),
    )
    return Browser(endpoints, store, people, clock, {})


@pytest.fixture(name="ada")
def ada_fixture() -> Browser:
    return browser()


def header(answer: Answer, name: str) -> str | None:
    values = [value for field, value in answer.headers if field == name]
    assert len(values) < 2
    return values[0] if values else None


def set_cookies(answer: Answer) -> list[str]:
    return [value for name, value in answer.headers if name == "Set-Cookie"]


# --- who is signed in ------------------------------------------------------------------------


async def test_without_a_session_there_is_nobody(ada: Browser) -> None:
    answer = await ada.get(f"{AUTH}/session")
    assert (answer.status, answer.body) == (200, b"{}")
    assert header(answer, "Content-Type") == "application/json"
    assert header(answer, "Cache-Control") == "no-store"
    assert set_cookies(answer) == []


async def test_the_session_says_who_with_inherited_roles_and_until_when(ada: Browser) -> None:
    await ada.sign_in()
    assert await ada.session() == {
        "user": {
            "id": "ada",
            "name": "Ada L.",
            "email": "ada@example.com",
            "image": None,
            "roles": ["editor", "pilot", "viewer"],
            "permissions": ["reports:read", "reports:write"],
            "provider": "local",
        },
        "expires": "1970-01-12T13:48:20.000Z",
    }


@pytest.mark.parametrize("data", [None, "x", {"user": {"id": "eve", "roles": ["admin"]}}, [1]])
async def test_an_update_changes_nothing_by_itself(ada: Browser, data: object) -> None:
    await ada.sign_in()
    before = await ada.session()
    body = json.dumps({"csrfToken": await ada.token(), "data": data}).encode()
    json_body = {"Content-Type": "application/json"}
    answer = await ada.send("POST", f"{AUTH}/session", headers=json_body, body=body)
    assert (answer.status, json.loads(answer.body)) == (200, before)
    assert await ada.session() == before

    body = json.dumps({"csrfToken": "f" * 64, "data": data}).encode()
    answer = await ada.send("POST", f"{AUTH}/session", headers=json_body, body=body)
    assert answer.status == 403


async def test_asking_for_the_session_counts_as_use_of_it(ada: Browser) -> None:
    await ada.sign_in()
    for _ in range(20):
        ada.clock[0] += 45.0
        assert "user" in await ada.session()
    ada.clock[0] += 100.0
    assert await ada.session() == {}


@pytest.mark.parametrize("cookie", ["", "garbage", "A" * 43, "x" * 100_000, '"quoted"', "\xff"])
async def test_a_cookie_that_is_no_session_is_nobody(ada: Browser, cookie: str) -> None:
    ada.cookies[COOKIE.name] = cookie
    assert await ada.session() == {}


# --- signing in ------------------------------------------------------------------------------


async def test_the_page_asks_and_its_form_signs_in(ada: Browser) -> None:
    page = await ada.get(f"{AUTH}/signin?callbackUrl=%2Fapp%3Fa%3D1")
    assert page.status == 200
    assert page.reason is Reason.PAGE
    text = page.body.decode()
    action = re.findall(r'action="([^"]+)"', text)
    hidden = dict(re.findall(r'type="hidden" name="([^"]+)" value="([^"]*)"', text))
    assert action == [f"{AUTH}/signin/local"]
    answer = await ada.post(action[0], hidden | {"username": "ada", "password": "s3cret word"})
    assert answer.status == 303
    assert header(answer, "Location") == "/app?a=1"
    assert header(answer, "Cache-Control") == "no-store"
    assert (await ada.session())["user"]
    assert ada.people.asked_from == ["192.0.2.1"]


async def test_the_session_cookie_lives_as_long_as_the_session_may(ada: Browser) -> None:
    (cookie,) = set_cookies(await ada.sign_in())
    token = ada.cookies[COOKIE.name]
    assert cookie == (
        f"__Host-gateway_session={token}; Path=/; HttpOnly; Secure; SameSite=Lax; Max-Age=1000"
    )
    (session,) = await ada.stored()
    assert session.key == key_of(token)
    assert session.ends_at == ada.clock[0] + 1000.0


async def test_signing_in_always_makes_a_new_session_and_ends_the_presented_one(
    ada: Browser,
) -> None:
    await ada.sign_in()
    (first,) = await ada.stored()
    planted = ada.cookies[COOKIE.name]
    await ada.sign_in()
    (second,) = await ada.stored()
    assert ada.cookies[COOKIE.name] != planted
    assert (second.key, second.id) != (first.key, first.id)
    ada.cookies[COOKIE.name] = planted
    assert await ada.session() == {}


@pytest.mark.parametrize(
    ("remember", "form", "asked", "lasts"),
    [
        pytest.param(Remember.ALWAYS, {}, False, True, id="always"),
        pytest.param(Remember.ASK, {}, True, False, id="asked, not ticked"),
        pytest.param(Remember.ASK, {"remember": "yes"}, True, True, id="asked and ticked"),
        pytest.param(Remember.NEVER, {"remember": "yes"}, False, False, id="never"),
    ],
)
async def test_whether_the_cookie_outlives_the_browser(
    remember: Remember, form: dict[str, str], asked: bool, lasts: bool
) -> None:
    visitor = browser(remember=remember)
    page = await visitor.get(f"{AUTH}/signin")
    assert (b'name="remember"' in page.body) is asked
    answer = await visitor.sign_in(**form)
    [cookie] = [line for line in set_cookies(answer) if line.startswith(COOKIE.name)]
    assert ("Max-Age=1000" in cookie) is lasts
    assert ("Max-Age" in cookie) is lasts
    [session] = await visitor.stored()
    assert session.remembered is lasts


async def test_a_box_that_was_ticked_stays_so_after_a_wrong_password() -> None:
    visitor = browser(remember=Remember.ASK)
    for form, ticked in (({"remember": "yes"}, True), ({}, False)):
        answer = await visitor.sign_in(password="wr0ng one", **form)
        assert (b'value="yes" checked' in answer.body) is ticked


async def test_a_session_says_from_where_it_was_begun(ada: Browser) -> None:
    form = {"csrfToken": await ada.token(), "username": "ada", "password": "s3cret word"}
    await ada.post(f"{AUTH}/signin/local", form, User_Agent="Mozilla/5.0 (X11)")
    [session] = await ada.stored()
    assert (session.device, session.address) == ("Mozilla/5.0 (X11)", "192.0.2.1")


async def test_a_visitor_whom_nobody_knows_is_signed_in_nowhere(ada: Browser) -> None:
    keeper = Keeper(ada.store, LIFETIME, wall=lambda: ada.clock[0])
    begun = await keeper.visit(Visit())
    await ada.store.update(replace(begun.session, data={"cart": [7]}))
    ada.cookies[COOKIE.name] = begun.token
    assert await ada.session() == {}
    assert b"signed in as" not in (await ada.get(f"{AUTH}/signin")).body
    await ada.sign_in()
    [session] = await ada.stored()
    assert session.data == {"cart": [7]}
    assert session.id != begun.session.id
    assert await ada.store.load([begun.session.key]) == [None]


async def test_a_wrong_password_shows_the_form_again_without_it(ada: Browser) -> None:
    answer = await ada.sign_in(password="wr0ng one", callbackUrl="/app")
    text = answer.body.decode()
    assert answer.status == 401
    assert answer.reason is Reason.BAD_CREDENTIALS
    assert header(answer, "WWW-Authenticate") == 'Session realm="app.example.com"'
    assert 'value="ada"' in text
    assert 'name="callbackUrl" value="/app"' in text
    assert "user name or the password is wrong" in text
    assert "wr0ng" not in text
    assert set_cookies(answer) == []
    assert await ada.session() == {}


@pytest.mark.parametrize(
    ("failure", "status", "retry_after", "sentence"),
    [
        (TooManyAttempts(7.2), 429, "8", "Try again in 8 seconds."),
        (TooManyAttempts(900.0), 429, "900", "Try again in 15 minutes."),
        (SignInBusy("full"), 503, "2", "Many people are signing in at once."),
    ],
)
async def test_who_has_to_wait_is_told_how_long(
    ada: Browser, failure: Exception, status: int, retry_after: str, sentence: str
) -> None:
    ada.people.failure = failure
    answer = await ada.sign_in()
    assert answer.status == status
    assert header(answer, "Retry-After") == retry_after
    assert sentence in answer.body.decode()
    assert await ada.stored() == []


async def test_a_visitor_who_is_signed_in_sees_as_whom(ada: Browser) -> None:
    await ada.sign_in()
    text = (await ada.get(f"{AUTH}/signin")).body.decode()
    assert "You are signed in as <strong>Ada L.</strong>" in text
    assert "<form" in text


@pytest.mark.parametrize(
    ("code", "sentence"),
    [
        ("CredentialsSignin", "The user name or the password is wrong."),
        ("SessionRequired", "Please sign in to open that page."),
        ("%3Cscript%3E", "Signing in did not work."),
    ],
)
async def test_error_codes_become_sentences_and_are_never_repeated(
    ada: Browser, code: str, sentence: str
) -> None:
    for path in ("signin", "error"):
        text = (await ada.get(f"{AUTH}/{path}?error={code}")).body.decode()
        assert sentence in text
        assert "script" not in text


@pytest.mark.parametrize(
    ("code", "status"),
    [("AccessDenied", 403), ("Configuration", 500), ("CredentialsSignin", 400), ("", 400)],
)
async def test_the_error_page_has_a_status(ada: Browser, code: str, status: int) -> None:
    assert (await ada.get(f"{AUTH}/error?error={code}")).status == status


@pytest.mark.parametrize(
    "address",
    ["https://evil.example/", "//evil.example", "javascript:alert(1)", f"{AUTH}/signout", "\\"],
)
async def test_nobody_is_sent_away_from_our_origin(ada: Browser, address: str) -> None:
    assert header(await ada.sign_in(callbackUrl=address), "Location") == "/"
    page = await ada.get(f"{AUTH}/signin?{urlencode({'callbackUrl': address})}")
    assert 'name="callbackUrl" value="/"' in page.body.decode()
    answer = await ada.sign_in(callbackUrl=address, json="true")
    assert json.loads(answer.body) == {"url": f"{HTTPS}/"}


async def test_an_app_may_have_its_own_sign_in_page() -> None:
    url = "https://login.example.com/?next={return_to}"
    visitor = browser(login=replace(LOGIN, url=url))
    answer = await visitor.get(f"{AUTH}/signin?callbackUrl=/app?a=1")
    assert answer.status == 302
    query = parse_qs(urlsplit(header(answer, "Location") or "").query)
    assert query == {"next": [f"{HTTPS}/app?a=1"]}
    assert (await visitor.sign_in()).status == 303


# --- forms that are not ours -----------------------------------------------------------------


@pytest.mark.parametrize("path", ["signin/local", "callback/local", "signout"])
@pytest.mark.parametrize("token", [None, "", "0" * 64], ids=["none", "empty", "another"])
async def test_a_form_without_our_token_does_nothing(
    ada: Browser, path: str, token: str | None
) -> None:
    await ada.sign_in()
    before = await ada.stored()
    form = {"username": "ada", "password": "s3cret word", "callbackUrl": "/app"}
    ada.people.asked_from.clear()
    answer = await ada.post(
        f"{AUTH}/{path}", form if token is None else form | {"csrfToken": token}
    )
    assert answer.status == 403
    assert answer.reason is Reason.CSRF
    assert "<form" in answer.body.decode()
    assert ada.people.asked_from == []
    assert await ada.stored() == before


async def test_a_token_without_its_cookie_does_nothing(ada: Browser) -> None:
    token = await ada.token()
    del ada.cookies[CSRF_COOKIE]
    form = {"csrfToken": token, "username": "ada", "password": "s3cret word"}
    assert (await ada.post(f"{AUTH}/signin/local", form)).status == 403


@pytest.mark.parametrize(
    ("origin", "status"),
    [
        (HTTPS, 303),
        ("HTTPS://APP.example.com", 303),
        ("null", 303),
        ("https://evil.example", 403),
        ("http://app.example.com", 403),
        ("https://app.example.com:444", 403),
        ("https://app.example.com.evil.example", 403),
        ("", 403),
    ],
)
async def test_a_form_of_another_origin_is_refused_even_with_a_token(
    ada: Browser, origin: str, status: int
) -> None:
    form = {"csrfToken": await ada.token(), "username": "ada", "password": "s3cret word"}
    assert (await ada.post(f"{AUTH}/signin/local", form, Origin=origin)).status == status
    assert len(await ada.stored()) == (status == 303)


async def test_a_form_of_the_host_it_is_sent_to_is_ours_too(ada: Browser) -> None:
    # A gateway may be reached under more names than the one of `public_url`.
    form = {"csrfToken": await ada.token(), "username": "ada", "password": "s3cret word"}
    ours = {"Host": "other.example.com:8443", "Origin": "https://other.example.com:8443"}
    theirs = ours | {"Origin": "http://other.example.com:8443"}
    assert (await ada.post(f"{AUTH}/signin/local", form, **theirs)).status == 403
    assert (await ada.post(f"{AUTH}/signin/local", form, **ours)).status == 303


async def test_the_only_provider_needs_no_name(ada: Browser) -> None:
    form = {"csrfToken": await ada.token(), "username": "ada", "password": "s3cret word"}
    assert (await ada.post(f"{AUTH}/signin", form)).status == 303


async def test_the_token_stays_while_its_cookie_does(ada: Browser) -> None:
    first = await ada.get(f"{AUTH}/csrf")
    (cookie,) = set_cookies(first)
    assert cookie.startswith(f"{CSRF_COOKIE}=")
    assert cookie.endswith("; Path=/; HttpOnly; Secure; SameSite=Lax")
    second = await ada.get(f"{AUTH}/csrf")
    assert second.body == first.body
    assert set_cookies(second) == []
    ada.cookies[CSRF_COOKIE] = "forged|" + "0" * 64
    assert (await ada.get(f"{AUTH}/csrf")).body != first.body


# --- signing out -----------------------------------------------------------------------------


async def test_signing_out_asks_first(ada: Browser) -> None:
    await ada.sign_in()
    page = await ada.get(f"{AUTH}/signout?callbackUrl=/bye")
    assert page.status == 200
    assert "signed in as <strong>Ada L.</strong>" in page.body.decode()
    assert 'name="callbackUrl" value="/bye"' in page.body.decode()
    assert (await ada.session())["user"]


async def test_signing_out_ends_the_session_where_it_is_kept(ada: Browser) -> None:
    await ada.sign_in()
    cookie = ada.cookies[COOKIE.name]
    answer = await ada.post(f"{AUTH}/signout", {"csrfToken": await ada.token()})
    assert answer.status == 303
    assert set_cookies(answer) == [
        "__Host-gateway_session=; Path=/; HttpOnly; Secure; SameSite=Lax; Max-Age=0; "
        "Expires=Thu, 01 Jan 1970 00:00:00 GMT"
    ]
    assert await ada.stored() == []
    page = await ada.get(header(answer, "Location") or "")
    assert "You are signed out" in page.body.decode()
    ada.cookies[COOKIE.name] = cookie
    assert await ada.session() == {}


@pytest.mark.parametrize(
    ("address", "location"),
    [("/bye?x=1", "/bye?x=1"), (f"{HTTPS}/bye", "/bye"), ("https://evil.example/", "/")],
)
async def test_after_signing_out_one_goes_where_the_form_says(
    ada: Browser, address: str, location: str
) -> None:
    await ada.sign_in()
    form = {"csrfToken": await ada.token(), "callbackUrl": address}
    assert header(await ada.post(f"{AUTH}/signout", form), "Location") == location


async def test_signing_out_twice_is_no_error(ada: Browser) -> None:
    form = {"csrfToken": await ada.token()}
    for _ in range(2):
        assert (await ada.post(f"{AUTH}/signout", form)).status == 303


async def test_nobody_is_told_they_are_signed_out_while_the_store_is_away() -> None:
    ada = browser(store=BrokenStore(wall=lambda: 1_000_000.0))
    await ada.sign_in()
    with pytest.raises(StoreUnavailable):
        await ada.post(f"{AUTH}/signout", {"csrfToken": await ada.token()})
    assert COOKIE.name in ada.cookies


# --- next-auth's own client ------------------------------------------------------------------


async def test_providers_have_next_auths_layout(ada: Browser) -> None:
    assert json.loads((await ada.get(f"{AUTH}/providers")).body) == {
        "local": {
            "id": "local",
            "name": "Staff",
            "type": "credentials",
            "signinUrl": f"{HTTPS}{AUTH}/signin/local",
            "callbackUrl": f"{HTTPS}{AUTH}/callback/local",
        }
    }


@pytest.mark.parametrize(
    ("fields", "headers"),
    [
        pytest.param({"json": "true"}, {}, id="version 4"),
        pytest.param({}, {"X_Auth_Return_Redirect": "1"}, id="version 5"),
    ],
)
async def test_its_client_gets_addresses_instead_of_redirects(
    ada: Browser, fields: dict[str, str], headers: dict[str, str]
) -> None:
    csrf = {"csrfToken": await ada.token(), "callbackUrl": f"{HTTPS}/app"}
    form = csrf | fields | {"username": "ada", "redirect": "false"}

    answer = await ada.post(f"{AUTH}/callback/local", form | {"password": "x"}, **headers)
    assert answer.status == 401
    wrong = json.loads(answer.body)["url"]
    assert wrong == f"{HTTPS}{AUTH}/error?error=CredentialsSignin&provider=local"

    answer = await ada.post(f"{AUTH}/callback/local", form | {"csrfToken": "x"}, **headers)
    assert answer.status == 403
    assert json.loads(answer.body)["url"].startswith(f"{HTTPS}{AUTH}/error?error=MissingCSRF")

    answer = await ada.post(f"{AUTH}/callback/local", form | {"password": "s3cret word"}, **headers)
    assert (answer.status, json.loads(answer.body)) == (200, {"url": f"{HTTPS}/app"})
    assert (await ada.session())["user"]

    answer = await ada.post(f"{AUTH}/signout", csrf | fields | {"csrfToken": "x"}, **headers)
    assert answer.status == 403
    assert json.loads(answer.body) == {"url": f"{HTTPS}{AUTH}/signout?csrf=true"}
    assert (await ada.session())["user"]

    answer = await ada.post(f"{AUTH}/signout", csrf | fields, **headers)
    assert (answer.status, json.loads(answer.body)) == (200, {"url": f"{HTTPS}/app"})
    assert await ada.session() == {}


async def test_a_form_may_be_json(ada: Browser) -> None:
    form = {"csrfToken": await ada.token(), "username": "ada", "password": "s3cret word"}
    answer = await ada.send(
        "POST",
        f"{AUTH}/callback/local",
        headers={"Content-Type": "application/json"},
        body=json.dumps(form | {"json": True}).encode(),
    )
    assert json.loads(answer.body) == {"url": f"{HTTPS}/"}


# --- everything else -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("method", "path", "status", "allow"),
    [
        ("GET", "/_gateway/health", 200, None),
        ("HEAD", "/_gateway/health", 200, None),
        ("GET", "/_gateway/health/", 200, None),
        ("POST", "/_gateway/health", 405, "GET, HEAD"),
        ("HEAD", f"{AUTH}/session", 200, None),
        ("PUT", f"{AUTH}/session", 405, "GET, HEAD, POST"),
        ("DELETE", f"{AUTH}/signout", 405, "GET, HEAD, POST"),
        ("GET", f"{AUTH}/callback/local", 405, "POST"),
        ("OPTIONS", f"{AUTH}/signin/local", 405, "GET, HEAD, POST"),
        ("GET", f"{AUTH}/signin/local", 200, None),
        ("GET", f"{AUTH}/signin/nope", 404, None),
        ("POST", f"{AUTH}/callback/nope", 404, None),
        ("PUT", f"{AUTH}/signin", 405, "GET, HEAD, POST"),
        ("GET", AUTH, 404, None),
        ("GET", f"{AUTH}/", 404, None),
        ("GET", f"{AUTH}/Session", 404, None),
        ("GET", f"{AUTH}/session/x", 404, None),
        ("GET", "/_gateway", 404, None),
        ("GET", "/_gateway/nope", 404, None),
    ],
)
async def test_addresses_and_methods(
    ada: Browser, method: str, path: str, status: int, allow: str | None
) -> None:
    answer = await ada.send(method, path)
    assert answer.status == status
    assert header(answer, "Allow") == allow
    assert header(answer, "X-Request-Id") == "r-1"
    assert header(answer, "Cache-Control") == "no-store"


async def test_health_is_json(ada: Browser) -> None:
    assert json.loads((await ada.get("/_gateway/health")).body) == {"status": "ok"}


async def test_programs_get_problems_and_people_pages(ada: Browser) -> None:
    people = await ada.send("GET", f"{AUTH}/nope")
    programs = await ada.send("GET", f"{AUTH}/nope", navigation=False)
    assert header(people, "Content-Type") == "text/html; charset=utf-8"
    assert header(programs, "Content-Type") == "application/problem+json"


async def test_the_endpoints_follow_the_configured_path() -> None:
    visitor = browser(login=replace(LOGIN, path="/api/auth"))
    assert (await visitor.get("/api/auth/session")).body == b"{}"
    assert (await visitor.get(f"{AUTH}/session")).status == 404


async def test_a_form_that_cannot_be_read_is_the_clients_fault(ada: Browser) -> None:
    with pytest.raises(ClientError):
        await ada.send(
            "POST",
            f"{AUTH}/signin/local",
            headers={"Content-Type": "application/x-www-form-urlencoded"},
            body=b"username=ada&username=bob",
        )


async def test_a_secret_is_needed() -> None:
    with pytest.raises(ValueError, match="secret"):
        AuthEndpoints(
            login=LOGIN,
            base_path="/_gateway",
            public_url=HTTPS,
            cookies=TokenCookie(COOKIE, key_of),
            secrets=(),
            lifetime=LIFETIME,
            remember=Remember.ALWAYS,
            keeper=Keeper(MemoryStore(), LIFETIME),
            sessions=CachedSessions(
                MemoryStore(), enabled=True, lifetime=LIFETIME, wall=lambda: 0.0
            ),
            roles=ROLES,
            users={},
            wall=lambda: 0.0,
            random=bytes,
        )


async def test_nothing_secret_is_logged(ada: Browser) -> None:
    with capture_logs() as lines:
        await ada.sign_in(password="wr0ng one")
        await ada.sign_in()
        token = ada.cookies[COOKIE.name]
        await ada.post(f"{AUTH}/signin/local", {"username": "s3cret word"})
        await ada.post(f"{AUTH}/signout", {"csrfToken": await ada.token()})
    assert [line["event"] for line in lines] == [
        "sign_in_refused",
        "signed_in",
        "sign_in_refused",
        "signed_out",
    ]
    secrets = ["wr0ng", "s3cret", token, key_of(token) or "", ada.cookies[CSRF_COOKIE]]
    assert not [secret for secret in secrets if secret in str(lines)]
    assert [line.get("user") for line in lines] == [None, "ada", None, None]
