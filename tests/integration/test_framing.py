"""Framing, both ways: what one side sends arrives whole at the other, and nothing else does."""

from __future__ import annotations

import asyncio

import pytest

from tests.gateway_process import GatewayProcess
from tests.integration.wire import OK, PATIENCE, Client, Received, Upstream, answering
from tests.servers import wait_until

pytestmark = pytest.mark.asyncio(loop_scope="module")

GET = b"GET /x HTTP/1.1\r\nHost: localhost\r\n\r\n"
HEAD = b"HEAD /x HTTP/1.1\r\nHost: localhost\r\n\r\n"
OLD_GET = b"GET /x HTTP/1.0\r\n\r\n"
LARGE = bytes(range(256)) * 4096


def post(*fields: str, body: bytes = b"", method: str = "POST", path: str = "/x") -> bytes:
    lines = [f"{method} {path} HTTP/1.1", "Host: localhost", *fields]
    return "".join(f"{line}\r\n" for line in lines).encode() + b"\r\n" + body


def chunks(*pieces: bytes, end: bytes = b"0\r\n\r\n") -> bytes:
    return b"".join(b"%x\r\n%b\r\n" % (len(piece), piece) for piece in pieces) + end


# --- requests ------------------------------------------------------------------------------------

LENGTH, CODING = "Content-Length", "Transfer-Encoding"
CHUNKED = "Transfer-Encoding: chunked"


@pytest.mark.parametrize(
    ("request_", "length", "coding", "body"),
    [
        pytest.param(GET, None, None, b"", id="GET"),
        pytest.param(post("Content-Length: 0", method="GET"), None, None, b"", id="GET, length 0"),
        pytest.param(
            post("Content-Length: 3", body=b"abc", method="GET"), "3", None, b"abc", id="GET, body"
        ),
        pytest.param(post("Content-Length: 5", body=b"hello"), "5", None, b"hello", id="length"),
        pytest.param(
            post("content-length: 5", body=b"hello"), "5", None, b"hello", id="lower case"
        ),
        pytest.param(post("Content-Length: 0"), "0", None, b"", id="length 0"),
        pytest.param(post(), None, None, b"", id="POST without a body"),
        pytest.param(
            post(CHUNKED, body=chunks(b"he", b"llo")), None, "chunked", b"hello", id="chunked"
        ),
        pytest.param(
            post("transfer-encoding: Chunked", body=chunks(b"hello")),
            None,
            "chunked",
            b"hello",
            id="chunked in another case",
        ),
        pytest.param(post(CHUNKED, body=chunks()), None, "chunked", b"", id="chunked, empty"),
        pytest.param(
            post(CHUNKED, body=b'5;name="v"\r\nhello\r\n0\r\n\r\n'),
            None,
            "chunked",
            b"hello",
            id="chunk extensions",
        ),
        pytest.param(
            post(CHUNKED, "Trailer: X-Sum", body=chunks(b"hello", end=b"0\r\nX-Sum: 1\r\n\r\n")),
            None,
            "chunked",
            b"hello",
            id="trailers are dropped",
        ),
        pytest.param(
            post("Content-Length: 1048576", body=LARGE), "1048576", None, LARGE, id="1 MiB"
        ),
        pytest.param(
            post(CHUNKED, body=chunks(LARGE[:500_000], LARGE[500_000:])),
            None,
            "chunked",
            LARGE,
            id="1 MiB chunked",
        ),
        pytest.param(
            post("Content-Length: 1", body=b"x", method="DELETE"), "1", None, b"x", id="DELETE"
        ),
        pytest.param(
            post("Content-Length: 1", body=b"x", method="PROPFIND"), "1", None, b"x", id="WebDAV"
        ),
    ],
)
async def test_a_request_arrives_as_it_was_sent(
    gateway: GatewayProcess,
    upstream: Upstream,
    request_: bytes,
    length: str | None,
    coding: str | None,
    body: bytes,
) -> None:
    async with Client(gateway.port) as client:
        answer = await client.ask(request_)
        assert (answer.status, answer.body) == (200, b"ok")
        assert (await client.ask(GET)).body == b"ok"  # the connection is where it should be
    seen, after = upstream.requests
    assert seen.start == f"{request_.decode('latin-1').split(' ')[0]} /x HTTP/1.1"
    assert (seen.get(LENGTH), seen.get(CODING)) == (length, coding)
    assert seen.body == body
    assert (seen.get("Trailer"), seen.get("X-Sum")) == (None, None)
    assert after.start == "GET /x HTTP/1.1"


