"""express-session with connect-redis: a signed session id in the cookie, JSON in Redis.

The cookie is ``s:``, the id, a dot, and the HMAC-SHA256 of the id in base64 without ``=``. What the
key in Redis says of its own life counts: the expiry inside the JSON is from the last change, and is
in the past for everybody who only reads.

Source: express-session 1.19.0, cookie-signature 1.0.7, connect-redis 7 to 10, passport 0.7.
"""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Mapping, Sequence
from hmac import compare_digest
from hmac import digest as hmac
from math import ceil, isfinite
from typing import Any

from gateway.formats import objects
from gateway.formats.foreign import Refused, Why

PREFIX = "s:"
LONGEST = 4096
"""Characters of a cookie's value: as much as browsers keep."""
LONGEST_LIFE = 10_000_000_000
"""Seconds: some three centuries. Redis refuses what is much longer."""

_SIGNATURE = 43


def session_id(value: str, secrets: Sequence[str]) -> str:
    """Return the id that a signed cookie holds.

    Raises:
        Refused: It is not signed, or not by one of the secrets.
    """
    return signed(value, secrets)[0]


def signed(value: str, secrets: Sequence[str]) -> tuple[str, int]:
    """Return what a signed cookie holds, and which of the secrets signed it.

    Raises:
        Refused: It is not signed, or not by one of the secrets.
    """
    check_length(value)
    if not value.startswith(PREFIX):
        raise Refused(Why.BAD_PREFIX, f"does not begin with {PREFIX}")
    # An app's own generator may put dots into an id.
    text, dot, signature = value[len(PREFIX) :].rpartition(".")
    if not dot or len(signature) != _SIGNATURE or not signature.isascii():
        raise Refused(Why.BAD_SIGNATURE, "is not signed")
    try:
        content = text.encode()
    except UnicodeEncodeError as exc:
        raise Refused(Why.MALFORMED, "is no text") from exc
    given = signature.encode()
    for number, secret in enumerate(secrets):
        made = b64encode(hmac(secret.encode(), content, "sha256"))[:_SIGNATURE]
        if compare_digest(made, given):
            if not text:
                raise Refused(Why.MISSING, "is signed, but holds no id")
            return text, number
    raise Refused(Why.BAD_SIGNATURE, "was changed, or is signed with another secret")


def check_length(value: str) -> None:
    """Refuse a value before anything is computed of it.

    Raises:
        Refused: It is empty, or longer than a cookie can be.
    """
    if not value:
        raise Refused(Why.MISSING, "there is no such cookie")
    if len(value) > LONGEST:
        raise Refused(Why.TOO_LARGE, f"has more than {LONGEST} characters")


def entry(raw: bytes) -> dict[str, Any]:
    """Return what Redis holds of a session, its ``cookie`` included.

    Raises:
        Refused: The app could not read it as a session either.
    """
    if not raw:
        raise Refused(Why.NO_ENTRY, "what the store holds is empty")
    found = objects.read(raw, Why.BAD_ENTRY, "what the store holds")
    if not isinstance(found.get("cookie"), dict):
        raise Refused(Why.BAD_ENTRY, "what the store holds says nothing of a cookie")
    return found


def idle(entry: Mapping[str, Any]) -> float | None:
    """Return the seconds that a request gives the key; None: the store's own ``ttl``, a day if the
    app says nothing else. 0: it is over.
    """
    return life(entry["cookie"].get("originalMaxAge"), 1000)


def life(age: object, unit: int) -> float | None:
    """Return an age as the whole seconds that connect-redis makes of it; None: it is none."""
    if type(age) not in (int, float):
        return None
    assert isinstance(age, int | float)  # noqa: S101  for the type checker
    if not isfinite(age):
        return None
    return float(min(max(ceil(age / unit), 0), LONGEST_LIFE))
