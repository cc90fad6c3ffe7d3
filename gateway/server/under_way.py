"""One answer that is under way after its head, and whether it would be begun now."""

from __future__ import annotations

from collections.abc import Callable
from types import TracebackType
from typing import TYPE_CHECKING

from gateway.errors import ClientError, Reason
from gateway.model import Caller, Decision, Deny, Route, Session, SessionKey
from gateway.rules import paths
from gateway.rules.continuing import broken_off
from gateway.rules.policy import decide
from gateway.rules.routes import find
from gateway.rules.sessions import is_over
from gateway.server.exchange import Exchange
from gateway.server.websocket import refused_upgrade
from gateway.stores.held import Held

if TYPE_CHECKING:
    from gateway.server.gateway import Gateway

Place = tuple[str, SessionKey]
"""Of a session: the name of its source, and its key there. Our own have no name."""


class UnderWay:
    """A WebSocket or stream; as a context manager it says when that is over.

    Args:
        end: Ends it, so that the client sees that it is not whole.
        heard: How many bytes the client has sent.
        over: Told when it has ended, in whatever way.
    """

    __slots__ = (
        "_heard",
        "_heard_before",
        "_over",
        "end",
        "exchange",
        "fresh",
        "session",
        "source",
        "told",
    )

    def __init__(
        self,
        exchange: Exchange,
        end: Callable[[], None],
        heard: Callable[[], int],
        over: Callable[[UnderWay], None],
    ) -> None:
        identity = exchange.identity
        self.exchange = exchange
        self.end = end
        self._heard = heard
        self._heard_before = heard()
        self._over = over
        self.fresh = True
        """Whether its session may have changed before anybody knew that it matters."""
        self.session: Session | None = None if identity is None else identity.session
        """As it was known last."""
        self.source = exchange.source
        """Who has issued it; None: the gateway itself."""
        self.told: Caller | None = None if identity is None else identity.caller

    def __enter__(self) -> UnderWay:
        """Return it."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Say that it is over."""
        self._over(self)

    def used(self) -> bool:
        """Whether the client has sent something since this was asked last."""
        heard = self._heard()
        before, self._heard_before = self._heard_before, heard
        return heard != before

    def refusal(self, gateway: Gateway, held: Held | None, now: float) -> Reason | None:
        """Return why it would not go on by this configuration, for this session; None: it would."""
        if held is None or is_over(held.session, now) or not self._counts(gateway):
            # A visitor whom nobody knew had a session, too, and the upstream was told of it.
            if self.session is not None:
                return Reason.NOT_SIGNED_IN
            return broken_off(self._decide(gateway, None, has_session=False), None)
        caller = gateway.identity(held).caller
        return broken_off(self._decide(gateway, caller, has_session=True), self.told)

    @property
    def place(self) -> Place | None:
        """Which session it belongs to; None: to none."""
        if self.session is None:
            return None
        return "" if self.source is None else self.source.name, self.session.key

    def _counts(self, gateway: Gateway) -> bool:
        """Whether sessions of this source count there, as it is configured now."""
        if self.source is None:
            return True
        route = self._route(gateway)
        return route is not None and self.source in gateway.plan(route).sources

    def _route(self, gateway: Gateway) -> Route | None:
        """Return the route that the same request would take now."""
        try:
            path = paths.clean(self.exchange.path)
        except ClientError:
            return None
        found = find(gateway.table, self.exchange.host, path, self.exchange.method)
        return found if isinstance(found, Route) else gateway.table.fallback

    def _decide(self, gateway: Gateway, caller: Caller | None, *, has_session: bool) -> Decision:
        """Say what would happen to the same request now; see ``Pipeline``."""
        exchange, table = self.exchange, gateway.table
        try:
            path = paths.clean(exchange.path)
        except ClientError as error:
            return Deny(reason=error.reason)
        if gateway.owns(path.text):
            return Deny(reason=Reason.NO_ROUTE)
        found = find(table, exchange.host, path, exchange.method)
        route = found if isinstance(found, Route) else table.fallback
        if path.marks and paths.refused_marks(path, route):
            return Deny(reason=Reason.AMBIGUOUS_PATH)
        decision = decide(found, caller, client=exchange.client, fallback=table.fallback)
        if exchange.status != 101:
            return decision
        plan = gateway.plan(route)
        return refused_upgrade(exchange, plan, signed_in=has_session) or decision
