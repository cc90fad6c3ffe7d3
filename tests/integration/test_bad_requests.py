"""Requests that are none: a clear status, a closed connection, a log line, and no upstream."""

from __future__ import annotations

import json
import re

import pytest

from tests.gateway_process import GatewayProcess
from tests.integration.wire import OK, Client, Upstream, answering
from tests.servers import wait_until

pytestmark = pytest.mark.asyncio(loop_scope="module")

HOST = "Host: localhost\r\n"


def get(*lines: str, host: str = HOST, target: str = "/x", version: str = "HTTP/1.1") -> str:
    return f"GET {target} {version}\r\n{host}" + "".join(f"{line}\r\n" for line in lines) + "\r\n"


def post(*lines: str, body: str = "") -> str:
    return f"POST /x HTTP/1.1\r\n{HOST}" + "".join(f"{line}\r\n" for line in lines) + "\r\n" + body


CHUNKED = "Transfer-Encoding: chunked"
NOTHING_LEFT = "0\r\n\r\n"

TOO_LONG = [
    pytest.param(get("X-Long: " + "x" * 70 * 1024), 431, id="a field of 70 KiB"),
    pytest.param(get("Cookie: " + "x" * 70 * 1024), 431, id="a cookie of 70 KiB"),
    pytest.param(get("x" * 70 * 1024 + ": 1"), 431, id="a name of 70 KiB"),
    pytest.param(get(*["X: 1"] * 200), 431, id="200 fields"),
    pytest.param(get(*["X: " + "x" * 60_000] * 5), 431, id="five fields of 60 kB"),
    pytest.param(get(target="/" + "x" * 17 * 1024), 414, id="a target of 17 KiB"),
    pytest.param(get(target="/?" + "x" * 300 * 1024), 414, id="a target of 300 KiB"),
]

