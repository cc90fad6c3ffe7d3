"""Cookies that come with the answer: of a token that is renewed, of a visitor's first session."""

from __future__ import annotations

import structlog
from aiohttp import hdrs

from gateway.errors import StoreError, StoreUnavailable
from gateway.model import SessionKey
from gateway.server.exchange import Exchange
from gateway.server.gateway import Gateway, Identity
from gateway.server.refusals import is_navigation
from gateway.server.session_cookie import lines, pairs
from gateway.stores.begun import Begun, Visit
from gateway.stores.held import Held
from gateway.telemetry.records import fingerprint
from gateway.upstream.driving import task_needed

_TRIES = 10

log = structlog.get_logger()


async def renew(
    gateway: Gateway, exchange: Exchange, key: SessionKey, identity: Identity
) -> Identity | None:
    """Exchange the token of a session that is to be renewed, and return who asks.

    Of many requests that come with the old token one gets the new one. What the old one is worth to
    the others, the store says: nothing, or for a few seconds what it was worth before.

    Raises:
        StoreUnavailable: It cannot be exchanged, and must not be used.
    """
    await task_needed()
    for _ in range(_TRIES):
        begun = await gateway.keeper.renew(identity.session)
        if begun is not None:
            if begun.session.key != identity.session.key:  # not only its expiry was moved
                log.info(
                    "token_renewed",
                    session=fingerprint(begun.session.id),
                    request_id=exchange.request_id,
                )
            return _given(gateway, exchange, begun)
        gateway.sessions.forget(key)
        held = await gateway.sessions.get(key)
        if held is None:
            return None
        identity = gateway.identity(held)
        if not identity.renew:
            return identity
    raise StoreUnavailable("a session changes faster than its token can be renewed")


async def welcome(gateway: Gateway, exchange: Exchange, key: SessionKey | None) -> Identity | None:
    """Give a visitor a session, where the request is one to begin with.

    None: it goes on without. A script or picture of a page must not begin one beside the page's
    own, nor may a request with a token that has just been renewed get another cookie instead. And
    no store that is out keeps a visitor away.
    """
    if exchange.method == "OPTIONS" or exchange.fields.upgrade:
        return None
    headers = exchange.fields.headers
    page = is_navigation(exchange)
    by_browser = "Sec-Fetch-Mode" in headers or "Sec-Fetch-Dest" in headers
    if not page and (by_browser or key is not None):
        return None
    await task_needed()
    visit = Visit(device=headers.get(hdrs.USER_AGENT, ""), address=exchange.client)
    try:
        begun = await gateway.keeper.visit(visit)
    except StoreError as error:
        log.warning("visitor_without_session", request_id=exchange.request_id, detail=str(error))
        return None
    return _given(gateway, exchange, begun)


def _given(gateway: Gateway, exchange: Exchange, begun: Begun) -> Identity:
    sent = exchange.fields.headers.get(hdrs.COOKIE, "")
    given = gateway.cookies.given(begun, sent)
    exchange.set_cookies = lines(given)
    exchange.renewed = pairs(given)
    return gateway.identity(Held(begun.session))
