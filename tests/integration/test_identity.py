"""What the upstream learns about who asks: the truth, and nothing that a client made up."""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Iterator

import pytest

from tests.gateway_process import GatewayProcess, SignedIn
from tests.integration.wire import OK, Answer, Client, Fields, Received, Upstream, answering

pytestmark = pytest.mark.asyncio(loop_scope="module")

CONFIG = """\
version: 1
server:
  listen: 127.0.0.1:${PORT}
  admin: 127.0.0.1:${ADMIN_PORT}
session: {store: "sqlite:///sessions.db"}
roles:
  reader: {permissions: ["reports:read"]}
  admin: {inherits: [reader], permissions: ["reports:write"]}
upstreams: {app: "${UPSTREAM}"}
defaults: {access: deny, upstream: app}
routes:
  - {path: /public/**, access: public}
  - {path: /optional/**, access: optional}
  - {path: /login/**, access: login}
  - {path: /kept/**, access: public, keep_headers: [X-Original-URL, X-Real-IP, X-Forwarded-Prefix]}
  - {path: /stripped/**, access: public, strip_prefix: /stripped, add_prefix: /v1}
  - {path: /own-host/**, access: public, preserve_host: false}
"""

IDENTITY = [
    "X-User-Id",
    "X-User-Name",
    "X-User-Email",
    "X-User-Image",
    "X-User-Roles",
    "X-User-Permissions",
    "X-Session-Id",
    "X-Session-Expires",
    "X-Auth-Provider",
    "X-Request-Id",
    "X-Gateway-Assertion",
    "X-Session-Stale",
    "x_session.stale",
]
PLACES = ["/public/x", "/optional/x", "/login/x"]


@pytest.fixture(scope="module")
def ada(running_gateway: GatewayProcess) -> SignedIn:
    return running_gateway.sign_in(
        "ada", name="Ada Ł. 100% (Countess)", email="ada@example.com", roles=["admin"]
    )


async def ask(
    gateway: GatewayProcess,
    path: str = "/login/x",
    *lines: str,
    method: str = "GET",
    host: str = "localhost",
) -> Answer:
    head = "".join(f"{line}\r\n" for line in (f"Host: {host}", *lines))
    async with Client(gateway.port) as client:
        return await client.ask(f"{method} {path} HTTP/1.1\r\n{head}\r\n".encode("latin-1"))


def cookie(*sessions: SignedIn) -> str:
    return "Cookie: " + "; ".join(session.cookie for session in sessions)


def folded(name: str) -> str:
    """Return a name as CGI reads it."""
    return re.sub("[^A-Z0-9]", "_", name.upper())


def told(request: Received) -> Fields:
    """Return all that the upstream could take for a word of the gateway's about who asks."""
    ours = {folded(name) for name in IDENTITY}
    return Fields((n, v) for n, v in request.fields if folded(n) in ours)


# --- who asks ------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", ["/login/x", "/optional/x"])
async def test_a_session_is_told_in_exactly_these_headers(
    gateway: GatewayProcess, upstream: Upstream, ada: SignedIn, path: str
) -> None:
    answer = await ask(gateway, path, "Accept: */*", cookie(ada))
    assert answer.status == 200
    request_id = upstream.last.get("X-Request-Id")
    assert list(upstream.last.fields) == [
        ("Host", "localhost"),
        ("Accept", "*/*"),
        ("X-Forwarded-For", "127.0.0.1"),
        ("X-Forwarded-Proto", "http"),
        ("X-Forwarded-Host", "localhost"),
        ("X-Forwarded-Port", "80"),
        ("Forwarded", "for=127.0.0.1;host=localhost;proto=http"),
        ("X-User-Id", "ada"),
        ("X-User-Name", "Ada %C5%81. 100%25 (Countess)"),
        ("X-User-Email", "ada@example.com"),
        ("X-User-Roles", "admin,reader"),
        ("X-User-Permissions", "reports:read,reports:write"),
        ("X-Session-Id", ada.id),
        ("X-Session-Expires", upstream.last.get("X-Session-Expires")),
        ("X-Auth-Provider", "local"),
        ("X-Request-Id", request_id),
    ]
    expires = upstream.last.get("X-Session-Expires") or ""
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,6})?Z", expires)
    assert expires[:16] == ada.expires[:16]
    assert ada.token.encode() not in upstream.last.raw


