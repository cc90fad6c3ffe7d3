"""What goes wrong on either side: a clear status or a visibly broken answer, and nothing left."""

from __future__ import annotations

import asyncio
import json
import re
import socket
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager

import pytest

from tests.gateway_process import GatewayProcess
from tests.integration.wire import (
    OK,
    PATIENCE,
    Answer,
    BrokenAnswer,
    Client,
    Handler,
    Peer,
    Received,
    Upstream,
    answering,
)
from tests.servers import free_port, wait_until

pytestmark = pytest.mark.asyncio(loop_scope="module")

CONFIG = """\
version: 1
server:
  listen: 127.0.0.1:${PORT}
  admin: 127.0.0.1:${ADMIN_PORT}
  header_timeout: 500ms
  keepalive_timeout: 1s
session: {store: "sqlite:///sessions.db"}
upstreams:
  app: {targets: ["${UPSTREAM}"], timeouts: {connect: 500ms, first_byte: 20s, idle: 500ms}}
  down: http://127.0.0.1:${DOWN}
  full: {targets: ["http://127.0.0.1:${FULL}"], timeouts: {connect: 300ms}}
  nowhere: http://no-such-host.invalid
defaults: {access: deny, upstream: app}
routes:
  - {path: /**, access: public}
  - {path: /slow/**, access: public, timeout: 500ms}
  - {path: /down/**, access: public, upstream: down}
  - {path: /full/**, access: public, upstream: full}
  - {path: /nowhere/**, access: public, upstream: nowhere}
"""


