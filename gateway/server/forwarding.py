"""Pass a request to its upstream and the answer back: streaming, framed anew on both sides."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from time import perf_counter
from typing import TYPE_CHECKING

from aiohttp.streams import EMPTY_PAYLOAD

from gateway.errors import (
    ClientError,
    GatewayError,
    Reason,
    SessionEnded,
    TooLarge,
    UpstreamProtocol,
    UpstreamTimeout,
)
from gateway.rules.cookies import is_gateway_cookie
from gateway.rules.headers import Kind
from gateway.rules.shaping import cache_lines, unstored
from gateway.server.exchange import Exchange
from gateway.server.tunnel import tunnel
from gateway.upstream.connection import ResponseHead, UpstreamConnection
from gateway.upstream.deadlines import NEVER
from gateway.upstream.driving import task_needed
from gateway.upstream.lending import Lender

if TYPE_CHECKING:
    from gateway.server.gateway import RoutePlan
    from gateway.server.under_way import UnderWay

_IDEMPOTENT = frozenset({"GET", "HEAD", "OPTIONS", "PUT", "DELETE"})  # RFC 9110 section 9.2.2
_LAST_CHUNK = b"0\r\n\r\n"
_WORTH_COPYING = 16 * 1024  # bytes; two writes of one turn go out together in any case


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
        self,
        exchange: Exchange,
        pool: Lender,
        head: bytes,
        *,
        limit: float,
        upgrade: bool,
    ) -> bool:
        """Send ``head`` and the body, pass the answer on; return whether the client may go on.

        Args:
            head: The whole head of the request for the upstream.
            limit: Seconds the upstream may take to begin its answer.
            upgrade: Whether the request asks for a WebSocket.

        Raises:
            UpstreamError, ClientError: Only while the client was told nothing.
        """
        if exchange.body is not EMPTY_PAYLOAD:
            body = exchange.take_whole()
            if body is None:
                return await self._with_body(exchange, pool, head, limit)
            # Measured: 6 us less than a task that sends it.
            head += _chunk(body) + _LAST_CHUNK if exchange.fields.chunked else body
        method = exchange.method
        # A body, where there is one, is part of the head by now.
        repeatable = method in _IDEMPOTENT and not upgrade
        upstream = pool.take(repeatable=repeatable)
        if upstream is None:
            await task_needed()
            upstream = await pool.lend(exchange.affinity, repeatable=repeatable)
        timer = None if pool.total is None or upgrade else _timer(exchange, upstream, pool.total)
        try:
            if pool.rehosts:
                head = _rehosted(exchange, head, pool.authority(upstream))
            upstream.ask(head, limit, is_head=method == "HEAD", on_interim=self._interim(exchange))
            await upstream.answered()
            if upstream.response is None and repeatable and not upstream.received:
                await task_needed()
                again = await pool.instead(upstream, exchange.affinity)
                if again is not None:
                    upstream = again
                    if timer is not None and pool.total is not None:
                        timer.cancel()
                        timer = _timer(exchange, upstream, pool.total)
                    if pool.rehosts:
                        head = _rehosted(exchange, head, pool.authority(upstream))
                    upstream.ask(
                        head, limit, is_head=method == "HEAD", on_interim=self._interim(exchange)
                    )
                    await upstream.answered()
            response = upstream.response
            if response is None:
                raise _failure(upstream)
            if response.status == 101:
                if not upgrade:
                    raise UpstreamProtocol("101 to a request that asked for no upgrade")
                if response.control:
                    await _obey(exchange, upstream, response)
                return await self._upgrade(exchange, pool, upstream, response)
            if response.control:
                await _obey(exchange, upstream, response)
            if upstream.complete:
                return self._pass_on(exchange, upstream, response)
            return await self._stream(exchange, pool, upstream, response)
        finally:
            if timer is not None:
                timer.cancel()
            pool.give_back(upstream)

    # --- the request's body ------------------------------------------------------------------

    async def _with_body(self, exchange: Exchange, pool: Lender, head: bytes, limit: float) -> bool:
        """Send a request while its body comes, and while the answer may already come."""
        await task_needed()
        upstream = pool.take(repeatable=False) or await pool.lend(
            exchange.affinity, repeatable=False
        )
        if pool.rehosts:
            head = _rehosted(exchange, head, pool.authority(upstream))
        exchange.invite_body()
        upstream.ask(
            head,
            limit,
            is_head=exchange.method == "HEAD",
            on_interim=self._interim(exchange),
        )
        timer = None if pool.total is None else _timer(exchange, upstream, pool.total)
        sending = asyncio.ensure_future(self._send_body(exchange, pool, upstream, limit))
        try:
            await upstream.answered()
            response = upstream.response
            if response is None:
                raise _failure(upstream)
            if response.status == 101:
                raise UpstreamProtocol("101 to a request that asked for no upgrade")
            if early := not sending.done():
                # Nobody knows whether the upstream will read the rest of the body: neither
                # connection carries another request.
                upstream.spoil()
            if response.control:
                await _obey(exchange, upstream, response)
            return await self._stream(exchange, pool, upstream, response, last=early)
        finally:
            if not sending.done():
                sending.cancel()
            with suppress(asyncio.CancelledError):
                await sending
            if timer is not None:
                timer.cancel()
            pool.give_back(upstream)

    async def _send_body(
        self, exchange: Exchange, pool: Lender, upstream: UpstreamConnection, limit: float
    ) -> None:
        """Send the body piece by piece, no faster than the upstream takes it."""
        chunked = exchange.fields.chunked
        idle = pool.upstream.timeouts.idle
        try:
            while True:
                upstream.wait_for_client()
                data = await exchange.read()
                if not data:
                    break
                upstream.wait_at_most(idle)
                upstream.send(_chunk(data) if chunked else data)
                await upstream.drained()
            if chunked:
                upstream.send(_LAST_CHUNK)
            upstream.wait_at_most(limit if upstream.response is None else idle)
        except ConnectionError:
            upstream.fail(ClientError("the client left"))
        except GatewayError as error:
            upstream.fail(error)

    # --- the answer --------------------------------------------------------------------------

    def _pass_on(
        self, exchange: Exchange, upstream: UpstreamConnection, response: ResponseHead
    ) -> bool:
        """Pass on an answer that is there as a whole: one write, its head and body together."""
        transport = exchange.connection.transport
        if transport is None:
            raise ConnectionResetError
        again = exchange.keep_alive
        body = upstream.take_body()
        exchange.status = response.status
        exchange.reason = Reason.OK
        exchange.bytes_out = len(body)
        if response.length is not None or response.bodyless:
            head = self._head(exchange, response, b"", again=again)
            if len(body) < _WORTH_COPYING:
                transport.write(head + body)
            else:
                transport.write(head)
                transport.write(body)
        elif exchange.http10:
            transport.write(self._head(exchange, response, b"", again=False) + body)
            return False
        else:
            head = self._head(exchange, response, b"Transfer-Encoding: chunked", again=again)
            transport.write(head + _chunk(body) + _LAST_CHUNK)
        return again

    async def _stream(
        self,
        exchange: Exchange,
        pool: Lender,
        upstream: UpstreamConnection,
        response: ResponseHead,
        *,
        last: bool = False,
    ) -> bool:
        """Pass on an answer as it comes.

        Args:
            last: Whether the client's connection ends with it.
        """
        connection = exchange.connection
        transport = connection.transport
        if transport is None:
            raise ConnectionResetError
        endless = response.length is None and not response.bodyless
        chunked = endless and not exchange.http10
        again = exchange.keep_alive and not last and not (endless and not chunked)
        framing = b"Transfer-Encoding: chunked" if chunked else b""
        exchange.status = response.status
        transport.write(self._head(exchange, response, framing, again=again))
        sink = _sink(exchange, chunked=chunked)
        connection.take_from(upstream)
        try:
            if body := upstream.take_body():
                sink(body)
            if not upstream.complete:
                idle = pool.upstream.timeouts.idle
                upstream.stream_to(sink, idle=idle, taken=len(body))
                with _listed(exchange, lambda: upstream.fail(SessionEnded())):
                    await upstream.finished()
            if chunked:
                transport.write(_LAST_CHUNK)
            exchange.reason = Reason.OK
        except GatewayError as error:
            # The client was told a status already; now it must see that the body is broken.
            exchange.reason = error.reason
            connection.break_off()
            return False
        finally:
            connection.upstream = None
        return again

    def _head(
        self, exchange: Exchange, response: ResponseHead, framing: bytes, *, again: bool
    ) -> bytes:
        lines, cookies, said = response.lines, response.cookies, response.said
        plan = exchange.plan
        if plan is not None and plan.shaper is not None:
            lines, cookies, said = plan.shaper.of_upstream(exchange, lines, cookies)
        if exchange.set_cookies:
            lines, said = unstored(lines), said | Kind.CACHING
        if plan is not None and plan.varies:
            lines += cache_lines(said, lines, exchange.session is not None)
        if cookies:
            lines += self._foreign(cookies, plan)
        if exchange.set_cookies:
            lines += exchange.set_cookies
        if not response.dated:
            lines.append(b"Date: " + self._date())
        if framing:
            lines.append(framing)
        elif response.length is not None and response.status != 204:
            lines.append(b"Content-Length: %d" % response.length)
        if not again:
            lines.append(b"Connection: close")
        elif exchange.http10:
            lines.append(b"Connection: keep-alive")
        return b"%b\r\n%b\r\n\r\n" % (response.start, b"\r\n".join(lines))

    def _foreign(self, cookies: list[bytes], plan: RoutePlan | None) -> list[bytes]:
        """Return the ``Set-Cookie`` lines that set none of the gateway's own cookies, and none of
        an app's for which this is not the app.
        """
        lines = [
            line
            for line in cookies
            if not is_gateway_cookie(line.partition(b":")[2], self._own_cookies)
        ]
        if plan is not None and plan.kept_from:
            lines = [
                line
                for line in lines
                if not any(looks.set_by(line.partition(b":")[2]) for looks in plan.kept_from)
            ]
        return lines

    def _interim(self, exchange: Exchange) -> Callable[[ResponseHead], None] | None:
        """Return what passes on a 1xx answer, such as 103 (Early Hints)."""
        if exchange.http10:
            return None

        def pass_on(response: ResponseHead) -> None:
            transport = exchange.connection.transport
            if transport is not None:
                transport.write(b"\r\n".join([response.start, *response.lines, b"\r\n"]))

        return pass_on

    async def _upgrade(
        self,
        exchange: Exchange,
        pool: Lender,
        upstream: UpstreamConnection,
        response: ResponseHead,
    ) -> bool:
        if upstream.field(b"upgrade").lower() != b"websocket":
            raise UpstreamProtocol("101 to another protocol than the one that was asked for")
        head = [b"HTTP/1.1 101 Switching Protocols", *response.lines]
        head += [*self._foreign(response.cookies, exchange.plan), *exchange.set_cookies]
        head += [b"Upgrade: websocket", b"Connection: Upgrade", b"\r\n"]
        exchange.status = 101
        exchange.reason = Reason.OK
        await tunnel(
            exchange,
            upstream,
            b"\r\n".join(head),
            pool.deadlines,
            listed=partial(_listed, exchange),
        )
        return False


def _listed(
    exchange: Exchange, end: Callable[[], None], *, heard: Callable[[], int] = lambda: 0
) -> UnderWay:
    """Let an answer that goes on be ended when nobody would let it begin any more."""
    plan = exchange.plan
    assert plan is not None  # noqa: S101  it says where the request goes
    return plan.ongoing.begin(exchange, end, heard=heard)


async def _obey(exchange: Exchange, upstream: UpstreamConnection, response: ResponseHead) -> None:
    """Do to the session what the answer says, before anybody is told of the answer."""
    assert exchange.plan is not None  # noqa: S101  it says where the request goes
    upstream.pause_reading()
    upstream.deadline = NEVER  # the store has its own
    await exchange.plan.control.obey(exchange, response.control)
    upstream.resume_reading()


def _failure(upstream: UpstreamConnection) -> GatewayError:
    return upstream.failure or UpstreamProtocol("no answer")


def _timer(exchange: Exchange, upstream: UpstreamConnection, total: float) -> asyncio.TimerHandle:
    """Break an exchange off that takes longer than ``timeouts.total``; the target is to blame."""
    error = UpstreamTimeout(f"the exchange was not over within {total:g} s")
    left = total - (perf_counter() - exchange.started)
    return asyncio.get_running_loop().call_later(max(0, left), upstream.fail, error)


def _rehosted(exchange: Exchange, head: bytes, authority: bytes) -> bytes:
    """Return a head with the ``Host`` of the target, where the route does not keep the client's."""
    plan = exchange.plan
    if plan is None or plan.host is None:
        return head
    start, rest = head.split(b"\r\n", 1)  # Host is the first field
    return b"%b\r\nHost: %b\r\n%b" % (start, authority, rest.split(b"\r\n", 1)[1])


def _chunk(data: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(data), data) if data else b""


def _sink(exchange: Exchange, *, chunked: bool) -> Callable[[bytes], None]:
    """Return what takes the pieces of a body that comes over time."""
    connection = exchange.connection

    def write(data: bytes) -> None:
        transport = connection.transport
        if transport is not None:
            exchange.bytes_out += len(data)
            transport.write(_chunk(data) if chunked else data)

    return write


def check_length(length: str | None, limit: int | None) -> None:
    """Refuse a body that says itself that it is beyond the limit."""
    if limit is not None and length is not None and int(length) > limit:
        raise TooLarge(f"a body of {length} bytes, of which {limit} are allowed")
