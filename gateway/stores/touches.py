"""Writes moved expiries to the store, behind the requests that moved them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import structlog

from gateway.model import Session, SessionKey
from gateway.stores.breaker import GuardedStore
from gateway.stores.protocol import LookupStore

log = structlog.get_logger()

_AT_ONCE = 16
_PENDING = 10_000


class Touches:
    """The touches that are to be written: the last of each session, a few at once.

    One that fails is logged and refuses nobody: the session keeps the expiry it had. While the
    store rests they wait.

    Args:
        untrue: Told of a session that the store has not, or has moved later: what this process
            made of it does not count. Somebody whose earlier touch has failed may come back after
            the store took the session for over.
    """

    def __init__(
        self,
        store: LookupStore,
        guarded: GuardedStore,
        untrue: Callable[[SessionKey], None],
    ) -> None:
        self._store = store
        self._guarded = guarded
        self._untrue = untrue
        self._pending: dict[SessionKey, Session] = {}
        self._task: asyncio.Task[None] | None = None

    def add(self, session: Session) -> None:
        """Write this session's times soon. Beyond a bound, it is let fall."""
        if session.key not in self._pending and len(self._pending) >= _PENDING:
            return
        self._pending[session.key] = session
        if self._task is None:
            self._task = asyncio.get_running_loop().create_task(self._write())

    async def close(self, within: float) -> None:
        """Write what is pending, for at most so many seconds, and stop."""
        task = self._task
        if task is None:
            return
        await asyncio.wait((task,), timeout=within)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

    async def _write(self) -> None:
        try:
            while self._pending:
                await self._guarded.usable()
                batch = list(self._pending.values())[:_AT_ONCE]
                for session in batch:
                    del self._pending[session.key]
                results = await asyncio.gather(
                    *map(self._store.touch, batch), return_exceptions=True
                )
                for session, result in zip(batch, results, strict=True):
                    if result is False:
                        self._untrue(session.key)
                failed = [result for result in results if isinstance(result, BaseException)]
                if failed:
                    log.warning("touch_failed", sessions=len(failed), error=str(failed[0]))
        finally:
            self._task = None