@pytest.mark.parametrize(
    ("name", "header"),
    [
        ("Ada", "Ada"),
        ("Ł", "%C5%81"),
        ("50%", "50%25"),
        ("%41", "%2541"),
        (" edge ", "%20edge%20"),
        ("a  b", "a  b"),
        ('a,b;c="d"', 'a,b;c="d"'),
        ("名前 🦊", "%E5%90%8D%E5%89%8D %F0%9F%A6%8A"),
    ],
)
async def test_a_name_is_encoded_so_that_nobody_misreads_it(
    gateway: GatewayProcess, upstream: Upstream, name: str, header: str
) -> None:
    session = gateway.sign_in("somebody", name=name)
    assert (await ask(gateway, "/login/x", cookie(session))).status == 200
    assert ("X-User-Name", header) in upstream.last.fields
    assert f"\r\nX-User-Name: {header}\r\n".encode() in upstream.last.raw


async def test_what_is_not_known_is_an_absent_header(
    gateway: GatewayProcess, upstream: Upstream
) -> None:
    session = gateway.sign_in("nobody")
    assert (await ask(gateway, "/login/x", cookie(session))).status == 200
    assert [name for name, _ in told(upstream.last)] == [
        "X-User-Id",
        "X-Session-Id",
        "X-Session-Expires",
        "X-Auth-Provider",
        "X-Request-Id",
    ]


@pytest.mark.parametrize(
    ("path", "signed_in"), [("/public/x", True), ("/public/x", False), ("/optional/x", False)]
)
async def test_nobody_is_told_as_nobody(
    gateway: GatewayProcess, upstream: Upstream, ada: SignedIn, path: str, signed_in: bool
) -> None:
    """A public route asks nobody, so it tells of nobody."""
    answer = await ask(gateway, path, *([cookie(ada)] if signed_in else []))
    assert answer.status == 200
    assert [name for name, _ in told(upstream.last)] == ["X-Request-Id"]
    assert upstream.last.get("Cookie") is None


# --- forgeries -----------------------------------------------------------------------------------

SPELLINGS = {
    "plain": "{name}: evil",
    "lower case": "{lower}: evil",
    "upper case": "{upper}: evil",
    "underscores": "{under}: evil",
    "one underscore": "{one_under}: evil",
    "CGI": "{upper_under}: evil",
    "dots": "{dots}: evil",
    "tildes": "{tildes}: evil",
    "carets": "{carets}: evil",
    "stars": "{stars}: evil",
    "mixed": "{under}: evil\r\n{name}: evil",
    "twice": "{name}: evil\r\n{name}: evil",
    "an empty one first": "{name}:\r\n{name}: evil",
    "nominated": "Connection: close, {name}\r\n{name}: evil",
    "nominated with underscores": "Connection: {under}\r\n{under}: evil",
    "nominated, not sent": "Connection: {name}",
    "nominated in another case": "connection: {lower}, keep-alive",
    "nominated twice": "Connection: keep-alive\r\nConnection: {name}",
}


@pytest.mark.parametrize("name", IDENTITY)
@pytest.mark.parametrize("spelling", SPELLINGS.values(), ids=SPELLINGS.keys())
async def test_a_forged_identity_never_arrives(
    gateway: GatewayProcess, upstream: Upstream, ada: SignedIn, name: str, spelling: str
) -> None:
    under = name.replace("-", "_")
    lines = spelling.format(
        name=name,
        lower=name.lower(),
        upper=name.upper(),
        under=under,
        one_under=name.replace("-", "_", 1),
        upper_under=under.upper(),
        dots=name.replace("-", "."),
        tildes=name.replace("-", "~"),
        carets=name.replace("-", "^"),
        stars=name.replace("-", "*"),
    )
    for path in PLACES:
        for method in ("GET", "OPTIONS"):
            for signed_in in ([cookie(ada)], []):
                if path == "/login/x" and not signed_in:
                    continue
                await ask(gateway, path, lines, *signed_in, method=method)
                seen = upstream.last
                assert (seen.method, seen.target) == (method, path)
                assert b"evil" not in seen.raw
                known = signed_in and path != "/public/x"
                assert seen.fields.all("X-User-Id") == (["ada"] if known else [])
                assert len(seen.fields.all("X-Request-Id")) == 1
                assert len(told(seen)) == (9 if known else 1)


