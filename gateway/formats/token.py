"""The gateway's own session token, as the browser's cookie holds it.

A token is 256 random bits and means nothing by itself. The store knows a session by the SHA-256 of
its token, so that a copy of the database holds no usable cookie; no salt and no slow hash, because
nobody can guess 256 random bits.
"""

from __future__ import annotations

import re
from base64 import urlsafe_b64encode
from hashlib import sha256

from gateway.model import SessionId, SessionKey, Token

TOKEN_BYTES = 32
"""Random bytes a token is made of."""
ID_BYTES = 16
"""Random bytes a public session id is made of."""

# The last of 43 characters carries 4 bits: other spellings of the same bytes are no tokens.
_OWN = re.compile(r"[A-Za-z0-9_-]{42}[AEIMQUYcgkosw048]")

# What an operator's generator may make: fit for a cookie, and no shorter than 16 characters, which
# carry some 96 bits where they are random.
_ANY = re.compile(r"[A-Za-z0-9._~-]{16,512}")
_FEWEST_DIFFERENT = 6


def new_token(random: bytes) -> Token:
    """Return the token made of ``TOKEN_BYTES`` random bytes."""
    return Token(_base64url(random, TOKEN_BYTES))


def new_session_id(random: bytes) -> SessionId:
    """Return the public session id made of ``ID_BYTES`` random bytes."""
    # The four spare bits come first: an id that began with a dash would be an option on a command
    # line.
    return SessionId(_base64url(bytes(2) + random, 2 + ID_BYTES)[2:])


def key_for(token: Token) -> SessionKey:
    """Return under what the store keeps the session of this token."""
    return SessionKey(sha256(token.encode()).hexdigest())


def key_of(text: str) -> SessionKey | None:
    """Return under what the store keeps the session of this token; None if it is no token.

    What is no token never reaches the store, so a flood of garbage cookies costs it nothing.
    """
    if _OWN.fullmatch(text) is None:
        return None
    return key_for(Token(text))


def itself_for(token: Token) -> SessionKey:
    """Return the token, as what an app finds the session under as well."""
    return SessionKey(token)


def itself_of(text: str) -> SessionKey | None:
    """Return it as such a key; None if it is no token of ours."""
    return None if _OWN.fullmatch(text) is None else SessionKey(text)


def key_of_any(text: str) -> SessionKey | None:
    """Return under what the store keeps the session of a token of ours or of the operator's."""
    if _ANY.fullmatch(text) is None:
        return None
    return key_for(Token(text))


def checked(token: object) -> Token:
    """Return what an operator's generator has made.

    Raises:
        ValueError: It is no token: another type, too short, or of other characters.
    """
    if not isinstance(token, str) or _ANY.fullmatch(token) is None:
        raise ValueError("expected a text of 16 to 512 characters, each of A-Z a-z 0-9 - . _ ~")
    if len(set(token)) < _FEWEST_DIFFERENT:
        raise ValueError(f"expected at least {_FEWEST_DIFFERENT} different characters")
    return Token(token)


def _base64url(random: bytes, length: int) -> str:
    if len(random) != length:
        raise ValueError(f"{length} random bytes are needed, not {len(random)}")
    return urlsafe_b64encode(random).rstrip(b"=").decode()