@pytest.fixture(scope="module")
def full() -> Iterator[int]:
    """A port that accepts no connection and refuses none: its queue is full."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        port: int = listener.getsockname()[1]
        waiting = [socket.socket() for _ in range(4)]
        for each in waiting:
            each.setblocking(False)
            each.connect_ex(("127.0.0.1", port))
        yield port
        for each in waiting:
            each.close()


@pytest.fixture(scope="module")
def environment(full: int) -> dict[str, object]:
    return {"DOWN": free_port(), "FULL": full}


def asking(path: str = "/x", *fields: str, method: str = "GET", version: str = "HTTP/1.1") -> str:
    lines = [f"{method} {path} {version}", "Host: localhost", *fields]
    return "\r\n".join(lines) + "\r\n\r\n"


@asynccontextmanager
async def asked(gateway: GatewayProcess, request: str) -> AsyncIterator[Client]:
    async with Client(gateway.port) as client:
        await client.send(request)
        yield client


async def ask(gateway: GatewayProcess, request: str) -> Answer:
    async with asked(gateway, request) as client:
        return await client.answer(head=request.startswith("HEAD"))


async def logged(gateway: GatewayProcess, path: str, count: int = 1) -> list[dict[str, object]]:
    """Return the lines of the request log for a path, once there are so many."""
    await wait_until(
        lambda: len(gateway.requests(path=path)) >= count, what=f"{count} log lines of {path}"
    )
    lines = gateway.requests(path=path)
    assert len(lines) == count, lines
    return lines


# --- answers of the gateway's own ----------------------------------------------------------------

PLAIN = b"HTTP/1.1 200 OK\r\n"


async def silent(request: Received) -> None:
    await request.peer.until_closed()
    request.peer.close()


async def hang_up(request: Received) -> None:
    request.peer.close()


UNFIT = [
    pytest.param("/down/{}", answering(OK), 502, "upstream_unreachable", id="refused"),
    pytest.param("/nowhere/{}", answering(OK), 502, "upstream_unreachable", id="no such host"),
    pytest.param("/full/{}", answering(OK), 504, "upstream_timeout", id="no connection in time"),
    pytest.param("/slow/{}", silent, 504, "upstream_timeout", id="no answer in time"),
    pytest.param(
        "/slow/{}",
        answering(b"HTTP/1.1 103 Early Hints\r\n\r\nHTTP/1.1 20"),
        504,
        "upstream_timeout",
        id="half a head in time",
    ),
    pytest.param("/x/{}", hang_up, 502, "upstream_protocol", id="no answer at all"),
    *(
        pytest.param("/x/{}", answering(sent, close=True), 502, "upstream_protocol", id=name)
        for name, sent in {
            "half a head": b"HTTP/1.1 200 OK\r\nContent-Le",
            "another protocol": b"SSH-2.0-OpenSSH_9.2p1 Debian-2\r\n",
            "zeros": b"\x00" * 1000,
            "HTML without a head": b"<!doctype html><title>hello</title>",
            "HTTP/2": b"\x00\x00\x12\x04\x00\x00\x00\x00\x00\x00\x03\x00\x00\x00\x64",
            "no number for a status": b"HTTP/1.1 OK\r\n\r\n",
            "a status of two digits": b"HTTP/1.1 20 OK\r\n\r\n",
            "a field without colon": PLAIN + b"Nonsense\r\n\r\n",
            "NUL in a field": PLAIN + b"X-A: b\x00c\r\nContent-Length: 0\r\n\r\n",
            "two lengths": PLAIN + b"Content-Length: 2\r\nContent-Length: 3\r\n\r\nabc",
            "length and chunked": PLAIN
            + b"Content-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
            "a length that is none": PLAIN + b"Content-Length: many\r\n\r\nabc",
            "an endless head": PLAIN + b"X-A: b\r\n" * 50_000,
            "101 that nobody asked for": b"HTTP/1.1 101 Switching Protocols\r\n"
            b"Connection: Upgrade\r\nUpgrade: websocket\r\n\r\n",
        }.items()
    ),
]


@pytest.mark.parametrize("page", [True, False], ids=["page", "json"])
@pytest.mark.parametrize(("path", "handler", "status", "reason"), UNFIT)
async def test_an_upstream_that_does_not_answer_is_502_or_504(
    gateway: GatewayProcess,
    upstream: Upstream,
    request: pytest.FixtureRequest,
    path: str,
    handler: Handler,
    status: int,
    reason: str,
    page: bool,
) -> None:
    upstream.handler = handler
    path = path.format(re.sub(r"\W", "-", request.node.name))
    accept = "text/html,*/*" if page else "application/json"
    async with Client(gateway.port) as client:
        answer = await client.ask(asking(path, f"Accept: {accept}"))
        assert answer.status == status
        assert answer.get("Cache-Control") == "no-store"
        request_id = answer.get("X-Request-Id")
        if page:
            assert answer.get("Content-Type") == "text/html; charset=utf-8"
            assert request_id is not None
            assert request_id in answer.body.decode()
        else:
            assert answer.get("Content-Type") == "application/problem+json"
            assert json.loads(answer.body)["request_id"] == request_id
        for secret in ("127.0.0.1", "Traceback", "gateway/", "invalid", str(upstream.port)):
            assert secret not in answer.body.decode()
        upstream.handler = answering(OK)
        assert (await client.ask(asking())).body == b"ok"  # nothing is left hanging
    [line] = await logged(gateway, path)
    assert (line["status"], line["reason"]) == (status, reason)
    assert line["request_id"] == request_id
    # What the answer leaves out is for the operator.
    [why] = [e for e in gateway.log("request failed") if e["request_id"] == request_id]
    assert why["reason"] == reason
    assert why["detail"]


async def test_a_route_that_is_slow_lets_the_upstream_go(
    gateway: GatewayProcess, upstream: Upstream
) -> None:
    upstream.handler = silent
    assert (await ask(gateway, asking("/slow/let-go"))).status == 504
    await wait_until(upstream.last.peer.gone.is_set, seconds=1.0)


# --- bodies that break off -----------------------------------------------------------------------


async def stall(request: Received) -> None:
    await request.peer.send(PLAIN + b"Content-Length: 10\r\n\r\nhello")
    await silent(request)


async def stall_in_chunks(request: Received) -> None:
    await request.peer.send(PLAIN + b"Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n")
    await silent(request)


async def reset(request: Received) -> None:
    """Begin an answer that only its connection's end ends, and end it with a reset."""
    await request.peer.send(PLAIN + b"\r\nhello")
    sock: socket.socket = request.peer.writer.get_extra_info("socket")
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\0\0\0\0\0\0\0")
    request.peer.writer.transport.abort()


