"""The way of one request, from its head to its record.

    RequestHead -> Route? -> Session? -> Decision -> headers -> response -> record

This is the hot path: see ``docs/performance.md`` for what each trick gained.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable
from dataclasses import dataclass
from time import perf_counter
from typing import Any

import structlog
from aiohttp import hdrs
from aiohttp.http import HttpVersion10, HttpVersion11, RawRequestMessage
from aiohttp.streams import EMPTY_PAYLOAD, StreamReader

from gateway.errors import (
    AmbiguousPath,
    ClientError,
    ExpectationFailed,
    GatewayError,
    Reason,
    StoreError,
    VersionRefused,
)
from gateway.formats.token import key_of
from gateway.model import Access, Allow, Challenge, CleanPath, Deny, Route, SessionKey
from gateway.rules import cookies, paths, provenance, sessions, targets
from gateway.rules.forwarded import client_address, is_trusted
from gateway.rules.policy import decide
from gateway.rules.routes import find
from gateway.server import refusals
from gateway.server.answers import Answer, PageRequest
from gateway.server.connection import UNREADABLE, Connection, is_request
from gateway.server.exchange import Exchange
from gateway.server.forwarding import check_length
from gateway.server.gateway import Gateway, Identity, RoutePlan
from gateway.stores.cached import Held
from gateway.telemetry.metrics import Metrics
from gateway.telemetry.records import RequestLog, fingerprint

_PAGE_BODY = 64 * 1024
_REQUEST_ID = re.compile(r"[A-Za-z0-9._~:/+=-]{1,128}")
_ASKS = (Access.LOGIN, Access.OPTIONAL)

log = structlog.get_logger()


@dataclass(slots=True)
class _Memo:
    """What a connection's last request had, and what that came to.

    Browsers and balancers send the same ``Host`` and ``Cookie`` over and over. Measured: 4 us a
    request saved.
    """

    gateway: Gateway | None = None
    host_header: str | None = None
    provenance: bytes = b""
    cookie_header: bytes | None = None
    key: SessionKey | None = None
    others: bytes = b""


class Pipeline:
    """Answers requests by the configuration that is current when they come.

    Args:
        wall: Returns Unix seconds.
        date: Returns the value of ``Date``.
        new_id: Returns an id for a request.
    """

    def __init__(
        self,
        gateway: Gateway,
        *,
        metrics: Metrics,
        request_log: RequestLog | None,
        wall: Callable[[], float],
        date: Callable[[], bytes],
        new_id: Callable[[], str],
    ) -> None:
        self.gateway = gateway
        self._metrics = metrics
        self._request_log = request_log
        self._wall = wall
        self._date = date
        self._new_id = new_id

    async def serve(self, connection: Connection, message: Any, payload: StreamReader) -> bool:
        """Answer one request; return whether the connection may carry another one.

        Every way through here is counted and logged exactly once.
        """
        gateway = self.gateway
        exchange = Exchange(connection, message, payload, self._new_id(), perf_counter())
        self._metrics.in_flight += 1
        try:
            if not is_request(message):
                exchange.message = UNREADABLE
                return self._answer(exchange, refusals.malformed(exchange, message))
            return await self._pass(gateway, exchange)
        except GatewayError as error:
            return self._fail(exchange, error)
        except (asyncio.CancelledError, ConnectionError):
            exchange.reason = Reason.CLIENT_GONE
            raise
        except Exception as error:
            log.error("internal", request_id=exchange.request_id, exc_info=error)
            return self._fail(exchange, GatewayError())
        finally:
            self._metrics.in_flight -= 1
            self._record(gateway, exchange)

    async def _pass(self, gateway: Gateway, exchange: Exchange) -> bool:
        message, connection = exchange.message, exchange.connection
        method = exchange.method = message.method
        host_header = _check_framing(message)
        host, raw_path, exchange.query = targets.read_target(message.path, host_header, method)
        path = paths.clean(raw_path)
        exchange.host, exchange.path = host, path.text
        if exchange.payload is not EMPTY_PAYLOAD:
            exchange.expects = _expects_continue(message)
        trusted = gateway.trusts_anybody and is_trusted(
            connection.peer, gateway.trusted, gateway.trust_unix
        )
        if trusted:
            exchange.request_id = _given_id(message) or exchange.request_id
        if path.text.startswith(gateway.own_paths) and gateway.owns(path.text):
            return await self._page(gateway, exchange, trusted=trusted)

        found = find(gateway.table, host, path, method)
        route = found if isinstance(found, Route) else gateway.table.fallback
        if path.marks and paths.refused_marks(path, route):
            raise AmbiguousPath("the path holds what its route does not allow")
        plan = exchange.plan = gateway.plan(route)
        lines, cookie_values = plan.fields.split(message.raw_headers)
        memo = connection.memo
        if memo is None or memo.gateway is not gateway:
            memo = connection.memo = _Memo(gateway)
        _read_cookies(gateway, memo, cookie_values)
        identity = None
        if memo.key is not None and route.access in _ASKS:
            now = self._wall()
            held = gateway.sessions.peek(memo.key, now)
            if held is None:
                held = await self._load(gateway, memo.key, now)
            else:
                self._metrics.cache_hits += 1
            if held is not None:
                if now - held.session.touched_at >= gateway.update_age:
                    held = self._touch(gateway, held, now)
                identity = gateway.identity(held)
                exchange.user = identity.caller.user.id
                exchange.session = identity.session.id
        client = self._client(gateway, exchange) if trusted else connection.peer
        decision = decide(
            found,
            None if identity is None else identity.caller,
            client=client,
            fallback=gateway.table.fallback,
        )
        if not isinstance(decision, Allow):
            return self._refuse(gateway, exchange, decision)
        if decision.caller is None:
            identity = None
        upgrade = message.upgrade and _is_websocket(exchange)
        if upgrade and (deny := _refused_upgrade(plan, message, identity)) is not None:
            return self._refuse(gateway, exchange, deny)
        head = self._head(
            gateway, exchange, path, lines, identity, upgrade=upgrade, trusted=trusted
        )
        return await gateway.forwarder.forward(
            exchange, plan.pool, head, limit=plan.limit, upgrade=upgrade
        )

    # --- who asks ----------------------------------------------------------------------------

    async def _load(self, gateway: Gateway, key: SessionKey, now: float) -> Held | None:
        """Ask the store for a session that is not in the cache."""
        self._metrics.cache_misses += 1
        try:
            held = await gateway.sessions.get(key)
        except StoreError:
            self._metrics.store_errors += 1
            raise
        return None if held is None or sessions.is_over(held.session, now) else held

    def _touch(self, gateway: Gateway, held: Held, now: float) -> Held:
        """Slide the expiry, if it is time to."""
        if sessions.due(held.session, gateway.lifetime, now=now):
            return gateway.sessions.touch_soon(held.session)
        return held

    def _client(self, gateway: Gateway, exchange: Exchange) -> str:
        """Return the address that a trusted proxy speaks for."""
        peer = exchange.connection.peer
        chain = exchange.message.headers.getall("X-Forwarded-For", [])
        return client_address(peer, chain, gateway.trusted, gateway.trust_unix)

    # --- towards the upstream ----------------------------------------------------------------

    def _head(
        self,
        gateway: Gateway,
        exchange: Exchange,
        path: CleanPath,
        lines: list[bytes],
        identity: Identity | None,
        *,
        upgrade: bool,
        trusted: bool,
    ) -> bytes:
        """Return the whole head for the upstream, made of what was understood."""
        message = exchange.message
        memo: _Memo = exchange.connection.memo
        plan = exchange.plan
        assert plan is not None  # noqa: S101  it was found before anything was decided
        forwarding = plan.route.forwarding
        target = path.text
        if plan.rewrites:
            target = paths.rewrite(path, forwarding.strip_prefix, forwarding.add_prefix)
        if exchange.query:
            target = f"{target}?{exchange.query}"
        host_header = message.headers.get(hdrs.HOST)
        host = plan.host
        if host is None:
            # HTTP/1.0 may leave it out; towards the upstream there is one always.
            host = (host_header or plan.pool.upstream.target.authority).encode()
        head = [
            f"{exchange.method} {target} HTTP/1.1\r\nHost: ".encode("utf-8", "surrogateescape")
            + host,
            *lines,
        ]
        if memo.others:
            head.append(b"Cookie: " + memo.others)
        if exchange.payload is not EMPTY_PAYLOAD or exchange.method not in ("GET", "HEAD"):
            exchange.body_limit = forwarding.max_body
            exchange.idle = plan.pool.upstream.timeouts.idle
            if message.chunked:
                head.append(b"Transfer-Encoding: chunked")
            elif (length := message.headers.get(hdrs.CONTENT_LENGTH)) is not None:
                check_length(length, forwarding.max_body)
                head.append(b"Content-Length: " + length.encode())
        if upgrade:
            head.append(b"Upgrade: websocket\r\nConnection: Upgrade")
        if trusted or memo.host_header != host_header or not memo.provenance:
            memo.provenance = _provenance(gateway, exchange, host_header or "", trusted=trusted)
            memo.host_header = None if trusted else host_header
        tail = f"X-Request-Id: {exchange.request_id}\r\n\r\n".encode()
        block = b"" if identity is None else identity.block
        return b"\r\n".join(head) + b"\r\n" + memo.provenance + block + tail

    # --- answers of our own ------------------------------------------------------------------

    async def _page(self, gateway: Gateway, exchange: Exchange, *, trusted: bool) -> bool:
        """Answer with a page or endpoint of the gateway itself."""
        message = exchange.message
        exchange.body_limit = _PAGE_BODY
        check_length(message.headers.get(hdrs.CONTENT_LENGTH), _PAGE_BODY)
        body = await exchange.read_all()
        values = [value for name, value in message.raw_headers if name.lower() == b"cookie"]
        request = PageRequest(
            method=exchange.method,
            path=exchange.path,
            query=exchange.query,
            headers=message.headers,
            cookies=cookies.parse_all(values),
            body=body,
            client=self._client(gateway, exchange) if trusted else exchange.connection.peer,
            request_id=exchange.request_id,
            navigation=refusals.is_navigation(exchange),
        )
        answer = await gateway.endpoints.handle(request)
        return self._answer(exchange, answer)

    def _answer(self, exchange: Exchange, answer: Answer, *, keep_alive: bool = True) -> bool:
        return exchange.answer(answer, self._date(), keep_alive=keep_alive and exchange.keep_alive)

    def _refuse(self, gateway: Gateway, exchange: Exchange, decision: Challenge | Deny) -> bool:
        """Tell somebody that they may not pass; the upstream never hears of it."""
        answer = refusals.refused(
            exchange, decision, realm=gateway.realm, login_path=gateway.login_path
        )
        return self._answer(exchange, answer)

    def _fail(self, exchange: Exchange, error: GatewayError) -> bool:
        """Answer for a deliberate error, where nothing was answered yet."""
        exchange.reason = error.reason
        if exchange.status:
            exchange.connection.break_off()
            return False
        if not isinstance(error, ClientError):
            log.warning(
                "request failed",
                request_id=exchange.request_id,
                reason=error.reason,
                detail=str(error),
            )
        # A body that is not read to its end, or whose framing is broken, ends the connection.
        whole = not (exchange.has_body and isinstance(error, ClientError))
        return self._answer(exchange, refusals.failed(exchange, error), keep_alive=whole)

    # --- the record --------------------------------------------------------------------------

    def _record(self, gateway: Gateway, exchange: Exchange) -> None:
        plan = exchange.plan
        seconds = perf_counter() - exchange.started
        if plan is not None:
            meter = plan.meter
        else:
            meter = gateway.own_pages if exchange.reason is Reason.PAGE else gateway.unrouted
        meter.count(exchange.status, exchange.reason, seconds)
        if self._request_log is not None:
            self._request_log.write(
                now=self._wall(),
                request_id=exchange.request_id,
                method=exchange.method,
                host=exchange.host,
                path=exchange.path,
                route="" if plan is None else plan.route.id,
                status=exchange.status,
                reason=exchange.reason,
                seconds=seconds,
                client=exchange.connection.peer,
                user=exchange.user,
                session=fingerprint(exchange.session) if exchange.session else "",
                upstream="" if plan is None else plan.route.forwarding.upstream,
                bytes_in=exchange.bytes_in,
                bytes_out=exchange.bytes_out,
            )


# --- reading the request -------------------------------------------------------------------------


def _check_framing(message: RawRequestMessage) -> str | None:
    """Refuse what aiohttp's parser lets pass though RFC 9112 does not; return ``Host``."""
    version = message.version
    if version != HttpVersion11:
        if version != HttpVersion10:
            raise VersionRefused(f"HTTP/{version.major}.{version.minor}")
        if message.chunked or hdrs.TRANSFER_ENCODING in message.headers:
            raise ClientError("Transfer-Encoding in HTTP/1.0")  # section 6.1
        return message.headers.get(hdrs.HOST)
    if not message.chunked and hdrs.TRANSFER_ENCODING in message.headers:
        raise ClientError("a Transfer-Encoding that is not chunked")
    return message.headers.get(hdrs.HOST)


