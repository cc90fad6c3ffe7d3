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


class RememberingCodec:
    """Another codec, which opens a record once: the same bytes are the same session, as an object.

    For who reads the store at every request: what the store says counts always, and what it said
    before saves nothing but the work of understanding it again.

    Args:
        most: How many records are remembered; longer ones than ``longest`` bytes never are.
    """

    def __init__(self, codec: Codec, *, most: int = 10_000, longest: int = 2048) -> None:
        self.encode = codec.encode
        self._decode = codec.decode
        self._most = most
        self._longest = longest
        self._opened: dict[SessionKey, tuple[bytes, Session]] = {}

    def decode(
        self, key: SessionKey, payload: bytes, touched_at: float, expires_at: float
    ) -> Session:
        """Return the session in a record."""
        known, session = self._opened.get(key, _NOTHING)
        if (
            session is not None
            and known == payload
            and session.touched_at == touched_at
            and session.expires_at == min(expires_at, session.ends_at)
        ):
            return session
        session = self._decode(key, payload, touched_at, expires_at)
        if len(payload) <= self._longest:
            if len(self._opened) >= self._most:
                self._opened.clear()
            self._opened[key] = (payload, session)
        return session


_NOTHING: tuple[bytes, None] = (b"", None)


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
