"""From the settings to what is kept of a session: sealed, or plain JSON."""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import sha256

from gateway.errors import CorruptRecord
from gateway.model import Session, SessionKey
from gateway.rules import sessions
from gateway.stores.protocol import Codec


class PlainCodec:
    """Keeps sessions as JSON, for the operator who looks into the store."""

    def encode(self, session: Session) -> bytes:
        """Return the record."""
        return sessions.encode(session)

    def decode(
        self, key: SessionKey, payload: bytes, touched_at: float, expires_at: float
    ) -> Session:
        """Return the session in a record; CorruptRecord where there is none, or a sealed one."""
        try:
            return sessions.decode(key, payload, touched_at, expires_at)
        except CorruptRecord as exc:
            raise CorruptRecord(
                f"{exc}; or a sealed one, for which session.secret is needed"
            ) from (exc)


PLAIN = PlainCodec()


class CurrentCodec:
    """Another codec, which can be exchanged under a store that is open."""

    def __init__(self, codec: Codec) -> None:
        self.use(codec)

    def use(self, codec: Codec) -> None:
        """Go by this codec from now on."""
        self.encode = codec.encode
        self.decode = codec.decode


def codec_for(secrets: Sequence[str], *, encrypt: bool) -> Codec:
    """Return what turns sessions into records.

    Args:
        secrets: ``session.secret``; without any, nothing can be sealed or opened.
        encrypt: Whether to seal; needs a secret.
    """
    if not secrets:
        if encrypt:
            raise ValueError("without a secret nothing can be sealed")
        return PLAIN
    from gateway.stores.sealing import SealedCodec

    return SealedCodec(secrets, seal=encrypt)


def hint(key: str) -> str:
    """Return what a log may show of a key, under which a store may keep a token itself."""
    return sha256(key.encode(errors="replace")).hexdigest()[:12]