async def test_a_request_in_single_bytes_is_one_request(
    gateway: GatewayProcess, upstream: Upstream
) -> None:
    async with Client(gateway.port) as client:
        for byte in post(CHUNKED, body=chunks(b"hel", b"lo")) + GET:
            await client.send(bytes([byte]))
        assert [(await client.answer()).body for _ in range(2)] == [b"ok", b"ok"]
    assert [(r.method, r.body) for r in upstream.requests] == [("POST", b"hello"), ("GET", b"")]


async def test_a_body_flows_on_before_it_is_whole(
    gateway: GatewayProcess, upstream: Upstream
) -> None:
    pieces: list[bytes] = []

    async def handle(request: Received) -> None:
        pieces.append(await request.peer.reader.readexactly(3))
        pieces.append(await request.peer.reader.readexactly(3))
        await request.peer.send(OK)

    upstream.handler = handle
    async with Client(gateway.port) as client:
        await client.send(post("Content-Length: 6", body=b"one"))
        await wait_until(lambda: pieces == [b"one"])
        await client.send(b"two")
        assert (await client.answer()).status == 200
    assert pieces == [b"one", b"two"]


async def test_a_cookie_of_64_kib_arrives(gateway: GatewayProcess, upstream: Upstream) -> None:
    value = "a=" + "x" * (64 * 1024 - 2)
    async with Client(gateway.port) as client:
        answer = await client.ask(f"GET /x HTTP/1.1\r\nHost: a\r\nCookie: {value}\r\n\r\n")
    assert answer.status == 200
    assert upstream.last.get("Cookie") == value


# --- answers -------------------------------------------------------------------------------------

PLAIN = b"HTTP/1.1 200 OK\r\n"


