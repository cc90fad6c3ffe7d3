"""Which of the secrets in ``session.secret`` what is in a store still needs."""

from __future__ import annotations

from dataclasses import dataclass

from gateway.errors import CorruptRecord
from gateway.model import Session, SessionKey
from gateway.rules import not_before
from gateway.stores.protocol import Codec, SessionStore
from gateway.stores.sealing import sealed_under


@dataclass(slots=True)
class Use:
    """What is sealed under one secret, or under none."""

    sessions: int = 0
    last_expires: float = 0.0
    """When the last of them ends if nobody uses it again; 0: there are none."""
    needed_until: float = 0.0
    """When the last of it ends at the latest; 0: nothing is needed."""

    def add(self, session: Session, max_age: float) -> None:
        """Count what was read."""
        if not_before.is_record(session):
            self.needed_until = max(self.needed_until, not_before.needed_until(session, max_age))
            return
        self.sessions += 1
        self.last_expires = max(self.last_expires, session.expires_at)
        self.needed_until = max(self.needed_until, session.ends_at)


class Counting:
    """A codec that notes under which secret each record is."""

    def __init__(self, codec: Codec) -> None:
        self._codec = codec
        self.encode = codec.encode
        self.under: dict[SessionKey, bytes | None] = {}
        self.unreadable = 0

    def decode(
        self, key: SessionKey, payload: bytes, touched_at: float, expires_at: float
    ) -> Session:
        """Return the session in a record."""
        try:
            session = self._codec.decode(key, payload, touched_at, expires_at)
        except CorruptRecord:
            self.unreadable += 1
            raise
        self.under[key] = sealed_under(payload)
        return session


async def count(store: SessionStore, codec: Counting, max_age: float) -> dict[bytes | None, Use]:
    """Go through a store that was opened with this codec; return what each secret seals.

    By ``record_key_id``; None: what is not sealed.
    """
    uses: dict[bytes | None, Use] = {}
    async for session in store.all():
        under = codec.under.pop(session.key, None)
        uses.setdefault(under, Use()).add(session, max_age)
    return uses
