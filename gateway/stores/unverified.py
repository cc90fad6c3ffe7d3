"""Copies of sessions from before the store's changes were heard no longer."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from gateway.model import Session, SessionKey
from gateway.rules.sessions import is_over
from gateway.stores.held import Held


class Unverified:
    """What may be true still, for who would rather have that than nothing.

    No copy gets in here but those that were true when contact was lost. One goes as soon as its
    session is known to have changed, and all go when changes are heard again.
    """

    def __init__(self) -> None:
        self._copies: tuple[Mapping[SessionKey, Held], ...] = ()
        self._gone: set[SessionKey] = set()
        self._confirmed: dict[SessionKey, float] = {}
        self._lost_at = 0.0

    def take(self, *copies: Mapping[SessionKey, Held], now: float) -> None:
        """Take the copies that were true until now. ``now`` never goes back."""
        self.clear()
        self._copies = copies
        self._lost_at = now

    def clear(self) -> None:
        """Forget all of them."""
        self._copies = ()
        self._gone.clear()
        self._confirmed.clear()

    def drop(self, key: SessionKey) -> None:
        """Forget one: its session has changed."""
        if self._find(key) is not None:
            self._gone.add(key)

    def learn(self, key: SessionKey, session: Session | None, asked_at: float) -> None:
        """Compare a copy with what the store has just said."""
        held = self._find(key)
        if held is None:
            return
        copy = held.session
        if session is not None and copy == replace(
            session, touched_at=copy.touched_at, expires_at=copy.expires_at
        ):
            self._confirmed[key] = max(asked_at, self._confirmed.get(key, self._lost_at))
        else:
            self._gone.add(key)

    def get(self, key: SessionKey, *, at_most: float, now: float, wall: float) -> Held | None:
        """Return a copy that was true no longer ago than ``at_most`` seconds, marked as stale."""
        held = self._find(key)
        if held is None or is_over(held.session, wall):
            return None
        if now - self._confirmed.get(key, self._lost_at) > at_most:
            return None
        if not held.stale:
            held.stale = True
            held.caller = None  # what was made of it does not say that it is stale
        return held

    def _find(self, key: SessionKey) -> Held | None:
        if key in self._gone:
            return None
        for copies in self._copies:
            held = copies.get(key)
            if held is not None:
                return held
        return None
