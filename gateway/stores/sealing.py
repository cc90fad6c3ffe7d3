"""What is kept of a session, sealed: who has the store can neither read, change nor make one.

AES-256-GCM under a key derived from ``session.secret`` (HKDF-SHA256, RFC 5869). The session's key
in the store is authenticated with it, so that no record is good in another one's place. In front
stand one byte for this format and four that say which secret it was.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from gateway.errors import CorruptRecord
from gateway.formats.keys import KEY_ID, derive, key_id
from gateway.model import Session, SessionKey
from gateway.rules import sessions

_RECORD = "session-gateway: session record"
_FORMAT = b"\x01"
_PLAIN = b"{"
_HEADER = len(_FORMAT) + KEY_ID
# Random: below 2**32 records under one key two alike are less likely than 2**-32 (NIST SP 800-38D).
_NONCE = 12


def record_key_id(secret: str) -> bytes:
    """Return what stands in front of records that are sealed under this secret."""
    return key_id(derive(secret, _RECORD))


def sealed_under(payload: bytes) -> bytes | None:
    """Return the ``record_key_id`` of the secret that sealed a record; None: it is plain."""
    return payload[1:_HEADER] if payload[:1] == _FORMAT else None


class SealedCodec:
    """Seals records under the first of some secrets, and opens those under any."""

    def __init__(
        self,
        secrets: Sequence[str],
        *,
        seal: bool = True,
        random: Callable[[int], bytes] = os.urandom,
    ) -> None:
        """Derive the keys.

        Args:
            secrets: At least one.
            seal: False: write and read plain JSON, and go on opening what is sealed. While records
                are sealed a plain one is nobody's: anybody could have written it.
        """
        keys = [derive(secret, _RECORD) for secret in secrets]
        self._ciphers = {key_id(key): AESGCM(key) for key in reversed(keys)}
        self._first = key_id(keys[0])
        self._seal = seal
        self._random = random

    def encode(self, session: Session) -> bytes:
        """Return the session's record, sealed."""
        record = sessions.encode(session)
        if not self._seal:
            return record
        header = _FORMAT + self._first
        nonce = self._random(_NONCE)
        context = header + session.key.encode()
        return header + nonce + self._ciphers[self._first].encrypt(nonce, record, context)

    def decode(
        self, key: SessionKey, payload: bytes, touched_at: float, expires_at: float
    ) -> Session:
        """Return the session in a record.

        Raises:
            CorruptRecord: It was changed, moved here from another key, or sealed under a secret
                that is not among ours.
        """
        if payload[:1] == _PLAIN and not self._seal:
            return sessions.decode(key, payload, touched_at, expires_at)
        if payload[:1] != _FORMAT:
            raise CorruptRecord("not sealed, while session.encrypt says that records are")
        header, nonce = payload[:_HEADER], payload[_HEADER : _HEADER + _NONCE]
        cipher = self._ciphers.get(header[1:])
        if cipher is None:
            raise CorruptRecord("a record that none of the secrets in session.secret has sealed")
        try:
            record = cipher.decrypt(nonce, payload[_HEADER + _NONCE :], header + key.encode())
        except (InvalidTag, ValueError) as exc:
            raise CorruptRecord(
                "a sealed record that was changed, or is another session's"
            ) from exc
        return sessions.decode(key, record, touched_at, expires_at)
