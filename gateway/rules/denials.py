"""How a refusal is told: redirect, page or problem; which status."""

from __future__ import annotations

from dataclasses import dataclass
from urllib.parse import quote

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


def sign_in_url(login_path: str, return_to: str) -> str:
    """Return the address of the sign-in page that leads back to ``return_to``."""
    return f"{login_path}/signin?{CALLBACK}={quote(return_to, safe='')}"


def refuse(
    decision: Challenge | Deny,
    *,
    method: str,
    navigation: bool,
    return_to: str,
    login_path: str,
    public_url: str,
) -> Refusal:
    """Say how a refusal is told.

    Args:
        navigation: Whether the request looks like a person's (``rules.navigation``).
        return_to: Path and query of the request.
        public_url: The origin users see: pages of another one get the whole address to return to.
    """
    route = decision.route
    told = WhenDenied() if route is None else route.when_denied
    page = navigation if told.style is DenialStyle.AUTO else told.style is DenialStyle.REDIRECT
    redirectable = page and method in ("GET", "HEAD")
    if isinstance(decision, Challenge):
        login_url = sign_in_url(login_path, return_to)
        if told.unauthenticated is not None:
            login_url = fill_return_to(told.unauthenticated, return_to, public_url)
        if redirectable:
            return Refusal(status=302, reason=decision.reason, location=login_url, page=True)
        return Refusal(status=401, reason=decision.reason, page=page, login_url=login_url)
    if decision.reason is Reason.METHOD:
        return Refusal(status=405, reason=decision.reason, page=page, allow=decision.allow)
    if told.forbidden is not None and redirectable:
        forbidden = fill_return_to(told.forbidden, return_to, public_url)
        return Refusal(status=302, reason=decision.reason, location=forbidden, page=True)
    return Refusal(status=403, reason=decision.reason, page=page)