MALFORMED = [
    pytest.param("nonsense\r\n\r\n", 400, id="no request line"),
    pytest.param("\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n", 400, id="TLS"),
    pytest.param("GET /x\r\n\r\n", 400, id="HTTP/0.9"),
    pytest.param(f"GET /x HTTP/0.9\r\n{HOST}\r\n", (400, 505), id="HTTP/0.9 by name"),
    pytest.param(f"GET /x HTTP/1.2\r\n{HOST}\r\n", (400, 505), id="HTTP/1.2"),
    pytest.param(f"GET /x HTTP/2.0\r\n{HOST}\r\n", (400, 505), id="HTTP/2.0"),
    pytest.param("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", (400, 505), id="HTTP/2 preface"),
    pytest.param(f"GET /x http/1.1\r\n{HOST}\r\n", 400, id="version in lower case"),
    pytest.param(f"GET /x FTP/1.1\r\n{HOST}\r\n", 400, id="another protocol"),
    pytest.param(f"GET\t/x HTTP/1.1\r\n{HOST}\r\n", 400, id="tab"),
    pytest.param(f"GET /a b HTTP/1.1\r\n{HOST}\r\n", 400, id="space in the target"),
    pytest.param(f"GET /a\x00b HTTP/1.1\r\n{HOST}\r\n", 400, id="NUL in the target"),
    pytest.param(f"GET /a\x7fb HTTP/1.1\r\n{HOST}\r\n", 400, id="DEL in the target"),
    pytest.param(f"GET x HTTP/1.1\r\n{HOST}\r\n", 400, id="a target without slash"),
    pytest.param(f"GET * HTTP/1.1\r\n{HOST}\r\n", 400, id="a target of OPTIONS"),
    pytest.param(f"GET ftp://localhost/x HTTP/1.1\r\n{HOST}\r\n", 400, id="an ftp URL"),
    pytest.param(f"GET http://evil.test/x HTTP/1.1\r\n{HOST}\r\n", 400, id="two hosts"),
    pytest.param(f"G{{T /x HTTP/1.1\r\n{HOST}\r\n", 400, id="a method that is no token"),
    pytest.param(f"\x00GET /x HTTP/1.1\r\n{HOST}\r\n", 400, id="NUL in front"),
    pytest.param(f"GET /x HTTP/1.1\n{HOST}\r\n", 400, id="bare LF after the request line"),
    pytest.param(get(host="Host: localhost\n"), 400, id="bare LF"),
    pytest.param(get("X-A: b\nX-User-Id: mallory"), 400, id="bare LF within a value"),
    pytest.param(get("X-A: b\rX-User-Id: mallory"), 400, id="bare CR within a value"),
    pytest.param(get("X-A: b\x00c"), 400, id="NUL in a value"),
    pytest.param(get("X-A\x00: b"), 400, id="NUL in a name"),
    pytest.param(get("X-A: b", " c"), 400, id="a folded value"),
    pytest.param(get("X-A:", "\tc"), 400, id="a value folded with a tab"),
    pytest.param(f"GET /x HTTP/1.1\r\n X-A: b\r\n{HOST}\r\n", 400, id="a first field folded"),
    pytest.param(get("X-A : b"), 400, id="space before the colon"),
    pytest.param(get("X-A\t: b"), 400, id="tab before the colon"),
    pytest.param(get("X A: b"), 400, id="space in a name"),
    pytest.param(get("X-A"), 400, id="a field without a colon"),
    pytest.param(get(": b"), 400, id="a field without a name"),
    pytest.param(get("X-\xdc: b"), 400, id="a name that is not ASCII"),
    pytest.param(get("X-(A): b"), 400, id="a name that is no token"),
    # --- whose request is it? ---
    pytest.param(get(host=""), 400, id="no Host"),
    pytest.param(get(host="Host:\r\n"), 400, id="an empty Host"),
    pytest.param(get(host=HOST + HOST), 400, id="Host twice"),
    pytest.param(get(host=HOST + "host: other\r\n"), 400, id="two hosts in two cases"),
    pytest.param(get(host="Host: a, b\r\n"), 400, id="two in one Host"),
    pytest.param(get(host="Host: a b\r\n"), 400, id="Host with a space"),
    pytest.param(get(host="Host: a/b\r\n"), 400, id="Host with a path"),
    pytest.param(get(host="Host: user@a\r\n"), 400, id="Host with a user"),
    pytest.param(get(host="Host: a:port\r\n"), 400, id="Host with a bad port"),
    pytest.param(get(host="Host: a:70000\r\n"), 400, id="Host with too high a port"),
    pytest.param(get(host="Host: [::1\r\n"), 400, id="Host with half a bracket"),
    pytest.param(get(host="Host: a\xe9b\r\n"), 400, id="Host that is not ASCII"),
    pytest.param(get(host=HOST + HOST, version="HTTP/1.0"), 400, id="Host twice in HTTP/1.0"),
    # --- where does it end? ---
    pytest.param(
        post("Content-Length: 3", CHUNKED, body=NOTHING_LEFT), 400, id="length and chunked"
    ),
    pytest.param(
        post(CHUNKED, "Content-Length: 3", body=NOTHING_LEFT), 400, id="chunked and length"
    ),
    pytest.param(
        post("Content-Length: 3", "Content-Length: 3", body="abc"), 400, id="length twice"
    ),
    pytest.param(
        post("Content-Length: 3", "Content-Length: 4", body="abcd"), 400, id="two lengths"
    ),
    pytest.param(post("Content-Length: 3, 3", body="abc"), 400, id="a list of lengths"),
    pytest.param(post("Content-Length: +3", body="abc"), 400, id="length with a sign"),
    pytest.param(post("Content-Length: -3", body="abc"), 400, id="a negative length"),
    pytest.param(post("Content-Length: 0x3", body="abc"), 400, id="a hexadecimal length"),
    pytest.param(post("Content-Length: 3 3", body="abc"), 400, id="length with a space"),
    pytest.param(post("Content-Length:", body="abc"), 400, id="an empty length"),
    pytest.param(post("Content-Length: " + "9" * 40, body="abc"), 400, id="a length of 40 digits"),
    pytest.param(post(CHUNKED, CHUNKED, body=NOTHING_LEFT), 400, id="chunked twice"),
    pytest.param(
        post("Transfer-Encoding: chunked, chunked", body=NOTHING_LEFT), 400, id="chunked in chunks"
    ),
    pytest.param(
        post("Transfer-Encoding: gzip, chunked", body=NOTHING_LEFT), (400, 501), id="gzip, chunked"
    ),
    pytest.param(
        post("Transfer-Encoding: chunked, gzip", body=NOTHING_LEFT), (400, 501), id="chunked, gzip"
    ),
    pytest.param(post("Transfer-Encoding: gzip", body="abc"), (400, 501), id="gzip"),
    pytest.param(post("Transfer-Encoding: identity", body="abc"), (400, 501), id="identity"),
    pytest.param(post("Transfer-Encoding: xchunked", body=NOTHING_LEFT), (400, 501), id="xchunked"),
    pytest.param(post("Transfer-Encoding:", body="abc"), (400, 501), id="an empty coding"),
    pytest.param(post("Transfer-Encoding: \x0bchunked", body=NOTHING_LEFT), 400, id="VT, chunked"),
    pytest.param(post("Transfer-Encoding : chunked", body=NOTHING_LEFT), 400, id="coding, space"),
    pytest.param(
        f"POST /x HTTP/1.0\r\n{HOST}{CHUNKED}\r\n\r\n{NOTHING_LEFT}", 400, id="chunked in HTTP/1.0"
    ),
]

