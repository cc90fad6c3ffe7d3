"""Pass a request to its upstream and the answer back: streaming, framed anew on both sides."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress

from gateway.errors import ClientError, GatewayError, Reason, TooLarge, UpstreamProtocol
from gateway.rules.cookies import is_gateway_cookie
from gateway.server.exchange import Exchange
from gateway.server.tunnel import tunnel
from gateway.upstream.connection import ResponseHead, UpstreamConnection
from gateway.upstream.pool import Pool

_IDEMPOTENT = frozenset({"GET", "HEAD", "OPTIONS", "PUT", "DELETE"})  # RFC 9110 section 9.2.2
_LAST_CHUNK = b"0\r\n\r\n"


class Forwarder:
    """Carries requests to upstreams. One instance serves a configuration.

    Args:
        own_cookies: Names that no upstream may set.
        date: Returns the value of ``Date``, for an answer that has none.
    """

    __slots__ = ("_date", "_own_cookies")

    def __init__(self, own_cookies: frozenset[bytes], date: Callable[[], bytes]) -> None:
        self._own_cookies = own_cookies
        self._date = date

    async def forward(
        self, exchange: Exchange, pool: Pool, head: bytes, *, limit: float, upgrade: bool
    ) -> bool:
        """Send ``head`` and the body, pass the answer on; return whether the client may go on.

        Args:
            head: The whole head of the request for the upstream.
            limit: Seconds the upstream may take to begin its answer.
            upgrade: Whether the request asks for a WebSocket.

        Raises:
            UpstreamError, ClientError: Only while the client was told nothing.
        """
        if exchange.has_body:
            return await self._with_body(exchange, pool, head, limit)
        repeatable = exchange.method in _IDEMPOTENT and not upgrade
        upstream, response = await self._ask(exchange, pool, head, limit, repeatable=repeatable)
        if response.status == 101:
            try:
                if not upgrade:
                    raise UpstreamProtocol("101 to a request that asked for no upgrade")
                await self._upgrade(exchange, upstream, response)
            finally:
                pool.give_back(upstream)
            return False
        return await self._respond(exchange, pool, upstream, response)

    async def _ask(
        self, exchange: Exchange, pool: Pool, head: bytes, limit: float, *, repeatable: bool
    ) -> tuple[UpstreamConnection, ResponseHead]:
        """Send a request without a body; send it again where its connection was already dead."""
        upstream = pool.take(repeatable=repeatable) or await pool.connect()
        while True:
            self._begin(exchange, pool, upstream, head)
            try:
                return upstream, await upstream.head(limit)
            except UpstreamProtocol:
                dead = upstream.used and not upstream.received
                pool.give_back(upstream)
                if not (dead and repeatable):
                    raise
            except BaseException:
                pool.give_back(upstream)
                raise
            upstream = await pool.connect()

    def _begin(
        self, exchange: Exchange, pool: Pool, upstream: UpstreamConnection, head: bytes
    ) -> None:
        upstream.begin(
            head,
            is_head=exchange.method == "HEAD",
            idle=pool.upstream.timeouts.idle,
            on_interim=None if exchange.http10 else lambda r: self._interim(exchange, r),
        )

    # --- the request's body ------------------------------------------------------------------

    async def _with_body(self, exchange: Exchange, pool: Pool, head: bytes, limit: float) -> bool:
        """Send a request with its body, while the answer may already come."""
        upstream = pool.take(repeatable=False) or await pool.connect()
        exchange.invite_body()
        self._begin(exchange, pool, upstream, head)
        sending = asyncio.ensure_future(self._send_body(exchange, upstream, limit))
        try:
            try:
                response = await upstream.head(limit)
            except BaseException:
                pool.give_back(upstream)
                raise
            again = await self._respond(exchange, pool, upstream, response, sending=sending)
        finally:
            if not sending.done():
                sending.cancel()
            with suppress(asyncio.CancelledError):
                await sending
        return again

    async def _send_body(
        self, exchange: Exchange, upstream: UpstreamConnection, limit: float
    ) -> None:
        """Send the body piece by piece, no faster than the upstream takes it."""
        chunked = exchange.message.chunked
        try:
            while True:
                upstream.wait_for_client()
                data = await exchange.read()
                if not data:
                    break
                upstream.send(b"%x\r\n%b\r\n" % (len(data), data) if chunked else data)
                await upstream.drained()
            if chunked:
                upstream.send(_LAST_CHUNK)
            upstream.wait_at_most(limit)
        except ConnectionError:
            upstream.fail(ClientError("the client left"))
        except GatewayError as error:
            upstream.fail(error)

    # --- the answer --------------------------------------------------------------------------

    async def _respond(
        self,
        exchange: Exchange,
        pool: Pool,
        upstream: UpstreamConnection,
        response: ResponseHead,
        *,
        sending: asyncio.Future[None] | None = None,
    ) -> bool:
        """Pass an answer on. A small one is one write, its head and body together."""
        connection = exchange.connection
        try:
            unfinished = sending is not None and not sending.done()
            again = exchange.keep_alive and not unfinished
            chunked = response.length is None and not response.bodyless and not exchange.http10
            if response.length is None and not response.bodyless and exchange.http10:
                again = False
            transport = connection.transport
            if transport is None:
                raise ConnectionResetError
            body = upstream.take_body()
            head = self._head(exchange, response, chunked=chunked, again=again)
            exchange.status = response.status
            exchange.bytes_out = len(body)
            if upstream.complete:
                if chunked:
                    body = b"%x\r\n%b\r\n0\r\n\r\n" % (len(body), body) if body else _LAST_CHUNK
                transport.write(head + body)
            else:
                if chunked and body:
                    body = b"%x\r\n%b\r\n" % (len(body), body)
                connection.upstream = upstream
                upstream.stream_to(_sink(exchange, chunked=chunked))
                transport.write(head + body)
                await upstream.finished()
                if chunked:
                    transport.write(_LAST_CHUNK)
            exchange.reason = Reason.OK
            if unfinished and sending is not None and not sending.done():
                upstream.spoil()  # the rest of the request's body would be read as the next one
                again = False
        except GatewayError as error:
            # The client was told a status already; now it must see that the body is broken.
            exchange.reason = error.reason
            connection.break_off()
            return False
        finally:
            connection.upstream = None
            pool.give_back(upstream)
        return again

    def _head(
        self, exchange: Exchange, response: ResponseHead, *, chunked: bool, again: bool
    ) -> bytes:
        status = response.status
        head = [b"HTTP/1.1 %d %b" % (status, response.reason), *response.lines]
        if response.cookies:
            head += self._foreign(response.cookies)
        if not response.dated:
            head.append(b"Date: " + self._date())
        if chunked:
            head.append(b"Transfer-Encoding: chunked")
        elif response.length is not None and status != 204 and status >= 200:
            head.append(b"Content-Length: %d" % response.length)
        if not again:
            head.append(b"Connection: close")
        elif exchange.http10:
            head.append(b"Connection: keep-alive")
        head.append(b"\r\n")
        return b"\r\n".join(head)

    def _foreign(self, cookies: list[bytes]) -> list[bytes]:
        """Return the ``Set-Cookie`` lines that set none of the gateway's own cookies."""
        return [
            line
            for line in cookies
            if not is_gateway_cookie(line.partition(b":")[2], self._own_cookies)
        ]

    def _interim(self, exchange: Exchange, response: ResponseHead) -> None:
        """Pass on a 1xx answer, such as 103 (Early Hints)."""
        transport = exchange.connection.transport
        if transport is not None:
            start = b"HTTP/1.1 %d %b" % (response.status, response.reason)
            head = [start, *response.lines, b"\r\n"]
            transport.write(b"\r\n".join(head))

    async def _upgrade(
        self, exchange: Exchange, upstream: UpstreamConnection, response: ResponseHead
    ) -> None:
        head = [b"HTTP/1.1 101 Switching Protocols", *response.lines]
        head += self._foreign(response.cookies)
        head += [b"Upgrade: websocket", b"Connection: Upgrade", b"\r\n"]
        exchange.status = 101
        exchange.reason = Reason.OK
        await tunnel(exchange, upstream, b"\r\n".join(head) + upstream.tail)


def _sink(exchange: Exchange, *, chunked: bool) -> Callable[[bytes], None]:
    """Return what takes the pieces of a body that comes over time."""
    connection = exchange.connection

    def write(data: bytes) -> None:
        transport = connection.transport
        if transport is not None:
            exchange.bytes_out += len(data)
            transport.write(b"%x\r\n%b\r\n" % (len(data), data) if chunked else data)

    return write


def check_length(length: str | None, limit: int | None) -> None:
    """Refuse a body that says itself that it is beyond the limit."""
    if limit is not None and length is not None and int(length) > limit:
        raise TooLarge(f"a body of {length} bytes, of which {limit} are allowed")
