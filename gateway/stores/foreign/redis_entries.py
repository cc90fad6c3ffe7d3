"""Sessions that express-session and next-session keep in Redis, by connect-redis."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from math import ceil
from typing import Any, Protocol

from gateway.formats.foreign import Refused
from gateway.model import Session, SessionId, SessionKey
from gateway.redis.asking import Asking
from gateway.redis.link import Command
from gateway.stores.foreign.protocol import SessionOf, askable, report_corrupt
from gateway.stores.protocol import Watcher
from gateway.stores.redis_changes import Changes

DAY = 86400.0
"""Seconds that connect-redis gives a key whose session says nothing of its life."""

_WRONG_TYPE = "WRONGTYPE"
# What PTTL says, in seconds.
_WITHOUT_END = -0.001


class Format(Protocol):
    """What a framework keeps under a key: ``formats.express`` or ``formats.next_session``."""

    def entry(self, raw: bytes) -> dict[str, Any]:
        """Return what Redis holds of a session; Refused when it is none."""
        ...

    def idle(self, entry: Mapping[str, Any]) -> float | None:
        """Return the seconds that a request gives the key; None: the store's own ``ttl``."""
        ...


class RedisEntries:
    """A ``LookupStore`` on an app's entries in Redis.

    How long the key lives counts, never the expiry that the entry tells of itself: with every
    request the app moves the former alone. What does not move it reads only.

    Args:
        name: What the store is called in the log.
        prefix: Of the names of keys; after it comes the session's id.
        ttl: The app's ``ttl`` option, in seconds.
        touch: Whether the gateway moves expiries; otherwise it writes nothing.
        setting: Where the URL is written, for messages.
    """

    def __init__(
        self,
        url: str,
        form: Format,
        session_of: SessionOf,
        *,
        name: str,
        prefix: str = "sess:",
        ttl: float = DAY,
        touch: bool = False,
        timeout: float = 1.0,
        wall: Callable[[], float] = time.time,
        setting: str = "store",
    ) -> None:
        self._form = form
        self._session_of = session_of
        self._name = name
        self._prefix = prefix
        self._ttl = ttl
        self._writes = touch
        self._wall = wall
        self._redis = Asking(url, timeout, setting=setting)
        self._changes = Changes(self._redis.servers, timeout, prefix=prefix)

    async def open(self) -> None:
        """Return if Redis answers."""
        await self.ping()

    async def close(self) -> None:
        """Close every connection."""
        await self._changes.close()
        await self._redis.close()

    async def ping(self) -> None:
        """Return if Redis answers."""
        await self._redis.ping()

    async def load(self, keys: Sequence[SessionKey]) -> list[Session | None]:
        """Return the session under each key."""
        wanted = askable(keys)
        found = {
            key: self._session(key, entry, left)
            for key, (entry, left) in zip(wanted, await self._read(wanted), strict=True)
            if entry is not None
        }
        return [found.get(key) for key in keys]

    async def touch(self, session: Session) -> bool:
        """Let the key of a session that is still there live as long as a request of the app would.

        A key without end keeps having none.
        """
        if not self._writes:
            return True
        [(entry, left)] = await self._read([session.key])
        if entry is None or left <= 0 or (life := self._life(entry)) <= 0:
            return entry is not None
        [done] = await self._redis.run([("EXPIRE", self._prefix + session.key, ceil(life))])
        return bool(done)

    async def find(self, session_id: SessionId) -> Session | None:
        """Return nothing: no key leads from our public ids."""
        return None

    def watch(self, watcher: Watcher) -> None:
        """Tell this watcher of every change, whoever makes it."""
        self._changes.watch(watcher)

    async def _read(self, keys: Sequence[SessionKey]) -> list[tuple[dict[str, Any] | None, float]]:
        """Return what lies under each key, and the seconds that it has left."""
        if not keys:
            return []
        names = [self._prefix + key for key in keys]
        # MGET would not do: on a Cluster the keys are on several servers, and of each its time is
        # wanted as well. All of it is one write and one answer.
        commands: list[Command] = [(word, name) for name in names for word in ("GET", "PTTL")]
        answers = await self._redis.run(commands, tolerated=_WRONG_TYPE)
        values, times = answers[::2], answers[1::2]
        return [
            (self._entry(value), left / 1000) for value, left in zip(values, times, strict=True)
        ]

    def _entry(self, value: object) -> dict[str, Any] | None:
        if value is None:
            return None
        if not isinstance(value, bytes):
            report_corrupt(self._name, "what the store holds is no text")
            return None
        try:
            return self._form.entry(value)
        except Refused as exc:
            report_corrupt(self._name, str(exc))
            return None

    def _life(self, entry: Mapping[str, Any]) -> float:
        life = self._form.idle(entry)
        return self._ttl if life is None else life

    def _session(self, key: SessionKey, entry: dict[str, Any], left: float) -> Session | None:
        now, life = self._wall(), self._life(entry)
        if left == _WITHOUT_END:  # looked at again in a day, and never to be moved
            return self._session_of(key, entry, touched_at=now, expires_at=now + DAY)
        if left <= 0 or not life:  # it went between the two answers, or is about to
            return None
        return self._session_of(key, entry, touched_at=now + left - life, expires_at=now + left)