@pytest.mark.parametrize("version", ["HTTP/1.1", "HTTP/1.0"])
@pytest.mark.parametrize(
    ("handler", "reason"),
    [
        pytest.param(
            answering(PLAIN + b"Content-Length: 10\r\n\r\n", b"hello", close=True),
            "upstream_protocol",
            id="length",
        ),
        pytest.param(
            answering(PLAIN + b"Content-Length: 10\r\n\r\nhello", close=True),
            "upstream_protocol",
            id="length, all in one",
        ),
        pytest.param(
            answering(PLAIN + b"Transfer-Encoding: chunked\r\n\r\n", b"5\r\nhello\r\n", close=True),
            "upstream_protocol",
            id="chunked, between chunks",
        ),
        pytest.param(
            answering(PLAIN + b"Transfer-Encoding: chunked\r\n\r\n", b"9\r\nhello", close=True),
            "upstream_protocol",
            id="chunked, within a chunk",
        ),
        pytest.param(
            answering(
                PLAIN + b"Transfer-Encoding: chunked\r\n\r\n", b"5\r\nhello\r\n0\r\n", close=True
            ),
            "upstream_protocol",
            id="chunked, before the very end",
        ),
        pytest.param(
            answering(
                PLAIN + b"Transfer-Encoding: chunked\r\n\r\n", b"5\r\nhello\r\n", b"nonsense\r\n"
            ),
            "upstream_protocol",
            id="chunked, then nonsense",
        ),
        pytest.param(stall, "upstream_timeout", id="length, then nothing"),
        pytest.param(stall_in_chunks, "upstream_timeout", id="chunked, then nothing"),
        pytest.param(reset, "upstream_protocol", id="reset"),
    ],
)
async def test_a_body_that_breaks_off_never_looks_whole(
    gateway: GatewayProcess,
    upstream: Upstream,
    request: pytest.FixtureRequest,
    handler: Handler,
    reason: str,
    version: str,
) -> None:
    upstream.handler = handler
    path = "/broken/" + re.sub(r"[^\w.]", "-", request.node.name)
    async with asked(gateway, asking(path, version=version)) as client:
        with pytest.raises(BrokenAnswer):
            await client.answer()
    [line] = await logged(gateway, path)
    # 502 or 504 where the fault was known before the first byte went out.
    assert line["reason"] == reason
    await wait_until(upstream.last.peer.gone.is_set, seconds=1.0)


# --- connections to the upstream that die --------------------------------------------------------


class DiesAtSecondUse:
    """Answers the first request on each connection, and closes at the next one."""

    def __init__(self) -> None:
        self.used: set[Peer] = set()

    async def __call__(self, request: Received) -> None:
        await request.read()
        if request.peer in self.used:
            request.peer.close()
            return
        self.used.add(request.peer)
        await request.peer.send(OK if request.method != "HEAD" else OK.removesuffix(b"ok"))


@pytest.mark.parametrize(
    "request_",
    [
        *(asking(method=method) for method in ("GET", "HEAD", "OPTIONS", "DELETE")),
        asking("/x", "Content-Length: 3", method="PUT") + "abc",
        asking("/x", "Transfer-Encoding: chunked", method="PUT") + "3\r\nabc\r\n0\r\n\r\n",
    ],
    ids=["GET", "HEAD", "OPTIONS", "DELETE", "PUT", "PUT in chunks"],
)
async def test_what_may_be_repeated_is_sent_again_over_a_new_connection(
    gateway: GatewayProcess, upstream: Upstream, request_: str
) -> None:
    upstream.handler = DiesAtSecondUse()
    async with Client(gateway.port) as client:
        for _ in range(2):
            assert (await client.ask(request_)).status == 200
    first, lost, again = upstream.requests
    assert lost.peer is first.peer
    assert again.peer is not lost.peer
    assert again.raw == lost.raw
    assert again.body == first.body


async def test_a_body_that_was_not_there_as_a_whole_is_never_sent_twice(
    gateway: GatewayProcess, upstream: Upstream
) -> None:
    upstream.handler = DiesAtSecondUse()
    async with Client(gateway.port) as client:
        assert (await client.ask(asking())).status == 200
        await client.send(asking("/x", "Content-Length: 6", method="PUT") + "abc")
        await wait_until(lambda: len(upstream.requests) == 2)
        await client.send("def")
        assert (await client.answer()).status == 502
    assert [r.method for r in upstream.requests] == ["GET", "PUT"]


