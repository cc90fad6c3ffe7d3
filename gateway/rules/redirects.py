"""Which address somebody may be sent to after signing in or out.

The address comes from outside (``callbackUrl``). One of another origin would make the gateway's
own sign-in page the first step of a phishing mail, so only a path of our own ever comes out.
"""

from __future__ import annotations

import re
from urllib.parse import quote, unquote

HOME = "/"
"""Where somebody goes whose return address is none."""

_LONGEST = 2048
"""Bytes of a return address; what servers and proxies are known to carry in a ``Location``."""

# Browsers drop tabs and line ends before they parse an address and read a backslash as a slash,
# so that "/\t/evil.example" and "/\evil.example" lead away. C1 controls only ever hide something.
_NEVER = re.compile(r"[\x00-\x1f\x7f-\x9f\\]")

_PLAIN = "!#$%&'()*+,-./:;=?@[]_~"
"""What stays as it is, besides letters and digits: RFC 3986's own characters and its escapes."""


def safe_return_to(value: str | None, public_url: str, *, login_path: str = "") -> str:
    """Return the path, with query, to go to; ``/`` for anything but an address of our own.

    A URL of exactly our origin is reduced to its path and query; a fragment is dropped.
    Everything outside printable ASCII comes out percent-encoded. Paths that the gateway refuses
    (``//``, dot segments) and the pages of the sign-in itself are no place to return to: after
    signing out, nobody wants to be asked whether to sign out.

    Args:
        public_url: The origin users see, without a trailing slash.
        login_path: Where the gateway's own sign-in pages are; empty: nowhere.
    """
    if not value or len(value) > _LONGEST or _NEVER.search(value):
        return HOME
    if value[: len(public_url)].lower() == public_url.lower():
        value = value[len(public_url) :]
        # What follows must begin a path: with "https://app.example.com" the values
        # "https://app.example.com@evil" and "https://app.example.com.evil" start alike.
        if not value.startswith("/"):
            if value[:1] not in ("", "?", "#"):
                return HOME
            value = HOME + value
    value = value.partition("#")[0]
    path = value.partition("?")[0]
    segments = path.split("/")
    if not path.startswith("/") or not all(segments[1:-1]) or any(map(_dots, segments)):
        return HOME
    if login_path and (unquote(path) + "/").startswith(login_path + "/"):
        return HOME
    try:
        safe = quote(value, safe=_PLAIN)
    except UnicodeEncodeError:  # half of a surrogate pair
        return HOME
    return safe if len(safe) <= _LONGEST else HOME


def fill_return_to(template: str, return_to: str, public_url: str) -> str:
    """Return the operator's own sign-in address (``login.url``) with the way back filled in.

    A page of our own origin gets a path, which is what frameworks' own checks accept; one of
    another origin gets the whole URL, or it could not find back.
    """
    ours = template.startswith("/") or (template + "/").startswith(
        (public_url + "/", public_url + "?")
    )
    way_back = return_to if ours else public_url + return_to
    return template.replace("{return_to}", quote(way_back, safe=""))


def _dots(segment: str) -> bool:
    return unquote(segment) in (".", "..")
