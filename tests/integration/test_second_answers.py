"""An upstream that answers twice: what nobody asked for reaches nobody."""

from __future__ import annotations

import pytest

from tests.gateway_process import GatewayProcess
from tests.integration.wire import Client, Upstream, answering
from tests.servers import wait_until

pytestmark = pytest.mark.asyncio(loop_scope="module")

SECOND = b"HTTP/1.1 200 OK\r\nContent-Length: 7\r\n\r\nnobodys"


def asking(path: str, method: str = "GET") -> str:
    body = "\r\n" if method != "POST" else "Content-Length: 2\r\n\r\nhi"
    return f"{method} {path} HTTP/1.1\r\nHost: localhost\r\n{body}"


@pytest.mark.parametrize(
    ("method", "fields", "sent", "body"),
    [
        pytest.param("GET", b"Content-Length: 2", b"ok", b"ok", id="of a length"),
        pytest.param("POST", b"Content-Length: 2", b"ok", b"ok", id="to a POST"),
        pytest.param("GET", b"Content-Length: 0", b"", b"", id="empty"),
        pytest.param("HEAD", b"Content-Length: 2", b"", b"", id="to a HEAD"),
        pytest.param(
            "GET", b"Transfer-Encoding: chunked", b"2\r\nok\r\n0\r\n\r\n", b"ok", id="in chunks"
        ),
    ],
)
@pytest.mark.parametrize("second", [SECOND, SECOND * 2, b"nobodys"], ids=["one", "two", "no head"])
async def test_what_follows_an_answer_is_dropped_with_its_connection(
    gateway: GatewayProcess,
    upstream: Upstream,
    method: str,
    fields: bytes,
    sent: bytes,
    body: bytes,
    second: bytes,
) -> None:
    upstream.handler = answering(b"HTTP/1.1 200 OK\r\n" + fields + b"\r\n\r\n" + sent + second)
    async with Client(gateway.port) as client:
        for _ in range(3):  # on the same connection, where a rest would begin the next answer
            answer = await client.ask(asking("/x", method))
            assert (answer.start, answer.body) == ("HTTP/1.1 200 OK", body)
            await wait_until(upstream.last.peer.gone.is_set, what="its connection is closed")
    assert len({request.peer for request in upstream.requests}) == 3


async def test_what_follows_an_answer_that_streams_is_dropped_too(
    gateway: GatewayProcess, upstream: Upstream
) -> None:
    upstream.handler = answering(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nok", b"ok" + SECOND)
    async with Client(gateway.port) as client:
        for _ in range(3):
            answer = await client.ask(asking("/x"))
            assert (answer.start, answer.body) == ("HTTP/1.1 200 OK", b"okok")
            await wait_until(upstream.last.peer.gone.is_set, what="its connection is closed")
