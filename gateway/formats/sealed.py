"""The gateway's own cookie that holds the session itself, sealed.

AES-256-GCM under a key derived from ``session.secret``. In front stand, in plain, one byte for this
format and four that say which secret it was; they and the cookie's name are authenticated, so that
what was sealed for one cookie is nothing in another. All of it is base64url without padding.
"""

from __future__ import annotations

import re
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Callable, Sequence
from hashlib import sha256
from typing import Any

import msgspec
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from gateway.errors import BadCookie
from gateway.formats.keys import KEY_ID, derive, key_id
from gateway.model import ANONYMOUS, SealedSession, SessionId, SessionKey, User

HANDLE_BYTES = 16
"""Random bytes that a handle is made of."""
# Random: below 2**32 cookies under one key two alike are less likely than 2**-32 (NIST SP 800-38D).
NONCE_BYTES = 12
"""Random bytes that sealing once needs."""

_PURPOSE = "session-gateway: session cookie"
_FORMAT = b"\x01"
_HEADER = len(_FORMAT) + KEY_ID
_TAG = 16
_SHORTEST = -(-(_HEADER + NONCE_BYTES + _TAG) * 4 // 3)
_LONGEST = 16 * 1024
_TEXT = re.compile(r"[A-Za-z0-9_-]+")


class KeyRing:
    """The keys for one cookie: the first secret seals, all open."""

    __slots__ = ("ciphers", "context", "first")

    def __init__(self, secrets: Sequence[str], cookie: str) -> None:
        """Derive the keys.

        Args:
            secrets: At least one.
            cookie: The cookie's name.
        """
        keys = [derive(secret, _PURPOSE) for secret in secrets]
        self.ciphers = {key_id(key): AESGCM(key) for key in reversed(keys)}
        self.first = key_id(keys[0])
        self.context = b"\x00" + cookie.encode()

    def seal(self, session: SealedSession, random: Callable[[int], bytes]) -> str:
        """Return the text that holds a session."""
        return seal(session, self, random(NONCE_BYTES))

    def unseal(self, text: str, *, now: float) -> SealedSession:
        """Return the session that a text holds; as ``unseal``."""
        return unseal(text, self, now=now)


def key_for(handle: bytes) -> SessionKey:
    """Return under what a store would keep something about the session with this handle."""
    return SessionKey(sha256(b"sealed session\x00" + handle).hexdigest())


def seal(session: SealedSession, ring: KeyRing, nonce: bytes) -> str:
    """Return the text that holds a session: letters, digits, ``-`` and ``_``.

    Args:
        nonce: ``NONCE_BYTES`` random bytes.
    """
    if len(nonce) != NONCE_BYTES:
        raise ValueError(f"{NONCE_BYTES} random bytes are needed, not {len(nonce)}")
    record = _encoder.encode(
        _Record(
            handle=session.handle,
            id=session.id,
            user=None if session.anonymous else session.user,
            created_at=session.created_at,
            ends_at=session.ends_at,
            touched_at=session.touched_at,
            expires_at=session.expires_at,
            since=session.since,
            data=msgspec.json.encode(session.data) if session.data else b"",
            remembered=session.remembered,
        )
    )
    header = _FORMAT + ring.first
    sealed = ring.ciphers[ring.first].encrypt(nonce, record, header + ring.context)
    return urlsafe_b64encode(header + nonce + sealed).rstrip(b"=").decode()


def unseal(text: str, ring: KeyRing, *, now: float) -> SealedSession:
    """Return the session that a text holds.

    Raises:
        BadCookie: It is not one of ours, was changed, was made for another cookie or under a secret
            that is not in the ring, or is over. What costs most, opening it, comes last.
    """
    if not _SHORTEST <= len(text) <= _LONGEST or _TEXT.fullmatch(text) is None:
        raise BadCookie("not a sealed session")
    try:
        raw = urlsafe_b64decode(text + "=" * (-len(text) % 4))
    except ValueError as exc:
        raise BadCookie("not base64url") from exc
    # The last character may carry spare bits: other spellings of the same bytes are no cookies.
    if urlsafe_b64encode(raw).rstrip(b"=") != text.encode():
        raise BadCookie("another spelling of base64url")
    cipher = ring.ciphers.get(raw[1:_HEADER]) if raw[:1] == _FORMAT else None
    if cipher is None:
        raise BadCookie("another format, or a secret that is not ours")
    header, nonce = raw[:_HEADER], raw[_HEADER : _HEADER + NONCE_BYTES]
    try:
        record = cipher.decrypt(nonce, raw[_HEADER + NONCE_BYTES :], header + ring.context)
    except InvalidTag as exc:
        raise BadCookie("a sealed session that was changed") from exc
    return _session(record, now)


def _session(encoded: bytes, now: float) -> SealedSession:
    try:
        record = _decoder.decode(encoded)
        data: dict[str, Any] = _data.decode(record.data) if record.data else {}
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as exc:
        raise BadCookie("a sealed session of a later format") from exc
    if not now < record.expires_at:
        raise BadCookie("a session that is over")
    return SealedSession(
        key=key_for(record.handle),
        id=SessionId(record.id),
        user=ANONYMOUS if record.user is None else record.user,
        created_at=record.created_at,
        ends_at=record.ends_at,
        touched_at=record.touched_at,
        expires_at=min(record.expires_at, record.ends_at),
        data=data,
        remembered=record.remembered,
        handle=record.handle,
        since=record.since,
    )


class _Record(msgspec.Struct, array_like=True, kw_only=True, gc=False):
    """What a cookie holds, in MessagePack.

    What comes later is added at the end, with a default: an older gateway passes over it. What one
    must not misread gets another first byte. Device and address are for lists of sessions, which
    need a store: there they are.
    """

    handle: bytes
    id: str
    user: User | None
    created_at: float
    ends_at: float
    touched_at: float
    expires_at: float
    since: float
    data: bytes
    """JSON, since MessagePack knows no number beyond 64 bits; empty: nothing."""
    remembered: bool


_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(_Record)
_data = msgspec.json.Decoder(dict[str, Any])
