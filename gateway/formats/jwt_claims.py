"""What a decrypted token says, and whether it says so now: the same for next-auth 4 and Auth.js 5.

Source: ``jose`` as both call it: ``jwtDecrypt`` with ``clockTolerance: 15``.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import msgspec

from gateway.formats.foreign import Refused, Why
from gateway.formats.javascript_json import parse

TOLERANCE = 15
"""Seconds by which the clocks of issuer and reader may differ."""

_LAST_SECOND = 253402300799
"""The end of the year 9999: no calendar here knows a later one."""


def read(plaintext: bytes, now: float) -> tuple[dict[str, Any], float]:
    """Return the claims, and the time from which on they hold no longer.

    A token without ``exp``, which the packages take, would be valid for ever and has none to blame:
    it is refused.

    Raises:
        Refused: They are no claims, or hold no longer or not yet.
    """
    try:
        claims = parse(plaintext)
    except ValueError as exc:
        raise Refused(Why.BAD_CLAIMS, "what is encrypted is no JSON") from exc
    if not isinstance(claims, dict):
        raise Refused(Why.BAD_CLAIMS, "what is encrypted is no JSON object")
    for name in ("iat", "nbf", "exp"):
        # Not isinstance: True is an int.
        if name in claims and type(claims[name]) not in (int, float):
            raise Refused(Why.BAD_CLAIMS, f"{name} is not a number")
    if "exp" not in claims:
        raise Refused(Why.BAD_CLAIMS, "no exp: it would never expire")
    # Within these bounds before anything is computed: JSON has numbers that no double holds. The
    # packages compare whole seconds: a fraction of one counts as all of it.
    exp = max(-TOLERANCE, min(claims["exp"], _LAST_SECOND - TOLERANCE))
    expires_at = float(math.ceil(exp)) + TOLERANCE
    if not now < expires_at:
        raise Refused(Why.EXPIRED, "expired")
    if not claims.get("nbf", now) <= math.floor(now) + TOLERANCE:
        raise Refused(Why.NOT_YET_VALID, "not valid yet")
    return claims, expires_at


def written(claims: Mapping[str, Any], *, now: float, max_age: float, jti: str) -> bytes:
    """Return claims as the packages issue them: valid from now on, for ``max_age`` seconds."""
    issued_at = math.floor(now)
    return msgspec.json.encode(
        {**claims, "iat": issued_at, "exp": issued_at + math.floor(max_age), "jti": jti}
    )
