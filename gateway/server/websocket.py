"""Whether a request may open a WebSocket."""

from __future__ import annotations

from aiohttp import hdrs

from gateway.errors import ClientError, Reason
from gateway.model import Deny
from gateway.server.exchange import Exchange
from gateway.server.gateway import RoutePlan


def is_websocket(exchange: Exchange) -> bool:
    """Whether an upgrade is one to WebSocket; any other is ignored (RFC 9110 section 7.8).

    Raises:
        ClientError: It is, but no such request may begin one (RFC 6455 section 4.1).
    """
    if exchange.fields.headers.get(hdrs.UPGRADE, "").lower() != "websocket":
        return False
    if exchange.method != "GET" or exchange.has_body or exchange.http10:
        raise ClientError("a WebSocket begins with a GET without a body in HTTP/1.1")
    return True


def refused_upgrade(exchange: Exchange, plan: RoutePlan, *, signed_in: bool) -> Deny | None:
    """Return why a WebSocket may not be opened.

    Browsers let any page open one, with the user's cookies: where a session came with it, the
    page has to be one of ours. Without ``Origin`` it is no browser.
    """
    if not plan.route.forwarding.websocket:
        return Deny(reason=Reason.NO_WEBSOCKET, route=plan.route)
    if signed_in:
        origins = exchange.fields.headers.getall(hdrs.ORIGIN, [])
        if origins and (len(origins) > 1 or origins[0].lower() not in plan.origins):
            return Deny(reason=Reason.WRONG_ORIGIN, route=plan.route)
    return None