METHODS = [
    pytest.param(f"TRACE /x HTTP/1.1\r\n{HOST}\r\n", 405, id="TRACE"),
    pytest.param(
        "CONNECT localhost:443 HTTP/1.1\r\nHost: localhost:443\r\n\r\n", 405, id="CONNECT"
    ),
    pytest.param(f"CONNECT /x HTTP/1.1\r\n{HOST}\r\n", 405, id="CONNECT with a path"),
]

CLOSES = 400, 414, 431, 501, 505


@pytest.mark.parametrize(("request_", "status"), [*TOO_LONG, *MALFORMED, *METHODS])
async def test_what_is_no_request_is_refused(
    gateway: GatewayProcess, upstream: Upstream, request_: str, status: int | tuple[int, ...]
) -> None:
    async with Client(gateway.port) as client:
        # What follows must not be taken for a request of its own.
        smuggled = "GET /smuggled HTTP/1.1\r\nHost: localhost\r\n\r\n"
        answer = await client.ask(request_.encode("latin-1") + smuggled.encode())
        assert answer.status in ((status,) if isinstance(status, int) else status)
        assert answer.get("Content-Type") == "application/problem+json"
        assert answer.get("Cache-Control") == "no-store"
        problem = json.loads(answer.body)
        assert problem["status"] == answer.status
        if answer.status in CLOSES:
            assert answer.get("Connection") == "close"
            assert await client.ended() == b""
            assert upstream.requests == []
    request_id = problem["request_id"]
    await wait_until(lambda: gateway.requests(request_id=request_id), what="a log line")
    [line] = gateway.requests(request_id=request_id)
    assert line["status"] == answer.status


@pytest.mark.parametrize(
    ("request_", "body"),
    [
        pytest.param("xyz\r\nabc\r\n0\r\n\r\n", b"", id="a size that is no number"),
        pytest.param("-3\r\nabc\r\n0\r\n\r\n", b"", id="a negative size"),
        pytest.param("0x3\r\nabc\r\n0\r\n\r\n", b"", id="a size with 0x"),
        pytest.param("3\nabc\r\n0\r\n\r\n", b"", id="bare LF after the size"),
        pytest.param("2\r\nabc\r\n0\r\n\r\n", b"ab", id="a chunk longer than it says"),
        pytest.param("ffffffffffffffffff\r\nabc", b"", id="a size beyond all sense"),
        pytest.param("3\r\nabc\n0\r\n\r\n", b"abc", id="bare LF after a chunk"),
    ],
)
async def test_a_body_in_broken_chunks_never_looks_whole(
    gateway: GatewayProcess, upstream: Upstream, request_: str, body: bytes
) -> None:
    async with Client(gateway.port) as client:
        await client.send(post(CHUNKED, body=request_))
        answer = await client.answer()
        assert answer.status == 400
        assert answer.get("Connection") == "close"
        assert await client.ended() == b""
    # The head may be at the upstream by then; an end of the body must not be.
    for request in upstream.requests:
        assert await wait_until(request.peer.gone.is_set) < 5
        assert request.body == b""


