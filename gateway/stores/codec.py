"""From the settings to what is kept of a session: sealed, or plain JSON."""

from __future__ import annotations

from gateway.model import Session, SessionKey
from gateway.rules import sessions


class PlainCodec:
    """Keeps sessions as JSON, for the operator who looks into the store."""

    def encode(self, session: Session) -> bytes:
        """Return the record."""
        return sessions.encode(session)

    def decode(
        self, key: SessionKey, payload: bytes, touched_at: float, expires_at: float
    ) -> Session:
        """Return the session."""
        return sessions.decode(key, payload, touched_at, expires_at)


PLAIN = PlainCodec()
