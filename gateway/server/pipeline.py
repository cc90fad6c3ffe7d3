"""The way of one request, from its head to its record.

    head -> Route? -> Session? -> Decision -> headers -> response -> record

This is the hot path: see ``docs/performance.md`` for what each trick gained.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from time import perf_counter

import structlog
from aiohttp import hdrs
from aiohttp.streams import EMPTY_PAYLOAD, StreamReader
from aiohttp.web_protocol import ERROR

from gateway.errors import AmbiguousPath, ClientError, GatewayError, Overloaded, Reason, StoreError
from gateway.model import (
    Access,
    Allow,
    Challenge,
    CleanPath,
    Deny,
    RateLimit,
    Route,
    SessionKey,
)
from gateway.rules import cookies, limits, paths, sessions, targets, tracing
from gateway.rules.policy import decide
from gateway.rules.routes import find
from gateway.server import refusals, renewing, shaping
from gateway.server.accepted_sessions import AcceptedSessions
from gateway.server.answers import Answer, PageRequest
from gateway.server.connection import Connection
from gateway.server.exchange import Exchange
from gateway.server.fields import Fields
from gateway.server.forwarding import check_length
from gateway.server.gateway import Gateway, Identity, RoutePlan
from gateway.server.head import Head, expects_continue, read_head
from gateway.server.websocket import is_websocket, refused_upgrade
from gateway.stores.breaker import StoreResting
from gateway.stores.held import Held
from gateway.telemetry.metrics import Metrics
from gateway.telemetry.records import RequestLog, fingerprint
from gateway.upstream.driving import task_needed

_PAGE_BODY = 64 * 1024
_NOBODY_ASKED = (Access.PUBLIC, Access.DENY)
_BARE = ("GET", "HEAD")
"""Methods whose requests have no framing when they have no body."""
_UNREADABLE = Fields(ERROR)

log = structlog.get_logger()


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
        self._accepted = AcceptedSessions(metrics, wall)

    async def serve(
        self, connection: Connection, method: str, target: str, fields: Fields, body: StreamReader
    ) -> bool:
        """Answer one request; return whether the connection may carry another one.

        Every way through here is counted and logged exactly once.
        """
        gateway = self.gateway
        exchange = Exchange(
            connection, method, fields, body, request_id=self._new_id(), started=perf_counter()
        )
        self._metrics.in_flight += 1
        try:
            if self._metrics.in_flight > gateway.most_requests:
                raise Overloaded("server.limits.requests")
            return await self._pass(gateway, exchange, target)
        except GatewayError as error:
            return self._fail(exchange, error)
        except (asyncio.CancelledError, ConnectionError):
            if exchange.status != 101:  # leaving is how a WebSocket ends
                exchange.reason = Reason.CLIENT_GONE
            raise
        except Exception as error:
            log.error("internal", request_id=exchange.request_id, exc_info=error)
            return self._fail(exchange, GatewayError())
        finally:
            self._metrics.in_flight -= 1
            self._record(gateway, exchange)

    def malformed(self, connection: Connection, error: Exception) -> None:
        """Answer what is no request."""
        exchange = Exchange(
            connection,
            "",
            _UNREADABLE,
            EMPTY_PAYLOAD,
            request_id=self._new_id(),
            started=perf_counter(),
        )
        self._answer(exchange, refusals.malformed(exchange, error))
        self._record(self.gateway, exchange)

    async def _pass(self, gateway: Gateway, exchange: Exchange, target: str) -> bool:
        method = exchange.method
        head = read_head(gateway, exchange.connection, exchange.fields)
        exchange.client = head.client
        if head.request_id is not None:
            exchange.request_id = head.request_id
        if head.trace_id:
            exchange.trace_id = head.trace_id
        host, raw_path, query = targets.read_target(target, head.host_header, method)
        if raw_path == "*":
            exchange.host, exchange.path = host, raw_path
            return self._answer(exchange, refusals.about_the_server())
        path = paths.clean(raw_path)
        exchange.host, exchange.path, exchange.query = host, path.text, query
        if exchange.body is not EMPTY_PAYLOAD:
            exchange.expects = expects_continue(exchange.fields)
        if path.text.startswith(gateway.own_paths) and gateway.owns(path.text):
            return await self._page(gateway, exchange, head)

        if gateway.cross_origin and method == "OPTIONS":
            answer = self._preflight(gateway, exchange, host, path)
            if answer is not None:
                return exchange.answer(answer, self._date(), keep_alive=exchange.keep_alive)
        found = find(gateway.table, host, path, method)
        route = found if isinstance(found, Route) else gateway.table.fallback
        if path.marks and paths.refused_marks(path, route):
            raise AmbiguousPath("the path holds what its route does not allow")
        plan = exchange.plan = gateway.plan(route)
        if plan.obeys:
            exchange.presented = head.key
        identity = None
        if head.key is not None and route.access not in _NOBODY_ASKED:
            identity = self._known(gateway, head.key) or await self._ask(gateway, head.key, plan)
            if identity is not None and identity.renew and not identity.stale:
                identity = await renewing.renew(gateway, exchange, head.key, identity)
        if plan.sources and head.app is not None and (identity is None or identity.caller is None):
            # Our own session wins; but in a visitor's nobody has signed in here.
            accepted = await self._accepted.identify(
                gateway, exchange, head, plan, visitors=identity is None
            )
            identity = accepted or identity
        if identity is not None:
            exchange.identity = identity
            exchange.user = identity.user
            exchange.session = identity.session.id
        decision = decide(
            found,
            None if identity is None else identity.caller,
            client=head.client,
            fallback=gateway.table.fallback,
        )
        if not isinstance(decision, Allow):
            return self._refuse(gateway, exchange, decision)
        upgrade = exchange.fields.upgrade and is_websocket(exchange)
        if upgrade:
            denial = refused_upgrade(exchange, plan, signed_in=identity is not None)
            if denial is not None:
                return self._refuse(gateway, exchange, denial)
        if plan.rate_limit is not None:
            answer = await self._limit(gateway, exchange, plan.rate_limit, identity)
            if answer is not None:
                return self._answer(exchange, answer)
        # Counted before it is given: a new session for each request would escape every limit.
        if identity is None and gateway.anonymous and route.access is Access.OPTIONAL:
            identity = await renewing.welcome(gateway, exchange, head.key)
            if identity is not None:
                exchange.identity = identity
                exchange.session = identity.session.id
        if plan.sticky:
            # Not the session's id: that is known only where a route asks who it is.
            steady = "" if head.key is None else gateway.sessions.steady(head.key)
            exchange.affinity = steady or head.steady() or head.client
        request = self._request(exchange, plan, path, head, identity, upgrade=upgrade)
        return await gateway.forwarder.forward(
            exchange, plan.pool, request, limit=plan.limit, upgrade=upgrade
        )

    # --- who asks ----------------------------------------------------------------------------

    def _known(self, gateway: Gateway, key: SessionKey) -> Identity | None:
        """Return who holds the session, where this process knows; slide its expiry."""
        now = self._wall()
        held = gateway.sessions.peek(key, now)
        if held is None:
            return None
        self._metrics.cache_hits += 1
        if now - held.session.touched_at >= gateway.update_age:
            held = self._touch(gateway, held, now)
        return gateway.identity(held)

    async def _ask(self, gateway: Gateway, key: SessionKey, plan: RoutePlan) -> Identity | None:
        """Return who holds the session, as the store knows; None where there is none."""
        self._metrics.cache_misses += 1
        try:
            held = await gateway.sessions.get(key, stale_for=plan.stale_for)
        except StoreError:
            self._metrics.store_errors += 1
            raise
        now = self._wall()
        if held is None or sessions.is_over(held.session, now):
            return None
        if held.stale:  # its end stands: nobody could be told of another one
            self._metrics.stale_sessions += 1
            return gateway.identity(held)
        return gateway.identity(self._touch(gateway, held, now))

    def _touch(self, gateway: Gateway, held: Held, now: float) -> Held:
        """Slide the expiry, if it is time to."""
        if sessions.due(held.session, gateway.lifetime, now=now):
            return gateway.sessions.touch_soon(held.session)
        return held

    # --- towards the upstream ----------------------------------------------------------------

    def _request(
        self,
        exchange: Exchange,
        plan: RoutePlan,
        path: CleanPath,
        head: Head,
        identity: Identity | None,
        *,
        upgrade: bool,
    ) -> bytes:
        """Return the whole head for the upstream, made of what was understood."""
        target = path.text
        if plan.rewrites:
            forwarding = plan.route.forwarding
            target = paths.rewrite(path, forwarding.strip_prefix, forwarding.add_prefix)
        if exchange.query:
            target = f"{target}?{exchange.query}"
        start = f"{exchange.method} {target} HTTP/1.1\r\n".encode("utf-8", "surrogateescape")
        block = head.for_route(plan)
        if plan.carries:
            ours = identity is not None and identity.caller is not None and not exchange.source
            block += head.with_session(exchange.renewed, ours=ours)
        if exchange.body is not EMPTY_PAYLOAD or exchange.method not in _BARE:
            block += self._framing(exchange, plan)
        if upgrade:
            block += b"Upgrade: websocket\r\nConnection: Upgrade\r\n"
        if identity is not None:
            block += identity.block
        if head.gateway.tracing and not head.trace_id:
            exchange.trace_id, parent = tracing.new_trace(os.urandom(tracing.BYTES))
            block += f"Traceparent: {parent}\r\n".encode()
        return start + block + head.gateway.ending.replace(b"\0", exchange.request_id.encode())

    def _framing(self, exchange: Exchange, plan: RoutePlan) -> bytes:
        """Return the field that says where the body ends; refuse a body that is too long."""
        fields = exchange.fields
        limit = exchange.body_limit = plan.route.forwarding.max_body
        exchange.idle = plan.pool.upstream.timeouts.idle
        if fields.chunked:
            return b"Transfer-Encoding: chunked\r\n"
        length = fields.headers.get(hdrs.CONTENT_LENGTH)
        if length is None:
            return b""
        check_length(length, limit)
        return b"Content-Length: %d\r\n" % int(length)

    # --- answers of our own ------------------------------------------------------------------

    def _preflight(
        self, gateway: Gateway, exchange: Exchange, host: str, path: CleanPath
    ) -> Answer | None:
        """Return the answer to a pre-flight about a route with ``cors``.

        It carries no cookie, and is about the request that may follow: its own method decides.
        """
        method = shaping.asked_method(exchange)
        if method is None:
            return None
        route = find(gateway.table, host, path, method)
        if not isinstance(route, Route) or paths.refused_marks(path, route):
            return None
        answer = shaping.preflight(exchange, route.forwarding, method)
        if answer is not None:
            exchange.plan = gateway.plan(route)
        return answer

    async def _limit(
        self, gateway: Gateway, exchange: Exchange, limit: RateLimit, identity: Identity | None
    ) -> Answer | None:
        """Count a request that may pass; return an answer if it is one too many."""
        await task_needed()
        assert exchange.plan is not None  # noqa: S101  it is the plan that has the limit
        key = limits.key(
            exchange.plan.route,
            limit,
            caller=None if identity is None else identity.caller,
            session=exchange.session,
            client=exchange.client,
        )
        seconds = await gateway.rates.count(key, limit)
        return refusals.limited(exchange, limit, seconds) if seconds else None

    async def _page(self, gateway: Gateway, exchange: Exchange, head: Head) -> bool:
        """Answer with a page or endpoint of the gateway itself."""
        await task_needed()
        fields = exchange.fields
        exchange.body_limit = _PAGE_BODY
        check_length(fields.headers.get(hdrs.CONTENT_LENGTH), _PAGE_BODY)
        body = await exchange.read_all()
        values = [value for name, value in fields.raw if name.lower() == b"cookie"]
        request = PageRequest(
            method=exchange.method,
            path=exchange.path,
            query=exchange.query,
            headers=fields.headers,
            cookies=cookies.parse_all(values),
            app_cookies={} if head.app is None else head.app.found,
            body=body,
            client=head.client,
            request_id=exchange.request_id,
            navigation=refusals.is_navigation(exchange),
        )
        return self._answer(exchange, await gateway.endpoints.handle(request))

    def _answer(self, exchange: Exchange, answer: Answer, *, keep_alive: bool = True) -> bool:
        plan = exchange.plan
        if plan is not None and plan.shaper is not None:
            answer = plan.shaper.of_ours(exchange, answer)
        return exchange.answer(answer, self._date(), keep_alive=keep_alive and exchange.keep_alive)

    def _refuse(self, gateway: Gateway, exchange: Exchange, decision: Challenge | Deny) -> bool:
        """Tell somebody that they may not pass; the upstream never hears of it."""
        answer = refusals.refused(
            exchange, decision, sign_in=gateway.sign_in, public_url=gateway.public_url
        )
        return self._answer(exchange, answer)

    def _fail(self, exchange: Exchange, error: GatewayError) -> bool:
        """Answer for a deliberate error, where nothing was answered yet."""
        exchange.reason = error.reason
        if exchange.status:
            exchange.connection.break_off()
            return False
        if not isinstance(error, ClientError | Overloaded | StoreResting):
            log.warning(
                "request failed",
                request_id=exchange.request_id,
                reason=error.reason,
                detail=str(error),
            )
        # Who breaks the rules of HTTP may mean something else by the bytes that follow.
        understood = not isinstance(error, ClientError) or (
            isinstance(error, AmbiguousPath) and not exchange.has_body
        )
        return self._answer(exchange, refusals.failed(exchange, error), keep_alive=understood)

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
            self._write_log(self._request_log, exchange, seconds)

    def _write_log(self, request_log: RequestLog, exchange: Exchange, seconds: float) -> None:
        plan = exchange.plan
        request_log.write(
            now=self._wall(),
            request_id=exchange.request_id,
            method=exchange.method,
            host=exchange.host,
            path=exchange.path,
            route="" if plan is None else plan.route.id,
            status=exchange.status,
            reason=exchange.reason,
            seconds=seconds,
            client=exchange.client or exchange.connection.peer,
            user=exchange.user,
            session=fingerprint(exchange.session) if exchange.session else "",
            upstream="" if plan is None else plan.route.forwarding.upstream,
            bytes_in=exchange.bytes_in,
            bytes_out=exchange.bytes_out,
            trace_id=exchange.trace_id,
            stale=exchange.identity is not None and exchange.identity.stale,
        )
