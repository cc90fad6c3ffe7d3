"""How a refusal is told: redirect, page or problem; which status."""

from __future__ import annotations

from dataclasses import dataclass

from gateway.errors import Reason
from gateway.model import Challenge, DenialStyle, Deny, WhenDenied
from gateway.rules.redirects import fill_return_to

CALLBACK = "callbackUrl"
"""Name of the query parameter that says where to go after signing in (NextAuth's)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Refusal:
    """An answer to a request that may not pass."""

    status: int
    reason: Reason
    location: str | None = None
    """Where to go instead: the answer is a redirect."""
    page: bool = False
    """Whether a person reads it; otherwise it is ``application/problem+json``."""
    login_url: str | None = None
    """Where one could sign in, told with a 401."""
    allow: tuple[str, ...] = ()
    """The value of ``Allow``, with 405."""


def sign_in_page(login_path: str) -> str:
    """Return the address of the gateway's own sign-in page, with ``{return_to}``."""
    return f"{login_path}/signin?{CALLBACK}={{return_to}}"


def refuse(
    decision: Challenge | Deny,
    *,
    method: str,
    navigation: bool,
    return_to: str,
    sign_in: str,
    public_url: str,
) -> Refusal:
    """Say how a refusal is told.

    Args:
        navigation: Whether the request looks like a person's (``rules.navigation``).
        return_to: Path and query of the request.
        sign_in: Address of the sign-in page, with ``{return_to}``.
        public_url: The origin users see: pages of another one get the whole address to return to.
    """
    route = decision.route
    told = WhenDenied() if route is None else route.when_denied
    page = navigation if told.style is DenialStyle.AUTO else told.style is DenialStyle.REDIRECT
    redirectable = page and method in ("GET", "HEAD")
    if isinstance(decision, Challenge):
        page_of = sign_in if told.unauthenticated is None else told.unauthenticated
        login_url = fill_return_to(page_of, return_to, public_url)
        if redirectable:
            return Refusal(status=302, reason=decision.reason, location=login_url, page=True)
        return Refusal(status=401, reason=decision.reason, page=page, login_url=login_url)
    if decision.reason is Reason.METHOD:
        return Refusal(status=405, reason=decision.reason, page=page, allow=decision.allow)
    if told.forbidden is not None and redirectable:
        forbidden = fill_return_to(told.forbidden, return_to, public_url)
        return Refusal(status=302, reason=decision.reason, location=forbidden, page=True)
    return Refusal(status=403, reason=decision.reason, page=page)
