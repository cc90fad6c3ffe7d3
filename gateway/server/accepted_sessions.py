"""Who somebody is by a session that another framework has issued."""

from __future__ import annotations

from collections.abc import Callable

from gateway.errors import StoreError
from gateway.model import SessionKey
from gateway.rules.sessions import is_over
from gateway.server.exchange import Exchange
from gateway.server.gateway import Gateway, Identity, RoutePlan
from gateway.server.head import Head
from gateway.sources.protocol import Source
from gateway.stores.held import Held
from gateway.telemetry.metrics import Metrics


class AcceptedSessions:
    """Looks for one among the sources of a route, in their order.

    Args:
        wall: Returns Unix seconds.
    """

    def __init__(self, metrics: Metrics, wall: Callable[[], float]) -> None:
        self._metrics = metrics
        self._wall = wall

    async def identify(
        self,
        gateway: Gateway,
        exchange: Exchange,
        head: Head,
        plan: RoutePlan,
        *,
        visitors: bool,
    ) -> Identity | None:
        """Return who asks by the first session that names somebody.

        Args:
            visitors: Whether, where none does, the first one of nobody is better than nothing.

        Raises:
            StoreUnavailable: Whose store cannot be asked, there may be a session. To pass over it
                would let somebody be another one, or nobody.
        """
        visitor: Identity | None = None
        for source in plan.sources:
            key = head.key_of(source)
            if key is None:
                continue
            now = self._wall()
            held = source.peek(key, now)
            if held is not None:
                self._metrics.cache_hits += 1
            else:
                held = await self._ask(source, key, plan)
                if held is None:
                    continue
                now = self._wall()
            touches = source.config.touches
            moved = touches and not held.stale and source.due(held.session, now)
            if moved:
                held = source.touch(held.session, now)
            identity = gateway.identity(held)
            if identity.caller is not None:
                exchange.source = source
                # Not where the app sees the request: what it says of its cookie must not be undone.
                if touches and plan.pool.upstream.name not in source.config.forward_to:
                    cookies = {} if head.app is None else head.app.found
                    renewed = source.renewed(key, cookies, now, moved=moved)
                    exchange.set_cookies += tuple(map(_line, renewed))
                return identity
            if visitors and visitor is None:
                visitor, exchange.source = identity, source
        return visitor

    async def _ask(self, source: Source, key: SessionKey, plan: RoutePlan) -> Held | None:
        self._metrics.cache_misses += 1
        try:
            held = await source.get(key, stale_for=plan.stale_for)
        except StoreError:
            self._metrics.store_errors += 1
            raise
        if held is None or is_over(held.session, self._wall()):
            return None
        if held.stale:
            self._metrics.stale_sessions += 1
        return held


def _line(value: str) -> bytes:
    return f"Set-Cookie: {value}".encode("latin-1")
