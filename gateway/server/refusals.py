"""Answers for requests that do not reach an upstream, or get nothing from it."""

from __future__ import annotations

from math import ceil

from aiohttp.http_exceptions import LineTooLong

from gateway.errors import (
    ClientError,
    GatewayError,
    MethodRefused,
    Overloaded,
    Reason,
    SignInDenied,
    StoreUnavailable,
    UpstreamBusy,
    UpstreamDown,
)
from gateway.model import Challenge, Deny, RateLimit
from gateway.rules import limits, navigation
from gateway.rules.denials import refuse
from gateway.server.answers import NO_STORE, Answer
from gateway.server.exchange import Exchange
from gateway.server.fields import MAX_LINE
from gateway.server.problems import error_answer

_RETRY_AFTER = ("Retry-After", "5")
_ALLOW = ("Allow", "GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS")
"""With a 405 for methods that are refused everywhere; what an address takes, its route says."""


def refused(
    exchange: Exchange, decision: Challenge | Deny, *, sign_in: str, public_url: str
) -> Answer:
    """Return the answer to somebody who may not pass."""
    path, query = exchange.path, exchange.query
    told = refuse(
        decision,
        method=exchange.method,
        navigation=is_navigation(exchange),
        return_to=f"{path}?{query}" if query else path,
        sign_in=sign_in,
        public_url=public_url,
    )
    if told.location is not None:
        return Answer(
            status=told.status, headers=(("Location", told.location), NO_STORE), reason=told.reason
        )
    headers: list[tuple[str, str]] = []
    if told.status == 401:
        realm = public_url.partition("://")[2]
        headers.append(("WWW-Authenticate", f'Session realm="{realm}"'))
    if told.allow:
        headers.append(("Allow", ", ".join(told.allow)))
    return error_answer(
        told.status,
        told.reason,
        navigation=told.page,
        request_id=exchange.request_id,
        headers=headers,
        login_url=told.login_url,
    )


def limited(exchange: Exchange, limit: RateLimit, seconds: float) -> Answer:
    """Return the answer to somebody who asks too often, and may ask again in so many seconds."""
    return error_answer(
        429,
        Reason.RATE_LIMITED,
        navigation=is_navigation(exchange),
        request_id=exchange.request_id,
        headers=limits.told(limit, seconds),
    )


def failed(exchange: Exchange, error: GatewayError) -> Answer:
    """Return the answer for a deliberate error."""
    if isinstance(error, SignInDenied) and error.location is not None:
        to = ("Location", error.location)
        return Answer(status=303, headers=(to, NO_STORE), reason=error.reason)
    return error_answer(
        error.status,
        error.reason,
        navigation=is_navigation(exchange),
        request_id=exchange.request_id,
        headers=_headers(error),
    )


def _headers(error: GatewayError) -> list[tuple[str, str]]:
    if isinstance(error, StoreUnavailable | Overloaded):
        return [_RETRY_AFTER]
    if isinstance(error, UpstreamBusy | UpstreamDown):
        return [("Retry-After", str(ceil(error.retry_after)))]
    return [_ALLOW] if isinstance(error, MethodRefused) else []


def about_the_server() -> Answer:
    """Return the answer to ``OPTIONS *``: what may be asked of the gateway (RFC 9110 9.3.7)."""
    return Answer(status=204, headers=(_ALLOW,))


def malformed(exchange: Exchange, error: Exception) -> Answer:
    """Return the answer to what could not be read as a request.

    Args:
        error: Of aiohttp's parser, or a ``ClientError`` of ours.
    """
    status, reason = 400, Reason.BAD_REQUEST
    if isinstance(error, ClientError):
        status, reason = error.status, error.reason
    elif isinstance(error, LineTooLong):
        reason = Reason.HEAD_TOO_LARGE
        status = 414 if str(MAX_LINE) in str(error) else 431
    elif "Too many headers" in str(error):
        status, reason = 431, Reason.HEAD_TOO_LARGE
    return error_answer(status, reason, navigation=False, request_id=exchange.request_id)


def is_navigation(exchange: Exchange) -> bool:
    """Whether a person waits for a page."""
    get = exchange.fields.headers.get
    return navigation.is_navigation(
        exchange.method,
        fetch_mode=get("Sec-Fetch-Mode"),
        fetch_dest=get("Sec-Fetch-Dest"),
        requested_with=get("X-Requested-With"),
        accept=get("Accept"),
    )