@pytest.mark.parametrize(
    "line",
    [
        " X-User-Id: evil",
        "X-User-Id : evil",
        "X-User-Id\t: evil",
        "X-User-Id\x00: evil",
        "\x0bX-User-Id: evil",
        "X-A: b\r\n X-User-Id: evil",
        "X-User-Id:\r\n evil",
        "X-A: b\nX-User-Id: evil",
        "X-A: b\rX-User-Id: evil",
        "X-User-Id\xa0: evil",
        "X\xe2\x80\x90User\xe2\x80\x90Id: evil",
    ],
    ids=ascii,
)
async def test_a_forgery_that_is_no_header_is_no_request(
    gateway: GatewayProcess, upstream: Upstream, line: str
) -> None:
    assert (await ask(gateway, "/public/x", line)).status == 400
    assert upstream.requests == []


async def test_a_forgery_in_a_trailer_is_dropped(
    gateway: GatewayProcess, upstream: Upstream
) -> None:
    async with Client(gateway.port) as client:
        answer = await client.ask(
            "POST /public/x HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n"
            "Trailer: X-User-Id\r\n\r\n1\r\nx\r\n0\r\nX-User-Id: evil\r\n\r\n"
        )
        assert answer.status == 200
    assert upstream.last.body == b"x"
    assert [name for name, _ in told(upstream.last)] == ["X-Request-Id"]


STEERING = [
    "X-Original-URL",
    "X-Rewrite-URL",
    "X-HTTP-Method-Override",
    "X-HTTP-Method",
    "X-Method-Override",
    "X-Middleware-Subrequest",
    "X-Real-IP",
    "X-Client-IP",
    "True-Client-IP",
    "CF-Connecting-IP",
    "Proxy",
    "X-Forwarded-Server",
    "X-Forwarded-Prefix",
    "X-Forwarded-Uri",
    "X-Forwarded-User",
    "X-Forwarded-Scheme",
    "X-Forwarded",
]


@pytest.mark.parametrize("path", PLACES)
async def test_what_could_re_route_or_re_address_is_dropped(
    gateway: GatewayProcess, upstream: Upstream, ada: SignedIn, path: str
) -> None:
    names = [*STEERING, *(name.replace("-", "_") for name in STEERING)]
    await ask(gateway, path, *(f"{name}: evil" for name in names), cookie(ada))
    assert upstream.last.target == path
    assert b"evil" not in upstream.last.raw


async def test_a_route_may_keep_what_it_names_and_nothing_else(
    gateway: GatewayProcess, upstream: Upstream
) -> None:
    await ask(gateway, "/kept/x", *(f"{name}: evil" for name in STEERING))
    kept = {name for name, value in upstream.last.fields if value == "evil"}
    assert kept == {"X-Original-URL", "X-Real-IP", "X-Forwarded-Prefix"}


async def test_hop_by_hop_fields_end_here_and_all_others_go_on(
    gateway: GatewayProcess, upstream: Upstream
) -> None:
    await ask(
        gateway,
        "/public/x",
        "Connection: X-Private, keep-alive",
        "X-Private: 1",
        "Keep-Alive: timeout=5",
        "Proxy-Connection: keep-alive",
        "Proxy-Authorization: Basic eA==",
        "TE: trailers",
        "Upgrade: h2c",
        "HTTP2-Settings: AAMAAABkAAQAAP__",
        "Authorization: Basic eA==",
        "Accept-Encoding: br",
        "x-MiXeD: \xe9 a  b",
        "X-Twice: 1",
        "X-Twice: 2",
    )
    seen = [f for f in upstream.last.fields if f[0] not in ("Forwarded", "X-Request-Id", "Host")]
    assert [f for f in seen if not f[0].startswith("X-Forwarded-")] == [
        ("Authorization", "Basic eA=="),
        ("Accept-Encoding", "br"),
        ("x-MiXeD", "\xe9 a  b"),
        ("X-Twice", "1"),
        ("X-Twice", "2"),
    ]