@pytest.mark.parametrize("split", [False, True], ids=["in one packet", "in single bytes"])
@pytest.mark.parametrize(
    ("request_", "sent", "status", "length", "coding", "body"),
    [
        pytest.param(
            GET, PLAIN + b"Content-Length: 5\r\n\r\nhello", 200, "5", None, b"hello", id="length"
        ),
        pytest.param(GET, PLAIN + b"Content-Length: 0\r\n\r\n", 200, "0", None, b"", id="length 0"),
        pytest.param(
            GET,
            PLAIN + b"Transfer-Encoding: chunked\r\n\r\n" + chunks(b"he", b"llo"),
            200,
            None,
            "chunked",
            b"hello",
            id="chunked",
        ),
        pytest.param(
            GET,
            PLAIN + b"Transfer-Encoding: chunked\r\n\r\n" + chunks(),
            200,
            None,
            "chunked",
            b"",
            id="chunked, empty",
        ),
        pytest.param(
            GET,
            PLAIN
            + b"Transfer-Encoding: chunked\r\nTrailer: X-Sum\r\n\r\n"
            + chunks(b"hello", end=b"0;last\r\nX-Sum: 1\r\n\r\n"),
            200,
            None,
            "chunked",
            b"hello",
            id="trailers are dropped",
        ),
        pytest.param(
            GET, b"HTTP/1.1 204 No Content\r\n\r\n", 204, None, None, b"", id="204 has no length"
        ),
        pytest.param(
            GET,
            b"HTTP/1.1 204 No Content\r\nContent-Length: 0\r\n\r\n",
            204,
            None,
            None,
            b"",
            id="204 with a length",
        ),
        pytest.param(
            GET, b"HTTP/1.1 304 Not Modified\r\n\r\n", 304, None, None, b"", id="304 without length"
        ),
        pytest.param(
            GET,
            b"HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\n",
            304,
            "5",
            None,
            b"",
            id="304 with the length of what was not sent",
        ),
        pytest.param(
            HEAD, PLAIN + b"Content-Length: 5\r\n\r\n", 200, "5", None, b"", id="HEAD with length"
        ),
        pytest.param(HEAD, PLAIN + b"\r\n", 200, None, None, b"", id="HEAD without length"),
        pytest.param(
            GET, b"HTTP/1.1 299\r\nContent-Length: 1\r\n\r\nx", 299, "1", None, b"x", id="no phrase"
        ),
        pytest.param(
            GET,
            b"HTTP/1.1 404 Not Found\r\nContent-Length: 1\r\n\r\nx",
            404,
            "1",
            None,
            b"x",
            id="an error of the application's",
        ),
        pytest.param(
            GET,
            PLAIN + b"Content-Length: 1048576\r\n\r\n" + LARGE,
            200,
            "1048576",
            None,
            LARGE,
            id="1 MiB",
        ),
    ],
)
async def test_an_answer_arrives_as_it_was_sent(
    gateway: GatewayProcess,
    upstream: Upstream,
    split: bool,
    request_: bytes,
    sent: bytes,
    status: int,
    length: str | None,
    coding: str | None,
    body: bytes,
) -> None:
    first = len(sent) if not split else min(len(sent), 200)
    upstream.handler = answering(
        *([sent] if not split else [sent[i : i + 1] for i in range(first)] + [sent[first:]])
    )
    async with Client(gateway.port) as client:
        answer = await client.ask(request_)
        assert (answer.version, answer.status) == ("HTTP/1.1", status)
        assert (answer.get(LENGTH), answer.get(CODING)) == (length, coding)
        assert answer.get("Connection") is None
        assert (answer.get("Trailer"), answer.get("X-Sum")) == (None, None)
        assert answer.get("Date") is not None
        assert answer.body == body
        upstream.handler = answering(OK)
        assert (await client.ask(GET)).body == b"ok"  # the connection is where it should be
    if answer.get(LENGTH) or answer.get(CODING) or status == 204:
        one, two = upstream.requests
        assert one.peer is two.peer  # kept on that side, too


@pytest.mark.parametrize(
    "head",
    [
        b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n",
        b"HTTP/1.1 200 OK\r\n\r\n",
        b"HTTP/1.0 200 OK\r\n\r\n",
    ],
    ids=["close", "without a word", "HTTP/1.0"],
)
async def test_an_answer_that_ends_with_its_connection_is_framed_anew(
    gateway: GatewayProcess, upstream: Upstream, head: bytes
) -> None:
    upstream.handler = answering(head, b"hel", b"lo", close=True)
    async with Client(gateway.port) as client:
        answer = await client.ask(GET)
        assert (answer.version, answer.get(CODING), answer.body) == (
            "HTTP/1.1",
            "chunked",
            b"hello",
        )
        upstream.handler = answering(OK)
        assert (await client.ask(GET)).body == b"ok"
    one, two = upstream.requests
    assert one.peer is not two.peer


async def test_an_http_1_0_upstream_that_keeps_its_connection_is_used_again(
    gateway: GatewayProcess, upstream: Upstream
) -> None:
    upstream.handler = answering(
        b"HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: 2\r\n\r\nok"
    )
    async with Client(gateway.port) as client:
        for _ in range(2):
            assert (await client.ask(GET)).body == b"ok"
    one, two = upstream.requests
    assert one.peer is two.peer


