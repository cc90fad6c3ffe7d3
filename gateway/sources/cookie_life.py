"""``Set-Cookie`` for other frameworks' cookies, as they set them unless an app says otherwise."""

from __future__ import annotations

from email.utils import formatdate


def prolonged(name: str, value: str, expires_at: float) -> str:
    """Return what lets a browser keep a cookie until then."""
    return f"{name}={value}; Path=/; Expires={formatdate(expires_at, usegmt=True)}; {_rest(name)}"


def cleared(name: str) -> str:
    """Return what takes a cookie away, if the app has set it for this host and all its paths."""
    return f"{name}=; Path=/; Max-Age=0; {_rest(name)}"


def _rest(name: str) -> str:
    # Browsers take the names with prefix with this attribute alone.
    secure = "; Secure" if name.startswith(("__Secure-", "__Host-")) else ""
    return f"HttpOnly; SameSite=Lax{secure}"
