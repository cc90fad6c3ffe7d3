"""How many requests somebody may make: the arithmetic of a sliding window.

Requests are counted in windows that begin with the first of them. What still counts of the window
before shrinks evenly as the present one goes by: two numbers stand for all that came, and at no
moment can twice the quota pass, as it can with windows alone.
"""

from __future__ import annotations

from hashlib import blake2b
from ipaddress import IPv6Address, ip_address
from math import ceil, floor
from typing import NamedTuple

from gateway.model import Caller, CountedBy, RateLimit, Route, SessionId


class Window(NamedTuple):
    """What was counted of somebody."""

    before: int
    """Requests in the window before."""
    now: int
    """Requests in the present window."""
    left: float
    """Seconds to the end of the present window."""


_MOMENT = 0.001
"""At the very moment that a place becomes free it is not free yet."""


def wait(limit: RateLimit, window: Window) -> float:
    """Return in how many seconds a request may pass; 0: now."""
    before, now, left = window
    length = float(limit.window)
    if floor(before * left / length) + now < limit.requests:
        return 0.0
    if now < limit.requests:
        # Until so little is left that the window before counts for less than what is free.
        return max(0.0, left - (limit.requests - now) * length / before) + _MOMENT
    # Only the next window has room: `now` is what came before it.
    return left + max(0.0, length - limit.requests * length / now) + _MOMENT


def told(limit: RateLimit, seconds: float) -> tuple[tuple[str, str], ...]:
    """Return the fields that tell a client to wait.

    Source: RFC 9110 section 10.2.3; draft-ietf-httpapi-ratelimit-headers-10.
    """
    whole = max(1, ceil(seconds))
    return (
        ("Retry-After", str(whole)),
        ("RateLimit-Policy", f'"route";q={limit.requests};w={limit.window}'),
        ("RateLimit", f'"route";r=0;t={whole}'),
    )


def key(
    route: Route,
    limit: RateLimit,
    *,
    caller: Caller | None,
    session: SessionId | None,
    client: str,
) -> str:
    """Return under what a request is counted: hashed, for ids may be long, addresses are private.

    Who has no session is counted by address.
    """
    if limit.by is CountedBy.USER and caller is not None:
        who = f"user\0{caller.user.provider}\0{caller.user.id}"
    elif limit.by is CountedBy.SESSION and session is not None:
        who = f"session\0{session}"
    else:
        who = f"address\0{_network(client)}"
    return blake2b(f"{route.id}\0{who}".encode(errors="replace"), digest_size=18).hexdigest()


def _network(client: str) -> str:
    # One household or server has a whole /64 of IPv6.
    try:
        address = ip_address(client)
    except ValueError:
        return client
    return str(int(address) >> 64) if isinstance(address, IPv6Address) else client