# --- cookies -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("sent", "seen"),
    [
        ("a=1; {session}; b=2", "a=1; b=2"),
        ("{session}; a=1", "a=1"),
        ("a=1; {session}", "a=1"),
        ("{session}", None),
        ('a="x y"; b=%7B; c; =d; {session}; a=2', 'a="x y"; b=%7B; c; =d; a=2'),
        ("a=1;{session};b=\xe9", "a=1; b=\xe9"),
        ("a=gateway_session; {session}", "a=gateway_session"),
        ("gateway_sessions=1; {session}; my_gateway_session=2", None),
    ],
)
async def test_other_cookies_go_on_byte_for_byte(
    gateway: GatewayProcess, upstream: Upstream, ada: SignedIn, sent: str, seen: str | None
) -> None:
    line = "Cookie: " + sent.format(session=ada.cookie)
    for path in PLACES:
        assert (await ask(gateway, path, line)).status == 200
        if sent.startswith("gateway_sessions="):
            seen = "gateway_sessions=1; my_gateway_session=2"
        assert upstream.last.get("Cookie") == seen


async def test_an_upstream_cannot_set_our_cookies_and_may_set_others(
    gateway: GatewayProcess, upstream: Upstream
) -> None:
    upstream.handler = answering(
        b"HTTP/1.1 200 OK\r\n"
        b"Set-Cookie: gateway_session=evil; Path=/\r\n"
        b"Set-Cookie: app=1; Path=/; HttpOnly\r\n"
        b"set-cookie:GATEWAY_SESSION=evil\r\n"
        b"Set-Cookie:   gateway_session =evil\r\n"
        b"Set-Cookie: =gateway_session=evil\r\n"
        b"Set-Cookie: gateway_session\r\n"
        b"Set-Cookie: app2=gateway_session\r\n"
        b"Content-Length: 2\r\n\r\nok"
    )
    answer = await ask(gateway, "/public/x")
    assert answer.fields.all("Set-Cookie") == ["app=1; Path=/; HttpOnly", "app2=gateway_session"]


async def test_hop_by_hop_fields_of_an_answer_end_here(
    gateway: GatewayProcess, upstream: Upstream
) -> None:
    upstream.handler = answering(
        b"HTTP/1.1 200 Fine\r\nConnection: X-Private\r\nX-Private: 1\r\nKeep-Alive: timeout=5\r\n"
        b"Proxy-Authenticate: Basic\r\nServer: app/1\r\nDate: Thu, 01 Jan 1970 00:00:00 GMT\r\n"
        b"X-Bytes: \xe9\r\nContent-Length: 2\r\n\r\nok"
    )
    answer = await ask(gateway, "/public/x")
    assert answer.start == "HTTP/1.1 200 Fine"
    assert [field for field in answer.fields if field[0] != "Content-Length"] == [
        ("Server", "app/1"),
        ("Date", "Thu, 01 Jan 1970 00:00:00 GMT"),
        ("X-Bytes", "\xe9"),
    ]


FORGED = "A" * 43


