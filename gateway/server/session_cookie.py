"""The cookie that holds a session's token."""

from __future__ import annotations

from gateway.model import CookieShape
from gateway.rules.set_cookie import set_cookie
from gateway.stores.keeper import Begun


def session_cookie(shape: CookieShape, begun: Begun) -> str:
    """Return the value of ``Set-Cookie`` that gives a browser its session.

    It lasts as long as the session may, whatever its idle expiry is now, for nobody tells the
    browser when that moves; or as long as the browser runs.
    """
    session = begun.session
    left = session.ends_at - session.touched_at
    return set_cookie(shape, begun.token, max_age=left if session.remembered else None)
