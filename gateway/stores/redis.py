"""Sessions in Redis 6 or newer, alone, with Sentinels or as a Cluster: shared by many machines."""

from __future__ import annotations

import contextlib
import time
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import structlog

from gateway.errors import CorruptRecord, StoreUnavailable
from gateway.model import Session, SessionId, SessionKey
from gateway.redis.asking import Asking
from gateway.rules.sessions import is_over
from gateway.stores import redis_layout as layout
from gateway.stores.codec import PLAIN, hint
from gateway.stores.protocol import Codec, Watcher
from gateway.stores.redis_changes import Changes

log = structlog.get_logger()

_PAGE = 500
_TRIES = 4
_MARKED_FOR = 10.0
_LITTER_AFTER = 60.0


class RedisStore:
    """A ``SessionStore`` in Redis.

    ``gateway:session:{key}`` holds a session; ``gateway:id:{id}`` leads to its key; and
    ``gateway:user:{id}`` lists the keys of a user's sessions, sorted by when they end at the
    latest. On a Cluster these lie on different servers. So nothing is written in one step, but in
    an order that is safe wherever it breaks off: what leads to a session comes before it and goes
    after it, and may name one that is gone, never the other way round.
    """

    def __init__(
        self,
        url: str,
        *,
        timeout: float = 1.0,
        wall: Callable[[], float] = time.time,
        codec: Codec = PLAIN,
    ) -> None:
        self._wall = wall
        self._codec = codec
        self._redis = Asking(url, timeout)
        self._run = self._redis.run
        self._servers = self._redis.servers
        self._changes = Changes(self._servers, timeout)
        self._absent: dict[SessionKey, float] = {}

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
        if not keys:
            return []
        return list(map(self._session, keys, await self._values(keys)))

    async def create(self, session: Session) -> None:
        """Keep a new session until it expires."""
        now = self._wall()
        await self._run(layout.index(session, now))
        await self._put(session, layout.value(self._codec, session), now)
        self._changes.tell(session.key)

    async def touch(self, session: Session) -> bool:
        """Move the expiry of a session that is still there."""
        [done] = await self._run([layout.touch(session, self._wall())])
        return bool(done)

    async def update(self, session: Session) -> bool:
        """Write a session anew, but for its key, ids and times."""
        for _ in range(_TRIES):
            kept, before = await self._same(session)
            if kept is None:
                return False
            after = self._codec.encode(
                replace(session, created_at=kept.created_at, ends_at=kept.ends_at)
            )
            [done] = await self._run([layout.update(session.key, before, after)])
            if done:
                self._changes.tell(session.key)
                return True
        raise StoreUnavailable("Redis: too many changes to one session at once")

    async def replace(self, old: Session, new: Session, *, left: Session | None = None) -> bool:
        """Put one session in another's place: it is done when the old record gives way."""
        now = self._wall()
        if left is None:
            # Tells a second try, after a lost answer, that the first one did it.
            left = replace(old, replaced_by=new.key, ends_at=now, expires_at=now)
        same_key = new.key == old.key
        if (await self._same(old))[0] is None:
            return False
        await self._run(layout.index(new, now))
        value = layout.value(self._codec, new)
        if same_key:
            done = await self._give_way(old, value, new.expires_at - now)
        else:
            await self._put(new, value, now)
            seconds = max(left.expires_at - now, _MARKED_FOR)
            done = await self._give_way(old, layout.value(self._codec, left), seconds)
        gone, stays = (old, new) if done else (new, old)
        # A failure from here on makes nothing untrue.
        with contextlib.suppress(StoreUnavailable):
            if not (done or same_key):
                await self._run([layout.take(new.key)])
            needed = layout.unindex(stays)
            await self._run([c for c in layout.unindex(gone) if c not in needed])
        self._changes.tell(old.key)
        return done

    async def delete(self, key: SessionKey) -> bool:
        """End a session; True if it was there."""
        return await self.delete_many([key]) > 0

    async def delete_many(self, keys: Sequence[SessionKey]) -> int:
        """End several sessions."""
        wanted = list(dict.fromkeys(keys))
        if not wanted:
            return 0
        values = await self._run([layout.take(key) for key in wanted])
        for key in wanted:
            self._changes.tell(key)
        sessions = [s for s in map(self._session, wanted, values) if s is not None]
        # They are over. What still leads to them is tidied whenever it is used, or expires.
        tidy = [c for s in sessions if s.replaced_by is None for c in layout.unindex(s)]
        if tidy:
            with contextlib.suppress(StoreUnavailable):
                await self._run(tidy)
        return len(sessions)

    async def find(self, session_id: SessionId) -> Session | None:
        """Return the live session with this public id."""
        [keys] = await self._run([("GET", layout.id_name(session_id))])
        if keys is None:
            return None
        for session in await self.load([SessionKey(key.decode()) for key in keys.split()]):
            if session is not None and session.id == session_id and session.replaced_by is None:
                return session
        return None

    async def of_user(self, user_id: str) -> list[Session]:
        """Return a user's live sessions, the newest first."""
        [members] = await self._run([("ZRANGE", layout.user_name(user_id), 0, -1)])
        keys = [SessionKey(member.decode()) for member in members]
        live: list[Session] = []
        for start in range(0, len(keys), _PAGE):
            live += await self._page(user_id, keys[start : start + _PAGE])
        return sorted(live, key=lambda session: session.created_at, reverse=True)

    async def all(self) -> AsyncIterator[Session]:
        """Go through all live sessions; one may come twice while Redis resizes its table."""
        await self.ping()  # so that the servers are known
        for node in self._servers.primaries():
            cursor = 0
            while True:
                page = partial(node.scan, cursor, layout.PREFIX + "*", _PAGE)
                cursor, names = await self._redis.call(page)
                keys = [SessionKey(name.removeprefix(layout.PREFIX)) for name in names]
                for session in await self.load(keys):
                    if session is not None and session.replaced_by is None:
                        yield session
                if not cursor:
                    break

    def watch(self, watcher: Watcher) -> None:
        """Tell this watcher of every change, whoever makes it."""
        self._changes.watch(watcher)

    async def _put(self, session: Session, value: bytes, now: float) -> None:
        [done] = await self._run([layout.put(session, value, now)])
        if done is None:
            [there] = await self._values([session.key])
            if there != value:  # else by a try whose answer was lost
                raise StoreUnavailable("Redis: there is a session under a new one's key")

    async def _page(self, user_id: str, keys: Sequence[SessionKey]) -> list[Session]:
        values = await self._values(keys)
        absent = [key for key, value in zip(keys, values, strict=True) if value is None]
        if litter := self._litter(absent):
            await self._run([("ZREM", layout.user_name(user_id), *litter)])
        sessions = filter(None, map(self._session, keys, values))
        return [s for s in sessions if s.replaced_by is None and s.user.id == user_id]

    def _litter(self, absent: Sequence[SessionKey]) -> list[SessionKey]:
        # Seen twice with a pause between: one that is just being made is in the list before it is
        # there, and must stay.
        now = self._wall()
        if len(self._absent) > _PAGE:
            self._absent.clear()
        litter = [k for k in absent if self._absent.setdefault(k, now) <= now - _LITTER_AFTER]
        for key in litter:
            del self._absent[key]
        return litter

    async def _same(self, session: Session) -> tuple[Session | None, bytes]:
        [value] = await self._values([session.key])
        kept = self._session(session.key, value)
        if kept is None or kept.id != session.id or kept.replaced_by is not None:
            return None, b""
        return kept, layout.record(value)

    async def _give_way(self, old: Session, value: bytes, seconds: float) -> bool:
        for _ in range(_TRIES):
            [before] = await self._values([old.key])
            if before is not None and layout.record(before) == layout.record(value):
                return True  # by a try whose answer was lost
            kept, record = await self._same(old)
            if kept is None:
                return False
            if (await self._run([layout.swap(old.key, record, value, seconds)]))[0]:
                return True
        raise StoreUnavailable("Redis: too many changes to one session at once")

    async def _values(self, keys: Sequence[SessionKey]) -> list[Any]:
        return await self._redis.call(lambda: self._servers.values([*map(layout.name, keys)]))

    def _session(self, key: SessionKey, value: bytes | None) -> Session | None:
        if value is None:
            return None
        try:
            session = layout.read(self._codec, key, value)
        except CorruptRecord as exc:
            log.warning("corrupt_record", store="redis", session=hint(key), error=str(exc))
            return None
        return None if is_over(session, self._wall()) else session