async def test_an_answer_flows_on_before_it_is_whole(
    gateway: GatewayProcess, upstream: Upstream
) -> None:
    more = asyncio.Event()

    async def handle(request: Received) -> None:
        await request.peer.send(PLAIN + b"Transfer-Encoding: chunked\r\n\r\n" + b"4\r\none \r\n")
        await more.wait()
        await request.peer.send(chunks(b"two"))

    upstream.handler = handle
    async with Client(gateway.port) as client:
        await client.send(GET)
        assert (await client.head()).get(CODING) == "chunked"
        assert await client.read(9) == b"4\r\none \r\n"
        more.set()
        assert await client.read(13) == b"3\r\ntwo\r\n0\r\n\r\n"


# --- interim answers -----------------------------------------------------------------------------

HINT = b"HTTP/1.1 103 Early Hints\r\nLink: </a.css>; rel=preload\r\n\r\n"
GO_ON = b"HTTP/1.1 100 Continue\r\n\r\n"


@pytest.mark.parametrize(
    ("sent", "seen"),
    [
        pytest.param([HINT + OK], [103], id="103 in one packet with the answer"),
        pytest.param([HINT, OK], [103], id="103 before the answer"),
        pytest.param([HINT, HINT, OK], [103, 103], id="several"),
        pytest.param([GO_ON, OK], [], id="100 that nobody waits for"),
        pytest.param([GO_ON + HINT + OK], [103], id="100 and 103"),
    ],
)
async def test_early_hints_are_passed_on_and_100_is_not(
    gateway: GatewayProcess, upstream: Upstream, sent: list[bytes], seen: list[int]
) -> None:
    upstream.handler = answering(*sent)
    async with Client(gateway.port) as client:
        for _ in range(2):
            answer = await client.ask(GET)
            assert (answer.status, answer.body) == (200, b"ok")
            assert [int(head.start.split(" ")[1]) for head in answer.interim] == seen
            assert [h.get("Link") for h in answer.interim] == ["</a.css>; rel=preload"] * len(seen)


async def test_an_http_1_0_client_gets_no_interim_answer(
    gateway: GatewayProcess, upstream: Upstream
) -> None:
    upstream.handler = answering(HINT, OK)
    async with Client(gateway.port) as client:
        answer = await client.ask(OLD_GET)
    assert (answer.status, answer.interim, answer.body) == (200, [], b"ok")


# --- HTTP/1.0, keep-alive, pipelining ------------------------------------------------------------


@pytest.mark.parametrize(
    "sent",
    [
        pytest.param([PLAIN + b"Content-Length: 5\r\n\r\nhello"], id="length"),
        pytest.param(
            [PLAIN + b"Transfer-Encoding: chunked\r\n\r\n" + chunks(b"he", b"llo")], id="chunked"
        ),
        pytest.param(
            [PLAIN + b"Transfer-Encoding: chunked\r\n\r\n", chunks(b"he"[:1], b"ello")],
            id="chunked in pieces",
        ),
    ],
)
@pytest.mark.parametrize("keep", [False, True], ids=["close", "keep-alive"])
async def test_an_http_1_0_client_gets_no_chunks(
    gateway: GatewayProcess, upstream: Upstream, sent: list[bytes], keep: bool
) -> None:
    upstream.handler = answering(*sent)
    asked = "GET /x HTTP/1.0\r\n" + ("Connection: keep-alive\r\n" if keep else "") + "\r\n"
    async with Client(gateway.port) as client:
        answer = await client.ask(asked)
        assert (answer.status, answer.get(CODING), answer.body) == (200, None, b"hello")
        stays = keep and answer.get(LENGTH) is not None
        assert answer.get("Connection") == ("keep-alive" if stays else "close")
        if stays:
            assert (await client.ask(asked)).body == b"hello"
        else:
            assert await client.ended() == b""
    assert upstream.last.start == "GET /x HTTP/1.1"
    assert upstream.last.get("Host") == f"127.0.0.1:{upstream.port}"


