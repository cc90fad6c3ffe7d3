"""Header fields that routes set, remove and add, and what caches are told of answers to users."""

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
  public_url: https://app.example.com
  admin: 127.0.0.1:${ADMIN_PORT}
session: {store: "sqlite:///sessions.db"}
upstreams: {app: "${UPSTREAM}", gone: "http://127.0.0.1:1"}
defaults: {access: deny, upstream: app}
routes:
  - {path: /public/**, access: public}
  - {path: /optional/**, access: optional}
  - {path: /login/**, access: login}
  - {path: /small/**, access: public, max_body: 1KiB}
  - path: /shaped/**
    access: optional
    set_headers:
      request: {X-Key: "${KEY}", X_Tenant: acme}
      response: {Cache-Control: no-store, X-Robots-Tag: noindex}
    remove_headers: {request: [accept-encoding], response: [Server, ETag]}
  - {path: /careful/**, access: login, security_headers: true}
  - {path: /careful/gone/**, access: public, upstream: gone, security_headers: true}
  - {path: /uncached/**, access: login, remove_headers: {response: [Cache-Control]}}
"""


@pytest.fixture(scope="module")
def environment() -> dict[str, object]:
    return {"KEY": "hush"}


@pytest.fixture(scope="module")
def ada(running_gateway: GatewayProcess) -> SignedIn:
    return running_gateway.sign_in("ada")


async def ask(gateway: GatewayProcess, path: str, *lines: str, method: str = "GET") -> Answer:
    head = "".join(f"{line}\r\n" for line in ("Host: localhost", *lines))
    async with Client(gateway.port) as client:
        return await client.ask(f"{method} {path} HTTP/1.1\r\n{head}\r\n")


def saying(*fields: str, status: str = "200 OK") -> bytes:
    lines = "".join(f"{field}\r\n" for field in fields)
    return f"HTTP/1.1 {status}\r\nContent-Length: 0\r\n{lines}\r\n".encode()


# --- set and removed -----------------------------------------------------------------------------


async def test_the_upstream_gets_what_the_route_sets_and_never_the_clients_own(
    gateway: GatewayProcess, upstream: Upstream
) -> None:
    forged = ("X-Key: forged", "x_key: forged", "X-Tenant: forged", "X_TENANT: forged")
    await ask(gateway, "/shaped/x", *forged, "Accept-Encoding: br", "X-Other: 1")
    assert upstream.last.fields.all("X-Key") == ["hush"]
    assert upstream.last.fields.all("X_Tenant") == ["acme"]
    assert upstream.last.get("X-Other") == "1"
    assert upstream.last.get("Accept-Encoding") is None
    assert b"forged" not in upstream.last.raw


async def test_what_one_route_sets_another_does_not(
    gateway: GatewayProcess, upstream: Upstream
) -> None:
    async with Client(gateway.port) as client:
        for path, keys in [("/shaped/x", ["hush"]), ("/public/x", ["1"]), ("/shaped/y", ["hush"])]:
            await client.ask(f"GET {path} HTTP/1.1\r\nHost: localhost\r\nX-Key: 1\r\n\r\n")
            assert upstream.last.fields.all("X-Key") == keys


async def test_the_client_gets_what_the_route_sets(
    gateway: GatewayProcess, upstream: Upstream
) -> None:
    upstream.handler = answering(
        saying("Server: x", "etag: y", "cache-control: public", "X-Kept: 1", "X-Robots-Tag: all")
    )
    answer = await ask(gateway, "/shaped/x")
    assert [field for field in answer.fields if field[0] not in ("Date", "Content-Length")] == [
        ("X-Kept", "1"),
        ("Cache-Control", "no-store"),
        ("X-Robots-Tag", "noindex"),
        ("Vary", "Cookie"),
    ]


async def test_a_value_that_may_be_secret_is_in_no_log(
    gateway: GatewayProcess, upstream: Upstream
) -> None:
    upstream.handler = answering(b"nonsense\r\n\r\n", close=True)
    assert (await ask(gateway, "/shaped/x")).status == 502
    assert "hush" not in gateway.output()


# --- careful browsers ----------------------------------------------------------------------------

CAREFUL = {
    "Strict-Transport-Security": "max-age=31536000",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "SAMEORIGIN",
    "Referrer-Policy": "strict-origin-when-cross-origin",
}


def careful(answer: Answer) -> dict[str, list[str]]:
    return {name: answer.fields.all(name) for name in CAREFUL}


async def test_browsers_are_told_to_be_careful(
    gateway: GatewayProcess, upstream: Upstream, ada: SignedIn
) -> None:
    told = careful(await ask(gateway, "/careful/x", f"Cookie: {ada.cookie}"))
    assert told == {name: [value] for name, value in CAREFUL.items()}
    told = careful(await ask(gateway, "/login/x", f"Cookie: {ada.cookie}"))
    assert told == {name: [] for name in CAREFUL}


async def test_the_upstream_knows_better(
    gateway: GatewayProcess, upstream: Upstream, ada: SignedIn
) -> None:
    upstream.handler = answering(
        saying("x-frame-options: DENY", "Strict-Transport-Security: max-age=0", "Referrer-Policy: ")
    )
    assert careful(await ask(gateway, "/careful/x", f"Cookie: {ada.cookie}")) == {
        "Strict-Transport-Security": ["max-age=0"],
        "X-Content-Type-Options": ["nosniff"],
        "X-Frame-Options": ["DENY"],
        "Referrer-Policy": [""],
    }


@pytest.mark.parametrize(("path", "status"), [("/careful/x", 401), ("/careful/gone/x", 502)])
async def test_our_own_answers_are_as_careful(
    gateway: GatewayProcess, path: str, status: int
) -> None:
    answer = await ask(gateway, path)
    assert answer.status == status
    assert careful(answer) == {name: [value] for name, value in CAREFUL.items()}


# --- caches --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("path", "signed_in", "upstream_says", "cache_control", "vary"),
    [
        pytest.param("/login/x", True, [], ["private"], ["Cookie"], id="nothing said"),
        pytest.param("/optional/x", True, [], ["private"], ["Cookie"], id="optional"),
        pytest.param("/optional/x", False, [], [], ["Cookie"], id="optional, nobody"),
        pytest.param("/public/x", True, [], [], [], id="public: nobody is asked"),
        pytest.param(
            "/login/x", True, ["Cache-Control: max-age=9"], ["max-age=9"], ["Cookie"], id="said"
        ),
        pytest.param("/login/x", True, ["Expires: 0"], [], ["Cookie"], id="Expires"),
        pytest.param(
            "/login/x", True, ["vary: Accept, cookie"], ["private"], ["Accept, cookie"], id="Vary"
        ),
        pytest.param(
            "/login/x", True, ["Vary: Accept"], ["private"], ["Accept", "Cookie"], id="Vary more"
        ),
        pytest.param(
            "/uncached/x", True, ["Cache-Control: public"], ["private"], ["Cookie"], id="removed"
        ),
    ],
)
async def test_caches_do_not_mix_up_users(
    gateway: GatewayProcess,
    upstream: Upstream,
    ada: SignedIn,
    path: str,
    signed_in: bool,
    upstream_says: list[str],
    cache_control: list[str],
    vary: list[str],
) -> None:
    lines = [f"Cookie: {ada.cookie}"] if signed_in else []
    for status in ("200 OK", "404 Not Found", "301 Moved Permanently"):
        upstream.handler = answering(saying(*upstream_says, status=status))
        answer = await ask(gateway, path, *lines)
        assert answer.start == f"HTTP/1.1 {status}"
        assert answer.fields.all("Cache-Control") == cache_control
        assert answer.fields.all("Vary") == vary


async def test_a_stream_and_a_head_say_the_same(
    gateway: GatewayProcess, upstream: Upstream, ada: SignedIn
) -> None:
    upstream.handler = answering(
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", b"2\r\nok\r\n", b"0\r\n\r\n"
    )
    for method in ("GET", "HEAD"):
        if method == "HEAD":
            upstream.handler = answering(saying())
        answer = await ask(gateway, "/login/x", f"Cookie: {ada.cookie}", method=method)
        assert answer.get("Cache-Control") == "private"
        assert answer.get("Vary") == "Cookie"


# --- bodies --------------------------------------------------------------------------------------


async def test_a_chunked_body_that_outgrows_the_limit_on_its_way_is_413(
    gateway: GatewayProcess, upstream: Upstream
) -> None:
    """Its first piece is with the upstream by then, which must not take it for the whole."""
    async with Client(gateway.port) as client:
        await client.send(
            "POST /small/x HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n"
            "200\r\n" + "x" * 0x200 + "\r\n"
        )
        await wait_until(lambda: upstream.requests)
        await client.send("201\r\n" + "x" * 0x201 + "\r\n")
        assert (await client.answer()).status == 413
    await wait_until(upstream.last.peer.gone.is_set)
    assert upstream.last.body == b""