def _expects_continue(message: RawRequestMessage) -> bool:
    expected = message.headers.get(hdrs.EXPECT)
    if expected is None or message.version == HttpVersion10:
        return False
    if expected.lower() != "100-continue":
        raise ExpectationFailed("an expectation that is not 100-continue")
    return True


def _read_cookies(gateway: Gateway, memo: _Memo, values: list[bytes]) -> None:
    """See to it that the memo holds what these ``Cookie`` fields say."""
    if len(values) == 1:
        header = values[0]
        if header == memo.cookie_header:
            return
    else:
        header = None
    memo.cookie_header = header
    memo.key, memo.others = None, b""
    if values:
        own, memo.others = cookies.read(values, gateway.own_cookies)
        token = own.get(gateway.cookie)
        if token is not None:
            memo.key = key_of(token.decode("latin-1"))


def _given_id(message: RawRequestMessage) -> str | None:
    """Return the request id that a trusted proxy gave, if it is one."""
    given = message.headers.get("X-Request-Id")
    return given if given is not None and _REQUEST_ID.fullmatch(given) else None


def _provenance(gateway: Gateway, exchange: Exchange, host: str, *, trusted: bool) -> bytes:
    connection = exchange.connection
    headers = exchange.message.headers
    proto = "https" if connection.secure else gateway.public_scheme
    if not trusted:
        return provenance.provenance_block(
            peer=connection.peer, chain=(), elements=(), host=host, proto=proto
        )
    return provenance.provenance_block(
        peer=connection.peer,
        chain=headers.getall("X-Forwarded-For", []),
        elements=headers.getall("Forwarded", []),
        host=provenance.believed_host(headers.get("X-Forwarded-Host"), host),
        proto=provenance.believed_proto(headers.get("X-Forwarded-Proto"), proto),
    )


# --- WebSocket -----------------------------------------------------------------------------------


def _is_websocket(exchange: Exchange) -> bool:
    """Whether an upgrade is one to WebSocket; any other is ignored (RFC 9110 section 7.8)."""
    message = exchange.message
    if message.headers.get(hdrs.UPGRADE, "").lower() != "websocket":
        return False
    if exchange.method != "GET" or exchange.has_body or exchange.http10:
        raise ClientError("a WebSocket begins with a GET without a body in HTTP/1.1")
    return True


def _refused_upgrade(
    plan: RoutePlan, message: RawRequestMessage, identity: Identity | None
) -> Deny | None:
    """Return why a WebSocket may not be opened.

    Browsers let any page open one, with the user's cookies: where a session came with it, the
    page has to be one of ours. Without ``Origin`` it is no browser.
    """
    if not plan.route.forwarding.websocket:
        return Deny(reason=Reason.NO_WEBSOCKET, route=plan.route)
    if identity is not None:
        origins = message.headers.getall(hdrs.ORIGIN, [])
        if origins and (len(origins) > 1 or origins[0].lower() not in plan.origins):
            return Deny(reason=Reason.WRONG_ORIGIN, route=plan.route)
    return None
