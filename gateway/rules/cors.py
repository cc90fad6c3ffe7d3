"""Which pages of other origins may read a route's answers: the header fields of CORS.

CORS is no protection of the route: it loosens what browsers keep from pages of other origins.

Source: the Fetch standard, section 3.3 ("CORS protocol").
"""

from __future__ import annotations

from gateway.model import Cors

Pairs = tuple[tuple[str, str], ...]

_ORIGIN = "Access-Control-Allow-Origin"

# Anybody gets the same answer. Otherwise a cache must keep one for each origin, and those that
# belong to none apart from them.
_VARIES = (("Vary", "Origin"),)


def answer_fields(cors: Cors, origin: str | None) -> Pairs:
    """Return the fields for an answer to a request with this ``Origin``, if it has exactly one."""
    fields = _allowed(cors, origin)
    if fields and cors.expose:
        fields += (("Access-Control-Expose-Headers", ", ".join(cors.expose)),)
    return fields if cors.any_origin else fields + _VARIES


def preflight_fields(cors: Cors, origin: str | None, method: str) -> Pairs:
    """Return the fields for the answer to a pre-flight.

    Args:
        method: What ``Access-Control-Request-Method`` names; the route with this ``cors`` owns it.
    """
    fields = _allowed(cors, origin)
    if fields:
        fields += (("Access-Control-Allow-Methods", ", ".join(cors.methods) or method),)
        if cors.headers:
            fields += (("Access-Control-Allow-Headers", ", ".join(cors.headers)),)
        if cors.max_age is not None:
            fields += (("Access-Control-Max-Age", str(cors.max_age)),)
    return fields if cors.any_origin else fields + _VARIES


def _allowed(cors: Cors, origin: str | None) -> Pairs:
    if cors.any_origin:
        return ((_ORIGIN, "*"),)
    if origin not in cors.origins:
        return ()
    assert origin is not None  # noqa: S101  origins holds text only
    fields = ((_ORIGIN, origin),)
    return (*fields, ("Access-Control-Allow-Credentials", "true")) if cors.credentials else fields