@pytest.mark.parametrize(
    "line",
    [
        pytest.param("Cookie: gateway_session=", id="empty"),
        pytest.param("Cookie: gateway_session", id="without a value"),
        pytest.param("Cookie: gateway_session=garbage", id="garbage"),
        pytest.param(f"Cookie: gateway_session={FORGED}", id="forged"),
        pytest.param("Cookie: gateway_session=\xff\xfe%00", id="bytes"),
        pytest.param("Cookie: gateway_session=" + "A" * 60_000, id="60 kB"),
        pytest.param("Cookie: gateway_session=../../etc/passwd", id="a path"),
        pytest.param("Cookie: {0}; {0}", id="the right one twice"),
        pytest.param(f"Cookie: {{0}}; gateway_session={FORGED}", id="a forged one behind"),
        pytest.param(f"Cookie: gateway_session={FORGED}; {{0}}", id="a forged one in front"),
        pytest.param("Cookie: {0}\r\nCookie: {0}", id="in two fields"),
        pytest.param("Cookie: {0}x", id="a character more"),
        pytest.param("Cookie: {1}", id="a character less"),
        pytest.param("Cookie: GATEWAY_SESSION={2}", id="a name in capitals"),
        pytest.param('Cookie: gateway_session="{2}"', id="quoted"),
    ],
)
async def test_a_cookie_that_is_no_session_is_nobody(
    gateway: GatewayProcess, upstream: Upstream, ada: SignedIn, line: str
) -> None:
    line = line.format(ada.cookie, ada.cookie[:-1], ada.token)
    answer = await ask(gateway, "/login/x", line)
    assert answer.status == 401
    answer = await ask(gateway, "/login/x", line, "Accept: text/html")
    assert answer.status == 302
    assert upstream.requests == []
    assert (await ask(gateway, "/optional/x", line)).status == 200
    assert [name for name, _ in told(upstream.last)] == ["X-Request-Id"]
    assert ada.token.encode() not in upstream.last.raw


async def test_an_expired_session_is_nobody(gateway: GatewayProcess, upstream: Upstream) -> None:
    session = gateway.sign_in("late")
    with sqlite3.connect(gateway.folder / "sessions.db") as database:
        database.execute("UPDATE sessions SET expires_at = 1000 WHERE id = ?", (session.id,))
    database.close()
    assert (await ask(gateway, "/login/x", cookie(session))).status == 401
    assert upstream.requests == []


async def test_tokens_and_cookies_are_never_logged(
    gateway: GatewayProcess, upstream: Upstream, ada: SignedIn
) -> None:
    await ask(gateway, f"/login/x?token={ada.token}", cookie(ada), "Authorization: Bearer hush")
    upstream.handler = answering(b"nonsense\r\n\r\n", close=True)
    await ask(gateway, "/login/x", cookie(ada))
    for secret in (ada.token, ada.id, "hush"):
        assert secret not in gateway.output()


# --- where it came from --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("host", "port"), [("localhost", "80"), ("Example.com:8443", "8443"), ("[::1]:81", "81")]
)
async def test_the_upstream_learns_where_a_request_came_from(
    gateway: GatewayProcess, upstream: Upstream, host: str, port: str
) -> None:
    forged = ("X-Forwarded-For: 1.2.3.4", "X-Forwarded-Host: evil", "X-Forwarded-Proto: https")
    await ask(
        gateway,
        "/public/x",
        *forged,
        "X-Forwarded-Port: 1",
        "Forwarded: for=1.2.3.4",
        "X-Request-Id: mine",
        host=host,
    )
    assert upstream.last.get("Host") == host
    assert upstream.last.get("X-Forwarded-For") == "127.0.0.1"
    assert upstream.last.get("X-Forwarded-Host") == host
    assert upstream.last.get("X-Forwarded-Proto") == "http"
    assert upstream.last.get("X-Forwarded-Port") == port
    assert (upstream.last.get("Forwarded") or "").startswith("for=127.0.0.1;host=")
    assert upstream.last.get("X-Request-Id") != "mine"


async def test_paths_and_host_are_rewritten_where_the_route_says_so(
    gateway: GatewayProcess, upstream: Upstream
) -> None:
    await ask(gateway, "/stripped/a%20b/c?d")
    assert upstream.last.target == "/v1/a%20b/c?d"
    await ask(gateway, "/stripped")
    assert upstream.last.target in ("/v1", "/v1/")
    await ask(gateway, "/own-host/x", host="example.com")
    assert upstream.last.get("Host") == f"127.0.0.1:{upstream.port}"
    assert upstream.last.get("X-Forwarded-Host") == "example.com"


