"""Forms that only our own pages can send: a token in the form and, signed, in a cookie.

Another site can make a browser send our cookie, but can neither read it nor set one that we
signed. The cookie lives as long as the browser's session.
"""

from __future__ import annotations

import hmac
import re

from gateway.model import CookieShape

TOKEN_BYTES = 32

_SHAPE = re.compile(r"([0-9a-f]{64})\|([0-9a-f]{64})")


def cookie_shape(public_url: str) -> CookieShape:
    """Return the shape of the cookie; under https no other host or path can set one like it."""
    secure = public_url.startswith("https://")
    return CookieShape(name="__Host-gateway_csrf" if secure else "gateway_csrf", secure=secure)


def new(random: bytes, secrets: tuple[str, ...]) -> tuple[str, str]:
    """Return a token for forms, and the cookie's value that proves it.

    Args:
        random: ``TOKEN_BYTES`` random bytes.
        secrets: At least one; the first signs.
    """
    token = random.hex()
    return token, f"{token}|{_sign(token, secrets[0])}"


def token_of(cookie_value: str | None, secrets: tuple[str, ...]) -> str | None:
    """Return the token in a cookie that we signed, with whichever secret; None for any other."""
    match = _SHAPE.fullmatch(cookie_value or "")
    if match is None:
        return None
    token, signature = match.groups()
    # Every secret is tried, so that the time taken does not say which one signed.
    signed = [hmac.compare_digest(signature, _sign(token, secret)) for secret in secrets]
    return token if any(signed) else None


def verify(cookie_value: str | None, form_token: str | None, secrets: tuple[str, ...]) -> bool:
    """Whether the form carries the token of a cookie that we signed."""
    token = token_of(cookie_value, secrets)
    if token is None or form_token is None:
        return False
    return hmac.compare_digest(token.encode(), form_token.encode("utf-8", "surrogatepass"))


def _sign(token: str, secret: str) -> str:
    # Named for its purpose: a signature made for something else with the same secret fits nothing.
    return hmac.digest(secret.encode(), b"csrf " + token.encode(), "sha256").hex()
