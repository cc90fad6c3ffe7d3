"""What upstreams are told about who asks."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime
from urllib.parse import quote

from gateway.model import Caller, IdentityField, Session

REQUEST_ID = "X-Request-Id"
STALE = "X-Session-Stale"
"""``1`` where the session store could not be asked: who it is was true a while ago."""

PRESETS: Mapping[str, Mapping[str, IdentityField]] = {
    "gateway": {
        "X-User-Id": IdentityField.USER_ID,
        "X-User-Name": IdentityField.USER_NAME,
        "X-User-Email": IdentityField.USER_EMAIL,
        "X-User-Image": IdentityField.USER_IMAGE,
        "X-User-Roles": IdentityField.USER_ROLES,
        "X-User-Permissions": IdentityField.USER_PERMISSIONS,
        "X-Session-Id": IdentityField.SESSION_ID,
        "X-Session-Expires": IdentityField.SESSION_EXPIRES,
        "X-Auth-Provider": IdentityField.USER_PROVIDER,
        REQUEST_ID: IdentityField.REQUEST_ID,
    }
}
"""Named sets of headers for ``identity.headers.preset``."""

_PLAIN = "".join(chr(c) for c in range(0x20, 0x7F) if chr(c) != "%")

_SURROGATE = re.compile(r"[\ud800-\udfff]")
_LAST = 253402300799.0
"""The end of the year 9999: no calendar here knows a later one, but apps write such."""


def encode_value(text: str) -> str:
    """Return text as a header value that no parser can misread.

    Bytes outside printable ASCII, ``%``, and spaces at either end become percent-encoded UTF-8;
    a receiver that percent-decodes gets the text back. A lone surrogate becomes U+FFFD.
    """
    # Most are so already. Measured: 4.5 us less for the headers of a session.
    if text.isascii() and text.isprintable() and "%" not in text and text.strip(" ") == text:
        return text
    # Not `errors="replace"`: the question mark that it writes may as well be somebody's own.
    encoded = quote(_SURROGATE.sub("\ufffd", text), safe=_PLAIN)
    inner = encoded.strip(" ")
    if len(inner) == len(encoded):
        return encoded
    lead = len(encoded) - len(encoded.lstrip(" "))
    return "%20" * lead + inner + "%20" * (len(encoded) - lead - len(inner))


def isoformat(when: float) -> str:
    """Return Unix seconds as ISO 8601 in UTC with milliseconds: ``2026-11-20T23:52:26.000Z``."""
    text = datetime.fromtimestamp(min(when, _LAST), UTC).isoformat(timespec="milliseconds")
    return text.replace("+00:00", "Z")


def effective_roles(caller: Caller) -> list[str]:
    """Return a caller's roles: those given, in the order given, then the inherited ones by name."""
    given = [role for role in dict.fromkeys(caller.user.roles) if role in caller.roles]
    if len(given) == len(caller.roles):
        return given
    return given + sorted(caller.roles.difference(given))


def identity_value(field: IdentityField, session: Session | None, caller: Caller) -> str | None:
    """Return what a field says of a caller, ready for a header; None where there is nothing.

    A request's id is not known here: for that field the answer is None.
    """
    return _VALUES[field](session, caller)


def _told(value: str | None) -> str | None:
    return encode_value(value) if value else None


def _listed(names: Iterable[str]) -> str | None:
    return ",".join(map(encode_value, names)) or None


# Measured: 5 us less for the headers of a session than with a chain of comparisons.
_VALUES: Mapping[IdentityField, Callable[[Session | None, Caller], str | None]] = {
    IdentityField.USER_ID: lambda _, caller: _told(caller.user.id),
    IdentityField.USER_NAME: lambda _, caller: _told(caller.user.name),
    IdentityField.USER_EMAIL: lambda _, caller: _told(caller.user.email),
    IdentityField.USER_IMAGE: lambda _, caller: _told(caller.user.image),
    IdentityField.USER_PROVIDER: lambda _, caller: _told(caller.user.provider),
    IdentityField.USER_ROLES: lambda _, caller: _listed(effective_roles(caller)),
    IdentityField.USER_PERMISSIONS: lambda _, caller: _listed(sorted(caller.permissions)),
    IdentityField.SESSION_ID: lambda session, _: None if session is None else _told(session.id),
    IdentityField.SESSION_EXPIRES: lambda session, _: (
        None if session is None else isoformat(session.told_end)
    ),
    IdentityField.REQUEST_ID: lambda _, __: None,
}


def identity_fields(
    headers: Mapping[str, IdentityField], session: Session | None, caller: Caller | None
) -> list[tuple[str, str]]:
    """Return the identity headers of a caller in the order of the configuration.

    A value that is absent is an absent header. Without a caller the session is a visitor's whom
    nobody knows: its id alone is told.
    """
    if caller is None:
        return [
            (name, session.id)
            for name, field in headers.items()
            if field is IdentityField.SESSION_ID and session is not None
        ]
    return [
        (name, value)
        for name, field in headers.items()
        if (value := identity_value(field, session, caller)) is not None
    ]


def identity_block(
    headers: Mapping[str, IdentityField], session: Session | None, caller: Caller | None
) -> bytes:
    """Return the identity headers as they stand on the wire; built once for each session."""
    fields = identity_fields(headers, session, caller)
    return "".join([f"{name}: {value}\r\n" for name, value in fields]).encode("ascii")