async def test_a_client_that_wants_to_close_is_told_so(
    gateway: GatewayProcess, upstream: Upstream
) -> None:
    async with Client(gateway.port) as client:
        answer = await client.ask("GET /x HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
        assert (answer.body, answer.get("Connection")) == (b"ok", "close")
        assert await client.ended() == b""
    assert upstream.last.get("Connection") is None


async def test_pipelined_requests_are_answered_in_their_order(
    gateway: GatewayProcess, upstream: Upstream
) -> None:
    second = asyncio.Event()

    async def handle(request: Received) -> None:
        await request.read()
        name = request.target.encode()
        await request.peer.send(PLAIN + b"Content-Length: %d\r\n\r\n%b" % (len(name), name))
        second.set()

    upstream.handler = handle
    async with Client(gateway.port) as client:
        await client.send(
            GET.replace(b"/x", b"/1")
            + post("Content-Length: 3", body=b"abc", path="/2")
            + post(CHUNKED, body=chunks(b"d", b"ef"), path="/3")
            + GET.replace(b"/x", b"/4")
        )
        assert [(await client.answer()).body for _ in range(4)] == [b"/1", b"/2", b"/3", b"/4"]
    assert [r.body for r in upstream.requests] == [b"", b"abc", b"def", b""]


async def test_many_pipelined_requests_are_all_answered(
    gateway: GatewayProcess, upstream: Upstream
) -> None:
    async with Client(gateway.port) as client:
        await client.send(GET * 300)
        for _ in range(300):
            assert (await client.answer()).body == b"ok"
        assert len(upstream.requests) == 300
        assert len({request.peer for request in upstream.requests}) == 1


async def test_what_follows_a_request_to_close_is_not_answered(
    gateway: GatewayProcess, upstream: Upstream
) -> None:
    async with Client(gateway.port) as client:
        await client.send(b"GET /1 HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n" + GET)
        # Who breaks its own word in one packet may be refused as a whole.
        answer = await client.answer()
        assert (answer.status, answer.get("Connection")) in [(200, "close"), (400, "close")]
        assert await client.ended() == b""
    assert "/x" not in [request.target for request in upstream.requests]


# --- Expect: 100-continue ------------------------------------------------------------------------

WAITS = "Expect: 100-continue"


@pytest.mark.parametrize("framing", ["Content-Length: 5", CHUNKED])
async def test_who_may_send_is_told_to_go_on(
    gateway: GatewayProcess, upstream: Upstream, framing: str
) -> None:
    async with Client(gateway.port) as client:
        await client.send(post(framing, WAITS))
        assert (await client.head()).start == "HTTP/1.1 100 Continue"
        await client.send(b"hello" if framing != CHUNKED else chunks(b"hello"))
        answer = await client.answer()
        assert (answer.status, answer.interim) == (200, [])
        assert (await client.ask(GET)).body == b"ok"
    assert upstream.requests[0].body == b"hello"
    assert upstream.requests[0].get("Expect") is None


async def test_who_does_not_wait_is_served_all_the_same(
    gateway: GatewayProcess, upstream: Upstream
) -> None:
    async with Client(gateway.port) as client:
        answer = await client.ask(post("Content-Length: 5", WAITS, body=b"hello"))
        assert answer.status == 200
        assert (await client.ask(GET)).body == b"ok"
    assert upstream.requests[0].body == b"hello"


@pytest.mark.parametrize(
    ("path", "length", "status"),
    [
        pytest.param("/login/x", 1 << 40, 401, id="not signed in"),
        pytest.param("/small/x", 1 << 40, 413, id="too large"),
        pytest.param("/x/%2e%2e/y", 10, 400, id="ambiguous"),
    ],
)
async def test_who_may_not_send_is_told_at_once(
    gateway: GatewayProcess, upstream: Upstream, path: str, length: int, status: int
) -> None:
    async with Client(gateway.port) as client:
        answer = await client.ask(post(f"Content-Length: {length}", WAITS, path=path))
        assert (answer.status, answer.interim) == (status, [])
        assert answer.get("Connection") == "close"
        assert await client.ended() == b""
    assert upstream.requests == []


async def test_an_expectation_that_nobody_knows_is_417(
    gateway: GatewayProcess, upstream: Upstream
) -> None:
    async with Client(gateway.port) as client:
        answer = await client.ask(post("Content-Length: 1", "Expect: a-miracle"))
        assert answer.status == 417
        assert await client.ended() == b""
    assert upstream.requests == []


# --- answers that come early, bodies that are too large ------------------------------------------


async def test_an_answer_that_comes_before_the_end_of_the_upload_is_passed_on(
    gateway: GatewayProcess, upstream: Upstream
) -> None:
    async def handle(request: Received) -> None:
        await request.peer.reader.readexactly(3)
        await request.peer.send(b"HTTP/1.1 413 Too Large\r\nContent-Length: 2\r\n\r\nno")
        await request.peer.until_closed()
        request.peer.close()

    upstream.handler = handle
    async with Client(gateway.port) as client:
        answer = await client.ask(post("Content-Length: 1000000", body=b"abc"))
        assert (answer.status, answer.body) == (413, b"no")
        # Neither connection may carry on: the rest of the body would be read as a request.
        assert answer.get("Connection") == "close"
        async with asyncio.timeout(PATIENCE):
            await upstream.last.peer.gone.wait()


async def test_a_client_that_goes_on_sending_after_an_early_answer_can_still_read_it(
    gateway: GatewayProcess, upstream: Upstream
) -> None:
    async def handle(request: Received) -> None:
        # It says that it will not read the rest; otherwise the connection could be used again.
        answer = b"HTTP/1.1 413 Too Large\r\nConnection: close\r\nContent-Length: 2\r\n\r\nno"
        await request.peer.send(answer)
        await request.peer.until_closed()
        request.peer.close()

    upstream.handler = handle
    async with Client(gateway.port) as client:
        await client.send(post("Content-Length: 900000"))
        for _ in range(9):
            await client.send(b"x" * 100_000)
        answer = await client.answer()
        assert (answer.status, answer.body) == (413, b"no")


@pytest.mark.parametrize(
    "request_",
    [
        pytest.param(
            post("Content-Length: 1025", body=b"x" * 1025, path="/small/x"), id="by its length"
        ),
        pytest.param(post("Content-Length: 1025", path="/small/x"), id="before it is sent"),
        pytest.param(post(CHUNKED, body=chunks(b"x" * 1025), path="/small/x"), id="by its chunks"),
    ],
)
async def test_a_body_beyond_the_limit_is_413(
    gateway: GatewayProcess, upstream: Upstream, request_: bytes
) -> None:
    async with Client(gateway.port) as client:
        answer = await client.ask(request_)
        assert answer.status == 413
        assert answer.get("Connection") == "close"
    assert all(request.body == b"" for request in upstream.requests)


@pytest.mark.parametrize(
    "request_",
    [
        pytest.param(post("Content-Length: 1024", body=b"x" * 1024, path="/small/x"), id="length"),
        pytest.param(post(CHUNKED, body=chunks(b"x" * 1024), path="/small/x"), id="chunked"),
    ],
)
async def test_a_body_at_the_limit_passes(
    gateway: GatewayProcess, upstream: Upstream, request_: bytes
) -> None:
    async with Client(gateway.port) as client:
        assert (await client.ask(request_)).status == 200
    assert upstream.last.body == b"x" * 1024


async def test_a_refused_request_whose_body_is_small_leaves_the_connection_usable(
    gateway: GatewayProcess, upstream: Upstream
) -> None:
    async with Client(gateway.port) as client:
        answer = await client.ask(post("Content-Length: 5", body=b"hello", path="/login/x"))
        assert (answer.status, answer.get("Connection")) == (401, None)
        assert (await client.ask(GET)).body == b"ok"
    assert [request.target for request in upstream.requests] == ["/x"]
