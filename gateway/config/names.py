"""Names that operators give: of roles, permissions, providers, cookies, headers, methods.

Every function returns the name, or raises ``ValueError`` that says what is expected. No message
holds the name itself: it may have come from the environment, and the caller knows how to show it.
"""

from __future__ import annotations

import re

from gateway.config.suggestions import did_you_mean
from gateway.rules.adapter_tables import check_name
from gateway.rules.headers import SESSION_CONTROL, fold

# Those of IANA's registry that llhttp reads, and so all that a request can have.
METHODS = frozenset(
    (
        *("ACL", "BIND", "CHECKOUT", "COPY", "DELETE", "GET", "HEAD", "LINK", "LOCK", "MERGE"),
        *("MKACTIVITY", "MKCALENDAR", "MKCOL", "MOVE", "M-SEARCH", "NOTIFY", "OPTIONS", "PATCH"),
        *("POST", "PROPFIND", "PROPPATCH", "PURGE", "PUT", "QUERY", "REBIND", "REPORT", "SEARCH"),
        *("SOURCE", "SUBSCRIBE", "UNBIND", "UNLINK", "UNLOCK", "UNSUBSCRIBE"),
    )
)

_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")  # RFC 9110 section 5.6.2
_LABEL = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,62}")
_UNFIT = re.compile(r"[,|\x00-\x1f\x7f-\x9f]")
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")
_TOLD_BY_US = {
    "HOST",
    "COOKIE",
    "SET_COOKIE",
    "FORWARDED",
    "X_GATEWAY_ASSERTION",
    "X_SESSION_STALE",
    *map(fold, SESSION_CONTROL),
}
_HOP_BY_HOP = {
    "CONNECTION",
    "KEEP_ALIVE",
    "PROXY_CONNECTION",
    "PROXY_AUTHENTICATE",
    "PROXY_AUTHORIZATION",
    "TE",
    "TRAILER",
    "TRANSFER_ENCODING",
    "UPGRADE",
    "HTTP2_SETTINGS",
    "EXPECT",
}
_CONTENT = re.compile(r"CONTENT_(LENGTH|TYPE|ENCODING|RANGE)")


def role_name(name: str) -> str:
    """Check the name of a role: it has to fit a comma-separated header."""
    if not name or name != name.strip() or _UNFIT.search(name):
        raise ValueError("expected a name without comma, |, control character or space at its ends")
    return name


def permission_name(name: str) -> str:
    """Check the name of a permission; ``*`` alone is every permission."""
    if "*" in name and name != "*":
        raise ValueError("* stands alone, for every permission; it completes no other name")
    return role_name(name)


def user_id(name: str) -> str:
    """Check the id of a user."""
    if not name or name != name.strip() or _CONTROL.search(name):
        raise ValueError("expected a user's id, without control character or space at its ends")
    return name


def label(name: str) -> str:
    """Check the name of an upstream or provider: it appears in logs, metrics and addresses."""
    if not _LABEL.fullmatch(name):
        raise ValueError("expected a name of letters, digits, dots, - and _, at most 63 of them")
    return name


def method(name: str) -> str:
    """Check the name of a request method that may be forwarded."""
    if name in ("CONNECT", "TRACE"):
        raise ValueError("the gateway forwards neither CONNECT nor TRACE")
    if not _TOKEN.fullmatch(name) or name != name.upper():
        raise ValueError("expected a method in capitals, such as GET or POST")
    if name not in METHODS:
        raise ValueError(f"the parser knows no such method{did_you_mean(name, METHODS)}")
    return name


def cookie_name(name: str) -> str:
    """Check the name of the session cookie (RFC 6265 section 4.1.1)."""
    if not _TOKEN.fullmatch(name):
        raise ValueError("expected a cookie's name: letters, digits, - and _, no space, ; or =")
    if name.lower().startswith(("__host-", "__secure-")):
        raise ValueError("__Host- or __Secure- is put in front where public_url is https")
    return name


def accepted_cookie(name: str) -> str:
    """Check the name of a cookie that another framework sets, prefix and all."""
    if not _TOKEN.fullmatch(name):
        raise ValueError("expected a cookie's name: letters, digits, - and _, no space, ; or =")
    return name


def id_prefix(prefix: str) -> str:
    """Check what is put in front of users' ids; it may be empty."""
    if prefix != prefix.strip() or _CONTROL.search(prefix) or len(prefix) > 64:
        raise ValueError("expected at most 64 characters, no control or space at the ends")
    return prefix


def payload_path(path: str) -> str:
    """Check where something is in a session: keys, joined by dots."""
    if not all(part.strip() for part in path.split(".")):
        raise ValueError("expected keys joined by dots, such as user.roles")
    return path


def key_prefix(prefix: str) -> str:
    """Check what keys in Redis begin with; it may be empty."""
    if not prefix.isprintable():
        raise ValueError("expected the beginning of a key, without control characters")
    return prefix


def identifier(name: str) -> str:
    """Check the name of a table or column."""
    check_name(name)
    return name


def header_name(name: str) -> str:
    """Check the name of a header that a request may bring or be given."""
    if not _TOKEN.fullmatch(name):
        raise ValueError("expected a header's name: letters, digits and -")
    folded = fold(name)
    if folded in _HOP_BY_HOP or _CONTENT.fullmatch(folded):
        raise ValueError("this header frames the message or the connection; choose another name")
    if folded in _TOLD_BY_US or folded.startswith("X_FORWARDED_"):
        raise ValueError("this header has a meaning of its own that the gateway looks after")
    return name


def set_header(name: str) -> str:
    """Check the name of a header that a route may set or remove."""
    if fold(name) in ("DATE", "VIA"):
        raise ValueError("this header is for those who speak HTTP; choose another name")
    return header_name(name)


def readable_header(name: str) -> str:
    """Check the name of a header that ``cors`` may tell of; ``*`` is every one."""
    if not _TOKEN.fullmatch(name):
        raise ValueError("expected a header's name, or *")
    return name


def header_value(value: str) -> str:
    """Check what a header may say (RFC 9110 section 5.5), in ASCII."""
    if not value or value != value.strip() or not value.isascii() or not value.isprintable():
        raise ValueError("expected printable ASCII, without a space at its ends")
    return value


def kept_header(name: str) -> str:
    """Check the name of a header that ``keep_headers`` may bring back."""
    if not _TOKEN.fullmatch(name):
        raise ValueError("expected a header's name: letters, digits and -")
    folded = fold(name)
    if folded in _HOP_BY_HOP | _TOLD_BY_US or _CONTENT.fullmatch(folded):
        raise ValueError("the gateway writes or drops this header itself, always")
    return name