BEHIND = CONFIG.replace(
    "  admin: 127.0.0.1:${ADMIN_PORT}\n",
    "  admin: 127.0.0.1:${ADMIN_PORT}\n  trusted_proxies: [127.0.0.0/8, 10.0.0.0/8]\n",
).replace("routes:\n", "routes:\n  - {path: /inside/**, access: public, network: 192.0.2.0/24}\n")


@pytest.fixture(scope="module")
def behind(
    running_upstream: Upstream, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[GatewayProcess]:
    """A gateway behind proxies that it trusts."""
    folder = tmp_path_factory.mktemp("behind")
    with GatewayProcess(folder, BEHIND, UPSTREAM=running_upstream.url) as gateway:
        yield gateway


async def test_a_trusted_proxy_is_believed(behind: GatewayProcess, upstream: Upstream) -> None:
    await ask(
        behind,
        "/public/x",
        "X-Forwarded-For: 192.0.2.7, 10.0.0.1",
        "X-Forwarded-Proto: https",
        "X-Forwarded-Host: app.example.com",
        "Forwarded: for=192.0.2.7",
        "X-Request-Id: from-the-balancer",
    )
    assert upstream.last.get("X-Forwarded-For") == "192.0.2.7, 10.0.0.1, 127.0.0.1"
    assert upstream.last.get("X-Forwarded-Proto") == "https"
    assert upstream.last.get("X-Forwarded-Host") == "app.example.com"
    assert upstream.last.get("X-Forwarded-Port") == "443"
    assert (upstream.last.get("Forwarded") or "").startswith("for=192.0.2.7, for=127.0.0.1;")
    assert upstream.last.get("X-Request-Id") == "from-the-balancer"


@pytest.mark.parametrize(
    ("chain", "status"),
    [
        ("192.0.2.7", 200),
        ("192.0.2.7, 10.0.0.1", 200),
        ("203.0.113.9", 403),
        ("192.0.2.7, 203.0.113.9", 403),
        ("192.0.2.7, 203.0.113.9, 10.0.0.1", 403),
        ("192.0.2.7, nonsense", 403),
        ("", 403),
    ],
)
async def test_the_client_is_the_first_that_is_not_trusted(
    behind: GatewayProcess, upstream: Upstream, chain: str, status: int
) -> None:
    answer = await ask(behind, "/inside/x", *([f"X-Forwarded-For: {chain}"] if chain else []))
    assert answer.status == status
    assert len(upstream.requests) == (1 if status == 200 else 0)


@pytest.mark.parametrize("value", ["a b", "x" * 129, "\xe9", "a\tb", '"', ""], ids=ascii)
async def test_a_request_id_that_is_none_is_not_believed(
    behind: GatewayProcess, upstream: Upstream, value: str
) -> None:
    await ask(behind, "/public/x", f"X-Request-Id: {value}")
    assert re.fullmatch("[0-9a-f]{24}", upstream.last.get("X-Request-Id") or "")


async def test_the_next_request_of_a_connection_is_told_by_itself(
    gateway: GatewayProcess, upstream: Upstream, ada: SignedIn
) -> None:
    """What a connection's last request was is remembered; who asked is asked anew each time."""
    grace = gateway.sign_in("grace")
    upstream.handler = answering(OK)
    async with Client(gateway.port) as client:
        for lines, who in [
            (cookie(ada), ["ada"]),
            (cookie(grace), ["grace"]),
            ("X-A: b", []),
            (cookie(ada) + "\r\nCookie: x=y", ["ada"]),
            (cookie(ada), ["ada"]),
            ("Cookie: x=y", []),
        ]:
            host = f"host{len(who)}"
            await client.ask(f"GET /optional/x HTTP/1.1\r\nHost: {host}\r\n{lines}\r\n\r\n")
            assert upstream.last.fields.all("X-User-Id") == who
            assert upstream.last.get("X-Forwarded-Host") == host
