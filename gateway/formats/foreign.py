"""What every codec of another framework's session answers: claims, or why there are none."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any


class Why(StrEnum):
    """Why a cookie, or what a store holds under it, is no session."""

    MISSING = "missing"
    """There is no such cookie, or it is empty."""
    TOO_LARGE = "too_large"
    """Longer than the framework could have made it and a browser would send."""
    BAD_CHUNKS = "bad_chunks"
    """Pieces with a gap, in a number nobody issues, or beside the whole cookie."""
    MALFORMED = "malformed"
    """Not of this format's shape."""
    WRONG_KIND = "wrong_kind"
    """Of another format: a signed token, an opaque one, a cookie for another purpose."""
    BAD_PREFIX = "bad_prefix"
    """Without the prefix that marks a signed value."""
    BAD_ALG = "bad_alg"
    """Sealed in a way that the framework never uses, though it may understand it."""
    UNKNOWN_KEY = "unknown_key"
    """Names a key that is not configured."""
    BAD_KEY = "bad_key"
    """None of the configured secrets opens it."""
    BAD_TAG = "bad_tag"
    """Its authentication tag is wrong, and it names one of our keys: it was changed."""
    BAD_SIGNATURE = "bad_signature"
    """None of the configured secrets made its signature."""
    BAD_HASH = "bad_hash"
    """A token against forged forms that was not made with our secrets."""
    MISMATCH = "mismatch"
    """A form that does not carry the token of its cookie."""
    BAD_MAC = "bad_mac"
    """Its message authentication code is wrong: changed, or another password."""
    BAD_PADDING = "bad_padding"
    """Authentic, but what was encrypted does not end as it must."""
    BAD_PAYLOAD = "bad_payload"
    """Authentic, but what it holds is no session."""
    BAD_CLAIMS = "bad_claims"
    """Authentic, but its claims are not those of a session."""
    NOT_YET_VALID = "not_yet_valid"
    """Valid only from a later time on."""
    EXPIRED = "expired"
    """Its time has passed."""
    NO_ENTRY = "no_entry"
    """The store knows no such session."""
    BAD_ENTRY = "bad_entry"
    """What the store holds under it is no session."""
    NO_USER = "no_user"
    """The store knows the session, but not its user."""


class Refused(Exception):
    """A cookie or an entry that is no session. The message is for people, and holds no input."""

    def __init__(self, why: Why, message: str) -> None:
        self.why = why
        super().__init__(message)


@dataclass(frozen=True, slots=True)
class Opened:
    """What an authentic and valid cookie holds. Its claims are the app's: never shown in a repr."""

    claims: dict[str, Any] = field(repr=False)
    expires_at: float | None
    """Unix seconds from which on it is no session, tolerance included; None: it says nothing."""
    secret: int
    """Which of the configured secrets opened it: its place in their list, or its own number."""
