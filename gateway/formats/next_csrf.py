"""The token against forged forms of next-auth 4 and Auth.js 5: ``token|hash`` in a cookie.

The form carries the token, and the hash proves that the cookie is the app's. Such a token is bound
to no session: it says that a form is of the app's own pages, and nothing about who sends it.
"""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import sha256
from hmac import compare_digest

from gateway.formats.foreign import Refused, Why

TOKEN_BYTES = 32
"""Random bytes that a token is made of."""

_LONGEST = 1024


def issue(random: bytes, secrets: Sequence[str]) -> tuple[str, str]:
    """Return a new token for forms, and its cookie's value, not yet percent-encoded.

    Args:
        random: ``TOKEN_BYTES`` random bytes.
        secrets: All that the app has: the hash is over the whole list, so that no cookie survives
            a change of it.
    """
    token = random.hex()
    return token, f"{token}|{_hash(token, secrets)}"


def check(cookie: str, form: str | None, secrets: Sequence[str]) -> str:
    """Return the token of a cookie whose form carries it.

    Args:
        cookie: The value, percent-decoded.
        form: What the form carries.

    Raises:
        Refused: The cookie is not the app's, or the form is not this cookie's.
    """
    if not cookie:
        raise Refused(Why.MISSING, "there is no token in a cookie")
    if len(cookie) > _LONGEST:
        raise Refused(Why.TOO_LARGE, f"more than {_LONGEST} characters")
    # What follows a second bar is ignored, as the packages do.
    token, _, rest = cookie.partition("|")
    claimed = rest.partition("|")[0]
    if not compare_digest(_octets(claimed), _hash(token, secrets).encode()):
        raise Refused(Why.BAD_HASH, "a token that was not made with the app's secrets")
    # The packages take an empty one for a token, and any form without one for its own.
    if not token or not compare_digest(_octets(token), _octets(form or "")):
        raise Refused(Why.MISMATCH, "the form does not carry the token of its cookie")
    return token


def _hash(token: str, secrets: Sequence[str]) -> str:
    return sha256(_octets(token) + ",".join(secrets).encode()).hexdigest()


def _octets(text: str) -> bytes:
    return text.encode("utf-8", "surrogatepass")
