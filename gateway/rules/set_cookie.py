"""The gateway's own cookies, as ``Set-Cookie`` says them."""

from __future__ import annotations

from gateway.model import CookieShape


def set_cookie(shape: CookieShape, value: str, *, max_age: float | None) -> str:
    """Return the value of a ``Set-Cookie`` header.

    Args:
        value: Letters, digits and other characters that a cookie may hold unquoted.
        max_age: Seconds, rounded down: a cookie never outlives what it stands for. None: until
            the browser is closed.
    """
    age = "" if max_age is None else f"; Max-Age={max(0, int(max_age))}"
    return f"{shape.name}={value}{_attributes(shape)}{age}"


def clear_cookie(shape: CookieShape) -> str:
    """Return the value of a ``Set-Cookie`` header that removes the cookie.

    Browsers remove only what has the same domain and path, and with a ``__Host-`` name refuse a
    header that is not ``Secure``: hence all the attributes.
    """
    return f"{shape.name}={_attributes(shape)}; Max-Age=0; Expires=Thu, 01 Jan 1970 00:00:00 GMT"


def _attributes(shape: CookieShape) -> str:
    domain = f"; Domain={shape.domain}" if shape.domain else ""
    secure = "; Secure" if shape.secure else ""
    same_site = shape.same_site.capitalize()
    return f"; Path={shape.path}{domain}; HttpOnly{secure}; SameSite={same_site}"