async def test_it_is_sent_again_once_only(gateway: GatewayProcess, upstream: Upstream) -> None:
    upstream.handler = answering(OK)
    async with Client(gateway.port) as client:
        await client.ask(asking())
        upstream.handler = hang_up
        assert (await client.ask(asking())).status == 502
    assert len(upstream.requests) == 3


@pytest.mark.parametrize(
    "request_",
    [
        pytest.param(asking(method="POST"), id="POST without a body"),
        pytest.param(asking("/x", "Content-Length: 3", method="POST") + "abc", id="POST"),
        pytest.param(asking(method="PATCH"), id="PATCH"),
        pytest.param(asking(method="LOCK"), id="a method nobody knows"),
    ],
)
async def test_what_may_not_be_repeated_is_never_sent_twice(
    gateway: GatewayProcess, upstream: Upstream, request_: str
) -> None:
    upstream.handler = DiesAtSecondUse()
    async with Client(gateway.port) as client:
        assert (await client.ask(asking())).status == 200
        assert (await client.ask(request_)).status == 502
    assert [r.method for r in upstream.requests] == ["GET", request_.split(" ")[0]]


async def test_an_answer_that_began_is_not_asked_for_again(
    gateway: GatewayProcess, upstream: Upstream
) -> None:
    async with Client(gateway.port) as client:
        assert (await client.ask(asking())).status == 200
        upstream.handler = answering(b"HTTP/1.1 2", close=True)
        assert (await client.ask(asking())).status == 502
    assert len(upstream.requests) == 2


async def test_a_connection_that_the_upstream_closes_while_idle_is_not_used(
    gateway: GatewayProcess, upstream: Upstream
) -> None:
    async with Client(gateway.port) as client:
        assert (await client.ask(asking())).status == 200
        upstream.last.peer.close()
        await upstream.last.peer.gone.wait()
        answer = await client.ask(asking("/x", "Content-Length: 3", method="POST") + "abc")
        assert answer.status == 200
    assert [r.method for r in upstream.requests] == ["GET", "POST"]


async def test_the_upstream_may_go_and_come_back(
    gateway: GatewayProcess, upstream: Upstream
) -> None:
    async with Client(gateway.port) as client:
        assert (await client.ask(asking())).status == 200
        await upstream.stop()
        assert (await client.ask(asking())).status == 502
        await upstream.start()
        assert (await client.ask(asking())).status == 200


# --- answers that nobody asked for ---------------------------------------------------------------

POISON = b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\npoison"


@pytest.mark.parametrize(
    "pieces",
    [
        pytest.param([OK + POISON], id="in one packet"),
        pytest.param([OK + POISON[:1]], id="its first byte in one packet"),
        pytest.param([OK + b"HTTP/1.1 200 OK\r\nX-Poison: "], id="half a head in one packet"),
        pytest.param([OK, POISON], id="right after the answer"),
        pytest.param(
            [b"HTTP/1.1 204 No Content\r\nContent-Length: 45\r\n\r\n" + POISON],
            id="204 with a body",
        ),
        pytest.param(
            [b"HTTP/1.1 304 Not Modified\r\nContent-Length: 45\r\n\r\n" + POISON], id="304"
        ),
        pytest.param(
            [PLAIN + b"Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n" + POISON], id="after chunks"
        ),
    ],
)
async def test_bytes_after_an_answer_are_never_taken_for_another(
    gateway: GatewayProcess, upstream: Upstream, pieces: list[bytes]
) -> None:
    upstream.handler = answering(*pieces)
    async with Client(gateway.port) as client:
        assert (await client.ask(asking())).status in (200, 204, 304)
        upstream.handler = answering(OK)
        for _ in range(3):
            answer = await client.ask(asking())
            assert (answer.body, answer.get("X-Poison")) == (b"ok", None)
    first, *_, last = upstream.requests
    assert first.peer is not last.peer


async def test_a_body_in_answer_to_head_is_never_taken_for_an_answer(
    gateway: GatewayProcess, upstream: Upstream
) -> None:
    upstream.handler = answering(PLAIN + b"Content-Length: 44\r\n\r\n", POISON)
    async with Client(gateway.port) as client:
        assert (await client.ask(asking(method="HEAD"))).status == 200
        upstream.handler = answering(OK)
        for _ in range(3):
            assert (await client.ask(asking())).body == b"ok"


