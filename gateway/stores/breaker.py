"""Asks a store, and stops asking for a while when it does not answer."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence

import structlog

from gateway.errors import StoreUnavailable
from gateway.model import Session, SessionKey
from gateway.rules import breaker as rules
from gateway.stores.protocol import LookupStore

log = structlog.get_logger()


class StoreResting(StoreUnavailable):
    """Nobody asked: the store has failed lately, and a probe tries whether it is back."""


class GuardedStore:
    """Reads from a store through a breaker.

    Only reading is guarded: it is what every request does. While the breaker is open, one task
    asks for a session that somebody wanted, again and again.

    Args:
        clock: Seconds that never go back.
    """

    def __init__(self, store: LookupStore, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._store = store
        self._clock = clock
        self._breaker = rules.Breaker()
        self._closed = asyncio.Event()
        self._closed.set()
        self._probing: asyncio.Task[None] | None = None
        # On a cluster, what one key's node cannot answer another's may: ask for what is wanted.
        self._wanted: Sequence[SessionKey] = ()
        self._since = 0.0

    @property
    def resting(self) -> bool:
        """Whether ``load`` fails at once."""
        return self._breaker.state is not rules.State.CLOSED

    async def load(self, keys: Sequence[SessionKey]) -> list[Session | None]:
        """Return the session under each key, as ``LookupStore.load`` does.

        Raises:
            StoreUnavailable: The store did not answer.
            StoreResting: It was not asked.
        """
        if self.resting:
            self.want(keys[0])
            raise StoreResting("the session store has not answered lately")
        try:
            sessions = await self._store.load(keys)
        except StoreUnavailable as exc:
            self.want(keys[0])
            self._failed(exc)
            raise
        self._answered()
        return sessions

    def want(self, key: SessionKey) -> None:
        """Say what the next probe may ask for."""
        self._wanted = (key,)

    async def usable(self) -> None:
        """Return once the store is not resting."""
        await self._closed.wait()

    async def close(self) -> None:
        """Stop probing."""
        if self._probing is not None:
            self._probing.cancel()
            await asyncio.wait((self._probing,))

    def _failed(self, error: StoreUnavailable) -> None:
        self._breaker = rules.failed(self._breaker, self._clock())
        if self.resting and self._closed.is_set():
            log.warning("store_lost", error=str(error))
            self._since = self._clock()
            self._closed.clear()
            self._probing = asyncio.create_task(self._probe(), name="store-probe")

    def _answered(self) -> None:
        self._breaker = rules.answered(self._breaker)
        if not self._closed.is_set():
            self._closed.set()
            log.info("store_back", seconds=round(self._clock() - self._since, 3))

    async def _probe(self) -> None:
        while self.resting:
            probe = rules.probing(self._breaker, self._clock())
            if probe is None:
                await asyncio.sleep(max(0.001, self._breaker.probe_at - self._clock()))
                continue
            self._breaker = probe
            try:
                await self._store.load(self._wanted)
            except Exception:  # a bug as well: without a probe the store would never be asked again
                self._breaker = rules.probe_failed(self._breaker, self._clock())
            else:
                self._answered()