@pytest.mark.parametrize(
    ("target", "status"),
    [
        ("/a/../b", 400),
        ("/a/%2e%2e/b", 400),
        ("/a/.%2E/b", 400),
        ("/a/./b", 400),
        ("/a//b", 400),
        ("/a\\b", 400),
        ("/a%5cb", 400),
        ("/a%2fb", 400),
        ("/a%2Fb", 400),
        ("/a%00b", 400),
        ("/a%0d%0ab", 400),
        ("/a%", 400),
        ("/a%zz", 400),
        ("/a%c0%af", 400),
        ("/a%252e", 400),
        ("/a;b", 400),
        ("/a%3bb", 400),
        ("/a%3fb", 400),
        ("/a%23b", 400),
        ("/..;/b", 400),
        ("//evil.test/x", 400),
        ("/a#b", 400),
    ],
)
async def test_a_path_that_two_parsers_could_read_differently_is_400(
    gateway: GatewayProcess, upstream: Upstream, target: str, status: int
) -> None:
    async with Client(gateway.port) as client:
        answer = await client.ask(get(target=target))
        assert answer.status == status
        assert json.loads(answer.body)["title"] == "Request not understood"
        assert (await client.ask(get())).body == b"ok"  # it was a request all the same
    assert [request.target for request in upstream.requests] == ["/x"]


@pytest.mark.parametrize(
    ("target", "seen"),
    [
        ("/a/b/", "/a/b/"),
        ("/%61%7e/%e4%bd%a0", "/a~/%E4%BD%A0"),
        ("/a%20b", "/a%20b"),
        ("/x?a=%zz&b=/../&c=//", "/x?a=%zz&b=/../&c=//"),
        ("/x?", "/x"),
        ("http://localhost/x?y", "/x?y"),
        ("http://localhost?y", "/?y"),
    ],
)
async def test_the_upstream_gets_the_path_that_was_matched(
    gateway: GatewayProcess, upstream: Upstream, target: str, seen: str
) -> None:
    async with Client(gateway.port) as client:
        assert (await client.ask(get(target=target))).status == 200
    assert upstream.last.target == seen


@pytest.mark.parametrize(
    "request_",
    [
        pytest.param(get(*["X: 1"] * 100), id="100 fields"),
        pytest.param(get("X-Long: " + "x" * 64 * 1024), id="a field of 64 KiB"),
        pytest.param(get(target="/" + "x" * 15 * 1024), id="a target of 15 KiB"),
        pytest.param("\r\n" + get(), id="an empty line in front"),
        pytest.param(get("X-Empty:"), id="an empty value"),
        pytest.param(get("X-Bytes: \xe9\xff"), id="a value beyond ASCII"),
        pytest.param(get("X-Tab: a\tb"), id="a tab in a value"),
        pytest.param(get(host="Host: LOCALHOST.:80\r\n"), id="Host in capitals, dot and port"),
        pytest.param(get(host="Host: [::1]:80\r\n"), id="an IPv6 Host"),
        # RFC 9112 section 3 lets a recipient split at any white space.
        pytest.param(f"GET  /x HTTP/1.1\r\n{HOST}\r\n", id="two spaces before the target"),
        pytest.param(f"GET /x  HTTP/1.1\r\n{HOST}\r\n", id="two spaces before the version"),
        pytest.param(get(version="HTTP/1.0", host=""), id="HTTP/1.0 without Host"),
    ],
)
async def test_what_is_merely_unusual_is_served(
    gateway: GatewayProcess, upstream: Upstream, request_: str
) -> None:
    upstream.handler = answering(OK)
    async with Client(gateway.port) as client:
        assert (await client.ask(request_.encode("latin-1"))).status == 200
    assert re.fullmatch(r"GET /x* HTTP/1\.1", upstream.last.start)


async def test_errors_before_a_request_never_show_what_was_sent(
    gateway: GatewayProcess, upstream: Upstream
) -> None:
    secret = "c2VjcmV0LXNlc3Npb24tdG9rZW4"
    for broken in (
        get(f"Cookie: {secret}\x00"),
        get(f"Cookie : {secret}"),
        f"GET {secret}\r\n\r\n",
    ):
        async with Client(gateway.port) as client:
            answer = await client.ask(broken)
            assert answer.status == 400
            assert secret.encode() not in answer.raw + answer.body
    await wait_until(lambda: len(gateway.requests(status=400)) > 2)
    assert secret not in gateway.output()