async def test_bytes_on_an_idle_connection_are_never_taken_for_an_answer(
    gateway: GatewayProcess, upstream: Upstream
) -> None:
    async with Client(gateway.port) as client:
        assert (await client.ask(asking())).body == b"ok"
        await upstream.last.peer.send(POISON)
        await wait_until(upstream.last.peer.gone.is_set, seconds=1.0)
        assert (await client.ask(asking())).body == b"ok"


# --- clients that leave --------------------------------------------------------------------------


async def endless(request: Received) -> None:
    await request.peer.send(PLAIN + b"Transfer-Encoding: chunked\r\n\r\n")
    while True:
        await request.peer.send(b"400\r\n" + b"x" * 1024 + b"\r\n")


@pytest.mark.parametrize(
    ("request_", "handler", "reads"),
    [
        pytest.param(asking("/leave/{}"), silent, 0, id="before the answer"),
        pytest.param(asking("/leave/{}"), endless, 1, id="within the answer"),
        pytest.param(asking("/leave/{}"), endless, 0, id="without reading a byte"),
        pytest.param(asking("/leave/{}"), stall, 1, id="while the answer stalls"),
        pytest.param(
            asking("/leave/{}", "Content-Length: 100", method="POST") + "abc",
            silent,
            0,
            id="within the upload",
        ),
        pytest.param(
            asking("/leave/{}", "Transfer-Encoding: chunked", method="POST") + "3\r\nabc\r\n",
            silent,
            0,
            id="within the chunked upload",
        ),
        pytest.param(
            asking("/leave/{}", "Content-Length: 3", method="POST") + "abc",
            silent,
            0,
            id="after the upload",
        ),
    ],
)
@pytest.mark.parametrize("abort", [False, True], ids=["closes", "resets"])
async def test_a_client_that_leaves_takes_its_upstream_connection_along(
    gateway: GatewayProcess,
    upstream: Upstream,
    request: pytest.FixtureRequest,
    request_: str,
    handler: Handler,
    reads: int,
    abort: bool,
) -> None:
    upstream.handler = handler
    name = re.sub(r"\W", "-", request.node.name)
    async with asked(gateway, request_.format(name)) as client:
        await wait_until(lambda: upstream.requests)
        if reads:
            await client.head()
        if abort:
            client.writer.transport.abort()
    await wait_until(upstream.last.peer.gone.is_set, seconds=1.0, what="the connection is closed")
    [line] = await logged(gateway, f"/leave/{name}")
    assert line["reason"] == "client_gone"
    upstream.handler = answering(OK)
    assert (await ask(gateway, asking())).body == b"ok"


async def test_a_client_that_takes_nothing_is_given_up(
    gateway: GatewayProcess, upstream: Upstream
) -> None:
    """Whoever holds an upstream connection without reading holds it for ``idle`` at most."""
    upstream.handler = endless
    async with Client(gateway.port) as client:
        sock: socket.socket = client.writer.get_extra_info("socket")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        client.writer.transport.pause_reading()  # type: ignore[attr-defined]
        await client.send(asking("/takes-nothing"))
        await wait_until(lambda: upstream.requests)
        await wait_until(upstream.last.peer.gone.is_set, seconds=5.0)
    [line] = await logged(gateway, "/takes-nothing")
    assert line["reason"] == "client_timeout"


# --- clients that are slow -----------------------------------------------------------------------


async def test_a_head_that_does_not_come_to_its_end_is_408(
    gateway: GatewayProcess, upstream: Upstream
) -> None:
    before = len(gateway.requests(status=408))
    async with asked(gateway, "GET /x HTTP/1.1\r\nHost: a\r\n") as client:
        answer = await client.answer()
        assert (answer.status, answer.get("Connection")) == (408, "close")
        assert json.loads(answer.body)["request_id"] == answer.get("X-Request-Id")
        assert await client.ended() == b""
    await wait_until(lambda: len(gateway.requests(status=408)) == before + 1)
    assert gateway.requests(status=408)[-1]["reason"] == "client_timeout"
    assert upstream.requests == []


async def test_a_head_in_drops_gets_no_more_time_than_any_other(
    gateway: GatewayProcess, upstream: Upstream
) -> None:
    async with Client(gateway.port) as client:
        drops = iter(b"GET /x HTTP/1.1\r\nX-Long: " + b"x" * 10_000)

        async def drip() -> bool:
            if not client.reader.at_eof() and not client.reader._buffer:  # type: ignore[attr-defined]
                await client.send(bytes([next(drops)]))
                return False
            return True

        await wait_until(drip, seconds=2.0, what="the gateway gives up")
        assert (await client.answer()).status == 408


async def test_a_second_head_that_does_not_come_to_its_end_is_408(
    gateway: GatewayProcess, upstream: Upstream
) -> None:
    async with Client(gateway.port) as client:
        assert (await client.ask(asking())).status == 200
        await client.send("GET /x HT")
        assert (await client.answer()).status == 408


async def test_half_a_head_behind_a_whole_request_does_not_stay(
    gateway: GatewayProcess, upstream: Upstream
) -> None:
    async with asked(gateway, asking() + "GET /x HT") as client:
        assert (await client.answer()).status == 200
        rest = await client.ended()
        assert rest == b"" or rest.startswith(b"HTTP/1.1 408 ")


@pytest.mark.parametrize("first", [False, True], ids=["from the start", "after an answer"])
async def test_an_idle_connection_is_closed_without_a_word(
    gateway: GatewayProcess, upstream: Upstream, first: bool
) -> None:
    async with Client(gateway.port) as client:
        if first:
            await client.ask(asking())
        assert await client.ended() == b""


@pytest.mark.parametrize(
    "request_",
    [
        pytest.param(
            asking("/stops/{}", "Content-Length: 100", method="POST") + "abc", id="length"
        ),
        pytest.param(
            asking("/stops/{}", "Transfer-Encoding: chunked", method="POST") + "3\r\nabc\r\n",
            id="chunked",
        ),
        pytest.param(
            asking("/stops/{}", "Content-Length: 100", method="POST"), id="before its first byte"
        ),
    ],
)
async def test_a_body_that_stops_coming_is_408(
    gateway: GatewayProcess,
    upstream: Upstream,
    request: pytest.FixtureRequest,
    request_: str,
) -> None:
    upstream.handler = silent
    name = re.sub(r"\W", "-", request.node.name)
    async with asked(gateway, request_.format(name)) as client:
        answer = await client.answer()
        assert (answer.status, answer.get("Connection")) == (408, "close")
        assert json.loads(answer.body)["request_id"] == answer.get("X-Request-Id")
    await wait_until(upstream.last.peer.gone.is_set, seconds=1.0)
    [line] = await logged(gateway, f"/stops/{name}")
    assert (line["status"], line["reason"]) == (408, "client_timeout")


async def test_time_the_client_takes_is_not_held_against_the_upstream(
    gateway: GatewayProcess, upstream: Upstream
) -> None:
    """A route of 500 ms: an upload may take longer, as long as it goes on well."""
    async with asked(
        gateway, asking("/slow/upload", "Content-Length: 4000", method="POST")
    ) as client:
        began = asyncio.get_running_loop().time()

        async def feed() -> bool:
            await client.send(b"x" * 80)
            return asyncio.get_running_loop().time() - began > 0.8

        sent = 0

        async def counted() -> bool:
            nonlocal sent
            if asyncio.get_running_loop().time() - began < sent * 0.1:
                return False
            sent += 1
            return await feed()

        await wait_until(counted)
        await client.send(b"x" * (4000 - 80 * sent))
        assert (await client.answer()).status == 200
    assert upstream.last.body == b"x" * 4000


async def test_a_slow_answer_that_goes_on_is_not_cut(
    gateway: GatewayProcess, upstream: Upstream
) -> None:
    async def drip(request: Received) -> None:
        await request.peer.send(PLAIN + b"Content-Length: 8\r\n\r\n")
        for _ in range(8):
            with_in = asyncio.Event()
            asyncio.get_running_loop().call_later(0.15, with_in.set)
            await with_in.wait()
            await request.peer.send(b"x")

    upstream.handler = drip
    async with asyncio.timeout(PATIENCE):
        assert (await ask(gateway, asking("/drips"))).body == b"x" * 8
